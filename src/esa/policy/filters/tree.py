"""Message filters as a tree of frozen values: what `read` makes of text, `write` writes, and `plan` compiles. Knows no word of the language.

Grouping is in the tree: `And` and `Or` have two sides, as the language groups them from left to right with equal precedence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class At:
    """Where something stands: line and column count from 1, columns in characters. Equal wherever it is: places are no part of a meaning."""

    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, column {self.column}" if self.file else f"line {self.line}, column {self.column}"


NOWHERE = At()


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written: 10, -3.5, 100K, 5M."""

    text: str
    at: At = NOWHERE

    @property
    def value(self) -> float:
        """K, M and G are 2^10, 2^20 and 2^30."""
        unit = _UNITS.get(self.text[-1:].upper())
        return float(self.text) if unit is None else float(self.text[:-1]) * unit


@dataclass(frozen=True, slots=True)
class Text:
    """A string, without quotes and escapes."""

    value: str
    at: At = NOWHERE
    shifts: tuple[int, ...] = field(default=(), compare=False)  # places in `value` before which an escape takes a column more

    def place(self, offset: int) -> At:
        """Where the character `offset` of the value stands in the file."""
        column = self.at.column + 1 + offset + sum(1 for shift in self.shifts if shift < offset)
        return At(self.at.file, self.at.line, column)


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of strings in square brackets."""

    items: tuple[Text, ...]
    at: At = NOWHERE


Value: TypeAlias = Text | Number | Texts


@dataclass(frozen=True, slots=True)
class Test:
    """A condition: `word`, `word(arguments)`, either followed by an operator and a value or not (operator is then empty)."""

    word: str
    arguments: tuple[Value, ...] = ()
    operator: str = ""
    value: Value | None = None
    at: At = NOWHERE


@dataclass(frozen=True, slots=True)
class Not:
    inner: Condition


@dataclass(frozen=True, slots=True)
class And:
    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Or:
    left: Condition
    right: Condition


Condition: TypeAlias = Test | Not | And | Or


@dataclass(frozen=True, slots=True)
class Call:
    """An action. `comments` stand in lines before it, `remark` behind it in its line; all without the #."""

    word: str
    arguments: tuple[Value, ...] = ()
    at: At = NOWHERE
    comments: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between braces; `comments` are those before the closing one."""

    items: tuple[Call | If, ...]
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class If:
    condition: Condition
    then: Block
    otherwise: Block | None = None
    at: At = NOWHERE
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """A named filter. One that is not active (`!` in the place of `:`) is kept and not run. `comments` stand before it."""

    name: str
    statement: If
    is_active: bool = True
    at: At = NOWHERE
    comments: tuple[str, ...] = ()
    span: tuple[int, int, int] = field(
        default=(0, 0, 0), compare=False
    )  # offsets in the text: of its name, its mark, and behind its last brace


@dataclass(frozen=True, slots=True)
class FilterFile:
    """The filters of one text, in order, and the comments behind the last."""

    filters: tuple[Filter, ...]
    comments: tuple[str, ...] = ()


def tests_of(condition: Condition) -> Iterator[Test]:
    """The tests of a condition from left to right."""
    waiting = [condition]
    while waiting:
        match waiting.pop():
            case Test() as test:
                yield test
            case Not(inner):
                waiting.append(inner)
            case And(left, right) | Or(left, right):
                waiting += (right, left)


def flat(condition: And | Or) -> list[Condition]:
    """The sides of nested operators of one kind, from left to right."""
    found: list[Condition] = []
    waiting: list[Condition] = [condition]
    while waiting:
        one = waiting.pop()
        if isinstance(one, And | Or) and type(one) is type(condition):
            waiting += (one.right, one.left)
        else:
            found.append(one)
    return found


def statements_of(statement: If) -> Iterator[If]:
    """A statement and all that are nested in it, in the order that they stand in."""
    waiting = [statement]
    while waiting:
        one = waiting.pop()
        yield one
        inner = [*one.then.items, *(one.otherwise.items if one.otherwise else ())]
        waiting += [item for item in reversed(inner) if isinstance(item, If)]


def calls_of(statement: If) -> Iterator[Call]:
    """All actions of a statement and of those nested in it."""
    for one in statements_of(statement):
        for block in (one.then, one.otherwise):
            if block is not None:
                yield from (item for item in block.items if isinstance(item, Call))
