"""From dispositions to one reply and the splinters to keep."""

from __future__ import annotations

from esa.policy.disposition import Action, Disposition, plan


def of(action: Action, *recipients: str, reason: str = "r") -> Disposition:
    return Disposition(action, recipients, reason)


def test_a_message_that_every_disposition_refuses_is_refused_whole() -> None:
    planned = plan((of(Action.REFUSE, "a"), of(Action.REFUSE, "b")))
    assert planned.refused
    assert planned.splinters == ()


def test_recipients_of_equal_disposition_make_one_splinter() -> None:
    planned = plan((of(Action.DELIVER, "a"), of(Action.DELIVER, "b"), of(Action.QUARANTINE, "c")))
    assert planned.splinters == (of(Action.DELIVER, "a", "b"), of(Action.QUARANTINE, "c"))


def test_where_some_recipients_accept_the_refusing_ones_quarantine() -> None:
    planned = plan((of(Action.REFUSE, "a"), of(Action.DELIVER, "b")))
    assert not planned.refused
    assert planned.splinters == (of(Action.QUARANTINE, "a"), of(Action.DELIVER, "b"))


def test_dropped_mail_keeps_no_content() -> None:
    assert not plan((of(Action.DROP, "a"),)).keeps_content
    assert plan((of(Action.DROP, "a"), of(Action.DELIVER, "b"))).keeps_content
