"""`esa config init` writes a commented configuration, `esa config check` says all that is wrong with one.

Loaded only when called: reading a configuration needs the extra `gateway`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import click

from esa.errors import ConfigurationError

FOUND, FAILED = 1, 3  # exit codes, as of every command


@click.group("config", short_help="Write a first esa.toml, or check one.")
def command() -> None:
    """Write a first esa.toml, or check one.

    \b
    Examples:
      esa config init             write esa.toml with every setting, its default and what it means
      esa config check esa.toml   say all that is wrong with a file, and how to mend it
    """


@command.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="esa.toml")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def init(path: Path, force: bool) -> None:
    """Write PATH (esa.toml) with every setting at its default. "-" writes to standard output."""
    from esa.config.text import write_text

    if str(path) == "-":
        click.echo(write_text(), nl=False)
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(write_text())
    except FileExistsError:
        _fail(f"{path}: there is such a file already\nName another, or overwrite it with --force.")
    except OSError as wrong:
        _fail(f"{path}: the file cannot be written ({wrong.strerror})\nCheck the folder and its mode.")
    click.echo(f"wrote {path}\nnext: edit it, then esa config check {path}", err=True)


@command.command()
@click.argument("path", type=click.Path(path_type=Path), default="esa.toml")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(path: Path, as_json: bool) -> None:
    """Check PATH (esa.toml). Exit code 0: it can be served, 1: faults were found, 3: it cannot be read."""
    from esa.config import load

    try:
        configuration, faults = load.check(load.read(path), str(path), base=path.parent)
    except ConfigurationError as wrong:
        if as_json:
            click.echo(json.dumps({"path": str(path), "valid": False, "error": wrong.what, "mend": wrong.mend, "faults": []}))
        _fail(str(wrong))
    if as_json:
        click.echo(json.dumps({"path": str(path), "valid": configuration is not None, "faults": [asdict(fault) for fault in faults]}))
    for fault in faults:
        click.echo(str(fault), err=True)
    if configuration is None:
        click.echo(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found", err=True)
        sys.exit(FOUND)
    if not as_json:
        listeners = ", ".join(f"{listener.name} on {listener.address} port {listener.port}" for listener in configuration.listener)
        delivery = configuration.delivery
        goes = f"to route {delivery.route}" if delivery.route else f"to Maildir {delivery.maildir}"
        if configuration.discards:
            goes = f"to {delivery.route}: it is thrown away"
        click.echo(f"{path} is right: {listeners}; mail goes {goes}")


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(FAILED)
