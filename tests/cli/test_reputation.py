"""`esa reputation`, run as a process of its own on state that a gateway has left, and `esa doctor` on its configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.policy.history import History, Kind, Learning, Seen, Subject, learned
from esa.policy.reputation_zone import read_zone
from esa.store.reputation import ReputationStore
from tests.cli.command import esa
from tests.gateway.name_server import name_server_beside


def seen(messages: int, positive: int = 0) -> History:
    return learned(None, Seen(messages, positive), time.time(), Learning())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with esa.toml and what was learned."""
    (tmp_path / "state").mkdir()
    (tmp_path / "esa.toml").write_text('[[dns_list]]\nzone = "bl.example.net"\nweight = -1.0\n')
    store = ReputationStore(tmp_path / "state")
    store.save(
        {
            Subject(Kind.ADDRESS, "192.0.2.1"): seen(20, 20),
            Subject(Kind.NETWORK, "192.0.2.0/24"): seen(24, 20),
            Subject(Kind.ADDRESS, "2001:db8:0:12::/64"): seen(30),
            Subject(Kind.HELO, "bulk.example.net"): seen(20, 20),
        }
    )
    store.close()
    return tmp_path


def run(place: Path, *words: object) -> tuple[int, list[dict[str, object]], str]:
    done = esa("reputation", *words, "--config", place / "esa.toml")
    return done.code, done.lines if "--json" in words else [], done.out + done.err


def test_an_address_is_shown_with_its_evidence_and_its_group(place: Path) -> None:
    code, (found,), _ = run(place, "show", "192.0.2.1", "--no-dns", "--json")
    assert code == 0
    assert found["score"] == -8.1
    assert [piece["source"] for piece in found["evidence"]] == ["address", "network"]  # type: ignore[attr-defined]
    assert found["evidence"][0]["positive"] == 20  # type: ignore[index]
    assert found["groups"][0]["group"] == "BLACKLIST"  # type: ignore[index]
    text = run(place, "show", "192.0.2.1", "--no-dns")[2]
    assert "-6.7  address 192.0.2.1  20 of 20 messages spam" in text
    assert "sender group BLACKLIST (SBRS[-10.0:-3.0]), policy BLOCKED (REJECT)" in text


def test_ipv6_and_names_are_shown_too_and_strangers_are_unknown(place: Path) -> None:
    _, (found,), _ = run(place, "show", "2001:db8:0:12::99", "--no-dns", "--json")
    assert found["evidence"][0]["name"] == "2001:db8:0:12::/64"  # type: ignore[index]
    assert "makes points for nobody" in run(place, "show", "Bulk.example.NET.")[2]
    assert run(place, "show", "203.0.113.1", "--no-dns")[0] == 1


def test_the_list_goes_from_worst_or_from_best(place: Path) -> None:
    names = [one["name"] for one in run(place, "list", "--json")[1]]
    assert names[-1] == "2001:db8:0:12::/64"
    assert [one["name"] for one in run(place, "list", "--best", "--limit", "1", "--json")[1]] == ["2001:db8:0:12::/64"]
    assert [one["kind"] for one in run(place, "list", "--kind", "helo", "--json")[1]] == ["helo"]


def test_what_is_forgotten_is_gone(place: Path) -> None:
    assert "1 history forgotten" in run(place, "forget", "192.0.2.1", "--yes")[2]
    assert run(place, "forget", "--yes")[0] == 2
    assert "3 histories forgotten" in run(place, "forget", "--all", "--yes")[2]
    assert run(place, "list")[0] == 0


@pytest.mark.parametrize("form", ["rbldnsd", "unbound"])
def test_an_export_is_imported_by_another_gateway(place: Path, tmp_path_factory: pytest.TempPathFactory, form: str) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "state").mkdir()
    (other / "esa.toml").write_text("")
    zone = esa("reputation", "export", "--format", form, "--zone", "rep.example.org", "--config", place / "esa.toml").out
    (other / "rep.zone").write_text(zone)
    assert "3 scores taken over" in run(other, "import", other / "rep.zone", "--yes")[2]
    _, (found,), _ = run(other, "show", "192.0.2.1", "--json")
    assert [(piece["source"], piece["points"]) for piece in found["evidence"]] == [("imported", pytest.approx(-3.35, abs=0.05))]  # type: ignore[attr-defined]
    assert "imported" not in esa("reputation", "export", "--config", other / "esa.toml").out


def test_an_exported_zone_is_asked_over_dns_like_any_list(place: Path) -> None:
    lines = esa("reputation", "export", "--zone", "rep.example.org", "--config", place / "esa.toml").out.splitlines()
    entries = {entry.name: entry.score for entry in read_zone(lines)[0]}
    assert entries["192.0.2.1"] == -6.7
    records = [line.split(" A ") for line in lines if " A " in line and not line.startswith("*")]
    with name_server_beside({(f"{owner}.rep.example.org", "A"): (answer,) for owner, answer in records}) as server:
        codes = '{ "127.0.1.60-100" = -4.0, "127.0.1.1-59" = -2.0 }'
        (place / "esa.toml").write_text(
            f'[reputation]\nlearn = false\n[[dns_list]]\nzone = "rep.example.org"\ncodes = {codes}\n[dns]\nservers = ["{server.address}"]\n'
        )
        _, (found,), _ = run(place, "show", "192.0.2.1", "--json")
    assert found["score"] == -4.0


def test_a_file_that_is_no_zone_is_told(place: Path) -> None:
    (place / "x").write_text("nonsense\n")
    code, _, text = run(place, "import", place / "x", "--yes")
    assert code == 1
    assert "line 1: 'nonsense' is no entry" in text
    assert run(place, "import", place / "absent", "--yes")[0] == 3


def test_doctor_show_and_check_say_that_reputation_is_off_with_anti_spam(place: Path, free_port: Callable[[], int]) -> None:
    (place / "esa.toml").write_text("[scan]\nanti_spam = false\n")
    words = "reputation is off, because anti-spam is"
    assert words in run(place, "show", "192.0.2.1")[2]
    assert words in esa("config", "check", place / "esa.toml").err
    done = esa("doctor", "--state", place, "--config", place / "esa.toml", "--listen", f"127.0.0.1:{free_port()}")
    assert (done.code, words in done.out) == (1, True)
