"""Reads a regular expression in RE2's syntax, as RE2 reads it, or says that it cannot: what it does not know is never guessed.

Called by `language`. What stands here was compared with RE2 itself over random expressions and texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from esa.policy.audit.ranges import ANY, DIGITS, LAST, LINE, SPACES, WORD, Ranges, complement, folded, joined

MOST_REPEATED = 1_000  # times, as RE2 has it


class Unreadable(Exception):
    """An expression, or a part of one, whose meaning is not known here. Ends where a proof is looked for: the answer is then unknown."""


class Where(Enum):
    """What must be true between two characters."""

    TEXT_BEGIN = "\\A"
    TEXT_END = "\\z"
    LINE_BEGIN = "(?m)^"
    LINE_END = "(?m)$"
    BOUNDARY = "\\b"


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Run:
    """One behind another."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`most` None: without end. Whether it is greedy changes no language."""

    inner: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Assertion:
    where: Where


Node: TypeAlias = Chars | Run | Choice | Repeat | Assertion

_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])")
_NAMED = re.compile(r"\(\?P?<\w+>", re.ASCII)
_COUNTS = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_SHORT = {"d": DIGITS, "s": SPACES, "w": WORD, "D": complement(DIGITS), "S": complement(SPACES), "W": complement(WORD)}
_CONTROLS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7}
_POSIX = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": DIGITS,
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}  # fmt: skip


def read_pattern(expression: str, *, ignores_case: bool = False) -> Node:
    """The expression as a tree. It has been compiled by RE2 before. Raises Unreadable."""
    reader = _Reader(expression, ignores_case)
    node = reader.choice()
    if reader.at < len(expression):
        raise Unreadable(f"a parenthesis at {reader.at + 1}")
    return node


def sample(node: Node) -> str:
    """A short text that is likely to match: the first of all choices, as few repetitions as there may be. What must be true between characters is not heeded."""
    match node:
        case Chars(ranges):
            return next(
                (letter for letter in _USUAL if any(low <= ord(letter) <= high for low, high in ranges)),
                chr(ranges[0][0]) if ranges else "",
            )
        case Run(items):
            return "".join(map(sample, items))
        case Choice(items):
            return sample(items[0])
        case Repeat(inner, least, _):
            return sample(inner) * least
        case Assertion():
            return ""


_USUAL = "xaX0 -."


