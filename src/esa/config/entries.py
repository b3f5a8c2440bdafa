"""Files of entries, one a line, as sender groups and recipient access name them; `#` begins a comment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from esa.errors import ConfigurationError, SyntaxFault

_Entry = TypeVar("_Entry")


def read_entries(path: Path, parse: Callable[[str], _Entry], whose: str) -> list[_Entry]:
    """The entries of a file in order. Raises ConfigurationError that names file, line and mend."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as wrong:
        reason = wrong.strerror if isinstance(wrong, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{whose} cannot be read: {reason}", where=str(path), mend="name text files") from wrong
    entries = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                entries.append(parse(text))
            except SyntaxFault as fault:
                raise ConfigurationError(fault.what, where=f"{path}, line {number}", mend=fault.mend) from fault
    return entries
