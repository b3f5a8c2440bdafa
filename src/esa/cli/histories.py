"""What the commands on reputation share: the histories of a state folder, how they are weighed, and what a word of the command line names."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esa.cli.state import find_state

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.history import History, Learning, Subject


def all_histories(state: Path | None, config_file: Path | None) -> tuple[Configuration, dict[Subject, History]]:
    """The configuration and all that was learned. Raises StoreError, ConfigurationError."""
    from esa.config.load import load
    from esa.store.reputation import ReputationView

    folder = find_state(state, config_file)
    view = ReputationView.open(folder)
    try:
        return load(config_file), {} if view is None else view.all()
    finally:
        if view is not None:
            view.close()


def learning_in(configuration: Configuration) -> Learning:
    """How histories are weighed."""
    from esa.config.reputation import learning_of

    return learning_of(configuration.reputation)


def subjects_named(text: str) -> list[Subject]:
    """All histories that a word of the command line may name. Raises click.BadParameter for what can be none."""
    from esa.policy.history import Kind, Subject, subjects_of
    from esa.policy.senders import read_address

    address = read_address(text)
    if address is not None:
        own = subjects_of(address)[0].name
        return [Subject(kind, own) for kind in (Kind.ADDRESS, Kind.IMPORTED)]
    if "/" in text:
        try:
            network = str(ipaddress.ip_network(text))
        except ValueError:
            raise click.BadParameter(f"{text!r} is no network, as 192.0.2.0/24 or 2001:db8::/64", param_hint="SUBJECT") from None
        return [Subject(kind, network) for kind in (Kind.ADDRESS, Kind.NETWORK, Kind.IMPORTED)]
    name = text.rstrip(".").lower()
    return [Subject(kind, name) for kind in (Kind.HELO, Kind.DOMAIN, Kind.SIGNER)]
