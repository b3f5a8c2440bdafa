"""`esa trace` shows stage by stage what becomes of a message, which rule decided and where it stands; and what a candidate would change."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.command import Done, esa
from tests.end_to_end.running import environment
from tests.gateway.name_server import name_server_beside

MESSAGE = b"From: Ann <ann@client.example>\nTo: bob@example.org\nSubject: minutes\n\nThe minutes of the meeting.\n"
TEXT = """\
[gateway]
hostname = "mx.example.org"
[[listener]]
name = "public"
accept_domains = ["example.org"]
[[sender_group]]
name = "BLACKLIST"
policy = "BLOCKED"
senders = ["192.0.2.66"]
[[sender_group]]
name = "NAMED"
senders = [".friends.example", "ALL"]
[[mail_policy]]
name = "bobs"
recipients = ["bob@"]
content_filters = ["seal"]
[[content_filter]]
name = "seal"
conditions = ['subject == "minutes"']
actions = ['insert-header("X-Sealed", "yes")']
"""
ANSWERS = {"dns": {"PTR 1.2.0.192.in-addr.arpa": ["mail.friends.example"], "A mail.friends.example": ["192.0.2.1"]}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esa.toml").write_text(TEXT)
    (tmp_path / "message.eml").write_bytes(MESSAGE)
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    begin = b"From a@x.example Mon Jan  1 00:00:00 2024\n"
    (tmp_path / "two.mbox").write_bytes(begin + MESSAGE + b"\n" + begin + b"Subject: second\n\nx\n")
    with tarfile.open(tmp_path / "mail.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "message.eml", "a/1.eml")
        archive.add(tmp_path / "two.mbox", "a/2.mbox")
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / "a.filters").write_text('quiet: if (header("X-Not")) { drop(); }\nloud: if (true) { log-entry("seen"); }\n')
    return tmp_path


def trace(*arguments: object) -> Done:
    return esa("trace", *arguments, environment=environment())  # the working folder is another


def test_stages_are_shown_in_order_with_the_rules_that_decided(folder: Path) -> None:
    done = trace("message.eml", "--client", "192.0.2.1", "--to", "bob@example.org", "--to", "x@other.example", "--resolver", "answers.json")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    stages = [line.partition(" ")[0] for line in lines if not line.startswith((" ", "(")) and "@" not in line.partition(" ")[0]]
    assert stages == [
        "Connection",
        "Mail",
        "Recipient",
        "Recipient",
        "Mail",
        "Scan:",
        "Message",
        "Mail",
        "Anti-spam",
        "Content",
        "Disposition",
        "Reply",
    ]
    for expected in (
        "    sender group NAMED, entry .friends.example  [esa.toml:12]",
        "    recipient access, entry example.org (ACCEPT)  [esa.toml:5]",
        "    recipient access: no entry names it",
        "(1 other message filter without effect; --all shows it)",
        "    entry recipient bob@  [esa.toml:15]",
        "    insert X-Sealed: yes",
    ):
        assert any(line.startswith(expected) or expected.strip() in line for line in lines), (expected, done.out)
    assert lines[-2] == "bob@example.org: delivered (spam:clean)"
    assert lines[-1] == "x@other.example: refused (recipient access: no entry)"


def test_two_runs_print_the_same(folder: Path) -> None:
    arguments = ("message.eml", "--client", "192.0.2.1", "--resolver", "answers.json", "--no-times", "--all")
    assert trace(*arguments).out == trace(*arguments).out
    assert trace(*arguments, "--json").out == trace(*arguments, "--json").out
    assert "µs" not in trace(*arguments).out


def test_json_is_one_object(folder: Path) -> None:
    arguments = ("-", "--json", "--client", "192.0.2.66", "--from", "<>")
    told = json.loads(esa("trace", *arguments, stdin=MESSAGE, environment=environment()).out)
    assert (told["step"], told["reverse_path"], told["verdict"], told["score"]) == ("connection", "", None, None)
    assert [stage["stage"] for stage in told["stages"]] == ["connection", "reply"]
    assert told["stages"][0]["place"] == "esa.toml:9"
    assert [(one["address"], one["outcome"], one["step"]) for one in told["recipients"]] == [("bob@example.org", "refused", "connection")]


def test_a_candidate_shows_only_what_differs(folder: Path) -> None:
    (folder / "candidate.toml").write_text(TEXT.replace('"yes"', '"very"').replace('["192.0.2.66"]', '["192.0.2.66", "198.51.100.0/24"]'))
    done = trace("message.eml", "--config", "candidate.toml", "--no-times")
    assert done.code == 1
    assert done.out.startswith("--- esa.toml\n+++ candidate.toml\n- Content filter seal for bob@example.org: insert-header(")
    assert {line[0] for line in done.out.splitlines()} == {"-", "+"}
    assert "Scan" not in done.out
    told = json.loads(trace("message.eml", "--config", "candidate.toml", "--json").out)
    assert [(one["stage"], one["subject"]) for one in told["differences"]] == [
        ("content filter", "seal for bob@example.org"),
        ("disposition", "bob@example.org"),
    ]
    same = trace("message.eml", "--config", "candidate.toml", "--against", "candidate.toml")
    assert (same.code, same.out, same.err) == (0, "", "nothing differs\n")


def test_the_resulting_message_can_be_had(folder: Path) -> None:
    done = trace("message.eml", "--message")
    assert done.out.startswith("Received: from localhost")
    assert "X-Sealed: yes\n" in done.out.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("gone.eml",), 3, "gone.eml: there is no such file, nor is it the identifier of a message"),
        (("01J9ZK00000000000000000000",), 3, "there is no state folder"),
        (("filters",), 3, "filters: this is a folder\nName one message; for many there is `esa replay`."),
        (("two.mbox",), 3, "two.mbox: there are several messages\nName one, as two.mbox#1"),
        (("two.mbox#3",), 3, "two.mbox#3: there is no such message in it"),
        (("message.eml", "--listener", "mail"), 2, "message.eml: no listener is called 'mail'\nchoose of public"),
        (("message.eml", "--client", "localhost"), 2, "'localhost' is no IP address, as 192.0.2.1"),
        (("message.eml", "--to", "bob"), 2, "'bob' is no address"),
        (("message.eml", "--at", "soon"), 2, "'soon' is no time"),
        (("message.eml", "--config", "gone.toml"), 2, "gone.toml: there is no such file"),
        (("message.eml", "--against", "esa.toml"), 2, "--against compares with a candidate"),
        (("message.eml", "--resolver", "esa.toml"), 2, "esa.toml: these are no recorded answers"),
        (("message.eml", "--resolver", "answers.json", "--record", "x"), 2, "give one of them"),
        (("message.eml", "--as", "01J9ZK00000000000000000000"), 3, "there is no state folder"),
    ],
)
def test_what_cannot_be_traced_is_told(folder: Path, arguments: tuple[str, ...], code: int, what: str) -> None:
    done = trace(*arguments)
    assert (done.code, done.out) == (code, "")
    assert what in done.err


def test_a_broken_configuration_is_told_with_file_line_and_mend(folder: Path) -> None:
    (folder / "filters" / "a.filters").write_text('bad: if (subjekt == "x") { drop(); }\n')
    done = trace("message.eml")
    assert done.code == 2
    assert "a.filters, line 1, column 10" in done.err
    assert "did you mean 'subject'" in done.err.lower()


def test_one_message_of_a_mailbox_or_an_archive_is_traced_by_its_path(folder: Path) -> None:
    for source, subject in (("two.mbox#2", "second"), ("mail.tar.gz!a/1.eml", "minutes"), ("mail.tar.gz!a/2.mbox#2", "second")):
        done = trace(source, "--to", "bob@example.org")
        assert done.code == 0, done.err
        assert f"subject '{subject}'" in done.out, source


def test_a_user_of_a_listener_without_authentication_is_taken_as_given_and_told(folder: Path) -> None:
    done = trace("message.eml", "--user", "ann", "--to", "x@other.example")
    assert "AUTH: not offered (listener public lets nobody authenticate" in done.out
    assert done.out.endswith("x@other.example: delivered (spam:clean)\n")


def test_what_name_servers_answer_is_recorded_and_gives_the_same_again(folder: Path) -> None:
    zone = {("1.2.0.192.in-addr.arpa", "PTR"): ("mail.friends.example",), ("mail.friends.example", "A"): ("192.0.2.1",)}
    arguments = ("message.eml", "--client", "192.0.2.1", "--no-times", "--all")
    with name_server_beside(zone) as server:
        (folder / "esa.toml").write_text(f'{TEXT}[dns]\nservers = ["{server.address}"]\n')
        live = trace(*arguments, "--record", "recorded.json")
        asked = len(server.asked)
        again = trace(*arguments, "--resolver", "recorded.json")
        assert asked == len(server.asked) > 0
    assert "entry .friends.example" in live.out
    assert live.out == again.out
    assert "the same again: --resolver recorded.json" in live.err
    assert trace("message.eml", "--client", "192.0.2.1").out != live.out
