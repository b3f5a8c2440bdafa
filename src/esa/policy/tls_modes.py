"""TLS modes of delivery: from what a handshake showed to whether mail goes on, goes on in the clear, or waits. Pure; `esa help tls-modes` tells
each in words, and `esa tlsverify` says under which ones mail would go.

Rules: a mode that verifies never sends in the clear and never to a server that failed its test; what cannot be known (name servers that do not
answer) defers, it never lowers the mode. A deferred message says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

NOT_OFFERED: Final = "STARTTLS is not offered"


class Mode(StrEnum):
    """How a destination is spoken to."""

    NONE = "none"
    PREFERRED = "preferred"
    REQUIRED = "required"
    PREFERRED_VERIFY = "preferred-verify"
    REQUIRED_VERIFY = "required-verify"
    REQUIRED_VERIFY_HOSTED_DOMAINS = "required-verify-hosted-domains"
    DANE = "dane"
    MTA_STS = "mta-sts"
    DANE_OR_MTA_STS = "dane-or-mta-sts"

    @property
    def asks_dane(self) -> bool:
        return self in (Mode.DANE, Mode.DANE_OR_MTA_STS)

    @property
    def asks_mta_sts(self) -> bool:
        return self in (Mode.MTA_STS, Mode.DANE_OR_MTA_STS)


class Demand(StrEnum):
    """What a message asks of connections beside the mode of the destination (RFC 8689)."""

    USUAL = "usual"
    REQUIRED = "required"  # REQUIRETLS: TLS with a verified server, and the same of whoever takes it on
    RELAXED = "relaxed"  # TLS-Required: No: what the recipient's domain publishes keeps it from nothing


class Dane(StrEnum):
    """What TLSA records said of a server (RFC 7672 section 2.2)."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    ABSENT = "absent"  # it is proven that there are none, or that the zone is not signed
    UNUSABLE = "unusable"  # validated, but none of a usage that mail takes: TLS without authentication
    UNKNOWN = "unknown"  # name servers failed, or answers were bogus


