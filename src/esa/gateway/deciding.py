"""What the receive route does between a scan and a record: it gathers what policy wants to know, and asks it for one plan.

    report → message filters → mail policy of each recipient (splinters) → anti-spam and content filters of that policy → plan: one reply,
    several dispositions

One `Decider` for each worker; it keeps nothing of a message. Where one policy holds for everybody and there are no filters, it costs nothing more.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

from esa.engine.verdict import Report, Verdict
from esa.gateway.bounces.backscatter import Backscatter
from esa.gateway.origin import Origin
from esa.gateway.visit import Visit
from esa.message.content import Message
from esa.message.envelope import Envelope, Session
from esa.policy.content_filter import Rules
from esa.policy.disposition import NOTHING, Disposition, Plan, plan
from esa.policy.early import refusal_in
from esa.policy.filters.costs import MESSAGES, POLICIES, REST
from esa.policy.filters.ledger import FILTERS, Ledger, Ledgers
from esa.policy.host_access import Needs
from esa.policy.mail_policy import treat, verdict_of
from esa.policy.policy_table import MailPolicies, PolicyTable, Senders
from esa.policy.splinters import NO_GROUPS, decide
from esa.policy.view import Lookup, View


class Case(NamedTuple):
    """One message to decide about. `head`: its header in lower case, as far as it is looked at."""

    id: str
    content: bytes | mmap.mmap
    head: bytes
    report: Report
    session: Session
    envelope: Envelope
    visit: Visit | None = None
    is_outgoing: bool = False  # of a host or user who may send to any domain
    spam_check: bool = True  # whether its score counts, by the mail flow policy
    groups: Mapping[str, frozenset[str]] = NO_GROUPS  # of directories, by address in lower case
    origin: Origin | None = None  # of mail of an incoming relay


class Asked(NamedTuple):
    """One recipient before the mail data: an envelope with that recipient alone."""

    session: Session
    envelope: Envelope
    visit: Visit | None
    is_outgoing: bool


class Refused(NamedTuple):
    """Words of the reply, perhaps with an enhanced code before them (empty: the usual ones); the reason; entries of dictionaries that were found."""

    text: str
    reason: str
    hits: Mapping[str, Mapping[str, int]]


_NO_REPORT = Report(Verdict.CLEAN, 0.0, 0.0)


class Decided(NamedTuple):
    """The plan, and the verdict that the message as a whole is told of by: the gravest of its splinters'."""

    plan: Plan
    verdict: Verdict
    hits: Mapping[str, Mapping[str, int]] | None = (
        None  # entries of dictionaries that filters found in addresses: {dictionary: {entry: times}}
    )


AnyView = TypeVar("AnyView", bound=View)
Hits: TypeAlias = dict[tuple[str, str, str], Mapping[str, int]]  # entries of dictionaries that were found in addresses
UNDECIDED = Decided(NOTHING, Verdict.CLEAN)
WHOLE = 128 << 10  # octets; of a longer message the header alone is read for the addresses in it
_GRAVITY = {Verdict.CLEAN: 0, Verdict.SUSPECT: 1, Verdict.POSITIVE: 2}


