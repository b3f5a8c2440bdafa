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
from esa.gateway import events, patterns
from esa.gateway.certificates.watch import Watch
from esa.gateway.cost_metrics import CostCollector
from esa.gateway.events import Event as Log
from esa.gateway.health import Health, HealthServer
from esa.gateway.metrics import ROLES, Counter, Counters
from esa.gateway.process import COUNTERS
from esa.gateway.rates import create_memory
from esa.gateway.sockets import cannot_listen, open_listener, passed_sockets
from esa.gateway.supervisor import Child, Job, run_to_end
from esa.store.folder import make_private, store_error, take_lock
from esa.store.versions import check_versions

PREDECESSOR_SECONDS = 15.0  # how long children of a killed parent may take to drain
KILL_SECONDS = 2.0  # past the drain time, a child that still runs is killed
FIRST_ROW = 2  # of counters of receivers, behind those of deliver and keep
GENERATIONS = 3  # of receivers at one time: those that work, those that retire, and their successors
STOREKEEPER_SECONDS = 5.0  # deliver and keep finish what is in flight
UNCHANGED = "the old configuration stays in use"
RENEWED_SECONDS = 30.0  # that a reload waits for deliver and keep to begin anew before it is told


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

    def __init__(self, configuration: Configuration, *, read_again: Callable[[], Configuration] | None = None) -> None:
        """`read_again` gives the configuration as it is now, for SIGHUP; it may raise EsaError. None: always this one."""
        self.configuration = configuration
        self._read_again = read_again or (lambda: configuration)
        self.places: list[Place] = []
        self.health_place = ""
        self._stop = asyncio.Event()
        self._children: list[Child] = []
        self._runs: dict[Child, asyncio.Task[None]] = {}  # of these, and of receivers that have retired
        self._successors: list[Child] = []  # receivers of a reload that are not ready yet
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._certificates = Watch(lambda: [one.chain for one in self.configuration.certificate])

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
            check_versions(state)
            _write_pid(run_folder / "pid")
            children_lock = await _take_children_lock(run_folder / "children.lock")
            held.callback(os.close, children_lock)
            sockets = self._open_sockets(held)
            counters = Counters.create(state / COUNTERS)
            self._descriptor = _configuration_descriptor(self.configuration)
            held.callback(lambda: os.close(self._descriptor))
            rates = create_memory(GENERATIONS * self.configuration.gateway.workers)
            held.callback(os.close, rates)
            compiled = await self._compile(self.configuration)
            if compiled:
                patterns.put_in_force(state)
            self._sockets, self._lock, self._rates = sockets, children_lock, rates
            self._children = [self._child(Job("deliver", 0)), self._child(Job("keep", 1)), *self._receivers(0, compiled)]
            health = HealthServer(counters, lambda: self._health(counters), CostCollector(state), self._certificates)
            self.health_place = await self._serve_health(health)
            watch = asyncio.create_task(self._certificates.run())
            try:
                await self._supervise(counters, started)
            finally:
                watch.cancel()
                await health.close()

    def stop(self) -> None:
        """Begin the orderly stop."""
        self._stop.set()

    def reload(self) -> None:
        """Read the configuration and all its files again, and go on with them. What is wrong stands in the log, and nothing changes then."""
        if self._reloading is not None and not self._reloading.done():
            self._reload_again = True
            return
        self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _supervise(self, counters: Counters, started: Callable[[Service], None] | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        for child in self._children:
            self._start(child)
        parent = counters.row(ROLES - 1)
        try:
            if await self._all_ready(self._children):
                events.info(
                    Log.SERVICE_STARTED, pid=os.getpid(), listening=" ".join(map(str, self.places)), state=str(self.configuration.state)
                )
                if started is not None:
                    started(self)
                gone = 0
                while not self._stop.is_set():
                    gone += self._forget_retired(counters)
                    parent.set(Counter.PROCESS_RESTARTS, gone + sum(child.restarts for child in self._runs))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), 1.0)
        finally:
            began = time.monotonic()
            if self._reloading is not None:
                self._reloading.cancel()
                await asyncio.wait([self._reloading])
            await self._end()
        failed = [child.job.name for child in self._children if child.failed_first]
        if failed:
            raise EsaError(
                f"the process {failed[0]} could not start", mend="what is wrong stands in the log, in the line event=process.failed"
            )
        events.info(Log.SERVICE_STOPPED, pid=os.getpid(), seconds=round(time.monotonic() - began, 1))

    def _start(self, child: Child) -> None:
        self._runs[child] = asyncio.create_task(child.run(), name=child.job.name)

    async def _all_ready(self, children: Sequence[Child]) -> bool:
        """Wait until each of these is ready (True), or one failed at the start or a stop was asked for (False)."""
        ready = asyncio.gather(*(child.ready.wait() for child in children))
        stop = asyncio.create_task(self._stop.wait())
        watched: list[asyncio.Future[Any]] = [ready, stop, *(self._runs[child] for child in children)]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if ready.done():
            return True
        ready.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ready
        return False

    async def _end(self) -> None:
        """Receivers first: they finish their replies. Then deliver and keep. Whoever takes too long is killed, which loses nothing kept."""
        receivers = [child for child in self._runs if child.job.sockets]
        others = [child for child in self._runs if not child.job.sockets]
        await self._end_these(receivers, self.configuration.gateway.drain + KILL_SECONDS)
        await self._end_these(others, STOREKEEPER_SECONDS)
        await asyncio.gather(*self._runs.values())

    async def _end_these(self, children: Sequence[Child], patience: float) -> None:
        waiting = [self._runs[child] for child in children if not self._runs[child].done()]
        for child in children:
            child.terminate()
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=patience)
            if late:
                for child in children:
                    child.kill()
                await asyncio.wait(late)

    # --- reload -----------------------------------------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Receivers get successors on the same sockets, and retire when these are ready: no connection is refused, no session cut."""
        while True:
            self._reload_again = False
            began = time.monotonic()
            try:
                await self._take_over(await asyncio.to_thread(self._read_again))
            except EsaError as error:
                events.error(Log.RELOAD_REFUSED, reason=str(error).replace("\n", "; "), consequence=UNCHANGED)
            except Exception as error:  # a fault of ours must not go unheard: nobody waits for this task
                events.error(Log.RELOAD_REFUSED, cause=error, consequence=UNCHANGED)
            else:
                events.info(Log.SERVICE_RELOADED, pid=os.getpid(), seconds=round(time.monotonic() - began, 1))
            if not self._reload_again:
                return

    async def _take_over(self, configuration: Configuration) -> None:
        """Raises EsaError, and leaves all as it was, if the successors cannot be started with it."""
        _can_take_over(self.configuration, configuration)
        old = [child for child in self._children if child.job.sockets]
        used = {child.job.row for child in self._runs}
        generation = next((one for one in range(GENERATIONS) if used.isdisjoint(FIRST_ROW + number for number in self._numbers(one))), None)
        if generation is None:
            raise EsaError("receivers of the last reload still finish their sessions", mend="reload again when they have ended")
        before, self._descriptor = self._descriptor, _configuration_descriptor(configuration)
        new = self._successors = []
        compiled = ""
        try:
            compiled = await self._compile(configuration)
            new += self._receivers(generation, compiled)
            for child in new:
                self._start(child)
            if not await self._all_ready(new):
                raise EsaError(
                    "a process could not start with it", mend="what is wrong stands in the log, in the line event=process.failed"
                )
            if compiled:
                patterns.put_in_force(configuration.state)
        except BaseException:
            failed, self._descriptor = self._descriptor, before
            await self._end_these(new, KILL_SECONDS)
            for child in new:
                del self._runs[child]
            self._successors = []
            os.close(failed)
            if compiled:
                patterns.take_back(configuration.state)
            raise
        self.configuration = configuration
        for child in old:
            child.retire()
        storekeepers = [child for child in self._children if not child.job.sockets]
        for child in storekeepers:
            child.begin_anew(self._descriptor)
        self._children, self._successors = [*storekeepers, *new], []
        os.close(before)
        await asyncio.to_thread(self._certificates.look)
        with contextlib.suppress(TimeoutError):  # what keeps one from starting stands in the log, and it is tried again and again
            async with asyncio.timeout(RENEWED_SECONDS):
                await self._all_ready(storekeepers)

    async def _compile(self, configuration: Configuration) -> str:
        """Have the dictionaries and filters compiled, in a process of its own: a million terms would hold up the event loop of this one.

        Returns the name of the file, which is not in force yet; empty if there is nothing to compile.
        """
        if not patterns.is_wanted(configuration):
            return ""
        if await run_to_end(patterns.__name__, self._descriptor):
            raise EsaError(
                "the filters or dictionaries cannot be used", mend="what is wrong stands in the log, in the line event=dictionaries.refused"
            )
        return patterns.made_last(configuration.state)

    def _forget_retired(self, counters: Counters) -> int:
        """Let go of receivers that have ended after a reload; how often they were started again in their time."""
        kept = {*self._children, *self._successors}
        ended = [child for child, run in self._runs.items() if run.done() and child not in kept]
        for child in ended:
            del self._runs[child]
            counters.row(child.job.row).reset_gauges()
        return sum(child.restarts for child in ended)

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

    def _numbers(self, generation: int) -> range:
        """Of the receivers of a generation, which have names, counters and spools that those of another have not."""
        return range(generation * len(self._sockets), (generation + 1) * len(self._sockets))

    def _receivers(self, generation: int, compiled: str) -> list[Child]:
        numbered = zip(self._numbers(generation), self._sockets, strict=True)
        return [
            self._child(Job(f"receive-{number}", FIRST_ROW + number, tuple(given), (self._rates, number), compiled))
            for number, given in numbered
        ]

    def _child(self, job: Job) -> Child:
        return Child(job, configuration=self._descriptor, inherited=(self._lock,))

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
            limits = self.configuration.limits
            has_files = not status.f_files or status.f_favail >= limits.reserve_files
            free = status.f_bavail * status.f_frsize if has_files and not status.f_flag & os.ST_RDONLY else 0
        return Health(
            processes={
                child.job.name: {"pid": child.pid, "ready": child.ready.is_set(), "restarts": child.restarts} for child in self._children
            },
            free_bytes=free,
            commit_failures=counters.total(Counter.COMMIT_FAILURES),
            commits=counters.total(Counter.COMMIT_GROUPS),
            reserve=self.configuration.limits.reserve,
        )


def _can_take_over(old: Configuration, new: Configuration) -> None:
    """Raises ConfigurationError for what is decided when the parent starts: it opened the sockets and the state folder."""

    def fixed(one: Configuration) -> dict[str, object]:
        listeners = [(listener.name, listener.address, listener.port) for listener in one.listener]
        gateway = one.gateway
        values = {"[gateway], state": one.state, "[gateway], workers": gateway.workers, "[gateway], log_format": gateway.log_format}
        return {**values, "[[listener]], name, address, port": listeners, "[metrics]": one.metrics}

    before = fixed(old)
    for where, value in fixed(new).items():
        if value != before[where]:
            raise ConfigurationError("this changes only when esa is started again", where=where, mend="set it back, or restart esa serve")


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
