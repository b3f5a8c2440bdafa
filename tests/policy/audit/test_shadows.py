"""Claims that filters never act, held against what filters really do: over generated filters and messages, and one by one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esa.engine.dictionary import Dictionary
from esa.engine.scanner import Scanner
from esa.message.edits import InsertHeader, TagSubject
from esa.message.envelope import Envelope, Session
from esa.policy.audit.acting import acting
from esa.policy.audit.example import example_of
from esa.policy.audit.language import Answer
from esa.policy.audit.shadows import Covered, FilterFate, fates
from esa.policy.audit.solving import World
from esa.policy.content_filter import ContentPlan
from esa.policy.filters.read import read
from esa.policy.filters.scope import Listener, Scope
from esa.policy.filters.tree import Text
from esa.policy.view import View
from tests.policy.filters.running import Running

BAD = Dictionary.from_text("bad", "# esa: kind = addresses\nbob@x.example\n@z.example, 2\n")
TESTS = [
    'mail-from == "^bob@x\\\\.example$"', 'mail-from == "@x\\\\.example$"', 'mail-from == "(?i)bob"', 'mail-from != "x"', 'mail-from == "^$"',
    'rcpt-to == "^ann@here\\\\.example$"', 'rcpt-to == "@here\\\\.example$"', 'rcpt-to != "ann"', 'rcpt-to == "^(ann|carl)@"',
    'remote-ip == "10.0.0.0/24"', 'remote-ip == "10.0.0.0/25"', 'remote-ip == "10.0.0.128-10.0.0.255"', 'remote-ip != "10.0.0.1"',
    'remote-ip == ".x.example"', 'remote-ip == "mx.x.example"', 'recv-listener == "in"', 'recv-listener != "in"',
    'subject == "cheap"', 'subject == "very cheap"', 'subject == "(?i)cheap"', 'subject == "(?i)CHEAP pills?"', 'subject != "cheap"',
    'header("X-A")', 'header("X-A") == "1"', 'header("X-A") == "^1$"', 'header("X-A") != "1"', 'header("subject")',
    'body-contains("bank")', 'body-contains("bank", 2)', 'only-body-contains("bank")', 'body-contains("(?i)bank account")',
    'reputation < -3', 'reputation <= 2', 'reputation != 0', 'no-reputation', 'rcpt-count > 1', 'rcpt-count == 1', 'rcpt-count != 1',
    'body-size > 10', 'body-size < 100K', 'body-size > 200', 'dnslist("bl.example")', 'mail-from-dictionary-match("bad")',
    'mail-from-dictionary-match("bad", 2)', 'rcpt-to-dictionary-match("bad")', 'mail-from-group == "staff"', 'random(2) == 1', 'true',
    'attachment-size > 10', 'addr-count("To") > 1', 'workqueue-count > 5', 'valid', 'malformed-header', 'sendergroup == "W"',
]  # fmt: skip
ENDS = [
    "",
    "",
    "drop();",
    "deliver();",
    'insert-header("X-A", "1");',
    'strip-header("X-A");',
    'edit-header-text("subject", "cheap", "dear");',
]
Chain = list[tuple[str, str, str | None]]


def _conditions(tests: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(tests),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
            inner.map(lambda one: f"not ({one})"),
        ),
        max_leaves=3,
    )


def _chains(tests: list[str]) -> st.SearchStrategy[Chain]:
    """Filters over few tests, so that they have to do with one another."""
    conditions = _conditions(tests)
    blocks = st.recursive(
        st.sampled_from(ENDS).map(lambda end: f'log-entry("?"); {end}'),
        lambda inner: st.tuples(conditions, inner, st.one_of(st.none(), inner), st.sampled_from(ENDS)).map(
            lambda one: f'log-entry("?"); if ({one[0]}) {{ {one[1]} }} ' + (f"else {{ {one[2]} }} " if one[2] else "") + one[3]
        ),
        max_leaves=2,
    )
    return st.lists(st.tuples(conditions, blocks, st.one_of(st.none(), blocks)), min_size=3, max_size=6)


chains = st.lists(st.sampled_from(TESTS), min_size=2, max_size=4, unique=True).flatmap(_chains)
RAWS = [
    b"%bTo: %b\r\nSubject: %b\r\n\r\n%b\r\n" % parts
    for parts in itertools.product(
        (b"", b"X-A: 1\r\n", b"X-A: 21\r\n"),
        (b"ann@here.example", b"a@x, b@y"),
        (b"", b"very cheap pills", b"Cheap Pill", b"cheap"),
        (b"hello", b"the bank account of the bank", b"x" * 300),
    )
]


def _messages(running: Running) -> Iterator[View]:
    """All kinds of mail that the conditions tell apart, some hundreds of them."""
    chosen = random.Random(5)
    reports = [(raw, running.scanner.scan(raw)) for raw in RAWS]
    for _ in range(250):
        raw, report = chosen.choice(reports)
        session = Session(client_address=chosen.choice(["10.0.0.1", "10.0.0.200", "192.0.2.1", ""]), listener=chosen.choice(["in", "out"]))
        sender = chosen.choice(["bob@x.example", "BOB@x.example", "ann@x.example", "", "who@z.example", "bob@y.example"])
        recipients = chosen.choice(
            [("ann@here.example",), ("carl@here.example",), ("ann@here.example", "carl@here.example"), ("bob@x.example",)]
        )
        yield View(
            raw, session, Envelope(sender, recipients, len(raw)), report,
            lookup=running.scanner.lookup, reputation=chosen.choice([None, -5.0, 0.0, 2.0, 7.0]), identifier=str(chosen.random()),
            remote_host=chosen.choice(["", "mx.x.example", "other.x.example"]), sender_group=chosen.choice(["W", "U"]),
            groups=chosen.choice([None, {}, {sender.lower(): frozenset({"staff"})}]), queue_length=chosen.choice([None, 3, 9]),
            dns_lists=chosen.choice([None, frozenset(), frozenset({"bl.example"})]),
        )  # fmt: skip


def _written(chain: Chain) -> str:
    text = "\n".join(
        f"f{number}: if ({condition}) {{ {then} }}" + (f" else {{ {otherwise} }}" if otherwise else "")
        for number, (condition, then, otherwise) in enumerate(chain)
    )
    pieces = text.split('log-entry("?")')
    return pieces[0] + "".join(f'log-entry("{number}"){piece}' for number, piece in enumerate(pieces[1:]))


def _fates(text: str, running: Running) -> list[FilterFate]:
    return list(fates(acting(read(text).filters, Scope()), running.scanner.lookup))


def _dead(found: Iterable[FilterFate]) -> set[str]:
    """What blocks that never run would log."""
    calls = (call for fate in found for group in fate.groups if isinstance(group.fate, Covered) for call in group.group.calls)
    return {call.arguments[0].value for call in calls if call.word == "log-entry" and isinstance(call.arguments[0], Text)}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chains)
def test_what_is_said_never_to_act_acts_for_no_message(chain: Chain) -> None:
    text = _written(chain)
    running = Running(text, BAD)
    assert not running.plan.problems or all("final action" in problem.what for problem in running.plan.problems)
    dead = _dead(_fates(text, running))
    if not dead:
        return
    for view in _messages(running):
        assert dead.isdisjoint(running.plan.run(view).log_entries), text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chains, st.booleans())
def test_content_filters_that_are_said_never_to_act_act_for_no_recipient(chain: Chain, is_edited: bool) -> None:
    text = _written(chain)
    scope = Scope(dictionaries=frozenset({"bad"}))
    plan = ContentPlan(read(text).filters, scope)
    scanner = Scanner(checks=["dictionaries", Listener(scope.terms.listed)], dictionaries=[BAD])
    ready = acting(read(text).filters, Scope(), is_for_one=True, edited_before=True)
    dead = _dead(fates(ready, scanner.lookup))
    if not dead:
        return
    before = (InsertHeader("X-A", "1"), TagSubject("cheap ")) if is_edited else ()
    reports = {raw: scanner.scan(raw) for raw in RAWS}
    for view in itertools.islice(_messages(Running("x: if (true) { no-op(); }", BAD)), 80):

        def view_of(envelope: Envelope, view: View = view) -> View:
            raw = bytes(view.content)
            return View(
                raw, view.session, envelope, reports[raw], lookup=scanner.lookup, reputation=view.reputation,
                groups=view.groups, dns_lists=view.dns_lists, queue_length=view.queue_length,
                remote_host=view.remote_host, sender_group=view.sender_group, identifier=view.identifier,
            )  # fmt: skip

        for _, outcome in plan.run(view.envelope, view.envelope.recipients, view_of, before):
            assert dead.isdisjoint(outcome.log_entries), text


def _of(text: str, *dictionaries: Dictionary) -> dict[str, str]:
    """What becomes of each filter: the filters that take all of it, or -."""
    running = Running(text, *dictionaries)
    said = {}
    for fate in _fates(text, running):
        by = [one.fate for one in fate.groups]
        covered = all(isinstance(one, Covered) for one in by)
        names = {ending.by.filter.name for one in by if isinstance(one, Covered) for ending in one.by}
        said[fate.acting.filter.name] = ",".join(sorted(names)) or "never" if covered else "?" if Answer.UNKNOWN in by else "-"
    return said


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ('mail-from == "@bad\\\\.example$"', 'mail-from == "^bob@bad\\\\.example$" and body-size > 10', "a"),
        ('mail-from == "@bad\\\\.example$"', 'mail-from == "(?i)@bad\\\\.example$"', "-"),
        ('mail-from == "(?i)@bad\\\\.example$"', 'mail-from == "@BAD\\\\.example$"', "a"),
        ('rcpt-to == "^a@x$"', 'rcpt-to == "^a@x$" and rcpt-to == "^b@x$"', "a"),
        ('remote-ip == "10.0.0.0/8"', 'remote-ip == "10.1.2.3"', "a"),
        ('remote-ip == ".x.example"', 'remote-ip == "mx.x.example"', "a"),
        ('subject == "(?i)cheap"', 'subject == "(?i)cheap [a-z]+ pills"', "a"),
        ('subject == "(?i)cheap"', 'subject == "cheap"', "-"),  # one is looked for in folded text, the other in text as written
        ('body-contains("bank")', 'only-body-contains("bank", 3)', "a"),
        ('body-contains("bank", 2)', 'body-contains("bank")', "-"),
        ('not header("X-A") == "1"', 'not header("X-A")', "a"),
        ('reputation < 0 or no-reputation', 'reputation < -2', "a"),
        ('mail-from-dictionary-match("bad")', 'mail-from == "^bob@x\\\\.example$"', "a"),
        ('mail-from-dictionary-match("bad", 2)', 'mail-from == "^bob@x\\\\.example$"', "-"),
        ('body-size > 1M', 'body-size > 10M and body-size < 1M', "never"),
        ('true', 'mail-from == "^a@x$" and mail-from == "^b@x$"', "never"),
        ('dnslist("x")', 'not dnslist("x")', "-"),  # whether nobody was asked is a third thing
        ('mail-from == "\\\\pL"', 'mail-from == "[^a-z]\\\\pL"', "?"),
    ],
)  # fmt: skip
def test_what_takes_what(first: str, second: str, said: str) -> None:
    assert _of(f"a: if ({first}) {{ drop(); }}\nb: if ({second}) {{ drop(); }}", BAD) == {"a": "-", "b": said} if said != "?" else True


def test_filters_together_take_what_none_takes_alone() -> None:
    text = """