class Decider:
    """Asks the mail policies and the filters."""

    def __init__(
        self,
        policies: MailPolicies,
        rules: Rules | None = None,
        *,
        lookup: Lookup | None = None,
        hostname: str = "",
        interfaces: Mapping[str, str] = MappingProxyType({}),
        queue_length: Callable[[], int] | None = None,
        ledgers: Ledgers | None = None,
    ) -> None:
        """`lookup` finds entries of dictionaries in addresses; None: conditions that ask for it are unscanned.

        `interfaces`: by listener the name of the interface. `queue_length`: messages in work on this node. `ledgers` take down what it costs.
        """
        self._policies = policies
        self._rules = None if rules is None or rules.is_empty else rules
        self._lookup, self._hostname = lookup, hostname
        self._interfaces = interfaces
        self._queue_length = queue_length if rules is not None and rules.needs_queue else None
        self.refuses_recipients = self._rules is not None and self._rules.has_early  # whether `refuse_recipient` ever does
        self.needs = Needs() if self._rules is None else self._rules.needs  # that filters have of every client
        self._backscatter = Backscatter()
        self._ledgers = ledgers
        if ledgers is not None and self._rules is not None:
            ledgers.here().tally(MESSAGES, self._rules.messages.filters)  # made now, not with the first message

    @property
    def policies(self) -> MailPolicies:
        return self._policies

    @property
    def groups(self) -> frozenset[str]:
        """Groups of directories that policies and filters name."""
        of_policies = self._policies.incoming.groups | self._policies.outgoing.groups
        return of_policies if self._rules is None else of_policies | self._rules.groups

    def addresses(self, reverse_path: str, recipients: Iterable[str], header: bytes) -> list[str]:
        """The addresses whose groups matter: of the envelope and, where policies look there, of the header."""
        found = [reverse_path, *recipients]
        if self._policies.incoming.asks_authors or self._policies.outgoing.asks_authors:
            found += _authors(Message(header))
        if self._rules is not None:
            found += self._rules.redirections
        return found

    def decide(self, case: Case) -> Decided:
        """One plan for all recipients of a message."""
        if self._ledgers is None:
            return self._decide(case, None)
        ledger = self._ledgers.here()
        with ledger.guard:
            if not ledger.begin():
                return self._decide(case, ledger)
            decided = self._decide(case, ledger)
            ledger.lap(REST)
            ledger.finish()
            return decided

    def _decide(self, case: Case, ledger: Ledger | None) -> Decided:
        table = self._policies.of(is_outgoing=case.is_outgoing)
        if table.is_plain and self._rules is None:
            one = treat(case.report, case.envelope.recipients, table.default, spam_check=case.spam_check)
            return Decided(plan((one,)), one.verdict or Verdict.CLEAN)
        hits: Hits = {}
        message = Message(case.content)
        senders = senders_of(case, table, message)
        if ledger is not None and ledger.timing == FILTERS:
            ledger.lap(POLICIES)
        found = decide(
            case.report,
            senders,
            case.envelope,
            table,
            groups=case.groups,
            spam_check=case.spam_check,
            rules=self._rules,
            view_of=lambda envelope, mail_policy="": self._view(case, envelope, mail_policy, message, hits),
            ledger=ledger,
        )
        verdict = _gravest(found.dispositions) or verdict_of(case.report, table.default)
        planned = plan(found.dispositions, found.messages)
        planned = self._backscatter.mark(planned, case.envelope.reverse_path, is_known=case.is_outgoing)
        return Decided(planned, verdict, _by_dictionary(hits) if hits else None)

    def refuse_recipient(self, asked: Asked) -> Refused | None:
        """Whether a recipient is refused at RCPT, as content filters say of its session and envelope alone."""
        table = self._policies.of(is_outgoing=asked.is_outgoing)
        if self._rules is None or table.asks_authors or table.groups:
            return None
        [(policy, _)] = table.match(Senders(asked.envelope.reverse_path), asked.envelope.recipients)
        plan = self._rules.early(policy.content_filters)
        if plan is None:
            return None
        hits: Hits = {}
        case = Case("", b"", b"", _NO_REPORT, asked.session, asked.envelope, asked.visit, asked.is_outgoing)
        refusal = refusal_in(plan.run(self._view(case, asked.envelope, policy.name, None, hits)))
        return None if refusal is None else Refused(refusal.text, f"content filter {refusal.filter}", _by_dictionary(hits))

    def _view(self, case: Case, envelope: Envelope, mail_policy: str, message: Message | None, hits: Hits) -> View:
        return self._make_view(View, case, envelope, mail_policy, message, hits)

    def _make_view(
        self, kind: type[AnyView], case: Case, envelope: Envelope, mail_policy: str, message: Message | None, hits: Hits
    ) -> AnyView:
        visit, origin = case.visit, case.origin
        match, sender = (None, None) if visit is None else (visit.match, visit.sender)
        if origin is not None and origin.match is not None:  # the client of the relay counts
            match, sender = origin.match, origin.sender
        view = kind(
            case.content,
            case.session,
            envelope,
            case.report,
            identifier=case.id,
            hostname=self._hostname,
            interface=self._interfaces.get(case.session.listener, ""),
            sender_group=match.group if match is not None else "",
            mail_flow_policy=match.policy.name if match is not None else "",
            mail_policy=mail_policy,
            reputation=sender.reputation if sender is not None else None,
            remote_host=sender.names[0] if sender is not None and sender.names else "",
            groups=case.groups if case.groups is not NO_GROUPS else None,
            dns_lists=sender.listed if sender is not None else frozenset(),
            queue_length=self._queue_length() if self._queue_length is not None else None,
            lookup=self._lookup,
            message=message,
        )
        view.hits = hits  # of all views of the message, so that an address that several filters look at counts once
        return view


def _by_dictionary(hits: Mapping[tuple[str, str, str], Mapping[str, int]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (_, _, name), terms in hits.items():
        of_name = found.setdefault(name, {})
        for term, times in terms.items():
            of_name[term] = of_name.get(term, 0) + times
    return found


def senders_of(case: Case, table: PolicyTable, message: Message | None = None) -> Senders:
    """The addresses that the message names as its sender, as far as the table asks for them. `message`: its content, where somebody reads it anyway."""
    if not table.asks_authors:
        return Senders(case.envelope.reverse_path)
    if message is None or len(case.content) > WHOLE:
        message = Message(bytes(case.content[: len(case.head)]))
    return Senders(case.envelope.reverse_path, *_authors(message))


def _authors(message: Message) -> tuple[str, str]:
    """The addresses in From and Reply-To; empty where there is none."""
    parsed = message.parsed
    return parsed.from_address, parsed.reply_to_address


def _gravest(dispositions: tuple[Disposition, ...]) -> Verdict | None:
    if len(dispositions) == 1:  # most mail
        return dispositions[0].verdict
    return max((one.verdict for one in dispositions if one.verdict is not None), key=_GRAVITY.__getitem__, default=None)
