"""`esa dkim`: keys that sign outgoing mail, the DNS records that publish them, and a signature by hand."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.terminal import json_option, print_json, print_table, printable, say
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa.config.dkim import DkimKey

PIECE = 255  # octets of one string of a TXT record (RFC 1035 section 3.3.14)


@click.group("dkim", short_help="Make, show and try the keys that sign outgoing mail.")
def command() -> None:
    """Make, show and try the keys that sign outgoing mail.

    \b
    Examples:
      esa dkim new example.com --selector 2026a    a key, the record to publish, and the lines for esa.toml
      esa dkim list                                the keys of esa.toml, and whom they sign for
      esa dkim record                              the records to publish for them
      esa dkim check                               whether DNS has them
      esa dkim sign < message.eml                  what would be put on top of this message
    """


@command.command()
@click.argument("domain")
@click.option("--selector", default=lambda: time.strftime("%Y%m"), show_default="year and month", help="Name of the key in DNS.")
@click.option(
    "--type", "kind", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True, help="What verifiers know: all know RSA."
)
@click.option("--bits", type=click.IntRange(2048, 4096), default=2048, show_default=True, help="Of an RSA key.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="File of the key, instead of DOMAIN.SELECTOR.pem.")
@json_option
def new(domain: str, selector: str, kind: str, bits: int, out: Path | None, as_json: bool) -> int:
    """Make a key for authors of DOMAIN, in a file that only you can read, and print the record to publish.

    \b
    Examples:
      esa dkim new example.com --selector 2026a
      esa dkim new example.com --selector 2026e --type ed25519     beside it, for verifiers that know it

    Publish the record first; sign when everybody can see it. To change a key, publish the new one under another selector, sign with it, and take
    the old record away a week later. Exit status: 0 made, 2 no domain or selector, 3 the file is there already or cannot be written.
    """
    from esa.gateway.delivery.signing import make_key, private_octets, text_record

    domain, selector = _domain(domain, "domain"), _domain(selector, "selector")
    path = out or Path(f"{domain}.{selector}.pem")
    key = make_key("rsa-sha256" if kind == "rsa" else "ed25519-sha256", bits)
    _write_new(path, private_octets(key))
    record, name = text_record(key), f"{selector}._domainkey.{domain}"
    lines = f'[[dkim]]\ndomain = "{domain}"\nselector = "{selector}"\nkey = "{path}"\n'
    if as_json:
        print_json({"domain": domain, "selector": selector, "key": str(path), "name": name, "record": record})
        return DONE
    say(f"The key is in {path}. Publish:\n")
    click.echo(zone_line(name, record))
    say(f"\nand, once it can be seen, write into esa.toml:\n\n{lines}")
    return DONE


@command.command("list")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def list_(config_file: Path | None, as_json: bool) -> int:
    """List the keys of esa.toml, and whom they sign for.

    Exit status: 0 all can be used, 1 there are none, 2 one cannot be read.
    """
    from esa.gateway.delivery.signing import algorithm_of, read_key

    rows = []
    for one in _keys(config_file):
        algorithm = algorithm_of(read_key(Path(one.key)))
        whom = f"{one.domain} and below" if one.sub_domains else one.domain
        rows.append((one.domain, one.selector, algorithm, whom, one.key))
        if as_json:
            print_json(
                {"domain": one.domain, "selector": one.selector, "algorithm": algorithm, "sub_domains": one.sub_domains, "key": one.key}
            )
    if not as_json and rows:
        print_table(("domain", "selector", "algorithm", "signs for", "key"), rows)
    if not rows:
        say("there are no keys: make one with esa dkim new")
    return DONE if rows else FOUND


@command.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def record(config_file: Path | None, as_json: bool) -> int:
    """Print the records to publish for the keys of esa.toml, as lines of a zone file.

    Exit status: 0 printed, 1 there are no keys, 2 one cannot be read.
    """
    from esa.gateway.delivery.signing import read_key, text_record

    keys = _keys(config_file)
    for one in keys:
        name, text = f"{one.selector}._domainkey.{one.domain}", text_record(read_key(Path(one.key)))
        if as_json:
            print_json({"name": name, "record": text})
        else:
            click.echo(zone_line(name, text))
    return DONE if keys else FOUND


@command.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@json_option
def check(config_file: Path | None, as_json: bool) -> int:
    """Ask DNS whether the keys of esa.toml are published, as verifiers will.

    \b
    Examples:
      esa dkim check
      esa dkim check --json | jq 'select(.good | not)'

    Exit status: 0 all are, 1 one is not or there are no keys, 2 a key cannot be read, 3 the name servers cannot be asked.
    """
    from esa.config.load import load
    from esa.gateway.delivery.signing import read_key, text_record

    configuration = load(config_file)
    records = [(f"{one.selector}._domainkey.{one.domain}", text_record(read_key(Path(one.key)))) for one in configuration.dkim]
    found = asyncio.run(_ask([name for name, _ in records], configuration.dns.servers))
    status = DONE if records else FOUND
    for (name, record), texts in zip(records, found, strict=True):
        what, mend = _standing(record, texts)
        status = max(status, FAILED if texts is None else FOUND if mend else DONE)
        if as_json:
            print_json({"name": name, "good": not mend, "what": what, "mend": mend})
        else:
            click.echo(f"{name}: {what}" + (f"\n  {mend}" if mend else ""))
    if not records:
        say("there are no keys: make one with esa dkim new")
    return status


async def _ask(names: Sequence[str], servers: Sequence[str]) -> list[tuple[str, ...] | None]:
    """The TXT records of each name; None where nobody answers."""
    from esa.engine.resolver import Outcome
    from esa.gateway.peers.dns import QUESTION_SECONDS, ValidatingResolver

    if not names:
        return []
    resolver = ValidatingResolver(servers, timeout=QUESTION_SECONDS)
    answers = await asyncio.gather(*map(resolver.texts, names))
    return [None if answer.outcome is Outcome.FAILED else answer.values for answer in answers]


def _standing(record: str, texts: tuple[str, ...] | None) -> tuple[str, str]:
    """What is published in the place of `record`, and how to mend it; no mend is needed where it is right."""
    from esa.message.dkim import tags_of

    publish = "publish what esa dkim record prints, and wait until every name server of the domain has it"
    if texts is None:
        return "the name servers do not answer", "ask again later, or see [dns] servers"
    keys = [tags for tags in map(tags_of, texts) if "p" in tags and tags.get("v", "DKIM1") == "DKIM1"]
    if not keys:
        return "nothing is published: no signature holds" if not texts else "there is a TXT record, but no key in it", publish
    if len(keys) > 1:
        return "several keys are published under one name: verifiers take either, or none", "leave the one that esa dkim record prints"
    (tags,), ours = keys, tags_of(record)
    if not tags["p"]:
        return "the key is revoked (empty p=): no signature holds", publish
    if tags["p"] != ours["p"] or tags.get("k", "rsa") != ours["k"]:
        return "another key is published: no signature holds", publish
    if "sha256" not in tags.get("h", "sha256").split(":"):
        return "the record forbids SHA-256 (h=): no signature holds", "take h= out of the record"
    if "y" in tags.get("t", "").split(":"):
        return (
            "published, but as a test (t=y): verifiers treat failures as no signature",
            "take t=y out once mail is signed as it should be",
        )
    return "published", ""


@command.command()
@click.argument("message", type=click.File("rb"), default="-")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml.")
@click.option("--whole", is_flag=True, help="Print the message too, as it would leave.")
def sign(message: IO[bytes], config_file: Path | None, whole: bool) -> int:
    """Print the DKIM-Signature fields that MESSAGE (a file, or - for stdin) would leave with.

    Exit status: 0 signed, 1 nobody signs for its author, 2 the configuration is wrong.
    """
    from esa.config.load import load
    from esa.gateway.delivery.signing import open_signing

    signing = open_signing(load(config_file))
    content = message.read()
    fields = signing.fields([content]) if signing is not None else b""
    sys.stdout.buffer.write(fields + content if whole else fields)
    if not fields:
        say("nobody signs for the author of this message: esa dkim list shows whom there are keys for")
    return DONE if fields else FOUND


def zone_line(name: str, record: str) -> str:
    """A TXT record as it stands in a zone file, in strings of at most PIECE octets."""
    pieces = [record[at : at + PIECE] for at in range(0, len(record), PIECE)]
    return f"{name}. IN TXT ( " + " ".join(f'"{piece}"' for piece in pieces) + " )"


def _keys(config_file: Path | None) -> tuple[DkimKey, ...]:
    from esa.config.load import load

    return load(config_file).dkim


def _domain(text: str, what: str) -> str:
    from esa.errors import SyntaxFault
    from esa.message.address import parse_domain

    try:
        return parse_domain(text)
    except SyntaxFault as error:
        raise ConfigurationError(f"this is no {what}", where=printable(text), mend="write it as in DNS, such as example.com") from error


def _write_new(path: Path, octets: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        say(f"{path}: {error.strerror}\nname another file with --out; a key that signs is never overwritten")
        sys.exit(FAILED)
    with open(descriptor, "wb") as file:  # noqa: PTH123
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