class MtaSts(StrEnum):
    """What the domain's policy said of a server (RFC 8461)."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"  # mode enforce, and the host or its certificate does not fit
    TESTING = "testing"  # mode testing: told, never enforced
    ABSENT = "absent"  # no policy, or mode none
    UNKNOWN = "unknown"  # there is a record, but the policy cannot be had


@dataclass(frozen=True, slots=True)
class Shown:
    """What a handshake with one server of a domain showed.

    `is_offered`: STARTTLS was. `fault`: why TLS did not come about, or is below policy; empty if it did. `refusal`: why the chain is not
    trusted; empty if it is. `matches_host`: the certificate stands for the name of the server, as MX or a route gave it; `matches_domain`: for the
    domain of the recipient, or a name that an administrator said stands for it.
    """

    is_offered: bool = True
    fault: str = ""
    refusal: str = ""
    matches_host: bool = False
    matches_domain: bool = False
    dane: Dane = Dane.ABSENT
    mta_sts: MtaSts = MtaSts.ABSENT


Way = Literal["secure", "plain", "defer"]


class Decision(NamedTuple):
    """`secure`: the mail goes in TLS; `plain`: without; `defer`: it waits. `reason` says what kept it from more; empty if nothing did."""

    way: Way
    reason: str = ""


def decide(mode: Mode, shown: Shown) -> Decision:
    """Whether mail goes to a server, and how."""
    match mode:
        case Mode.NONE:
            return Decision("plain")
        case Mode.PREFERRED:
            return _preferred(shown)
        case Mode.PREFERRED_VERIFY:
            found = _verify(shown, hosted=False)
            return found if found.way == "secure" else _preferred(shown)._replace(reason=found.reason)
        case Mode.REQUIRED:
            return _required(shown)
        case Mode.REQUIRED_VERIFY:
            return _verify(shown, hosted=False)
        case Mode.REQUIRED_VERIFY_HOSTED_DOMAINS:
            return _verify(shown, hosted=True)
        case Mode.DANE:
            return _dane(shown)
        case Mode.MTA_STS:
            return _mta_sts(shown)
        case Mode.DANE_OR_MTA_STS:  # RFC 8461 section 2: a policy never overrides records that fail
            return _mta_sts(shown) if shown.dane is Dane.ABSENT else _dane(shown)


def decide_required(shown: Shown, *, is_host_sure: bool) -> Decision:
    """Whether a message with REQUIRETLS goes to a server (RFC 8689 section 4.2.1), whatever the mode: in TLS, or not.

    `is_host_sure`: the name of the server is signed (DNSSEC), stands in the domain's policy (MTA-STS), or was given by an administrator.
    """
    reason = _no_tls(shown)
    if not reason and not is_host_sure:
        reason = "nobody vouches for the name of the server, neither DNSSEC nor MTA-STS"
    if not reason and shown.dane is not Dane.MATCHED:
        if shown.dane in (Dane.MISMATCHED, Dane.UNKNOWN):
            reason = "no TLSA record fits the certificate"
        elif shown.refusal:
            reason = f"the certificate is not trusted: {shown.refusal}"
        elif not shown.matches_host:
            reason = "the certificate stands for another name"
    return Decision("defer" if reason else "secure", reason)


def mode_for(mode: Mode, demand: Demand) -> Mode:
    """The mode that counts for a message: TLS-Required: No undoes what recipients publish, never what the administrator wants."""
    return Mode.PREFERRED if demand is Demand.RELAXED and (mode.asks_dane or mode.asks_mta_sts) else mode


def _no_tls(shown: Shown) -> str:
    """Why there is no TLS; empty if there is."""
    return shown.fault or ("" if shown.is_offered else NOT_OFFERED)


def _preferred(shown: Shown) -> Decision:
    reason = _no_tls(shown)
    return Decision("plain" if reason else "secure", reason)


def _required(shown: Shown) -> Decision:
    reason = _no_tls(shown)
    return Decision("defer" if reason else "secure", reason)


def _verify(shown: Shown, *, hosted: bool) -> Decision:
    reason = _no_tls(shown)
    if not reason and shown.refusal:
        reason = f"the certificate is not trusted: {shown.refusal}"
    if not reason and not (shown.matches_domain or (shown.matches_host and not hosted)):
        reason = (
            "the certificate stands for another name" if not hosted else "the certificate does not stand for the domain of the recipient"
        )
    return Decision("defer" if reason else "secure", reason)


def _dane(shown: Shown) -> Decision:
    match shown.dane:
        case Dane.MATCHED | Dane.UNUSABLE:
            return _required(shown)
        case Dane.MISMATCHED:
            return Decision("defer", _no_tls(shown) or "no TLSA record fits the certificate")
        case Dane.UNKNOWN:
            return Decision("defer", "whether there are TLSA records cannot be found out")
        case Dane.ABSENT:
            return _preferred(shown)


def _mta_sts(shown: Shown) -> Decision:
    match shown.mta_sts:
        case MtaSts.MATCHED:
            return _required(shown)
        case MtaSts.MISMATCHED:
            return Decision("defer", _no_tls(shown) or "the policy of the domain (MTA-STS) does not allow this server or its certificate")
        case MtaSts.TESTING | MtaSts.ABSENT | MtaSts.UNKNOWN:  # RFC 8461 section 5: without a policy in hand, mail goes as it did before
            return _preferred(shown)


class Explained(NamedTuple):
    """What a mode does, and what somebody who can change traffic on the way can still do."""

    does: str
    attacker: str


EXPLAINED: Final[Mapping[Mode, Explained]] = MappingProxyType(
    {
        Mode.NONE: Explained(
            "TLS is never begun; mail goes in the clear.",
            "Reads and changes all mail, and so does everybody who only listens.",
        ),
        Mode.PREFERRED: Explained(
            "TLS where the server offers STARTTLS, with any certificate. Without the offer, or if the handshake fails, mail goes in the clear.",
            "Takes STARTTLS out of the reply, or breaks the handshake: mail goes in the clear. Or shows a certificate of their own, and nobody "
            "looks. Those who only listen read nothing.",
        ),
        Mode.REQUIRED: Explained(
            "TLS with any certificate; without it mail waits, and comes back when its time is over.",
            "Shows a certificate of their own, and reads and changes all mail: it is encrypted, but to the attacker. Can also keep mail from "
            "getting through.",
        ),
        Mode.PREFERRED_VERIFY: Explained(
            "As preferred, and the certificate is looked at: trusted authority, and the name of the server or of the domain. If it fails, mail "
            "goes all the same, and tracking says that it was not verified.",
            "All that they can under preferred. It is for finding out who could be verified, not for protection.",
        ),
        Mode.REQUIRED_VERIFY: Explained(
            "TLS, and a certificate of a trusted authority for the name of the server (as MX gives it) or of the domain; else mail waits.",
            "Forges the answer to the MX question, and names a server of their own with a true certificate for it: mail goes there. Signed zones "
            "(DNSSEC), dane, mta-sts or the next mode close that.",
        ),
        Mode.REQUIRED_VERIFY_HOSTED_DOMAINS: Explained(
            "As required-verify, but the certificate must stand for the domain of the recipient itself, or a name that you give for it. What "
            "unsigned DNS says of the domain's servers counts for nothing. Most providers of mail for many domains cannot pass this.",
            "Needs a certificate from a trusted authority for the recipient's domain. Can keep mail from getting through.",
        ),
        Mode.DANE: Explained(
            "Where the domain and its servers are signed (DNSSEC) and publish TLSA records, one of them must fit the certificate (RFC 7672), and "
            "mail never goes in the clear. It is as preferred where it is proven that there are none. No authority is trusted.",
            "Needs the key of a signed zone. Can keep mail from getting through. Where there are no TLSA records: all that they can under "
            "preferred. Where the way to your own resolver is theirs, signatures help nothing: it must run on this machine.",
        ),
        Mode.MTA_STS: Explained(
            "Where the domain publishes a policy over HTTPS with mode enforce, only its servers, with certificates of trusted authorities, get "
            "mail (RFC 8461). It is as preferred where there is none, or while it is in testing.",
            "Hides the policy at the first contact, or for as long as it lives in the cache: mail goes as under preferred. Or needs a certificate "
            "from a trusted authority for a server that the policy names.",
        ),
        Mode.DANE_OR_MTA_STS: Explained(
            "As dane where the servers of the domain have signed TLSA records, else as mta-sts, else as preferred: what a domain publishes is kept. "
            "For all destinations together.",
            "What they can under dane where there are records, and under mta-sts where there is a policy in hand. Where there is neither: all that "
            "they can under preferred.",
        ),
    }
)
