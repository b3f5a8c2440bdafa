"""F-08: the n-th call of each kind fails, for every n of a run of three messages, in each process that writes; errors take turns.

As SQLite tests itself: n = 1, 2, 3 … until a run makes fewer calls than n. In the receiver a fault means 4xx and no 250, or nothing that the
client would notice; in `deliver` and `keep` it means later. The next message is taken in any case, what was acknowledged arrives, and what
was refused does not.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.faults import Action, Call, Faults
from tests.chaos.figures import Figure
from tests.chaos.house import HELD, HERE, ONE, TWO, deaths, house, tracebacks, with_faults
from tests.chaos.ledger import Ledger, is_quiet, settle, settle_account
from tests.end_to_end.running import Gateway

PATIENCE = 10.0  # seconds for the calls of a run to be made
MOST = 400  # calls of one kind in a run; more of them is a run that does not end
SMALL, LARGE = 2_000, 1_500_000  # the large one has its content in a file of its own
KINDS: Sequence[tuple[Call, Sequence[int]]] = (
    (Call.OPEN, (errno.EMFILE, errno.ENOSPC)),
    (Call.WRITE, (errno.ENOSPC, errno.EIO)),
    (Call.FSYNC, (errno.EIO,)),
    (Call.FDATASYNC, (errno.EIO, errno.ENOSPC)),
    (Call.RENAME, (errno.EIO,)),
    (Call.TRUNCATE, (errno.EIO,)),
    (Call.UNLINK, (errno.EIO,)),
)
EVERY = tuple((kind, (error,)) for kind, errors in KINDS for error in errors)  # each error with every n
CALLS = {"receive": "receive-0", "deliver": "deliver", "keep": "keep"}


@dataclass
class Runs:
    """What came of the runs with one process."""

    runs: int = 0
    hit: int = 0
    replies: Tally[str] = field(default_factory=Tally)
    refused_after: int = 0  # messages offered after a fault, and not taken


async def failing_calls(folder: Path, process: str, *, step: int = 1, kinds: Sequence[tuple[Call, Sequence[int]]] = KINDS) -> list[Figure]:
    """All n (every `step`th of them) for one process: a key of CALLS."""
    gateway = house(folder)
    ledger, runs = Ledger(), Runs()
    with with_faults(gateway) as faults:
        await ledger.offer(gateway.port, [HERE])
        for kind, errors in kinds:
            for nth in range(1, MOST, step):
                faults.arm(CALLS[process], kind, Action.FAIL, path=str(gateway.state), error=errors[nth // step % len(errors)], nth=nth)
                await _run(gateway, faults, ledger, runs, process)
                if not faults.hit:
                    break
            faults.disarm()
            if not (await ledger.offer(gateway.port, [HERE])).startswith("250"):
                runs.refused_after += 1
        is_settled = await settle(gateway)
        died, untold = deaths(gateway), tracebacks(gateway)
    account = settle_account(gateway, ledger)
    done = f"{runs.hit} of {runs.runs} runs of 3 messages hit; replies " + ", ".join(
        f"{n} × {code}" for code, n in sorted(runs.replies.items())
    )
    figure = f"{account}; {runs.refused_after} refused after it; {died} processes died, {untold} tracebacks"
    is_met = account.is_good and is_settled and not account.queued and not runs.refused_after and not died and not untold
    return [
        Figure(f"F-08 n-th call fails in {process}", done, figure, "0 of each; 4xx where no 250", is_met and set(runs.replies) <= _ALLOWED)
    ]


_ALLOWED = {"250", "451", "452", "421"}


async def _run(gateway: Gateway, faults: Faults, ledger: Ledger, runs: Runs, process: str) -> None:
    runs.runs += 1
    before = time.monotonic()
    for recipients, size in (([HERE, ONE, TWO], SMALL), ([HERE], LARGE), ([HELD], SMALL)):
        reply = await ledger.offer(gateway.port, recipients, size=size)
        runs.replies[reply[:3] or "none"] += 1
    if process != "receive":  # they work when they have time, and wait a while after a fault
        while not faults.hit and time.monotonic() - before < PATIENCE and not is_quiet(gateway):
            await asyncio.sleep(0.05)
    runs.hit += faults.hit
