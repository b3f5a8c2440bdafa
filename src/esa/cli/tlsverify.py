"""`esa tlsverify`: whether mail to a domain can go over verified TLS, in AsyncOS's dialogue, and what else is worth knowing of its servers."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.program import DONE, FAILED, FOUND
from esa.cli.state import iso, local
from esa.cli.terminal import coloured, counted, json_option, print_json, print_table, printable, say
from esa.errors import StoreError

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.gateway.peers.domain import Place, Verified
    from esa.gateway.peers.probe import Manner

COMPLETED = "TLS verification completed."
NOT_NEGOTIATED = "TLS was required but could not be successfully negotiated."


@dataclass(frozen=True, slots=True)
class Wish:
    """How to look, whatever the domain."""

    manner: Manner
    common_name: bool
    servers: tuple[str, ...]  # name servers; none: those of the machine
    is_trusted: bool
    state: Path | None  # None: no history
    as_json: bool
    is_brief: bool


@click.command("tlsverify", short_help="Verify the TLS of a domain's mail servers.")
@click.argument("domain", required=False)
@click.option("--host", metavar="HOST[:PORT]", help="Look at this server, instead of one that MX records name.")
@click.option("--all-mx", is_flag=True, help="Look at all servers of the domain, not only the best.")
@click.option("--brief", "is_brief", is_flag=True, help="AsyncOS's lines only.")
@click.option("--history", "shows_history", is_flag=True, help="Show earlier looks at the domain, and connect to nobody.")
@click.option("--no-history", is_flag=True, help="Do not keep what is found.")
@click.option(
    "--authorities", type=click.Path(path_type=Path), metavar="FILE", help="Authorities to trust, in PEM, instead of this machine's."
)
@click.option("--ciphers", metavar="POLICY", help="Least that is enough: a profile, or a list in OpenSSL's words.  [default: intermediate]")
@click.option("--common-name", is_flag=True, help="The common name of a certificate without DNS names counts too.")
@click.option("--resolver", "resolvers", multiple=True, metavar="ADDRESS", help="Name server to ask; may be given again.")
@click.option("--trust-resolver", is_flag=True, help="Believe a name server on another machine what it says of DNSSEC.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder with the history, instead of the one in the configuration.")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Configuration: host name, name servers, state.  [default: esa.toml]"
)
@json_option
def command(
    domain: str | None,
    host: str | None,
    all_mx: bool,
    is_brief: bool,
    shows_history: bool,
    no_history: bool,
    authorities: Path | None,
    ciphers: str | None,
    common_name: bool,
    resolvers: Sequence[str],
    trust_resolver: bool,
    state: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Verify the TLS of a domain's mail servers.

    \b
    Examples:
      esa tlsverify                                      asks what to verify, as AsyncOS does
      esa tlsverify example.net                          its best server
      esa tlsverify example.net --all-mx                 all of them, at one time
      esa tlsverify example.net --host mx3.example.net:26
      esa tlsverify example.net --all-mx --json | jq 'select(.verified | not) | .problem'

    A server is verified if it agrees on TLS within the cipher policy, its chain ends at a trusted authority, and its certificate stands for its name or for
    the domain; or if TLSA records fit (DANE). One that only speaks RC4 or TLS 1.0 is below policy, and that is no success. What DNSSEC says is believed from
    a name server on this machine, or with --trust-resolver.

    With a state folder what is found is kept, and the next look says what has changed.

    Exit status: 0 all that were looked at are verified, 1 some are not, 2 used wrongly, 3 the servers could not be found out.
    """
    configuration, folder = _configuration(config_file, state)
    hostname = configuration.gateway.hostname if configuration is not None else socket.gethostname()
    servers = tuple(resolvers) or (configuration.dns.servers if configuration is not None else ())
    manner = _manner(hostname, authorities, ciphers)
    wish = Wish(manner, common_name, servers, trust_resolver, None if no_history else folder, as_json, is_brief)
    if domain is None:
        if as_json or host or all_mx or shows_history:
            raise click.UsageError("name the domain, as: esa tlsverify example.net")
        return _converse(wish)
    if shows_history:
        return _show_history(domain, wish)
    return asyncio.run(_verify(_domain(domain), host, all_mx, wish))


def _configuration(config_file: Path | None, state: Path | None) -> tuple[Configuration | None, Path | None]:
    """The configuration, if there is one, and the state folder, if there is one; the one that was named must be there."""
    from esa.config.load import load

    configuration = load(config_file) if config_file is not None or Path("esa.toml").exists() else None
    if state is not None and not state.is_dir():
        raise StoreError("there is no state folder", where=str(state), mend="give the right one with --state DIR, or leave it out")
    if state is None and configuration is not None and configuration.state.is_dir():
        state = configuration.state
    return configuration, state


def _manner(hostname: str, authorities: Path | None, ciphers: str | None) -> Manner:
    from esa.config.ciphers import DEFAULT, lint
    from esa.gateway.peers.probe import Manner

    policy = ciphers or DEFAULT
    refused = [finding for finding in lint(policy) if finding.refused]
    if refused:
        raise click.BadParameter(f"this cipher policy is refused at {refused[0]}", param_hint="--ciphers")
    return Manner(hostname, authorities, policy)


