"""What the processes of the gateway are told of the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from esa.config.schema import Configuration, Delivery
from esa.gateway.delivery.deliver import DeliverSettings
from esa.gateway.keep import KeepSettings
from esa.gateway.process import deliver_settings, keep_settings
from esa.policy.bounce_profile import RetrySchedule
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
    told = deliver_settings(configuration)
    assert told.bounces is not None and told.bounces.profiles["Default"].schedule == RetrySchedule(6.0, 7.0, 80.0)
    assert replace(told, bounces=None) == DeliverSettings(
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
    told = replace(deliver_settings(empty), maildir=None, bounces=None)
    assert told == DeliverSettings(empty.state, "", listeners=(("127.0.0.1", 2525),))


def test_deliver_is_told_of_bounces_who_has_which_profile_and_how_many_there_may_be() -> None:
    configuration = Configuration.model_validate(
        {
            "bounce_profile": [{"name": "Bulk", "max_time_in_queue": "1 h", "delay_warnings": True, "delay_interval": "30 min"}],
            "listener": [{"name": "bulk", "bounce_profile": "Bulk"}],
            "bounces": {"per_hour": 7, "per_address_per_hour": 3, "wait": "2 h"},
        }
    )
    told = deliver_settings(configuration).bounces
    assert told is not None
    assert (told.listeners, told.per_hour, told.per_address, told.wait) == ({"bulk": "Bulk"}, 7, 3, 7_200.0)
    assert told.profiles["Bulk"].schedule == RetrySchedule(60.0, 3_600.0, 3_600.0)
    assert told.profiles["Bulk"].warning_after(0) == 1_800.0
    assert told.profiles["Default"].schedule == RetrySchedule()


def test_held_mail_is_deleted_after_fourteen_days_unless_said_otherwise() -> None:
    assert KeepSettings(Path("state")).quarantine_retention == 14 * 86_400
