"""The tables of host access: sender groups and mail flow policies. Names and defaults are AsyncOS's.

`schema` puts them into the configuration, `groups_of` makes values of them. A policy that the file gives in part has the rest from the
shipped policy of that name, then from `[mail_flow_policy.DEFAULT]`, then from the defaults below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from esa.config.entries import read_entries
from esa.config.units import format_duration, format_size
from esa.config.values import DAY, KIB, LARGEST_MESSAGE, MINUTE, Duration, Name, ReplyText, Size, Table, Texts, fault
from esa.errors import SyntaxFault
from esa.policy.host_access import SenderGroup as Group
from esa.policy.host_access_audit import relays_to_strangers
from esa.policy.mail_flow import SHIPPED, UNLIMITED, AccessRule, Demand, PipelineRule
from esa.policy.mail_flow import MailFlowPolicy as Policy
from esa.policy.senders import SenderEntry, parse_sender

WITHOUT_EFFECT = {"virus_check": "there is no virus engine"}  # parameters that wait for what they are about
DEFAULT = "DEFAULT"  # name of the policy that gives the others what they leave out
_GIVEN = Policy()


def _sender(value: str) -> str:
    try:
        parse_sender(value)
    except SyntaxFault as wrong:
        raise fault(wrong.what, wrong.mend or "") from wrong
    return value


def _policy_name(value: str) -> str:
    return value.removeprefix("$")


PolicyName = Annotated[str, AfterValidator(_policy_name)]


class SenderGroup(Table):
    """Connecting hosts that are treated alike. Groups stand in order: the first with an entry that matches decides. Whom none matches is ALL."""

    name: Name = Field(default="GROUP", description="Name in logs and tracking.")
    policy: PolicyName = Field(default="ACCEPTED", description="Mail flow policy that these senders get.")
    senders: Annotated[tuple[Annotated[str, AfterValidator(_sender)], ...], Field(strict=False)] = Field(
        default=(),
        description=(
            "Entries: 10.1.1.1, 10.1.0.0/16, 10.1., 10.1.1.10-20, 2001:db8::/32, host.example.org, .example.org (by confirmed reverse DNS), "
            "SBRS[-10.0:-3.0], SBRS[none], dnslist[bl.example.net], nx.domain (no PTR), serv.fail (PTR lookup failed), not.double.verified "
            "(PTR and address disagree), ALL."
        ),
    )
    sender_files: Texts = Field(default=(), description="Files of more entries, one a line. Relative to this file.")
    listeners: Texts = Field(default=(), description="Listeners that the group is for, by name. Empty: all.")


class MailFlowPolicy(Table):
    """How senders may speak: limits, checks and replies. -1 lifts a limit where it is said so."""

    access: Literal["ACCEPT", "RELAY", "REJECT", "TCPREFUSE", "CONTINUE"] = Field(
        default="ACCEPT",
        description=(
            '"ACCEPT": mail for the accepted domains; "RELAY": mail for every domain; "REJECT": greeted with a refusal; "TCPREFUSE": reset '
            'without a word; "CONTINUE": the group is passed over.'
        ),
    )
    max_msgs_per_session: int = Field(default=_GIVEN.max_msgs_per_session, ge=1, description="Messages of one connection; past it 421.")
    max_rcpts_per_msg: int = Field(default=_GIVEN.max_rcpts_per_msg, ge=1, description="Recipients of one message; past it 452.")
    max_message_size: Size = Field(
        default=_GIVEN.max_message_size, ge=KIB, le=LARGEST_MESSAGE, description="Largest message; the listener's own limit holds too."
    )
    max_concurrency: int = Field(
        default=_GIVEN.max_concurrency, ge=UNLIMITED, description="Connections of one sender at one time; past it 421. -1: any number."
    )
    max_rcpts_per_hour: int = Field(
        default=UNLIMITED, ge=UNLIMITED, description="Recipients of one sender in an hour, over all listeners. -1: any number."
    )
    max_rcpts_per_hour_code: int = Field(default=_GIVEN.max_rcpts_per_hour_code, ge=400, le=599, description="Code of the reply past it.")
    max_rcpts_per_hour_text: ReplyText = Field(default=_GIVEN.max_rcpts_per_hour_text, description="Text of the reply past it.")
    max_rcpts_per_envelope_sender: int = Field(
        default=UNLIMITED, ge=UNLIMITED, description="Recipients of one reverse-path in the interval. -1: any number."
    )
    envelope_sender_interval: Duration = Field(
        default=_GIVEN.envelope_sender_interval,
        ge=MINUTE,
        le=DAY,
        description="The interval that recipients of a reverse-path are counted in.",
    )
    envelope_sender_code: int = Field(default=_GIVEN.envelope_sender_code, ge=400, le=599, description="Code of the reply past it.")
    envelope_sender_text: ReplyText = Field(default=_GIVEN.envelope_sender_text, description="Text of the reply past it.")
    envelope_sender_exempt: Texts = Field(
        default=(), description="Reverse-paths that are not counted: user@example.org, @example.org or .example.org."
    )
    significant_bits: int = Field(
        default=_GIVEN.significant_bits,
        ge=0,
        le=32,
        description="Leading bits of an IPv4 address that make one sender for counting; of IPv6 twice as many.",
    )
    dhap_limit: int = Field(
        default=_GIVEN.dhap_limit,
        ge=UNLIMITED,
        description="Invalid recipients of one sender in an hour, then it is a directory harvest attack. 0: not counted; -1: counted only.",
    )
    dhap_code: int = Field(default=_GIVEN.dhap_code, ge=400, le=599, description="Code of the reply to such an attack.")
    dhap_text: ReplyText = Field(default=_GIVEN.dhap_text, description="Text of the reply to such an attack.")
    dhap_disconnect: bool = Field(default=True, description="Whether the connection of such an attack ends with that reply.")
    spam_check: bool = Field(
        default=True, description="Whether mail is treated by its score. false: it is scanned, and delivered whatever it is."
    )
    dkim_signing: bool = Field(
        default=True,
        description="Whether mail of hosts and users who may send to any domain is signed, where [[dkim]] has a key for its author.",
    )
    delivery_interface: str = Field(
        default="",
        description="Name of the [[delivery_interface]] that mail of these senders leaves from. alt-src-host of a filter goes before.",
    )
    virus_check: bool = Field(
        default=True, description="Whether mail is looked at for viruses. It changes nothing yet: there is no virus engine."
    )
    tls: Literal["listener", "off", "preferred", "required"] = Field(
        default=_GIVEN.tls.value,
        description=(
            '"listener": as the listener has it; "off": STARTTLS is not offered; "preferred": it is offered; "required": without it no mail '
            "is taken, 530."
        ),
    )
    tls_mandatory_for: Texts = Field(
        default=(), description="Reverse-paths that no mail in the clear is taken of, 530: user@example.org, @example.org or .example.org."
    )
    auth: Literal["listener", "off", "preferred", "required"] = Field(
        default=_GIVEN.auth.value,
        description=(
            '"listener": as the listener has it; "off": AUTH is not offered; "preferred": it is offered; "required": without it no mail is '
            "taken, 530."
        ),
    )
    pipelining_violation: Literal["log", "refuse"] = Field(
        default=_GIVEN.pipelining_violation.value,
        description=(
            "A client that sends on behind EHLO, DATA or AUTH without waiting for the reply, as no mail server does: it is told in the log, "
            'or refused with 554 ("refuse").'
        ),
    )
    accept_untagged_bounces: bool = Field(
        default=False, description="Whether [bounce_verification] lets mail with a null return path pass to addresses without a tag."
    )
    greylist: bool = Field(
        default=False, description="Whether senders that are not known are told to come back, 451, as [greylisting] says; mail servers do."
    )
    greeting_delay: Duration = Field(
        default=0.0,
        ge=0,
        le=MINUTE,
        description="Wait before the greeting; a client that speaks before it is refused with 554, as no mail server does. 0 s: neither.",
    )
    banner_text: ReplyText = Field(default="", description="Text of the greeting after the host name. Empty: ESMTP esa.")
    banner_hostname: str = Field(default="", description="Host name in the greeting. Empty: that of the gateway.")
    reject_banner_code: int = Field(default=_GIVEN.reject_banner_code, ge=400, le=599, description="Code of the greeting that refuses.")
    reject_banner_text: ReplyText = Field(default=_GIVEN.reject_banner_text, description="Text of the greeting that refuses.")


SHIPPED_GROUPS = (
    SenderGroup(name="WHITELIST", policy="TRUSTED"),
    SenderGroup(name="BLACKLIST", policy="BLOCKED", senders=("SBRS[-10.0:-3.0]",)),
    SenderGroup(name="SUSPECTLIST", policy="THROTTLED", senders=("SBRS[-3.0:-1.0]",)),
    SenderGroup(name="UNKNOWNLIST", policy="ACCEPTED", senders=("SBRS[-1.0:10.0]", "SBRS[none]")),
)


def _as_written(policy: Policy) -> dict[str, Any]:
    """The values of a policy as they stand in a file."""
    values = {field.name: getattr(policy, field.name) for field in fields(policy) if field.name != "name"}
    values |= {key: str(value) for key, value in values.items() if isinstance(value, StrEnum)}
    values["max_message_size"] = format_size(policy.max_message_size)
    values["greeting_delay"] = format_duration(policy.greeting_delay)
    values["envelope_sender_interval"] = format_duration(policy.envelope_sender_interval)
    return values


def base_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a policy of this name has before the file says anything of it; `given` are the policies of the file, as written.

    Of what has no effect nothing is said, so that it is known whether the file does.
    """
    values = {**_as_written(_GIVEN), **given.get(DEFAULT, {})}
    if name in SHIPPED:
        values |= {key: value for key, value in _as_written(SHIPPED[name]).items() if value != _as_written(_GIVEN)[key]}
    return values


