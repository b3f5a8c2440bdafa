"""The parent process of `esa serve`: opens the listening sockets, runs the children, tells health and figures, stops in good order.

It touches no mail. It holds the lock of the state folder; its children hold a second one, so that a new start waits until those of a killed
parent have drained. Sockets are opened once per receive worker with SO_REUSEPORT and handed down, so connections that wait for a worker
which died are served by its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esa.config.schema import Configuration
from esa.errors import ConfigurationError, EsaError, StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.health import Health, HealthServer
from esa.gateway.metrics import ROLES, Counter, Counters
from esa.gateway.process import COUNTERS
from esa.gateway.rates import create_memory
from esa.gateway.sockets import cannot_listen, open_listener, passed_sockets
from esa.gateway.supervisor import Child, Job
from esa.store.folder import make_private, store_error, take_lock

PREDECESSOR_SECONDS = 15.0  # how long children of a killed parent may take to drain
KILL_SECONDS = 2.0  # past the drain time, a child that still runs is killed
STOREKEEPER_SECONDS = 5.0  # deliver and keep finish what is in flight


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listener listens, after port 0 has become a real one."""

    listener: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Service:
    """One running gateway."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.places: list[Place] = []
        self.health_place = ""
        self._stop = asyncio.Event()
        self._children: list[Child] = []

    async def run(self, *, started: Callable[[Service], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, or `stop`. `started` is called when every process does its work.

        Raises ConfigurationError (an address that cannot be listened on) and StoreError (a state folder in use or not writable), or
        EsaError if a process failed at the start; then nothing is left running.
        """
        state = self.configuration.state
        with contextlib.ExitStack() as held:
            run_folder = make_private(state / "run")
            lock = take_lock(run_folder / "lock", what="this state folder", patience=0.5)
            held.callback(os.close, lock)
            _write_pid(run_folder / "pid")
            children_lock = await _take_children_lock(run_folder / "children.lock")
            held.callback(os.close, children_lock)
            sockets = self._open_sockets(held)
            counters = Counters.create(state / COUNTERS)
            configuration = _configuration_descriptor(self.configuration)
            held.callback(os.close, configuration)
            rates = create_memory(self.configuration.gateway.workers)
            held.callback(os.close, rates)
            self._children = self._make_children(sockets, configuration, children_lock, rates)
            health = HealthServer(counters, lambda: self._health(counters))
            self.health_place = await self._serve_health(health)
            try:
                await self._supervise(counters, held, started)
            finally:
                await health.close()

    def stop(self) -> None:
        """Begin the orderly stop."""
        self._stop.set()

    def reload(self) -> None:
        """Have the receiving processes read their certificates again; what is wrong with them stands in the log, and the old ones stay."""
        for child in self._children:
            if child.job.sockets and child.ready.is_set():
                child.reload()

    async def _supervise(self, counters: Counters, held: contextlib.ExitStack, started: Callable[[Service], None] | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        runs = [asyncio.create_task(child.run(), name=child.job.name) for child in self._children]
        parent = counters.row(ROLES - 1)
        try:
            if await self._all_ready(runs):
                events.info(
                    Log.SERVICE_STARTED, pid=os.getpid(), listening=" ".join(map(str, self.places)), state=str(self.configuration.state)
                )
                if started is not None:
                    started(self)
                while not self._stop.is_set():
                    parent.set(Counter.PROCESS_RESTARTS, sum(child.restarts for child in self._children))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), 1.0)
        finally:
            began = time.monotonic()
            await self._end(runs)
        failed = [child.job.name for child in self._children if child.failed_first]
        if failed:
            raise EsaError(
                f"the process {failed[0]} could not start", mend="what is wrong stands in the log, in the line event=process.failed"
            )
        events.info(Log.SERVICE_STOPPED, pid=os.getpid(), seconds=round(time.monotonic() - began, 1))

    async def _all_ready(self, runs: Sequence[asyncio.Task[None]]) -> bool:
        """Wait until every child is ready (True), or one failed at the start or a stop was asked for (False)."""
        ready = asyncio.gather(*(child.ready.wait() for child in self._children))
        stop = asyncio.create_task(self._stop.wait())
        watched: list[asyncio.Future[Any]] = [ready, stop, *runs]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if ready.done():
            return True
        ready.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ready
        return False

    async def _end(self, runs: Sequence[asyncio.Task[None]]) -> None:
        """Receivers first: they finish their replies. Then deliver and keep. Whoever takes too long is killed, which loses nothing kept."""
        receivers = [child for child in self._children if child.job.sockets]
        others = [child for child in self._children if not child.job.sockets]
        for group, patience in ((receivers, self.configuration.gateway.drain + KILL_SECONDS), (others, STOREKEEPER_SECONDS)):
            waiting = [run for run in runs if run.get_name() in {child.job.name for child in group} and not run.done()]
            for child in group:
                child.terminate()
            if waiting:
                _, late = await asyncio.wait(waiting, timeout=patience)
                if late:
                    for child in group:
                        child.kill()
                    await asyncio.wait(late)
        await asyncio.gather(*runs)

    # --- what children are given ------------------------------------------------------------------------------------------------------

    def _open_sockets(self, held: contextlib.ExitStack) -> list[list[tuple[str, int]]]:
        """One set of bound sockets per worker, each as (listener, descriptor)."""
        workers = self.configuration.gateway.workers
        passed = passed_sockets(os.environ)
        opened: list[list[tuple[str, int]]] = [[] for _ in range(workers)]
        for listener in self.configuration.listener:
            for worker, bound in enumerate(passed.for_listener(listener, workers) or open_listener(listener, workers)):
                held.callback(bound.close)
                if not worker:
                    self.places.append(Place(listener.name, *bound.getsockname()[:2]))
                opened[worker].append((listener.name, bound.fileno()))
        if unused := passed.unused():
            raise ConfigurationError(
                f"the socket {unused} was passed by systemd, and no listener is for it",
                where="[[listener]]",
                mend="give FileDescriptorName= in the socket unit the name of a listener, or a listener its address and port",
            )
        return opened

    def _make_children(self, sockets: Sequence[Sequence[tuple[str, int]]], configuration: int, lock: int, rates: int) -> list[Child]:
        jobs = [Job("deliver", 0), Job("keep", 1)]
        jobs += [Job(f"receive-{worker}", 2 + worker, tuple(given), (rates, worker)) for worker, given in enumerate(sockets)]
        return [Child(job, configuration=configuration, inherited=(lock,)) for job in jobs]

    async def _serve_health(self, health: HealthServer) -> str:
        metrics = self.configuration.metrics
        try:
            return await health.start(metrics.address, metrics.port)
        except OSError as error:
            raise cannot_listen(error, metrics.address, metrics.port, "[metrics], port") from error

    def _health(self, counters: Counters) -> Health:
        free = None
        with contextlib.suppress(OSError):
            status = os.statvfs(self.configuration.state)
            free = status.f_bavail * status.f_frsize if not status.f_flag & os.ST_RDONLY else 0
        return Health(
            processes={
                child.job.name: {"pid": child.pid, "ready": child.ready.is_set(), "restarts": child.restarts} for child in self._children
            },
            free_bytes=free,
            commit_failures=counters.total(Counter.COMMIT_FAILURES),
            commits=counters.total(Counter.COMMIT_GROUPS),
        )


def _write_pid(path: Path) -> None:
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise store_error(error, path) from error


async def _take_children_lock(path: Path) -> int:
    """The lock all children inherit. Held by others: children of a parent that was killed; wait until they have drained."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise store_error(error, path) from error
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreError(
                    "processes of an earlier esa serve still work on this state folder",
                    where=str(path),
                    mend="wait until they have drained, or end them",
                    is_in_use=True,
                ) from None
            await asyncio.sleep(0.05)


def _configuration_descriptor(configuration: Configuration) -> int:
    """A file in memory with the configuration as JSON; children read it at its start, whenever they start."""
    descriptor = os.memfd_create("esa-configuration", os.MFD_CLOEXEC)
    data = configuration.to_json().encode()
    os.pwrite(descriptor, data, 0)
    return descriptor
