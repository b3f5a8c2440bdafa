"""F-01: the order of system calls of a receiver, seen by strace: what a 250 answers for is on disk before the 250 is sent.

The law, for each reply 250 to mail data. The write to a segment with the identifier of the message in it, and each file of content named
by it, was flushed: an fsync or fdatasync of that file began after the write had ended, and returned 0. The folder of a segment that was
made, and of content that got its name, was flushed after that too. Group commits are allowed, and a next group may be under way.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.figures import Figure
from tests.chaos.ledger import Ledger
from tests.conftest import absent
from tests.end_to_end.running import Gateway

CALLS = "openat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,rename,renameat2,linkat,sendto,sendmsg"
_LINE = re.compile(r"^(?P<thread>\d+) +(?P<rest>.*)$")
_BEGUN = re.compile(r"^(?P<call>\w+)\((?P<arguments>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (?P<call>\w+) resumed>(?P<arguments>.*)$")
_ENDED = re.compile(r"\) += (?P<value>-?\d+)[^\"]*$")
_SOCKET = re.compile(r"^\d+<(?:socket|TCP)")
_DESCRIPTOR = re.compile(r"^\d+<(?P<path>[^>]*)>")
_OPENED = re.compile(r"= \d+<(?P<path>[^>]*)>")
_PATHS = re.compile(r'"(?P<path>(?:[^"\\]|\\.)*)"')
_ACCEPTED = re.compile(r'250 2\.\d\.\d [^"]*?(?P<id>[0-9A-HJKMNP-TV-Z]{26})')
_IDENTIFIERS = re.compile(r"(?=([0-9A-HJKMNP-TV-Z]{26}))")
_FLUSHES, _WRITES, _SENDS = (
    {"fsync", "fdatasync"},
    {"write", "writev", "pwrite64", "pwritev", "pwritev2"},
    {"write", "writev", "sendto", "sendmsg"},
)


@dataclass
class Checked:
    """What a trace says."""

    replies: int = 0  # 250 to mail data
    writes: int = 0
    flushes: int = 0
    broken: list[str] = field(default_factory=list)  # why, one for each reply that came too early


class Order:
    """Reads a trace line by line. Times are numbers of lines."""

    def __init__(self, spool: str, identifiers: Collection[str]) -> None:
        """`identifiers` are those that replies name."""
        self.checked = Checked()
        self._spool, self._identifiers = spool, identifiers
        self._needs: dict[str, dict[str, int]] = {}  # message: what is still to be flushed for it, and since when
        self._written: dict[str, int] = {}  # file that was written to and not flushed since
        self._made: dict[str, int] = {}  # folder that got a new name and was not flushed since

    def begins(self, call: str, arguments: str) -> None:
        """A reply counts from where its call begins."""
        if call not in _SENDS or not _SOCKET.match(arguments):
            return
        for accepted in _ACCEPTED.finditer(arguments):
            self.checked.replies += 1
            needs = self._needs.get(accepted["id"])
            if needs is None:
                self.checked.broken.append(f"{accepted['id']}: never written")
            elif needs:
                self.checked.broken.append(f"{accepted['id']}: not flushed: {', '.join(sorted(needs))}")

    def succeeded(self, call: str, arguments: str, since: int, until: int) -> None:
        if call in {"rename", "renameat2", "linkat"}:
            source, *_, there = [path["path"] for path in _PATHS.finditer(arguments)]
            self._named(source, there, until)
        elif call == "openat":
            opened = _OPENED.search(arguments)
            if "O_CREAT" in arguments and opened is not None:
                self._named(opened["path"], opened["path"], until)
        elif (on := _DESCRIPTOR.match(arguments)) is not None and on["path"].startswith(self._spool):
            if call in _FLUSHES:
                self._flushed(on["path"], since)
            elif call in _WRITES:
                self._wrote(on["path"], arguments, until)

    def _named(self, source: str, there: str, now: int) -> None:
        """A file of the spool has got a name, as which it was written before."""
        folder = str(Path(there).parent)
        if not there.startswith(self._spool) or not folder.endswith(("/segments", "/content")):
            return
        self._made[folder] = now
        for identifier in self._identifiers_in(Path(there).name):
            needs = self._needs.setdefault(identifier, {})
            needs[folder] = now
            if source in self._written:
                needs[source] = self._written[source]

    def _wrote(self, path: str, arguments: str, now: int) -> None:
        self.checked.writes += 1
        self._written[path] = now
        folder = str(Path(path).parent)
        for identifier in self._identifiers_in(arguments):
            needs = self._needs.setdefault(identifier, {})
            needs[path] = now
            if folder in self._made:
                needs[folder] = self._made[folder]

    def _flushed(self, path: str, since: int) -> None:
        self.checked.flushes += 1
        for waiting in (self._written, self._made, *self._needs.values()):
            if waiting.get(path, since) < since:  # what was written while it flushed is for the next one
                del waiting[path]

    def _identifiers_in(self, text: str) -> set[str]:
        return {found for found in _IDENTIFIERS.findall(text) if found in self._identifiers}


def check(lines: Sequence[str], spool: str) -> Checked:
    """Read the output of `strace -f -y` of a receiver whose spool is in the folder `spool`."""
    order = Order(spool, {accepted["id"] for line in lines for accepted in _ACCEPTED.finditer(line)})
    begun: dict[str, tuple[str, str, int]] = {}  # thread: call, its arguments, number of the line where it began
    for number, line in enumerate(lines):
        parts = _LINE.match(line)
        if parts is None:
            continue
        thread, rest = parts["thread"], parts["rest"]
        if (resumed := _RESUMED.match(rest)) is not None and thread in begun:
            call, arguments, since = begun.pop(thread)
            arguments += resumed["arguments"]
        elif (fresh := _BEGUN.match(rest)) is not None:
            call, arguments, since = fresh["call"], fresh["arguments"], number
            order.begins(call, arguments)
            if arguments.rstrip().endswith("<unfinished ...>"):
                begun[thread] = call, arguments.rstrip().removesuffix("<unfinished ...>"), number
                continue
        else:
            continue
        ended = _ENDED.search(arguments)
        if ended is not None and int(ended["value"]) >= 0:
            order.succeeded(call, arguments, since, number)
    return order.checked


async def order_of_calls(folder: Path, messages: int, *, sessions: int = 10) -> list[Figure]:
    """Trace a receiver while it takes `messages`, one in fifty of them with content in a file of its own."""
    strace = shutil.which("strace") or absent("the program strace is not installed (`make test` as root installs it)")
    gateway = Gateway(folder, workers=1)
    gateway.start()
    try:
        trace = folder / "trace"
        pid = gateway.children()["receive-0"]
        words = [strace, "-f", "-y", "-s", "600", "-e", "abbrev=none", "-e", f"trace={CALLS}", "-o", str(trace), "-p", str(pid)]
        tracer = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
        assert tracer.stderr is not None
        await tracer.stderr.readline()  # it says that it has attached
        ledger = Ledger()

        async def send(count: int) -> None:
            for number in range(count):
                size = 1_500_000 if number % 50 == 25 else 2_000 + 97 * (number % 60)
                await ledger.offer(gateway.port, ["b@example.org"], size=size)

        await asyncio.gather(*(send(messages // sessions) for _ in range(sessions)))
        tracer.send_signal(signal.SIGINT)
        await tracer.wait()
    finally:
        gateway.end()
    checked = check(trace.read_text("utf-8", "replace").splitlines(), str(gateway.state / "spool"))
    assert checked.replies == len(ledger.acknowledged), f"the trace has {checked.replies} replies of {len(ledger.acknowledged)}"
    return [
        Figure(
            "F-01 order of durability",
            f"strace of a receiver, {checked.replies:,} replies 250, {checked.writes:,} writes, {checked.flushes:,} flushes",
            f"{len(checked.broken)} out of order" + (f": {checked.broken[0]}" if checked.broken else ""),
            "0",
            not checked.broken and checked.replies >= messages * 0.99,
        )
    ]
