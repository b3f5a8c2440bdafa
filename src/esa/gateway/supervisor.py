"""Child processes of the gateway: started, watched, started again when they die, stopped. Used by service.py, in the parent.

Rules. A child that dies is started again at once; one that dies fast (within SETTLED_SECONDS) after a wait that doubles up to LONGEST_WAIT.
A child that fails before it was ever ready, on the first start, ends the service: what is wrong then is wrong with the configuration or the
state.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from esa.gateway import events
from esa.gateway.events import Event as Log

SETTLED_SECONDS = 2.0
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """One child to keep running: its name, its row of counters, the sockets it is handed as (listener, descriptor), shared counts, and the
    file of compiled dictionaries that it maps."""

    name: str
    row: int
    sockets: tuple[tuple[str, int], ...] = ()
    rates: tuple[int, int] | None = None  # descriptor of the counts that receivers share, and the number of this one among them
    compiled: str = ""


class Child:
    """One child and all its successors."""

    def __init__(self, job: Job, *, configuration: int, inherited: Sequence[int]) -> None:
        """`configuration` is a descriptor of its JSON; `inherited` are descriptors that the child only holds open."""
        self.job = job
        self.restarts = 0
        self.ready = asyncio.Event()
        self.failed_first = False  # it ended before it was ever ready
        self.pid: int | None = None
        self._configuration, self._inherited = configuration, tuple(inherited)
        self._process: asyncio.subprocess.Process | None = None
        self._ever_ready = False
        self._stopping = False
        self._renewing = False  # it was told to end, so that it starts again

    async def run(self) -> None:
        """Keep the child running until `stop`; return at once if it fails before it was ever ready."""
        wait = FIRST_WAIT
        while True:
            began = time.monotonic()
            status = await self._run_once()
            lived = time.monotonic() - began
            if self._told_to_stop():
                return
            if self._renewing:
                self._renewing = False
                continue
            events.error(Log.PROCESS_ENDED, name=self.job.name, status=_describe(status), lived=round(lived, 3))
            if not self._ever_ready:
                self.failed_first = True
                return
            self.restarts += 1
            if lived >= SETTLED_SECONDS:
                wait = FIRST_WAIT
                continue
            await asyncio.sleep(wait)
            if self._told_to_stop():
                return
            wait = min(wait * 2, LONGEST_WAIT)

    async def _run_once(self) -> int:
        ready_read, ready_write = os.pipe()
        rates = self.job.rates
        descriptors = [self._configuration, ready_write, *self._inherited, *(descriptor for _, descriptor in self.job.sockets)]
        if rates is not None:
            descriptors.append(rates[0])
        watcher = None
        try:
            try:
                self._process = await _start(
                    "esa.gateway.process",
                    self.job.name,
                    f"--configuration={self._configuration}",
                    f"--row={self.job.row}",
                    f"--ready={ready_write}",
                    *(() if rates is None else (f"--rates={rates[0]}", f"--number={rates[1]}")),
                    *((f"--compiled={self.job.compiled}",) if self.job.compiled else ()),
                    *(f"--socket={listener}={descriptor}" for listener, descriptor in self.job.sockets),
                    descriptors=descriptors,
                )
            finally:
                os.close(ready_write)
            self.pid = self._process.pid
            watcher = asyncio.create_task(self._await_ready(ready_read))
            if self._stopping:
                self.terminate()
            return await self._process.wait()
        finally:
            self.pid = None
            self.ready.clear()
            if watcher is not None:
                watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher
            os.close(ready_read)

    async def _await_ready(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
            if os.read(descriptor, 1):
                self._ever_ready = True
                self.ready.set()
        finally:
            loop.remove_reader(descriptor)

    def _told_to_stop(self) -> bool:
        return self._stopping

    def terminate(self) -> None:
        """Ask the child to drain, and start no successor."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def retire(self) -> None:
        """Ask a receiver to take no new connection and to end with its last session; it has a successor already."""
        self._stopping = True
        self._signal(signal.SIGUSR1)

    def begin_anew(self, configuration: int) -> None:
        """Have the child drain and start again with another configuration."""
        self._configuration = configuration
        self.ready.clear()
        self._renewing = self.pid is not None  # else it is about to be started, with that configuration
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _start(module: str, *words: str, descriptors: Sequence[int]) -> asyncio.subprocess.Process:
    """Start a module of ours as a process that inherits these descriptors; `words` are made by esa alone (decision 0012)."""
    command = (sys.executable, "-m", module, *words)
    return await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, pass_fds=descriptors)


async def run_to_end(module: str, configuration: int) -> int:
    """Run a process that does one thing; its exit status. Cancelled, it ends the process."""
    process = await _start(module, f"--configuration={configuration}", descriptors=[configuration])
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise


def _describe(status: int) -> str:
    """An exit status in words: `exit 3`, or the name of the signal."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
