"""`esa cert`: what certificates say, what is wrong with them and how to mend it; keys and requests for new ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.terminal import coloured, counted, json_option, print_json, printable, say
from esa.errors import EsaError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from esa.config.schema import Configuration
    from esa.gateway.certificates.checking import Checked
    from esa.gateway.certificates.making import KeyType
    from esa.gateway.peers.probe import Look, Server

_Command = TypeVar("_Command", bound=Callable[..., object])
_COLOURS = {"fault": "red", "warning": "yellow", "note": "cyan"}


def _reading_options(function: _Command) -> _Command:
    function = click.option(
        "--authorities", type=click.Path(path_type=Path), metavar="FILE", help="Authorities to trust, in PEM, instead of this machine's."
    )(function)
    return click.option(
        "--password-file", type=click.Path(path_type=Path), metavar="FILE", help="File whose first line opens an encrypted key or PKCS#12."
    )(function)


@click.group("cert", short_help="See, check and request certificates.")
def command() -> None:
    """See, check and request certificates.

    \b
    Examples:
      esa cert show mx.pem                         subject, names, validity, chain
      esa cert show smtp://mx.example.net          those that a server shows
      esa cert check                               all certificates of esa.toml, with what to mend
      esa cert check chain.pem mx.key --name mx.example.org
      esa cert csr mx.example.org --key mx.key     a request for an authority, and a key if there is none
      esa cert self-signed mx.example.org          a certificate to begin with

    Renewal is certbot's work, or that of any other client of ACME; docs/certificates.md has its deploy hook.
    """


@command.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…")
@_reading_options
@json_option
def show(targets: Sequence[str], as_json: bool, authorities: Path | None, password_file: Path | None) -> int:
    """Show what the certificates of each TARGET say: the server's, and the chain behind it.

    \b
    Examples:
      esa cert show mx.pem
      esa cert show smtp://mx.example.net:25 https://www.example.net
      esa cert show appliance.p12 --password-file secret
      esa cert show --json *.pem | jq .certificates[0].days_left

    A TARGET is a file in PEM, DER or PKCS#12, or a server: smtp:// (STARTTLS), smtps:// or https://. Of a server whose certificate is not
    trusted, or whose TLS is too old, everything is shown all the same, and that is said.

    Exit status: 0 shown, 3 a target cannot be read.
    """
    from esa.gateway.certificates.facts import facts_of
    from esa.gateway.certificates.files import read
    from esa.gateway.peers.probe import Server

    now = datetime.now(UTC)
    code = DONE
    for target in targets:
        certificates: tuple[x509.Certificate, ...]
        if (server := Server.of(target)) is not None:
            seen = _look(server, authorities)
            certificates, form = seen.chain, " ".join(filter(None, (seen.version, seen.cipher))) or "no TLS"
            head: dict[str, object] = {"version": seen.version, "cipher": seen.cipher, "trusted": seen.is_trusted, "reason": seen.reason}
            notes = [why for why in (seen.reason, *seen.below_policy) if why]
            code = code if certificates else FAILED
        else:
            bundle = read(Path(target), password=_password(password_file))
            certificates, form = bundle.certificates, bundle.form
            head, notes = (
                {"form": bundle.form, "has_key": bundle.key is not None},
                ["there is a key, too"] if bundle.key is not None else [],
            )
        if as_json:
            print_json({"target": target, **head, "certificates": [asdict(facts_of(one, now)) for one in certificates]})
            continue
        click.echo(f"{printable(target)} ({form}): {counted(len(certificates), 'certificate')}")
        for number, certificate in enumerate(certificates, 1):
            click.echo(f"{number:>3}  " + "\n     ".join(_lines(certificate, now)))
        for note in notes:
            say(printable(f"{target}: {note}"))
    return code


def _look(server: Server, authorities: Path | None) -> Look:
    """What a server shows."""
    from esa.gateway.peers.probe import Manner, look

    manner = Manner(hostname=socket.gethostname(), authorities=authorities)
    return asyncio.run(look(server.host, server.port, scheme=server.scheme, manner=manner))


def _lines(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    from esa.gateway.certificates.facts import facts_of, openssl_time

    facts = facts_of(certificate, now)
    left = f"{facts.days_left} days left"
    if certificate.not_valid_after_utc < now:
        left = coloured(f"expired {counted(-facts.days_left, 'day')} ago", "red")
    elif certificate.not_valid_before_utc > now:
        left = coloured("not valid yet", "red")
    yield f"subject      {printable(facts.subject)}"
    yield f"names        {printable(', '.join(facts.names)) or '-'}"
    yield f"issuer       {printable(facts.issuer)}" + (" (itself)" if certificate.issuer == certificate.subject else "")
    yield f"notBefore={openssl_time(certificate.not_valid_before_utc)}"
    yield f"notAfter={openssl_time(certificate.not_valid_after_utc)}   {left}"
    yield f"key          {facts.key}, signed with {facts.digest}" + ("; may sign others" if facts.is_authority else "")
    yield f"serial       {facts.serial}"
    yield f"fingerprint  SHA-256 {facts.fingerprint}"
    yield f"public key   SHA-256 {facts.public_key}"


@command.command()
@click.argument("chain", required=False)
@click.argument("key", required=False, type=click.Path(path_type=Path))
@click.option("--name", "names", multiple=True, metavar="HOST", help="Host name the certificate must stand for; may be given again.")
@click.option("--mx", "domains", multiple=True, metavar="DOMAIN", help="Domain whose MX records must name hosts that it stands for.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration, instead of esa.toml; without CHAIN.")
@_reading_options
@json_option
def check(
    chain: str | None,
    key: Path | None,
    names: Sequence[str],
    domains: Sequence[str],
    config_file: Path | None,
    authorities: Path | None,
    password_file: Path | None,
    as_json: bool,
) -> int:
    """Say all that is wrong with a certificate, its chain and its KEY, and how to mend it.

    \b
    Examples:
      esa cert check                       every [[certificate]] of esa.toml, for the host name of the gateway
      esa cert check chain.pem mx.key --name mx.example.org
      esa cert check chain.pem --authorities our-root.pem
      esa cert check smtp://mx.example.net
      esa cert check --mx example.org      do MX records name hosts that the certificate stands for?

    Looks whether the key belongs to the certificate (by public key, for RSA, ECDSA and Ed25519), at the order and completeness of the
    chain, names, times, weak keys and digests; and asks OpenSSL, in a handshake in memory, whether a client would take it. It warns 60, 30,
    14, 7 and 1 days before the end.

    Exit status: 0 all is well, 1 something is to be mended, 2 used wrongly, 3 a file cannot be read.
    """
    from esa.config.load import load
    from esa.gateway.certificates.checking import check_configuration, check_files, check_peer
    from esa.gateway.certificates.files import read_authorities, system_authorities
    from esa.gateway.peers.probe import Server

    trusted = read_authorities(authorities) if authorities is not None else system_authorities()
    now = datetime.now(UTC)
    configuration = None if chain is not None else load(config_file)
    names = (*names, *_exchangers(domains, configuration))
    if chain is not None:
        if config_file is not None:
            raise click.UsageError("give either CHAIN or --config")
        password = _password(password_file)
        if (server := Server.of(chain)) is not None:
            seen = _look(server, authorities)
            checked = [check_peer(seen, now=now, names=names, authorities=trusted, target=chain)]
        else:
            checked = [check_files(Path(chain), key, now=now, names=names, authorities=trusted, password=password)]
    elif configuration is not None:
        if not configuration.certificate:
            say("there is no [[certificate]] in the configuration: the listeners speak no TLS. See docs/certificates.md.")
            return FOUND
        checked = check_configuration(configuration, now=now, names=names, authorities=trusted)
    for one in checked:
        if as_json:
            print_json(one.as_object())
        else:
            _print_checked(one)
    return FOUND if any(one.needs_mending for one in checked) else DONE


def _exchangers(domains: Sequence[str], configuration: Configuration | None) -> list[str]:
    """The hosts that MX records of these domains name. Raises EsaError if they cannot be found out."""
    from esa.gateway.peers.dns import QUESTION_SECONDS, ValidatingResolver
    from esa.gateway.peers.domain import find_places

    async def ask() -> list[str]:
        resolver = ValidatingResolver(configuration.dns.servers if configuration is not None else (), timeout=QUESTION_SECONDS)
        found: dict[str, None] = {}
        for domain in domains:
            places = await find_places(resolver, domain)
            if places.fault:
                raise EsaError(
                    places.fault, where=f"--mx {domain}", mend="name a domain that takes mail, or look when its name servers answer"
                )
            found.update({place.host: None for place in places.servers})
        return list(found)

    return asyncio.run(ask()) if domains else []


def _print_checked(checked: Checked) -> None:
    click.echo(printable(checked.title))
    for finding in checked.findings:
        click.echo(f"  {coloured(finding.severity, _COLOURS[finding.severity])}: {printable(finding.what)}")
        if finding.mend:
            click.echo(f"    {printable(finding.mend)}")
    if checked.openssl is not None:
        click.echo(f"  OpenSSL, as a client: {printable(checked.openssl) or 'takes it'}")
    if not checked.findings:
        click.echo(f"  {coloured('all is well', 'green')}")


def _making_options(function: _Command) -> _Command:
    for option in (
        json_option,
        click.option("--force", is_flag=True, help="Overwrite the files if they are there."),
        click.option(
            "--key-type",
            type=click.Choice(["ecdsa", "rsa", "ed25519"]),
            default="ecdsa",
            show_default=True,
            help="Kind of a new key; no public authority signs ed25519 yet.",
        ),
        click.option(
            "--key", "key_file", type=click.Path(path_type=Path), help="The key: used if it is there, else made. [default: NAME.key]"
        ),
    ):
        function = option(function)
    return function


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--out", type=click.Path(path_type=Path), help="Where the request goes. [default: NAME.csr]")
@_making_options
def csr(names: Sequence[str], out: Path | None, key_file: Path | None, key_type: str, force: bool, as_json: bool) -> None:
    """Write a request for a certificate that stands for each NAME, for an authority to sign.

    \b
    Examples:
      esa cert csr mx.example.org mx2.example.org
      esa cert csr mx.example.org --key mx.key --out renewal.csr     keep the key: a TLSA record 3 1 1 stays right

    A key is made (mode 0600) where there is none; --force never overwrites a key that is used.
    """
    from esa.gateway.certificates.making import request, write

    key_file, out = key_file or _file(names[0], ".key"), out or _file(names[0], ".csr")
    key, is_new = _key(key_file, key_type)
    written = request(key, names)
    write(out, written, is_secret=False, replace=force)
    _keep(key, key_file, is_new)
    if as_json:
        print_json({"request": str(out), "key": str(key_file), "is_new_key": is_new})
    say(f"wrote {out} for the {'new ' if is_new else ''}key {key_file}")
    say(f"next: have it signed, then esa cert check CHAIN {key_file} --name {names[0]}")


@command.command("self-signed")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--days", type=click.IntRange(1, 3_650), default=365, show_default=True, help="How long it is valid.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the certificate goes. [default: NAME.pem]")
@_making_options
def self_signed(
    names: Sequence[str], days: int, out: Path | None, key_file: Path | None, key_type: str, force: bool, as_json: bool
) -> None:
    """Write a certificate that signs itself, and its key: to begin with, or to be published by DANE (RFC 7672).

    \b
    Examples:
      esa cert self-signed mx.example.org
      esa cert self-signed mx.example.org --days 90 --key mx.key --out mx.pem

    Who only encrypts takes it; who verifies does not, but for DANE.
    """
    from esa.gateway.certificates.facts import public_key_digest
    from esa.gateway.certificates.files import parse
    from esa.gateway.certificates.making import self_signed as make
    from esa.gateway.certificates.making import write
    from esa.message.a_labels import as_a_labels

    key_file, out = key_file or _file(names[0], ".key"), out or _file(names[0], ".pem")
    key, is_new = _key(key_file, key_type)
    written = make(key, names, now=datetime.now(UTC), days=days)
    write(out, written, is_secret=False, replace=force)
    _keep(key, key_file, is_new)
    tlsa = f"_25._tcp.{as_a_labels(names[0])}. IN TLSA 3 1 1 {public_key_digest(parse(written))}"
    if as_json:
        print_json({"certificate": str(out), "key": str(key_file), "is_new_key": is_new, "tlsa": tlsa})
    else:
        click.echo(f'[[certificate]]\nchain = "{out}"\nkey = "{key_file}"')
    say(f"wrote {out} for the {'new ' if is_new else ''}key {key_file}")
    say(f"with DNSSEC, publish: {tlsa}")


def _key(file: Path, kind: str) -> tuple[CertificateIssuerPrivateKeyTypes, bool]:
    """The key of a file, or a new one that `_keep` has to write; and whether it is new."""
    from esa.gateway.certificates.making import make_key, read_key

    return (read_key(file), False) if file.exists() else (make_key(cast("KeyType", kind)), True)


def _keep(key: CertificateIssuerPrivateKeyTypes, file: Path, is_new: bool) -> None:
    from esa.gateway.certificates.making import key_octets, write

    if is_new:
        write(file, key_octets(key), is_secret=True, replace=False)


def _file(name: str, suffix: str) -> Path:
    """A file in this folder, called after a host name."""
    plain = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name).strip(".") or "certificate"
    return Path(plain + suffix)


def _password(file: Path | None) -> bytes | None:
    if file is None:
        return None
    with file.open("rb") as opened:
        return opened.readline(1024).rstrip(b"\r\n")
