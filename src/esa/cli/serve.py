"""`esa serve`: run the mail gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.gateway.service import Service

SENDER, RECIPIENT = "you@example.net", "me@example.org"
CLEAN = "Lunch at noon?"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@click.command("serve")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file. Default: esa.toml if it is here, else the embedded defaults.",
)
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="Folder of all state, instead of the one in the configuration."
)
@click.option("--listen", metavar="HOST:PORT", help="Address of the first listener, instead of the one in the configuration.")
def command(config_file: Path | None, state: Path | None, listen: str | None) -> None:
    """Run the mail gateway.

    \b
    Examples:
      esa serve                                   SMTP on 127.0.0.1:2525, state in ./state
      esa serve --config esa.toml
      esa serve --listen 0.0.0.0:25 --state /var/lib/esa

    It stops on Ctrl-C or SIGTERM, when every message it has begun with has its
    reply. On SIGHUP it reads the configuration and all its files again: new
    processes take over the listening sockets, and those before them end with
    their last session. What is wrong is told in the log, and nothing changes.
    """
    from esa.config.load import load
    from esa.gateway import events
    from esa.gateway.delivery.securing import client_tls
    from esa.gateway.service import Service

    def read() -> Configuration:
        configuration = load(config_file, state=state)
        client_tls(configuration.delivery_tls).contexts()  # said here, and not by a deliver process that cannot start
        return configuration if listen is None else _listening(configuration, listen)

    configuration = read()
    events.configure("serve", log_format=configuration.gateway.log_format, steps=configuration.gateway.log_steps)
    asyncio.run(Service(configuration, read_again=read).run(started=_welcome))


def _listening(configuration: Configuration, listen: str) -> Configuration:
    from esa.config.values import split_route
    from esa.errors import ConfigurationError

    place = split_route(listen) or _any_port(listen)
    if place is None:
        raise click.BadParameter("write HOST:PORT, as 127.0.0.1:2525 or [::1]:2525", param_hint="--listen")
    document = configuration.model_dump(mode="json")
    document["listener"][0] |= {"address": place[0], "port": place[1]}
    try:
        return type(configuration).model_validate(document)
    except ValueError as wrong:
        raise ConfigurationError(f"cannot listen on {listen}", where="--listen", mend=str(wrong)) from wrong


def _any_port(listen: str) -> tuple[str, int] | None:
    """HOST:0 asks for a port that is free."""
    host, colon, port = listen.rpartition(":")
    return (host.strip("[]"), 0) if colon and port == "0" and host else None


def _welcome(service: Service) -> None:
    """Five lines: how to send a first clean message and a first GTUBE message, and where to look."""
    place = service.places[0]
    configuration = service.configuration
    anywhere = ipaddress.ip_address(place.address).is_unspecified
    host = place.address if not anywhere else "::1" if ":" in place.address else "127.0.0.1"
    swaks = f"swaks --server {f'[{host}]' if ':' in host else host}:{place.port} --from {SENDER} --to {RECIPIENT}"
    python = (
        f"python3 -c \"import smtplib; smtplib.SMTP('{host}', {place.port}).sendmail('{SENDER}', '{RECIPIENT}', "
        f"'From: {SENDER}\\nTo: {RECIPIENT}\\nSubject: minutes of the meeting\\n\\n{CLEAN}')\""
    )
    where = f"to {configuration.delivery.route}" if configuration.delivery.route else f"into {_short(configuration.maildir)}/new"
    esa = _called()
    lines = (
        f"esa is ready on {place}; health and figures: http://{service.health_place}/health and /metrics. Ctrl-C stops it.",
        f"A first clean message goes {where}:  {python}",
        f"The same with swaks:  {swaks} --body '{CLEAN}'",
        f"A first GTUBE message is refused with 550 5.7.1:  {swaks} --body '{GTUBE}'",
        f"Where to look:  {esa} track, {esa} queue list, {esa} quarantine list"
        + ("" if configuration.state == Path.cwd() / "state" else f" (with --state {_short(configuration.state)})"),
    )
    click.echo("\n".join(lines))


def _called() -> str:
    """What a person types to call this program: its name, or its path where the name would not be found."""
    program = Path(sys.argv[0])
    if program.name != "esa":
        return f"{Path(sys.executable).name} -m esa.cli"
    return "esa" if shutil.which("esa") == str(program.absolute()) else str(program)


def _short(path: Path) -> str:
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)
