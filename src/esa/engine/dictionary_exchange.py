"""Dictionary files from elsewhere and for elsewhere: AsyncOS's exports made ours with comments and order, and ours written as AsyncOS reads them.

AsyncOS takes each line for a regular expression, and loses on export whether words are whole and case counts. Ours keeps both in lines of options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from esa.engine.dictionary import MARK, Entry, Kind, Options, read_entry, read_lines, read_options, write_note, write_options
from esa.errors import ConfigurationError

_SPECIAL = re.compile(r"[\\^$*+?{}|()\[\]]")  # a full stop is left alone: it matches itself, and an address stays readable
_FOREIGN = frozenset({"domain", "network", "hash"})  # kinds of entries that are nothing but text to AsyncOS


def taken_over(
    text: str, *, kind: Kind | None = None, whole_words: bool | None = None, case_sensitive: bool | None = None, where: str
) -> tuple[str, list[ConfigurationError]]:
    """The text as a dictionary file with these options, and the faults of lines that cannot be used, which are comments in it.

    What is None is as the text says. Raises ConfigurationError for wrong options.
    """
    there = read_options(text, where=where)
    options = Options(
        there.kind if kind is None else kind,
        there.whole_words if whole_words is None else whole_words,
        there.case_sensitive if case_sensitive is None else case_sensitive,
    )
    lines = [line.rstrip("\r") for line in text.split("\n")]
    faults: list[ConfigurationError] = []
    for line in read_lines(text, options, where):
        if line.fault is not None:
            faults.append(line.fault)
            lines[line.number - 1] = f"# not used, {line.fault.what}: {lines[line.number - 1]}"
    if options == there:
        return "\n".join(lines), faults
    return "\n".join([*write_options(options), *_without_options(lines)]), faults


def for_asyncos(text: str, options: Options) -> tuple[str, list[Entry]]:
    """A dictionary file without faults as AsyncOS reads it, and entries of kinds that it does not know."""
    unknown: list[Entry] = []
    lines = write_options(Options("expressions", options.whole_words, options.case_sensitive))
    for line in _without_options(text.split("\n")):
        entry = read_entry(line, options.kind)
        if entry is None:
            lines.append(line)
            continue
        if entry.kind in _FOREIGN or entry.text == "*iban":
            unknown.append(entry)
        note = write_note(entry)
        weight = "" if entry.weight == 1 else f", {entry.weight}"
        lines.append(f"{_written(entry).replace('#', '[#]')}{weight}{f'  # {note}' if note else ''}")
    return "\n".join(lines), unknown


def _written(entry: Entry) -> str:
    match entry.kind:
        case "expression":
            return entry.text
        case "identifier":
            return "*credit" if entry.text == "*card" else entry.text
        case _:
            return _SPECIAL.sub(r"\\\g<0>", entry.text)


def _without_options(lines: list[str]) -> Iterator[str]:
    is_head = True
    for line in lines:
        is_head = is_head and (not line.strip() or line.lstrip().startswith("#"))
        if not (is_head and line.lstrip().startswith(MARK)):
            yield line
