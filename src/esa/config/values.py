"""Kinds of values that settings have, and the base of every table; `schema` and the tables beside it are made of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from esa.config import units
from esa.errors import SyntaxFault
from esa.message.address import parse_domain

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


def _line(value: str) -> str:
    if not value.isascii() or not value.isprintable() or len(value) > 400:
        raise fault(f"{value[:60]!r} cannot stand in a reply", "write printable ASCII, at most 400 characters")
    return value


def domain(value: str) -> str:
    try:
        parse_domain(value.removeprefix("."))
    except SyntaxFault as wrong:
        raise fault(f"{value!r} is no domain", "write example.org, or .example.org for all domains below it") from wrong
    return value.lower()


DISCARD = "/dev/null"  # the route that throws mail away, by AsyncOS's name


def _route(value: str) -> str:
    if value and value != DISCARD and split_route(value) is None:
        raise fault(f"{value!r} is no SMTP route", f'write host:port, as "mail.example.org:25" or "[2001:db8::25]:25", or "{DISCARD}"')
    return value


def split_route(route: str) -> tuple[str, int] | None:
    """Host (no brackets) and port of "host:port"; None if it is not one."""
    host, colon, port = route.rpartition(":")
    if not colon or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    return (host, int(port)) if re.fullmatch(r"[A-Za-z0-9_.:-]+", host) else None


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
Domain = Annotated[str, AfterValidator(domain)]
Route = Annotated[str, AfterValidator(_route)]
ReplyText = Annotated[str, AfterValidator(_line)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)
