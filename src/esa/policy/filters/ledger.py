"""The cost ledger: what deciding costs on the mail that comes, by stage, filter and condition, and how often each filter fires.

Whoever decides about messages calls `begin` for each, `finish` where that says so, and gives the tally of a plan to its `run`. Hits are counted in every
message. One message in `every` is timed, chosen by chance, so that the ledger costs a hundredth of what it measures: by turns its filters and stages, and
its conditions, for timing these makes their filter dearer. The processor time of the thread, which is slow to ask for, is asked around the whole message;
a faster clock divides it. What reading clocks takes is measured as well, and taken off. Of one thread.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from esa.policy.filters.compile import Branch, Compiled, Deed
from esa.policy.filters.costs import CHOOSING, ConditionCost, Costs, FilterCost

if TYPE_CHECKING:
    from esa.policy.filters.words import Rule
    from esa.policy.outcome import Step
    from esa.policy.view import View

EVERY = 64  # messages of which one is timed: reading the clock around each filter costs about what a filter costs
READINGS = 255  # of which the median is what reading a clock takes
ASKED = 16  # timed messages in one of which the processor's clock is read once more, to know what that takes
MOST_SETS = 4_096  # sets of actions that are counted as such: most messages cause one of a few
UNTIMED, FILTERS, CONDITIONS = range(3)  # what is timed of a message

Spent = list[float]  # how often, and nanoseconds
Clock = Callable[[], int]


class Ledger:
    """`clock` gives nanoseconds, fast; `processor` those that this thread has had of its processor."""

    def __init__(
        self, *, every: int = EVERY, clock: Clock = time.perf_counter_ns, processor: Clock = time.thread_time_ns, seed: int = 0
    ) -> None:
        self.read, self._processor = clock, processor
        self.guard = threading.Lock()
        self._every, self._chance = every, random.Random(seed)  # noqa: S311 - which messages are timed is no secret
        self.timing = UNTIMED  # of the message that is decided about
        self.messages = 0
        self._timed = [0, 0, 0]  # messages, by what was timed
        self._left = 1 + self._chance.randrange(every)  # messages until one is timed
        self._reading: deque[int] = deque(maxlen=READINGS)  # nanoseconds between two readings of the clock beside one another
        self._noting: deque[int] = deque(maxlen=READINGS)  # the same with a note between them
        self._asking: deque[int] = deque(maxlen=READINGS)  # the same of the processor's
        self._sample: dict[int, Spent] = {}
        self._takes: tuple[float, ...] = (0.0, 0.0, 0.0)  # the medians of these three
        self._stages: dict[str, Spent] = {}
        self._tallies: dict[int, Tally] = {}  # by the id of the filters, which the tally keeps
        self._noted: list[tuple[Spent, int]] = []  # of the message: to what so many nanoseconds are added
        self._laps: list[tuple[Spent, int, int]] = []  # the same for stages, with how much was noted meanwhile
        self._began = self._began_processor = self._last = 0

    def begin(self) -> bool:
        """A message is decided about from now on. Whether it is timed, so that `finish` is to be called, and `lap` at the end of each stage."""
        self.messages += 1
        self._left -= 1
        if self._left > 0:
            self.timing = UNTIMED
            return False
        self._left = 1 + self._chance.randrange(2 * self._every - 1)
        self.timing = FILTERS if self._timed[FILTERS] <= self._timed[CONDITIONS] else CONDITIONS
        self._timed[self.timing] += 1
        first, second = self.read(), self.read()
        self.note(self._sample.setdefault(0, [0, 0.0]), second - first)
        third = self.read()
        self._reading.append(second - first)
        self._noting.append(third - second)
        if len(self._asking) < ASKED or self._timed[self.timing] % ASKED == 0:
            first, second = self._processor(), self._processor()
            self._asking.append(second - first)
            self._takes = tuple(map(statistics.median, (self._reading, self._noting, self._asking)))
        self._noted.clear()
        self._laps.clear()
        self._began_processor = self._processor()
        self._began = self._last = self.read()
        return True

    def lap(self, stage: str) -> None:
        """What was done since `begin` or the last lap was of this stage."""
        now = self.read()
        self._laps.append((self._stages.setdefault(stage, [0, 0.0]), now - self._last, len(self._noted)))
        self._last = now

    def note(self, spent: Spent, nanoseconds: int) -> None:
        """So long it took, by the clock."""
        self._noted.append((spent, nanoseconds))

    def chose(self, nanoseconds: int) -> None:
        """So long it took to find out which filters can fire."""
        self._noted.append((self._stages.setdefault(CHOOSING, [0, 0.0]), nanoseconds))

    def finish(self) -> None:
        """The message is decided about: what its parts took is added up."""
        now, processor = self.read(), self._processor()
        reading, noting, asking = self._takes
        written = (len(self._laps) + len(self._noted)) * noting
        whole = now - self._began - written
        used = processor - self._began_processor - asking - written
        share = max(0.0, used / whole) if whole > 0 else 1.0
        own = noting if self.timing == FILTERS else reading  # that stands between the two readings
        for spent, nanoseconds in self._noted:
            spent[0] += 1
            spent[1] += max(0.0, nanoseconds - own) * share
        before = 0
        for spent, nanoseconds, noted in self._laps if self.timing == FILTERS else ():
            spent[0] += 1
            spent[1] += max(0.0, nanoseconds - (noted - before + 1) * noting) * share
            before = noted
        self.timing = UNTIMED

    def tally(self, stage: str, filters: Sequence[Compiled]) -> Tally:
        """The tally of the filters of a plan, which run in this stage; the same whenever it is asked for."""
        found = self._tallies.get(id(filters))
        if found is None:
            found = self._tallies[id(filters)] = Tally(self, stage, filters)
        return found

    def costs(self) -> Costs:
        """What the ledger says so far; filters that never ran nor acted are left out."""
        filters = Costs.sum(Costs(filters=tuple(tally.costs())) for tally in self._tallies.values()).filters
        return Costs(self.messages, self._timed[FILTERS], {name: nanoseconds for name, (_, nanoseconds) in self._stages.items()}, filters)


class Ledgers:
    """A ledger for each thread that decides about messages: large ones are decided about beside the others. All of them together are the ledger of a process.

    Whoever decides holds the `guard` of its thread's ledger for the message; so `costs` may be asked for on any thread.
    """

    def __init__(self, make: Callable[[], Ledger] = Ledger) -> None:
        self._make = make
        self._by_thread: dict[int, Ledger] = {}

    def here(self) -> Ledger:
        """The ledger of this thread."""
        found = self._by_thread.get(thread := threading.get_ident())
        if found is None:
            found = self._by_thread[thread] = self._make()
        return found

    @property
    def messages(self) -> int:
        return sum(one.messages for one in list(self._by_thread.values()))

    def costs(self) -> Costs:
        """As `Ledger.costs`, of all of them."""
        found = []
        for one in list(self._by_thread.values()):
            with one.guard:
                found.append(one.costs())
        return Costs.sum(found)


class Tally:
    """Counts and times of the filters of one plan, by their place in it."""

    def __init__(self, ledger: Ledger, stage: str, filters: Sequence[Compiled]) -> None:
        self.ledger = ledger
        self._stage, self._filters = stage, filters
        self._by_step = {id(step): number for number, one in enumerate(filters) for step in _steps_of(one.branch)}
        self._sets: dict[tuple[int, ...], list[float]] = {}  # what acted in a message, as ids of steps: messages, and when the last came
        self._hits: dict[int, tuple[int, float]] = {}
        self._spent: dict[int, Spent] = {}  # by filter
        self._asked: dict[int, dict[str, Spent]] = {}  # by filter and condition

    def note(self, trail: Sequence[Step], now: float) -> None:
        """These steps were taken in a message that came at `now`."""
        key = tuple(map(id, trail))
        counted = self._sets.get(key)
        if counted is not None:
            counted[0] += 1
            counted[1] = now
            return
        if len(self._sets) >= MOST_SETS:
            self._gather()
        self._sets[key] = [1, now]

    def _gather(self) -> None:
        for key, (times, last) in self._sets.items():
            for number in {self._by_step[step] for step in key}:
                hits, before = self._hits.get(number, (0, 0.0))
                self._hits[number] = hits + int(times), max(before, last)
        self._sets.clear()

    def spend(self, number: int, nanoseconds: int) -> None:
        """A filter ran, and took so long."""
        self.ledger.note(self._spent.setdefault(number, [0, 0.0]), nanoseconds)

    def evaluate(self, number: int, rule: Rule, view: View) -> bool | None:
        """The answer of a rule of this filter, each of its tests timed: the same as that of `rule.evaluate`."""
        if rule.joined == "":
            began = self.ledger.read()
            found = rule.evaluate(view)
            took = self.ledger.read() - began
            self.ledger.note(self._asked.setdefault(number, {}).setdefault(rule.label, [0, 0.0]), took)
            return found
        if rule.joined == "not":
            found = self.evaluate(number, rule.parts[0], view)
            return None if found is None else not found
        ends = rule.joined == "or"
        answer: bool | None = not ends
        for part in rule.parts:
            found = self.evaluate(number, part, view)
            if found is None:
                answer = None
            elif found is ends:
                return ends
        return answer

    def costs(self) -> Iterable[FilterCost]:
        self._gather()
        for number in sorted({*self._hits, *self._spent, *self._asked}):
            one = self._filters[number]
            hits, last = self._hits.get(number, (0, 0.0))
            times, nanoseconds = self._spent.get(number, (0, 0.0))
            conditions = tuple(ConditionCost(label, int(n), spent) for label, (n, spent) in self._asked.get(number, {}).items())
            yield FilterCost(self._stage, one.name, one.digest, hits, last, int(times), nanoseconds, conditions)


def _steps_of(branch: Branch) -> Iterable[Step]:
    for item in (*branch.then, *branch.otherwise):
        if isinstance(item, Deed):
            yield item.trace
        else:
            yield from _steps_of(item)
