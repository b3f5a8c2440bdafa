"""A witness is told what filters do, and changes nothing of it; filters compiled without one are what they were."""

from __future__ import annotations

from esa.engine.verdict import Report, Verdict
from esa.message.envelope import Envelope, Session
from esa.policy.filters import tree
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope
from esa.policy.filters.witness import Witness
from esa.policy.filters.write import write_call, write_condition
from esa.policy.view import View

TEXT = """
a: if (mail-from == "ann" and not rcpt-to == "carl") { insert-header("X-A", "1"); if (header("X-A")) { tag-message("inner"); } }
b: if (mail-from == "nobody") { drop(); }
c: if (rcpt-count > 1) { skip-filters(); } else { quarantine("Q"); }
d: if (true) { drop(); }
"""


def view(*recipients: str) -> View:
    return View(
        b"Subject: x\r\n\r\ny\r\n", Session(), Envelope("ann@example.net", recipients), Report(Verdict.CLEAN, 1.0, 0.0), identifier="0" * 26
    )


def test_what_is_told_is_what_happened_in_its_order() -> None:
    witness = Witness(clock=iter(range(1_000)).__next__)
    plan = FilterPlan(read(TEXT).filters, Scope(witness=witness))
    plan.run(view("bob@example.org", "dora@example.org"))
    told = []
    for one in witness.take():
        match one.node:
            case tree.If(condition):
                told.append((one.filter, f"if {write_condition(condition)}", one.answer))
            case tree.Test():
                told.append((one.filter, write_condition(one.node), one.answer))
            case tree.Call():
                told.append((one.filter, write_call(one.node), None))
        assert one.nanoseconds > 0
    assert told == [
        ("a", 'if mail-from == "ann" and not rcpt-to == "carl"', True),
        ("a", 'mail-from == "ann"', True),
        ("a", 'rcpt-to == "carl"', False),
        ("a", 'insert-header("X-A", "1")', None),
        ("a", 'if header("X-A")', True),
        ("a", 'header("X-A")', True),
        ("a", 'tag-message("inner")', None),
        ("b", 'if mail-from == "nobody"', False),
        ("b", 'mail-from == "nobody"', False),
        ("c", "if rcpt-count > 1", True),
        ("c", "rcpt-count > 1", True),
        ("c", "skip-filters()", None),
    ]
    assert witness.take() == []


def test_the_outcome_is_the_same_with_and_without() -> None:
    plain, watched = FilterPlan(read(TEXT).filters, Scope()), FilterPlan(read(TEXT).filters, Scope(witness=Witness()))
    for recipients in (("bob@example.org",), ("carl@example.org", "bob@example.org"), ()):
        assert plain.run(view(*recipients)) == watched.run(view(*recipients))


def test_no_gate_is_shut_where_somebody_watches() -> None:
    filters = read('shut: if (header("X-Never")) { drop(); }').filters
    assert FilterPlan(filters, Scope()).candidates(view()) == []
    assert FilterPlan(filters, Scope(witness=Witness())).candidates(view()) == ["shut"]
