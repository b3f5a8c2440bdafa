"""The SMTP machine against a plain model that reads line by line.

Invariant tested: whatever the octets of a session and however they are cut into reads, the machine reports what the model
reports, and raises nothing.
"""

from __future__ import annotations

import os
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core._smtp import EVENTS, FAULTS, STATES, Machine

CASES = 100_000 if os.environ.get("ESA_REQUIRE") == "all" else 5_000

Event = tuple[object, ...]

HELLO_NAME = re.compile(rb"[!#$%&'*+,\-./0-9:=?@A-Z\[\]^_`a-z{|}~]{1,255}\Z")
COMMON_PATH = re.compile(
    rb"<(?=[^@]{1,64}@)((?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+\.)*[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)"
    rb"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)>\Z"
)
PATH = re.compile(rb'[ \t]*(<(?:[^">]|"(?:[^"\\]|\\.)*")*>)(?=[ \t]|\Z)', re.DOTALL)
WEB_METHODS = {b"GET", b"PUT", b"POST", b"HEAD", b"PATCH", b"DELETE", b"CONNECT", b"OPTIONS"}
NOT_IMPLEMENTED = {b"STARTTLS", b"AUTH", b"ETRN", b"SEND", b"SOML", b"SAML", b"TURN"}
PLAIN = {b"NOOP": "NOOP", b"VRFY": "VERIFY", b"EXPN": "EXPAND", b"HELP": "HELP"}


