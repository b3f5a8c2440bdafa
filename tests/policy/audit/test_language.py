"""Inclusion of regular expressions, compared with RE2 over all short texts."""

from __future__ import annotations

import itertools

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from esa.policy.audit.language import ANYTHING, Answer, Language, ending, exactly, find_text
from esa.policy.audit.machine import Machine
from esa.policy.audit.pattern import Unreadable, read_pattern
from esa.policy.audit.widening import is_wider

LETTERS = "aAkK1_ \n\u212a"
TEXTS = ["".join(letters) for length in range(5) for letters in itertools.product("ak1 \n", repeat=length)]
TEXTS += ["".join(letters) for length in range(4) for letters in itertools.product(LETTERS, repeat=length)]
ATOMS = ["a", "k", "1", " ", "\\n", ".", "[ak]", "[^a]", "\\w", "\\W", "\\d", "[\\s1]", "[[:alpha:]]", "\\b", "^", "$", "\\A", "\\z", "\\."]
expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda many: f"(?:{'|'.join(many)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(lambda pair: f"({pair[0]}){pair[1]}"),
        st.tuples(st.sampled_from(["i", "s", "m", "im"]), inner).map(lambda pair: f"(?{pair[0]}:{pair[1]})"),
    ),
    max_leaves=5,
)


def _compiled(expression: str) -> object:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(expression, options)


def _texts_in(expression: str) -> set[str]:
    compiled = _compiled(expression)
    return {text for text in TEXTS if compiled.search(text) is not None}  # type: ignore[attr-defined]


def _of(expression: str) -> Language:
    try:
        _compiled(expression)
    except re2.error:
        assume(False)
    return Language(expression)


@settings(max_examples=250, deadline=None)
@given(expressions, expressions)
def test_a_proof_of_inclusion_holds_for_every_short_text(first: str, second: str) -> None:
    one, other = _of(first), _of(second)
    found = find_text([one], [other])
    if found is Answer.NONE:
        assert _texts_in(first) <= _texts_in(second), (first, second)
    elif isinstance(found, str):
        assert one.holds(found) and not other.holds(found)
    else:
        pytest.fail(f"unknown: {first!r} {second!r}")


@settings(max_examples=150, deadline=None)
@given(expressions, expressions, expressions)
def test_a_proof_of_exclusion_holds_for_every_short_text(first: str, second: str, third: str) -> None:
    found = find_text([_of(first), _of(second)], [_of(third)])
    if found is Answer.NONE:
        assert not (_texts_in(first) & _texts_in(second)) - _texts_in(third)
    else:
        assert isinstance(found, str)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("^bob@bad\\.example$", "@bad\\.example$"),
        ("^bob@bad\\.example$", "(?i)^BOB@bad\\.example$"),
        ("(?i)invoice [0-9]{4,6}", "(?i)invoice"),
        ("\\bviagra\\b", "viagra"),
        ("^(bob|ann)@x\\.example$", "^[a-z]+@[a-z]+\\.example$"),
        ("@(a|b)\\.bad\\.example$", "\\.bad\\.example$"),
        ("^a{2,3}$", "^a{1,5}$"),
        ("cheap pills", "cheap"),
        ("a$", "(?m)a$"),
    ],
)
def test_what_people_write_is_told_apart(narrow: str, wide: str) -> None:
    assert find_text([Language(narrow)], [Language(wide)]) is Answer.NONE
    between = find_text([Language(wide)], [Language(narrow)])
    assert isinstance(between, str)
    assert Language(wide).holds(between) and not Language(narrow).holds(between)


def test_texts_that_are_given_whole_or_by_their_end() -> None:
    assert exactly("a+b@c.example").exact == "a+b@c.example"
    assert find_text([exactly("a+b@c.example")], [ending("@c.example")]) is Answer.NONE
    assert find_text([exactly("é.example")], [ending(".example")]) is Answer.NONE
    assert find_text([ANYTHING], [ANYTHING]) is Answer.NONE


@settings(max_examples=150, deadline=None)
@given(
    expressions,
    st.sampled_from(["a", "k", "[ak]", "\\w", "a{1,2}", "a*", "(?:a|k)", "\\b", "^"]),
    st.sampled_from(["a", "[ak]", ".", "\\w", "a{0,3}", "a+", "(?:a|1)", "\\b"]),
)
def test_an_expression_with_wider_parts_matches_all_that_the_narrow_one_does(around: str, narrow: str, wide: str) -> None:
    for pattern in ("{}1", "1{}", "(?:{}|1)", "(?:k{})?1", "(?:{}){{1,2}}"):
        inner, outer = around + pattern.format(narrow), around + pattern.format(wide)
        _of(inner), _of(outer)
        if is_wider(read_pattern(outer), read_pattern(inner)):
            assert _texts_in(inner) <= _texts_in(outer), (inner, outer)


def test_wider_parts_are_seen_where_automata_would_be_too_large() -> None:
    narrow = Language("(?i)(viagra|cialis|xanax).{0,40}(cheap|free)\\b")
    assert find_text([narrow], [Language("(?i)(viagra|cialis|levitra|xanax).{0,80}(cheap|discount|free)\\b")]) is Answer.NONE
    assert find_text([narrow], [Language("(?i)(viagra|cialis|xanax).{0,39}(cheap|free)\\b")]) is not Answer.NONE


@pytest.mark.parametrize("odd", ["\\pL", "\\Ba", "(?i)é", "\\Qa\\E", "^(?:a|b)*a(?:a|b){14}$"])
def test_what_cannot_be_read_or_is_too_large_is_unknown(odd: str) -> None:
    assert find_text([Language(odd)], [Language("^(?:a|b|\\x{e9})+$")]) is Answer.UNKNOWN


def test_an_expression_of_too_many_places_is_given_up() -> None:
    with pytest.raises(Unreadable):
        Machine(read_pattern("(?:abcdefgh){900}"))
