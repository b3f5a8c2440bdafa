"""The queue open for writing, with the lock of the deliver process held; and what may be asked of it.

Used by that process, and by `esa queue` while no service runs. A queue that is lost or damaged is made anew before it is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from esa.errors import StoreError
from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.policy.bounce_profile import RetrySchedule
from esa.store.control import Request
from esa.store.debts import Profiles
from esa.store.entry import FILE_NAME
from esa.store.folder import make_private, take_lock
from esa.store.queue import Queue, Routing
from esa.store.rebuilding import Rebuilt, check_queue, is_lost, rebuild
from esa.store.selection import Selection


def socket_path(state: Path) -> Path:
    return state / "run" / "deliver.sock"


def lock_path(state: Path) -> Path:
    return state / "run" / "deliver.lock"


def is_damage(fault: StoreError) -> bool:
    """Whether it is queue.db that is damaged."""
    return fault.is_damaged and fault.where is not None and Path(fault.where).name == FILE_NAME


class OpenQueue:
    """Open on entry, closed at the end."""

    def __init__(
        self,
        state: Path,
        schedule: RetrySchedule | None = None,
        routing: Routing | None = None,
        profiles: Profiles | None = None,
        *,
        checks: bool = False,
        damage: StoreError | None = None,
    ) -> None:
        """`checks`: have SQLite look through the file first. `damage`: it is known to be damaged.

        Raises StoreError, with `is_in_use` while another process delivers from this state.
        """
        make_private(state / "run")
        self._lock = take_lock(lock_path(state), what="the queue")
        try:
            if damage is None and checks:
                damage = check_queue(state)
            if damage is not None:
                _tell(rebuild(state), damage.what)
            elif is_lost(state):
                _tell(rebuild(state), "queue.db was not there")
            self.queue = Queue(state, schedule, routing, profiles)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Queue:
        return self.queue

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.queue.close()
        os.close(self._lock)


def _tell(made: Rebuilt, reason: str) -> None:
    events.error(
        Log.QUEUE_REBUILT,
        reason=reason,
        waiting=made.waiting,
        failed=made.failed,
        done=made.done,
        rescued=made.rescued,
        unreadable=made.unreadable,
        kept_as=str(made.aside or ""),
        consequence="what was in flight may be delivered twice",
    )


VERBS = ("retry", "hurry", "delete", "bounce", "redirect")


def obey(queue: Queue, request: Request, now: float) -> dict[str, object]:
    """Do what `esa queue` asks: one of VERBS, what `Selection.to_request` gives, and of a redirection `mailhost`. Raises StoreError."""
    selection = Selection.from_request(request)
    match request.get("verb"):
        case "retry":
            count = queue.retry(selection, now)
        case "hurry":  # as retry, but what has failed stays so
            count = queue.retry(selection, now, states=("waiting",))
        case "delete" if not selection.is_everything:
            count = queue.delete(selection, now)
        case "bounce" if not selection.is_everything:
            count = queue.bounce(selection, now)
        case "redirect" if isinstance(mailhost := request.get("mailhost"), str):
            count = queue.redirect(selection, mailhost, now)
        case verb:
            raise StoreError(f"the queue knows no verb {verb!r}, or it needs to be told which entries", mend=" or ".join(VERBS))
    events.info(
        Log.QUEUE_CHANGED,
        verb=str(request["verb"]),
        count=count,
        keys=len(selection.keys) if selection.keys is not None else None,
        destination=selection.destination or None,
        sender=selection.sender or None,
        recipient=selection.recipient or None,
        mailhost=str(request["mailhost"]) if "mailhost" in request else None,
    )
    return {"count": count}
