"""The targets that call the core as Python does: a message read and scanned, programs and images, the SMTP machine, names and URLs.

Each is a function of octets named as its target. It raises for a violated invariant, and nothing else for any octets but MemoryError.
Called by the native targets, in a process that has them.
"""

from __future__ import annotations

import ctypes
import itertools
import random
import re
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np

import esa_core
from esa_core import _addresses, _domain, _fields, _header_lines, _smtp
from tests.fuzz.targets import seal, untraced

WORDS = [b"free", b"money", b" ", b"he", b"she", b"hers", b"ann@", b"example", b".org", b".", "stra\u00dfe".encode(), b"verify"]


# --- mail -------------------------------------------------------------------------------------------------------------------------


def parsed(octets: bytes) -> None:
    """Whatever is asked of a message has an answer: offsets stand in it, a part behind its parent, text is UTF-8."""
    # a bytes object has a NUL behind it: only in memory of the exact size does a sanitizer see one octet too many
    message = esa_core.parse(ctypes.create_string_buffer(octets, len(octets))) if octets else esa_core.parse(octets)
    parts = message.parts
    for part in parts:
        assert 0 <= part.start <= part.body_start <= part.end
        assert part.parent < part.index
        assert part.origin < part.index
        assert part.end <= len(octets) or part.origin >= 0
        assert part.depth <= 64
        if part.parent >= 0 and parts[part.parent].origin == part.origin:
            assert parts[part.parent].body_start <= part.start <= part.end <= parts[part.parent].end
        assert part.content() == part.contents()[0]
        assert "\n" not in "".join(part.file_names)
        for text in (part.text, part.media_type, part.charset, part.encoding, part.file_name):
            text.encode()
    assert "\n" not in message.subject + message.from_name + message.from_address
    for text in (message.subject, message.from_name, message.from_address, message.reply_to_address, message.to_address):
        text.encode()
    for name, value in message.headers:
        assert b"\n" not in value
        assert message.header(name)
    for text in (message.text, message.written, *(text for link in message.links for text in (link.url, link.shown))):
        text.encode()
    message.folded.decode()
    assert all(count >= 0 for count in message.html.values())


FIELDS = [b"from", b"to", b"subject", b"received", b"x-mailer", b"x"]
LITERALS = [b"free", b"ann@", b"example", "stra\u00dfe".encode(), b"with smtp", b".", b"aa"]


@cache
def _gate() -> _fields.FieldGate:
    return _fields.FieldGate([(name, name != b"received") for name in FIELDS], [esa_core.fold(literal) for literal in LITERALS])


@cache
def _index() -> _addresses.AddressIndex:
    return _addresses.AddressIndex([b"ann@example.org", b"@example.org", b".org", b"ann@", b"a@b", b"@[127.0.0.1]"])


def fields(octets: bytes) -> None:
    """What a gate tells of a header is what a look at each of its fields tells; an address is left to the caller, or found for certain."""
    message = esa_core.parse(ctypes.create_string_buffer(octets, len(octets))) if octets else esa_core.parse(octets)
    told = _gate().find(message, octets[:64])
    present = [number for number, name in enumerate(FIELDS) if _fields.has_field(message, name)]
    if told is not None:
        assert len(set(told)) == len(told)
        assert [number for number in sorted(told) if number < len(FIELDS)] == present
        assert all(number < len(FIELDS) + len(LITERALS) for number in told)
        values = [value for name in FIELDS if name != b"received" for value in message.header(name.decode())]
        for number, literal in enumerate(LITERALS, len(FIELDS)):
            if any(esa_core.fold(literal) in esa_core.fold(value.encode()) for value in values):
                assert number in told
    header(octets)
    for address in (message.from_address, message.to_address, octets[:80].decode("utf-8", "replace")):
        found = _index().find(address)
        assert _index().finds_none([address], ()) == ((found is not None and not found) or address == "")


def header(octets: bytes) -> None:
    """A header ends at its first empty line, and its fields are what a plain search finds."""
    end = _header_lines.header_end(octets)
    lines = re.split(rb"(?<=\n)", octets)
    assert end == sum(map(len, itertools.takewhile(lambda line: line not in (b"", b"\n", b"\r\n"), lines)))
    found = [
        one[0] for one in re.finditer(rb"^(?:from|x)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", octets[:end], re.MULTILINE | re.IGNORECASE)
    ]
    assert _header_lines.header_fields(octets, (b"from", b"x"), end=end, most=end + 1, longest=end + 1) == b"".join(found)


