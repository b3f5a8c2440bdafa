"""What each condition of the filter language says of facts: when it is true, and when it is false. What is not known here is a fact of its own.

Called by `acting`. Everything that is said must follow from the word's own evaluation in `esa.policy.conditions`: a test there may be unscanned, then
it is neither true nor false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from esa.policy.audit.facts import Case, Fact, Literal, NumberLiteral, Shape, TextLiteral
from esa.policy.audit.language import ANYTHING, Language, ending, exactly
from esa.policy.audit.numbers import Nothing, Numbers, comparing, domain
from esa.policy.conditions.message import moment_of
from esa.policy.filters.body_text import IDENTIFIERS
from esa.policy.filters.comparing import number_of, text_of
from esa.policy.filters.expression import matches_empty, split_case
from esa.policy.filters.gates import NetworkAtom, network_atoms
from esa.policy.filters.tree import Number, Test, Text
from esa.policy.filters.write import write_condition
from esa.policy.senders import HIGHEST, LOWEST

Versions = Callable[[str], int]  # version of what a word of `Step.changes` names; "size" for the octets of all, "" for what never changes
V6 = 1 << 33  # where IPv6 addresses begin among clients: IPv4 ones are smaller
_FLAG = domain(0, 1, is_whole=True)
_FLAG_OR_UNSCANNED = domain(0, 1, Nothing.UNSCANNED, is_whole=True)
_COUNT = domain(0, is_whole=True)
_COUNT_OR_UNSCANNED = domain(0, math.inf, Nothing.UNSCANNED, is_whole=True)
_CLIENTS = domain(0, V6 + (1 << 128), Nothing.ABSENT, is_whole=True)
_SCORES = domain(LOWEST, HIGHEST, Nothing.ABSENT)
_ONE = Numbers((((1, 0), (1, 0)),), is_whole=True)
_ZERO = Numbers((((0, 0), (0, 0)),), is_whole=True)
_PLACES = {"dictionary-match": "", "subject-dictionary-match": "subject", "body-dictionary-match": "body"} | {
    "attachment-dictionary-match": "attachment"
}
_LOOKUPS = {"rcpt-to-dictionary-match": "rcpt-to", "mail-from-dictionary-match": "mail-from", "header-dictionary-match": ""}
_NEVER_VALID = ("malformed-header", "duplicate_boundaries")


class Meaning(NamedTuple):
    """The cases in which a test is true, and those in which it is false."""

    true: tuple[Case, ...]
    false: tuple[Case, ...]

    @property
    def inverted(self) -> Meaning:
        return Meaning(self.false, self.true)


ALWAYS = Meaning((frozenset(),), ())


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads tests at one place among filters. `now`, Unix seconds: dates before it never come again. `is_for_one`: the rules run for each recipient
    by itself, so that there is one."""

    version: Versions
    now: float = 0.0
    is_for_one: bool = False
    words: Mapping[str, Callable[[Reader, Test], Meaning]] = field(default_factory=lambda: _WORDS)

    def read(self, test: Test) -> Meaning:
        build = self.words.get(test.word) or self.words.get(test.word.lower())
        is_not = test.operator == "!=" and test.word.lower() not in _COMPARED
        positive = replace(test, operator="==") if is_not else test
        meaning = build(self, positive) if build is not None else self.opaque(positive)
        return meaning.inverted if is_not else meaning

    # --- literals

    def opaque(self, test: Test, *, changes: str = "size", may_be_unscanned: bool = True) -> Meaning:
        """A fact of its own: what is true of it is true of the same test elsewhere, and of no other."""
        return self.flag(write_condition(test), test, changes=changes, may_be_unscanned=may_be_unscanned)

    def flag(self, name: str, test: Test, *, changes: str = "", may_be_unscanned: bool = False) -> Meaning:
        values = _FLAG_OR_UNSCANNED if may_be_unscanned else _FLAG
        fact = Fact(name, Shape.NUMBER, self.version(changes), values)
        said = write_condition(test)
        return _either_way(NumberLiteral(fact, _ONE, shown=said), NumberLiteral(fact, _ZERO, shown=f"not {said}"))

    def text(self, name: str, test: Test, language: Language, *, changes: str = "", is_one: bool = False) -> Meaning:
        fact = Fact(name, Shape.TEXT if is_one else Shape.TEXTS, self.version(changes))
        literal = TextLiteral(fact, language, shown=write_condition(test))
        return _either_way(literal, literal.opposite)

    def number(self, name: str, test: Test, values: Numbers, *, changes: str = "") -> Meaning:
        """A comparison with the test's value."""
        given = number_of(test.value)
        return self.numbers(name, test, values, Numbers(tuple(comparing(test.operator, given)), is_whole=values.is_whole), changes=changes)

    def numbers(
        self, name: str, test: Test, values: Numbers, allowed: Numbers, *, changes: str = "", looked_up: tuple[str, str] | None = None
    ) -> Meaning:
        fact = Fact(name, Shape.NUMBER, self.version(changes), values, looked_up)
        true = values & Numbers(allowed.intervals, allowed.nothings, values.is_whole)
        false = values - Numbers(true.intervals, true.nothings | {Nothing.UNSCANNED}, values.is_whole)
        said = write_condition(test)
        return _either_way(NumberLiteral(fact, true, shown=said), NumberLiteral(fact, false, shown=f"not {said}"))


