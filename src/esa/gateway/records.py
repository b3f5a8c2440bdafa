"""What is written down of a message that is accepted, and what tracking is told: records, splinters, events.

The receive route calls it. Splinters of equal content share a record; one whose content is another (edits, another verdict in the result fields)
has a record of its own, with the identifier of the message and a suffix. All of them go into one commit.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from esa.engine.verdict import Report, Verdict
from esa.gateway.bounces.notification import Notification, Reported, compose, envelope_of, original_recipient_of
from esa.gateway.copies import edits_of, kept_beside, sent_beside
from esa.message.edits import Edit, apply
from esa.message.envelope import Envelope
from esa.message.reply import Reply, refusal_of
from esa.message.trace import received_field, result_fields, strip_result_fields
from esa.policy.disposition import Action, Answer, Disposition, Plan
from esa.policy.mail_policy import DEFAULT
from esa.policy.outcome import Outcome
from esa.store.dictionary_hits import TERMS, terms_told
from esa.store.record import INLINE_LIMIT, SPLINTER_SUFFIX, Event, EventName, Record, Splinter

if TYPE_CHECKING:
    from esa.gateway.mail_in_work import Arrival

Content = tuple[tuple[Edit, ...], Verdict | None]  # splinters of which both are equal have one content
_NONE: Content = ((), None)  # of what is dropped


class Contents:
    """The octets of one message with what edits there are, each made once. Of a large message they are made on the thread that has scanned it."""

    def __init__(self, content: bytes | mmap.mmap, end: int | None = None, path: Path | None = None) -> None:
        """`end`: octets of its header, if they are known. `path`: of content in a file; what is long is then written beside it."""
        self._content, self._end, self._path = content, end, path
        self._made: dict[tuple[Edit, ...], bytes] = {}
        self.files: dict[tuple[Edit, ...], Path] = {}  # on disk; whoever takes a record takes its file

    def of(self, edits: tuple[Edit, ...] = ()) -> bytes:
        """The message as it came, without result fields that others wrote, and edited."""
        if edits not in self._made:
            whole = self.of() if edits else strip_result_fields(bytes(self._content), self._end)
            self._made[edits] = apply(whole, edits) if edits else whole
        return self._made[edits]

    def make(self, plan: Plan) -> None:
        """All that a plan asks for, but for the message as it came. Long ones are on disk then, so that no commit waits for them. Raises OSError."""
        wanted = [one.edits for one in (*plan.splinters, *plan.refusals) if one.edits and one.keeps_content]
        for outcome, edits in plan.outcomes:
            if edits and (outcome.archives or outcome.duplicate_quarantines):
                wanted.append(edits)
            wanted += [edits_of(copy, edits) for copy in outcome.blind_copies]
        for edits in wanted:
            if edits and edits not in self.files:
                octets = self.of(edits)
                if self._path is not None and len(octets) > INLINE_LIMIT:
                    self.files[edits] = self._path.with_name(f"{self._path.name}.{len(self.files)}")
                    _write(self.files[edits], octets)
                    del self._made[edits]

    def discard(self, records: Sequence[Record] = ()) -> None:
        """Remove the files that none of these records has."""
        for path in self.files.values():
            if not any(record.content == path for record in records):
                path.unlink(missing_ok=True)


class Writer:
    """Makes the records of one message. `end`: octets of its header, if they are known."""

    def __init__(self, arrival: Arrival, *, hostname: str, end: int | None = None) -> None:
        self._arrival, self._hostname = arrival, hostname
        self._contents = arrival.contents or Contents(arrival.content, end)
        self._made: list[Record] = []
        self._edited: set[Path] = set()  # files of edited content
        self._again: list[Record] = []  # of copies that are messages of their own

    def accepted(self) -> list[Record]:
        """At least one record; the first carries the events and the identifier of the message. Content in a file is linked for the others."""
        arrival = self._arrival
        if len(arrival.plan.splinters) == 1:  # most mail
            one = arrival.plan.splinters[0]
            content = self._content(one.edits) if one.keeps_content else None
            self._add(self._splinters(one), content, one.verdict, events=tracked(arrival, EventName.ACCEPTED, arrival.reply))
            if one.outcome is not None or arrival.plan.messages is not None:
                self._beside((one,))
            if one.notifies:
                self._tell_sender(one)
            return self._done()
        groups: dict[Content, list[Disposition]] = {}
        for one in arrival.plan.splinters:
            groups.setdefault((one.edits, one.verdict) if one.keeps_content else _NONE, []).append(one)
        if len(groups) > 1 and _NONE in groups:  # what is dropped needs no content, and so no record of its own
            dropped = groups.pop(_NONE)
            next(iter(groups.values())).extend(dropped)
        for (edits, verdict), dispositions in groups.items():
            keeps = any(one.keeps_content for one in dispositions)
            self._add(
                [splinter for one in dispositions for splinter in self._splinters(one)],
                self._content(edits) if keeps else None,
                verdict,
                events=() if self._made else tracked(arrival, EventName.ACCEPTED, arrival.reply),
            )
        self._beside(arrival.plan.splinters)
        for one in arrival.plan.splinters:
            if one.notifies:
                self._tell_sender(one)
        return self._done()

    def _splinters(self, one: Disposition) -> list[Splinter]:
        visit = self._arrival.visit
        return _splinters(one, self._arrival.plan.messages, visit.policy.delivery_interface if visit is not None else "")

    def _tell_sender(self, one: Disposition) -> None:
        arrival = self._arrival
        reverse_path = arrival.envelope.reverse_path
        status, words = refusal_of(one.text)
        options = arrival.envelope.options
        composed = compose(
            Notification(
                "failed",
                [Reported(who, "failed", status, words, original=original_recipient_of(options, who)) for who in one.recipients],
                reverse_path,
                self._hostname,
                self._next(),
                arrival.session.received_at,
                original=self._raw(),
                envelope_id=options.envelope_id if options is not None else "",
                smtputf8=arrival.envelope.smtputf8,
            )
        )
        splinter = Splinter((reverse_path,), "deliver", f"delivery status notification ({one.reason})", is_copy=True)
        envelope = envelope_of(reverse_path, composed, requiretls=options is not None and options.requiretls)
        self._add([splinter], composed.content, None, envelope=envelope, is_ours=True)

    def refused(self, outcome: EventName, reply: Reply) -> list[Record]:
        """As `accepted`, of a message that is the sender's still: its events, and what filters want beside."""
        arrival = self._arrival
        self._made.append(Record(arrival.id, arrival.envelope, arrival.session, events=tracked(arrival, outcome, reply)))
        if outcome is EventName.REFUSED:  # what is put off comes again, and is looked at again
            for one in arrival.plan.refusals:
                if copies := kept_beside(one.outcome, one.recipients):
                    self._add(copies, self._content(one.edits), one.verdict)
            self._beside(arrival.plan.refusals)
        return self._done()

    def _beside(self, dispositions: Sequence[Disposition]) -> None:
        """What filters want beside the delivery."""
        arrival = self._arrival
        messages = arrival.plan.messages
        if messages is not None:
            edits = tuple(messages.edits)
            if copies := kept_beside(messages, messages.recipients or arrival.envelope.recipients):
                self._add(copies, self._content(edits), None)
            self._send(messages, edits)
        for one in dispositions:
            if one.outcome is not None:
                self._send(one.outcome, one.edits)
        if messages is not None or dispositions:
            for again in arrival.again:
                self._again += Writer(again, hostname=self._hostname, end=again.end)._of_copy()

    def _of_copy(self) -> list[Record]:
        """Records of a copy that went through all stages by itself: nobody waits for a reply, and what is refused is dropped."""
        arrival = self._arrival
        if arrival.plan.answer is Answer.ACCEPT:
            arrival.reply = Reply(250, "2.0.0", f"copy of {arrival.copy_of}")
            return self.accepted()
        return self.refused(EventName.REFUSED, Reply(550, *refusal_of(arrival.plan.text)))

    def _send(self, outcome: Outcome, edits: tuple[Edit, ...]) -> None:
        envelope = self._arrival.envelope
        for copy in sent_beside(outcome, envelope, edits, hostname=self._hostname, identifier=self._next, raw=self._raw):
            if copy.content is not None:
                self._add([copy.splinter], copy.content, None, envelope=copy.envelope, is_ours=True)
            else:
                self._add([copy.splinter], self._content(copy.edits), None, envelope=copy.envelope)

    def _next(self) -> str:
        """The identifier of the record that is made next."""
        return f"{self._arrival.id}{SPLINTER_SUFFIX}{len(self._made)}" if self._made else self._arrival.id

    def _raw(self) -> bytes:
        return self._contents.of()

    def _content(self, edits: tuple[Edit, ...]) -> bytes | Path:
        """The octets with these edits; of what is in a file, that file or a link to it."""
        path = self._contents.files.get(edits) if edits else self._arrival.path
        if path is None:
            return self._contents.of(edits)
        if edits:
            self._edited.add(path)
        if not any(record.content == path for record in self._made):
            return path
        link = path.with_name(self._next())
        if edits:
            self._edited.add(link)
        link.unlink(missing_ok=True)
        os.link(path, link)
        return link

    def _add(
        self,
        splinters: Sequence[Splinter],
        content: bytes | Path | None,
        verdict: Verdict | None,
        *,
        events: tuple[Event, ...] = (),
        envelope: Envelope | None = None,
        is_ours: bool = False,
    ) -> None:
        """`is_ours`: the gateway wrote it itself, so that it has no trace."""
        arrival, report = self._arrival, self._arrival.report
        assert report is not None
        verdict = verdict or arrival.verdict
        prefix = b""
        if content is not None and not is_ours:
            prefix = received_field(
                arrival.session, envelope or arrival.envelope, hostname=self._hostname, message_id=arrival.id
            ) + result_fields(arrival.id, verdict, report.score, [(name, weight) for name, _, weight in arrival.reasons])
        if not events:
            told = {"subject": arrival.subject, "verdict": str(verdict), "score": round(report.score, 2)}
            events = (Event(EventName.SPLINTERED, time.time(), told),)
        signs, is_outgoing = is_ours or arrival.is_signed, arrival.is_outgoing
        is_silent = not is_outgoing and not is_ours and arrival.is_checked and verdict is not Verdict.CLEAN
        if signs or is_outgoing or is_silent:
            splinters = [one._replace(signs=signs, is_outgoing=is_outgoing, is_silent=one.is_silent or is_silent) for one in splinters]
        self._made.append(
            Record(
                id=self._next(),
                envelope=envelope or arrival.envelope,
                session=arrival.session,
                splinters=tuple(splinters),
                events=events,
                prefix=prefix,
                content=content,
                size=self._size(content),
                omitted=arrival.omitted if isinstance(content, Path) and content not in self._edited else (),
            )
        )

    def _size(self, content: bytes | Path | None) -> int:
        if isinstance(content, Path):
            return content.stat().st_size if content in self._edited else self._arrival.envelope.size
        return len(content or b"")

    def _done(self) -> list[Record]:
        path = self._arrival.path
        if path is not None and not any(record.content == path for record in self._made):
            path.unlink(missing_ok=True)  # every splinter has content of its own
        self._contents.discard(self._made)
        self._arrival.contents = None
        return [*self._made, *self._again]