@cache
def _engine() -> esa_core.Engine:
    n = len(esa_core.FACT_NAMES)
    lexicon = esa_core.Lexicon(
        words={category: ["free", "winner", "account", "verify"] for category in esa_core.WORD_CATEGORIES},
        domains={name: ["example.com", "example.org"] for name in esa_core.DOMAIN_LISTS},
        brands={"paypal": ["paypal.com"], "bank": ["bank.example"]},
    )
    wave = np.sin(np.arange(2 * n, dtype=np.float64)).reshape(2, n)
    cards = esa_core.Cards(
        card=np.arange(n) % 2,
        sign=np.ones(n),
        mean=wave[0],
        scale=np.abs(wave[1]) + 0.5,
        weights=np.ones((2, 3)),
        prior=np.zeros(3),
        mail_type=0,
    )
    weights = np.sin(np.arange(esa_core.N_FEATURES, dtype=np.float32))
    return esa_core.Engine(
        lexicon=lexicon,
        cards=cards,
        program=_program(),
        linear=esa_core.LinearModel(weights, 0.5, normalised=True),
        families=(1 << len(esa_core.FAMILY_NAMES)) - 1,
    )


def scan(octets: bytes) -> None:
    """The whole pipeline with facts, features, score and terms: the contributions sum to the logit."""
    batch = _engine().scan([octets])
    assert abs(float(batch.contributions(0).sum()) - float(batch.logits[0])) <= 1e-6


# --- patterns ---------------------------------------------------------------------------------------------------------------------


def _texts_of(kind: str) -> Iterator[bytes]:
    """Texts that a kind of pattern takes: identifiers take none."""
    for text in (b"", b"verify", b"example.org", b"ann@example.org"):
        try:
            esa_core.Program([text], kind)
        except ValueError:
            continue
        yield text


def _program() -> esa_core.Program:
    """Patterns of every kind, some where case counts, two that only anchors wake."""
    texts = [b"free", b"account", b"verify your", b"FREE", b"example.org", b"ann@example.org", b"a b"]
    given = [(text, "text") for text in texts] + [(text, kind) for kind in esa_core.PATTERN_KINDS for text in _texts_of(kind)]
    near = esa_core.Stretch(0, 8, (1 << 256) - 1)
    anchors = (
        esa_core.Anchor(0, False, 0xFFFF, True, (b"money", b"viagra"), (), 0, near, (b"free",), near, (b" of",), near, near),
        esa_core.Anchor(1, True, 0xFFFF, True, (b"FREE",), (), 0, near, (), near, (), near, near),
    )
    texts, kinds = [b"", b"", *(text for text, _ in given)], ["text", "text", *(kind for _, kind in given)]
    return esa_core.Program(texts, kinds, cased=[text.isupper() for text in texts], anchors=anchors)


def _occurrences(text: bytes, term: bytes) -> int:
    """The plain twin: every place where the term begins."""
    n, at = 0, text.find(term)
    while at >= 0:
        n, at = n + 1, text.find(term, at + 1)
    return n


@cache
def _automata(number: int) -> tuple[list[bytes], esa_core.Automaton, esa_core.Automaton]:
    """Terms of a number, anywhere and as whole words: of few letters, so that they overlap and stand in each other. The first ones are words."""
    with untraced():  # it is kept: its edges would be another input's
        chance = random.Random(number)
        pieces = WORDS if number < 16 else [b"a", b"b", b"ab", b" ", b".", b"@", b"e", "é".encode(), b"-"]
        made = {esa_core.fold(b"".join(chance.choices(pieces, k=chance.randint(1, 12)))[: chance.choice((2, 8, 64))]) for _ in range(20)}
        wanted = sorted(made - {b""})
        return wanted, esa_core.Automaton(wanted), esa_core.Automaton(wanted, whole_word=True)


def terms(octets: bytes) -> None:
    """The first octet chooses terms; all their occurrences in the rest are counted."""
    wanted, anywhere, whole_words = _automata(octets[0] if octets else 0)
    text = esa_core.fold(octets[1:])
    found = anywhere.counts(text)
    assert found == {at: n for at, term in enumerate(wanted) if (n := _occurrences(text, term))}
    assert all(n <= found.get(at, 0) for at, n in whole_words.counts(text).items())