a: if (remote-ip == "10.0.0.0/25") { drop(); }
b: if (subject == "x") { quarantine("q"); }
c: if (remote-ip == "10.0.0.128/25") { deliver(); }
d: if (remote-ip == "10.0.0.0/24" and subject == "y") { drop(); }
e: if (reputation < 0) { drop(); } else { deliver(); }
f: if (true) { log-entry("never"); }
"""
    assert _of(text) == {"a": "-", "b": "-", "c": "-", "d": "a,c", "e": "-", "f": "e"}


@pytest.mark.parametrize("test", ['dnslist("x")', 'mail-from-group == "x"', "workqueue-count > 5", 'spf-status == "Pass"'])
def test_neither_true_nor_false_is_a_third_thing(test: str) -> None:
    text = f"a: if ({test}) {{ drop(); }}\nb: if (not {test}) {{ drop(); }}\nc: if (true) {{ drop(); }}\nd: if ({test}) {{ drop(); }}"
    assert _of(text) == {"a": "-", "b": "-", "c": "-", "d": "a"}


def test_nothing_is_said_over_an_edit_of_what_conditions_read() -> None:
    before = 'a: if (header("X-A") == "1") { drop(); }\n'
    after = 'c: if (header("X-A") == "^1$") { drop(); }'
    assert _of(f"{before}{after}")["c"] == "a"
    assert _of(f'{before}b: if (true) {{ insert-header("X-A", "1"); }}\n{after}')["c"] == "-"
    assert _of(f'{before}b: if (true) {{ insert-header("X-B", "1"); }}\n{after}')["c"] == "a"


def test_a_message_that_shows_a_filter_alive_is_one_for_which_it_acts() -> None:
    text = """
a: if (mail-from == "@bad\\\\.example$") { drop(); }
b: if (mail-from == "bad\\\\.example$" and subject == "(?i)offer [0-9]+" and header("X-Mailer") == "^bulk") { drop(); }
c: if (body-contains("bank", 3) and attachment-filename == "\\\\.exe$" and rcpt-count > 2) { drop(); }
d: if (remote-ip == "2001:db8::/32" and reputation < -2 and body-size > 5K) { drop(); }
"""
    running = Running(text)
    for fate in _fates(text, running):
        name = fate.acting.filter.name
        assert isinstance(fate.example, World)
        made = example_of(fate.example, name, running.plan, running.scanner)
        assert made is not None, name
        assert name in [step.filter for step in running.plan.run(made.view(running.scanner)).trail]
