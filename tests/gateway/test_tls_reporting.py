"""Reports on TLS (RFC 8460): from counted results to the mail that a domain asks for, once a day."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from esa.gateway.delivery.tally import Tally
from esa.gateway.delivery.tls_report import Reporter, address_of, destinations, make_report, web_place_of
from esa.gateway.delivery.tls_reporting import WRITER, Reporting
from esa.gateway.peers.dns import ValidatingResolver
from esa.gateway.peers.probe import Manner
from esa.store.segments import SpoolReader, read_message
from esa.store.tls_results import TlsResult, read
from tests.gateway.chains import Chains
from tests.gateway.tls_lab import server_context
from tests.gateway.zone_server import zone_server

DAY, LATER = "2026-03-01", 1_772_409_600.0  # Unix seconds, of the day after
REPORTER = Reporter("mx.example.com", "Example Company", "tls@example.com")
LINES = ("version: STSv1", "mode: enforce", "mx: mx.example.org", "max_age: 86400")
GOOD = TlsResult(DAY, "example.org", "sts", LINES, ("mx.example.org",), "")
EXPIRED = GOOD._replace(
    result="certificate-expired", host="mx.example.org", local="192.0.2.1", address="198.51.100.7", reason="certificate has expired"
)
PLAIN = TlsResult(DAY, "example.org", "no-policy-found", (), (), "starttls-not-supported", "mx2.example.org", "192.0.2.1", "198.51.100.8")


@asynccontextmanager
async def reporting(
    state: Path,
    results: Mapping[TlsResult, int],
    zone: Mapping[tuple[str, str], Sequence[str]],
    *,
    failing: Sequence[str] = (),
    now: float = LATER,
    **given: object,
) -> AsyncIterator[Reporting]:
    tally = Tally()
    for result, sessions in results.items():
        for _ in range(sessions):
            tally.note(result)
    async with zone_server(zone, failing=failing) as names:
        resolver = ValidatingResolver([names.address], timeout=5)
        one = Reporting(state, tally, lambda: resolver, REPORTER, sends=True, **given)  # type: ignore[arg-type]
        one.flush(now)
        try:
            yield one
        finally:
            one.close()


def mails(state: Path) -> list[tuple[str, bytes]]:
    """Recipient and content of all that was put into the spool."""
    if not (state / "spool" / WRITER).is_dir():
        return []
    batch = SpoolReader(state / "spool", {}).read()
    found = []
    for stored in batch.stored:
        message = read_message(state / "spool", stored.location)
        found.append((stored.record.splinters[0].recipients[0], b"".join(message.chunks())))
        assert stored.record.splinters[0].signs
    return found


def test_a_report_counts_by_policy_and_tells_what_failed() -> None:
    report = make_report(DAY, "example.org", {GOOD: 5, EXPIRED: 2, PLAIN: 1}, REPORTER)
    assert report == {
        "organization-name": "Example Company",
        "date-range": {"start-datetime": "2026-03-01T00:00:00Z", "end-datetime": "2026-03-01T23:59:59Z"},
        "contact-info": "tls@example.com",
        "report-id": "2026-03-01_example.org",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-domain": "example.org",
                    "policy-string": list(LINES),
                    "mx-host": ["mx.example.org"],
                },
                "summary": {"total-successful-session-count": 5, "total-failure-session-count": 2},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "192.0.2.1",
                        "receiving-mx-hostname": "mx.example.org",
                        "receiving-ip": "198.51.100.7",
                        "failed-session-count": 2,
                        "failure-reason-code": "certificate has expired",
                    }
                ],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "example.org"},
                "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
                "failure-details": [
                    {
                        "result-type": "starttls-not-supported",
                        "sending-mta-ip": "192.0.2.1",
                        "receiving-mx-hostname": "mx2.example.org",
                        "receiving-ip": "198.51.100.8",
                        "failed-session-count": 1,
                    }
                ],
            },
        ],
    }


@pytest.mark.parametrize(
    ("records", "places"),
    [
        (["v=TLSRPTv1; rua=mailto:a@x.example"], ["mailto:a@x.example"]),
        (["spf", "v=TLSRPTv1;rua=mailto:a@x.example,https://x.example/r ;"], ["mailto:a@x.example", "https://x.example/r"]),
        (["v=TLSRPTv1; rua=mailto:a@x.example", "v=TLSRPTv1; rua=mailto:b@x.example"], []),
        (["v=TLSRPTv1; rua=ftp://x.example"], []),
        (["v=TLSRPTv1"], []),
        (["v=TLSRPTv10; rua=mailto:a@x.example"], []),
    ],
)
def test_one_record_says_where_reports_go(records: list[str], places: list[str]) -> None:
    assert destinations(records) == places


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("mailto:tls%2Breports@x.example?subject=x", "tls+reports@x.example"),
        ("MAILTO:a@X.example", "a@x.example"),
        ("mailto:a@x.example%0d%0aBcc:b@y.example", None),
        ("mailto:a", None),
        ("https://x.example", None),
    ],
)
def test_only_addresses_are_written_to(place: str, address: str | None) -> None:
    assert address_of(place) == address


async def test_a_domain_that_asks_gets_its_report_once_and_the_mail_is_as_the_rfc_has_it(tmp_path: Path) -> None:
    zone = {("_smtp._tls.example.org", "TXT"): ['"v=TLSRPTv1; rua=mailto:reports@example.org"']}
    async with reporting(tmp_path, {GOOD: 3, EXPIRED: 1}, zone) as one:
        assert await one.send(LATER) == 1
        assert await one.send(LATER) == 0
        assert await one.send(LATER + 86_400) == 0
    [(to, content)] = mails(tmp_path)
    assert to == "reports@example.org"
    message = message_from_bytes(content, policy=policy.SMTP)
    assert (message["TLS-Report-Domain"], message["TLS-Report-Submitter"], message["TLS-Required"]) == ("example.org", "example.com", "No")
    assert message["Subject"] == "Report Domain: example.org Submitter: example.com Report-ID: <2026-03-01_example.org@example.com>"
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "tlsrpt")
    _, attached = message.iter_parts()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == "example.com!example.org!1772323200!1772409599!2026-03-01_example.org.json.gz"
    assert json.loads(gzip.decompress(attached.get_content())) == make_report(DAY, "example.org", {GOOD: 3, EXPIRED: 1}, REPORTER)
    assert [(one.day, one.domain, one.told) for one in read(tmp_path)[1]] == [(DAY, "example.org", "reports@example.org")]


async def test_nobody_who_does_not_ask_is_written_to_and_a_day_that_is_not_over_is_not_reported(tmp_path: Path) -> None:
    others = {GOOD: 1, GOOD._replace(domain="silent.example"): 1}
    async with reporting(tmp_path, others, {}, failing=["_smtp._tls.silent.example"]) as one:
        assert await one.send(LATER - 1) == 0
        assert read(tmp_path)[1] == []
        assert await one.send(LATER) == 0
    assert {one.domain: one.told for one in read(tmp_path)[1]} == {
        "example.org": "nobody asked for it",
    }
    assert mails(tmp_path) == []


@dataclass
class Web:
    """A web server for reports; `status` is what it answers."""

    port: int = 0
    status: str = "201 Created"
    taken: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def web(chains: Chains) -> AsyncIterator[Web]:
    one = Web()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
        one.taken.append(head.encode() + await reader.readexactly(length))
        writer.write(f"HTTP/1.1 {one.status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(*chains.good("web.example.org")))
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()


async def test_a_report_is_posted_where_a_domain_wants_that_and_tried_again_for_a_day(tmp_path: Path) -> None:
    """RFC 8460 section 5.4."""
    chains = Chains(tmp_path)
    zone = {
        ("_smtp._tls.example.org", "TXT"): ['"v=TLSRPTv1; rua=https://web.example.org/tls?x=1"'],
        ("web.example.org", "A"): ["127.0.0.1"],
    }
    async with web(chains) as server:
        given = {"manner": Manner("mx.example.com", chains.authorities), "port": server.port}
        async with reporting(tmp_path, {GOOD: 3}, zone, **given) as one:  # type: ignore[arg-type]
            server.status = "503 later"
            assert (await one.send(LATER), read(tmp_path)[1]) == (0, [])
            server.status = "201 Created"
            assert await one.send(LATER + 3_600) == 1
            assert await one.send(LATER + 7_200) == 0
        head, _, body = server.taken[1].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /tls?x=1 HTTP/1.1\r\nHost: web.example.org\r\n")
        assert b"Content-Type: application/tlsrpt+gzip" in head
        assert json.loads(gzip.decompress(body)) == make_report(DAY, "example.org", {GOOD: 3}, REPORTER)
        assert [one.told for one in read(tmp_path)[1]] == ["https://web.example.org/tls?x=1"]
        forbidden = {**given, "is_allowed": lambda _: False}
        again = GOOD._replace(day="2026-03-02")
        async with reporting(tmp_path, {again: 1}, zone, **forbidden) as one:  # type: ignore[arg-type]
            assert await one.send(LATER + 4 * 86_400) == 0
        assert len(server.taken) == 2
        assert [one.told for one in read(tmp_path)[1]][-1] == "nobody whom it could be given to"


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("https://web.example/r?a=b", ("web.example", "/r?a=b")),
        ("HTTPS://WEB.example", ("web.example", "/")),
        ("https://web.example:8443/r", None),
        ("https://user@web.example/r", None),
        ("https://127.0.0.1/r", None),
        ("https://localhost/r", None),
        ("https://web.example/a b", None),
        ("https://web.example/\r\nX: y", None),
        ("mailto:a@web.example", None),
    ],
)
def test_only_web_servers_with_a_name_on_the_usual_port_are_posted_to(place: str, parts: tuple[str, str] | None) -> None:
    assert web_place_of(place) == parts


async def test_results_add_up_and_old_days_go(tmp_path: Path) -> None:
    for _ in range(2):
        async with reporting(tmp_path, {GOOD: 2, EXPIRED: 1}, {}):
            pass
    assert read(tmp_path)[0] == {GOOD: 4, EXPIRED: 2}
    recent = GOOD._replace(day="2026-03-20")
    async with reporting(tmp_path, {recent: 1}, {}, now=LATER + 19 * 86_400):
        assert read(tmp_path)[0] == {recent: 1}
