"""Writes message filters as text in AsyncOS's language; `read` of it gives an equal tree, comments and all. For export, listing and rewriting."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from esa.policy.filters.tree import And, Block, Call, Condition, Filter, FilterFile, If, Not, Number, Or, Test, Text, Value

INDENT = "    "
_ESCAPED = re.compile(r'[\\"]')


def write(filters: FilterFile) -> str:
    """The text of a file; ends with a line feed unless it is empty."""
    lines: list[str] = []
    for number, one in enumerate(filters.filters):
        if number:
            lines.append("")
        lines += _filter(one)
    if filters.comments and filters.filters:
        lines.append("")
    lines += _comments(filters.comments, "")
    return "".join(f"{line}\n" for line in lines)


def write_filter(one: Filter) -> str:
    """The text of one filter."""
    return "".join(f"{line}\n" for line in _filter(one))


def write_condition(condition: Condition) -> str:
    """A condition in one line, with the parentheses that it needs and no others."""
    match condition:
        case Test():
            return _test(condition)
        case Not(inner):
            return f"not {_side(inner, is_left=False)}"
        case And(left, right):
            return f"{_side(left, is_left=True)} and {_side(right, is_left=False)}"
        case Or(left, right):
            return f"{_side(left, is_left=True)} or {_side(right, is_left=False)}"


def write_call(call: Call) -> str:
    """An action without its semicolon."""
    return f"{call.word}({', '.join(map(write_value, call.arguments))})"


def write_value(value: Value) -> str:
    match value:
        case Number(text):
            return text
        case Text(text):
            return f'"{_ESCAPED.sub(_escaped, text)}"'
        case _:
            return f"[{', '.join(map(write_value, value.items))}]"


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found.group()}"


def _test(test: Test) -> str:
    arguments = f"({', '.join(map(write_value, test.arguments))})" if test.arguments else ""
    value = f" {test.operator} {write_value(test.value)}" if test.value is not None else ""
    return f"{test.word}{arguments}{value}"


def _side(condition: Condition, *, is_left: bool) -> str:
    """A side of an operator: what stands to the left of one of equal precedence needs no parentheses."""
    written = write_condition(condition)
    return f"({written})" if isinstance(condition, And | Or) and not is_left else written


def _comments(comments: Sequence[str], indent: str) -> Iterator[str]:
    for comment in comments:
        yield f"{indent}# {comment}".rstrip()


def _filter(one: Filter) -> Iterator[str]:
    yield from _comments(one.comments, "")
    yield f"{one.name}{':' if one.is_active else '!'}"
    yield from _if(one.statement, "")


def _if(statement: If, indent: str) -> Iterator[str]:
    yield from _comments(statement.comments, indent)
    written = write_condition(statement.condition)
    yield f"{indent}if ({written}) {{"
    yield from _block(statement.then, indent + INDENT)
    if statement.otherwise is not None:
        yield f"{indent}}} else {{"
        yield from _block(statement.otherwise, indent + INDENT)
    yield f"{indent}}}"


def _block(block: Block, indent: str) -> Iterable[str]:
    for item in block.items:
        if isinstance(item, If):
            yield from _if(item, indent)
        else:
            yield from _comments(item.comments, indent)
            yield f"{indent}{write_call(item)};{f'  # {item.remark}' if item.remark else ''}"
    yield from _comments(block.comments, indent)
