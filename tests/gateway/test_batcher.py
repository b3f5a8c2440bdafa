"""Natural batches: by the end of the loop iteration when idle, by the end of the work when busy, within caps, in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from esa.gateway.batcher import Ended, Stage


class Recorder:
    """A stage whose work is recorded; `gate` holds the thread up while it is not set."""

    def __init__(self, *, inline: bool = False, batch_items: int = 64, batch_octets: int = 1 << 20) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[str] = []
        self.failures: list[tuple[list[int], Exception]] = []
        self.finished: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken: Exception | None = None
        self.on_work: Callable[[], None] = lambda: None
        self.stage: Stage[int, int] = Stage(
            "test",
            self._work,
            self._finish,
            lambda items, error: self.failures.append((items, error)),
            loop=asyncio.get_running_loop(),
            batch_items=batch_items,
            batch_octets=batch_octets,
            inline=inline,
        )

    def _work(self, items: list[int]) -> int:
        self.batches.append(list(items))
        self.threads.append(threading.current_thread().name)
        self.on_work()
        self.gate.wait(10)
        if self.broken is not None:
            raise self.broken
        return sum(items)

    def _finish(self, items: list[int], result: int, microseconds: float) -> None:
        assert result == sum(items)
        assert microseconds >= 0
        self.finished += items

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.finished) + sum(len(items) for items, _ in self.failures) < count:
                await asyncio.sleep(0.001)


async def test_what_is_put_in_during_one_loop_iteration_is_one_batch() -> None:
    recorder = Recorder()
    for number in range(5):
        recorder.stage.put(number, 10)
    await recorder.until(5)
    assert recorder.batches == [[0, 1, 2, 3, 4]]
    assert recorder.threads == ["test"]
    recorder.stage.close()


async def test_while_the_stage_is_busy_the_next_batch_grows() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    recorder.stage.put(0, 10)
    while not recorder.batches:
        await asyncio.sleep(0.001)
    for number in range(1, 8):
        recorder.stage.put(number, 10)
        await asyncio.sleep(0)
    assert recorder.batches == [[0]]
    recorder.gate.set()
    await recorder.until(8)
    assert recorder.batches == [[0], [1, 2, 3, 4, 5, 6, 7]]
    assert recorder.finished == list(range(8))
    recorder.stage.close()


async def test_a_batch_ends_at_its_cap_of_items_or_octets() -> None:
    recorder = Recorder(batch_items=3, batch_octets=100)
    for number, octets in enumerate([10, 10, 10, 60, 60, 500, 10]):
        recorder.stage.put(number, octets)
    await recorder.until(7)
    assert recorder.batches == [[0, 1, 2], [3], [4], [5], [6]]
    recorder.stage.close()


async def test_a_short_batch_runs_on_the_event_loop_and_a_long_one_on_the_thread() -> None:
    recorder = Recorder(inline=True, batch_octets=1 << 30)
    recorder.stage.put(1, 100)
    await recorder.until(1)
    recorder.stage.put(2, 1 << 24)
    await recorder.until(2)
    assert recorder.threads == [threading.main_thread().name, "test"]
    recorder.stage.close()


async def test_an_inline_stage_works_off_all_that_waits_past_a_cap() -> None:
    recorder = Recorder(inline=True, batch_items=2)
    for number in range(3):
        recorder.stage.put(number, 1)
    await recorder.until(3)
    assert recorder.batches == [[0, 1], [2]]
    assert set(recorder.threads) == {threading.main_thread().name}
    recorder.stage.close()


async def test_items_put_in_by_finish_are_not_forgotten() -> None:
    recorder = Recorder()
    recorder.stage.put(0, 1)
    await recorder.until(1)
    recorder.stage.put(1, 1)
    await recorder.until(2)
    recorder.stage.close()


async def test_work_that_raises_fails_its_items_and_not_the_stage() -> None:
    recorder = Recorder()
    recorder.broken = ValueError("broken")
    recorder.stage.put(0, 1)
    await recorder.until(1)
    recorder.broken = None
    recorder.stage.put(1, 1)
    await recorder.until(2)
    assert [items for items, _ in recorder.failures] == [[0]]
    assert recorder.finished == [1]
    recorder.stage.close()


async def test_many_items_from_many_iterations_all_finish_once_and_in_order() -> None:
    recorder = Recorder(batch_items=7)
    for number in range(3000):
        recorder.stage.put(number, 1)
        if number % 5 == 0:
            await asyncio.sleep(0)
    await recorder.until(3000)
    assert recorder.finished == list(range(3000))
    recorder.stage.close()


class Taking:
    """A stage whose batches are taken on by somebody else, but for those with a number that can be divided by three."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[int], Ended[str]]] = []
        self.ended: list[tuple[list[int], str]] = []
        self.threads: list[str] = []
        self.stage: Stage[int, str] = Stage(
            "test",
            self._work,
            lambda items, result, _: self.ended.append((items, result)),
            lambda items, error: self.ended.append((items, str(error))),
            loop=asyncio.get_running_loop(),
            batch_items=64,
            batch_octets=1 << 20,
            begin=self._begin,
        )

    def _begin(self, items: list[int], ended: Ended[str]) -> bool:
        if -1 in items:
            raise ValueError("not begun")
        if any(item % 3 == 0 for item in items):
            return False
        self.taken.append((items, ended))
        return True

    def _work(self, items: list[int]) -> str:
        self.threads.append(threading.current_thread().name)
        return "worked"

    async def put(self, *numbers: int) -> None:
        for number in numbers:
            self.stage.put(number, 1)
        await self.turns()

    async def turns(self) -> None:
        """Let the event loop go round some times."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.ended) < count:
                await asyncio.sleep(0.001)


async def test_while_somebody_else_works_on_a_batch_the_next_one_grows() -> None:
    taking = Taking()
    await taking.put(1)
    await taking.put(2)
    await taking.put(4, 5)
    assert [items for items, _ in taking.taken] == [[1]]
    taking.taken[0][1]("written", 1.0)
    await taking.turns()
    assert [items for items, _ in taking.taken] == [[1], [2, 4, 5]]
    taking.taken[1][1](OSError("broken"), 1.0)
    assert taking.ended == [([1], "written"), ([2, 4, 5], "broken")]
    taking.stage.close()


async def test_a_batch_that_is_not_taken_on_goes_to_the_thread_and_the_one_behind_it_is_offered_again() -> None:
    taking = Taking()
    await taking.put(3)
    await taking.put(7, 8)
    await taking.until(1)
    await taking.turns()
    assert taking.threads == ["test"]
    assert [items for items, _ in taking.taken] == [[7, 8]]
    taking.taken[0][1]("written", 1.0)
    await taking.put(6)
    await taking.until(3)
    assert taking.ended == [([3], "worked"), ([7, 8], "written"), ([6], "worked")]
    taking.stage.close()


async def test_a_batch_that_cannot_be_begun_fails_and_the_stage_goes_on() -> None:
    taking = Taking()
    await taking.put(-1)
    await taking.put(1)
    await taking.until(1)
    await taking.turns()
    assert taking.ended == [([-1], "not begun")]
    assert [items for items, _ in taking.taken] == [[1]]
    taking.taken[0][1]("written", 1.0)
    taking.stage.close()


async def test_the_thread_ends_when_a_stage_is_closed_whose_batches_are_taken_on() -> None:
    before = set(threading.enumerate())
    taking = Taking()
    (thread,) = set(threading.enumerate()) - before
    await taking.put(1)
    taking.stage.close()
    assert thread.is_alive()
    taking.taken[0][1]("written", 1.0)
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