class _Reader:
    def __init__(self, text: str, ignores_case: bool) -> None:
        self._text, self.at = text, 0
        self._flags = frozenset("i") if ignores_case else frozenset[str]()

    def choice(self) -> Node:
        flags = self._flags
        runs = [self._run()]
        while self._peek() == "|":
            self.at += 1
            runs.append(self._run())
        self._flags = flags  # flags hold up to the end of their group
        return runs[0] if len(runs) == 1 else Choice(tuple(runs))

    def _peek(self) -> str:
        return self._text[self.at : self.at + 1]

    def _run(self) -> Node:
        items: list[Node] = []
        while (character := self._peek()) and character not in "|)":
            node = self._atom()
            if node is not None:
                items.append(self._repeated(node))
        return items[0] if len(items) == 1 else Run(tuple(items))

    def _repeated(self, node: Node) -> Node:
        while True:
            character = self._peek()
            if character and character in "*+?":
                self.at += 1
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
            elif (found := _COUNTS.match(self._text, self.at)) is not None:
                self.at = found.end()
                least = int(found[1])
                most = least if found[2] is None else int(found[3]) if found[3] else None
                if max(least, most or 0) > MOST_REPEATED:
                    raise Unreadable("a repetition of more than a thousand")
            else:
                return node
            if self._peek() == "?":
                self.at += 1
            node = Repeat(node, least, most)

    def _atom(self) -> Node | None:
        character = self._peek()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        self.at += 1
        match character:
            case ".":
                return Chars(ANY if "s" in self._flags else LINE)
            case "^":
                return Assertion(Where.LINE_BEGIN if "m" in self._flags else Where.TEXT_BEGIN)
            case "$":
                return Assertion(Where.LINE_END if "m" in self._flags else Where.TEXT_END)
            case _:
                return self._chars(((ord(character), ord(character)),))

    def _group(self) -> Node | None:
        flags = self._flags
        if (found := _FLAGS.match(self._text, self.at)) is not None:
            self.at = found.end()
            changed = (flags | set(found[1])) - set(found[2] or "")
            self._flags = frozenset(changed)
            if found[3] == ")":
                return None
        elif (named := _NAMED.match(self._text, self.at)) is not None:
            self.at = named.end()
        elif self._text.startswith("(?", self.at):
            raise Unreadable("a group of another kind")
        else:
            self.at += 1
        inner = self.choice()
        if self._peek() != ")":
            raise Unreadable("a group without its end")
        self.at += 1
        self._flags = flags
        return inner

    def _chars(self, ranges: Ranges) -> Chars:
        if "i" not in self._flags:
            return Chars(ranges)
        wider = folded(ranges)
        if wider is None:
            raise Unreadable("letters beyond ASCII where case does not count")
        return Chars(wider)

    def _escape(self) -> Node:
        letter = self._text[self.at + 1 : self.at + 2]
        # not \B: in RE2 it holds between the octets of one character too
        assertions = {"A": Where.TEXT_BEGIN, "z": Where.TEXT_END, "b": Where.BOUNDARY}
        if letter in assertions:
            self.at += 2
            return Assertion(assertions[letter])
        if letter in _SHORT:
            self.at += 2
            return self._short(letter)
        return self._chars(((code := self._code(), code),))

    def _short(self, letter: str) -> Chars:
        if letter in "dDsS" or "i" not in self._flags:
            return Chars(_SHORT[letter])
        wider = folded(_SHORT["w"])
        assert wider is not None
        return Chars(wider if letter == "w" else complement(wider))

    def _code(self) -> int:
        """The character that an escape stands for."""
        letter = self._text[self.at + 1 : self.at + 2]
        if letter == "x":
            found = re.compile(r"\\x(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2}))").match(self._text, self.at)
            if found is None or int(found[1] or found[2], 16) > LAST:
                raise Unreadable("an odd \\x")
            self.at = found.end()
            return int(found[1] or found[2], 16)
        if letter in _CONTROLS:
            self.at += 2
            return _CONTROLS[letter]
        if not letter or letter.isalnum() or ord(letter) > 0x7F:
            raise Unreadable(f"\\{letter}")
        self.at += 2
        return ord(letter)

    def _class(self) -> Chars:
        self.at += 1
        is_negated = self._peek() == "^"
        self.at += is_negated
        ranges: list[tuple[int, int]] = []
        is_first = True
        while (character := self._peek()) != "]" or is_first:
            if not character:
                raise Unreadable("a class without its end")
            is_first = False
            ranges += self._member()
        self.at += 1
        found = joined(ranges)
        return Chars(complement(found) if is_negated else found)

    def _member(self) -> Ranges:
        if (posix := re.compile(r"\[:(\^?)(\w+):\]").match(self._text, self.at)) is not None:
            if posix[2] not in _POSIX:
                raise Unreadable(posix[0])
            self.at = posix.end()
            given = self._chars(joined(_POSIX[posix[2]])).ranges
            return complement(given) if posix[1] else given
        if self._peek() == "\\" and (letter := self._text[self.at + 1 : self.at + 2]) in _SHORT:
            self.at += 2
            return self._short(letter).ranges
        low = self._single()
        high = low
        if self._peek() == "-" and self._text[self.at + 1 : self.at + 2] not in ("]", ""):
            self.at += 1
            high = self._single()
        if high < low:
            raise Unreadable("a range from high to low")
        return self._chars(((low, high),)).ranges

    def _single(self) -> int:
        if self._peek() == "\\":
            return self._code()
        self.at += 1
        return ord(self._text[self.at - 1])
