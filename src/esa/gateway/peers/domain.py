"""Whether mail to a domain can go over TLS that is verified: its servers, each looked at, and what DANE and MTA-STS say. `esa tlsverify` calls it.

All servers are looked at side by side. What is verified: TLS within the cipher policy, a chain to a trusted authority, and a certificate that stands for the
server or for the domain; or TLSA records that fit (DANE), which need none of these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from esa.engine.resolver import Outcome
from esa.gateway.certificates.facts import public_key_digest
from esa.gateway.certificates.findings import Finding, examine
from esa.gateway.certificates.names import matching_name
from esa.gateway.peers import dane, https, mta_sts
from esa.gateway.peers.answers import PeerResolver
from esa.gateway.peers.probe import Look, Manner, look
from esa.policy.tls_modes import NOT_OFFERED, Dane, Decision, Mode, Shown, decide
from esa.store.tls_history import Seen

SMTP = 25
SERVERS = 20  # of one domain that are looked at; who names more has no plan


@dataclass(frozen=True, slots=True)
class Place:
    """A server to look at. `is_sure`: its name comes from a validated answer, or from an administrator; `preference` is that of its MX record."""

    host: str
    port: int = SMTP
    preference: int | None = None
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class Places:
    """The servers of a domain, the best first; without any, `fault` says why."""

    servers: tuple[Place, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of one server. `name`: that of the certificate which stands for it or the domain; empty if none does."""

    place: Place
    seen: Look
    name: str
    shown: Shown
    findings: tuple[Finding, ...]
    dane_reason: str
    mta_sts_reason: str

    @property
    def problem(self) -> str:
        """Why it is not verified; empty if it is."""
        if self.shown.dane is Dane.MATCHED:
            return decide(Mode.DANE, self.shown).reason
        return decide(Mode.REQUIRED_VERIFY, self.shown).reason

    @property
    def decisions(self) -> dict[Mode, Decision]:
        """What would become of mail to it, under each mode."""
        return {mode: decide(mode, self.shown) for mode in Mode}

    def for_history(self, domain: str, at: float) -> Seen:
        first = self.seen.chain[0] if self.seen.chain else None
        return Seen(
            domain=domain,
            host=self.place.host,
            port=self.place.port,
            at=at,
            step=self.seen.step or "",
            problem=self.problem,
            version=self.seen.version,
            cipher=self.seen.cipher,
            fingerprint=first.fingerprint(hashes.SHA256()).hex() if first is not None else "",
            public_key=public_key_digest(first) if first is not None else "",
            not_after=first.not_valid_after_utc.timestamp() if first is not None else 0.0,
            dane=self.shown.dane.value,
            mta_sts=self.shown.mta_sts.value,
        )


async def find_places(resolver: PeerResolver, domain: str) -> Places:
    """Where mail for a domain goes (RFC 5321 section 5.1): its MX records, else the domain itself."""
    answer = await resolver.exchangers(domain)
    if answer.outcome is Outcome.FAILED:
        return Places((), f"the name servers do not answer for the MX records of {domain}")
    if any(not one.host for one in answer.values):
        return Places((), f"{domain} takes no mail: it says so with a null MX (RFC 7505)")
    if answer.values:
        return Places(tuple(Place(one.host, SMTP, one.preference, answer.is_validated) for one in answer.values[:SERVERS]))
    addresses = await resolver.addresses(domain)
    if addresses.outcome is Outcome.FOUND:
        return Places((Place(domain, SMTP, None, answer.is_validated),))
    return Places((), f"{domain} has neither MX records nor an address")


async def verify(
    resolver: PeerResolver,
    domain: str,
    places: Sequence[Place],
    *,
    manner: Manner,
    authorities: Sequence[x509.Certificate] = (),
    common_name: bool = False,
    https_port: int = https.HTTPS,
) -> list[Verified]:
    """Look at each of these servers of a domain, side by side. Never raises for what they do.

    `authorities` are those that `manner` names, for the findings. `common_name`: that of a certificate without DNS names counts.
    """
    policy = asyncio.create_task(mta_sts.find(resolver, domain, manner=manner, port=https_port))
    looks = [_verify(resolver, domain, place, manner, authorities, common_name, policy) for place in places]
    return list(await asyncio.gather(*looks))


async def _verify(
    resolver: PeerResolver,
    domain: str,
    place: Place,
    manner: Manner,
    authorities: Sequence[x509.Certificate],
    common_name: bool,
    policy: asyncio.Task[mta_sts.Found],
) -> Verified:
    asked = asyncio.create_task(dane.ask(resolver, place.host, place.port, is_host_sure=place.is_sure))
    addresses = (await resolver.addresses(place.host)).values
    seen = await look(place.host, place.port, addresses=addresses, manner=manner)
    promise = await asked
    now = datetime.now(UTC)
    first = seen.chain[0] if seen.chain else None
    of_host = matching_name(first, place.host, common_name=common_name) if first is not None else None
    of_domain = matching_name(first, domain, common_name=common_name) if first is not None else None
    state, dane_reason = promise.state, promise.reason
    if state is None:
        state, dane_reason = dane.match(promise.records, seen.chain, names=(promise.base, place.host, domain), now=now)
    shown = Shown(
        is_offered=seen.step != "offer",
        fault=_fault(seen),
        refusal=seen.refusal or ("it cannot be read" if seen.version and not seen.chain else ""),
        matches_host=of_host is not None,
        matches_domain=of_domain is not None,
        dane=state,
    )
    refusal = shown.fault or (f"the certificate is not trusted: {shown.refusal}" if shown.refusal else "")
    if not shown.is_offered:
        refusal = NOT_OFFERED
    sts, sts_reason = mta_sts.judge(await policy, host=place.host, refusal=refusal, matches_host=shown.matches_host)
    findings = examine(seen.chain, now=now, authorities=authorities) if seen.chain else []
    return Verified(place, seen, of_host or of_domain or "", replace(shown, mta_sts=sts), tuple(findings), dane_reason, sts_reason)


def _fault(seen: Look) -> str:
    """Why there is no TLS that could be used, or it is below policy; empty if there is, whatever its certificate."""
    if seen.below_policy:
        return f"below policy: {'; '.join(seen.below_policy)}"
    return seen.reason if seen.step not in (None, "offer", "certificate") else ""
