"""What a person should look at in a dictionary: lines that cannot be used, entries that never match, match too much, or stand in one another.

Called by `esa dictionary check`. Entries are looked up in the dictionary they are of, compiled as the scanner compiles it, so that what is said here
is what happens to mail.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from esa.engine.checks.dictionaries import Dictionaries, Entries
from esa.engine.dictionary import Dictionary, Entry, Options, read_lines, read_options
from esa.engine.scanner import Scanner
from esa.errors import ConfigurationError
from esa_core import fold

_BLOCK = 4_096  # entries that are looked up in one call


class Remark(NamedTuple):
    """`kind`: fault (the dictionary cannot be used), expired, never, greedy or contained."""

    line: int
    kind: str
    what: str
    mend: str


def audit(name: str, text: str, today: date, *, where: str = "") -> list[Remark]:
    """Remarks on the text of a dictionary file, in order of its lines."""
    try:
        options = read_options(text, where=where or name)
    except ConfigurationError as fault:
        return [_fault(_line_of(fault), fault)]
    remarks: list[Remark] = []
    numbers: list[int] = []
    entries: list[Entry] = []
    for line in read_lines(text, options, where or name):
        if line.fault is not None:
            remarks.append(_fault(line.number, line.fault))
        elif line.entry is not None:
            numbers.append(line.number)
            entries.append(line.entry)
            remarks += _alone(line.number, line.entry, options, today)
    try:
        remarks += _contained(Dictionary(name, entries, options.whole_words, options.case_sensitive, options.kind), numbers)
    except ConfigurationError as fault:  # of all together: too many expressions that any text may match
        number = next((number for number, entry in zip(numbers, entries, strict=True) if entry.text in (fault.where or "")), 1)
        remarks.append(_fault(number, fault))
    return sorted(remarks)


def _fault(number: int, fault: ConfigurationError) -> Remark:
    return Remark(number, "fault", fault.what, fault.mend or "correct or remove the line")


def _line_of(fault: ConfigurationError) -> int:
    number = (fault.where or "").rpartition(" ")[2]
    return int(number) if number.isdigit() else 1


def _alone(number: int, entry: Entry, options: Options, today: date) -> Iterator[Remark]:
    """What is to be said of an entry whatever the others are."""
    if entry.until is not None and entry.until < today:
        yield Remark(
            number, "expired", f"{entry.text!r} counts no more since {entry.until}", "remove it; remove --expired removes all such"
        )
    if entry.kind == "term" and not options.case_sensitive and not fold(entry.text.encode("utf-8", "surrogatepass")):
        yield Remark(number, "never", f"{entry.text!r} never matches: nothing is left of it where letters are compared", "remove it")
    if entry.kind == "expression" and (bare := _without_ends(entry.text)) != entry.text:
        what = f"{entry.text!r} takes in all the line: each line counts once, however often it stands there"
        yield Remark(number, "greedy", what, f"write {bare}" if bare else "say what must stand there")


def _without_ends(expression: str) -> str:
    """The expression without .* at its ends."""
    while expression.startswith((".*", "^.*")):
        expression = expression.removeprefix("^").removeprefix(".*").removeprefix("?")
    while expression.endswith((".*", ".*$", ".*?")) and not expression.endswith(("\\.*", "\\.*$", "\\.*?")):
        expression = expression.removesuffix("$").removesuffix("?").removesuffix(".*")
    return expression


def _contained(dictionary: Dictionary, numbers: Sequence[int]) -> Iterator[Remark]:
    """Entries in which others of the dictionary stand, so that both count."""
    if not dictionary.entries:
        return
    check = Dictionaries(Entries.of([dictionary]), today=lambda: date.min)
    lookup = Scanner(checks=[check]).lookup
    lines = {entry.text: number for number, entry in zip(numbers, dictionary.entries, strict=True)}
    texts = [
        (number, entry) for number, entry in zip(numbers, dictionary.entries, strict=True) if entry.kind in ("term", "address", "domain")
    ]
    for first in range(0, len(texts), _BLOCK):
        block = texts[first : first + _BLOCK]
        for (number, entry), founds in zip(block, lookup.texts([entry.text.removeprefix(".") for _, entry in block]), strict=True):
            others = [text for found in founds.values() for text in found.terms if text != entry.text]
            if others:
                yield _remark(number, entry, others, lines)
    for number, entry in zip(numbers, dictionary.entries, strict=True):
        if entry.kind == "network":
            network = ipaddress.ip_network(entry.text)
            founds = lookup.client(network.network_address)
            others = [
                text for found in founds.values() for text in found.terms if text != entry.text and _is_wider(text, network.prefixlen)
            ]
            if others:
                yield _remark(number, entry, others, lines)


def _is_wider(text: str, length: int) -> bool:
    return ipaddress.ip_network(text).prefixlen < length


def _remark(number: int, entry: Entry, others: Sequence[str], lines: dict[str, int]) -> Remark:
    shown = ", ".join(f"{text!r} (line {lines[text]})" for text in others[:3]) + (", …" if len(others) > 3 else "")
    mend = "leave it out unless it shall weigh more than the other" if len(others) == 1 else "leave out what needs no weight of its own"
    return Remark(number, "contained", f"in {entry.text!r} stands {shown}: each counts", mend)