def _domain(text: str) -> str:
    from esa.message.a_labels import as_a_labels

    domain = as_a_labels(text.rpartition("@")[2])
    if not domain or any(letter.isspace() or letter in "/:[]" for letter in domain):
        raise click.BadParameter(f"{text!r} is no domain, as example.net", param_hint="DOMAIN")
    return domain


async def _verify(domain: str, host: str | None, all_mx: bool, wish: Wish) -> int:
    from esa.gateway.certificates.files import read_authorities, system_authorities
    from esa.gateway.peers.dns import QUESTION_SECONDS, ValidatingResolver
    from esa.gateway.peers.domain import Place, find_places, verify
    from esa.gateway.peers.probe import host_and_port

    trusted = read_authorities(wish.manner.authorities) if wish.manner.authorities is not None else system_authorities()
    resolver = ValidatingResolver(wish.servers, timeout=QUESTION_SECONDS, is_trusted=wish.is_trusted)
    left: Sequence[Place] = ()
    if host is not None:
        parsed = host_and_port(host, 25)
        if parsed is None:
            raise click.BadParameter(f"{host!r} is no HOST or HOST:PORT, as mx.example.net:26", param_hint="--host")
        places: Sequence[Place] = (Place(*parsed),)
    else:
        found = await find_places(resolver, domain)
        if not found.servers:
            if wish.as_json:
                print_json({"domain": domain, "verified": False, "problem": found.fault})
            say(f"esa: {found.fault}")
            return FAILED if "do not answer" in found.fault else FOUND
        places, left = (found.servers, ()) if all_mx else (found.servers[:1], found.servers[1:])
    verified = await verify(resolver, domain, places, manner=wish.manner, authorities=trusted, common_name=wish.common_name)
    changed = _remember(domain, verified, wish)
    for one, what in zip(verified, changed, strict=True):
        if wish.as_json:
            print_json(_as_object(domain, one, what))
        else:
            _print(one, what, wish)
    if left and not wish.as_json:
        say(f"{counted(len(left), 'more server')}: {', '.join(place.host for place in left)} (look at all with --all-mx)")
    if all_mx and not wish.as_json:
        good = sum(not one.problem for one in verified)
        say(f"{good} of {counted(len(verified), 'server')} of {domain} verified")
    return FOUND if any(one.problem for one in verified) else DONE


def _remember(domain: str, verified: Sequence[Verified], wish: Wish) -> list[list[str]]:
    """Keep what was found; for each server what has changed since it was last looked at."""
    from esa.store.tls_history import add, changes

    if wish.state is None:
        return [[] for _ in verified]
    now = time.time()
    looks = [one.for_history(domain, now) for one in verified]
    try:
        before = add(wish.state, looks)
    except StoreError as fault:
        say(f"esa: what was found is not kept: {fault}")
        return [[] for _ in verified]
    return [
        [f"since {local(last.at)}: {what}" for what in changes(last, look)] if last is not None else []
        for last, look in zip(before, looks, strict=True)
    ]


def _print(one: Verified, changed: Sequence[str], wish: Wish) -> None:
    for line in dialogue(one):
        click.echo(printable(line))
    if wish.is_brief:
        return
    for heading, text in _details(one):
        click.echo(f"  {heading:<9}{printable(text)}")
    for finding in one.findings:
        click.echo(f"  {coloured(finding.severity, 'yellow'):<9}{printable(finding.what)}")
    for what in changed:
        click.echo(f"  changed  {printable(what)}")
    click.echo()


def dialogue(one: Verified) -> Iterator[str]:
    """AsyncOS's lines. Where it knows none for a failure, one of the same make says what it was."""
    host, seen = one.place.host, one.seen
    yield f"Connecting to {host} on port {one.place.port}."
    if seen.is_connected:
        yield f"Connected to {host} from interface {seen.interface}."
        yield "Checking TLS connection."
    if seen.step == "offer":
        yield f"STARTTLS command not supported at {host}."
    elif seen.version:
        yield f"TLS connection established: protocol {seen.version}, cipher {seen.cipher}."
        if seen.below_policy:
            for why in seen.below_policy:
                yield f"TLS connection is below policy: {why}."
        elif seen.step not in (None, "certificate"):
            yield f"TLS connection failed: {seen.reason}."
        else:
            yield "Verifying peer certificate."
            yield f"Verifying certificate common name {_common_name(one)}."
            yield f"TLS certificate match {one.name}" if one.name else f"TLS certificate does not match {host}"
            if not one.problem:
                yield "TLS certificate verified." if not seen.refusal else "TLS certificate verified by DANE."
            elif seen.refusal:
                yield f"TLS certificate is not trusted: {seen.refusal}."
    else:
        yield f"{'TLS connection' if seen.is_connected else 'Connection'} failed: {seen.reason}."
    if one.problem:
        yield NOT_NEGOTIATED
        yield f"Failed to connect to [{host}]."
    else:
        yield f"TLS connection to {host} succeeded."
        yield f"TLS successfully connected to {host}."
    yield COMPLETED


