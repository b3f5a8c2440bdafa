"""The table of TLS of delivery: what holds whatever the destination. `schema` puts it into the configuration; modes are those of destinations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from esa.config.ciphers import DEFAULT, PROFILES, lint
from esa.config.values import Table, fault
from esa.errors import SyntaxFault
from esa.message.address import Address
from esa.policy.tls_modes import Mode

FILES = ("authorities", "certificate", "key")  # keys that name files
_LOOPBACK = ("127.", "::1", "[::1]")


def _ciphers(value: str) -> str:
    refused = [finding for finding in lint(value) if finding.refused]
    if refused:
        raise fault(f"this cipher policy is refused at {refused[0]}", f"choose a profile: {', '.join(PROFILES)}")
    return value


def _mailbox(value: str) -> str:
    try:
        if not value or Address.parse(value).is_ascii:
            return value
    except SyntaxFault:
        pass
    raise fault(f"{value!r} is no mail address that all can write to", "write one in ASCII, as postmaster@example.org")


class DeliveryTls(Table):
    """TLS to next hops. Which of them must have it, and whom it trusts, is tls of [[destination]]; ALL changes it for all."""

    ciphers: Annotated[str, AfterValidator(_ciphers)] = Field(
        default=DEFAULT, description=f"Ciphers of TLS 1.2: a profile ({', '.join(PROFILES)}) or a list in OpenSSL's words."
    )
    authorities: str = Field(
        default="",
        description=(
            "File of the authorities that vouch for servers, in PEM. Empty: those that this machine trusts. Policies (MTA-STS) are fetched "
            "under the same. Relative to this file."
        ),
    )
    certificate: str = Field(
        default="",
        description="Certificate shown to servers that ask for one, with intermediate ones behind it, in PEM. Relative to this file.",
    )
    key: str = Field(default="", description="Its key in PEM, not encrypted, readable by this user only. Relative to this file.")
    trust_resolver: bool = Field(
        default=False,
        description=(
            "Whether name servers on another machine are believed what they say of DNSSEC (for dane and REQUIRETLS). Those on this machine "
            "always are."
        ),
    )
    send_reports: bool = Field(
        default=False,
        description="Whether domains that ask for reports on TLS (TLSRPT) are sent them, once a day. esa tlsrpt shows what is counted.",
    )
    reports_from: Annotated[str, AfterValidator(_mailbox)] = Field(
        default="", description="Mail address that reports come from, and that answers questions about them, as postmaster@example.org."
    )
    organization: str = Field(default="", max_length=200, description="Name of who reports. Empty: the host name.")


def contradictions_of_delivery_tls(
    tls: DeliveryTls, modes: Sequence[str], servers: Sequence[str]
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """(place, what, mend) of what cannot stand together. `modes`: of all destinations; `servers`: the name servers given."""
    if bool(tls.certificate) != bool(tls.key):
        yield ("delivery_tls", "key"), "a client's certificate needs its key, and the key its certificate", "give both, or neither"
    if tls.send_reports and not tls.reports_from:
        yield (
            ("delivery_tls", "reports_from"),
            "reports come from nobody",
            'name the address that answers for them, as "postmaster@example.org"',
        )
    foreign = [server for server in servers if not server.startswith(_LOOPBACK)]
    asking = next((mode for mode in modes if Mode(mode).asks_dane), None)
    if asking is not None and foreign and not tls.trust_resolver:
        what = f'tls = "{asking}" would find no record: {foreign[0]} is on another machine, and is not believed what it says of DNSSEC'
        mend = "name a validating name server on this machine as [dns] servers, or set trust_resolver = true if the way to it is safe"
        yield ("delivery_tls", "trust_resolver"), what, mend
