"""From dispositions to one reply and the splinters to keep."""

from __future__ import annotations

import pytest

from esa.policy.disposition import Action, Answer, Disposition, plan
from esa.policy.outcome import Outcome


def of(action: Action, *recipients: str, reason: str = "r", policy: str = "p", text: str = "", drops: bool = False) -> Disposition:
    return Disposition(action, recipients, reason, policy, text=text, drops_refused=drops)


def test_a_message_that_every_disposition_refuses_is_refused_whole() -> None:
    planned = plan((of(Action.REFUSE, "a"), of(Action.REFUSE, "b")))
    assert planned.answer is Answer.REFUSE
    assert planned.splinters == ()


@pytest.mark.parametrize(("texts", "said"), [(("gone", "gone"), "gone"), (("gone", "moved"), ""), (("gone", ""), "")])
def test_words_for_a_refusal_are_said_if_they_serve_everyone(texts: tuple[str, str], said: str) -> None:
    assert plan([of(Action.REFUSE, name, text=text) for name, text in zip("ab", texts, strict=True)]).text == said


def test_a_message_is_deferred_if_nobody_accepts_and_one_defers() -> None:
    assert plan((of(Action.REFUSE, "a"), of(Action.DEFER, "b"))).answer is Answer.DEFER
    assert plan((of(Action.DEFER, "a"),)).answer is Answer.DEFER


def test_recipients_of_equal_disposition_make_one_splinter() -> None:
    planned = plan((of(Action.DELIVER, "a"), of(Action.DELIVER, "b"), of(Action.QUARANTINE, "c")))
    assert planned.splinters == (of(Action.DELIVER, "a", "b"), of(Action.QUARANTINE, "c"))


@pytest.mark.parametrize("other", [Action.DELIVER, Action.QUARANTINE, Action.DROP])
@pytest.mark.parametrize(("refusing", "word"), [(Action.REFUSE, "refused"), (Action.DEFER, "deferred")])
def test_where_some_recipients_accept_the_others_are_held_and_it_is_said_why(other: Action, refusing: Action, word: str) -> None:
    planned = plan((of(refusing, "a", policy="strict"), of(other, "b", policy="mild")))
    assert planned.answer is Answer.ACCEPT
    held, kept = planned.splinters
    assert (held.action, held.recipients, held.quarantines) == (Action.QUARANTINE, ("a",), ("Policy",))
    assert held.held == f"{word} for policy strict, answered 250 for the others"
    assert kept == of(other, "b", policy="mild")


def test_a_policy_may_drop_what_it_refuses_among_others() -> None:
    dropped, _ = plan((of(Action.REFUSE, "a", drops=True), of(Action.DELIVER, "b"))).splinters
    assert (dropped.action, dropped.quarantines) == (Action.DROP, ())
    assert "refused for policy p" in dropped.held


def test_dropped_mail_keeps_no_content() -> None:
    assert not of(Action.DROP, "a").keeps_content
    assert of(Action.QUARANTINE, "a").keeps_content


def test_dropped_mail_keeps_its_content_for_copies() -> None:
    assert of(Action.DROP, "a")._replace(archives=("all",)).keeps_content
    assert of(Action.DROP, "a")._replace(outcome=Outcome(duplicate_quarantines=["Q"])).keeps_content
