"""A report on TLS as a domain asks for it (TLSRPT, RFC 8460): JSON from counted results, and the mail that carries it. Pure.

`tls_reporting` sends them, `esa tlsrpt report` prints them.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import unquote

from esa.errors import SyntaxFault
from esa.message.a_labels import as_a_labels
from esa.message.address import Address
from esa.store.tls_results import TlsResult

DETAILS = 1_000  # kinds of failure of one policy that are told: a report is read by people in the end
RECORD = "v=TLSRPTv1"
MEDIA_TYPE = "application/tlsrpt+gzip"
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_PATH = re.compile(r"(?:/[!-\"$-~]*)?")  # printable, without spaces
_DESTINATIONS = 10  # of one record that are kept


class Reporter(NamedTuple):
    """Who reports."""

    hostname: str
    organization: str
    contact: str  # mail address: it answers questions, and is the author of reports


def destinations(records: list[str]) -> list[str]:
    """Where a domain wants its reports, from the TXT records of _smtp._tls.DOMAIN: mailto and https URIs (section 3). None if it wants none."""
    found = [record for record in records if record.replace(" ", "").startswith(f"{RECORD};")]
    if len(found) != 1:
        return []
    fields = dict(part.strip().partition("=")[::2] for part in found[0].split(";") if "=" in part)
    places = [one.strip() for one in fields.get("rua", "").split(",")]
    return [one for one in places if one.lower().startswith(("mailto:", "https://"))][:_DESTINATIONS]


def address_of(place: str) -> str | None:
    """The mail address of a mailto URI; None if it is none that can be taken as it stands."""
    if not place.lower().startswith("mailto:"):
        return None
    try:
        address = Address.parse(unquote(place[len("mailto:") :].partition("?")[0]))
    except SyntaxFault:
        return None
    return str(address) if address.is_ascii else None


def web_place_of(place: str) -> tuple[str, str] | None:
    """Host (A-labels) and path of an https URI on the usual port; None if it is none that can be posted to as it stands."""
    if not place.lower().startswith("https://"):
        return None
    host, slash, path = place[len("https://") :].partition("#")[0].partition("/")
    host = as_a_labels(host)
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(slash + path):
        return None
    return host, slash + path or "/"


def packed(report: Mapping[str, object]) -> bytes:
    """As it goes out: JSON under gzip. The same report gives the same octets."""
    return gzip.compress(json.dumps(report, indent=1).encode(), mtime=0)


def identifier_of(day: str, domain: str) -> str:
    return f"{day}_{domain}"


def make_report(day: str, domain: str, results: Mapping[TlsResult, int], reporter: Reporter) -> dict[str, object]:
    """The report of one day of UTC, as section 4.4 has it."""
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    by_policy: dict[tuple[str, tuple[str, ...], tuple[str, ...]], dict[TlsResult, int]] = {}
    for result, sessions in results.items():
        by_policy.setdefault((result.policy_type, result.policy, result.servers), {})[result] = sessions
    return {
        "organization-name": reporter.organization or reporter.hostname,
        "date-range": {"start-datetime": _time(begin), "end-datetime": _time(begin + timedelta(days=1, seconds=-1))},
        "contact-info": reporter.contact,
        "report-id": identifier_of(day, domain),
        "policies": [_policy(kind, policy, servers, domain, found) for (kind, policy, servers), found in by_policy.items()],
    }


def _policy(
    kind: str, policy: tuple[str, ...], servers: tuple[str, ...], domain: str, results: Mapping[TlsResult, int]
) -> dict[str, object]:
    about: dict[str, object] = {"policy-type": kind, "policy-domain": domain}
    if policy:
        about["policy-string"] = list(policy)
    if servers:
        about["mx-host"] = list(servers)
    failures = sorted((one for one in results.items() if one[0].result), key=lambda one: -one[1])
    told: dict[str, object] = {
        "policy": about,
        "summary": {
            "total-successful-session-count": sum(count for one, count in results.items() if not one.result),
            "total-failure-session-count": sum(count for _, count in failures),
        },
    }
    if failures:
        told["failure-details"] = [_failure(one, count) for one, count in failures[:DETAILS]]
    return told


def _failure(result: TlsResult, sessions: int) -> dict[str, object]:
    given = {
        "result-type": result.result,
        "sending-mta-ip": result.local,
        "receiving-mx-hostname": result.host,
        "receiving-ip": result.address,
        "failed-session-count": sessions,
        "failure-reason-code": result.reason,
    }
    return {key: value for key, value in given.items() if value != ""}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def make_mail(report: Mapping[str, object], *, day: str, domain: str, to: str, reporter: Reporter, identifier: str) -> bytes:
    """The mail with a report (section 5.3). TLS must not keep a report on TLS from coming (section 3), and its header says so (RFC 8689)."""
    begin = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    submitter = reporter.contact.rpartition("@")[2] or reporter.hostname
    report_id = identifier_of(day, domain)
    name = f"{submitter}!{domain}!{begin}!{begin + 86_399}!{report_id}.json.gz"
    data = base64.b64encode(packed(report)).decode()
    boundary = f"esa-{identifier}"
    head = [
        f"From: <{reporter.contact}>",
        f"To: <{to}>",
        f"Subject: Report Domain: {domain} Submitter: {submitter} Report-ID: <{report_id}@{submitter}>",
        f"Date: {formatdate()}",
        f"Message-ID: <{identifier}@{reporter.hostname}>",
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {submitter}",
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type="tlsrpt";\r\n\tboundary="{boundary}"',
    ]
    words = f"This is a report of {submitter} on TLS of mail to {domain}, for {day} (UTC), as RFC 8460 has it."
    parts = [
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *textwrap.wrap(words, 76),
        f"--{boundary}",
        f"Content-Type: {MEDIA_TYPE}",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n\tfilename="{name}"',
        "",
        *textwrap.wrap(data, 76),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join([*head, "", *parts]).encode("ascii")
