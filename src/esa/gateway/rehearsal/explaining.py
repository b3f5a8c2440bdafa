"""The stages of a judgement in words: connection, reverse-path, recipients, mail data, scan; those of policy are in `policy_stages`.

`rehearsal` calls `stages_of` with what the gateway's own parts said; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from esa.config.sender_groups import SHIPPED_GROUPS
from esa.gateway.receive import HOP_LIMIT, hops
from esa.gateway.rehearsal.judgement import Fate, Part, Stage, Step
from esa.gateway.rehearsal.policy_stages import policy_stages
from esa.gateway.visit import visit_of
from esa.message.subject import subject_of
from esa.policy.mail_flow import UNLIMITED, AccessRule, Demand, MailFlowPolicy
from esa.policy.recipient_access import POSTMASTER, RecipientMatch, recipient_of

if TYPE_CHECKING:
    from esa.gateway.rehearsal.performance import Performance, Said
    from esa.gateway.rehearsal.rehearsal import Rehearsal

REASONS = 10  # of a score
TERMS = 10  # of a dictionary
_ACCESS = {
    AccessRule.ACCEPT: "accepted",
    AccessRule.RELAY: "accepted, may relay",
    AccessRule.REJECT: "refused",
    AccessRule.TCPREFUSE: "reset without a word",
}


def stages_of(rehearsal: Rehearsal, performance: Performance, fates: tuple[Fate, ...]) -> tuple[Stage, ...]:
    """All stages that the message came to, in order."""
    found: list[Stage] = []
    for said in performance.said:
        match said.step:
            case Step.CONNECTION:
                found.append(_connection(rehearsal, performance, said))
            case Step.HELLO:
                if not said.is_accepted:
                    found.append(Stage("hello", said.subject, said.text, microseconds=said.microseconds))
            case Step.MAIL:
                found.append(_mail(rehearsal, performance, said))
            case Step.RECIPIENTS:
                found.append(_recipient(rehearsal, performance, said))
            case Step.MAIL_DATA:
                found += _mail_data(rehearsal, performance, said)
    last = performance.said[-1]
    answer = last.text or "the connection is reset"
    found.append(Stage("reply", last.step, answer, reason=_why_at_all(performance, fates)))
    return tuple(found)


def _why_at_all(performance: Performance, fates: tuple[Fate, ...]) -> str:
    if performance.said[-1].is_accepted or performance.said[-1].step is not Step.MAIL_DATA:
        return ""
    return "; ".join(dict.fromkeys(fate.reason for fate in fates if fate.where is Step.MAIL_DATA))


# --- connection -------------------------------------------------------------------------------------------------------------------------


def _connection(rehearsal: Rehearsal, performance: Performance, said: Said) -> Stage:
    visit = visit_of(performance.connection)
    client = said.subject or "a client without an address"
    if visit is None:
        return Stage("connection", client, said.text, microseconds=said.microseconds)
    match, policy = visit.match, visit.policy
    answer = _ACCESS[policy.access] if said.is_accepted or not said.reply else said.text
    if not said.reply:
        answer = _ACCESS[AccessRule.TCPREFUSE]
    return Stage(
        "connection",
        client,
        answer,
        rule=f"sender group {match.group}, entry {match.because}",
        place=_place_of_group(rehearsal, performance, match.group, match.because),
        reason=f"mail flow policy {policy.name} ({policy.access})",
        parts=(*_facts(rehearsal, performance), *_manners(rehearsal, policy)),
        microseconds=said.microseconds,
    )


def _facts(rehearsal: Rehearsal, performance: Performance) -> Iterator[Part]:
    """What is known of the client."""
    visit = visit_of(performance.connection)
    sender = visit.sender if visit is not None else None
    if sender is None:
        yield Part("fact", "reputation", "not asked", "the client has no address")
        return
    assembly = rehearsal.assembly
    needs = assembly.hosts[performance.connection.listener].needs(sender.address) | assembly.decider.needs
    if needs.reputation:
        score = "none" if sender.reputation is None else f"{sender.reputation:+.1f}"
        evidence = "; ".join(one.describe(performance.mail.session.received_at) for one in sender.evidence)
        yield Part("fact", "reputation", score, evidence or "nothing is known of it")
    if needs.reverse:
        yield Part("fact", "reverse DNS", str(sender.reverse), " ".join(sender.names))
    if needs.zones:
        yield Part("fact", "DNS lists", ", ".join(sorted(sender.listed)) or "none names it", f"asked: {', '.join(needs.zones)}")
    if missing := [question for question in rehearsal.answers.missing if question.split()[0] in ("A", "AAAA", "PTR")]:
        yield Part("note", "name servers are not asked", "no answer", f"{', '.join(missing)}; give recorded answers")


def _manners(rehearsal: Rehearsal, policy: MailFlowPolicy) -> Iterator[Part]:
    """What of the mail flow policy holds for the message, and what of it a rehearsal leaves out."""
    if not policy.is_open:
        return
    if not policy.spam_check:
        yield Part("fact", "spam_check", "off", "mail is delivered whatever its score")
    for name, demand in (("tls", policy.tls), ("auth", policy.auth)):
        if demand is not Demand.LISTENER:
            yield Part("fact", name, str(demand))
    left_out = []
    if policy.max_rcpts_per_hour != UNLIMITED or policy.max_rcpts_per_envelope_sender != UNLIMITED:
        left_out.append("hourly rates")
    if policy.greylist and not rehearsal.greylists:
        left_out.append("greylisting")
    given = rehearsal.configuration.mail_flow_policy.get(policy.name)
    if given is not None and given.greeting_delay:
        left_out.append("the delay of the greeting")
    if left_out:
        yield Part("note", ", ".join(left_out), "left out", "they go by what else the client does")


def _place_of_group(rehearsal: Rehearsal, performance: Performance, group: str, entry: str) -> str:
    configuration, listener = rehearsal.configuration, performance.connection.listener
    if configuration.sender_group == SHIPPED_GROUPS:
        return "shipped"
    for number, given in enumerate(configuration.sender_group):
        if given.name == group and (not given.listeners or listener in given.listeners):
            return rehearsal.places.entry("sender_group", number, entry, given.sender_files)
    return ""


# --- envelope ---------------------------------------------------------------------------------------------------------------------------


def _mail(rehearsal: Rehearsal, performance: Performance, said: Said) -> Stage:
    user, listener = performance.connection.user, rehearsal.listener_of(performance.mail)
    reason = f"{user} has authenticated" if user else ""
    parts = []
    if user and listener.authentication == "off":
        parts.append(Part("note", "AUTH", "not offered", f"listener {listener.name} lets nobody authenticate: the user is taken as given"))
    if said.reply and said.reply[0].startswith("530"):
        reason = "the listener or the mail flow policy asks for it"
    return Stage("mail", f"<{said.subject}>", said.text, reason=reason, parts=tuple(parts), microseconds=said.microseconds)


def _recipient(rehearsal: Rehearsal, performance: Performance, said: Said) -> Stage:
    visit, user = visit_of(performance.connection), performance.connection.user
    rule = place = ""
    reason = ""
    if said.match is not None:
        accepts = "ACCEPT" if said.match.rule.accepts else "REJECT"
        entry = said.match.entry
        rule = f"recipient access, entry {entry.text} ({accepts})" if entry is not None else "recipient access: no entry names it"
        place = _place_of_entry(rehearsal, performance, said.match)
    elif user or (visit is not None and visit.policy.access is AccessRule.RELAY):
        rule = f"{user} has authenticated" if user else f"mail flow policy {visit.policy.name} relays" if visit is not None else ""
        reason = "recipient access is not asked"
    finding = said.finding
    if finding is not None and finding.source:
        reason = f"source of recipients {finding.source}: {finding.standing.value}"
        if f"recipient {recipient_of(said.subject)}" in rehearsal.answers.missing:
            reason += " (it is not asked here; give recorded answers)"
    elif said.match is not None and said.match.rule.bypass_recipient_check:
        reason = "no source of recipients is asked (bypass_recipient_check)"
    if said.refused is not None:
        rule, place, reason = said.refused.reason, "", "it refuses the recipient whatever the message is"
    return Stage("recipient", f"<{said.subject}>", said.text, rule, place, reason, microseconds=said.microseconds)


def _place_of_entry(rehearsal: Rehearsal, performance: Performance, match: RecipientMatch) -> str:
    entry, configuration, listener = match.entry, rehearsal.configuration, performance.connection.listener
    if entry is None or entry.text == POSTMASTER:
        return ""
    for number, table in enumerate(configuration.recipient_access):
        if table.listeners and listener not in table.listeners:
            continue
        if entry.text in table.recipients or table.recipient_files:
            place = rehearsal.places.entry("recipient_access", number, entry.text, table.recipient_files)
            if entry.text in table.recipients or place != rehearsal.places.table("recipient_access", number):
                return place
    for number, given in enumerate(configuration.listener):
        if given.name == listener and entry.text in given.accept_domains:
            return rehearsal.places.entry("listener", number, entry.text)
    return "shipped"


# --- mail data --------------------------------------------------------------------------------------------------------------------------


def _mail_data(rehearsal: Rehearsal, performance: Performance, said: Said) -> Iterator[Stage]:
    arrival, visit = performance.arrival, visit_of(performance.connection)
    octets = len(performance.mail.content)
    limits = [rehearsal.listener_of(performance.mail).max_message_size]
    limits += [visit.policy.max_message_size] if visit is not None else []
    limit = min((one for one in limits if one), default=0)
    size = f"{octets:,} octets"
    parts = [Part("fact", "size", f"{octets:,} of {limit:,}")] if limit else []
    if arrival is None:
        yield Stage("mail data", size, said.text, parts=tuple(parts), microseconds=said.microseconds)
        return
    parts.append(Part("fact", "Received fields", f"{hops(arrival.head)} of {HOP_LIMIT}"))
    if arrival.transaction.normalized:
        parts.append(Part("fact", "bare line ends and NULs", f"{arrival.transaction.normalized} mended"))
    answer = said.text if performance.reason and arrival.report is None else "taken"
    subject = subject_of(arrival.content, arrival.head)
    yield Stage("mail data", size, answer, reason=f"subject {subject!r}" if subject else "", parts=tuple(parts))
    origin = arrival.transaction.origin
    if origin is not None:
        match = origin.match
        yield Stage(
            "incoming relay",
            origin.relay,
            f"the mail is of {origin.address}" if origin.address else "the header tells no address: the relay counts as the client",
            rule=f"sender group {match.group}, entry {match.because}" if match is not None else "",
            reason=f"read from {origin.header}",
        )
    if arrival.report is not None:
        yield _scan(performance)
        yield from policy_stages(rehearsal, performance)


def _scan(performance: Performance) -> Stage:
    arrival = performance.arrival
    assert arrival is not None and arrival.report is not None
    report = arrival.report
    parts = [Part("reason", reason.name, f"{reason.contribution:+.2f}", reason.family) for reason in report.reasons[:REASONS]]
    if more := len(report.reasons) - len(parts):
        rest = sum(reason.contribution for reason in report.reasons[REASONS:])
        parts.append(Part("reason", f"{more} more", f"{rest:+.2f}"))
    parts += [Part("fact", "oddity", flag) for flag in report.flags]
    for name, facts in report.checks.get("dictionaries", {}).items():
        if isinstance(facts, dict):
            terms = list(facts.get("terms", {}).items())
            shown = ", ".join(f"{term} × {times}" for term, times in terms[:TERMS])
            parts.append(Part("fact", f"dictionary {name}", f"score {facts['score']}", shown + (" …" if len(terms) > TERMS else "")))
    return Stage(
        "scan", "", f"score {report.score:.1f}", reason=f"log-odds {report.logit:+.2f}", parts=tuple(parts), microseconds=report.micros
    )
