"""What becomes of mail under each TLS mode, at servers of every make and fault: real sockets, and the deliver process as it runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esa.gateway.certificates.facts import public_key_digest
from esa.gateway.delivery.deliver import DeliverSettings
from esa.gateway.delivery.securing import ClientTls
from esa.message.envelope import Options
from esa.policy.destination_controls import DestinationControl
from esa.policy.smtp_routes import BY_DNS
from esa.policy.tls_modes import Mode
from esa.store.record import Event, EventName, Record
from esa.store.tls_results import read
from tests.gateway.chains import Chains, Issued, issue
from tests.gateway.deliverer import running_deliverer
from tests.gateway.test_delivery import PATIENCE, events, until
from tests.gateway.tls_lab import LabServer, server_context
from tests.gateway.zone_server import zone_server
from tests.store.messages import CONTENT, fill, make_record

VERIFIED, UNVERIFIED, CLEAR, WAITS = "T", "t", "c", "-"
MODES = (
    Mode.NONE,
    Mode.PREFERRED,
    Mode.REQUIRED,
    Mode.PREFERRED_VERIFY,
    Mode.REQUIRED_VERIFY,
    Mode.REQUIRED_VERIFY_HOSTED_DOMAINS,
    Mode.DANE,
    Mode.MTA_STS,
    Mode.DANE_OR_MTA_STS,
)
# what becomes of mail to each server, a letter for each of MODES in order: T in TLS and verified, t in TLS, c in the clear, - it waits
FATES = {
    "good": "cttTT-ttt",  # trusted, for the host
    "domain": "cttTTTttt",  # trusted, for the domain of the recipient
    "wildcard": "cttTT-ttt",
    "other": "cttt--ttt",  # trusted, for another name
    "expired": "cttt--ttt",
    "future": "cttt--ttt",
    "own": "cttt--ttt",  # signed by itself
    "stranger": "cttt--ttt",  # of an authority that nobody trusts
    "gap": "cttt--ttt",  # the intermediate certificate is missing
    "plain": "cc-c--ccc",  # no STARTTLS
    "refusing": "cc-c--ccc",  # 454
    "injected": "cc-c--ccc",  # octets in the clear behind the 220
    "garbage": "cc-c--ccc",
    "closing": "cc-c--ccc",
    "old": "cc-c--ccc",  # TLS 1.0
    "weak": "cc-c--ccc",  # no cipher of the policy
    "picky": "cc-c--ccc",  # wants a certificate of the client
    "dane": "cttt--TtT",  # signed by itself, and so says a signed TLSA record
    "dane-other": "cttTT--t-",  # the TLSA record is of another key
    "dane-plain": "cc-c---c-",  # a TLSA record, and no STARTTLS
    "dane-unusable": "cttt--ttt",  # TLSA records of kinds that mail does not take
    "dane-silent": "cttTT--t-",  # name servers fail for the TLSA record
    "dane-unsigned": "cttt--ttt",  # a TLSA record that nobody signed
    "sts": "cttTT-tTT",  # a policy that names the server
    "sts-own": "cttt--t--",  # a policy, and the certificate is signed by itself
    "sts-name": "cttt--t--",  # a policy, and the certificate is for another name
    "sts-host": "cttTT-t--",  # a policy that names other servers
    "sts-plain": "cc-c--c--",  # a policy, and no STARTTLS
    "sts-testing": "cttt--ttt",  # a policy in testing, and the certificate is signed by itself
    "both": "cttt--T-T",  # signed by itself: a policy that does not take it, and records that do
    "both-other": "cttTT--T-",  # a policy that takes it, and records that do not
    "sts-lost": "cttTT-ttt",  # a record, and no policy to be had
}


def _host(name: str) -> str:
    return f"mx.{name}.example"


@dataclass
class Lab:
    """Servers by name, each the mail exchanger of NAME.example at an address of its own, all on one port."""

    chains: Chains
    servers: dict[str, LabServer] = field(default_factory=dict)
    zone: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)
    port: int = 0

    def add(self, name: str, server: LabServer) -> None:
        server.address = f"127.0.1.{len(self.servers) + 1}"
        self.servers[name] = server
        self.zone[f"{name}.example", "MX"] = [f"10 {_host(name)}."]
        self.zone[_host(name), "A"] = [server.address]

    def issued(self, name: str, issued: Issued, *above: Issued, **given: object) -> None:
        self.add(name, LabServer(server_context(*self.chains.files(issued, *above)), **given))  # type: ignore[arg-type]

    def good(self, name: str, *names: str, **given: object) -> None:
        self.add(name, LabServer(server_context(*self.chains.good(*(names or (_host(name),)))), **given))  # type: ignore[arg-type]

    def own(self, name: str) -> Issued:
        own = issue(_host(name), by=None, names=[_host(name)])
        self.issued(name, own)
        return own

    def tlsa(self, name: str, *values: str) -> None:
        self.zone[f"_{self.port}._tcp.{_host(name)}", "TLSA"] = list(values)

    def policy(self, name: str, mode: str, server: str = "") -> None:
        domain = f"{name}.example"
        self.zone[f"_mta-sts.{domain}", "TXT"] = ['"v=STSv1; id=1"']
        self.zone[f"mta-sts.{domain}", "A"] = ["127.0.0.1"]
        self.policies[f"mta-sts.{domain}"] = f"version: STSv1\nmode: {mode}\nmx: {server or _host(name)}\nmax_age: 86400\n"


async def _port_for_all(servers: Mapping[str, LabServer], stack: AsyncExitStack) -> int:
    first, *others = servers.values()
    await stack.enter_async_context(first)
    for server in others:
        server.port = first.port
        await stack.enter_async_context(server)
    return first.port


@asynccontextmanager
async def policy_server(lab: Lab) -> AsyncIterator[int]:
    """An HTTPS server for the policies of all domains."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host = next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Host: "))
        body = lab.policies.get(host, "")
        writer.write(
            f"HTTP/1.1 {'200 OK' if body else '404 no'}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    names = [name for name, kind in lab.zone if kind == "A" and name.startswith("mta-sts.")]
    context = server_context(*lab.chains.good(*names)) if names else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def delivering(
    state: Path, lab: Lab, control: DestinationControl, *, signed: Sequence[str] = (), patience: float = PATIENCE, **given: object
) -> AsyncIterator[None]:
    """The deliver process, in this one, with mail exchangers as the lab has them."""
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(zone_server(lab.zone, signed=signed, failing=lab.failing))
        https = await stack.enter_async_context(policy_server(lab))
        settings = DeliverSettings(
            state,
            "here.example",
            BY_DNS,
            control=control,
            retry_initial=60,
            retry_maximum=60,
            connect_timeout=patience,
            tls=ClientTls(authorities=lab.chains.authorities),
            name_servers=(names.address,),
            dns_port=lab.port,
            dns_unreachable=(),
            https_port=https,
            **given,  # type: ignore[arg-type]
        )
        async with running_deliverer(settings):
            yield


def told(state: Path) -> dict[str, Event]:
    """What tracking has of each domain's message."""
    kinds = (EventName.DELIVERED, EventName.DEFERRED, EventName.FAILED)
    found = [event for event in events(state) if event.name in kinds]
    return {str(event.fields["recipients"][0]).partition("@")[2].removesuffix(".example"): event for event in found}  # type: ignore[index]


KEYWORD = b"250-REQUIRETLS\r\n"
BOUND = Options(requiretls=True)


def bound(*recipients: str, content: bytes = CONTENT, options: Options | None = BOUND) -> Record:
    record = make_record(content, recipients=recipients)
    return replace(record, envelope=replace(record.envelope, options=options))


def make_lab(chains: Chains) -> tuple[Lab, dict[str, Issued]]:
    lab = Lab(chains)
    now = datetime.now(UTC)
    for name in ("good", "dane-other", "dane-silent", "sts", "sts-host", "sts-lost", "both-other"):
        lab.good(name)
    lab.good("domain", "domain.example")
    lab.good("wildcard", "*.wildcard.example")
    lab.good("other", "other.example.net")
    for name, begin, end in (
        ("expired", now - timedelta(days=90), now - timedelta(days=2)),
        ("future", now + timedelta(days=30), now + timedelta(days=90)),
    ):
        lab.issued(name, chains.server(_host(name), begin=begin, end=end), chains.intermediate)
    lab.issued("gap", chains.server(_host("gap")))
    lab.issued("stranger", issue(_host("stranger"), by=issue("Stranger", by=None, is_authority=True), names=[_host("stranger")]))
    owned = {name: lab.own(name) for name in ("own", "dane", "dane-unusable", "dane-unsigned", "sts-own", "sts-testing", "both")}
    lab.good("sts-name", "other.example.net")
    for name in ("plain", "dane-plain", "sts-plain"):
        lab.add(name, LabServer(offers=False))
    lab.add("refusing", LabServer(starttls=b"454 4.7.0 not now\r\n"))
    lab.good("injected", starttls=b"220 go\r\n250 lab.example\r\n")
    for name, handshake in (("garbage", "garbage"), ("closing", "closes")):
        lab.add(name, LabServer(handshake=handshake))  # type: ignore[arg-type]
    lab.add("old", LabServer(server_context(*chains.good(_host("old"), key="rsa"), version=ssl.TLSVersion.TLSv1)))
    weak = server_context(*chains.good(_host("weak"), key="rsa"), version=ssl.TLSVersion.TLSv1_2, ciphers="AES128-SHA:@SECLEVEL=0")
    lab.add("weak", LabServer(weak))
    picky = server_context(*chains.good(_host("picky")))
    picky.verify_mode = ssl.CERT_REQUIRED
    lab.add("picky", LabServer(picky))
    return lab, owned


def tallied(state: Path) -> dict[str, list[tuple[str, str, int]]]:
    """By domain: policy type, result, and number of sessions."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    for one, sessions in read(state)[0].items():
        found.setdefault(one.domain.removesuffix(".example"), []).append((one.policy_type, one.result, sessions))
    return found


@pytest.fixture
def chains(tmp_path: Path) -> Chains:
    return Chains(tmp_path)


@pytest.mark.parametrize("mode", MODES)
async def test_what_becomes_of_mail_to_servers_of_every_make(chains: Chains, tmp_path: Path, mode: Mode) -> None:
    lab, owned = make_lab(chains)
    assert lab.servers.keys() == FATES.keys()
    state = tmp_path / "state"
    fill(state, [make_record(recipients=(f"you@{name}.example",)) for name in lab.servers])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        lab.tlsa("dane", f"3 1 1 {public_key_digest(owned['dane'].certificate)}")
        lab.tlsa("dane-unsigned", f"3 1 1 {public_key_digest(owned['own'].certificate)}")
        lab.tlsa("dane-unusable", f"1 1 1 {'00' * 32}")
        lab.tlsa("both", f"3 1 1 {public_key_digest(owned['both'].certificate)}")
        for name in ("dane-other", "dane-plain", "both-other"):
            lab.tlsa(name, f"3 1 1 {'00' * 32}")
        lab.failing.append(f"_{lab.port}._tcp.{_host('dane-silent')}")
        for name in ("sts", "sts-own", "sts-name", "sts-plain", "both", "both-other"):
            lab.policy(name, "enforce")
        lab.policy("sts-host", "enforce", "mx.elsewhere.example")
        lab.policy("sts-testing", "testing")
        lab.policy("sts-lost", "enforce")
        lab.policies["mta-sts.sts-lost.example"] = ""
        signed = [f"{name}.example" for name in lab.servers if name.startswith(("dane", "both")) and name != "dane-unsigned"]
        async with delivering(state, lab, DestinationControl(tls=mode), signed=signed):
            await until(lambda: len(told(state)) == len(lab.servers))
    tracked = told(state)
    assert {name: _fate(server, tracked[name]) for name, server in lab.servers.items()} == {
        name: fates[MODES.index(mode)] for name, fates in FATES.items()
    }
    assert (lab.servers["sts-host"].connections == 0) is mode.asks_mta_sts
    for name, event in tracked.items():
        if event.name is EventName.DEFERRED:
            assert f"4.7.5 {_host(name)}:{lab.port}: tls = {mode}: " in str(event.fields["reply"])
        elif mode is not Mode.NONE:
            assert event.fields["verification"]
        assert len(lab.servers[name].contents) == len(lab.servers[name].taken) == (event.name is EventName.DELIVERED)


def _fate(server: LabServer, event: Event) -> str:
    """From what the server took, and what tracking says of it."""
    if not server.taken:
        return WAITS if event.name is EventName.DEFERRED else f"{event.name} {event.fields['reply']}"
    if server.taken == [False]:
        return CLEAR if "tls" not in event.fields else "told as TLS"
    words = str(event.fields["verification"])
    assert str(event.fields["tls"]).startswith(("TLSv1.3 TLS_", "TLSv1.2 "))
    return UNVERIFIED if words.startswith("not verified") else VERIFIED


@pytest.mark.parametrize("mode", [Mode.NONE, Mode.PREFERRED, Mode.PREFERRED_VERIFY, Mode.REQUIRED_VERIFY, Mode.DANE_OR_MTA_STS])
async def test_requiretls_goes_only_to_verified_servers_that_pass_it_on_whatever_the_mode(
    chains: Chains, tmp_path: Path, mode: Mode
) -> None:
    """RFC 8689 section 4.2.1."""
    lab = Lab(chains)
    lab.good("sts", ehlo_in_tls=KEYWORD)
    lab.issued("dane", own := issue(_host("dane"), by=None, names=[_host("dane")]), ehlo_in_tls=KEYWORD)
    lab.good("signed", ehlo_in_tls=KEYWORD)
    lab.good("unsigned", ehlo_in_tls=KEYWORD)
    lab.good("silent")
    lab.good("other", "other.example.net", ehlo_in_tls=KEYWORD)
    lab.own("own")
    lab.add("plain", LabServer(offers=False))
    state = tmp_path / "state"
    fill(state, [bound(f"you@{name}.example") for name in lab.servers])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        lab.tlsa("dane", f"3 1 1 {public_key_digest(own.certificate)}")
        for name in ("sts", "silent", "other", "own", "plain"):
            lab.policy(name, "enforce")
        async with delivering(state, lab, DestinationControl(tls=mode), signed=["dane.example", "signed.example"]):
            await until(lambda: len(told(state)) == len(lab.servers))
    found = told(state)
    chain_is_demanded = mode is Mode.REQUIRED_VERIFY
    fit = ("sts", "signed") if chain_is_demanded else ("sts", "dane", "signed")
    assert {name: event.name for name, event in found.items()} == {
        **dict.fromkeys(("unsigned", "silent", "other", "own", "plain", "dane"), EventName.FAILED),
        **dict.fromkeys(fit, EventName.DELIVERED),
    }
    replies = {name: str(event.fields["reply"]).replace(f":{lab.port}", "") for name, event in found.items()}
    assert replies["silent"] == "550 5.7.30 mx.silent.example does not offer REQUIRETLS, which this message needs"
    reasons = {name: replies[name].partition("REQUIRETLS: ")[2] for name in ("unsigned", "other", "own", "plain")}
    assert reasons["unsigned"] == "nobody vouches for the name of the server, neither DNSSEC nor MTA-STS"
    assert reasons["plain"].endswith("STARTTLS is not offered")
    assert reasons["own"].endswith("the certificate is not trusted: self-signed certificate")
    assert "certificate" in reasons["other"]
    assert all(replies[name].startswith("550 5.7.10 ") for name in ("unsigned", "other", "own", "plain"))
    for name, server in lab.servers.items():
        assert server.taken == ([True] if name in fit else [])
        mails = [command for command in server.commands if command.startswith("MAIL")]
        assert all(command.endswith(" REQUIRETLS") for command in mails)


@pytest.mark.parametrize(
    ("mode", "options", "fate"),
    [(Mode.PREFERRED, None, CLEAR), (Mode.REQUIRED, None, WAITS), (Mode.MTA_STS, None, WAITS), (Mode.PREFERRED, BOUND, WAITS)],
)
async def test_a_server_that_hangs_in_the_handshake_is_left(
    chains: Chains, tmp_path: Path, mode: Mode, options: Options | None, fate: str
) -> None:
    """It may not the next time: so a message with REQUIRETLS waits too."""
    lab = Lab(chains)
    lab.add("hanging", LabServer(handshake="hangs"))
    state = tmp_path / "state"
    fill(state, [bound("you@hanging.example", options=options)])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        lab.policy("hanging", "enforce")
        async with delivering(state, lab, DestinationControl(tls=mode), patience=3.0):
            await until(lambda: bool(told(state)))
    assert _fate(lab.servers["hanging"], told(state)["hanging"]) == fate


async def test_requiretls_never_lowers_what_the_administrator_demands(chains: Chains, tmp_path: Path) -> None:
    lab = Lab(chains)
    lab.good("host", ehlo_in_tls=KEYWORD)
    lab.good("domain", "domain.example", _host("domain"), ehlo_in_tls=KEYWORD)
    state = tmp_path / "state"
    fill(state, [bound(f"you@{name}.example") for name in lab.servers])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        control = DestinationControl(tls=Mode.REQUIRED_VERIFY_HOSTED_DOMAINS)
        async with delivering(state, lab, control, signed=["example"]):
            await until(lambda: len(told(state)) == len(lab.servers))
    assert {name: server.taken for name, server in lab.servers.items()} == {"host": [], "domain": [True]}
    assert str(told(state)["host"].fields["reply"]).endswith("the certificate does not stand for the domain of the recipient")


async def test_requiretls_tries_the_next_exchanger_and_its_connection_is_not_used_for_others(chains: Chains, tmp_path: Path) -> None:
    lab = Lab(chains)
    lab.good("first")
    lab.good("second", ehlo_in_tls=KEYWORD)
    lab.zone["both.example", "MX"] = [f"10 {_host('first')}.", f"20 {_host('second')}."]
    state = tmp_path / "state"
    fill(state, [bound("you@both.example")])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        async with delivering(
            state, lab, DestinationControl(tls=Mode.PREFERRED), signed=["both.example", "second.example", "first.example"]
        ):
            await until(lambda: len(lab.servers["second"].taken) == 1)
            fill(state, [make_record(recipients=("me@both.example",))], writer="receive-1")
            await until(lambda: len(lab.servers["first"].taken) == 1)
            fill(state, [bound("you@both.example")], writer="receive-2")
            await until(lambda: len([event for event in events(state) if event.name is EventName.DELIVERED]) == 3)
    assert (lab.servers["first"].taken, lab.servers["second"].taken) == ([True], [True, True])


@pytest.mark.parametrize(
    ("mode", "fates"),
    [(Mode.MTA_STS, "tc-"), (Mode.DANE, "tc-"), (Mode.REQUIRED_VERIFY, "---")],
    ids=["mta-sts", "dane", "required-verify"],
)
async def test_tls_required_no_undoes_what_recipients_publish_and_nothing_else(
    chains: Chains, tmp_path: Path, mode: Mode, fates: str
) -> None:
    """RFC 8689 section 3: but the administrator's word stands, and REQUIRETLS is stronger."""
    lab = Lab(chains)
    lab.own("own")
    lab.add("plain", LabServer(offers=False))
    lab.own("bound")
    state = tmp_path / "state"
    relaxed = b"Subject: alarm\r\ntls-required:  No\r\n\r\nyour certificate is wrong\r\n"
    fill(state, [bound(f"you@{name}.example", content=relaxed, options=BOUND if name == "bound" else None) for name in lab.servers])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        for name in lab.servers:
            lab.policy(name, "enforce")
            lab.tlsa(name, f"3 1 1 {'00' * 32}")
        async with delivering(state, lab, DestinationControl(tls=mode), signed=["example"]):
            await until(lambda: len(told(state)) == len(lab.servers))
    found = told(state)
    assert found["bound"].name is EventName.FAILED
    assert "".join(_fate(lab.servers[name], found[name]) for name in ("own", "plain")) == fates[:2]
    assert not lab.servers["bound"].taken


@pytest.mark.parametrize("mode", [Mode.PREFERRED, Mode.DANE, Mode.MTA_STS])
async def test_what_came_of_tls_is_counted_in_the_words_of_reports(chains: Chains, tmp_path: Path, mode: Mode) -> None:
    """RFC 8460 section 4.3."""
    lab = Lab(chains)
    now = datetime.now(UTC)
    lab.good("good")
    lab.good("other", "other.example.net")
    lab.good("host")
    lab.good("lost")
    lab.good("silent")
    owned = lab.own("own")
    lab.issued("expired", chains.server(_host("expired"), begin=now - timedelta(days=9), end=now - timedelta(days=2)), chains.intermediate)
    lab.add("plain", LabServer(offers=False))
    lab.add("closing", LabServer(handshake="closes"))
    state = tmp_path / "state"
    fill(state, [make_record(recipients=(f"you@{name}.example",)) for name in lab.servers])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        for name in lab.servers:
            if mode is Mode.MTA_STS:
                lab.policy(name, "enforce", "mx.elsewhere.example" if name == "host" else "")
            lab.tlsa(name, f"3 1 1 {public_key_digest(owned.certificate)}")
        if mode is Mode.MTA_STS:
            lab.policies["mta-sts.lost.example"] = ""
            lab.policies["mta-sts.silent.example"] = "version: STSv1\n"
        lab.failing.append(f"_{lab.port}._tcp.{_host('silent')}")
        async with delivering(state, lab, DestinationControl(tls=mode), signed=["example"] if mode is Mode.DANE else []):
            await until(lambda: len(told(state)) == len(lab.servers))
    plain, broken = ("starttls-not-supported", "validation-failure")
    match mode:
        case Mode.PREFERRED:
            expected = {name: [("no-policy-found", "", 1)] for name in lab.servers}
            expected |= {"plain": [("no-policy-found", plain, 1)], "closing": [("no-policy-found", broken, 1)]}
        case Mode.DANE:
            expected = {name: [("tlsa", broken, 1)] for name in lab.servers}
            expected |= {"own": [("tlsa", "", 1)], "plain": [("tlsa", plain, 1)], "silent": [("no-policy-found", "dnssec-invalid", 1)]}
        case _:
            expected = {
                "good": [("sts", "", 1)],
                "other": [("sts", "certificate-host-mismatch", 1)],
                "host": [("sts", broken, 1)],
                "lost": [("no-policy-found", "", 1), ("no-policy-found", "sts-policy-fetch-error", 1)],
                "silent": [("no-policy-found", "", 1), ("no-policy-found", "sts-policy-invalid", 1)],
                "own": [("sts", "certificate-not-trusted", 1)],
                "expired": [("sts", "certificate-expired", 1)],
                "plain": [("sts", plain, 1)],
                "closing": [("sts", broken, 1)],
            }
    assert tallied(state) == expected
    failures = [one for one in read(state)[0] if one.result and one.host != _host("host") and not one.result.startswith(("sts-", "dnssec"))]
    assert {(one.host, one.address) for one in failures} == {
        (one.host, lab.servers[one.domain.partition(".")[0]].address) for one in failures
    }


@pytest.mark.parametrize(("mode", "asked"), [(Mode.REQUIRED, "mx.alias.example"), (Mode.DANE, "real.example")])
async def test_a_server_is_asked_for_by_its_name_and_under_dane_by_that_of_its_records(
    chains: Chains, tmp_path: Path, mode: Mode, asked: str
) -> None:
    """RFC 7672 section 8.1: SNI is the TLSA base domain."""
    lab = Lab(chains)
    own = issue("real.example", by=None, names=["real.example"])
    context = server_context(*chains.files(own))
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    lab.add("alias", LabServer(context))
    lab.zone["real.example", "A"] = lab.zone.pop((_host("alias"), "A"))
    lab.zone[_host("alias"), "CNAME"] = ["real.example."]
    state = tmp_path / "state"
    fill(state, [make_record(recipients=("you@alias.example",))])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        lab.zone[f"_{lab.port}._tcp.real.example", "TLSA"] = [f"3 1 1 {public_key_digest(own.certificate)}"]
        async with delivering(state, lab, DestinationControl(tls=mode), signed=["example"]):
            await until(lambda: len(told(state)) == 1)
    assert told(state)["alias"].name is EventName.DELIVERED
    assert names == [asked]


@pytest.mark.parametrize(("signed", "warned"), [(["", "example"], False), (["example"], True)])
async def test_a_name_server_that_validates_nothing_is_told_at_the_start(
    chains: Chains, tmp_path: Path, signed: list[str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(chains)
    lab.good("good")
    lab.zone["", "SOA"] = ["a.root-servers.net. nstld.verisign-grs.com. 1 1800 900 604800 86400"]
    state = tmp_path / "state"
    fill(state, [make_record(recipients=("you@good.example",))])
    async with AsyncExitStack() as stack:
        lab.port = await _port_for_all(lab.servers, stack)
        async with delivering(state, lab, DestinationControl(tls=Mode.DANE), signed=signed):
            await until(lambda: len(told(state)) == 1)
    assert ("dnssec.missing" in caplog.text) is warned
