"""What a listener of a worker asks about connections and commands: host access, the mail flow policy, recipient access, the worker's route.

    connection → sender group → mail flow policy → greeting or refusal → limits of that policy at MAIL and RCPT → the route

What was found stands in the connection's `context` as a `Visit`, and goes into tracking and log lines with every message of it. Nobody is
told the group or the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from esa.gateway import events
from esa.gateway.bounces.verification import Verification
from esa.gateway.directory.groups import GroupFacts
from esa.gateway.directory.sources import Directory
from esa.gateway.events import Event as Log
from esa.gateway.events import FieldValue
from esa.gateway.judging import HEAD_LIMIT
from esa.gateway.metrics import Counter
from esa.gateway.origin import find_origin
from esa.gateway.rates import NodeRates, SenderCounts
from esa.gateway.receive import Route
from esa.gateway.receiver import Answer, Lines, Receiver, Transaction
from esa.gateway.recipients import Recipients
from esa.gateway.sender_facts import SenderFacts
from esa.gateway.visit import Visit, fields_of, visit_of
from esa.message.reply import Reply
from esa.policy.host_access import HostAccess, Match, Needs, Sender
from esa.policy.incoming_relay import IncomingRelay, IncomingRelays
from esa.policy.mail_flow import AccessRule, Demand, MailFlowPolicy, PipelineRule, names_path
from esa.policy.recipient_access import RecipientAccess
from esa.policy.senders import IpAddress, read_address
from esa_core._header_lines import header_end

if TYPE_CHECKING:
    from esa.gateway.protocol import Connection

NEEDS_TLS = Reply(530, "5.7.0", "Mail from this address is taken inside TLS only")
SPOKE_TOO_EARLY = Reply(554, "5.5.0", "You sent on without waiting for the reply")
NO_SPACE = Reply(452, "4.3.1", "insufficient system storage, try again later")
TOO_MANY_MESSAGES = Reply(421, "4.7.0", "Too many messages in one session, connect again")
EARLY_LOOK = 0.25  # seconds between looks for a client that speaks before the greeting
FOUND_SECONDS = 1.0  # that a client is known after it was looked for, where nobody was asked: so old may a history be anyway
FOUND_CLIENTS = 4_096  # of them


class KnowsGroups(Protocol):
    """Who is in which group of a directory; esa.gateway.directory.groups.Groups says it."""

    async def find(self, addresses: Iterable[str]) -> GroupFacts: ...


class _Found(NamedTuple):
    """What a client's address says."""

    sender: Sender | None  # None: it is no IP address
    match: Match
    told: Mapping[str, FieldValue]
    relay: IncomingRelay | None
    until: float  # time.monotonic(): then it is looked for anew


