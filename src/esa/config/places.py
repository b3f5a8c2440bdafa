"""Where in its files something of a configuration stands, as `file:line`: for people who ask which line decided.

`esa trace` asks. A place is looked for in the text as it is now; what cannot be found has none, which is an empty string.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from esa.config.load import DEFAULT_FILE, HEADER, lines_of_keys


class Places:
    """The places of one configuration file, and of the files of entries that it names."""

    def __init__(self, file: str = "", text: str = "") -> None:
        self._file, self._lines = file, text.splitlines()
        self._places = lines_of_keys(text)

    @classmethod
    def of(cls, path: Path | None) -> Self:
        """Of the file that `load` reads for the same argument; of none if it cannot be read."""
        path = path or Path(DEFAULT_FILE)
        try:
            return cls(shown(path), path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return cls()

    def table(self, name: str, number: int | None = None) -> str:
        """A table, or of several of one name that with this number."""
        line = self._places.get((name,) if number is None else (name, number))
        return f"{self._file}:{line}" if line else ""

    def entry(self, name: str, number: int, text: str, files: Iterable[str] = ()) -> str:
        """An entry that stands as text in that table, or in one of these files; else the table."""
        first = self._places.get((name, number))
        if first is not None:
            for place in range(first, len(self._lines)):
                line = self._lines[place]
                if HEADER.match(line):
                    break
                if f'"{text}"' in line or f"'{text}'" in line:
                    return f"{self._file}:{place + 1}"
        for file in files:
            if found := line_of(Path(file), text):
                return f"{shown(Path(file))}:{found}"
        return self.table(name, number)


def line_of(path: Path, text: str) -> int:
    """The line of a file of entries that holds this one; 0 if none does."""
    try:
        with path.open(encoding="utf-8") as file:
            return next((number for number, line in enumerate(file, start=1) if line.partition("#")[0].strip() == text), 0)
    except (OSError, UnicodeDecodeError):
        return 0


def shown(path: Path) -> str:
    """A path as people write it: from the working folder where it lies below."""
    try:
        return os.fspath(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)
