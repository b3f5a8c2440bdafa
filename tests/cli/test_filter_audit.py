"""`esa filters audit` through the real command line: three hundred filters of which forty are of no use, rules that recordings know, and their limits."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from esa.message.envelope import Envelope, Session
from esa.store.recorded import Found, Held, Recorded
from esa.store.recorder_folder import FOLDER
from esa.store.recorder_writer import Limits, Recorder
from tests.cli.command import Done, esa
from tests.gateway.name_server import name_server_beside

DAY = 86_400.0
CONFIG = """\
[[listener]]
name = "InboundMail"
accept_domains = ["mycompany.example"]

[[recipient_file]]
name = "people"
file = "people.txt"

[dns]
servers = ["{dns}"]
"""
PEOPLE = [f"staff{number}" for number in range(60)]
ZONE = {
    ("partner.example", "MX"): ("10 mx.partner.example",),
    ("bad.example", "MX"): ("10 mx.bad.example",),
    ("old.example", "A"): ("192.0.2.5",),  # no MX is needed where there is an address
    ("relay.partner.example", "A"): ("192.0.2.6",),
}


def seed_filters() -> tuple[list[str], dict[str, str]]:
    """Three hundred filters as administrators leave them, and of the forty that are stale what is wrong with each."""
    conditions = [f'mail-from == "^user{number}@bad\\\\.example$"' for number in range(150)]
    conditions += [f'rcpt-to == "^{name}@mycompany\\\\.example$" and subject == "offer {name}" and rcpt-count == 1' for name in PEOPLE]
    conditions += [f'remote-ip == "198.51.100.{number}"' for number in range(40)]
    conditions += ['mail-from == "@partner\\\\.example$"', 'mail-from == "@old\\\\.example$"', 'remote-ip == "relay.partner.example"']
    conditions += [f'recv-listener == "InboundMail" and subject == "campaign {number}"' for number in range(7)]
    live = [(f"live_{number}", condition) for number, condition in enumerate(conditions)]
    stale: dict[str, tuple[str, str]] = {}
    for number in range(12):
        stale[f"left_{number}"] = f'rcpt-to == "^leaver{number}@mycompany\\\\.example$" and rcpt-count == 1', "dead"
    for number in range(6):
        stale[f"host_{number}"] = f'remote-ip == "gone{number}.partner.example"', "dead"
    for number in range(4):
        stale[f"domain_{number}"] = f'mail-from == "@vanished{number}\\\\.example$"', "dead"
    for number in range(6):
        stale[f"listener_{number}"] = f'recv-listener == "Old{number}" and subject == "x"', "dead"
    for number in range(6):
        stale[f"shadowed_{number}"] = f'mail-from == "^user{number}@bad\\\\.example$" and body-size > {number + 1}K', "shadowed"
    for number in range(3):
        stale[f"never_{number}"] = f"body-size > {number + 10}M and body-size < 1M", "contradiction"
    for number in range(3):
        stale[f"dated_{number}"] = f'date < "0{number + 1}/01/2020" and subject == "crisis"', "expired"
    assert len(live) + len(stale) == 300 and len(stale) == 40
    texts = [f"{name}: if ({condition}) {{ drop(); }}" for name, condition in live]
    for place, (name, (condition, _)) in enumerate(stale.items()):
        at = place * 6 + 3 if not name.startswith("shadowed") else len(texts)
        texts.insert(at, f"{name}: if ({condition}) {{ drop(); }}")
    return texts, {name: kind for name, (_, kind) in stale.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "filters").mkdir()
    (tmp_path / "people.txt").write_text("".join(f"{name}@mycompany.example\n" for name in PEOPLE))
    (tmp_path / "esa.toml").write_text(CONFIG.format(dns="127.0.0.1:9"))
    return tmp_path


def audit(folder: Path, *arguments: object) -> Done:
    return esa("filters", "audit", "--config", folder / "esa.toml", *arguments)


def write(folder: Path, *filters: str) -> Path:
    path = folder / "filters" / "100.filters"
    path.write_text("\n".join(filters) + "\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def kinds(done: Done) -> dict[str, str]:
    assert done.code in (0, 1), done.err
    return {str(one["rule"]): str(one["kind"]) for one in done.lines}


def record(folder: Path, messages: Sequence[Recorded]) -> None:
    recorder = Recorder(folder / "state" / FOLDER, Limits())
    for one in messages:
        recorder.add(one)
    recorder.flush()
    recorder.close()


def test_of_three_hundred_filters_the_forty_stale_ones_are_told_and_no_other(folder: Path) -> None:
    texts, stale = seed_filters()
    path = write(folder, *texts)
    with name_server_beside(ZONE) as server:
        (folder / "esa.toml").write_text(CONFIG.format(dns=server.address))
        done = audit(folder, "--dns", "--json")
    assert kinds(done) == stale
    assert done.code == 1
    lines = path.read_text().splitlines()
    for one in done.lines:
        assert one["file"] == str(path)
        assert lines[int(str(one["line"])) - 1].startswith(f"{one['rule']}:")
        assert one["proof"] and one["mend"] and one["what"]


def test_a_sound_configuration_has_nothing_told_of_it(folder: Path) -> None:
    write(folder, 'a: if (mail-from == "@partner\\\\.example$") { drop(); }', 'b: if (subject == "x") { quarantine("q"); }')
    done = audit(folder, "--json")
    assert (done.code, done.out) == (0, "")
    assert "there are no recordings" in done.err


def test_a_name_server_that_is_ill_proves_nothing(folder: Path) -> None:
    write(folder, 'a: if (remote-ip == "gone.partner.example") { drop(); }', 'b: if (mail-from == "@vanished\\\\.example$") { drop(); }')
    with name_server_beside(ZONE) as server:
        server.manner = "servfail"
        (folder / "esa.toml").write_text(CONFIG.format(dns=server.address))
        assert audit(folder, "--dns", "--json").code == 0


def test_findings_of_all_tables_stand_beside_one_another(folder: Path) -> None:
    with (folder / "esa.toml").open("a") as file:
        file.write("""
