"""Which bounce profile holds for an entry of the queue, as the configuration that a command is given has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from esa.policy.bounce_profile import BounceProfile
    from esa.store.entry import Entry


def profile_finder(state: Path | None, config_file: Path | None) -> Callable[[Entry], BounceProfile | None]:
    """Says the profile of an entry; None where a state folder is named without the configuration that it belongs to, or that is wrong."""
    from esa.config.load import load

    if state is not None and config_file is None:
        return lambda entry: None
    from esa.config.bounces import profiles_of
    from esa.config.destinations import controls_of, routes_of
    from esa.gateway.bounces.profiles import BounceProfiles
    from esa.policy.destination_controls import DestinationControl
    from esa.policy.routing import Router

    try:
        configuration = load(config_file)
    except ConfigurationError:
        return lambda entry: None
    delivery = configuration.delivery
    router = Router(
        routes_of(configuration.smtp_route),
        configuration.default_route,
        controls_of(configuration.destination, delivery.concurrency),
        DestinationControl(delivery.concurrency),
        hostname=configuration.gateway.hostname,
        interfaces=[one.name for one in configuration.delivery_interface],
    )
    listeners = {one.name: one.bounce_profile for one in configuration.listener}
    return BounceProfiles(profiles_of(configuration.bounce_profile, delivery), listeners, router).of