def _either_way(true: Literal, false: Literal) -> Meaning:
    return Meaning((frozenset((true,)),), (frozenset((false,)),))


def _with(meaning: Meaning, more: Meaning) -> Meaning:
    """A test that is true only where another one is too; the other adds nothing where it is false."""
    (case,), (its_case,) = meaning.true, more.true
    return Meaning((case | its_case,), meaning.false)


# --- words --------------------------------------------------------------------------------------------------------------------------------


def _mail_from(reader: Reader, test: Test) -> Meaning:
    return reader.text("mail-from", test, Language(text_of(test.value)), is_one=True)


def _rcpt_to(reader: Reader, test: Test) -> Meaning:
    return reader.text("rcpt-to", test, Language(text_of(test.value)), is_one=reader.is_for_one)


def _header(reader: Reader, test: Test) -> Meaning:
    name = text_of(test.arguments[0]).lower().rstrip(":")
    if not test.operator:
        return reader.text(f"header:{name}", test, ANYTHING, changes=f"header:{name}")
    if name == "subject":
        return _subject(reader, test)
    return reader.text(f"header:{name}", test, Language(text_of(test.value)), changes=f"header:{name}")


def _subject(reader: Reader, test: Test) -> Meaning:
    expression = text_of(test.value)
    if matches_empty(expression):
        return reader.text("Subject, decoded", test, Language(expression), changes="header:subject", is_one=True)
    return _term("subject", reader, test, expression, "header:subject")


def _file_name(reader: Reader, test: Test) -> Meaning:
    expression = text_of(test.value)
    if matches_empty(expression):
        return reader.text("file name, decoded", test, Language(expression), changes="body")
    return _term("file name", reader, test, expression, "body")


def _term(place: str, reader: Reader, test: Test, expression: str, changes: str) -> Meaning:
    """An expression that the one pass looks for: in text as written, or in folded text where case does not count."""
    text, is_cased = split_case(expression)
    if text.startswith("(?") and not text.startswith(("(?:", "(?P", "(?<")):  # flags of its own: which text is read is not told from here
        return reader.opaque(test, changes=changes, may_be_unscanned=False)
    if is_cased:
        return reader.text(f"{place}, written", test, Language(text), changes=changes)
    if not text.isascii():  # searched for in both
        return reader.opaque(test, changes=changes, may_be_unscanned=False)
    return reader.text(f"{place}, folded", test, Language(expression), changes=changes)


