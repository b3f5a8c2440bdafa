"""Exported SMTP routes of AsyncOS become tables that can be read."""

from __future__ import annotations

import pytest

from esa.config.importers.smtp_routes import import_smtp_routes
from esa.config.load import check
from esa.errors import ConfigurationError

EXPORT = """# File exported by the appliance
example.com : mail1.example.com/pri=0, mail2.example.com /pri=10
.example.com USEDNS
other.example,[192.0.2.1]:26
[192.0.2.7] : /dev/null
ALL : [relay.example.net]
"""


def test_routes_of_all_kinds_are_translated_and_can_be_served() -> None:
    imported = import_smtp_routes(EXPORT)
    assert imported.notes == []
    configuration, faults = check(imported.text)
    assert faults == []
    assert configuration is not None
    assert [(table.domains, table.hosts) for table in configuration.smtp_route] == [
        (("example.com",), ("mail1.example.com/pri=0", "mail2.example.com /pri=10")),
        ((".example.com",), ("USEDNS",)),
        (("other.example",), ("[192.0.2.1]:26",)),
        (("[192.0.2.7]",), ("/dev/null",)),
        (("ALL",), ("[relay.example.net]",)),
    ]


def test_what_is_not_understood_is_told_and_left_out() -> None:
    imported = import_smtp_routes("a.example : b_$:25\nc.example : d:25\nc.example : e:25\n")
    assert len(imported.notes) == 2
    assert 'hosts = ["d:25"]' in imported.text
    with pytest.raises(ConfigurationError, match="no domain with destinations"):
        import_smtp_routes("lonely\n")
