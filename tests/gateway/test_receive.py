"""The route of one message, against a real spool: what is answered, what is on disk by then, and that no fault of ours loses mail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from esa.engine.verdict import Reason, Report, Verdict
from esa.errors import StoreError
from esa.gateway import events as gateway_events
from esa.gateway.deciding import Case, Decided, Decider
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter, Counters
from esa.gateway.receive import FORGED_LIMIT, LARGE, Route
from esa.gateway.receiver import Transaction
from esa.gateway.reception import ListenerReceiver
from esa.message.edits import Edit, TagSubject, apply
from esa.message.envelope import Envelope, Session
from esa.message.reply import Reply
from esa.policy.disposition import Action
from esa.policy.mail_policy import MailPolicy, Treatment
from esa.policy.policy_table import MailPolicies
from esa.policy.recipient_access import RecipientAccess
from esa.store.record import EventName, Record
from esa.store.segments import SpoolReader, Stored, read_message
from esa.store.spool import Group, Spool
from esa_core._smtp_parameters import MailParameters

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.gateway.protocol import Connection

CLEAN = b"Subject: hello\r\nX-Esa-Verdict: forged\r\n\r\nhello\r\n"
SUSPECT = b"Subject: suspect\r\n\r\nbuy\r\n"
POSITIVE = b"Subject: positive\r\n\r\nBUY\r\n"
SCORES = {b"suspect": 50.0, b"positive": 99.0}


class Client:
    """The connection as the route sees it; keeps the replies."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.answered = asyncio.Event()
        self.connected_at = time.time()
        self.context: object = None
        self.user = ""
        self.number = 0

    def describe(self, received_at: float, *, smtputf8: bool = False) -> Session:
        return Session("192.0.2.7", 2525, "mail.example.net", "ESMTP", "mail", received_at)

    def finish(self, transaction: Transaction, reply: Reply) -> None:
        assert not transaction.finished
        transaction.finished = True
        self.replies.append(reply)
        self.answered.set()

    async def reply(self) -> Reply:
        async with asyncio.timeout(10):
            await self.answered.wait()
        return self.replies[-1]