def _media_type(reader: Reader, test: Test) -> Meaning:
    return reader.text("media type", test, Language(text_of(test.value)), changes="body")


def _attachment_size(reader: Reader, test: Test) -> Meaning:
    fact = Fact("attachment-size", Shape.NUMBERS, reader.version("body"), _COUNT)
    allowed = _COUNT & Numbers(tuple(comparing(test.operator, number_of(test.value))), is_whole=True)
    literal = NumberLiteral(fact, allowed, shown=write_condition(test))
    return _either_way(literal, literal.opposite)


def _threshold(test: Test) -> float:
    last = test.arguments[-1]
    return number_of(last) if isinstance(last, Number) else 1


def _at_least(least: float) -> Numbers:
    return Numbers((((least, 0), (math.inf, 0)),), is_whole=True)


def _body(reader: Reader, test: Test) -> Meaning:
    """So many matches at least, in the whole message; one match is a text in the expression's language."""
    expression, least = text_of(test.arguments[0]), _threshold(test)
    if least <= 0:
        return ALWAYS
    counted = reader.numbers(f"matches of {expression}", test, _COUNT, _at_least(least), changes="body")
    if expression in IDENTIFIERS:
        return counted
    stands = _term("text", reader, test, expression, "body")
    return stands if least <= 1 else _with(counted, stands)


def _in_part(word: str, wider: Callable[[Reader, Test], Meaning]) -> Callable[[Reader, Test], Meaning]:
    """Matches in some parts of the message: true only where the wider word is."""

    def build(reader: Reader, test: Test) -> Meaning:
        expression, least = text_of(test.arguments[0]), _threshold(test)
        if least <= 0:
            return reader.opaque(test, changes="body", may_be_unscanned=False)
        own = reader.numbers(f"{word} {expression}", test, _COUNT, _at_least(least), changes="body")
        return _with(own, wider(reader, test))

    return build


_only_body = _in_part("only-body-contains", _body)
_attachment = _in_part("attachment-contains", _body)
_every_attachment = _in_part("every-attachment-contains", _attachment)


def _remote_ip(reader: Reader, test: Test) -> Meaning:
    text = text_of(test.value)
    clause = network_atoms(text)
    if clause is None:
        name = text.lower()
        return reader.text("remote host", test, ending(name) if name.startswith(".") else exactly(name), is_one=True)
    (network,) = clause
    assert isinstance(network, NetworkAtom)
    shift = 0 if network.version == 4 else V6
    return reader.numbers("client", test, _CLIENTS, Numbers((((network.first + shift, 0), (network.last + shift, 0)),), is_whole=True))


def _equal(name: str) -> Callable[[Reader, Test], Meaning]:
    return lambda reader, test: reader.text(name, test, exactly(text_of(test.value)), is_one=True)


def _reputation(reader: Reader, test: Test) -> Meaning:
    return reader.number("reputation", test, _SCORES)


def _no_reputation(reader: Reader, test: Test) -> Meaning:
    return reader.numbers("reputation", test, _SCORES, Numbers((), frozenset({Nothing.ABSENT})))


def _dns_list(reader: Reader, test: Test) -> Meaning:
    return reader.flag(f"dnslist {text_of(test.arguments[0]).lower().rstrip('.')}", test, may_be_unscanned=True)


def _group(reader: Reader, test: Test) -> Meaning:
    return reader.flag(f"{test.word.lower()} {text_of(test.value)}", test, may_be_unscanned=True)


def _smtp_auth_id(reader: Reader, test: Test) -> Meaning:
    return reader.opaque(test, may_be_unscanned=False)


def _dictionary(reader: Reader, test: Test) -> Meaning:
    name, least, place = text_of(test.arguments[0]), _threshold(test), _PLACES[test.word.lower()]
    if least <= 0:
        return ALWAYS
    own = reader.numbers(f"score of {name} {place}".rstrip(), test, _COUNT, _at_least(least), changes="body")
    if not place:
        return own
    return _with(own, reader.numbers(f"score of {name}", test, _COUNT, _at_least(least), changes="body"))


