"""MTA-STS (RFC 8461): the policy that a domain publishes over HTTPS, and whether a server and its certificate fit it. `domain` calls it, and
delivery's `policies`, which keep what was fetched.

The policy is fetched from `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, at most 64 KiB, within seconds; what is wrong with it is said and
counts as no policy in hand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, cast

from esa.engine.resolver import Outcome
from esa.gateway.peers import https
from esa.gateway.peers.answers import PeerResolver
from esa.gateway.peers.probe import Manner
from esa.message.a_labels import as_a_labels
from esa.policy.tls_modes import MtaSts

POLICY_LIMIT = 64 << 10  # octets (RFC 8461 section 3.3 allows to stop there)
SECONDS = 15.0  # for the policy; RFC 8461 section 3.3 proposes a minute, an administrator waits here
MOST_SERVERS = 100  # mx lines of one policy
LONGEST_AGE = 31_557_600  # seconds (section 3.2)
_IDENTIFIER = re.compile(r"[A-Za-z0-9]{1,32}\Z")
Trouble = Literal["", "fetch", "certificate", "content"]  # what a policy that cannot be had failed at
PolicyMode = Literal["enforce", "testing", "none"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks of its senders. `servers`: host names, or `*.` and a domain, in lower case; `max_age` in seconds."""

    mode: PolicyMode
    servers: tuple[str, ...]
    max_age: int
    identifier: str = ""  # of the record: it changes when the policy does

    def allows(self, host: str) -> bool:
        """Whether a server is among them (section 4.1): a wildcard stands for exactly one label."""
        name = as_a_labels(host)
        return any(one == name or (one.startswith("*.") and name.partition(".")[2] == one[2:]) for one in self.servers)


@dataclass(frozen=True, slots=True)
class Found:
    """The policy of a domain; without one, what that counts as and why."""

    policy: Policy | None
    state: MtaSts = MtaSts.ABSENT
    reason: str = ""
    trouble: Trouble = ""


class PolicyError(ValueError):
    """It is no policy."""


async def find(resolver: PeerResolver, domain: str, *, manner: Manner, port: int = https.HTTPS) -> Found:
    """The policy of a domain. Never raises for what its servers do."""
    record = await identify(resolver, domain)
    return record if isinstance(record, Found) else await fetch(resolver, domain, record, manner=manner, port=port, seconds=SECONDS)


async def identify(resolver: PeerResolver, domain: str) -> str | Found:
    """The identifier of the policy that a domain publishes, as its DNS has it; or what there is without one. Never raises."""
    answer = await resolver.texts(f"_mta-sts.{domain}")
    if answer.outcome is Outcome.FAILED:
        return Found(None, MtaSts.UNKNOWN, f"the name servers do not answer for _mta-sts.{domain}")
    records = [text for text in answer.values if re.match(r"v=STSv1\s*(?:;|\Z)", text)]
    if not records:
        return Found(None, MtaSts.ABSENT, "the domain publishes no policy")
    if len(records) > 1:  # section 3.1: then there is none
        return Found(None, MtaSts.ABSENT, f"the domain publishes {len(records)} records, which count as none")
    identifier = _fields(records[0], ";", "=").get("id", [""])[0]
    if not _IDENTIFIER.match(identifier):
        return Found(None, MtaSts.ABSENT, "the record has no id")
    return identifier


async def fetch(
    resolver: PeerResolver,
    domain: str,
    identifier: str,
    *,
    manner: Manner,
    port: int = https.HTTPS,
    seconds: float,
    is_allowed: Callable[[str], bool] = lambda _: True,
) -> Found:
    """The policy itself, over HTTPS. Never raises for what its servers do.

    `is_allowed`: whether an address may be connected to, for those who fetch what strangers name.
    """
    try:
        async with asyncio.timeout(seconds):
            text = await _fetch(resolver, f"mta-sts.{as_a_labels(domain)}", manner, port, is_allowed)
        policy = parse(text, identifier)
    except TimeoutError:
        return Found(None, MtaSts.UNKNOWN, f"the policy did not come within {seconds:g} s", "fetch")
    except (PolicyError, https.HttpsError, OSError) as error:
        trouble: Trouble = "content" if isinstance(error, PolicyError) else "fetch"
        if isinstance(error, https.HttpsError):
            trouble = error.trouble
        return Found(None, MtaSts.UNKNOWN, f"the policy cannot be had: {error}", trouble)
    if policy.mode == "none":
        return Found(policy, MtaSts.ABSENT, "the policy says none")
    return Found(policy)


def judge(found: Found, *, host: str, refusal: str, matches_host: bool) -> tuple[MtaSts, str]:
    """Whether a server fits the policy. `refusal`: why its chain is not trusted, or TLS did not come about; empty if all is well."""
    policy = found.policy
    if policy is None or policy.mode == "none":
        return found.state, found.reason
    if not policy.allows(host):
        reason = f"{host} is not among the servers of the policy: {', '.join(policy.servers)}"
    elif refusal:
        reason = refusal
    elif not matches_host:
        reason = f"the certificate does not stand for {host}"
    else:
        return MtaSts.TESTING if policy.mode == "testing" else MtaSts.MATCHED, f"mode {policy.mode}, and all fits"
    return MtaSts.TESTING if policy.mode == "testing" else MtaSts.MISMATCHED, f"mode {policy.mode}: {reason}"


def parse(text: str, identifier: str = "") -> Policy:
    """A policy file (section 3.2). Raises PolicyError."""
    fields = _fields(text, "\n", ":")
    if fields.get("version") != ["STSv1"]:
        raise PolicyError("it does not begin with version: STSv1")
    mode, age = fields.get("mode", [""])[0], fields.get("max_age", [""])[0]
    if mode not in ("enforce", "testing", "none"):
        raise PolicyError(f"its mode is {mode!r}")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise PolicyError("it has no max_age")
    servers = tuple(as_a_labels(one) for one in fields.get("mx", [])[:MOST_SERVERS])
    if not servers and mode != "none":
        raise PolicyError("it names no server (mx)")
    return Policy(cast("PolicyMode", mode), servers, min(int(age), LONGEST_AGE), identifier)


def _fields(text: str, between: str, mark: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.split(between):
        name, has, value = part.partition(mark)
        if has:
            found.setdefault(name.strip(), []).append(value.strip())
    return found


async def _fetch(resolver: PeerResolver, host: str, manner: Manner, port: int, is_allowed: Callable[[str], bool]) -> str:
    """The file at the well-known place. Raises PolicyError, HttpsError or OSError, which say why not."""
    request = https.get(host, "/.well-known/mta-sts.txt")
    reply = await https.ask(resolver, host, request, manner=manner, port=port, limit=POLICY_LIMIT, is_allowed=is_allowed)
    if reply.status != HTTPStatus.OK:
        raise https.HttpsError("fetch", f"{host} answers {reply.status} for it")
    if reply.content_type != "text/plain":
        raise PolicyError(f"it is {reply.content_type}, not text/plain")
    return reply.body.decode("utf-8", "replace").replace("\r\n", "\n")
