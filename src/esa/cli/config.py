"""`esa config`: writes a commented configuration, says all that is wrong or odd with one, and translates the tables of AsyncOS.

Loaded only when called: reading a configuration needs the extra `gateway`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import click

from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa.config.importers.hat import Imported
    from esa.config.load import Fault
    from esa.config.schema import Configuration

FOUND, FAILED = 1, 3  # exit codes, as of every command


class Importer(Protocol):
    """Translates an export of AsyncOS."""

    def __call__(self, text: str, *, file: str, listener: str) -> Imported: ...


@click.group("config", short_help="Write a first esa.toml, check one, or import AsyncOS's HAT and RAT.")
def command() -> None:
    """Write a first esa.toml, check one, or import AsyncOS's HAT and RAT.

    \b
    Examples:
      esa config init             write esa.toml with every setting, its default and what it means
      esa config check esa.toml   say all that is wrong with a file, and how to mend it
      esa config import-hat hat.txt >> esa.toml   add the sender groups that an appliance exported
      esa config import-rat rat.txt >> esa.toml   add for whom an appliance accepted mail
      esa config import-smtp-routes routes.txt >> esa.toml   add where an appliance sent mail
      esa config password anna    print a line for the file of users
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
    """Check PATH (esa.toml), and give advice on what is odd. Exit code 0: it can be served, 1: faults were found, 3: it cannot be read."""
    from esa.config import load
    from esa.config.advice import advise

    try:
        configuration, faults = load.check(load.read(path), str(path), base=path.parent)
        notes: list[str] = []
        if configuration is not None:
            faults, notes = _look_at_tls(configuration, path)
            faults += [*_look_at_sources(configuration, path), *_look_at_keys(configuration, path), *_look_at_delivery(configuration, path)]
            configuration = None if faults else configuration
    except ConfigurationError as wrong:
        if as_json:
            click.echo(json.dumps({"path": str(path), "valid": False, "error": wrong.what, "mend": wrong.mend, "faults": []}))
        _fail(str(wrong))
    advice = [] if configuration is None else advise(configuration, path.parent)
    if as_json:
        found = {"faults": [asdict(fault) for fault in faults], "advice": [asdict(finding) for finding in advice], "notes": notes}
        click.echo(json.dumps({"path": str(path), "valid": configuration is not None, **found}))
    for fault in faults:
        click.echo(str(fault), err=True)
    if configuration is None:
        click.echo(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found", err=True)
        sys.exit(FOUND)
    for note in notes:
        click.echo(f"{path}, {note}", err=True)
    if not as_json:
        listeners = ", ".join(f"{listener.name} on {listener.address} port {listener.port}" for listener in configuration.listener)
        delivery = configuration.delivery
        goes = f"to route {delivery.route}" if delivery.route else f"to Maildir {delivery.maildir}"
        if configuration.discards:
            goes = f"to {delivery.route}: it is thrown away"
        click.echo(f"{path} is right: {listeners}; mail goes {goes}")
        for finding in advice:
            click.echo(f"advice: {finding}", err=True)


@command.command("import-hat")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--listener", default="", metavar="NAME", help="The one listener that the groups are for; all if left out.")
def import_hat(path: Path, listener: str) -> None:
    """Translate PATH, a Host Access Table as AsyncOS exports it, into tables for esa.toml on standard output.

    What has no counterpart is told on standard error. Exit code 0: all was translated, 1: something was left out, 3: it cannot be read.
    """
    from esa.config.importers import hat

    _import(hat.import_hat, path, listener)


@command.command("import-rat")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--listener", default="", metavar="NAME", help="The one listener that the entries are for; all if left out.")
def import_rat(path: Path, listener: str) -> None:
    """Translate PATH, a Recipient Access Table as AsyncOS exports it, into [[recipient_access]] for esa.toml on standard output.

    On the appliance an import replaces what was there: take out what [[recipient_access]] and accept_domains say already. What is not
    understood is told on standard error. Exit code 0: all was translated, 1: something was left out or is dangerous, 3: it cannot be read.
    """
    from esa.config.importers import rat

    _import(rat.import_rat, path, listener)


@command.command("import-smtp-routes")
@click.argument("path", type=click.Path(path_type=Path))
def import_smtp_routes(path: Path) -> None:
    """Translate PATH, SMTP routes as AsyncOS exports them, into [[smtp_route]] for esa.toml on standard output.

    A route for ALL takes the place of [delivery] route: leave that empty. What is not understood is told on standard error. Exit code 0: all
    was translated, 1: something was left out, 3: it cannot be read.
    """
    from esa.config.importers import smtp_routes

    _import(smtp_routes.import_smtp_routes, path, "")


def _import(translate: Importer, path: Path, listener: str) -> None:
    try:
        imported = translate(path.read_text("utf-8"), file=str(path), listener=listener)
    except OSError as wrong:
        _fail(f"{path}: the file cannot be read ({wrong.strerror})\nCheck its path and mode.")
    except UnicodeDecodeError as wrong:
        _fail(f"{path}: octet {wrong.start} is not UTF-8\nExport the table as text.")
    except ConfigurationError as wrong:
        _fail(str(wrong))
    click.echo(imported.text, nl=False)
    for note in imported.notes:
        click.echo(note, err=True)
    click.echo("next: add it to esa.toml, then esa config check esa.toml", err=True)
    if imported.notes:
        sys.exit(FOUND)


@command.command()
@click.argument("name")
def password(name: str) -> None:
    """Ask for a password and print the line for the file of users ([authentication], users)."""
    from esa.gateway.user_file import hash_password

    given = click.prompt("password", hide_input=True, confirmation_prompt=sys.stdin.isatty(), err=True)
    click.echo(f"{name}:{hash_password(given)}")


def _look_at_tls(configuration: Configuration, path: Path) -> tuple[list[Fault], list[str]]:
    """Certificates that cannot be served, and what can but is weak."""
    from esa.config.ciphers import lint
    from esa.config.load import Fault, resolve
    from esa.gateway.process import make_tls
    from esa.gateway.tls import Tls

    resolved = resolve(configuration, path.parent)
    faults, notes = [], []
    for listener in resolved.listener:
        settings = make_tls(resolved, listener)
        if settings is None:
            continue
        table = f'[[listener]] "{listener.name}"'
        notes += [f"{table}, tls_ciphers: weak at {finding}" for finding in lint(listener.tls_ciphers)]
        try:
            Tls(settings)
        except ConfigurationError as wrong:
            place = f"{wrong.where}: " if wrong.where else ""
            faults.append(Fault(str(path), f"{place}{wrong.what}", wrong.mend or "", table=table))
    if not faults and resolved.certificate:
        from esa.gateway.certificates.checking import check_configuration
        from esa.gateway.certificates.files import system_authorities

        for checked in check_configuration(resolved, now=datetime.now(UTC), authorities=system_authorities()):
            notes += [f"[[certificate]] {checked.target}: {found.what}" for found in checked.findings if found.severity != "note"]
    return faults, notes


def _look_at_sources(configuration: Configuration, path: Path) -> list[Fault]:
    """The first source of recipients or users that cannot be served."""
    from esa.config.load import Fault, resolve
    from esa.gateway.directory.build import check_sources

    try:
        check_sources(resolve(configuration, path.parent))
    except ConfigurationError as wrong:
        place = f"{wrong.where}: " if wrong.where else ""
        return [Fault(str(path), f"{place}{wrong.what}", wrong.mend or "mend it", table="sources of recipients and users")]
    return []


def _look_at_keys(configuration: Configuration, path: Path) -> list[Fault]:
    """The first DKIM key that cannot sign."""
    from esa.config.load import Fault, resolve
    from esa.gateway.delivery.signing import open_signing

    try:
        open_signing(resolve(configuration, path.parent))
    except ConfigurationError as wrong:
        return [Fault(str(path), f"{wrong.where}: {wrong.what}", wrong.mend or "mend it", table="[[dkim]]")]
    return []


def _look_at_delivery(configuration: Configuration, path: Path) -> list[Fault]:
    """Authorities, or a certificate of our own, that TLS to next hops cannot use."""
    from esa.config.load import Fault, resolve
    from esa.gateway.delivery.securing import client_tls

    try:
        client_tls(resolve(configuration, path.parent).delivery_tls).contexts()
    except ConfigurationError as wrong:
        return [Fault(str(path), f"{wrong.where}: {wrong.what}", wrong.mend or "mend it", table="[delivery_tls]")]
    return []


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(FAILED)