def _looked_up(reader: Reader, test: Test) -> Meaning:
    name, least, where = text_of(test.arguments[0]), _threshold(test), _LOOKUPS[test.word.lower()]
    if not where:
        where = f"header:{text_of(test.arguments[1]).lower().rstrip(':')}"
    changes = where if where.startswith("header:") else ""
    if least <= 0:
        return reader.opaque(test, changes=changes)
    return reader.numbers(
        f"score of {name} in {where}", test, _COUNT_OR_UNSCANNED, _at_least(least), changes=changes, looked_up=(where, name)
    )


def _never_valid(reader: Reader, test: Test) -> Meaning:
    """A fault by which the message is not valid, too."""
    return _with(reader.flag(test.word.lower(), test), reader.flag("valid", test).inverted)


def _date(reader: Reader, test: Test) -> Meaning:
    value = test.value
    assert isinstance(value, Text)
    moment = moment_of(value)
    if moment is None:
        return reader.opaque(test)
    return reader.numbers("date", test, domain(reader.now), Numbers(tuple(comparing(test.operator, moment))))


def _random(reader: Reader, test: Test) -> Meaning:
    many = int(number_of(test.arguments[0]))
    drawn = f"random {many}, drawn by the place {test.at.line}:{test.at.column}"  # as `conditions.message` salts it
    return reader.number(drawn, test, domain(0, many - 1, is_whole=True))


def _address_count(reader: Reader, test: Test) -> Meaning:
    names = [text_of(argument).lower().rstrip(":") for argument in test.arguments] or ["to", "cc"]
    fact = Fact(f"addresses in {', '.join(names)}", Shape.NUMBER, sum(reader.version(f"header:{name}") for name in names), _COUNT)
    allowed = _COUNT & Numbers(tuple(comparing(test.operator, number_of(test.value))), is_whole=True)
    said = write_condition(test)
    return _either_way(NumberLiteral(fact, allowed, shown=said), NumberLiteral(fact, _COUNT - allowed, shown=f"not {said}"))


_COMPARED = frozenset(
    {"attachment-size", "reputation", "rcpt-count", "addr-count", "body-size", "date", "random", "workqueue-count"}
)  # != is one of their comparisons, and may be unscanned or absent where == is
_WORDS: Mapping[str, Callable[[Reader, Test], Meaning]] = {
    "true": lambda reader, test: ALWAYS,
    "mail-from": _mail_from,
    "rcpt-to": _rcpt_to,
    "subject": _subject,
    "header": _header,
    "attachment-filename": _file_name,
    "attachment-mimetype": _media_type,
    "attachment-size": _attachment_size,
    "body-contains": _body,
    "only-body-contains": _only_body,
    "attachment-contains": _attachment,
    "every-attachment-contains": _every_attachment,
    "remote-ip": _remote_ip,
    "recv-listener": _equal("listener"),
    "recv-int": _equal("interface"),
    "sendergroup": _equal("sender group"),
    "reputation": _reputation,
    "no-reputation": _no_reputation,
    "dnslist": _dns_list,
    "mail-from-group": _group,
    "rcpt-to-group": _group,
    "smtp-auth-id-matches": _smtp_auth_id,
    "rcpt-count": lambda reader, test: reader.number("rcpt-count", test, _COUNT),
    "valid": lambda reader, test: reader.flag("valid", test),
    **dict.fromkeys(_NEVER_VALID, _never_valid),
    **dict.fromkeys(_PLACES, _dictionary),
    **dict.fromkeys(_LOOKUPS, _looked_up),
    "body-size": lambda reader, test: reader.number("body-size", test, _COUNT, changes="size"),
    "date": _date,
    "random": _random,
    "workqueue-count": lambda reader, test: reader.number("workqueue-count", test, _COUNT_OR_UNSCANNED),
    "addr-count": _address_count,
}
