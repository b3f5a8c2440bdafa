"""Sets of characters as ranges of code points: sorted, disjoint, both ends in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
ANY: Ranges = ((0, LAST),)
LINE: Ranges = ((0, 9), (11, LAST))  # . without (?s)
DIGITS: Ranges = ((0x30, 0x39),)
SPACES: Ranges = ((9, 10), (12, 13), (32, 32))  # RE2's \s, which has no vertical tab
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_LONG_S, _KELVIN = 0x17F, 0x212A  # fold with s and k, alone of all beyond ASCII (Unicode's CaseFolding.txt)


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Any ranges as a set."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = out[-1][0], max(out[-1][1], high)
        else:
            out.append((low, high))
    return tuple(out)


def complement(ranges: Ranges) -> Ranges:
    out, at = [], 0
    for low, high in ranges:
        if at < low:
            out.append((at, low - 1))
        at = high + 1
    if at <= LAST:
        out.append((at, LAST))
    return tuple(out)


def folded(ranges: Ranges) -> Ranges | None:
    """With all that differs in case only, as RE2 has it; None where that takes more than ASCII to say."""
    if ranges and ranges[-1][1] == LAST:  # the complement of a set: what folds with what it leaves out
        left_out = complement(ranges)
        if any(high > 0x7F for _, high in left_out):
            return None
        kept = [place for low, high in left_out for place in range(low, high + 1) if not (_case_partners(place) & _beyond(left_out))]
        return complement(joined((place, place) for place in kept))
    if any(high > 0x7F for _, high in ranges):
        return None
    more = {other for low, high in ranges for place in range(low, high + 1) for other in _case_partners(place)}
    return joined([*ranges, *((place, place) for place in more)])


def _case_partners(place: int) -> set[int]:
    character = chr(place)
    if not character.isalpha():
        return set()
    partners = {ord(character.swapcase())}
    if character in "sS":
        partners.add(_LONG_S)
    elif character in "kK":
        partners.add(_KELVIN)
    return partners


def _beyond(left_out: Ranges) -> set[int]:
    """Characters that are not left out and have a partner in ASCII."""
    inside = [place for place in (*range(0x80), _LONG_S, _KELVIN) if not any(low <= place <= high for low, high in left_out)]
    return set(inside)