def _completed(value: object) -> object:
    """Policies of the file with what they leave out, and the shipped ones that the file does not name."""
    if not isinstance(value, Mapping):
        return value
    given = {str(name).removeprefix("$"): policy for name, policy in value.items()}
    known = given
    if any(not isinstance(policy, Mapping) for policy in given.values()):
        return given
    try:
        MailFlowPolicy.model_validate(given.get(DEFAULT, {}))
    except ValidationError:  # told once, where it stands, and not in every policy that would have it from there
        known = {}
    return {name: {**base_of(name, known), **given.get(name, {})} for name in (*SHIPPED, *(name for name in given if name not in SHIPPED))}


MailFlowPolicies = Annotated[dict[Name, MailFlowPolicy], BeforeValidator(_completed)]


def shipped_policies() -> dict[str, MailFlowPolicy]:
    return {name: MailFlowPolicy.model_validate(values) for name, values in ((name, base_of(name, {})) for name in SHIPPED)}


def policy_of(name: str, given: MailFlowPolicy) -> Policy:
    """The policy as a value that the listener keeps to."""
    values = {key: getattr(given, key) for key in type(given).model_fields if key not in WITHOUT_EFFECT}
    made = {
        "name": name,
        "access": AccessRule(given.access),
        "tls": Demand(given.tls),
        "auth": Demand(given.auth),
        "pipelining_violation": PipelineRule(given.pipelining_violation),
        "tls_mandatory_for": tuple(entry.lower() for entry in given.tls_mandatory_for),
        "envelope_sender_exempt": tuple(entry.lower() for entry in given.envelope_sender_exempt),
    }
    return Policy(**{**values, **made})


