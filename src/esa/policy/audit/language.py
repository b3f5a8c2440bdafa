"""Languages: the texts in which an expression is found. What is asked of them has three answers: a text, none (proved), or unknown.

The one question is `find_text`: is there a text that these expressions are all found in and those are not? A is in B if none is found in A and not
in B; A and B exclude one another if none is found in both.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from esa.policy.audit.machine import FOUND, Machine
from esa.policy.audit.pattern import Node, Unreadable, read_pattern, sample
from esa.policy.audit.ranges import LAST
from esa.policy.audit.widening import is_wider
from esa.policy.filters.expression import Plain, matcher, plain_of, split_case

LONGEST_SAMPLE = 10_000  # characters of a text that is tried before a search
MOST_PAIRED = 10_000  # states of all machines together that one question looks at: about half a second


class Answer(Enum):
    NONE = "none"  # proved: there is no such text
    UNKNOWN = "unknown"  # an expression cannot be read, or is past the limits


@dataclass(frozen=True, slots=True)
class Language:
    """The texts in which an expression of a filter is found (RE2's syntax, anywhere in the text)."""

    expression: str
    plain: Plain | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        text, is_cased = split_case(self.expression)
        object.__setattr__(self, "plain", plain_of(text) if is_cased else None)

    @property
    def exact(self) -> str | None:
        """The only text, where there is only one."""
        plain = self.plain
        return plain.text if plain is not None and plain.at_start and plain.at_end else None

    def holds(self, text: str) -> bool:
        """Whether a text is in the language: RE2 says."""
        return matcher(self.expression)(text)


def exactly(text: str) -> Language:
    return Language(f"^{_escaped(text)}$")


def ending(text: str) -> Language:
    return Language(f"{_escaped(text)}$")


def _escaped(text: str) -> str:
    return "".join(char if char.isalnum() or char in "_ @" or ord(char) > 0x7F else f"\\{char}" for char in text)


ANYTHING = Language("")


@functools.lru_cache(maxsize=32_768)
def _tree(expression: str) -> Node | None:
    """None if it cannot be read."""
    try:
        return read_pattern(expression)
    except (Unreadable, RecursionError):
        return None


@functools.lru_cache(maxsize=32_768)
def _machine(expression: str) -> Machine | None:
    """None if it cannot be read, or is too large."""
    tree = _tree(expression)
    try:
        return None if tree is None else Machine(tree)
    except (Unreadable, RecursionError):
        return None


def find_text(wanted: Sequence[Language], unwanted: Sequence[Language]) -> str | Answer:
    """A text, the shortest there is, that all of `wanted` hold for and none of `unwanted`."""
    exact = next((one.exact for one in wanted if one.exact is not None), None)
    if exact is not None:
        return exact if all(one.holds(exact) for one in wanted) and not any(one.holds(exact) for one in unwanted) else Answer.NONE
    if any(_is_in_plainly(one, other) for other in unwanted for one in wanted or (ANYTHING,)):
        return Answer.NONE
    for text in _guesses(wanted):
        if all(one.holds(text) for one in wanted) and not any(one.holds(text) for one in unwanted):
            return text
    if any(_is_in_by_structure(one, other) for other in unwanted for one in wanted):
        return Answer.NONE
    machines = [_machine(one.expression) for one in (*wanted, *unwanted)]
    if any(one is None for one in machines):
        return Answer.UNKNOWN
    found = _search([one for one in machines if one is not None], len(wanted))
    if isinstance(found, str) and not (all(one.holds(found) for one in wanted) and not any(one.holds(found) for one in unwanted)):
        return Answer.UNKNOWN  # RE2 disagrees with the machine: then the machine proves nothing either
    return found


def _guesses(wanted: Sequence[Language]) -> Iterator[str]:
    """Texts that are likely in all: an answer that needs no search."""
    if not wanted:
        yield ""
    for one in wanted:
        if one.plain is not None:
            yield one.plain.text
        elif (text := _sample(one.expression)) is not None:
            yield text


def _sample(expression: str) -> str | None:
    tree = _tree(expression)
    text = None if tree is None else sample(tree)
    return text if text is not None and len(text) <= LONGEST_SAMPLE else None


def _is_in_plainly(one: Language, other: Language) -> bool:
    """Whether a language is in another, as far as that is seen from mere text."""
    if one.expression == other.expression or not other.expression:
        return True
    inner, outer = one.plain, other.plain
    if inner is None or outer is None:
        return False
    if outer.at_start and outer.at_end:
        return inner.at_start and inner.at_end and inner.text == outer.text
    if outer.at_start:
        return inner.at_start and inner.text.startswith(outer.text)
    if outer.at_end:
        return inner.at_end and inner.text.endswith(outer.text)
    return outer.text in inner.text


def _is_in_by_structure(one: Language, other: Language) -> bool:
    narrow, wide = _tree(one.expression), _tree(other.expression)
    return narrow is not None and wide is not None and is_wider(wide, narrow)


def _search(machines: Sequence[Machine], n_wanted: int) -> str | Answer:
    """Breadth first through the product of machines."""
    letters = _letters(machines)
    start = tuple(machine.start for machine in machines)
    reached: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None] = {start: None}
    waiting = deque([start])
    try:
        while waiting:
            states = waiting.popleft()
            ends = [machine.matches_at_end(state) for machine, state in zip(machines, states, strict=True)]
            if all(ends[:n_wanted]) and not any(ends[n_wanted:]):
                return _text(states, reached)
            for letter in letters:
                following = tuple(machine.step(state, letter) for machine, state in zip(machines, states, strict=True))
                if following in reached or FOUND in following[n_wanted:]:
                    continue
                if len(reached) >= MOST_PAIRED:
                    return Answer.UNKNOWN
                reached[following] = states, letter
                waiting.append(following)
    except Unreadable:
        return Answer.UNKNOWN
    return Answer.NONE


def _text(states: tuple[int, ...], reached: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None]) -> str:
    out: list[str] = []
    while (before := reached[states]) is not None:
        states, letter = before
        out.append(chr(letter))
    return "".join(reversed(out))


def _letters(machines: Iterable[Machine]) -> list[int]:
    """One character of each group that no machine tells apart; such as can be written in a message come first."""
    edges = sorted({edge for machine in machines for edge in machine.edges if edge <= LAST})
    chosen = []
    for low, after in zip(edges, [*edges[1:], LAST + 1], strict=True):
        letter = next((place for place in _PREFERRED if low <= place < after), low)
        if 0xD800 <= letter <= 0xDFFF:  # no character
            if after <= 0xE000:
                continue
            letter = 0xE000
        chosen.append(letter)
    return sorted(chosen, key=lambda place: (not 0x21 <= place < 0x7F, place))


_PREFERRED = tuple(map(ord, "xakqz0174_-. !#"))
