"""From a configuration to what decides about mail: host access, recipient access, relays, reputation, mail policies, filters.

Receiving processes assemble it, and rehearsals, which decide alike without a socket. Nothing is opened here but files that a configuration names;
who asks name servers and directories is passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esa.config.advice import ANTI_SPAM_OFF
from esa.config.bounces import exceptions_of
from esa.config.policies import policies_of
from esa.config.recipient_access import entries_of
from esa.config.relays import relays_of
from esa.config.reputation import dns_zones_of, learning_of
from esa.config.schema import Configuration, Listener
from esa.config.sender_groups import groups_of
from esa.engine.resolver import Resolver
from esa.engine.scanner import Scanner
from esa.gateway import events
from esa.gateway.bounces.verification import Verification
from esa.gateway.deciding import Decider
from esa.gateway.directory.sources import Directory
from esa.gateway.events import Event as Log
from esa.gateway.limits import Limits
from esa.gateway.metrics import Row
from esa.gateway.rates import NodeRates
from esa.gateway.reception import KnowsGroups, ListenerReceiver
from esa.gateway.sender_facts import SenderFacts
from esa.policy.content_filter import Rules
from esa.policy.filters.ledger import Ledgers
from esa.policy.host_access import HostAccess, Needs
from esa.policy.incoming_relay import IncomingRelays
from esa.policy.recipient_access import RecipientAccess
from esa.policy.reputation import Histories, Reputation
from esa.store.bounce_keys import Keys

if TYPE_CHECKING:
    from esa.gateway.dns import Dns
    from esa.gateway.receive import Route
NOTHING_NEEDED = Needs()


@dataclass(frozen=True, slots=True)
class Assembly:
    """All that decides. `hosts` and `access`: by name of a listener."""

    configuration: Configuration
    decider: Decider
    hosts: Mapping[str, HostAccess]
    access: Mapping[str, RecipientAccess]
    relays: IncomingRelays
    reputation: Reputation
    verification: Verification | None = None

    def sender_facts(self, resolver: Resolver | None, row: Row | None = None, now: Callable[[], float] = time.time) -> SenderFacts:
        """What finds out about connecting hosts; `resolver` None asks nobody. `now`: Unix seconds, that histories fade by."""
        dns = self.configuration.dns
        return SenderFacts(resolver, self.reputation, timeout=dns.timeout, budget=dns.budget, row=row, now=now)

    def receiver(
        self,
        listener: str,
        route: Route,
        facts: SenderFacts,
        *,
        rates: NodeRates | None = None,
        directory: Directory | None = None,
        groups: KnowsGroups | None = None,
    ) -> ListenerReceiver:
        """What a listener asks."""
        return ListenerReceiver(
            route,
            self.access[listener],
            self.hosts[listener],
            facts,
            rates,
            self.relays,
            directory=directory,
            groups=groups,
            verification=self.verification,
        )


def assemble(
    configuration: Configuration,
    scanner: Scanner,
    rules: Rules | None,
    histories: Histories | None,
    in_work: Callable[[], int] | None = None,
    ledgers: Ledgers | None = None,
) -> Assembly:
    """Open it. `scanner` hears for these `rules`. `histories`: what was learned of senders. `in_work`: messages that the node works on now.
    `ledgers` take down what deciding costs.

    Raises ConfigurationError for files.
    """
    policies = policies_of(configuration.mail_policy, anti_spam=configuration.scan.anti_spam)
    names = [listener.name for listener in configuration.listener]
    return Assembly(
        configuration,
        Decider(
            policies,
            rules,
            lookup=scanner.lookup,
            hostname=configuration.gateway.hostname,
            interfaces={listener.name: listener.interface or listener.name for listener in configuration.listener},
            queue_length=in_work,
            ledgers=ledgers,
        ),
        {name: HostAccess(groups_of(configuration.sender_group, configuration.mail_flow_policy, listener=name)) for name in names},
        {listener.name: make_recipient_access(configuration, listener) for listener in configuration.listener},
        IncomingRelays(relays_of(configuration.incoming_relay)),
        make_reputation(configuration, histories),
        make_verification(configuration),
    )


def make_verification(configuration: Configuration) -> Verification | None:
    """What looks at recipients of bounces; None where return paths are neither tagged nor asked for a tag."""
    given = configuration.bounce_verification
    if not (given.enabled or any(one.bounce_verification for one in configuration.destination)):
        return None
    rejects = given.enabled and given.action == "reject"
    marks = given.enabled and given.action == "header"
    return Verification(make_keys(configuration), exceptions_of(given), refuses=rejects, header=given.header if marks else "")


def make_keys(configuration: Configuration) -> Keys:
    """The keys that tag return paths."""
    path = configuration.state / configuration.bounce_verification.keys
    return Keys(
        path, failed=lambda fault: events.error(Log.BOUNCE_KEYS_FAILED, reason=str(fault), consequence="the keys known before hold")
    )


def make_recipient_access(configuration: Configuration, listener: Listener) -> RecipientAccess:
    """For whom a listener accepts mail."""
    return RecipientAccess(entries_of(configuration.recipient_access, listener.accept_domains, listener=listener.name))


def make_resolver(
    configuration: Configuration, hosts: Iterable[HostAccess], reputation: Reputation, needs: Needs = NOTHING_NEEDED
) -> Dns | None:
    """A resolver if any sender group, or a filter (`needs`), asks for names, DNS lists or a reputation that is made of DNS lists, else None."""
    asks = bool((configuration.incoming_relay or needs.reputation) and reputation.zones) or needs.reverse or bool(needs.zones)
    asks = asks or any(table.asks_names or table.zones or (table.asks_reputation and reputation.zones) for table in hosts)
    if not asks:
        return None
    from esa.gateway.dns import Dns

    return Dns(configuration.dns.servers, timeout=configuration.dns.timeout)


def make_reputation(configuration: Configuration, histories: Histories | None) -> Reputation:
    """What gives scores to connecting hosts."""
    return Reputation(
        dns_zones_of(configuration.dns_list),
        histories if configuration.reputation.learn else None,
        learning=learning_of(configuration.reputation),
        off="" if configuration.scan.anti_spam else ANTI_SPAM_OFF,
    )


def make_limits(configuration: Configuration, listener: Listener) -> Limits:
    """Limits of one listener in one process; the memory of the process is shared out among its listeners."""
    return Limits(
        message_size=listener.max_message_size,
        recipients=listener.max_recipients,
        errors=listener.max_errors,
        command_timeout=listener.command_timeout,
        data_timeout=listener.data_timeout,
        session_timeout=listener.session_timeout,
        connections=listener.max_connections,
        memory=configuration.limits.memory // len(configuration.listener),
    )