def groups_of(
    groups: Sequence[SenderGroup], policies: Mapping[str, MailFlowPolicy], *, listener: str | None = None, base: Path = Path()
) -> list[Group]:
    """Sender groups as values, those of one listener or all. Reads their files; raises ConfigurationError for one that cannot be read."""
    made = {name: policy_of(name, policy) for name, policy in policies.items()}
    return [
        Group(group.name, made[group.policy], (*map(parse_sender, group.senders), *entries_of_files(group, base)))
        for group in groups
        if listener is None or not group.listeners or listener in group.listeners
    ]


def entries_of_files(group: SenderGroup, base: Path = Path()) -> list[SenderEntry]:
    """Entries of a group's files. Raises ConfigurationError that names file, line and mend."""
    parts = [read_entries(base / name, parse_sender, f"the senders of {group.name}") for name in group.sender_files]
    return [entry for entries in parts for entry in entries]


class Offered(NamedTuple):
    """What a listener can offer its clients."""

    tls: bool
    auth: bool


def _cannot_demand(
    policy: str, given: MailFlowPolicy, listener: str, offered: Offered | None
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    if offered is None:
        return
    if given.tls == "required" and not offered.tls:
        what = f"TLS is required, and listener {listener} cannot offer it: all mail of this policy would be refused"
        yield ("mail_flow_policy", policy, "tls"), what, "add a [[certificate]], and leave tls on at the listener"
    if given.tls_mandatory_for and not offered.tls:
        what = f"TLS is mandatory for some, and listener {listener} cannot offer it: all their mail would be refused"
        yield ("mail_flow_policy", policy, "tls_mandatory_for"), what, "add a [[certificate]], and leave tls on at the listener"
    if given.auth == "required" and not offered.auth:
        what = f"AUTH is required, and listener {listener} does not offer it: all mail of this policy would be refused"
        yield ("mail_flow_policy", policy, "auth"), what, 'set authentication = "offered" at the listener'


def contradictions_of(
    groups: Sequence[SenderGroup], policies: Mapping[str, MailFlowPolicy], listeners: Mapping[str, Offered]
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend). `listeners`: what each can offer, by name."""
    seen: set[tuple[str, str]] = set()
    for number, group in enumerate(groups):
        place: tuple[str | int, ...] = ("sender_group", number)
        if group.policy not in policies:
            yield (*place, "policy"), f"no mail flow policy is called {group.policy!r}", f"choose one of {', '.join(policies)}"
        for position, name in enumerate(group.listeners):
            if name not in listeners:
                yield (*place, "listeners", position), f"no listener is called {name!r}", f"choose of {', '.join(listeners)}"
        for name in group.listeners or listeners:
            if (group.name, name) in seen:
                yield (*place, "name"), f"two sender groups are called {group.name!r}", "give each its own name"
                break
            seen.add((group.name, name))
        if group.policy in policies:
            for name in group.listeners or listeners:
                yield from _cannot_demand(group.policy, policies[group.policy], name, listeners.get(name))
        if group.policy in policies and policies[group.policy].access == "RELAY":
            entry = relays_to_strangers(
                Group(group.name, policy_of(group.policy, policies[group.policy]), tuple(map(parse_sender, group.senders)))
            )
            if entry is not None:
                what = f"this would be an open relay: {entry.text} lets hosts that nobody named send to any domain"
                yield (*place, "senders"), what, "name your own hosts and networks, or choose a policy that accepts only"