# --- images: the checksum is right, what it guards is not ---------------------------------------------------------------------------

FOUND_IN = b"free money of ann@example.org at www.example.org abcdefghab viagra verify your 4111 1111 1111 1111 FREE a  b "


def _damage(image: memoryview, octets: bytes) -> None:
    """Every four octets say which section is changed or cut, where, and to what; the first of all may take one away. Then seal it again."""
    sections = range(64, 64 + 32 * int.from_bytes(image[32:36], "little"), 32)
    if octets[0] & 2:
        image[sections[octets[1] % len(sections)]] ^= 0x80
    for at in range(1, len(octets) - 3, 4):
        which, place, value, more = octets[at : at + 4]
        entry = sections[which % len(sections)]
        start, size = struct.unpack_from("<QQ", image, entry + 16)
        if size == 0:
            continue
        if which & 128:
            struct.pack_into("<Q", image, entry + 24, size - 1 - place % size)
        else:
            image[start + (place * 257 + more) % size] = value
    seal(image)


@cache
def _terms_image(hashed: bool) -> bytes:
    """Terms of every form."""
    texts = [b"free money", b"viagra", b"a", b"ab", b"abcdefgh", b"ann@example.org", b"example.org", b"\xc3\xa9t\xc3\xa9", b"viagra"]
    words = [True, True, False, False, False, True, True, True, False]
    return bytes(esa_core.Automaton(texts, whole_word=words, hashed=hashed).image)


@cache
def _program_image() -> bytes:
    return bytes(_program().image)


@cache
def _inside(name: bytes) -> slice:
    """Where the terms of the program stand in its image."""
    entry = _program_image().index(name.ljust(16, b"\0"))
    start, size = struct.unpack_from("<QQ", _program_image(), entry + 16)
    return slice(start, start + size)


def image(octets: bytes) -> None:
    """A hostile image of terms is refused with ValueError, or what is found with it stays in bounds."""
    if len(octets) < 4:
        return
    hostile = memoryview(bytearray(_terms_image(bool(octets[0] & 1))))
    _damage(hostile, octets)
    try:
        made = esa_core.Automaton.from_image(hostile)
    except ValueError:
        return
    made.counts(FOUND_IN + octets)


def program(octets: bytes) -> None:
    """The same of an image of a whole program, damaged itself or in the terms that it holds."""
    if len(octets) < 4:
        return
    hostile = memoryview(bytearray(_program_image()))
    if octets[0] & 4:
        _damage(hostile[_inside(b"written" if octets[0] & 8 else b"folded")], octets)
        seal(hostile)
    else:
        _damage(hostile, octets)
    try:
        made = esa_core.Program.from_image(hostile)
    except ValueError:
        return
    batch = esa_core.Engine(program=made).scan([b"Subject: " + FOUND_IN + b"\n\n" + FOUND_IN + octets])
    assert all(0 <= pattern < made.n_patterns and count > 0 for pattern, count in batch.counts(0).items())
    assert len(bytes(made.note)) <= made.nbytes


def raw_image(octets: bytes) -> None:
    """Octets that are no image, or the head of one."""
    for octets_of in (octets, _program_image()[:64] + octets):
        for kind in (esa_core.Automaton, esa_core.Program):
            try:
                kind.from_image(octets_of)
            except ValueError:
                continue
            raise AssertionError("an image without its checksum was taken")


# --- names and URLs ---------------------------------------------------------------------------------------------------------------


def domain(octets: bytes) -> None:
    """Names to ASCII and back, and what of them can be registered."""
    name = octets.decode("utf-8", "replace")
    for strict in (False, True):
        _domain.domain_to_unicode(name, strict=strict)
        ascii_name = _domain.domain_to_ascii(name, strict=strict)
        assert ascii_name is None or ascii_name.isascii()
    for host in (name, ascii_name or ""):
        registrable = _domain.registrable_domain(host)
        assert registrable == "" or host.encode("ascii", "replace").decode().lower().rstrip(".").endswith(registrable)
        assert _domain.registrable_domain(registrable) == registrable or registrable.startswith("[")  # that would be an address


