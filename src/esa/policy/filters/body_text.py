"""Text of a message part by part: how often something stands in the message's own text, or in attachments.

Called by conditions and actions where the counts of the one pass do not tell enough: these are over the whole message.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from esa.engine.check import Term
from esa.policy.filters.expression import count_in_octet_text, found_in, matches_empty, split_case
from esa.policy.filters.scope import Severity, Unusable
from esa.policy.filters.tree import Text
from esa_core import Engine, Program

if TYPE_CHECKING:
    from esa.policy.view import View
    from esa_core import Part, Region

TEXT_REGIONS = frozenset({"plain", "html_seen", "html_hidden", "alt", "outside"})
IDENTIFIERS = {"*credit": "card", "*card": "card", "*ssn": "ssn", "*aba": "aba", "*cusip": "cusip", "*iban": "iban"}
MOST = 1_000  # matches that are counted in one region


class Wanted(NamedTuple):
    """What is looked for: an expression, or a smart identifier, which is a number that passes its own check."""

    expression: str
    identifier: str = ""

    def term(self, regions: frozenset[str]) -> Term:
        """The term of the one program that counts it in regions of a message."""
        if self.identifier:
            return Term("", kind=self.identifier, regions=regions)
        text, is_cased = split_case(self.expression)
        return Term(text, kind="expression", case=is_cased, regions=regions)

    def count(self, region: Region) -> int:
        """How often it stands in one region."""
        if self.identifier:
            return sum(_identifiers(self.identifier).scan([_HEAD + region.text]).counts(0).values())
        text, is_cased = split_case(self.expression)
        if is_cased:
            return count_in_octet_text(self.expression, region.text, MOST)
        count = count_in_octet_text(self.expression, region.folded, MOST)
        return count if count or text.isascii() else count_in_octet_text(self.expression, region.text, MOST)

    def find(self, view: View) -> str:
        """The first text of the message that is it; empty where that cannot be told."""
        if self.identifier:
            return ""
        for region in view.parsed.regions:
            if region.kind in TEXT_REGIONS and (found := found_in(self.expression, region.text.decode("utf-8", "replace"))):
                return found
        return ""


_HEAD = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"


@functools.cache
def _identifiers(kind: str) -> Engine:
    return Engine(program=Program([b""], [kind]))


def wanted_of(value: object) -> Wanted:
    """Raises Unusable for an expression that matches where nothing stands."""
    assert isinstance(value, Text)
    if value.value in IDENTIFIERS:
        return Wanted(value.value, IDENTIFIERS[value.value])
    if matches_empty(value.value):
        mend = "say what must stand there: leave out .* at its ends, write x+ for x*"
        raise Unusable(Severity.ERROR, value.at, "this regular expression matches empty text, so that it stands everywhere", mend)
    return Wanted(value.value)


def attached_parts(view: View) -> frozenset[int]:
    """Numbers of the parts that are attachments, or stand in one."""
    return _with_inner(view, {part.index for part in view.attachments})


def attached_with(view: View, part: Part) -> frozenset[int]:
    """Numbers of an attachment and of the parts that stand in it."""
    return _with_inner(view, {part.index})


def _with_inner(view: View, numbers: set[int]) -> frozenset[int]:
    if numbers:
        for part in view.parsed.parts:
            if part.parent in numbers or part.origin in numbers:
                numbers.add(part.index)
    return frozenset(numbers)


def count_in_parts(view: View, wanted: Wanted, parts: frozenset[int] | None) -> int:
    """How often it stands in text of these parts; None: in the message's own text, attachments left out."""
    return sum(wanted.count(region) for region in _regions(view, parts))


def _regions(view: View, parts: frozenset[int] | None) -> Iterator[Region]:
    attached = attached_parts(view) if parts is None else parts
    for region in view.parsed.regions:
        if region.kind in TEXT_REGIONS and (region.part in attached) is (parts is not None):
            yield region
