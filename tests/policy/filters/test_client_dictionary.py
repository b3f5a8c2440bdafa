"""`remote-ip-dictionary-match`: clients by networks and by names that stand in a dictionary."""

from __future__ import annotations

import pytest

from esa.engine.dictionary import Dictionary
from tests.policy.filters.running import Running

NETWORKS = Dictionary.from_text("nets", "# esa: kind = networks\n192.0.2.0/25\n192.0.2.7, 3\n2001:db8::/32\n")
HOSTS = Dictionary.from_text("hosts", "# esa: kind = domains\nmx.bad.example\n.worse.example, 2\n")
RUNNING = Running(
    'a: if (remote-ip-dictionary-match("nets")) { log-entry("net"); }\n'
    'b: if (remote-ip-dictionary-match("nets", 4)) { log-entry("heavy"); }\n'
    'c: if (remote-ip-dictionary-match("hosts")) { log-entry("host"); }\n'
    'd: if (not remote-ip-dictionary-match("hosts")) { log-entry("no host"); }',
    NETWORKS,
    HOSTS,
)


@pytest.mark.parametrize(
    ("client", "host", "entries"),
    [
        ("192.0.2.1", "", ["net", "no host"]),
        ("192.0.2.7", "", ["net", "heavy", "no host"]),  # both networks count
        ("192.0.2.128", "", ["no host"]),
        ("::ffff:192.0.2.1", "", ["net", "no host"]),
        ("2001:db8::1", "MX.bad.example", ["net", "host"]),
        ("198.51.100.1", "other.mx.bad.example", ["no host"]),
        ("198.51.100.1", "a.worse.example", ["host"]),
        ("", "", ["no host"]),
    ],
)
def test_a_client_is_found_by_its_network_or_its_name(client: str, host: str, entries: list[str]) -> None:
    assert RUNNING.run(client_address=client, remote_host=host).log_entries == entries


def test_without_dictionaries_at_hand_nobody_knows() -> None:
    assert RUNNING.run(client_address="192.0.2.1", lookup=None).log_entries == []
