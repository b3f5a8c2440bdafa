"""Natural batches without a timer: what is ready when a stage becomes free is its next batch.

Rules. A stage that is idle takes, at the end of the loop iteration, all that was put in during it: one item when there is little traffic,
many when there is much. While it works, items gather; the moment it is done it takes them, up to its caps by count and octets. A batch that
is estimated to take under INLINE_MICROSECONDS may run on the event loop; any other runs on the stage's one thread, or where somebody else
takes it on. The receive route has three: two for scans (small messages and large ones, so that a large one never delays a batch of small
ones) and one for commits.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns, thread_time_ns
from typing import Generic, TypeAlias, TypeVar

INLINE_MICROSECONDS = 200.0  # past it a hand-over to a thread (65–75 µs) costs less than the delay of the loop
_SMOOTHING = 0.1  # weight of the newest batch in the running cost estimate
ITEM_OCTETS = 2048  # fixed cost of an item, as octets, in that estimate

Item = TypeVar("Item")
Result = TypeVar("Result")
Ended: TypeAlias = Callable[[Result | Exception, float], None]  # what came of a batch, and microseconds


class Stage(Generic[Item, Result]):
    """One stage of the route: `work(items)` on a thread or inline, then `finish(items, result, microseconds)` on the event loop.

    `work` must not raise for what an item holds; if it does raise, `fail(items, error)` is called on the event loop instead of `finish`.
    Items stay in order. All methods are called on the event loop.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[Item]], Result],
        finish: Callable[[list[Item], Result, float], None],
        fail: Callable[[list[Item], Exception], None],
        *,
        loop: asyncio.AbstractEventLoop,
        batch_items: int,
        batch_octets: int,
        inline: bool = False,
        begin: Callable[[list[Item], Ended[Result]], bool] | None = None,
    ) -> None:
        """`begin(items, ended)` is offered every batch, on the event loop. True: it has taken it on, and calls `ended` on the event loop once,
        later. False: it is left to `work`. What it raises is as if `work` had raised it.
        """
        self._work, self._finish, self._fail = work, finish, fail
        self._loop = loop
        self._batch_items, self._batch_octets = batch_items, batch_octets
        self._inline = inline
        self._begin = begin
        self._left: tuple[list[Item], int] | None = None  # a batch that `begin` has left to the thread
        self._cost = 0.02  # CPU microseconds per octet, learnt from each batch; wall time would count what else runs on the machine
        self._waiting: deque[tuple[Item, int]] = deque()
        self._lock = threading.Lock()  # guards _waiting against _busy
        self._busy = False
        self._scheduled = False
        self._closed = False
        self._wake = threading.Lock()  # held but for the moment the thread shall look: lighter than a Semaphore, which is made of four
        self._wake.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, octets: int) -> None:
        """Add an item that weighs `octets`; it is worked on at the end of this loop iteration, or with the next batch."""
        with self._lock:
            self._waiting.append((item, octets))
            if self._busy or self._scheduled:
                return
            self._scheduled = True
        self._loop.call_soon(self._start)

    def __len__(self) -> int:
        """Items that wait; those in work are not counted."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the thread end when it has worked off what waits. Nothing may be put in afterwards."""
        with self._lock:
            self._closed = True
            if self._busy:
                return  # the thread looks when it is done
            self._busy = True
        self._wake.release()

    def _start(self) -> None:
        self._scheduled = False
        if self._inline and self._estimate() < INLINE_MICROSECONDS:
            items, octets = self._take()
            if self._waiting:  # past a cap: the rest at the end of the next iteration
                self._scheduled = True
                self._loop.call_soon(self._start)
            if items:
                self._finish_inline(items, octets)
            return
        with self._lock:
            if self._busy or not self._waiting:
                return
            self._busy = True
        if self._begin is None:
            self._wake.release()
        else:
            self._offer_soon(self._begin)

    def _offer_soon(self, begin: Callable[[list[Item], Ended[Result]], bool]) -> None:
        """Offer the next batch after one more look at the sockets: what has come meanwhile shares it."""
        self._loop.call_soon(self._offer, begin)

    def _offer(self, begin: Callable[[list[Item], Ended[Result]], bool]) -> None:
        """Offer the next batch; the stage is busy."""
        with self._lock:
            items, octets = self._take()
            if not items:
                self._busy = self._closed
                if self._closed:
                    self._wake.release()
                return
        try:
            if begin(items, partial(self._ended, items)):
                return
        except Exception as error:
            self._loop.call_soon(self._ended, items, error, 0.0)
            return
        self._left = items, octets
        self._wake.release()

    def _ended(self, items: list[Item], outcome: Result | Exception, microseconds: float) -> None:
        try:
            if isinstance(outcome, Exception):
                self._fail(items, outcome)
            else:
                self._finish(items, outcome, microseconds)
        finally:
            if self._begin is not None:
                self._loop.call_soon(self._offer_soon, self._begin)

    def _finish_inline(self, items: list[Item], octets: int) -> None:
        started, used = perf_counter_ns(), thread_time_ns()
        try:
            result = self._work(items)
        except Exception as error:
            self._ended(items, error, 0.0)
            return
        self._done(items, result, octets, (perf_counter_ns() - started) / 1000, (thread_time_ns() - used) / 1000)

    def _estimate(self) -> float:
        """Microseconds that all that waits would take."""
        return self._cost * sum(octets + ITEM_OCTETS for _, octets in self._waiting)

    def _take(self) -> tuple[list[Item], int]:
        """The next batch within the caps; at least one item if any waits."""
        items: list[Item] = []
        total = 0
        while self._waiting and len(items) < self._batch_items and (not items or total + self._waiting[0][1] <= self._batch_octets):
            item, octets = self._waiting.popleft()
            items.append(item)
            total += octets
        return items, total

    def _done(self, items: list[Item], result: Result, octets: int, microseconds: float, used: float) -> None:
        cost = used / (octets + ITEM_OCTETS * len(items))
        self._cost += _SMOOTHING * (cost - self._cost)
        self._ended(items, result, microseconds)

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            while True:
                with self._lock:
                    items, octets = self._left or self._take()
                    self._left = None
                    if not items:
                        if self._closed:
                            return
                        self._busy = False
                        break
                started, used = perf_counter_ns(), thread_time_ns()
                try:
                    result = self._work(items)
                except Exception as error:
                    self._post(self._ended, items, error, 0.0)
                else:
                    microseconds, used = (perf_counter_ns() - started) / 1000, thread_time_ns() - used
                    self._post(self._done, items, result, octets, microseconds, used / 1000)
                del items
                if self._begin is not None:  # the event loop offers the next one first
                    break

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