def normal_url(octets: bytes) -> None:
    """A URL as a browser would ask for it, seen from the one on the first line; written again it is the same."""
    base, _, text = octets.decode("utf-8", "replace").rpartition("\n")
    link = esa_core.Link(text, "", "anchor", 0, False, base)
    again = esa_core.Link(link.normal, "", "anchor", 0, False, "")
    if link.host:
        assert again.host == link.host
        assert again.normal == link.normal
    assert link.host_shown or not link.host
    assert link.registrable_domain in link.host


# --- SMTP -------------------------------------------------------------------------------------------------------------------------


def _values(machine: _smtp.Machine, event: str) -> tuple[object, ...]:
    """What an event says; attributes of other events may still hold what was before."""
    if event == "FAULT":
        return (machine.fault,)
    if event in ("HELLO", "NOOP", "VERIFY", "EXPAND", "HELP", "AUTH", "RESPONSE", "XCLIENT"):
        return machine.verb if event == "HELLO" else "", machine.argument
    if event == "CHUNK":
        return machine.chunk, machine.last
    if event == "MAIL":
        mail = machine.mail
        said = (mail.declared_size, mail.body, mail.smtputf8, mail.auth, mail.ret, mail.envelope_id, mail.requiretls)
        return machine.path, machine.raw_path, machine.parameters, said
    if event == "RECIPIENT":
        recipient = machine.recipient
        return machine.path, machine.raw_path, (recipient.notify, recipient.original_recipient) if recipient else ("", "")
    if event == "MESSAGE":
        return machine.size, machine.oddities, machine.oversized
    return ()


def _dialogue(text: bytes, step: int) -> list[tuple[str, int, tuple[object, ...], bytes]]:
    """The events of a session fed in pieces of `step` octets, most commands accepted; mail data is joined."""
    machine = _smtp.Machine()
    machine.message_size = 300
    machine.reject_bare = len(text) % 2 == 1
    machine.offers = 0 if len(text) % 4 == 0 else 127
    told: list[tuple[str, int, tuple[object, ...], bytes]] = []
    content, at = b"", 0
    while at < len(text) and _smtp.STATES[machine.state] != "ENDED":
        stop = min(at + step, len(text))
        while True:
            name = _smtp.EVENTS[machine.feed(text, at, stop)]
            at = machine.position
            if name == "NEED_INPUT":
                break
            values = _values(machine, name)
            if name in ("SPILL", "MESSAGE"):
                content += machine.take_content()
            if name == "SPILL":
                continue
            told.append((name, machine.state, values, content))
            content = b""
            if name in ("AUTH", "RESPONSE") and len(told) % 3 == 0:
                machine.challenge()
            elif name in ("CHUNK", "CHUNK_END") and len(told) % 5 == 0:
                machine.refuse()
            elif name == "MESSAGE" or len(told) % 7:
                machine.accept()
                if name in ("STARTTLS", "XCLIENT"):
                    machine.restart(secure=name == "STARTTLS")
        assert at == stop or _smtp.STATES[machine.state] == "ENDED", "octets were not read"
    return told


def smtp(octets: bytes) -> None:
    """However the octets are cut into reads, the same events with the same values come out."""
    assert _dialogue(octets, 1 + (octets[0] & 31 if octets else 0)) == _dialogue(octets, len(octets) + 1)


# --- arrays -----------------------------------------------------------------------------------------------------------------------


def arrays(octets: bytes) -> None:
    """A sparse matrix of any octets: a logit comes out, or ValueError or IndexError; contributions sum to it."""
    if len(octets) < 8:
        return
    rows, n = octets[0] & 15, (len(octets) - 1) // 16
    whole = np.frombuffer(octets, dtype=np.int8)
    starts = whole[1 : 1 + min(rows + 1, len(octets) - 1)].astype(np.int64)
    indices = np.resize(whole, n).astype(np.int32)
    values = np.resize(whole, n + (octets[1] & 1)).astype(np.float32)
    model = esa_core.LinearModel(np.arange(64, dtype=np.float32), 0.25, normalised=bool(octets[2] & 1))
    try:
        logits = model.logits(starts, indices, values)
        esa_core.normalise(starts, indices, values)
        added = model.contributions(starts, indices, values)
    except (ValueError, IndexError):
        return
    assert len(logits) == len(starts) - 1
    for row in range(len(starts) - 1):
        assert abs(added[starts[row] : starts[row + 1]].sum() + 0.25 - logits[row]) <= 1e-6
