"""Kinds of values that settings have, and the base of every table; `schema` and the tables beside it are made of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from esa.config import units
from esa.errors import SyntaxFault

KIB, MIB = 1 << 10, 1 << 20
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
LARGEST_MESSAGE = 1 << 30  # the core counts octets in 32 bits; more than 1 GiB is no mail
_Number = TypeVar("_Number", int, float)
LISTENER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}\Z")  # goes into log lines, tracking and file names


def fault(what: str, mend: str) -> PydanticCustomError:
    """A fault for people; `load` adds the file, the line and the key."""
    return PydanticCustomError("esa", "{what}", {"what": what, "mend": mend})


def _quantity(parse: Callable[[str], _Number], mend: str) -> Callable[[object], _Number]:
    def read(value: object) -> _Number:
        if not isinstance(value, str):
            raise fault(f"{value!r} has no unit", mend)
        try:
            return parse(value)
        except SyntaxFault as wrong:
            raise fault(wrong.what, wrong.mend or mend) from wrong

    return read


def _name(value: str) -> str:
    if not LISTENER_NAME.match(value):
        raise fault(f"{value!r} is no name", "use up to 32 letters, digits, - and _, a letter first")
    return value


Duration = Annotated[
    float,
    BeforeValidator(_quantity(units.parse_duration, 'write a time with its unit, as "20 s"')),
    PlainSerializer(units.format_duration, return_type=str),
]
Size = Annotated[
    int,
    BeforeValidator(_quantity(units.parse_size, 'write a size with its unit, as "25 MiB"')),
    PlainSerializer(units.format_size, return_type=str),
]
Name = Annotated[str, AfterValidator(_name)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)
