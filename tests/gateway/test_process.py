"""What the processes of the gateway are told of the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from esa.config.schema import Configuration, Delivery
from esa.gateway.delivery import DeliverSettings, SmtpRoute
from esa.gateway.keep import KeepSettings
from esa.gateway.process import deliver_settings, keep_settings


def test_deliver_is_told_every_setting_of_delivery() -> None:
    given = {
        "route": "next.example.org:2526",
        "maildir": "mail",
        "concurrency": 3,
        "connect_timeout": "4 s",
        "command_timeout": "5 s",
        "retry_initial": "6 s",
        "retry_max": "7 s",
        "expire": "80 s",
    }
    assert given.keys() == Delivery.model_fields.keys()
    configuration = Configuration.model_validate({"gateway": {"hostname": "mx.example.org", "state": "/var/esa"}, "delivery": given})
    state, route = Path("/var/esa"), SmtpRoute("next.example.org", 2526)
    assert deliver_settings(configuration) == DeliverSettings(
        state, "mx.example.org", route, state / "mail", 6.0, 7.0, 80.0, 3, connect_timeout=4.0, command_timeout=5.0
    )


def test_keep_is_told_how_long_quarantine_and_tracking_are_kept() -> None:
    configuration = Configuration.model_validate({"quarantine": {"retention": "2 h"}, "tracking": {"retention": "3 h"}})
    assert keep_settings(configuration) == KeepSettings(configuration.state, 7_200.0, 10_800.0)


def test_what_is_not_set_is_as_in_an_empty_configuration() -> None:
    empty = Configuration()
    assert keep_settings(empty) == KeepSettings(empty.state)
    assert replace(deliver_settings(empty), maildir=None) == DeliverSettings(empty.state, "")


def test_held_mail_is_deleted_after_fourteen_days_unless_said_otherwise() -> None:
    assert KeepSettings(Path("state")).quarantine_retention == 14 * 86_400