class Scores:
    """Scores by the word in the subject; raises for `poison`."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.hold = False
        self.hold_large = False

    def scan_batch(
        self,
        raws: Sequence[Buffer],
        *,
        sessions: Sequence[Session | None] | None = None,
        envelopes: Sequence[Envelope | None] | None = None,
    ) -> list[Report]:
        self.batches.append(len(raws))
        while self.hold or (self.hold_large and memoryview(raws[0]).nbytes > LARGE):
            time.sleep(0.001)
        reports = []
        for raw in raws:
            head = bytes(memoryview(raw)[:64])
            if b"poison" in head:
                raise ValueError("poison")
            score = next((score for word, score in SCORES.items() if word in head), 1.5)
            reports.append(Report(Verdict.at(score), score, 0.5, (Reason("links", "text", 1.25),), ("odd",)))
        return reports


class Bench:
    """A route with a real spool and real counters."""

    def __init__(
        self, folder: Path, *, policy: MailPolicy | None = None, policies: MailPolicies | None = None, in_flight: int = 100
    ) -> None:
        self.spool = Spool(folder / "spool", "receive-0")
        self.scores = Scores()
        self.folder = folder
        self.row = Counters.create(folder / "counters").row(0)
        self.appended: list[int] = []
        self.failure: StoreError | None = None
        self.route = Route(
            loop=asyncio.get_running_loop(),
            scanner=self.scores,
            spool=self,
            decider=Decider(policies or MailPolicies.of_one(policy)),
            hostname="mx.example.org",
            row=self.row,
            in_flight=in_flight,
        )
        self.receiver = ListenerReceiver(self.route, RecipientAccess.of_domains(["example.org"]))

    def append(self, records: Sequence[Record]) -> None:
        if self.failure is not None:
            raise self.failure
        self.appended.append(len(records))
        self.spool.append(records)

    def begin(self, records: Sequence[Record]) -> Group | None:
        if self.failure is not None:
            raise self.failure
        group = self.spool.begin(records)
        if group is not None:
            self.appended.append(len(records))
        return group

    def end(self, group: Group, error: OSError | None, *, is_flush: bool = False) -> None:
        self.spool.end(group, error, is_flush=is_flush)

    def free_bytes(self) -> int:
        return self.spool.free_bytes()

    def transaction(self, content: bytes, *recipients: str, as_file: bool = False) -> tuple[Transaction, Client]:
        client = Client()
        transaction = Transaction(cast("Connection", client), "a@example.net", MailParameters(body="8BITMIME"))
        transaction.recipients = list(recipients or ("b@example.org",))
        transaction.size = len(content)
        transaction.received_at = time.time()
        if as_file:
            transaction.content_path = self.spool.incoming / f"body-{id(transaction)}"
            transaction.content_path.write_bytes(content)
        else:
            transaction.content = content
        return transaction, client

    async def send(self, content: bytes, *recipients: str, as_file: bool = False) -> Reply:
        transaction, client = self.transaction(content, *recipients, as_file=as_file)
        self.receiver.message(transaction)
        return await client.reply()

    def stored(self) -> list[Stored]:
        return list(SpoolReader(self.folder / "spool").read().stored)

    def content(self, stored: Stored) -> bytes:
        return read_message(self.folder / "spool", stored.location).to_bytes()

    def counted(self, counter: Counter) -> int:
        return int(self.row.values[counter])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.route.drain()
    bench.spool.close()


async def test_clean_mail_is_on_disk_with_trace_fields_when_it_is_answered(bench: Bench) -> None:
    reply = await bench.send(CLEAN)
    (stored,) = bench.stored()
    assert str(reply) == f"250 2.0.0 accepted as {stored.record.id}"
    content = bench.content(stored)
    assert content.endswith(b"Subject: hello\r\n\r\nhello\r\n")
    head = content[: -len(b"Subject: hello\r\n\r\nhello\r\n")].decode()
    assert [line.partition(":")[0] for line in head.splitlines() if not line.startswith((" ", "\t"))] == [
        "Received",
        "X-Esa-Id",
        "X-Esa-Verdict",
        "X-Esa-Score",
        "X-Esa-Reasons",
    ]
    assert f"id {stored.record.id}" in head
    assert "X-Esa-Verdict: clean" in head
    assert "X-Esa-Reasons: links=+1.2" in head
    (splinter,) = stored.record.splinters
    assert (splinter.action, splinter.recipients) == ("deliver", ("b@example.org",))


async def test_tracking_is_told_from_connection_to_end(bench: Bench) -> None:
    transaction, client = bench.transaction(SUSPECT)
    refusal = bench.receiver.recipient(transaction, "c@example.com", ())
    assert isinstance(refusal, Reply)
    assert refusal.code == 550
    bench.receiver.message(transaction)
    await client.reply()
    (stored,) = bench.stored()
    told = {event.name: event.fields for event in stored.record.events}
    assert list(told) == [EventName.CONNECTED, EventName.RECIPIENT_REFUSED, EventName.ACCEPTED, EventName.QUARANTINED]
    assert told[EventName.CONNECTED]["client"] == "192.0.2.7"
    assert told[EventName.RECIPIENT_REFUSED]["recipient"] == "c@example.com"
    assert told[EventName.ACCEPTED]["verdict"] == "suspect"
    assert told[EventName.ACCEPTED]["reasons"] == [["links", 1.25]]
    assert told[EventName.QUARANTINED]["reason"] == "spam:suspect"
    times = [event.at for event in stored.record.events]
    assert times == sorted(times)


@pytest.mark.parametrize("content", [b"hello", b"positive"])
async def test_tracking_is_told_the_subject_decoded_and_on_one_line(bench: Bench, content: bytes) -> None:
    await bench.send(b"From: a\r\nsubject : " + content + b"\r\n =?utf-8?q?Gr=C3=BC=C3=9Fe=0D=1B[31m?= and more\r\n\r\n")
    await bench.route.drain()
    (stored,) = bench.stored()
    assert stored.record.events[-1].fields["subject"] == content.decode() + " Grüße \ufffd[31m and more"


async def test_tracking_is_told_the_subject_of_content_in_a_file(bench: Bench) -> None:
    await bench.send(CLEAN + b"x" * (3 << 20), as_file=True)
    (stored,) = bench.stored()
    assert stored.record.events[-1].fields["subject"] == "hello"


async def test_positive_mail_is_refused_with_its_identifier_and_never_the_rule(bench: Bench) -> None:
    reply = await bench.send(POSITIVE)
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "spam" not in reply.text.lower()
    await bench.route.drain()
    (stored,) = bench.stored()
    assert stored.record.id in reply.text
    assert stored.record.splinters == ()
    assert stored.record.events[-1].name is EventName.REFUSED
    assert bench.counted(Counter.MESSAGES_REFUSED) == 1
    assert bench.counted(Counter.IN_COMMIT) == 0


async def test_the_events_of_refused_mail_go_with_the_next_commit(bench: Bench) -> None:
    await bench.send(POSITIVE)
    assert bench.appended == []
    await bench.send(CLEAN)
    async with asyncio.timeout(10):
        while sum(bench.appended) < 2:
            await asyncio.sleep(0.001)
    assert len(bench.stored()) == 2


async def test_dropped_mail_is_answered_250_and_keeps_no_content(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=MailPolicy(positive=Treatment(Action.DROP)))
    reply = await bench.send(POSITIVE)
    assert reply.code == 250
    (stored,) = bench.stored()
    assert stored.record.events[-1].name is EventName.DROPPED
    assert stored.record.splinters[0].action == "drop"
    assert bench.content(stored) == b""
    bench.spool.close()


async def test_a_scanner_that_raises_defers_the_message_at_fault_and_no_other(bench: Bench) -> None:
    sent = [bench.transaction(content) for content in (CLEAN, b"Subject: poison\r\n\r\n", CLEAN)]
    for transaction, _ in sent:
        bench.receiver.message(transaction)
    replies = [await client.reply() for _, client in sent]
    assert [reply.code for reply in replies] == [250, 451, 250]
    assert replies[1].enhanced == "4.3.0"
    assert len(bench.stored()) == 2
    assert bench.counted(Counter.SCAN_FAILURES) == 1
    assert bench.counted(Counter.MESSAGES_DEFERRED) == 1


@pytest.mark.parametrize(("full", "code", "enhanced"), [(True, 452, "4.3.1"), (False, 451, "4.3.0")])
async def test_a_spool_that_cannot_write_defers_and_the_next_message_may_succeed(
    bench: Bench, full: bool, code: int, enhanced: str
) -> None:
    bench.failure = StoreError("the disk is full", is_full=full)
    reply = await bench.send(CLEAN)
    assert (reply.code, reply.enhanced) == (code, enhanced)
    assert bench.stored() == []
    bench.failure = None
    assert (await bench.send(CLEAN)).code == 250
    assert bench.counted(Counter.COMMIT_FAILURES) == 1


async def test_past_the_bound_of_messages_in_work_the_next_is_deferred(tmp_path: Path) -> None:
    bench = Bench(tmp_path, in_flight=2)
    bench.scores.hold = True
    sent = [bench.transaction(CLEAN + b"x" * 30_000) for _ in range(3)]
    for transaction, _ in sent:
        bench.receiver.message(transaction)
    reply = await sent[2][1].reply()
    assert (reply.code, reply.enhanced) == (451, "4.3.2")
    bench.scores.hold = False
    assert [(await client.reply()).code for _, client in sent[:2]] == [250, 250]
    bench.spool.close()


async def test_messages_complete_in_one_iteration_are_one_scan_and_one_commit(bench: Bench) -> None:
    sent = [bench.transaction(CLEAN) for _ in range(10)]
    for transaction, _ in sent:
        bench.receiver.message(transaction)
    assert {(await client.reply()).code for _, client in sent} == {250}
    assert bench.scores.batches == [10]
    assert bench.appended == [10]


async def test_a_large_message_in_scan_does_not_delay_a_small_one(bench: Bench) -> None:
    bench.scores.hold_large = True
    large, waiting = bench.transaction(CLEAN + b"x" * LARGE)
    bench.receiver.message(large)
    while not bench.scores.batches:
        await asyncio.sleep(0.001)
    assert (await bench.send(CLEAN)).code == 250
    assert waiting.replies == []
    bench.scores.hold_large = False
    assert (await waiting.reply()).code == 250


async def test_content_in_a_file_is_taken_over_without_its_forged_fields(bench: Bench) -> None:
    body = CLEAN + b"x" * (3 << 20)
    reply = await bench.send(body, as_file=True)
    assert reply.code == 250
    (stored,) = bench.stored()
    assert bench.content(stored).endswith(b"\r\nSubject: hello\r\n\r\nhello\r\n" + b"x" * (3 << 20))
    assert b"forged" not in bench.content(stored)
    assert list(bench.spool.incoming.iterdir()) == []


@pytest.mark.parametrize("content", [POSITIVE, b"Subject: poison\r\n\r\n", b"X-Esa-Id: 1\r\nA: b\r\n" * (FORGED_LIMIT + 1)])
async def test_a_file_that_is_not_kept_is_removed(bench: Bench, content: bytes) -> None:
    reply = await bench.send(content + b"x" * (2 << 20), as_file=True)
    assert reply.code >= 400
    assert list(bench.spool.incoming.iterdir()) == []


async def test_a_message_that_goes_in_circles_is_refused(bench: Bench) -> None:
    assert (await bench.send(b"Received: from a by b; c\r\n" * 99 + CLEAN)).code == 250
    reply = await bench.send(b"Received: from a by b; c\r\n" * 100 + CLEAN)
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


async def test_a_client_that_has_gone_changes_nothing_for_its_message(bench: Bench) -> None:
    transaction, client = bench.transaction(CLEAN)
    transaction.closed = True
    bench.receiver.message(transaction)
    await client.reply()
    assert len(bench.stored()) == 1


async def test_no_mail_is_begun_with_when_the_disk_is_nearly_full_and_it_is_told_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Log] = []
    monkeypatch.setattr(gateway_events, "error", lambda event, **fields: told.append(event))
    transaction, _ = bench.transaction(CLEAN)
    assert bench.receiver.mail(transaction, ()) is None
    monkeypatch.setattr(bench, "free_bytes", lambda: 1 << 20)
    bench.route._free_until = 0.0
    refusal = bench.receiver.mail(transaction, ())
    assert isinstance(refusal, Reply)
    assert (refusal.code, refusal.enhanced) == (452, "4.3.1")
    bench.route._free_until = 0.0
    assert bench.receiver.mail(transaction, ()) is not None
    assert told == [Log.SPACE_LOW]


async def test_drain_waits_for_every_reply_and_record(bench: Bench) -> None:
    sent = [bench.transaction(content) for content in (CLEAN, POSITIVE, SUSPECT) for _ in range(20)]
    for transaction, _ in sent:
        bench.receiver.message(transaction)
    await bench.route.drain()
    assert all(client.replies for _, client in sent)
    assert len(bench.stored()) == 60


async def test_while_a_large_message_is_decided_about_and_edited_small_ones_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of the large one waits until a small one that came behind it has its reply."""
    tagged = Treatment(Action.DELIVER, (TagSubject("LONG "),))
    bench = Bench(tmp_path, policy=MailPolicy(positive_above=20.0, suspect_above=0.0, suspect=tagged))
    entered, answered = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    class Slow(Decider):
        def decide(self, case: Case) -> Decided:
            if len(case.content) > LARGE:
                entered[0].set()
                assert answered[0].wait(10)
            return super().decide(case)

    def slow_apply(raw: bytes, edits: Sequence[Edit]) -> bytes:
        if len(raw) > LARGE:
            entered[1].set()
            assert answered[1].wait(10)
        return apply(raw, edits)

    bench.route.decider = Slow(MailPolicies.of_one(MailPolicy(positive_above=20.0, suspect_above=0.0, suspect=tagged)))
    monkeypatch.setattr("esa.gateway.records.apply", slow_apply)
    large, waiting = bench.transaction(CLEAN + b"x" * LARGE)
    bench.route.take(large)
    for at in range(2):
        assert await asyncio.to_thread(entered[at].wait, 10)
        small, client = bench.transaction(CLEAN)
        bench.route.take(small)
        assert (await client.reply()).code == 250
        assert waiting.replies == []
        answered[at].set()
    assert (await waiting.reply()).code == 250
    await bench.route.drain()
    records = {one.record.envelope.size: one for one in bench.stored()}
    assert b"\r\nSubject: LONG hello\r\n" in bench.content(records[max(records)])[:2_000]
    bench.spool.close()


async def test_a_large_message_that_cannot_be_decided_about_is_put_off(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    class Broken(Decider):
        def decide(self, case: Case) -> Decided:
            raise ValueError("broken")

    bench.route.decider = Broken(MailPolicies.of_one())
    for content in (CLEAN, CLEAN + b"x" * LARGE):
        transaction, client = bench.transaction(content)
        bench.route.take(transaction)
        assert (await client.reply()).code == 451
    await bench.route.drain()
    bench.spool.close()
