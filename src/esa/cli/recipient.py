"""`esa recipient check`: what the gateway would answer for a recipient, which entry decides, and what each source of recipients says."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.terminal import json_option, print_json
from esa.errors import ConfigurationError, EsaError, SyntaxFault

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.gateway.directory.sources import Source
    from esa.policy.recipient_access import Recipient, RecipientAccess

FOUND = 1


@dataclass(frozen=True, slots=True)
class Said:
    """What one source says."""

    source: str
    standing: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one recipient of mail from strangers."""

    recipient: str
    listener: str
    accepted: bool
    reply: str  # empty: the usual 250
    because: str  # the entry of recipient access
    sources: tuple[Said, ...]


@click.group("recipient", short_help="Ask what becomes of a recipient.")
def command() -> None:
    """Ask what becomes of a recipient.

    \b
    Examples:
      esa recipient check anna@example.org   the entry that decides, and what each source of recipients says
    """


@command.command()
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--listener", metavar="NAME", help="The listener that it comes to; the first if left out.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def check(addresses: tuple[str, ...], listener: str | None, config_file: Path | None, as_json: bool) -> None:
    """Say of each ADDRESS what a stranger who sends to it would be answered, by which entry, and what each source of recipients says.

    Sources are really asked, and anew; a next hop is asked by RCPT. Exit code 0: all are accepted, 1: some are not.
    """
    from esa.config.load import load

    configuration = load(config_file)
    name = listener or configuration.listener[0].name
    if name not in [one.name for one in configuration.listener]:
        raise ConfigurationError(
            f"no listener is called {name!r}", mend=f"Choose of {', '.join(one.name for one in configuration.listener)}."
        )
    fates = asyncio.run(_ask(configuration, name, addresses))
    for fate in fates:
        if as_json:
            print_json(asdict(fate))
            continue
        click.echo(f"{fate.recipient}: {'accepted' if fate.accepted else 'refused'}{f', {fate.reply}' if fate.reply else ''}")
        click.echo(f"  recipient access of {fate.listener}: {fate.because}")
        for said in fate.sources:
            click.echo(f"  source {said.source}: {said.standing} ({said.milliseconds:.1f} ms)")
    if not all(fate.accepted for fate in fates):
        sys.exit(FOUND)


async def _ask(configuration: Configuration, listener: str, addresses: tuple[str, ...]) -> list[Fate]:
    from esa.gateway.assembly import make_recipient_access
    from esa.gateway.directory.build import make_sources
    from esa.message.address import Address
    from esa.policy.recipient_access import recipient_of

    (given,) = [one for one in configuration.listener if one.name == listener]
    access = make_recipient_access(configuration, given)
    sources = [placed.source for placed in make_sources(configuration) if not placed.listeners or listener in placed.listeners]
    try:
        for source in sources:
            await source.start()
        fates = []
        for text in addresses:
            try:
                recipient = recipient_of(str(Address.parse(text)))
            except SyntaxFault as fault:
                raise EsaError(fault.what, where=text, mend="Write an address, as anna@example.org.") from fault
            fates.append(await _fate(text, recipient, listener, access, sources))
        return fates
    finally:
        for source in sources:
            await source.close()


async def _fate(text: str, recipient: Recipient, listener: str, access: RecipientAccess, sources: list[Source]) -> Fate:
    from esa.gateway.directory.sources import Directory, Finding

    match = access.match(recipient)
    said: list[Said] = []
    reply = match.rule.reply
    is_named = match.entry is not None and match.entry.names_a_domain
    if match.rule.accepts and not match.rule.bypass_recipient_check:
        for source in sources:
            if source.scope.covers(recipient.domain, is_named=is_named):
                began = time.monotonic()
                answer = source.look_up(recipient)
                standing = await answer if isinstance(answer, asyncio.Future) else answer
                said.append(Said(source.scope.name, standing.value, round((time.monotonic() - began) * 1000, 2)))
        finding = Directory(sources).find(recipient, is_named=is_named)
        found = finding if isinstance(finding, Finding) else await finding
        reply = found.reply or reply
    accepted = match.rule.accepts and (reply is None or reply.is_positive)
    return Fate(text, listener, accepted, str(reply) if reply else "", match.because, tuple(said))
