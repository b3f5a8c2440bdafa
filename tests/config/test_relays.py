"""The table of incoming relays: what it makes, and how its mistakes are told."""

from __future__ import annotations

import pytest

from esa.config.load import check
from esa.config.relays import relays_of
from esa.config.text import write_text


def test_a_relay_is_read_in_all_forms_of_addresses() -> None:
    configuration, faults = check('[[incoming_relay]]\nname = "EDGE"\nhosts = ["10.2.3.1-10", "2001:db8::/64"]\nheader = "x-client:"\n')
    assert not faults
    assert configuration is not None
    (relay,) = relays_of(configuration.incoming_relay)
    assert (relay.name, relay.header, relay.hops, len(relay.hosts)) == ("EDGE", "x-client", 1, 2)
    assert check(write_text(configuration))[0] == configuration


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('hosts = ["mx.example.org"]', "'mx.example.org' is no address"),
        ('hosts = ["0.0.0.0/0"]', "every host would be a relay"),
        ("hops = 2", "it names no host"),
        ('hosts = ["10.1.1.1"]\nheader = "X Client"', "is no name of a header field"),
        ('hosts = ["10.1.1.1"]\nheader = "X-Client"\nhops = 2', "hops are of Received fields"),
        ('hosts = ["10.1.1.1"]\nhops = 0', "0 is too small"),
    ],
)
def test_what_is_wrong_with_a_relay_is_told_with_its_mend(lines: str, told: str) -> None:
    configuration, faults = check(f'[[incoming_relay]]\nname = "EDGE"\n{lines}\n')
    assert configuration is None
    assert told in str(faults[0])
    assert '[[incoming_relay]] "EDGE"' in str(faults[0])
