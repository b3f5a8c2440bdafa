"""The tables of mail policies: for whom, and what is done with mail by its score. `schema` puts them into the configuration.

One table [mail_policy] is the policy for everybody; several, [[mail_policy]], stand in order: the first that names a recipient holds for it. What a
policy does not say it takes from the one called DEFAULT, as on the appliance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from esa.config.values import Name, Route, Table, Texts, fault
from esa.engine.verdict import POSITIVE_ABOVE, SUSPECT_ABOVE
from esa.errors import SyntaxFault
from esa.message.address import Address
from esa.message.edits import Edit, InsertHeader, TagSubject
from esa.policy import mail_policy
from esa.policy.disposition import Action
from esa.policy.mail_policy import DEFAULT, SPAM_QUARANTINE, Treatment
from esa.policy.policy_table import MailPolicies, Members, PolicyTable, SenderField, parse_member

ActionWord = Literal["deliver", "quarantine", "drop", "refuse"]  # words of policy.disposition.Action
_ENTRIES = ("recipients", "senders", "except_recipients", "except_senders")
_MEMBERS = ("name", "table", *_ENTRIES, "match", "sender_fields")  # are never taken over


def _member(value: str) -> str:
    try:
        parse_member(value)
    except SyntaxFault as wrong:
        raise fault(wrong.what, wrong.mend or "") from wrong
    return value


def address(value: str) -> str:
    """A mailbox that mail is sent to."""
    try:
        return str(Address.parse(value))
    except SyntaxFault as wrong:
        raise fault(f"{value!r} is no address ({wrong.what})", "write user@example.org") from wrong


def _header(value: str) -> str:
    name, colon, text = value.partition(":")
    if value and (not colon or not name.isascii() or not name.isprintable() or " " in name or not text.strip() or not text.isprintable()):
        raise fault(f"{value!r} is no header field", 'write its name, a colon and its text, as "X-Spam: yes"')
    return value


def _line(value: str) -> str:
    if not value.isprintable():
        raise fault(f"{value!r} holds a line break or a control character", "write one line")
    return value


Entries = Annotated[tuple[Annotated[str, AfterValidator(_member)], ...], Field(strict=False)]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(address)], ...], Field(strict=False)]
Line = Annotated[str, AfterValidator(_line)]


class SpamTreatment(Table):
    """What is done with mail of one class of the anti-spam verdict."""

    action: ActionWord = Field(default="deliver", description='"deliver", "quarantine", "drop" or "refuse".')
    subject_tag: Line = Field(default="", description='Text before the subject, as "[SPAM] ".')
    header: Annotated[str, AfterValidator(_header)] = Field(default="", description='A header field to add, as "X-Spam: yes".')
    recipients: Addresses = Field(default=(), description="Who gets it in the place of its recipients.")
    mailhost: Route = Field(default="", description="Next hop in the place of the usual one, host:port.")
    archive: Name | Literal[""] = Field(default="", description="Name of an mbox in the state folder that a copy is appended to.")
    quarantine: Name = Field(default=SPAM_QUARANTINE, description="Name of the quarantine.")


def _treatment(value: object) -> object:
    return {"action": value} if isinstance(value, str) else value


def _written(value: SpamTreatment) -> object:
    """A word, where nothing more is said."""
    given = {key: text for key, text in value.model_dump().items() if text != SpamTreatment.model_fields[key].default}
    return value.action if set(given) <= {"action"} else {"action": value.action, **given}


Treated = Annotated[SpamTreatment, BeforeValidator(_treatment), PlainSerializer(_written)]


class MailPolicy(Table):
    """What is done with mail by its score, 0 to 100: the probability of spam in percent. [mail_policy] holds for everybody; several tables
    [[mail_policy]] stand in order, and of each recipient the first that names it holds. The one called DEFAULT is for all others, and what
    the others do not say is taken from it."""

    name: Name = Field(default=DEFAULT, description="Name in logs and tracking. DEFAULT: the policy of all whom no other names.")
    table: Literal["incoming", "outgoing", "both"] = Field(
        default="both",
        description='Mail that it is for: "incoming", "outgoing" (of hosts with RELAY, and of users who have authenticated) or "both".',
    )
    recipients: Entries = Field(
        default=(),
        description=(
            "Recipients that it is for: user@example.org, user@ (at every domain), example.org, .example.org (all domains below it), "
            '"ldap:group", ALL. Empty: every one.'
        ),
    )
    senders: Entries = Field(default=(), description="Senders that it is for, in the same forms. Empty: every one.")
    except_recipients: Entries = Field(default=(), description="Recipients that it is not for, whatever stands above.")
    except_senders: Entries = Field(default=(), description="Senders that it is not for.")
    match: Literal["all", "any"] = Field(
        default="all", description='Where recipients and senders are named: "all" (both have to fit) or "any" (one of them).'
    )
    sender_fields: Annotated[tuple[Literal["envelope", "from", "reply-to"], ...], Field(strict=False, min_length=1)] = Field(
        default=("envelope", "from", "reply-to"),
        description="Where senders are looked for: the reverse-path, From, Reply-To. Strangers can write what they like into each.",
    )
    anti_spam: bool = Field(default=True, description="Whether the score brings anything about.")
    suspect_above: float = Field(default=SUSPECT_ABOVE, ge=0, le=100, description="Mail that scores above this is suspect.")
    positive_above: float = Field(default=POSITIVE_ABOVE, ge=0, le=100, description="Mail that scores above this is positive.")
    positive: Treated = Field(
        default=SpamTreatment(action="refuse"),
        description=(
            'Positive mail: "refuse" (550 5.7.1: the sender keeps it), "quarantine", "drop" (taken and thrown away) or "deliver"; or a table, '
            'as { action = "deliver", subject_tag = "[SPAM] ", header = "X-Spam: yes" }, with recipients, mailhost, archive, quarantine.'
        ),
    )
    suspect: Treated = Field(
        default=SpamTreatment(action="quarantine"), description='Suspect mail: "quarantine", "deliver", "refuse" or "drop", or a table.'
    )
    refused_among_others: Literal["quarantine", "drop"] = Field(
        default="quarantine",
        description=(
            "What becomes of mail that this policy refuses while it is accepted for other recipients, as one reply is for all of them: it is "
            'held ("quarantine") or thrown away ("drop"). It is never bounced.'
        ),
    )
    anti_virus: bool = Field(default=True, description="Whether infected mail is treated as such. There is no engine yet: no effect.")
    content_filters: Texts = Field(default=(), description="Names of the content filters that run, in order.")


def as_tables(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document whose one table [mail_policy] is the first of several, and in which each policy says what it takes from DEFAULT."""
    changed = dict(document)
    given = changed.get("mail_policy")
    if isinstance(given, dict):
        given = changed["mail_policy"] = [given]
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        changed["mail_policy"] = [_inherited(one, given) for one in given]
    return changed


