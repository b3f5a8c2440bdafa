"""`esa bounce-verification`: the keys that tag return paths (AsyncOS's bvconfig), and what a tagged address is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from esa.cli.program import DONE, FOUND
from esa.cli.state import iso, local
from esa.cli.terminal import counted, json_option, print_json, print_table, printable, say

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.bounce_verification import Key

_Command = TypeVar("_Command", bound=Callable[..., object])


def _config_option(function: _Command) -> _Command:
    return click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")(function)


@click.group("bounce-verification", short_help="Make, list and purge the keys that tag return paths.")
def command() -> None:
    """Make, list and purge the keys that tag return paths, so that bounces of mail that nobody here has sent are known.

    \b
    Examples:
      esa bounce-verification new                     a key that makes the tags from now on
      esa bounce-verification list                    the keys, and until when each is accepted
      esa bounce-verification purge                   take away those that are accepted no more
      esa bounce-verification check prvs=0123abcdef=joe@example.com    whether this tag is good, and why not

    To change the key, make a new one: what the old one has tagged is accepted for a week more. Which mail is tagged says [[destination]]
    bounce_verification, what becomes of other bounces says [bounce_verification] in esa.toml.
    """


@command.command()
@_config_option
@json_option
def new(as_json: bool, config_file: Path | None) -> int:
    """Make a key. It makes all tags from now on; the service sees it within seconds.

    \b
    Examples:
      esa bounce-verification new
      esa bounce-verification new --config /etc/esa/esa.toml

    Exit status: 0 made, 3 the file cannot be written, or ten keys are still accepted.
    """
    from esa.store.bounce_keys import add_key

    configuration = _configuration(config_file)
    path = _path(configuration)
    key = add_key(path, time.time())
    if as_json:
        print_json({"number": key.number, "file": str(path)})
        return DONE
    say(f"Key {key.number} makes the tags from now on. It is in {path}, for this user only.")
    if not any(one.bounce_verification for one in configuration.destination):
        say('\nNo mail is tagged yet. Write into esa.toml:\n\n[[destination]]\ndomains = ["ALL"]\nbounce_verification = true\n')
    elif not configuration.bounce_verification.enabled:
        say("\nA week from now, when all mail under way has a tag, write into esa.toml:\n\n[bounce_verification]\nenabled = true\n")
    return DONE


@command.command("list")
@_config_option
@json_option
def list_(as_json: bool, config_file: Path | None) -> int:
    """List the keys. Their secrets are not shown.

    \b
    Examples:
      esa bounce-verification list
      esa bounce-verification list --json | jq 'select(.is_accepted)'

    Exit status: 0 listed, 1 there are none, 3 the file cannot be used.
    """
    from esa.policy.bounce_verification import DAY, LIFETIME
    from esa.store.bounce_keys import read_keys

    now = time.time()
    keys = read_keys(_path(_configuration(config_file)))
    rows = []
    for key in keys:
        until = None if key.retired_at is None else key.retired_at + (LIFETIME + 1) * DAY
        if as_json:
            print_json(
                {
                    "number": key.number,
                    "made_at": iso(key.made_at),
                    "is_accepted": key.is_accepted(now),
                    "accepted_until": None if until is None else iso(until),
                }
            )
        rows.append((str(key.number), local(key.made_at), *_use(key, until, now)))
    if not keys:
        say("there are no keys: make one with esa bounce-verification new")
    elif not as_json:
        print_table(("key", "made", "use", "accepted until"), rows)
    return DONE if keys else FOUND


def _use(key: Key, until: float | None, now: float) -> tuple[str, str]:
    if until is None:
        return "makes the tags", "it is followed by another"
    return ("is accepted" if key.is_accepted(now) else "is accepted no more"), local(until)


@command.command()
@click.option(
    "--all", "everything", is_flag=True, help="All but the newest, those too that are accepted still: bounces to their tags are lost."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_config_option
@json_option
def purge(everything: bool, yes: bool, as_json: bool, config_file: Path | None) -> int:
    """Take away keys that are accepted no more.

    \b
    Examples:
      esa bounce-verification purge
      esa bounce-verification purge --all      after somebody may have read them; make a new one first

    Exit status: 0 done, 3 the file cannot be written.
    """
    from esa.policy.bounce_verification import DAY, LIFETIME
    from esa.store.bounce_keys import purge_keys

    path = _path(_configuration(config_file))
    if everything and not yes:
        click.confirm("Bounces to addresses that older keys have tagged are refused from now on. Go on?", abort=True, err=True)
    gone = purge_keys(path, time.time(), unused_for=0.0 if everything else (LIFETIME + 1) * DAY)
    if as_json:
        print_json({"purged": [key.number for key in gone]})
    else:
        say(f"purged {counted(len(gone), 'key')}")
    return DONE


@command.command()
@click.argument("address")
@_config_option
@json_option
def check(address: str, as_json: bool, config_file: Path | None) -> int:
    """Say what a recipient of a bounce is, as the listener would.

    \b
    Examples:
      esa bounce-verification check prvs=0123abcdef=joe@example.com
      esa bounce-verification check joe@example.com

    Exit status: 0 it is taken, 1 it is not, 3 the file of keys cannot be used.
    """
    from esa.config.bounces import exceptions_of
    from esa.policy.bounce_verification import check as look
    from esa.store.bounce_keys import read_keys

    configuration = _configuration(config_file)
    found = look(address, read_keys(_path(configuration)), time.time(), exceptions_of(configuration.bounce_verification))
    if as_json:
        print_json({"address": found.address, "finding": found.finding.value, "is_good": found.is_good})
    else:
        click.echo(f"{printable(found.address)}: {found.finding.value}")
    return DONE if found.is_good else FOUND


def _configuration(config_file: Path | None) -> Configuration:
    from esa.config.load import load

    return load(config_file)


def _path(configuration: Configuration) -> Path:
    return configuration.state / configuration.bounce_verification.keys
