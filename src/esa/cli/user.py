"""`esa user check`: what the sources of users say of a name and a password, and how long each takes to say it."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.terminal import json_option, print_json, printable
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa.gateway.authentication import Credentials, UserSource


@dataclass(frozen=True, slots=True)
class Said:
    """What one source says: right, wrong, unknown, or why it cannot tell."""

    source: str
    standing: str
    milliseconds: float


@click.group("user", short_help="Ask whether a user can authenticate.")
def command() -> None:
    """Ask whether a user can authenticate.

    \b
    Examples:
      esa user check anna         asks for the password, then the file of users and every directory
    """


@command.command()
@click.argument("name")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def check(name: str, config_file: Path | None, as_json: bool) -> int:
    """Ask for the password of NAME, and say what each source of users answers: the file, then each [[user_ldap]].

    \b
    Examples:
      esa user check anna
      esa user check anna@example.org --json < password.txt

    The first that knows the name decides. Nothing is counted as a failure. Exit status: 0 the gateway would let this user in, 1 it would
    not, 2 the configuration is wrong or names no users, 3 a source that decides cannot be asked.
    """
    from esa.config.load import load
    from esa.gateway.authentication import Credentials
    from esa.gateway.directory.build import make_user_sources

    sources = make_user_sources(load(config_file))
    if not sources:
        raise ConfigurationError("there are no users", mend="Name their file under [authentication], or a directory, as [[user_ldap]].")
    given = click.prompt("password", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    said = asyncio.run(_ask(sources, Credentials(name, given.encode())))
    decisive = next((one for one in said if one.standing != "unknown"), None)
    is_right = decisive is not None and decisive.standing == "right"
    if as_json:
        print_json({"user": name, "right": is_right, "sources": [asdict(one) for one in said]})
    else:
        click.echo(f"{printable(name)}: {'let in' if is_right else 'refused'}")
        for one in said:
            click.echo(f"  {printable(one.source)}: {printable(one.standing)} ({one.milliseconds:.1f} ms)")
    return DONE if is_right else FOUND if decisive is None or decisive.standing == "wrong" else FAILED


async def _ask(sources: list[UserSource], credentials: Credentials) -> list[Said]:
    """What is said by those that are asked: up to the first that knows, or cannot tell."""
    from esa.gateway.authentication import CannotTell, Proof

    said = []
    try:
        for source in sources:
            began = time.monotonic()
            try:
                standing = (await source.check(credentials) if credentials.password else Proof.WRONG).value
            except CannotTell as outage:
                standing = f"cannot tell: {outage}"
            said.append(Said(source.name, standing, round((time.monotonic() - began) * 1000, 2)))
            if standing != Proof.UNKNOWN.value:
                break
    finally:
        for source in sources:
            await source.close()
    return said