class Model:
    """The same session, read line by line with regular expressions; accepts every command."""

    def __init__(self, *, message_size: int = 0, reject_bare: bool = False) -> None:
        self.message_size = message_size
        self.reject_bare = reject_bare
        self.state = "START"
        self.extended = False
        self.first = True
        self.events: list[Event] = []

    def run(self, octets: bytes) -> list[Event]:
        position = 0
        while self.state != "ENDED":
            if self.state == "MAIL_DATA":
                position = self.mail_data(octets, position)
                if position < 0:
                    break
                continue
            end = octets.find(b"\n", position)
            if end < 0:
                break
            line, position = octets[position:end], end + 1
            self.swallow = 0
            self.command(line)
            position = min(position + self.swallow, len(octets))
        return self.events

    def mail_data(self, octets: bytes, position: int) -> int:
        content = b""
        feeds = returns = nuls = 0
        bare_before = False
        while True:
            end = octets.find(b"\n", position)
            if end < 0:
                return -1
            line, position = octets[position:end], end + 1
            bare = not line.endswith(b"\r")
            if not bare:
                line = line[:-1]
            feeds += bare
            if line == b".":
                if not bare and not bare_before:
                    break
                bare_before = bare
                continue
            bare_before = bare
            line = line.removeprefix(b".")
            returns += line.count(b"\r")
            nuls += line.count(b"\0")
            content += line.replace(b"\r", b" ").replace(b"\0", b" ") + b"\r\n"
        oversized = bool(self.message_size) and len(content) > self.message_size
        self.events.append(("MESSAGE", b"" if oversized else content, len(content), feeds, returns, nuls, oversized))
        self.state = "READY"
        return position

    def fault(self, name: str) -> None:
        self.events.append(("FAULT", name))

    def command(self, line: bytes) -> None:
        first, self.first = self.first, False
        if len(line) > 1024:
            return self.fault("LINE_TOO_LONG")
        bare = not line.endswith(b"\r")
        if bare and self.reject_bare:
            self.first = first
            return self.fault("BARE_LINE_FEED")
        line = line if bare else line[:-1]
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line):
            return self.fault("FOREIGN" if first and not line[:1].isalnum() else "BAD_OCTETS")
        verb, _, argument = re.sub(rb"\t", b" ", line).partition(b" ")
        verb = verb.upper()
        argument = line[len(verb) + 1 :].strip(b" \t")
        if len(line) + 2 > (1024 if verb in (b"MAIL", b"RCPT") else 512):
            return self.fault("LINE_TOO_LONG")
        if first and (not verb[:1].isalpha() or verb in WEB_METHODS):
            return self.fault("FOREIGN")
        if verb in NOT_IMPLEMENTED:
            return self.fault("NOT_IMPLEMENTED")
        if verb == b"BDAT":
            return self.chunk(argument)
        if verb in PLAIN:
            if not argument and verb in (b"VRFY", b"EXPN"):
                return self.fault("NEED_ARGUMENT")
            self.events.append((PLAIN[verb], argument.decode("utf-8", "surrogateescape")))
            return None
        method = getattr(self, "on_" + verb.decode("latin-1").lower(), None)
        if method is None or len(verb) != 4:
            return self.fault("UNKNOWN")
        method(argument)
        return None

    def chunk(self, argument: bytes) -> None:
        match = re.match(rb"(\d+)(?:[ \t]|\Z)", argument)
        if not match or int(match[1]) > 2**30:
            return self.fault("CHUNK")
        self.swallow = int(match[1])
        return self.fault("NOT_IMPLEMENTED")

    def hello(self, verb: str, argument: bytes) -> None:
        if not argument:
            return self.fault("NEED_ARGUMENT")
        if not HELLO_NAME.match(argument):
            return self.fault("BAD_HELLO")
        self.extended = verb == "EHLO"
        self.state = "READY"
        self.events.append(("HELLO", verb, argument.decode()))
        return None

    def on_ehlo(self, argument: bytes) -> None:
        self.hello("EHLO", argument)

    def on_helo(self, argument: bytes) -> None:
        self.hello("HELO", argument)

    def path(self, argument: bytes, keyword: bytes) -> tuple[bytes, list[str]] | None:
        if not argument.upper().startswith(keyword):
            return None
        rest = argument[len(keyword) :]
        match = PATH.match(rest)
        if not match:
            return None
        return match[1], rest[match.end() :].decode("utf-8", "surrogateescape").split()

    def values(self, path: bytes) -> tuple[str | None, bytes | None]:
        if path == b"<>":
            return "", None
        match = COMMON_PATH.match(path)
        if match and len(path) <= 256 and len(match[2]) <= 255:
            return f"{match[1].decode()}@{match[2].decode().lower()}", None
        return None, path

    def on_mail(self, argument: bytes) -> None:
        if self.state != "READY":
            return self.fault("NEED_HELLO" if self.state == "START" else "NESTED")
        found = self.path(argument, b"FROM:")
        if found is None:
            return self.fault("MAIL_SYNTAX")
        path, parameters = found
        size, eight_bit, smtputf8 = 0, False, False
        seen: set[str] = set()
        for parameter in parameters:
            keyword, equals, value = parameter.partition("=")
            keyword = keyword.upper()
            if not self.extended:
                return self.fault("UNKNOWN_PARAMETER")
            if keyword in seen or (equals and not value):
                return self.fault("BAD_PARAMETER")
            seen.add(keyword)
            if keyword == "SIZE" and re.fullmatch("[0-9]{1,20}", value):
                size = int(value)
            elif keyword == "BODY" and value.upper() in ("7BIT", "8BITMIME"):
                eight_bit = value.upper() == "8BITMIME"
            elif keyword == "SMTPUTF8" and not equals:
                smtputf8 = True
            else:
                return self.fault("BAD_PARAMETER" if keyword in ("SIZE", "BODY", "SMTPUTF8") else "UNKNOWN_PARAMETER")
        if self.message_size and size > self.message_size:
            return self.fault("TOO_LARGE")
        self.state = "FROM"
        self.events.append(("MAIL", *self.values(path), tuple(parameters), min(size, 2**64 - 1), eight_bit, smtputf8))
        return None

    def on_rcpt(self, argument: bytes) -> None:
        if self.state not in ("FROM", "TO"):
            return self.fault("NEED_HELLO" if self.state == "START" else "NEED_MAIL")
        found = self.path(argument, b"TO:")
        if found is None or found[0] == b"<>":
            return self.fault("RECIPIENT_SYNTAX")
        if found[1]:
            return self.fault("UNKNOWN_PARAMETER")
        self.state = "TO"
        self.events.append(("RECIPIENT", *self.values(found[0])))
        return None

    def on_data(self, argument: bytes) -> None:
        if self.state != "TO":
            return self.fault({"START": "NEED_HELLO", "READY": "NEED_MAIL"}.get(self.state, "NEED_RECIPIENT"))
        if argument:
            return self.fault("NO_ARGUMENT")
        self.state = "MAIL_DATA"
        self.events.append(("DATA",))
        return None

    def on_rset(self, argument: bytes) -> None:
        if argument:
            return self.fault("NO_ARGUMENT")
        self.state = "START" if self.state == "START" else "READY"
        self.events.append(("RESET",))
        return None

    def on_quit(self, argument: bytes) -> None:
        if argument:
            return self.fault("NO_ARGUMENT")
        self.state = "ENDED"
        self.events.append(("QUIT",))
        return None


