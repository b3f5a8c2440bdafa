"""Editing dictionary files: one entry more or less, with comments and order kept, written whole or not at all, by one writer at a time.

Called by `esa dictionary`. A file of a million entries is not taken apart for one of them: the text is searched for the entry, and only the lines in
which it stands are read. Who reads the file meanwhile sees it as it was before or as it is afterwards.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

from esa.engine.dictionary import IDENTIFIERS, Entry, Options, decode, key_of, read_entry, read_octets, read_options, write_entry
from esa.errors import ConfigurationError, SyntaxFault

ENDING = ".txt"
_PATIENCE = 10.0  # seconds to wait for another writer, who needs a second for the largest files
_BEFORE, _BEHIND = frozenset('\n\r\t "/@'), frozenset('\n\r\t ",#/.')  # what stands beside an entry in its line


class Place(NamedTuple):
    """A line with an entry: its number from 1, and the characters of the text that it takes, without its end."""

    number: int
    start: int
    end: int
    entry: Entry


class Added(NamedTuple):
    """What became of one entry: added, changed (it stood there otherwise) or unchanged; and the line before, if there was one."""

    entry: Entry
    outcome: str
    before: Entry | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a file, and what it says of its entries."""

    path: Path
    text: str
    options: Options

    @classmethod
    def read(cls, path: Path) -> Text:
        """Raises ConfigurationError."""
        text = decode(read_octets(path), str(path))
        return cls(path, text, read_options(text, where=str(path)))

    def find(self, entry: Entry) -> Place | None:
        """The line of an entry that looks for the same, or None."""
        key = key_of(entry, self.options)
        for start, end in self._candidates(entry):
            try:
                there = read_entry(self.text[start:end], self.options.kind)
            except SyntaxFault:
                continue
            if there is not None and key_of(there, self.options) == key:
                return Place(self.text.count("\n", 0, start) + 1, start, end, there)
        return None

    def _candidates(self, entry: Entry) -> Iterator[tuple[int, int]]:
        """Lines in which the entry may stand, by begin and end."""
        text = self.text
        if entry.kind == "network" and ":" in entry.text:  # which may be written in many ways
            yield from self._lines_with(text, ":", is_whole=False)
            return
        folded = text.casefold()
        names = (
            [name for name, kind in IDENTIFIERS.items() if kind == IDENTIFIERS[entry.text]] if entry.kind == "identifier" else [entry.text]
        )
        for name in names:
            pieces = name.replace("#", "[#]").casefold().split('"')  # which may be written twice
            wanted = max(pieces, key=len) or '"'
            if len(folded) == len(text):
                yield from self._lines_with(folded, wanted, is_whole=len(pieces) == 1)
            else:  # some character folds to two: places differ, lines do not
                at = 0
                for line, written in zip(folded.split("\n"), text.split("\n"), strict=True):
                    if wanted in line:
                        yield at, at + len(written)
                    at += len(written) + 1

    @staticmethod
    def _lines_with(text: str, wanted: str, *, is_whole: bool) -> Iterator[tuple[int, int]]:
        at = text.find(wanted)
        while at >= 0:
            behind = at + len(wanted)
            if not is_whole or ((at == 0 or text[at - 1] in _BEFORE) and (behind == len(text) or text[behind] in _BEHIND)):
                start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
                end = len(text) if end < 0 else end
                yield start, end
                at = text.find(wanted, end)
            else:
                at = text.find(wanted, behind)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Keep other writers of the same folder away. Raises ConfigurationError if one takes too long or the folder cannot be used."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(
            f"the folder cannot be used: {error.strerror}", where=str(path.parent), mend="check its path and mode"
        ) from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    what = "another process writes dictionaries there"
                    raise ConfigurationError(what, where=str(path.parent), mend="wait for it to end, and try again") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def add(path: Path, entries: Sequence[Entry], *, replace: bool = False) -> list[Added]:
    """Add entries at the end, or in the place of those that look for the same if `replace`. Nothing is written if one cannot be added.

    Raises ConfigurationError, and SyntaxFault for an entry that this file cannot hold.
    """
    path = path.resolve()
    with writing(path):
        file = Text.read(path)
        done: list[Added] = []
        for entry in entries:
            line = write_entry(entry, file.options.kind)
            place = file.find(entry)
            if place is None:
                text = file.text if file.text.endswith("\n") or not file.text else f"{file.text}\n"
                done.append(Added(entry, "added"))
                file = Text(path, f"{text}{line}\n", file.options)
            elif place.entry == entry:
                done.append(Added(entry, "unchanged", place.entry))
            elif replace:
                done.append(Added(entry, "changed", place.entry))
                file = Text(path, f"{file.text[: place.start]}{line}{file.text[place.end :]}", file.options)
            else:
                what = f"{entry.text!r} stands there already, otherwise: {write_entry(place.entry, file.options.kind)}"
                raise ConfigurationError(what, where=f"{path}, line {place.number}", mend="give --replace to change it")
        if any(one.outcome != "unchanged" for one in done):
            write(path, file.text)
    return done


def remove(path: Path, entries: Sequence[Entry]) -> list[tuple[Entry, bool]]:
    """Remove the lines of entries that look for the same as these; with each, whether it was there. Raises ConfigurationError."""
    path = path.resolve()
    with writing(path):
        file = Text.read(path)
        done: list[tuple[Entry, bool]] = []
        for entry in entries:
            place = file.find(entry)
            done.append((entry if place is None else place.entry, place is not None))
            if place is not None:
                file = Text(path, file.text[: place.start] + file.text[place.end + 1 :], file.options)
        if any(was_there for _, was_there in done):
            write(path, file.text)
    return done


def remove_where(path: Path, is_gone: Callable[[Entry], bool]) -> list[Entry]:
    """Remove the lines of all entries of which this holds. Lines that cannot be read stay. Raises ConfigurationError."""
    path = path.resolve()
    with writing(path):
        file = Text.read(path)
        kept: list[str] = []
        gone: list[Entry] = []
        for line in file.text.split("\n"):
            try:
                entry = read_entry(line, file.options.kind)
            except SyntaxFault:
                entry = None
            if entry is not None and is_gone(entry):
                gone.append(entry)
            else:
                kept.append(line)
        if gone:
            write(path, "\n".join(kept))
    return gone


def is_over(today: date) -> Callable[[Entry], bool]:
    """Whether the last day of an entry is over."""
    return lambda entry: entry.until is not None and entry.until < today


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the mode and, where that is allowed, the owner that it had. Raises ConfigurationError."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8"))
                _look_like(path, file.fileno())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        mend = "check the mode of its folder, and the room on the disk"
        raise ConfigurationError(f"the dictionary cannot be written: {error.strerror}", where=str(path), mend=mend) from error


def _look_like(path: Path, descriptor: int) -> None:
    try:
        before = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, 0o644)
        return
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
        os.fchown(descriptor, before.st_uid, before.st_gid)


def files_of(path: Path) -> list[Path]:
    """The dictionary file named in a configuration, or all of a folder, sorted by name."""
    return sorted(one for one in path.glob(f"*{ENDING}") if one.is_file() and one.name[0] != ".") if path.is_dir() else [path]
