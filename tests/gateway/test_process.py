"""What the processes of the gateway are told of the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from esa.config.schema import Configuration, Delivery
from esa.gateway.delivery.deliver import DeliverSettings
from esa.gateway.keep import KeepSettings
from esa.gateway.process import deliver_settings, keep_settings
from esa.policy.destination_controls import DestinationControl
from esa.policy.smtp_routes import parse_route


def test_deliver_is_told_every_setting_of_delivery() -> None:
    given = {
        "route": "next.example.org:2526",
        "maildir": "mail",
        "concurrency": 3,
        "max_connections": 9,
        "connect_timeout": "4 s",
        "command_timeout": "5 s",
        "retry_initial": "6 s",
        "retry_max": "7 s",
        "expire": "80 s",
        "dns_port": 2525,
        "dns_unreachable": ["192.0.2.0/24"],
    }
    assert given.keys() == Delivery.model_fields.keys()
    configuration = Configuration.model_validate({"gateway": {"hostname": "mx.example.org", "state": "/var/esa"}, "delivery": given})
    state = Path("/var/esa")
    assert deliver_settings(configuration) == DeliverSettings(
        state,
        "mx.example.org",
        parse_route(["next.example.org:2526"]),
        control=DestinationControl(3),
        maildir=state / "mail",
        connections=9,
        retry_initial=6.0,
        retry_maximum=7.0,
        expire=80.0,
        connect_timeout=4.0,
        command_timeout=5.0,
        dns_port=2525,
        dns_unreachable=("192.0.2.0/24",),
        listeners=(("127.0.0.1", 2525),),
    )


def test_keep_is_told_how_long_quarantine_and_tracking_are_kept() -> None:
    configuration = Configuration.model_validate({"quarantine": {"retention": "2 h"}, "tracking": {"retention": "3 h"}})
    assert keep_settings(configuration) == KeepSettings(configuration.state, 7_200.0, 10_800.0)


def test_what_is_not_set_is_as_in_an_empty_configuration() -> None:
    empty = Configuration()
    assert keep_settings(empty) == KeepSettings(empty.state)
    assert replace(deliver_settings(empty), maildir=None) == DeliverSettings(empty.state, "", listeners=(("127.0.0.1", 2525),))


def test_held_mail_is_deleted_after_fourteen_days_unless_said_otherwise() -> None:
    assert KeepSettings(Path("state")).quarantine_retention == 14 * 86_400