def _inherited(policy: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    table = policy.get("table", "both")
    defaults = [one for one in given if one.get("name", DEFAULT) == DEFAULT and one.get("table", "both") in (table, "both")]
    if policy.get("name", DEFAULT) == DEFAULT or not defaults:
        return dict(policy)
    known = {key: value for key, value in defaults[0].items() if key not in _MEMBERS and key in MailPolicy.model_fields}
    return {**known, **policy}


def contradictions_of(policies: Sequence[MailPolicy]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend)."""
    seen: set[tuple[str, str]] = set()
    for number, policy in enumerate(policies):
        place: tuple[str | int, ...] = ("mail_policy", number)
        tables = ("incoming", "outgoing") if policy.table == "both" else (policy.table,)
        for table in tables:
            if (policy.name, table) in seen:
                mend = (
                    "give each its own name, or join them" if policy.name != DEFAULT else "give one a name, or say which table each is for"
                )
                yield (*place, "name"), f"two {table} mail policies are called {policy.name!r}", mend
                break
        seen.update((policy.name, table) for table in tables)
        names_anybody = policy.recipients or policy.senders or policy.except_recipients or policy.except_senders
        if policy.name == DEFAULT and names_anybody:
            yield (
                (*place, "name"),
                "the policy DEFAULT is for all whom no other names, and cannot name anybody",
                "give it a name of its own",
            )
        if policy.name != DEFAULT and not names_anybody:
            mend = 'say whom, as recipients = ["sales@example.org"], or call it DEFAULT'
            yield (*place, "recipients"), f"policy {policy.name!r} names nobody", mend
        if policy.suspect_above > policy.positive_above:
            what = f"suspect_above ({policy.suspect_above:g}) is over positive_above ({policy.positive_above:g})"
            yield (*place, "suspect_above"), what, "choose suspect_above at most positive_above"
        if policy.name != DEFAULT and policy.table == "both":
            apart = [one for one in policies if one.name == DEFAULT and one.table != "both"]
            if apart:
                what = "it is for both tables, and DEFAULT differs between them, from which it takes what it does not say"
                yield (*place, "table"), what, 'say "incoming" or "outgoing"'


def groups_named(policies: Sequence[MailPolicy]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Groups of directories that policies name, with their places."""
    for number, policy in enumerate(policies):
        for key in _ENTRIES:
            for position, entry in enumerate(getattr(policy, key)):
                if group := parse_member(entry).group:
                    yield ("mail_policy", number, key, position), group


def policies_of(policies: Sequence[MailPolicy], *, anti_spam: bool = True) -> MailPolicies:
    """Both tables. `anti_spam` False: nowhere does the score bring anything about."""
    return MailPolicies(_table(policies, "incoming", anti_spam), _table(policies, "outgoing", anti_spam))


def _table(policies: Sequence[MailPolicy], table: str, anti_spam: bool) -> PolicyTable:
    own = [one for one in policies if one.table in (table, "both")]
    default = next((policy_of(one, anti_spam) for one in own if one.name == DEFAULT), None)
    return PolicyTable(
        [(policy_of(one, anti_spam), members_of(one)) for one in own if one.name != DEFAULT],
        default or mail_policy.MailPolicy(anti_spam=anti_spam),
    )


def policy_of(policy: MailPolicy, anti_spam: bool = True) -> mail_policy.MailPolicy:
    """What a policy does, as a value."""
    return mail_policy.MailPolicy(
        name=policy.name,
        suspect_above=policy.suspect_above,
        positive_above=policy.positive_above,
        positive=_treatment_of(policy.positive),
        suspect=_treatment_of(policy.suspect),
        anti_spam=anti_spam and policy.anti_spam,
        anti_virus=policy.anti_virus,
        content_filters=policy.content_filters,
        drops_refused=policy.refused_among_others == "drop",
    )


def _treatment_of(given: SpamTreatment) -> Treatment:
    edits: list[Edit] = [TagSubject(given.subject_tag)] if given.subject_tag else []
    if given.header:
        name, _, text = given.header.partition(":")
        edits.append(InsertHeader(name, text.strip()))
    return Treatment(Action(given.action), tuple(edits), given.recipients, given.mailhost, given.archive, given.quarantine)


def members_of(policy: MailPolicy) -> Members:
    """Whom a policy is for, as a value."""
    return Members(
        tuple(map(parse_member, policy.recipients)),
        tuple(map(parse_member, policy.senders)),
        tuple(map(parse_member, policy.except_recipients)),
        tuple(map(parse_member, policy.except_senders)),
        any_of_both=policy.match == "any",
        sender_fields=frozenset(SenderField(field) for field in policy.sender_fields),
    )
