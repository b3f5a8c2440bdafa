"""What becomes of a RCPT: directory harvest, recipient access, the sources of recipients, rates; in this order.

    harvesting? → limit of the message → bounce verification → recipient access → sources (the session waits, others do not) → harvesting by now? → rates → 250

Promises: after a sender has used up its invalid recipients nothing is looked up for it any more, so that neither the words nor the time of a
reply tell a valid recipient from an invalid one; an answer that comes after that is not told either. Nobody is told which entry or source
decided; tracking and the log are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping

from esa.gateway import events
from esa.gateway.bounces.verification import Verification
from esa.gateway.deciding import Asked
from esa.gateway.directory.sources import Directory, Finding, Standing
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter
from esa.gateway.rates import SenderCounts
from esa.gateway.receive import Decides, Route
from esa.gateway.receiver import Answer, Lines, Transaction
from esa.gateway.visit import Visit, visit_of
from esa.message.envelope import Envelope
from esa.message.reply import Reply, refusal_of
from esa.policy.mail_flow import AccessRule, MailFlowPolicy
from esa.policy.recipient_access import POSTMASTER, REFUSED, Recipient, RecipientAccess, RecipientMatch, RecipientRule, recipient_of
from esa.store.dictionary_hits import TERMS
from esa.store.record import REFUSED_BY_FILTER, Event, EventName

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
TOO_MANY_REFUSED = Reply(421, "4.7.0", "Too many refused recipients")
REFUSED_LIMIT = 1_000  # recipients of one connection; no mail has so many that are wrong
REFUSALS_KEPT = 1_000  # refused recipients of one message that tracking is told of
SAMPLE = 5  # recipients of a directory harvest that the alert names
BY_SOURCE = "LDAP"  # AsyncOS's word in its log for a refusal of a directory, whichever it is
BY_FILTER = "Content Filter"
BY_LIMIT = "Receiving Control"  # its word for a refusal of a limit
_NO_POLICY = MailFlowPolicy()
_RELAYED = RecipientRule()


class Recipients:
    """Decides about the recipients of one listener."""

    def __init__(
        self, route: Route, access: RecipientAccess, directory: Directory | None = None, verification: Verification | None = None
    ) -> None:
        """`directory` None: every recipient that recipient access accepts is taken. `verification` None: no address has a tag."""
        self._route, self._access, self._directory, self._verification = route, access, directory, verification

    def answer(self, transaction: Transaction, forward_path: str) -> Answer:
        """The answer to a RCPT."""
        connection = transaction.connection
        visit = visit_of(connection)
        policy = visit.policy if visit is not None else _NO_POLICY
        refusal = self._refuse_harvest(transaction, visit)
        if refusal is not None:
            return refusal
        if len(transaction.recipients) >= policy.max_rcpts_per_msg:
            self._tell_refused(transaction, forward_path, TOO_MANY_RECIPIENTS, by=BY_LIMIT)
            return self._say(visit, TOO_MANY_RECIPIENTS)
        is_ours = policy.access is AccessRule.RELAY or bool(connection.user)
        if self._verification is not None:
            given, accepts = forward_path, policy.accept_untagged_bounces
            forward_path, finding = self._verification.look(
                transaction.reverse_path, forward_path, is_ours=is_ours, accepts_untagged=accepts
            )
            if (refused := self._verification.refusal(finding)) is not None:
                self._tell_refused(transaction, given, refused, f"{finding.value} bounce", by=events.BY_BOUNCE_VERIFICATION)
                return self._say(visit, refused)
        if is_ours:
            return self._take(transaction, forward_path, visit, _RELAYED, is_known=True)
        recipient = recipient_of(forward_path)
        if recipient.local_part == POSTMASTER:
            recipient = postmaster_of(recipient, connection.server.hostname)
        match = self._access.match(recipient)
        if not match.rule.accepts:
            return self._refuse(transaction, forward_path, visit, match.rule.reply or REFUSED, match.because)
        if transaction.entries is None:
            transaction.entries = {}
        transaction.entries[forward_path] = match.because
        if self._directory is None or match.rule.bypass_recipient_check or not recipient.domain:
            return self._take(transaction, forward_path, visit, match.rule, is_known=True)
        found = self._directory.find(recipient, is_named=match.entry is not None and match.entry.names_a_domain)
        if isinstance(found, Finding):
            return self._conclude(transaction, forward_path, visit, match, found)
        return asyncio.ensure_future(self._wait(transaction, forward_path, visit, match, found))

    async def _wait(
        self, transaction: Transaction, forward_path: str, visit: Visit | None, match: RecipientMatch, finding: Awaitable[Finding]
    ) -> Lines | None:
        found = await finding
        refusal = self._refuse_harvest(transaction, visit)  # the sender may have used up its limit on other connections meanwhile
        return refusal if refusal is not None else self._conclude(transaction, forward_path, visit, match, found)

    def _conclude(
        self, transaction: Transaction, forward_path: str, visit: Visit | None, match: RecipientMatch, finding: Finding
    ) -> Reply | None:
        if finding.reply is not None:
            return self._refuse(transaction, forward_path, visit, finding.reply, finding.source, by=BY_SOURCE)
        is_known = finding.standing is Standing.KNOWN or not finding.source
        return self._take(transaction, forward_path, visit, match.rule, is_known=is_known)

    def _take(
        self, transaction: Transaction, forward_path: str, visit: Visit | None, rule: RecipientRule, *, is_known: bool
    ) -> Reply | None:
        counts = visit.counts if visit is not None else None
        if visit is not None and counts is not None and is_known:
            counts.count_valid()
        decider = self._route.decider
        if decider.refuses_recipients and (refusal := self._refuse_by_filter(transaction, forward_path, visit, decider)) is not None:
            return refusal
        if visit is None:
            return rule.reply
        policy = visit.policy
        if counts is None or rule.bypass_receiving_control:
            return self._greylist(transaction, forward_path, visit) or rule.reply
        if not counts.take_recipient():
            return self._put_off(transaction, forward_path, visit, policy.max_rcpts_per_hour_code, policy.max_rcpts_per_hour_text)
        if not counts.take_of_reverse_path(transaction.reverse_path):
            return self._put_off(transaction, forward_path, visit, policy.envelope_sender_code, policy.envelope_sender_text)
        return self._greylist(transaction, forward_path, visit) or rule.reply

    def _refuse_by_filter(self, transaction: Transaction, forward_path: str, visit: Visit | None, decider: Decides) -> Reply | None:
        """Content filters may refuse a recipient whatever the message; of mail of an incoming relay the sender is not known before its header is."""
        if visit is not None and visit.relay is not None:
            return None
        connection = transaction.connection
        is_outgoing = visit is not None and visit.may_relay(connection.user)
        envelope = Envelope(transaction.reverse_path, (forward_path,), smtputf8=transaction.smtputf8)
        refused = decider.refuse_recipient(Asked(transaction.session, envelope, visit, is_outgoing))
        if refused is None:
            return None
        reply = Reply(550, *refusal_of(refused.text))
        self._tell_refused(transaction, forward_path, reply, refused.reason, by=BY_FILTER, hits=refused.hits)
        return self._say(visit, reply)

    def _greylist(self, transaction: Transaction, forward_path: str, visit: Visit) -> Reply | None:
        greylisting = self._route.greylisting
        reply = greylisting.recipient(transaction, forward_path, visit) if greylisting is not None else None
        if reply is None:
            return None
        self._route.row.add(Counter.GREYLISTED)
        self._tell_refused(transaction, forward_path, reply, by="Greylisting")
        return self._say(visit, reply)

    def _put_off(self, transaction: Transaction, forward_path: str, visit: Visit, code: int, text: str) -> Reply:
        reply = _refusal(code, text)
        self._tell_refused(transaction, forward_path, reply, by=BY_LIMIT)
        return self._say(visit, reply)

    def _refuse(
        self, transaction: Transaction, forward_path: str, visit: Visit | None, reply: Reply, because: str, *, by: str = "RAT"
    ) -> Reply:
        """Refuse a recipient; one that there is not counts to the directory harvest of its sender."""
        self._tell_refused(transaction, forward_path, reply, because, by=by)
        counts = visit.counts if visit is not None else None
        if visit is not None and counts is not None and reply.is_permanent and counts.count_invalid():
            self._tell_harvest(transaction, counts, visit)
        return self._say(visit, reply)

    def _say(self, visit: Visit | None, reply: Reply) -> Reply:
        if visit is not None:
            visit.refused += 1
            if visit.refused > REFUSED_LIMIT:
                return TOO_MANY_REFUSED
        return reply

    # --- directory harvest

    def _refuse_harvest(self, transaction: Transaction, visit: Visit | None) -> Reply | None:
        """Of a sender that is harvesting: the same for valid and invalid recipients, without a look at them."""
        counts = visit.counts if visit is not None else None
        if visit is None or counts is None or not counts.is_harvesting:
            return None
        counts.count_refused()
        self._route.row.add(Counter.HARVESTS_REFUSED)
        if not visit.is_told:
            visit.is_told = True
            fields = {"network": counts.network, **counts.harvest()}
            self._route.note(transaction, Event(EventName.HARVEST_REFUSED, time.time(), fields))
        if visit.policy.dhap_disconnect:
            transaction.connection.ends_after_reply = True
        return self._say(visit, _refusal(visit.policy.dhap_code, visit.policy.dhap_text))

    def _tell_harvest(self, transaction: Transaction, counts: SenderCounts, visit: Visit) -> None:
        """Once for each attack."""
        policy = visit.policy
        refused = transaction.context if isinstance(transaction.context, list) else []
        sample = [str(event.fields["recipient"]) for event in refused[-SAMPLE:]]
        harvest = counts.harvest()
        fields = {"network": counts.network, "limit": policy.dhap_limit, **harvest, "sample": sample}
        self._route.note(transaction, Event(EventName.HARVEST_DETECTED, time.time(), fields))
        events.warning(
            Log.HARVEST_DETECTED,
            client=transaction.session.client_address,
            listener=transaction.session.listener,
            network=counts.network,
            limit=policy.dhap_limit,
            group=visit.match.group,
            invalid=harvest["invalid"],
            learned=harvest["learned"],
            sample=" ".join(sample),
        )

    def _tell_refused(
        self,
        transaction: Transaction,
        forward_path: str,
        reply: Reply,
        because: str | None = None,
        *,
        by: str,
        hits: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self._route.row.add(Counter.RECIPIENTS_REFUSED)
        refusals = transaction.context if isinstance(transaction.context, list) else []
        if len(refusals) < REFUSALS_KEPT:
            fields: dict[str, object] = {"recipient": forward_path, "reply": str(reply)}
            if because is not None:
                fields["because"] = because
            if by == BY_FILTER:
                fields["by"] = REFUSED_BY_FILTER
            if hits:
                fields[TERMS] = hits
            refusals.append(Event(EventName.RECIPIENT_REFUSED, time.time(), fields))
        transaction.context = refusals
        session = transaction.session
        events.info(
            Log.RECIPIENT_REFUSED,
            client=session.client_address,
            listener=session.listener,
            reverse_path=f"<{transaction.reverse_path}>",
            recipient=f"<{forward_path}>",
            reply=f"{reply.code}/{reply.enhanced}",
            because=because,
            by=by,
            icid=transaction.connection.number or None,
            mid=transaction.number or None,
        )


def postmaster_of(recipient: Recipient, hostname: str) -> Recipient:
    """The postmaster of this host is <postmaster>, as the listener has it; anybody else is who they are."""
    is_ours = recipient.local_part == POSTMASTER and recipient.domain == hostname
    return Recipient(POSTMASTER, "") if is_ours else recipient


def _refusal(code: int, text: str) -> Reply:
    return Reply(code, f"{code // 100}.7.1", text)