def values_of(machine: Machine, event: str, spilled: bytes) -> Event:
    if event == "FAULT":
        return event, FAULTS[machine.fault]
    if event == "HELLO":
        return event, machine.verb, machine.argument
    if event in ("NOOP", "VERIFY", "EXPAND", "HELP"):
        return event, machine.argument
    if event == "MAIL":
        values = machine.path, machine.raw_path, machine.parameters
        return event, *values, machine.declared_size, machine.eight_bit, machine.smtputf8
    if event == "RECIPIENT":
        return event, machine.path, machine.raw_path
    if event == "MESSAGE":
        content = machine.take_content()
        if machine.oversized:
            spilled = b""
        counts = machine.bare_line_feeds, machine.stray_returns, machine.nul_octets
        return event, spilled + content, machine.size, *counts, machine.oversized
    return (event,)


def run(octets: bytes, cuts: list[int], *, message_size: int = 0, spill: int = 0, reject_bare: bool = False) -> list[Event]:
    """What the machine reports of a session read in pieces, every command accepted."""
    machine = Machine()
    machine.message_size, machine.spill, machine.reject_bare = message_size, spill, reject_bare
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
            if event in ("HELLO", "MAIL", "RECIPIENT", "DATA", "MESSAGE"):
                machine.accept()
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
    *(b"MAIL FROM:<a@b> " + b"p" * 1005, b"MAIL FROM:<a@b> " + b"p" * 1006, b"q" * 2000),
)
OPENING = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"


def random_body(chance: random.Random) -> bytes:
    lines = (chance.choice(TEXTS) + chance.choice(LINE_ENDS) for _ in range(chance.randrange(1, 12)))
    return b"".join(lines) + chance.choice((b"\r\n.\r\n", b".\r\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r\n"))


def random_session(chance: random.Random) -> bytes:
    pieces = [chance.choice((OPENING + random_body(chance), OPENING + random_body(chance), b"EHLO c\r\n", b""))]
    for _ in range(chance.randrange(0, 7)):
        if chance.random() < 0.25:
            pieces.append(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + random_body(chance))
        else:
            pieces.append(chance.choice(COMMANDS) + (chance.choice(LINE_ENDS)))
    return b"".join(pieces) or b"\r\n"


def test_random_sessions_in_random_pieces_are_read_as_the_model_reads_them() -> None:
    chance = random.Random(5321)
    for case in range(CASES):
        octets = random_session(chance)
        limit = chance.choice((0, 0, 0, 40, 400))
        spill = chance.choice((0, 0, 50))
        reject = chance.random() < 0.2
        expected = Model(message_size=limit, reject_bare=reject).run(octets)
        cuts = random_cuts(chance, len(octets))
        assert run(octets, cuts, message_size=limit, spill=spill, reject_bare=reject) == expected, (case, octets, cuts)


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
    assert run(octets, list(range(1, len(octets)))) == run(octets, []) == Model().run(octets)


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
