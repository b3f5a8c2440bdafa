"""What actions are made of: their texts with variables, and steps that add to the outcome. Called by `esa.policy.actions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.errors import SyntaxFault
from esa.message.address import Address
from esa.policy.filters.scope import Severity, Unusable
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


def addresses_at(call: Call, index: int) -> Callable[[Run], tuple[str, ...]]:
    """Addresses with commas between, each once; a name may stand before one in angle brackets. Raises Unusable for what is none.

    What variables bring in may be anything that an author wrote: what is no address (RFC 5321 section 4.1.2) is left out.
    """
    text = text_at(call, index)
    if "$" in text:
        write = writer_of(text)
        return lambda run: tuple(dict.fromkeys(address for piece in write(run).split(",") if (address := _address_in(piece))))
    read = [(piece, _address_in(piece)) for piece in text.split(",")]
    if wrong := [piece.strip() for piece, address in read if not address]:
        mend = "write one as user@example.org, several with commas between"
        raise Unusable(Severity.ERROR, call.arguments[index].at, f"{wrong[0]!r} is no address", mend)
    found = tuple(dict.fromkeys(address for _, address in read))
    return lambda run: found


def address_at(call: Call, index: int) -> Writer:
    """One address, variables filled in; empty where there is none."""
    write = writer_at(call, index)
    return lambda run: _address_in(write(run))


def _address_in(piece: str) -> str:
    """The address of one mailbox; empty if it is none."""
    text = piece.rpartition("<")[2].partition(">")[0] if "<" in piece else piece
    try:
        return str(Address.parse(text.strip()))
    except SyntaxFault:
        return ""


def add_once(listed: list[str], item: str) -> None:
    """Each target once, however often it is asked for; the last asked for stands last."""
    if item in listed:
        listed.remove(item)
    listed.append(item)