def _write(path: Path, octets: bytes) -> None:
    """A new file of mode 0600, on disk when it returns."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(octets)
        file.flush()
        os.fdatasync(file.fileno())


def _splinters(disposition: Disposition, messages: Outcome | None, interface: str) -> list[Splinter]:
    """What is done for the recipients of a disposition, and behind it its copies, which are for no recipient.

    `interface`: that mail leaves from where no filter says otherwise.
    """
    reason = f"{disposition.reason} ({disposition.held})" if disposition.held else disposition.reason
    copies = [Splinter((), "archive", name) for name in disposition.archives] + kept_beside(disposition.outcome, disposition.destinations)
    match disposition.action:
        case Action.DELIVER:
            interface = _interface(disposition, messages) or interface
            own = Splinter(
                disposition.destinations,
                "deliver",
                reason,
                disposition.mailhost,
                interface=interface,
                bounce_profile=_bounce_profile(disposition, messages),
            )
        case Action.QUARANTINE:
            own = Splinter(
                disposition.destinations,
                "quarantine",
                reason,
                disposition.mailhost,
                disposition.quarantines,
                encrypts=disposition.encrypts,
                bounce_profile=_bounce_profile(disposition, messages),
            )
        case Action.DROP:
            own = Splinter(disposition.recipients, "drop", reason)
        case _:
            raise ValueError(f"a splinter cannot {disposition.action}")
    return [own, *copies]


def _interface(disposition: Disposition, messages: Outcome | None) -> str:
    """The delivery interface that filters name (alt-src-host): those of the mail policy last."""
    own = disposition.outcome.source_host if disposition.outcome is not None else ""
    return own or (messages.source_host if messages is not None else "")


def _bounce_profile(disposition: Disposition, messages: Outcome | None) -> str:
    """The bounce profile that filters name, likewise."""
    own = disposition.outcome.bounce_profile if disposition.outcome is not None else ""
    return own or (messages.bounce_profile if messages is not None else "")


def scores_of(report: Report) -> dict[str, int]:
    """Scores of the dictionaries of which a term stands in the message."""
    found = report.checks.get("dictionaries", {})
    return {name: facts["score"] for name, facts in found.items() if isinstance(facts, Mapping)}


def tracked(arrival: Arrival, outcome: EventName, reply: Reply | None) -> tuple[Event, ...]:
    """What tracking is told of a message by the receiver: the connection, refused recipients, and how it ended, with what was found."""
    report, session, transaction = arrival.report, arrival.session, arrival.transaction
    connected: dict[str, object] = {
        "client": session.client_address,
        "port": session.client_port,
        "helo": session.helo,
        "protocol": session.protocol,
        "listener": session.listener,
    }
    if arrival.envelope.number:
        connected |= {"icid": transaction.connection.number, "mid": arrival.envelope.number}
    if arrival.visit is not None:
        connected |= arrival.visit.fields()
    if transaction.origin is not None:
        connected |= {key: value for key, value in transaction.origin.fields().items() if value is not None}
    if session.tls_version:
        connected["tls"] = f"{session.tls_version} {session.tls_cipher}"
        if session.tls_client:
            connected["tls_client"] = session.tls_client
        if session.user:
            connected["user"] = session.user
    told = [Event(EventName.CONNECTED, transaction.connection.connected_at, connected)]
    if isinstance(transaction.context, list) and not arrival.copy_of:
        told += transaction.context
    fields: dict[str, object] = {"reply": str(reply), "subject": arrival.subject}
    if outcome is EventName.ABORTED:
        fields = {"recipients": list(arrival.envelope.recipients)}
    if arrival.greylist:
        fields["greylist"] = arrival.greylist
    if arrival.copy_of:
        fields["copy_of"] = arrival.copy_of
    if report is not None:
        fields |= {
            "verdict": str(arrival.verdict),
            "score": round(report.score, 2),
            "reasons": arrival.told_reasons,
        }
        if report.flags:
            fields["flags"] = list(report.flags)
        if scores := scores_of(report):
            fields["dictionaries"] = scores
        if scores or arrival.hits:
            fields[TERMS] = terms_told(report, arrival.hits)
        if arrival.plan.reason:
            fields["reason"] = arrival.plan.reason
    now = time.time()
    told.append(Event(outcome, now, fields))
    splinters = arrival.plan.splinters
    if arrival.plan.messages is None and len(splinters) == 1 and _just_goes_on(splinters[0]):  # most mail
        return tuple(told)
    if len(splinters) > 1 or any(splinter.policy != DEFAULT for splinter in splinters):
        table = "outgoing" if arrival.is_outgoing else "incoming"
        told += [
            Event(
                EventName.POLICY_MATCHED,
                now,
                {"policy": one.policy, "table": table, "recipients": list(one.recipients), "action": one.action},
            )
            for one in splinters
        ]
    told += _filtered(arrival.plan.messages, "message filters", arrival.envelope.recipients, now)
    told += _redirected(arrival, now)
    for splinter in (*splinters, *arrival.plan.refusals):
        told += _filtered(splinter.outcome, "content filters", splinter.recipients, now)
        told += _told(splinter, now)
    return tuple(told)


def _just_goes_on(one: Disposition) -> bool:
    """Whether there is nothing to tell of a splinter that is the only one."""
    return one.action is Action.DELIVER and one.policy == DEFAULT and one.outcome is None and not one.redirected_to


def _redirected(arrival: Arrival, now: float) -> list[Event]:
    """Recipients in whose place message filters put others."""
    messages, splinters = arrival.plan.messages, arrival.plan.splinters
    if messages is None or not messages.recipients or not splinters:
        return []
    covered = {who for one in splinters for who in one.recipients}
    before = [who for who in arrival.envelope.recipients if who not in covered]
    reason = f"to {', '.join(messages.recipients)} (message filters)"
    return [Event(EventName.REDIRECTED, now, {"recipients": before, "reason": reason})] if before else []


def _filtered(outcome: Outcome | None, stage: str, recipients: Sequence[str], now: float) -> list[Event]:
    """What filters did, for these recipients."""
    if outcome is None or outcome.is_empty:
        return []
    fields: dict[str, object] = {
        "stage": stage,
        "steps": [f"{step.filter}: {step.action}" for step in outcome.trail],
        "recipients": list(recipients),
    }
    if outcome.tags:
        fields["tags"] = list(outcome.tags)
    if outcome.log_entries:
        fields["log"] = list(outcome.log_entries)
    told = [Event(EventName.FILTERED, now, fields)]
    kinds = [("quarantine", outcome.duplicate_quarantines), ("archive", outcome.archives)]
    kinds += [("blind copy", list(copy.addresses)) for copy in outcome.blind_copies]
    kinds += [("notice", list(notice.addresses)) for notice in outcome.notices]
    told += [Event(EventName.COPIED, now, {"kind": kind, "to": to}) for kind, to in kinds if to]
    return told


def _told(splinter: Disposition, now: float) -> list[Event]:
    """What tracking is told of a splinter that does not just go on to its recipients."""
    told: list[Event] = []
    if splinter.redirected_to and splinter.action in (Action.DELIVER, Action.QUARANTINE):
        words = f"to {', '.join(splinter.redirected_to)} ({splinter.reason})"
        told.append(Event(EventName.REDIRECTED, now, {"recipients": list(splinter.recipients), "reason": words}))
    if splinter.notifies:
        told.append(Event(EventName.COPIED, now, {"kind": "delivery status notification", "recipients": list(splinter.recipients)}))
    if splinter.action in _TRACKED:
        fields: dict[str, object] = {"recipients": list(splinter.recipients), "reason": splinter.reason}
        if splinter.policy != DEFAULT:
            fields["policy"] = splinter.policy
        if splinter.quarantines:
            fields["quarantines"] = list(splinter.quarantines)
        if splinter.held:
            fields["held"] = splinter.held
        told.append(Event(_TRACKED[splinter.action], now, fields))
    return told


_TRACKED = {Action.QUARANTINE: EventName.QUARANTINED, Action.DROP: EventName.DROPPED}