[scan]
dictionaries = ["bad.txt"]

[[sender_group]]
name = "FRIENDS"
senders = ["10.0.0.0/8", "10.1.0.0/16"]

[[content_filter]]
name = "first"
conditions = ['rcpt-to == "@mycompany\\\\.example$"']
actions = ["drop()"]

[[content_filter]]
name = "second"
conditions = ['rcpt-to == "^staff1@mycompany\\\\.example$"']
actions = ['quarantine("x")']

[[content_filter]]
name = "asks_nothing"
conditions = ['rcpt-to-dictionary-match("gone")']
actions = ['quarantine("x")']

[[content_filter]]
name = "nobody_names_me"
actions = ['quarantine("x")']

[[mail_policy]]
name = "all"
recipients = ["mycompany.example"]
content_filters = ["asks_nothing", "first", "second"]

[[mail_policy]]
name = "one"
recipients = ["staff1@mycompany.example"]
""")
    (folder / "bad.txt").write_text("bob@bad.example  # until 2020-01-01\n")
    write(folder, 'spoof: if (rcpt-to == "^staff2@mycompany\\\\.example$") { alt-rcpt-to("leaver@mycompany.example"); }')
    found = {(str(one["kind"]), str(one["table"]), str(one["rule"])) for one in audit(folder, "--json").lines}
    assert found == {
        ("shadowed", "sender group", "FRIENDS"),
        ("shadowed", "incoming mail policy", "one"),
        ("shadowed", "outgoing mail policy", "one"),
        ("shadowed", "content filter", "second"),
        ("dead", "content filter", "nobody_names_me"),
        ("dead", "content filter", "asks_nothing"),
        ("expired", "dictionary", "bad"),
        ("advice", "message filter", "spoof"),
        ("dead", "message filter", "spoof"),
    }


def _recorded(number: int, began: float, hits: tuple[str, ...], policy: str) -> Recorded:
    session = Session(client_address="192.0.2.1", listener="InboundMail", received_at=began + number * DAY / 100)
    envelope = Envelope("a@partner.example", ("staff1@mycompany.example",), 100)
    found = {"words": Found(3, {"bank": 1})}
    return Recorded(
        f"{number:026d}", session, envelope, "accepted", "250 2.0.0", sender_group="FRIENDS", because="192.0.2.0/24",
        hits=hits, entries=("mycompany.example",), policies=(Held(policy, envelope.recipients, "deliver", "clean"),), dictionaries=found,
    )  # fmt: skip


def test_rules_that_acted_for_no_recorded_message_are_told_with_the_evidence(folder: Path) -> None:
    with (folder / "esa.toml").open("a") as file:
        file.write("""