def _common_name(one: Verified) -> str:
    from esa.gateway.certificates.names import names_of

    if not one.seen.chain:
        return "(none)"
    names = names_of(one.seen.chain[0])
    return names.common or (names.dns or names.addresses or ("(none)",))[0]


def _details(one: Verified) -> Iterator[tuple[str, str]]:
    from esa.gateway.certificates.facts import facts_of

    now = datetime.now(UTC)
    for number, certificate in enumerate(one.seen.chain, 1):
        facts = facts_of(certificate, now)
        end = f"ends {facts.not_after[:10]}, {facts.days_left} days left" if facts.days_left >= 0 else f"ended {facts.not_after[:10]}"
        names = f" for {', '.join(facts.names[:5])}{' …' if len(facts.names) > 5 else ''}" if number == 1 and facts.names else ""
        yield "chain" if number == 1 else "", f"{number} {facts.subject}{names}; {facts.key}; {end}"
    yield "DANE", f"{one.shown.dane}: {one.dane_reason}"
    yield "MTA-STS", f"{one.shown.mta_sts}: {one.mta_sts_reason}"
    ways = {"secure": "in TLS", "plain": "in clear", "defer": "waits"}
    for way, heading in ways.items():
        if modes := [mode.value for mode, decision in one.decisions.items() if decision.way == way]:
            yield heading, f"under {', '.join(modes)}"


def _as_object(domain: str, one: Verified, changed: Sequence[str]) -> dict[str, object]:
    from esa.gateway.certificates.facts import facts_of

    now, seen = datetime.now(UTC), one.seen
    return {
        "domain": domain,
        "host": one.place.host,
        "port": one.place.port,
        "preference": one.place.preference,
        "verified": not one.problem,
        "problem": one.problem,
        "address": seen.address,
        "interface": seen.interface,
        "failed_at": seen.step,
        "reason": seen.reason,
        "starttls": one.shown.is_offered and seen.is_connected,
        "protocol": seen.version,
        "cipher": seen.cipher,
        "below_policy": list(seen.below_policy),
        "trusted": seen.is_trusted,
        "refusal": seen.refusal,
        "matching_name": one.name,
        "matches_host": one.shown.matches_host,
        "matches_domain": one.shown.matches_domain,
        "chain": [asdict(facts_of(certificate, now)) for certificate in seen.chain],
        "findings": [asdict(finding) for finding in one.findings],
        "dane": {"verdict": one.shown.dane, "reason": one.dane_reason},
        "mta_sts": {"verdict": one.shown.mta_sts, "reason": one.mta_sts_reason},
        "modes": {mode.value: {"way": decision.way, "reason": decision.reason} for mode, decision in one.decisions.items()},
        "changed": list(changed),
        "milliseconds": seen.milliseconds,
    }


def _show_history(domain: str, wish: Wish) -> int:
    from esa.store.tls_history import read

    if wish.state is None:
        raise click.UsageError("there is no history without a state folder: name it with --state or --config")
    looks = read(wish.state, _domain(domain))
    if wish.as_json:
        for one in looks:
            print_json({**asdict(one), "at": iso(one.at), "not_after": iso(one.not_after) if one.not_after else ""})
        return DONE
    if looks:
        rows = [
            (local(one.at), f"{one.host}:{one.port}", one.version, one.cipher, one.dane, one.mta_sts, one.problem or "verified")
            for one in looks
        ]
        print_table(("at", "server", "protocol", "cipher", "DANE", "MTA-STS", "found"), rows, below=("found",))
    say(counted(len(looks), "look"))
    return DONE


def _converse(wish: Wish) -> int:
    """AsyncOS's questions. An empty domain, or the end of the input, ends it; an empty host is the best that MX records name."""
    code = DONE
    while domain := _ask("Enter the TLS domain to verify against:\n[]> "):
        first = asyncio.run(_best_host(_domain(domain), wish))
        host = _ask(
            f"Enter the destination host to connect to.  Append the port (example.com:26) if you are not connecting on port 25:\n[{first}]> "
        )
        code = max(code, asyncio.run(_verify(_domain(domain), host or None, False, wish)))
        if (_ask("Would you like to verify another domain? [Y]> ") or "y").lower()[0] != "y":
            break
    return code


async def _best_host(domain: str, wish: Wish) -> str:
    """The best of the domain's servers, or the domain where that is not known."""
    from esa.gateway.peers.dns import QUESTION_SECONDS, ValidatingResolver
    from esa.gateway.peers.domain import find_places

    found = await find_places(ValidatingResolver(wish.servers, timeout=QUESTION_SECONDS), domain)
    return found.servers[0].host if found.servers else domain


def _ask(prompt: str) -> str:
    """A line of the input; empty at its end."""
    click.echo(prompt, nl=False)
    return sys.stdin.readline(1024).strip()
