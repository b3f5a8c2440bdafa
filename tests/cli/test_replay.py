"""`esa replay` counts what a candidate would do otherwise with mail that is there, shows the worst, and holds it against gates."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from esa.cli.serve import GTUBE
from tests.cli.command import Done, esa
from tests.end_to_end.running import environment

TEXT = """\
[[listener]]
name = "public"
accept_domains = ["example.org"]
[[mail_policy]]
positive = "quarantine"
"""
FILTER = 'letters: if (subject == "^Newsletter") { drop(); }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty messages: ten plain, ten newsletters, ten spam."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esa.toml").write_text(TEXT)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "esa.toml").write_text(TEXT.replace('"quarantine"', '"deliver"'))
    (tmp_path / "new" / "filters").mkdir()
    (tmp_path / "new" / "filters" / "a.filters").write_text(FILTER)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(10):
        for kind, subject, body in (("plain", "minutes", "hello"), ("letter", "Newsletter", "news"), ("spam", "hello", GTUBE)):
            text = f"From: a{number}@{kind}.example\nTo: bob@example.org\nSubject: {subject} {number}\n\n{body}\n"
            (corpus / f"{kind}-{number}.eml").write_text(text)
    return tmp_path


def replay(*arguments: object) -> Done:
    return esa("replay", *arguments, environment=environment())  # the working folder is another


def test_flips_are_counted_by_class_the_gravest_first(folder: Path) -> None:
    done = replay("corpus", "--config", "new/esa.toml")
    assert done.code == 1
    lines = done.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "delivered -> dropped: 10 messages, 10 recipients",
        "quarantined -> delivered: 10 messages, 10 recipients",
    ]
    assert "  to    bob@example.org × 10" in lines
    assert any(line.startswith("  corpus/letter-") for line in lines)
    assert "    before  delivered: spam:clean, policy DEFAULT  [esa.toml:4]" in lines
    assert "    after   dropped: message filter letters, policy DEFAULT  [new/filters/a.filters:1]" in lines
    assert "30 messages replayed, 20 flips" in done.err


def test_json_names_all_who_are_affected(folder: Path) -> None:
    told = json.loads(replay("corpus", "--config", "new/esa.toml", "--json").out)
    assert (told["messages"], told["recipients"], told["flipped"], told["unreadable"]) == (30, 30, 20, [])
    [lost, found] = told["flips"]
    assert (lost["from"], lost["to"], lost["messages"]) == ("delivered", "dropped", 10)
    assert sorted(lost["senders"]) == [f"a{number}@letter.example" for number in range(10)]
    assert found["addresses"] == {"bob@example.org": 10}
    worst = lost["examples"][0]
    assert (worst["before"]["outcome"], worst["after"]["reason"]) == ("delivered", "message filter letters")
    assert worst["after"]["place"] == "new/filters/a.filters:1"
    assert worst["score"] == min(one["score"] for one in lost["examples"])
    assert found["examples"][0]["score"] == max(one["score"] for one in found["examples"])


@pytest.mark.parametrize(
    ("gates", "code", "told"),
    [
        (("--max-flips", "20"), 0, "gate at most 20 flips: holds (20 messages)"),
        (("--max-flips", "19"), 1, "gate at most 19 flips: does not hold (20 messages)"),
        (("--never", "delivered -> refused"), 0, "gate never delivered -> refused: holds (0 messages)"),
        (("--never", "any → dropped"), 1, "gate never any -> dropped: does not hold (10 messages)"),
        (("--never", "Delivered->any"), 1, "gate never delivered -> any: does not hold (10 messages)"),
        (("--max-flips", "99", "--never", "quarantined -> delivered"), 1, "gate at most 99 flips: holds (20 messages)"),
    ],
)
def test_gates_decide_the_exit_status(folder: Path, gates: tuple[str, ...], code: int, told: str) -> None:
    done = replay("corpus", "--config", "new/esa.toml", *gates)
    assert (done.code, told in done.out) == (code, True), done.out


def test_equal_configurations_flip_nothing(folder: Path) -> None:
    done = replay("corpus", "--config", "esa.toml", "--against", "esa.toml")
    assert (done.code, done.out) == (0, "")


def test_what_is_only_treated_otherwise_is_no_flip(folder: Path) -> None:
    (folder / "tag.toml").write_text(TEXT + '[[content_filter]]\nname = "seal"\nactions = [\'insert-header("X-Seal", "yes")\']\n')
    (folder / "tag.toml").write_text((folder / "tag.toml").read_text().replace("positive =", 'content_filters = ["seal"]\npositive ='))
    done = replay("corpus", "--config", "tag.toml")
    assert (done.code, done.out.splitlines()[0]) == (0, "same outcome, treated otherwise: 30 messages, 30 recipients")


def test_mail_that_both_refuse_early_is_told_for_nothing_was_compared(folder: Path) -> None:
    done = replay("corpus", "--config", "new/esa.toml", "--to", "x@other.example")
    assert (done.code, done.out) == (0, "")
    assert "30 messages of them both refuse before the mail data" in done.err
    assert "550 5.7.1 relaying denied × 30" in done.err
    assert "--to" in done.err


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(folder: Path) -> None:
    done = replay("corpus", "gone.mbox", "--config", "new/esa.toml", "--never", "any -> refused")
    assert done.code == 3
    assert "gone.mbox" in done.err
    assert "30 messages replayed" in done.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("corpus",), "Missing option '--config'"),
        (("corpus", "--config", "esa.toml"), "there is nothing to compare with"),
        (("corpus", "--config", "new/esa.toml", "--never", "delivered"), "is no class of flips"),
        (("corpus", "--config", "new/esa.toml", "--never", "delivered -> droped"), "did you mean 'dropped'?"),
        (("corpus", "--config", "new/esa.toml", "--max-flips", "-1"), "--max-flips"),
        (("corpus", "--config", "gone.toml"), "gone.toml: there is no such file"),
        (("corpus", "--config", "new/esa.toml", "--listener", "mail"), "no listener is called 'mail'"),
    ],
)
def test_what_is_used_wrongly_is_told(folder: Path, arguments: tuple[str, ...], what: str) -> None:
    done = replay(*arguments)
    assert (done.code, done.out) == (2, "")
    assert what in done.err


def test_the_same_file_twice_counts_twice(folder: Path) -> None:
    done = replay("corpus/letter-1.eml", "corpus/letter-1.eml", "--config", "new/esa.toml")
    assert "delivered -> dropped: 2 messages" in done.out


def test_the_worst_can_be_traced_as_it_says(folder: Path) -> None:
    [line] = [
        line for line in replay("corpus", "--config", "new/esa.toml").err.splitlines() if line.startswith("more of the first: esa trace ")
    ]
    done = esa(*shlex.split(line.partition(": esa ")[2]), environment=environment())
    assert (done.code, "message filter letters" in done.out) == (1, True)


def test_questions_without_a_recorded_answer_are_told(folder: Path) -> None:
    for name in ("esa.toml", "new/esa.toml"):
        (folder / name).write_text((folder / name).read_text() + '[[sender_group]]\nname = "FRIENDS"\nsenders = [".friends.example"]\n')
    done = replay("corpus", "--config", "new/esa.toml", "--client", "192.0.2.1")
    assert "to name servers and directories had no answer" in done.err
    (folder / "answers.json").write_text('{"dns": {"PTR 1.2.0.192.in-addr.arpa": []}}')
    assert "had no answer" not in replay("corpus", "--config", "new/esa.toml", "--client", "192.0.2.1", "--resolver", "answers.json").err