class ListenerReceiver(Receiver):
    """What one listener of a worker calls."""

    def __init__(
        self,
        route: Route,
        access: RecipientAccess,
        hosts: HostAccess | None = None,
        facts: SenderFacts | None = None,
        rates: NodeRates | None = None,
        relays: IncomingRelays | None = None,
        directory: Directory | None = None,
        groups: KnowsGroups | None = None,
        verification: Verification | None = None,
    ) -> None:
        """None of `hosts` treats every client alike, of `facts` finds nothing out, of `rates` counts nothing, of `relays` knows none.

        Without `directory` every recipient of an accepted domain is taken. `groups`: None where no rule asks for any. `verification`: None where
        addresses have no tags.
        """
        self._route, self._rates, self._verification = route, rates, verification
        self._recipients = Recipients(route, access, directory, verification)
        self._hosts = hosts or HostAccess(())
        self._facts = facts
        self._relays = relays or IncomingRelays()
        self._groups = groups
        self._reading: set[asyncio.Task[None]] = set()
        self._clients: dict[str, _Found] = {}

    # --- connections

    def greet(self, connection: Connection) -> Answer:
        row = self._route.row
        row.add(Counter.CONNECTIONS)
        row.add(Counter.CONNECTIONS_OPEN)
        client, now = connection.client_address, time.monotonic()
        found = self._clients.get(client)
        if found is not None and now < found.until:
            return self._greet_in_time(connection, found)
        address = read_address(client)
        needs = self._hosts.needs(address) | self._route.decider.needs
        facts = self._facts
        if address is None or not needs or facts is None:
            return self._greet_in_time(connection, self._remember(client, None if address is None else Sender(address), now))
        sender = facts.known(address, needs)
        if sender is None:
            return asyncio.ensure_future(self._find_out(connection, address, needs, facts))
        if facts.asks(needs):
            return self._greet_in_time(connection, self._found(sender))
        return self._greet_in_time(connection, self._remember(client, sender, now))

    def _found(self, sender: Sender | None, until: float = 0.0) -> _Found:
        match = self._hosts.match(sender)
        relay = self._relays.find(sender.address) if sender is not None else None
        return _Found(sender, match, fields_of(match, sender), relay, until)

    def _remember(self, client: str, sender: Sender | None, now: float) -> _Found:
        if len(self._clients) >= FOUND_CLIENTS:
            self._clients.clear()
        found = self._clients[client] = self._found(sender, now + FOUND_SECONDS)
        return found

    async def _find_out(self, connection: Connection, address: IpAddress, needs: Needs, facts: SenderFacts) -> Lines | None:
        answer = self._greet_in_time(connection, self._found(await facts.find(address, needs)))
        return await answer if isinstance(answer, asyncio.Future) else answer

    def _greet_in_time(self, connection: Connection, found: _Found) -> Answer:
        answer = self._admit(connection, found)
        policy = found.match.policy
        if not policy.greeting_delay or not policy.is_open or (answer is not None and not answer.is_positive):
            return answer
        visit = visit_of(connection)
        assert visit is not None
        return asyncio.ensure_future(self._wait(connection, visit, answer))

    async def _wait(self, connection: Connection, visit: Visit, greeting: Reply | None) -> Lines | None:
        """A mail server waits for the greeting; a program that only sends does not (Postfix's postscreen looks for the same)."""
        deadline = asyncio.get_running_loop().time() + visit.policy.greeting_delay
        while not connection.has_unread and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, EARLY_LOOK))
        if not connection.has_unread:
            return greeting
        self._tell_refused(connection, "554", reason="early_talker")
        return Reply(554, "5.5.1", "You spoke before the greeting")

    def _admit(self, connection: Connection, found: _Found) -> Reply | None:
        """Put the connection into its group, and greet it as the policy says."""
        sender, match, told, relay, _ = found
        policy = match.policy
        visit = connection.context = Visit(match, sender, told, relay)
        self._route.journal.opened(connection)
        if policy.access is AccessRule.TCPREFUSE:
            self._tell_refused(connection, "reset")
            connection.reset()
            return None
        hostname = policy.banner_hostname or connection.server.hostname
        if policy.access is AccessRule.REJECT:
            refusal = Reply(policy.reject_banner_code, None, f"{hostname} {policy.reject_banner_text}")
            self._tell_refused(connection, str(policy.reject_banner_code))
            return refusal
        if self._rates is not None and sender is not None:
            visit.counts = SenderCounts(self._rates, policy, sender.address)
            over = visit.counts.enter()
            if over is not None:
                self._tell_refused(connection, "421", reason=over)
                return Reply(421, "4.7.0", f"{hostname} Too many connections from your network")
        _demand(connection, policy)
        if policy.max_message_size < connection.message_size or not connection.message_size:
            connection.message_size = policy.max_message_size
        if policy.banner_text or policy.banner_hostname:
            return Reply(220, None, f"{hostname} {policy.banner_text or 'ESMTP esa'}")
        return None

    def _tell_refused(self, connection: Connection, reply: str, reason: str | None = None) -> None:
        self._route.row.add(Counter.CONNECTIONS_REFUSED)
        self._route.journal.refused(connection, reply, reason)

    def early(self, connection: Connection, command: str) -> Reply | None:
        """Programs that only send do this; a mail server waits, for it cannot know what the reply will be."""
        visit = visit_of(connection)
        refuses = visit is not None and visit.policy.pipelining_violation is PipelineRule.REFUSE
        self._route.row.add(Counter.PIPELINING_VIOLATIONS)
        events.info(
            Log.PIPELINING_VIOLATION,
            client=connection.client_address,
            listener=connection.listener,
            command=command,
            reply="554" if refuses else None,
            **(visit.fields() if visit else {}),
        )
        return SPOKE_TOO_EARLY if refuses else None

    def secured(self, connection: Connection) -> None:
        self._route.row.add(Counter.TLS_SESSIONS)
        self._route.journal.secured(connection)

    def authenticated(self, connection: Connection) -> None:
        self._route.journal.authenticated(connection)

    def closed(self, connection: Connection) -> None:
        self._route.row.add(Counter.CONNECTIONS_OPEN, -1)
        self._route.journal.closed(connection)
        visit = visit_of(connection)
        if visit is not None and visit.counts is not None:
            visit.counts.leave()

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
            if names_path(visit.policy.tls_mandatory_for, transaction.reverse_path) and transaction.connection.tls is None:
                return NEEDS_TLS
        if not self._route.has_room(transaction.declared_size):
            return NO_SPACE
        self._route.journal.started(transaction)
        return None

    def recipient(self, transaction: Transaction, forward_path: str, parameters: Sequence[str]) -> Answer:
        return self._recipients.answer(transaction, forward_path)

    def message(self, transaction: Transaction) -> None:
        visit = visit_of(transaction.connection)
        is_marked = self._verification is not None and self._untag(transaction, visit, self._verification)
        self._route.journal.recipients(transaction)
        relay = None if visit is None else visit.relay
        if relay is None and self._groups is None and not is_marked:
            self._route.take(transaction)
            return
        task = asyncio.get_running_loop().create_task(self._take_known(transaction, relay, is_marked=is_marked))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    def _untag(self, transaction: Transaction, visit: Visit | None, verification: Verification) -> bool:
        """Take tags off the recipients; returns whether the message gets a field that says what it is."""
        policy = visit.policy if visit is not None else None
        is_ours = bool(transaction.connection.user) or (policy is not None and policy.access is AccessRule.RELAY)
        accepts_untagged = policy is not None and policy.accept_untagged_bounces
        return verification.settle(transaction, is_ours=is_ours, accepts_untagged=accepts_untagged)

    async def _take_known(self, transaction: Transaction, relay: IncomingRelay | None, *, is_marked: bool) -> None:
        """Find out what has to be asked for, then go on."""
        if is_marked and self._verification is not None:
            try:
                await asyncio.to_thread(self._verification.mark, transaction)
            except OSError as error:
                events.error(Log.SCAN_FAILED, cause=error, consequence="a bounce of other mail has no mark")
        if relay is not None:
            try:
                transaction.origin = await find_origin(transaction, relay, self._hosts, self._facts, self._route.decider.needs)
                self._route.journal.relayed(transaction, transaction.origin)
            except Exception as error:  # the relay is then taken for the client
                events.error(Log.RELAY_FAILED, cause=error, relay=relay.name)
        if self._groups is not None:
            transaction.groups = await self._find_groups(transaction, self._groups)
        self._route.take(transaction)

    async def _find_groups(self, transaction: Transaction, groups: KnowsGroups) -> GroupFacts:
        try:
            header = await asyncio.to_thread(_header_of, transaction.content_path) if transaction.content_path else transaction.content
            addresses = self._route.decider.addresses(transaction.reverse_path, transaction.recipients, header[: header_end(header)])
            return await groups.find(addresses)
        except Exception as error:
            events.error(Log.GROUPS_FAILED, cause=error)
            return GroupFacts({}, is_unsure=True)

    def aborted(self, transaction: Transaction) -> None:
        self._route.journal.aborted(transaction)
        self._route.note_aborted(transaction)


def _header_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_LIMIT)


def _demand(connection: Connection, policy: MailFlowPolicy) -> None:
    """What the policy asks for in place of the listener."""
    if policy.tls is not Demand.LISTENER:
        connection.needs_tls = policy.tls is Demand.REQUIRED
    if policy.auth is not Demand.LISTENER:
        connection.needs_authentication = policy.auth is Demand.REQUIRED
    if Demand.OFF in (policy.tls, policy.auth):
        connection.withhold(tls=policy.tls is Demand.OFF, authentication=policy.auth is Demand.OFF)
