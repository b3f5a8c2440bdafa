"""`esa tlsrpt` on a state folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esa.store.tls_results import Reported, TlsResult, TlsResults
from tests.cli.command import esa

DAY = "2026-03-01"
GOOD = TlsResult(DAY, "example.org", "sts", ("version: STSv1",), ("mx.example.org",), "")
PLAIN = GOOD._replace(
    domain="other.example", policy_type="no-policy-found", policy=(), servers=(), result="starttls-not-supported", host="mx.other.example"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    results = TlsResults(tmp_path / "state")
    results.add({GOOD: 3, PLAIN: 2}, since="2026-01-01")
    results.reported(Reported(DAY, "example.org", 1_772_409_600.0, "reports@example.org"))
    results.close()
    (tmp_path / "esa.toml").write_text('[delivery_tls]\norganization = "Example"\nreports_from = "tls@example.com"\n')
    return tmp_path


def test_what_came_of_tls_is_shown_with_what_failed(folder: Path) -> None:
    done = esa("tlsrpt", "show", "--state", folder / "state", "--json")
    assert [(one["domain"], one["result"], one["sessions"]) for one in done.lines] == [
        ("example.org", "", 3),
        ("other.example", "starttls-not-supported", 2),
    ]
    assert done.code == 1
    failed = esa("tlsrpt", "show", "example.org", "--failures", "--day", DAY, "--state", folder / "state")
    assert (failed.code, failed.out, failed.err) == (0, "", "0 sessions\n")
    assert "mx.other.example" in esa("tlsrpt", "show", "--state", folder / "state").out


def test_the_report_of_a_day_is_printed_as_it_is_sent(folder: Path) -> None:
    done = esa("tlsrpt", "report", "example.org", DAY, "--config", folder / "esa.toml")
    report = json.loads(done.out)
    assert (done.code, report["organization-name"], report["contact-info"]) == (0, "Example", "tls@example.com")
    assert report["policies"][0]["summary"] == {"total-successful-session-count": 3, "total-failure-session-count": 0}
    assert esa("tlsrpt", "report", "nobody.example", DAY, "--config", folder / "esa.toml").code == 1
    assert esa("tlsrpt", "report", "example.org", "yesterday", "--config", folder / "esa.toml").code == 2


def test_reports_that_went_out_are_listed(folder: Path) -> None:
    done = esa("tlsrpt", "sent", "--state", folder / "state")
    assert "reports@example.org" in done.out
    assert done.err == "1 report\n"
