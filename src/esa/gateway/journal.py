"""What is told of the steps of a session: its connection, TLS, users, messages and recipients; and the numbers that it is told under.

One for each worker, kept by the route; `reception` calls it. Steps go to the log where they are asked for; the end of a connection without
mail always does, so that it leaves its trace too. Refused connections are gathered for tracking: many are alike, and they come in floods.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.events import FieldValue
from esa.gateway.visit import visit_of
from esa.policy.disposition import Plan
from esa.store.numbers import Kind, Numbers
from esa.store.record import Event, EventName

if TYPE_CHECKING:
    from esa.gateway.origin import Origin
    from esa.gateway.protocol import Connection
    from esa.gateway.receiver import Transaction

GATHER_SECONDS = 10.0  # refused connections that are alike are told together for so long
FATES_A_LINE = 20  # recipients named in a log line; more of them make further lines
_REFUSALS = (b"4", b"5")  # first digit of a reply
GATHER_KINDS = 1_000  # of them; what is past that is told without its client


def fates(plan: Plan, recipients: Sequence[str], *, otherwise: str) -> list[dict[str, FieldValue]]:
    """What becomes of each recipient, as fields of log lines: the action (`otherwise` without splinters), and for whom. At least one."""
    groups: list[tuple[str, Sequence[str]]] = [(str(splinter.action), splinter.recipients) for splinter in plan.splinters] or [
        (otherwise, recipients)
    ]
    if len(groups) == 1 and len(groups[0][1]) <= FATES_A_LINE:  # most mail
        action, whom = groups[0]
        return [{action: f"<{'> <'.join(whom)}>"}] if whom else [{}]
    pairs = [(action, f"<{recipient}>") for action, whom in groups for recipient in whom]
    lines: list[dict[str, FieldValue]] = []
    for start in range(0, len(pairs) or 1, FATES_A_LINE):
        named: dict[str, FieldValue] = {}
        for action, recipient in pairs[start : start + FATES_A_LINE]:
            named[action] = f"{named[action]} {recipient}" if action in named else recipient
        lines.append(named)
    return lines


class Journal:
    """`note` hands events of no message to tracking."""

    def __init__(self, loop: asyncio.AbstractEventLoop, numbers: Numbers | None, note: Callable[[list[Event]], None]) -> None:
        self._loop, self._numbers, self._note = loop, numbers, note
        self._refused: dict[tuple[tuple[str, FieldValue], ...], tuple[float, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # --- connections

    def opened(self, connection: Connection) -> None:
        """The sender group of a connection is known."""
        if self._numbers is not None:
            connection.number = self._numbers.next(Kind.CONNECTION)
        visit = visit_of(connection)
        if visit is not None and events.tells_steps():
            events.step(
                Log.CONNECTION_OPENED,
                icid=connection.number,
                client=connection.client_address,
                port=connection.client_port,
                listener=connection.listener,
                local=connection.local_address,
                access=str(visit.policy.access),
                **visit.fields(),
            )

    def refused(self, connection: Connection, reply: str, reason: str | None) -> None:
        visit = visit_of(connection)
        fields: dict[str, FieldValue] = {
            "client": connection.client_address,
            "listener": connection.listener,
            "reply": reply,
            "reason": reason,
            **(visit.fields() if visit else {}),
        }
        events.info(Log.CONNECTION_REFUSED, **fields, icid=connection.number or None)
        if visit is not None:
            visit.is_refused = True
        if len(self._refused) >= GATHER_KINDS:
            del fields["client"]
            fields.pop("names", None)
        key = tuple((name, value) for name, value in fields.items() if value is not None)
        first, count = self._refused.get(key, (time.time(), 0))
        self._refused[key] = first, count + 1
        if self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand what was gathered to tracking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._refused = self._refused, {}
        if gathered:
            self._note([Event(EventName.CONNECTION_REFUSED, at, {**dict(key), "count": count}) for key, (at, count) in gathered.items()])

    def secured(self, connection: Connection) -> None:
        tls = connection.tls
        if tls is not None:
            events.step(Log.TLS_AGREED, icid=connection.number, tls=tls.version, cipher=tls.cipher, tls_client=tls.client or None)

    def authenticated(self, connection: Connection) -> None:
        events.step(Log.AUTHENTICATION_PROVEN, icid=connection.number, user=connection.user, mechanism=connection.mechanism)

    def closed(self, connection: Connection) -> None:
        """Its mail, or its refusal, has told of a connection what matters; one that had neither, or was sent away, has a line of its own."""
        visit, tls = visit_of(connection), connection.tls
        sent_away = connection.farewell.decode("ascii", "replace").strip() if connection.farewell[:1] in _REFUSALS else None
        is_told = visit is not None and (visit.is_refused or (visit.messages > 0 and sent_away is None))
        if is_told and not events.tells_steps():
            return
        (events.step if is_told else events.info)(
            Log.CONNECTION_CLOSED,
            client=connection.client_address,
            listener=connection.listener,
            tls=tls.version if tls else None,
            cipher=tls.cipher if tls else None,
            user=connection.user or None,
            messages=visit.messages if visit else None,
            recipients_refused=visit.refused if visit and visit.refused else None,
            lost="yes" if connection.was_lost else None,
            sent_away=sent_away,
            seconds=round(time.time() - connection.connected_at, 1),
            **(visit.fields() if visit else {}),
            icid=connection.number or None,
        )

    # --- messages

    def started(self, transaction: Transaction) -> None:
        """MAIL is accepted."""
        if self._numbers is not None:
            transaction.number = self._numbers.next(Kind.MESSAGE)
        if events.tells_steps():
            reverse_path = f"<{transaction.reverse_path}>"
            events.step(Log.MESSAGE_STARTED, icid=transaction.connection.number, mid=transaction.number, reverse_path=reverse_path)

    def recipients(self, transaction: Transaction) -> None:
        """No more recipients come."""
        if events.tells_steps():
            icid, mid = transaction.connection.number, transaction.number
            for number, forward_path in enumerate(transaction.recipients):
                events.step(Log.RECIPIENT_ACCEPTED, icid=icid, mid=mid, rid=number, recipient=f"<{forward_path}>")

    def relayed(self, transaction: Transaction, origin: Origin) -> None:
        """The client of an incoming relay has been looked for."""
        icid, mid = transaction.connection.number, transaction.number
        events.step(Log.RELAY_READ, icid=icid, mid=mid, header=origin.header, **origin.fields())

    def read(self, transaction: Transaction, subject: str, message_id: str) -> None:
        """The mail data has been read."""
        events.step(
            Log.MESSAGE_READ,
            icid=transaction.connection.number,
            mid=transaction.number,
            message_id=message_id or None,
            subject=subject or None,
            size=transaction.size,
            reverse_path=f"<{transaction.reverse_path}>",
        )

    def aborted(self, transaction: Transaction) -> None:
        """The transaction ended without its mail."""
        self.recipients(transaction)
        events.step(Log.MESSAGE_ABORTED, icid=transaction.connection.number, mid=transaction.number, recipients=len(transaction.recipients))
