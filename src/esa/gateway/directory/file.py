"""Recipients of a text file, one a line, read anew when the file changes.

    anna@example.org            an address; what stands behind it on the line is not looked at, so that a Postfix table does too
    example.net                 every recipient of a domain (@example.net is the same)
    .example.net                every recipient of every domain below it

`#` begins a comment line. Looked up at once, in memory. Promises: a look-up sees one whole version of the file; a version with a mistake, or
one that is being written, is not taken and the old one stays; reading a million lines holds nobody up for longer than a few milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from esa.errors import ConfigurationError, SyntaxFault
from esa.gateway import events
from esa.gateway.directory.sources import Scope, Standing
from esa.gateway.events import Event as Log
from esa.policy.recipient_access import Form, Recipient, parse_entry

LOOK_SECONDS = 2.0  # between looks whether the file has changed
BLOCK = 1 << 16  # octets of lines read at a time: the interpreter is held for about a millisecond
_ADDRESSES = re.compile(rb"(?:[a-z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-z0-9.-]+\n)*+")  # lines in the form that is compared already
Identity = tuple[int, int, int]  # of a version of a file: its number, size and time


@dataclass(slots=True)
class Known:
    """One version of a file. Addresses are octets: they take less memory than text, and there are very many."""

    addresses: set[bytes] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    below: set[str] = field(default_factory=set)

    def holds(self, recipient: Recipient, delimiter: str) -> bool:
        """Whether the recipient, or it without its extension, or its domain stands in the file."""
        if str(recipient).encode() in self.addresses:
            return True
        if delimiter and delimiter in recipient.local_part[1:]:
            bare = recipient.local_part[:1] + recipient.local_part[1:].partition(delimiter)[0]
            if f"{bare}@{recipient.domain}".encode() in self.addresses:
                return True
        if recipient.domain in self.domains:
            return True
        domain = recipient.domain
        while self.below and (domain := domain.partition(".")[2]):
            if domain in self.below:
                return True
        return False


def read_known(path: Path) -> tuple[Known, Identity]:
    """Read a file whole. Raises ConfigurationError that names file and line."""
    known = Known()
    try:
        with path.open("rb") as file:
            before = _identity(os.fstat(file.fileno()))
            number = 0
            while lines := file.readlines(BLOCK):
                if not lines[-1].endswith(b"\n"):
                    lines[-1] += b"\n"
                block = b"".join(lines).lower()
                if _ADDRESSES.fullmatch(block):
                    known.addresses.update(block.split(b"\n"))
                else:
                    _read_slowly(known, lines, number, path)
                number += len(lines)
                time.sleep(0)  # let the event loop have the interpreter
            known.addresses.discard(b"")
            if _identity(os.fstat(file.fileno())) != before:
                raise ConfigurationError("it was written while it was read", where=str(path), mend="write another and rename it")
    except OSError as wrong:
        raise ConfigurationError(f"it cannot be read ({wrong.strerror})", where=str(path), mend="Check its path and mode.") from wrong
    return known, before


def _read_slowly(known: Known, lines: Iterable[bytes], number: int, path: Path) -> None:
    """Lines with comments, domains, capitals in Unicode, quotes, values behind the address."""
    for place, raw in enumerate(lines, start=number + 1):
        try:
            text = raw.decode("utf-8").strip()
            if not text or text.startswith("#"):
                continue
            entry = parse_entry((text if text.startswith('"') else text.split(maxsplit=1)[0]).removeprefix("@"))
        except UnicodeDecodeError:
            raise ConfigurationError("the line is not UTF-8", where=f"{path}, line {place}", mend="save the file as UTF-8") from None
        except SyntaxFault as fault:
            raise ConfigurationError(fault.what, where=f"{path}, line {place}", mend="write an address or a domain in each line") from fault
        match entry.form:
            case Form.ADDRESS:
                known.addresses.add(f"{entry.local_part}@{entry.domain}".encode())
            case Form.DOMAIN if "." in entry.domain:
                known.domains.add(entry.domain)
            case Form.BELOW:
                known.below.add(entry.domain)
            case _:
                mend = "write an address or a domain in each line"
                raise ConfigurationError(f"{entry.text} names neither", where=f"{path}, line {place}", mend=mend)


def _identity(status: os.stat_result) -> Identity:
    return status.st_ino, status.st_size, status.st_mtime_ns


class FileSource:
    """The recipients of one file. Belongs to one event loop."""

    def __init__(self, scope: Scope, path: Path, *, delimiter: str = "", look: float = LOOK_SECONDS) -> None:
        """`delimiter`: what begins an extension of a local part, as "+"; empty: there are none."""
        self._scope, self._path, self._delimiter, self._look = scope, path, delimiter, look
        self._known = Known()
        self._seen: Identity | None = None  # the version that was read last, taken or not
        self._watch: asyncio.Task[None] | None = None

    @property
    def scope(self) -> Scope:
        return self._scope

    def look_up(self, recipient: Recipient) -> Standing:
        return Standing.KNOWN if self._known.holds(recipient, self._delimiter) else Standing.UNKNOWN

    async def start(self) -> None:
        """Read the file, and watch it from now on. Raises ConfigurationError."""
        self._known, self._seen = await asyncio.to_thread(read_known, self._path)
        self._watch = asyncio.ensure_future(self._follow())

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._look)
            try:
                await self._renew()
            except ConfigurationError as wrong:
                events.error(Log.RECIPIENTS_REFUSED, source=self._scope.name, where=wrong.where, reason=wrong.what)

    async def _renew(self) -> None:
        """Read the file if it is another; what is wrong with one version is told once."""
        try:
            found = _identity(await asyncio.to_thread(os.stat, self._path))
        except OSError as wrong:
            found = (0, 0, wrong.errno or 0)
        if found == self._seen:
            return
        self._seen = found
        if not found[0]:
            raise ConfigurationError("it is gone", where=str(self._path))
        if not found[1]:
            raise ConfigurationError("it is empty", where=str(self._path))
        self._known, self._seen = await asyncio.to_thread(read_known, self._path)
        counts = {"addresses": len(self._known.addresses), "domains": len(self._known.domains) + len(self._known.below)}
        events.info(Log.RECIPIENTS_LOADED, source=self._scope.name, **counts)
