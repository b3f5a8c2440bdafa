"""Recorded mail judged by a configuration: what would become of it, or that nobody can know. `esa replay --recorded` asks.

    Recorded → host access → recipient access → filters and mail policies (the gateway's own) → Judgement, or NotKnown

A message that was recorded with its content is scanned and decided as a new one; of one without it the recorded report counts, as far as the
configuration asks for what was found out then. Left out as in any rehearsal: rates, greylisting, the network; and sources of recipients.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from esa.config.content_filters import rules_of
from esa.config.policies import policies_of
from esa.config.schema import Configuration
from esa.engine.scanner import Scanner
from esa.engine.verdict import Reason, Report, Verdict
from esa.errors import ConfigurationError
from esa.gateway.assembly import assemble
from esa.gateway.deciding import Case
from esa.gateway.patterns import scanner_here
from esa.gateway.recipients import postmaster_of
from esa.gateway.recording import program_of
from esa.gateway.rehearsal.fates import fate_of
from esa.gateway.rehearsal.judgement import Fate, Judgement, Mail, Outcome, Step
from esa.gateway.rehearsal.recalled import Counts, Dictionaries, Groups, Recall, RecallingDecider, not_known
from esa.gateway.visit import Visit
from esa.policy.disposition import Answer
from esa.policy.host_access import HostAccess, Match, Sender
from esa.policy.mail_flow import AccessRule
from esa.policy.recipient_access import REFUSED, recipient_of
from esa.policy.senders import ReverseDns
from esa.policy.splinters import NO_GROUPS
from esa.policy.view import CHECK, COUNTS, DICTIONARIES
from esa.store.recorded import Program, Recorded
from esa_core._header_lines import header_end

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esa.engine.check import Term

_REPLIES = {Answer.ACCEPT: "250 2.0.0", Answer.DEFER: "451 4.7.1", Answer.REFUSE: "550 5.7.1"}
_OUTCOMES = {
    "deliver": Outcome.DELIVERED,
    "quarantine": Outcome.QUARANTINED,
    "drop": Outcome.DROPPED,
    "refuse": Outcome.REFUSED,
    "defer": Outcome.DEFERRED,
}


class Recalling:
    """One configuration, opened to judge recorded mail. Of one thread."""

    def __init__(self, configuration: Configuration) -> None:
        """Raises ConfigurationError, ModelError."""
        self._recall = Recall()
        rules = rules_of(configuration, witness=self._recall)
        self._scanner: Scanner = scanner_here(configuration, rules)
        self._assembly = assemble(configuration, self._scanner, rules, None)
        policies = policies_of(configuration.mail_policy, anti_spam=configuration.scan.anti_spam)
        self._decider = RecallingDecider(policies, rules, lookup=self._scanner.lookup, hostname=configuration.gateway.hostname)
        self._groups = self._decider.groups
        self._hostname = configuration.gateway.hostname
        self._program = self._recall.program = program_of(configuration, self._scanner, rules, self._groups)
        self._places: tuple[Program, list[int]] = (Program(), [])

    def judge(self, recorded: Recorded) -> Judgement:
        """What would become of it. Raises NotKnown, and ConfigurationError for a listener that there is not."""
        if recorded.fate != "accepted" and not recorded.policies:
            not_known("what would have been decided: it was put off or refused before (greylisting, a loop, a fault)")
        mail = mail_of(recorded)
        match, sender = self._match(recorded)
        policy = match.policy
        if policy.access in (AccessRule.REJECT, AccessRule.TCPREFUSE):
            reason = f"sender group {match.group} ({match.because}), policy {policy.name}"
            reply = "" if policy.access is AccessRule.TCPREFUSE else str(policy.reject_banner_code)
            fates = tuple(Fate(one, Outcome.REFUSED, Step.CONNECTION, reason, reply) for one in recorded.envelope.recipients)
            return Judgement(mail, Step.CONNECTION, reply, fates)
        is_outgoing = policy.access is AccessRule.RELAY or bool(recorded.session.user)
        refused = {} if is_outgoing else dict(self._refused(recorded))
        accepted = tuple(one for one in recorded.envelope.recipients if one not in refused)
        if not accepted:
            last = next(reversed(refused.values()), None)
            return Judgement(mail, Step.RECIPIENTS, "" if last is None else last.reply, tuple(refused.values()))
        case = self._case(recorded, accepted, Visit(match, sender, {}), is_outgoing=is_outgoing)
        self._recall.recorded = self._decider.recorded = recorded
        plan, verdict, _ = self._decider.decide(case)
        reply = _REPLIES[plan.answer]
        decided = {path: fate_of(path, one, reply) for one in (*plan.splinters, *plan.refusals) for path in one.recipients}
        fates = tuple(refused.get(path) or decided[path] for path in dict.fromkeys(recorded.envelope.recipients))
        return Judgement(mail, Step.MAIL_DATA, reply, fates, plan, case.report, str(verdict))

    # --- before the mail data

    def _match(self, recorded: Recorded) -> tuple[Match, Sender | None]:
        """The sender group of the client, by what was found out about it then."""
        session = recorded.session
        hosts = self._hosts(session.listener)
        if session.relayed_from:
            not_known("what an incoming relay's client was known for")
        try:
            address = ipaddress.ip_address(session.client_address)
        except ValueError:
            return hosts.match(None), None
        needs = hosts.needs(address)
        if needs.reverse and recorded.reverse is None:
            not_known("the client's name, which nobody asked for then")
        if needs.reputation and recorded.reputation is None and not recorded.because.startswith("SBRS"):
            not_known("the client's reputation, which nobody asked for then")
        if set(needs.zones) - set(recorded.listed):
            not_known("DNS lists of the client")
        reverse = None if recorded.reverse is None else ReverseDns(recorded.reverse)
        sender = Sender(address, reverse, recorded.names, recorded.reputation, frozenset(recorded.listed))
        return hosts.match(sender), sender

    def _hosts(self, listener: str) -> HostAccess:
        try:
            return self._assembly.hosts[listener]
        except KeyError:
            known = ", ".join(self._assembly.hosts)
            what = f"mail was recorded of a listener {listener!r}, which there is not"
            raise ConfigurationError(what, mend=f"name a [[listener]] so; there are {known}") from None

    def _refused(self, recorded: Recorded) -> Iterable[tuple[str, Fate]]:
        """Recipients that recipient access refuses."""
        access = self._assembly.access[recorded.session.listener]
        for path in recorded.envelope.recipients:
            match = access.match(postmaster_of(recipient_of(path), self._hostname))
            if not match.rule.accepts:
                reason = f"recipient access {match.because}" if match.entry is not None else "recipient access: no entry"
                yield path, Fate(path, Outcome.REFUSED, Step.RECIPIENTS, reason, str(match.rule.reply or REFUSED))

    # --- the decision

    def _case(self, recorded: Recorded, accepted: tuple[str, ...], visit: Visit, *, is_outgoing: bool) -> Case:
        envelope = recorded.envelope
        if accepted != envelope.recipients:
            envelope = type(envelope)(
                envelope.reverse_path, accepted, envelope.size, envelope.body, envelope.smtputf8, envelope.options, envelope.number
            )
        content = recorded.content
        if content is not None:
            [report] = self._scanner.scan_batch([content], sessions=[recorded.session], envelopes=[envelope])
            head = content[: header_end(content)].lower()
        else:
            report = self._report(recorded)
            content = f"From: <{recorded.author}>\r\nReply-To: <{recorded.reply_to}>\r\n\r\n".encode("utf-8", "replace")
            head = content.lower()
        groups: Mapping[str, frozenset[str]] = Groups(recorded, self._groups) if self._groups else NO_GROUPS
        return Case(
            recorded.id,
            content,
            head,
            report,
            recorded.session,
            envelope,
            visit,
            is_outgoing,
            visit.policy.spam_check,
            groups,
        )

    def _report(self, recorded: Recorded) -> Report:
        """The report as it was, for rules that may ask for what was not looked for."""
        program = recorded.program
        if not program.is_known:
            not_known("what was looked for then: the file that says so is gone")
        if program.model != self._program.model:
            not_known("the score of another model")
        checks: dict[str, Mapping[str, object]] = {
            CHECK: {COUNTS: Counts(recorded, self._program.terms, self._terms_of(program), self._scanner)},
            DICTIONARIES: Dictionaries(recorded, self._program.dictionaries),
        }
        reasons = tuple(Reason(name, "", weight) for name, weight in recorded.reasons)
        return Report(Verdict.at(recorded.score), recorded.score, recorded.logit, reasons, recorded.flags, checks)

    def _terms_of(self, program: Program) -> list[int]:
        """For each term of this configuration its number in the program, or -1."""
        known, places = self._places
        if known is not program:
            numbers: dict[Term, int] = {term: number for number, term in enumerate(program.terms)}
            places = [numbers.get(term, -1) for term in self._program.terms]
            self._places = program, places
        return places


def as_decided(recorded: Recorded) -> Judgement:
    """What became of it, as it was recorded. Raises NotKnown where it did not come to a decision."""
    if not recorded.policies:
        not_known("what would have been decided: it was put off or refused before (greylisting, a loop, a fault)")
    step = Step.MAIL_DATA
    fates = {
        path: Fate(path, _OUTCOMES[held.action], step, held.reason, recorded.answer, held.policy)
        for held in recorded.policies
        for path in held.recipients
    }
    return Judgement(mail_of(recorded), step, recorded.answer, tuple(fates.values()), verdict=recorded.verdict)


def mail_of(recorded: Recorded) -> Mail:
    """The message as judgements name it."""
    return Mail(recorded.id, recorded.content or b"", recorded.session, recorded.envelope)
