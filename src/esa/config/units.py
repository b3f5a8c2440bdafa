"""Values with units: "20 s", "25 MiB". The schema uses them, so that no setting is a bare number whose unit one must guess.

A number without a unit is refused. A value is written in the longest unit that divides it, so that reading it again gives the same value.
"""

from __future__ import annotations

import re

from esa.errors import SyntaxFault

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}  # in seconds
SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}  # in octets
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\Z")


def parse_duration(text: str) -> float:
    """Seconds of "500 ms", "20 s", "5 min", "1.5 h" or "30 d". Raises SyntaxFault for anything else."""
    number, unit = _split(text, DURATION_UNITS, 'write a time with its unit, as "500 ms", "20 s", "5 min", "1 h" or "30 d"')
    return float(number) * DURATION_UNITS[unit]


def parse_size(text: str) -> int:
    """Octets of "100 B", "64 KiB", "25 MiB" or "2 GiB". Raises SyntaxFault for anything else, and for a part of an octet."""
    mend = 'write a size with its unit, as "64 KiB", "25 MiB" or "2 GiB"'
    number, unit = _split(text, SIZE_UNITS, mend)
    octets = float(number) * SIZE_UNITS[unit]
    if not octets.is_integer():
        raise SyntaxFault(f"{text!r} is no whole number of octets", mend=mend)
    return int(octets)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as these seconds."""
    for unit, length in reversed(DURATION_UNITS.items()):
        if seconds and (seconds / length).is_integer():
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:g} s"


def format_size(octets: int) -> str:
    """The shortest text that `parse_size` reads as these octets."""
    for unit, size in reversed(SIZE_UNITS.items()):
        if octets and octets % size == 0:
            return f"{octets // size} {unit}"
    return f"{octets} B"


def _split(text: str, units: dict[str, float] | dict[str, int], mend: str) -> tuple[str, str]:
    match = _QUANTITY.match(text.strip())
    if match is None:
        raise SyntaxFault(f"{text!r} is no number with a unit", mend=mend)
    number, unit = match.groups()
    if unit not in units:
        raise SyntaxFault(f"{unit!r} is no unit here ({', '.join(units)})", mend=mend)
    return number, unit