[scan]
dictionaries = ["words.txt"]

[[sender_group]]
name = "FRIENDS"
senders = ["192.0.2.0/24", "198.51.100.0/24"]

[[sender_group]]
name = "BLACKLIST"
policy = "BLOCKED"
senders = ["203.0.113.0/24"]

[[mail_policy]]
name = "sales"
recipients = ["staff1@mycompany.example"]

[[mail_policy]]
name = "board"
recipients = ["staff2@mycompany.example"]
""")
    (folder / "words.txt").write_text("bank\nswift\n")
    write(folder, 'used: if (subject == "x") { quarantine("q"); }', 'idle: if (subject == "y") { quarantine("q"); }')
    began = time.time() - 10 * DAY
    record(folder, [_recorded(number, began, ("message filters/used",) if number == 7 else (), "sales") for number in range(1_000)])
    done = audit(folder, "--json")
    told = {(str(one["table"]), str(one["rule"])) for one in done.lines if one["kind"] == "unused"}
    assert told == {
        ("message filter", "idle"),
        ("sender group", "FRIENDS, 198.51.100.0/24"),
        ("mail policy", "board"),
        ("dictionary", "words"),
    }
    idle = next(one for one in done.lines if one["rule"] == "idle")
    assert "none of 1,000 recorded messages from " in str(idle["proof"])
    assert "swift" in next(str(one["what"]) for one in done.lines if one["rule"] == "words")
    few = audit(folder, "--json", "--messages", 1_001)
    assert "unused" not in kinds(few).values()
    assert "1,001 over 7 days are asked for" in few.err
    short = audit(folder, "--json", "--days", 11)
    assert "unused" not in kinds(short).values()


def test_a_filter_that_was_written_after_the_recordings_began_says_so(folder: Path) -> None:
    path = write(folder, 'idle: if (subject == "y") { quarantine("q"); }')
    began = time.time() - 10 * DAY
    record(folder, [_recorded(number, began, (), "DEFAULT") for number in range(1_000)])
    os.utime(path, (began + 5 * DAY, began + 5 * DAY))
    (idle,) = audit(folder, "--json").lines
    assert "500 of these messages came after" in str(idle["proof"])


def test_an_example_is_a_message_that_the_filter_acts_for(folder: Path) -> None:
    write(
        folder,
        'a: if (subject == "(?i)offer [0-9]{3}" and mail-from == "@bad\\\\.example$") { drop(); }',
        'b: if (subject == "OFFER 123" and body-size < 1) { drop(); }',
    )
    done = audit(folder, "--example", "a")
    assert done.code == 0 and "X-Envelope-From: <" in done.out and "@bad.example>" in done.out
    absent = audit(folder, "--example", "b")
    assert absent.code == 2 and "no message was found" in absent.err


def test_the_table_for_people_says_proof_and_mend(folder: Path) -> None:
    write(folder, 'a: if (subject == "x") { drop(); }', 'b: if (subject == "xy") { deliver(); }', 'c: if (subject == "x") { deliver(); }')
    done = audit(folder)
    assert done.code == 1
    assert (
        "shadowed" in done.out
        and 'proof: it acts for subject == "xy"; a (' in done.out
        and "mend: take it out, or move it before a" in done.out
    )
    assert "decides the opposite for the same condition" in done.out
