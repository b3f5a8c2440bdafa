"""`esa recipient check` says what a stranger would be answered, and why."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import esa

TEXT = """
[[recipient_access]]
recipients = ["gone@example.org"]
access = "REJECT"
text = "5.1.6 gone"
[[recipient_access]]
recipients = ["example.org"]
[[recipient_file]]
name = "staff"
file = "staff.txt"
"""


def configuration(folder: Path) -> str:
    (folder / "staff.txt").write_text("anna@example.org\n")
    (folder / "esa.toml").write_text(TEXT)
    return str(folder / "esa.toml")


def test_the_entry_the_sources_and_the_reply_are_shown(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    done = esa("recipient", "check", "anna@example.org", "--config", file)
    assert done.code == 0
    assert "anna@example.org: accepted\n  recipient access of mail: example.org\n  source staff: known (" in done.out
    done = esa("recipient", "check", "bert@example.org", "gone@example.org", "x@example.com", "--config", file, "--json")
    assert done.code == 1
    fates = [json.loads(line) for line in done.out.splitlines()]
    assert [fate["reply"] for fate in fates] == ["550 5.1.1 Recipient unknown", "550 5.1.6 gone", "550 5.7.1 relaying denied"]
    assert [fate["because"] for fate in fates] == ["example.org", "gone@example.org", "ALL"]


def test_what_is_no_address_or_no_listener_is_told(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    for arguments in (["anna"], ["anna@example.org", "--listener", "other"]):
        done = esa("recipient", "check", *arguments, "--config", file)
        assert done.code in (2, 3)
        assert "Traceback" not in done.err
