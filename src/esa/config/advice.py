"""What is odd about a configuration that can be served; `esa config check` prints it. Nothing here keeps anybody from serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from esa.config.schema import Configuration
from esa.config.sender_groups import SHIPPED_GROUPS, groups_of
from esa.policy.host_access_audit import Finding, audit
from esa.policy.senders import NoReputation, ReputationRange


def advise(configuration: Configuration, base: Path = Path()) -> list[Finding]:
    """All findings, in order; none for the groups that are shipped. `base` is the folder that names of files start from."""
    return list(dict.fromkeys(_findings(configuration, base)))


def _findings(configuration: Configuration, base: Path) -> Iterator[Finding]:
    if configuration.sender_group == SHIPPED_GROUPS:
        return
    for listener in configuration.listener:
        groups = groups_of(configuration.sender_group, configuration.mail_flow_policy, listener=listener.name, base=base)
        yield from audit(groups)
        asking = [group for group in groups if any(isinstance(entry, ReputationRange | NoReputation) for entry in group.senders)]
        if asking and not any(one.weight for one in configuration.dns_list):
            what = "groups ask for a reputation, and nothing gives one: every sender is none"
            yield Finding("", what, "name DNS lists with their weights, as [[dns_list]]")
