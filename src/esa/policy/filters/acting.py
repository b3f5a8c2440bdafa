"""What actions are made of: their texts with variables, and steps that add to the outcome. Called by `esa.policy.actions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.policy.filters.tree import Call, Number, Text
from esa.policy.filters.variables import Writer, writer_of

if TYPE_CHECKING:
    from esa.policy.filters.run import Run


def text_at(call: Call, index: int, default: str = "") -> str:
    """The text of an argument as it is written; `default` where there is none."""
    if index >= len(call.arguments):
        return default
    value = call.arguments[index]
    assert isinstance(value, Text)
    return value.value


def writer_at(call: Call, index: int, default: str = "", *, has_lines: bool = False) -> Writer:
    return writer_of(text_at(call, index, default), has_lines=has_lines)


def number_at(call: Call, index: int) -> float:
    value = call.arguments[index]
    assert isinstance(value, Number)
    return value.value


def addresses_of(text: str) -> Callable[[Run], tuple[str, ...]]:
    """Addresses with commas between, variables filled in, each once."""
    write = writer_of(text)
    return lambda run: tuple(dict.fromkeys(address for part in write(run).split(",") if (address := part.strip(" <>"))))


def add_once(listed: list[str], item: str) -> None:
    """Each target once, however often it is asked for; the last asked for stands last."""
    if item in listed:
        listed.remove(item)
    listed.append(item)
