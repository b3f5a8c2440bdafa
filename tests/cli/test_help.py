"""`esa help TOPIC`."""

from __future__ import annotations

from esa.policy.filters.words import Action, Condition, actions, conditions, usage_of
from esa.policy.tls_modes import Mode
from tests.cli.command import esa


def test_every_tls_mode_says_what_an_attacker_can_still_do() -> None:
    said = esa("help", "tls-modes").out
    assert [line for line in said.splitlines()[1:] if line and not line.startswith(" ")] == list(Mode)
    assert said.count("what an active attacker can still do:") == len(Mode)
    (line,) = esa("help", "tls-modes", "--json").lines
    entries = line["entries"]
    assert isinstance(entries, list)
    assert [one["name"] for one in entries] == list(Mode)


def test_every_condition_and_action_of_filters_is_explained() -> None:
    words: list[Condition | Action] = [*conditions().values(), *actions().values()]
    said = esa("help", "filters").out
    assert [line for line in said.splitlines()[1:] if line and not line.startswith(" ")] == [usage_of(word) for word in words]
    (line,) = esa("help", "filters", "--json").lines
    assert isinstance(line["entries"], list)
    assert all(word.sentence in entry.get("condition", entry.get("action", "")) for word, entry in zip(words, line["entries"], strict=True))


def test_a_topic_that_is_none_is_told_with_the_near_one() -> None:
    done = esa("help", "tls-mode")
    assert (done.code, "Did you mean 'tls-modes'?" in done.err) == (2, True)
    assert "tls-modes" in esa("help").out
