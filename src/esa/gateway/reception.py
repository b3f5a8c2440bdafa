"""What a listener of a worker asks about connections and commands: host access, the mail flow policy, recipient access, the worker's route.

    connection → sender group → mail flow policy → greeting or refusal → limits of that policy at MAIL and RCPT → the route

What was found stands in the connection's `context` as a `Visit`, and goes into tracking and log lines with every message of it. Nobody is
told the group or the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counter
from esa.gateway.receive import Route
from esa.gateway.receiver import Answer, Receiver, Transaction
from esa.gateway.sender_facts import SenderFacts
from esa.gateway.visit import Visit, visit_of
from esa.message.reply import Reply
from esa.policy.access import RecipientAccess
from esa.policy.host_access import HostAccess, Needs, Sender
from esa.policy.mail_flow import AccessRule, MailFlowPolicy
from esa.policy.senders import IpAddress, read_address
from esa.store.record import Event, EventName

if TYPE_CHECKING:
    from esa.gateway.protocol import Connection

RELAYING_DENIED = Reply(550, "5.7.1", "relaying denied")
NO_SPACE = Reply(452, "4.3.1", "insufficient system storage, try again later")
TOO_MANY_MESSAGES = Reply(421, "4.7.0", "Too many messages in one session, connect again")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")


class ListenerReceiver(Receiver):
    """What one listener of a worker calls."""

    def __init__(self, route: Route, access: RecipientAccess, hosts: HostAccess | None = None, facts: SenderFacts | None = None) -> None:
        """`hosts` None treats every client alike; `facts` None finds nothing out."""
        self._route, self._access = route, access
        self._hosts = hosts or HostAccess(())
        self._facts = facts

    # --- connections

    def greet(self, connection: Connection) -> Answer:
        row = self._route.row
        row.add(Counter.CONNECTIONS)
        row.add(Counter.CONNECTIONS_OPEN)
        address = read_address(connection.client_address)
        needs = self._hosts.needs(address)
        if address is None or not needs:
            return self._admit(connection, None if address is None else Sender(address))
        if self._facts is None:
            return self._admit(connection, Sender(address))
        return asyncio.ensure_future(self._find_out(connection, address, needs, self._facts))

    async def _find_out(self, connection: Connection, address: IpAddress, needs: Needs, facts: SenderFacts) -> Reply | None:
        return self._admit(connection, await facts.find(address, needs))

    def _admit(self, connection: Connection, sender: Sender | None) -> Reply | None:
        """Put the connection into its group, and greet it as the policy says."""
        match = self._hosts.match(sender)
        policy = match.policy
        connection.context = Visit(match, sender)
        if policy.access is AccessRule.TCPREFUSE:
            self._tell_refused(connection, "reset")
            connection.reset()
            return None
        hostname = policy.banner_hostname or connection.server.hostname
        if policy.access is AccessRule.REJECT:
            refusal = Reply(policy.reject_banner_code, None, f"{hostname} {policy.reject_banner_text}")
            self._tell_refused(connection, str(policy.reject_banner_code))
            return refusal
        if policy.max_message_size < connection.message_size or not connection.message_size:
            connection.message_size = policy.max_message_size
        if policy.banner_text or policy.banner_hostname:
            return Reply(220, None, f"{hostname} {policy.banner_text or 'ESMTP esa'}")
        return None

    def _tell_refused(self, connection: Connection, reply: str) -> None:
        self._route.row.add(Counter.CONNECTIONS_REFUSED)
        visit = visit_of(connection)
        events.info(
            Log.CONNECTION_REFUSED,
            client=connection.client_address,
            listener=connection.listener,
            reply=reply,
            **(visit.fields() if visit else {}),
        )

    def closed(self, connection: Connection) -> None:
        self._route.row.add(Counter.CONNECTIONS_OPEN, -1)

    def hello(self, connection: Connection, name: str, capabilities: Sequence[str]) -> Answer:
        """EHLO says the size that this client may send, which the listener's own lines do not know."""
        server = connection.server
        if not connection.extended or connection.message_size == server.limits.message_size:
            return None
        size = f"SIZE {connection.message_size}"
        lines = [size if line.startswith("SIZE") else line for line in capabilities]
        return [Reply(250, None, line) for line in (server.hostname, *lines)]

    # --- transactions

    def mail(self, transaction: Transaction, parameters: Sequence[str]) -> Answer:
        visit = visit_of(transaction.connection)
        if visit is not None:
            if visit.messages >= visit.policy.max_msgs_per_session:
                return TOO_MANY_MESSAGES
            visit.messages += 1
        return None if self._route.has_room(transaction.declared_size) else NO_SPACE

    def recipient(self, transaction: Transaction, forward_path: str, parameters: Sequence[str]) -> Answer:
        visit = visit_of(transaction.connection)
        policy = visit.policy if visit is not None else MailFlowPolicy()
        if len(transaction.recipients) >= policy.max_rcpts_per_msg:
            return TOO_MANY_RECIPIENTS
        if policy.access is AccessRule.RELAY or self._access.accepts(forward_path):
            return None
        self._tell_recipient_refused(transaction, forward_path, RELAYING_DENIED)
        return RELAYING_DENIED

    def _tell_recipient_refused(self, transaction: Transaction, forward_path: str, reply: Reply) -> None:
        self._route.row.add(Counter.RECIPIENTS_REFUSED)
        refusals = transaction.context if isinstance(transaction.context, list) else []
        refusals.append(Event(EventName.RECIPIENT_REFUSED, time.time(), {"recipient": forward_path, "reply": str(reply)}))
        transaction.context = refusals
        session = transaction.session
        events.info(
            Log.RECIPIENT_REFUSED,
            client=session.client_address,
            listener=session.listener,
            reverse_path=f"<{transaction.reverse_path}>",
            recipient=f"<{forward_path}>",
            reply=f"{reply.code}/{reply.enhanced}",
        )

    def message(self, transaction: Transaction) -> None:
        self._route.take(transaction)
