"""The SMTP machine against a plain model that reads line by line.

Invariant tested: whatever the octets of a session and however they are cut into reads, the machine reports what the model
reports, and raises nothing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core._smtp import EVENTS, FAULTS, OFFERS, STATES, Machine
from tests.core.smtp_model import ACCEPTED, CHALLENGED, REFUSED, Event, Model

CASES = int(os.environ.get("ESA_SMTP_CASES", 0)) or (100_000 if os.environ.get("ESA_REQUIRE") == "all" else 5_000)
SEED = int(os.environ.get("ESA_SMTP_SEED", "5321"))
EVERYTHING = frozenset(OFFERS)


def values_of(machine: Machine, event: str, spilled: bytes) -> Event:
    if event == "FAULT":
        return event, FAULTS[machine.fault]
    if event == "HELLO":
        return event, machine.verb, machine.argument
    if event in ("NOOP", "VERIFY", "EXPAND", "HELP", "AUTH", "RESPONSE", "XCLIENT"):
        return event, machine.argument
    if event == "CHUNK":
        return event, machine.chunk, machine.last
    if event == "MAIL":
        mail = machine.mail
        words = mail.declared_size, mail.body, mail.auth, mail.ret, mail.envelope_id, mail.smtputf8, mail.requiretls
        return event, machine.path, machine.raw_path, machine.parameters, *words
    if event == "RECIPIENT":
        recipient = machine.recipient
        asked = (recipient.notify, recipient.original_recipient) if recipient else ("", "")
        return event, machine.path, machine.raw_path, *asked
    if event == "MESSAGE":
        content = machine.take_content()
        if machine.oversized:
            spilled = b""
        return event, spilled + content, machine.size, *machine.oddities, machine.oversized
    return (event,)


ACCEPTABLE = ("HELLO", "MAIL", "RECIPIENT", "DATA", "CHUNK", "CHUNK_END", "STARTTLS", "XCLIENT", "AUTH", "RESPONSE")


def act(machine: Machine, event: str, decision: int) -> None:
    """What a caller does about an event that can be accepted."""
    if decision == ACCEPTED:
        machine.accept()
        if event in ("STARTTLS", "XCLIENT"):
            machine.restart(secure=event == "STARTTLS")
    elif event in ("CHUNK", "CHUNK_END"):
        machine.refuse()
    elif decision == CHALLENGED and event in ("AUTH", "RESPONSE"):
        machine.challenge()


def run(
    octets: bytes,
    cuts: list[int],
    *,
    message_size: int = 0,
    spill: int = 0,
    reject_bare: bool = False,
    offers: Set[str] = frozenset(),
    decide: Callable[[int], int] = lambda number: ACCEPTED,
) -> list[Event]:
    """What the machine reports of a session read in pieces; `decide` as for the model."""
    machine = Machine()
    machine.message_size, machine.spill, machine.reject_bare = message_size, spill, reject_bare
    machine.offers = sum(1 << bit for bit, name in enumerate(OFFERS) if name in offers)
    events: list[Event] = []
    spilled = b""
    for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        position = begin
        while True:
            event = EVENTS[machine.feed(octets, position, end)]
            position = machine.position
            if event == "NEED_INPUT":
                break
            if event == "SPILL":
                spilled += machine.take_content()
                continue
            events.append(values_of(machine, event, spilled))
            if event == "MESSAGE":
                machine.accept()
            elif event in ACCEPTABLE:
                act(machine, event, decide(len(events)))
            if STATES[machine.state] in ("START", "READY", "MAIL_DATA"):
                spilled = b""
        if STATES[machine.state] == "ENDED":
            break
        assert position == end
    return events


def random_cuts(chance: random.Random, length: int) -> list[int]:
    kind = chance.randrange(4)
    if kind == 0:
        return []
    if kind == 1:
        return list(range(1, length))
    return sorted(chance.sample(range(1, length), min(length - 1, chance.randrange(1, 12)))) if length > 1 else []


LINE_ENDS = (b"\r\n",) * 12 + (b"\n", b"\r\r\n", b"\r", b"\n\r", b"\r\n\r\n", b"\n\n")
TEXTS = (
    *(b"", b".", b"..", b"x", b".x", b"\0", b".\0", b"\r", b".\r", b"a\rb", b"\xc3\xa4", b" ."),
    *(b"word " * 13, b"=" * 64, b"y" * 63, b"z" * 200),
)
COMMANDS = (
    *(b"EHLO client.example", b"HELO [192.0.2.1]", b"ehlo", b"EHLO a b", b"HELO \xff", b"EHLO\tx", b"RSET", b"RSET x", b"NOOP", b"DATA x"),
    *(b"noop \xc3\xa4\xff", b"VRFY", b"VRFY root", b"EXPN list", b"HELP", b"help mail", b"AUTH PLAIN AA==", b"STARTTLS", b"XYZZY"),
    *(b"BDAT 7 LAST", b"BDAT 3", b"BDAT x", b"BDAT 0 LAST", b"BDAT 99999999999", b"", b" ", b"GET / HTTP/1.1", b"NO\0OP", b"MAILX"),
    *(b"\x16\x03\x01", b"QUIT now", b"MAIL", b"MAIL FROM:<>", b"MAIL FROM:<a@b.example>", b"mail from: <A.b+c@B.Example>  SIZE=10"),
    *(b"MAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8", b"MAIL FROM:<a@b> SIZE=10 SIZE=11", b"MAIL FROM:<a@b> SIZE=", b"MAIL FROM:<a@b> BODY=x"),
    *(b"MAIL FROM:<a@b> SIZE=99999999999999999999", b"MAIL FROM:<a@b> RET=FULL", b"MAIL FROM:a@b", b"MAIL FROM:<a@b", b"MAIL FROM:<a@b>x"),
    *(b'MAIL FROM:<"a> b"@c.example>', b"MAIL FROM:<@x,@y:a@b>", b"MAIL FROM:<\xc3\xa4@b> SMTPUTF8", b"MAIL FROM:<a..b@c>"),
    *(b"MAIL FROM:<a@-b>", b"MAIL FROM:<" + b"l" * 65 + b"@d>", b"RCPT TO:<c@d.example>", b"rcpt to: <C@D.Example>", b"RCPT TO:<>"),
    *(b"RCPT TO:<Postmaster>", b"RCPT TO:<c@d> NOTIFY=NEVER", b"RCPT TO:c", b"RCPT TO:<u@" + b"d" * 63 + b".example>"),
    *(b"RCPT TO:<u@" + b"d" * 64 + b">", b"NOOP " + b"n" * 505, b"NOOP " + b"n" * 506, b"q" * 1023, b"q" * 1024, b"q" * 1025),
    *(b"AUTH LOGIN", b"auth", b"AUTH PLAIN " + b"A" * 1011, b"AUTH PLAIN " + b"A" * 1012, b"*", b"YWJj", b"STARTTLS", b"STARTTLS now"),
    *(b"XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE]", b"xclient", b"BDAT 5 last\r\na\nb.\r", b"BDAT 4\r\n.\r\n.", b"BDAT 3 LAST\r\n\r\n."),
    *(b"BDAT 3 FOO\r\nabc", b"BDAT 12 LAST\r\nMAIL FROM:<>", b"BDAT 1\r\n\r", b"BDAT 1 LAST\r\n\n", b"BDAT 60 LAST\r\n" + b"z\0" * 30),
    *(b"MAIL FROM:<a@b> BODY=BINARYMIME", b"MAIL FROM:<a@b> RET=hdrs ENVID=a+2Bb", b"MAIL FROM:<a@b> ENVID=" + b"e" * 101),
    *(b"MAIL FROM:<a@b> ENVID=a+2b", b"MAIL FROM:<a@b> ENVID=a=b", b"MAIL FROM:<a@b> AUTH=<>", b"MAIL FROM:<a@b> AUTH=e+3Dmc2@x SIZE=3"),
    *(b"MAIL FROM:<a@b> REQUIRETLS", b"MAIL FROM:<a@b> REQUIRETLS=1", b"MAIL FROM:<a@b> RET", b"MAIL FROM:<a@b> AUTH"),
    *(
        b"RCPT TO:<c@d> NOTIFY=success,Failure ORCPT=rfc822;c+2Bx@d",
        b"RCPT TO:<c@d> NOTIFY=NEVER,DELAY",
        b"RCPT TO:<c@d> NOTIFY=DELAY,DELAY",
    ),
    *(
        b"RCPT TO:<c@d> ORCPT=c@d",
        b"RCPT TO:<c@d> ORCPT=-;c",
        b"RCPT TO:<c@d> ORCPT=rfc822;\xc3\xa4",
        b"RCPT TO:<c@d> ORCPT=utf-8;\xc3\xa4@d",
    ),
    *(b"RCPT TO:<c@d> ORCPT=utf-8;\xff", b"RCPT TO:<c@d> ORCPT=x;" + b"o" * 499, b"RCPT TO:<c@d> NOTIFY= ORCPT=", b"RCPT TO:<c@d> NOTIFY"),
    *(b"MAIL FROM:<a@b> " + b"p" * 1005, b"MAIL FROM:<a@b> " + b"p" * 1006, b"q" * 2000),
)
OPENING = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"


def random_body(chance: random.Random) -> bytes:
    lines = (chance.choice(TEXTS) + chance.choice(LINE_ENDS) for _ in range(chance.randrange(1, 12)))
    return b"".join(lines) + chance.choice((b"\r\n.\r\n", b".\r\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r\n"))


def random_chunks(chance: random.Random) -> bytes:
    """BDAT commands with their octets, now and then with a wrong number."""
    pieces = []
    for number in range(chance.randrange(1, 5), 0, -1):
        octets = b"".join(chance.choice(TEXTS) + chance.choice(LINE_ENDS) for _ in range(chance.randrange(0, 4)))
        octets = octets[: chance.randrange(len(octets) + 1)] if chance.random() < 0.3 else octets
        size = len(octets) + (chance.choice((0, 0, 0, 0, 0, 0, 0, 1, -1)) if octets else 0)
        pieces.append(b"BDAT %d%s\r\n" % (size, b" LAST" if number == 1 else b"") + octets)
    return b"".join(pieces)


BEGINNINGS = (b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\n")


def random_session(chance: random.Random) -> bytes:
    pieces = [chance.choice((OPENING + random_body(chance), OPENING + random_body(chance), b"EHLO c\r\n", b"EHLO c\r\n", b""))]
    for _ in range(chance.randrange(0, 7)):
        kind = chance.random()
        if kind < 0.2:
            pieces.append(chance.choice(BEGINNINGS) + b"DATA\r\n" + random_body(chance))
        elif kind < 0.4:
            pieces.append(chance.choice(BEGINNINGS) + random_chunks(chance))
        else:
            pieces.append(chance.choice(COMMANDS) + (chance.choice(LINE_ENDS)))
    return b"".join(pieces) or b"\r\n"


def test_random_sessions_in_random_pieces_are_read_as_the_model_reads_them() -> None:
    """ESA_SMTP_CASES says how many, ESA_SMTP_SEED which."""
    chance = random.Random(SEED)
    for case in range(CASES):
        octets = random_session(chance)
        limit = chance.choice((0, 0, 0, 40, 400))
        spill = chance.choice((0, 0, 50))
        reject = chance.random() < 0.2
        offers = chance.choice((EVERYTHING, EVERYTHING, frozenset(OFFERS[:2]), frozenset[str]()))
        decisions = [chance.choice((ACCEPTED,) * 12 + (REFUSED, CHALLENGED)) for _ in range(64)]

        def decide(number: int, decisions: list[int] = decisions) -> int:
            return decisions[number % 64]

        expected = Model(message_size=limit, reject_bare=reject, offers=offers, decide=decide).run(octets)
        cuts = random_cuts(chance, len(octets))
        found = run(octets, cuts, message_size=limit, spill=spill, reject_bare=reject, offers=offers, decide=decide)
        assert found == expected, (case, octets, cuts, offers)


@given(st.binary(max_size=300), st.data())
def test_any_octets_after_data_are_read_as_the_model_reads_them(body: bytes, data: st.DataObject) -> None:
    octets = OPENING + body + b"\r\n.\r\nNOOP\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(octets) - 1), max_size=8)))
    assert run(octets, cuts) == Model().run(octets)


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"x", b"y" * 70]), max_size=60).map(b"".join))
def test_every_order_of_line_ends_and_dots_is_read_as_the_model_reads_it(body: bytes) -> None:
    octets = OPENING + body + b"\r\n.\r\nNOOP\r\n"
    expected = Model().run(octets)
    assert run(octets, []) == expected
    assert run(octets, list(range(1, len(octets)))) == expected


@given(st.binary(max_size=400))
def test_garbage_raises_nothing_and_reads_the_same_one_octet_at_a_time(octets: bytes) -> None:
    octets = octets or b"\n"
    for offers in (frozenset[str](), EVERYTHING):
        expected = Model(offers=offers).run(octets)
        assert run(octets, list(range(1, len(octets))), offers=offers) == run(octets, [], offers=offers) == expected


@pytest.mark.parametrize("length", [510, 511, 512, 513, 1023, 1024, 1025, 1026, 5000])
@pytest.mark.parametrize("verb", [b"NOOP ", b"MAIL FROM:<a@b> "])
def test_a_command_line_may_be_as_long_as_its_limit(verb: bytes, length: int) -> None:
    octets = b"EHLO x\r\n" + verb + b"p" * (length - len(verb) - 2) + b"\r\n"
    last = run(octets, [])[-1]
    limit = 1024 if verb.startswith(b"MAIL") else 512
    assert (last == ("FAULT", "LINE_TOO_LONG")) == (length > limit)
    assert run(octets, list(range(1, len(octets))))[-1] == last


def mail_data(body: bytes) -> list[Event]:
    return [event for event in run(OPENING + body, []) if event[0] == "MESSAGE"]


@pytest.mark.parametrize("false_end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"])
def test_only_a_dot_between_two_crlf_ends_mail_data(false_end: bytes) -> None:
    assert mail_data(b"a" + false_end + b"b") == []
    assert len(mail_data(b"a" + false_end + b"b\r\n.\r\n")) == 1


def test_lone_line_feed_dot_does_not_end_mail_data() -> None:
    (message,) = mail_data(b"one\n.\nMAIL FROM:<x@y>\r\n.\r\n")
    assert message[1] == b"one\r\nMAIL FROM:<x@y>\r\n"


def test_leading_dots_are_unstuffed_once() -> None:
    (message,) = mail_data(b"..one\r\n...two\r\n.three\r\n.\r\n")
    assert message[1] == b".one\r\n..two\r\nthree\r\n"


def test_empty_mail_data_is_a_message() -> None:
    (message,) = mail_data(b".\r\n")
    assert message[1:3] == (b"", 0)


def test_mail_data_holds_no_bare_line_end_and_no_nul_afterwards() -> None:
    (message,) = mail_data(b"a\rb\nc\0d\r\r\ne\r\n.\r\n")
    assert message[1] == b"a b\r\nc d \r\ne\r\n"
    assert message[3:6] == (1, 2, 1)


def test_mail_data_past_the_limit_is_thrown_away_and_its_end_still_found() -> None:
    octets = OPENING + b"x" * 70_000 + b"\r\n.\r\nNOOP\r\n"
    events = run(octets, list(range(1000, len(octets), 1000)), message_size=50_000)
    assert events[-2] == ("MESSAGE", b"", 70_002, 0, 0, 0, True)
    assert events[-1][0] == "NOOP"


def test_memory_of_large_mail_data_stays_at_one_piece() -> None:
    machine = Machine()
    machine.spill = 2**20
    for line in OPENING.splitlines(keepends=True):
        machine.feed(line)
        machine.accept()
    chunk = (b"x" * 78 + b"\r\n") * 1000
    most = pieces = 0
    for _ in range(200):
        position = 0
        while machine.feed(chunk, position):
            position = machine.position
            pieces += len(machine.take_content())
        most = max(most, machine.held)
    assert pieces > 15 * 2**20
    assert most < 3 * 2**20


def test_a_refused_command_leaves_the_state() -> None:
    machine = Machine()
    machine.feed(b"EHLO x\r\n")
    machine.accept()
    machine.feed(b"MAIL FROM:<a@b>\r\n")
    assert STATES[machine.state] == "READY"
    assert EVENTS[machine.feed(b"RCPT TO:<c@d>\r\n")] == "FAULT"
    assert FAULTS[machine.fault] == "NEED_MAIL"


def test_octets_of_a_refused_chunk_are_never_commands() -> None:
    events = run(b"EHLO x\r\nBDAT 21 LAST\r\nMAIL FROM:<a@b.org>\r\nNOOP\r\n", [])
    assert [event[0] for event in events] == ["HELLO", "FAULT", "NOOP"]


def chunked(octets: bytes) -> list[Event]:
    return run(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n" + octets, [], offers=EVERYTHING)[3:]


def test_chunks_make_one_message_and_their_dots_are_content() -> None:
    events = chunked(b"BDAT 6\r\none\r\n.BDAT 5 LAST\r\n\r\n..\r")
    assert [event[0] for event in events] == ["CHUNK", "CHUNK_END", "CHUNK", "MESSAGE"]
    assert events[-1][1] == b"one\r\n.\r\n.. \r\n"


def test_an_empty_last_chunk_ends_the_message() -> None:
    assert chunked(b"BDAT 0 LAST\r\n")[-1][:2] == ("MESSAGE", b"")
    assert chunked(b"BDAT 3\r\na\r\nBDAT 0 LAST\r\n")[-1][:2] == ("MESSAGE", b"a\r\n")


def test_after_a_refused_chunk_the_rest_makes_no_message() -> None:
    machine = Machine()
    machine.offers = 1
    for line in (b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"):
        machine.feed(line)
        machine.accept()
    octets = b"BDAT 15\r\nMAIL FROM:<x@y>BDAT 4 LAST\r\nrestNOOP\r\n"
    assert EVENTS[machine.feed(octets)] == "CHUNK"
    machine.refuse()
    assert EVENTS[machine.feed(octets, machine.position)] == "FAULT"
    assert FAULTS[machine.fault] == "NEED_MAIL"
    assert EVENTS[machine.feed(octets, machine.position)] == "NOOP"


def test_a_message_in_chunks_takes_no_more_recipients_and_no_data() -> None:
    events = chunked(b"BDAT 1\r\nxRCPT TO:<e@f>\r\nDATA\r\nMAIL FROM:<>\r\nSTARTTLS\r\nBDAT 1 LAST\r\ny")
    assert [event[1] for event in events if event[0] == "FAULT"] == ["CHUNKED", "CHUNKED", "NESTED", "NESTED"]
    assert events[-1][1] == b"xy\r\n"


def test_binary_mail_is_left_as_it_is_and_needs_chunks() -> None:
    opening = b"EHLO x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n"
    events = run(opening + b"BDAT 7 LAST\r\n\0a\rb\n.\r", [], offers=EVERYTHING)
    assert ("FAULT", "NEED_CHUNKS") in events
    assert events[-1] == ("MESSAGE", b"\0a\rb\n.\r", 7, 0, 0, 0, False)


def test_nothing_said_before_tls_counts_after_it() -> None:
    events = run(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nEHLO x\r\nSTARTTLS\r\n", [], offers=EVERYTHING)
    assert events[2] == ("FAULT", "NEED_HELLO")
    assert events[-1] == ("FAULT", "ALREADY")


def test_a_line_after_a_challenge_is_a_response_and_never_a_command() -> None:
    octets = b"EHLO x\r\nAUTH LOGIN\r\nQUIT\r\n*\r\nAUTH PLAIN\r\nAUTH PLAIN\r\n"
    decisions = {1: ACCEPTED, 2: CHALLENGED, 3: CHALLENGED, 4: REFUSED, 5: ACCEPTED}
    events = run(octets, [], offers=EVERYTHING, decide=lambda number: decisions[number])
    assert events[1:] == [("AUTH", "LOGIN"), ("RESPONSE", "QUIT"), ("RESPONSE", "*"), ("AUTH", "PLAIN"), ("FAULT", "ALREADY")]


def test_what_is_not_offered_is_not_known() -> None:
    for parameters in (b"RET=FULL", b"ENVID=x", b"AUTH=<>", b"REQUIRETLS", b"BODY=BINARYMIME"):
        assert run(b"EHLO x\r\nMAIL FROM:<a@b> " + parameters + b"\r\n", [])[-1] == ("FAULT", "UNKNOWN_PARAMETER")
        assert run(b"EHLO x\r\nMAIL FROM:<a@b> " + parameters + b"\r\n", [], offers=EVERYTHING)[-1][0] == "MAIL"


def test_nothing_is_read_behind_mail_data_before_it_is_answered() -> None:
    machine = Machine()
    octets = OPENING + b".\r\nNOOP\r\n"
    position = 0
    while EVENTS[machine.feed(octets, position)] != "MESSAGE":
        position = machine.position
        machine.accept()
    position = machine.position
    assert EVENTS[machine.feed(octets, position)] == "NEED_INPUT"
    assert machine.position == position
    machine.accept()
    assert EVENTS[machine.feed(octets, position)] == "NOOP"
