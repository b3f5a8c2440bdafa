"""Merged filters treat every message as those before did: by proof, at the edges, and over generated filters and mail."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esa.engine.dictionary import Dictionary
from esa.engine.verdict import Report
from esa.message.envelope import Envelope, Session
from esa.policy.audit.certificate import Side, comparison_of, try_edges
from esa.policy.audit.merging import Merge, merged, propose, proved_equal
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope
from esa.policy.filters.tree import Filter
from esa.policy.filters.write import write_filter
from esa.policy.view import View


def _filters(text: str) -> tuple[Filter, ...]:
    return read(text, "test.filters").filters


def _sides(filters: Sequence[Filter], merges: Sequence[Merge]) -> tuple[Side, Side]:
    after = Side(merged(filters, merges), [one.dictionary for one in merges], Scope())
    assert not after.plan.problems
    for one in merges:
        assert Dictionary.from_text(one.dictionary.name, one.dictionary.to_text()) == one.dictionary
        assert read(write_filter(one.filter)).filters[0].statement == one.filter.statement
    return Side(filters, [], Scope()), after


def _proposed(text: str, fewest: int = 2) -> list[tuple[str, ...]]:
    return [tuple(member.name for member in one.members) for one in propose(_filters(text), Scope(), fewest=fewest)]


def test_filters_of_one_address_each_become_one_filter_and_one_dictionary() -> None:
    text = "".join(f"# asked by {n}\nu{n}: if (mail-from == '^user{n}@bad\\.example$') {{ drop(); }}  \n" for n in range(300))
    filters = _filters(text)
    (merge,) = propose(filters, Scope())
    assert len(merge.members) == 300 and len(merge.dictionary.entries) == 300
    assert merge.dictionary.entries[7].comment == "u7: asked by 7"
    assert [one.name for one in merged(filters, [merge])] == ["drop_by_mail_from"]
    assert proved_equal(merge)
    compared = try_edges([merge], *_sides(filters, [merge]))
    assert compared.different == 0, compared.differences
    assert compared.acted >= 300


@pytest.mark.parametrize(
    "condition", ['mail-from == "{}^ann{}@x\\\\.example$"', 'rcpt-to == "{}@x{}\\\\.example$"', 'subject == "{}offer {}"']
)
@pytest.mark.parametrize("flag", ["", "(?i)"])
def test_each_kind_is_proved_equal(condition: str, flag: str) -> None:
    filters = _filters("\n".join(f"f{n}: if ({condition.format(flag, n)}) {{ quarantine('q'); }}" for n in range(4)))
    merges = propose(filters, Scope())
    assert [len(one.members) for one in merges] == [4]
    assert all(map(proved_equal, merges))
    assert try_edges(merges, *_sides(filters, merges)).different == 0


@pytest.mark.parametrize(
    "values",
    [
        ("192.0.2.1", "192.0.2.0/25", "198.51.100.7/24", "10.0.0.0/8"),
        ("2001:db8::1", "2001:db8:1::/48", "2001:db8:2::7/64"),
        ("mx.bad.example", "mx1.bad.example", "MX2.bad.example", "a-b.bad.example"),
    ],
)
def test_clients_are_merged_by_networks_and_by_names(values: tuple[str, ...]) -> None:
    filters = _filters("\n".join(f"f{n}: if (remote-ip == '{value}') {{ drop(); }}" for n, value in enumerate(values)))
    merges = propose(filters, Scope())
    assert [len(one.members) for one in merges] == [len(values)]
    assert all(map(proved_equal, merges))
    compared = try_edges(merges, *_sides(filters, merges))
    assert compared.different == 0, compared.differences
    assert compared.acted >= len(values)


@pytest.mark.parametrize(
    "values", [("::/0", "::ffff:0:0/97", "::ffff:10.0.0.1"), (".a.example", ".b.example", ".c.example"), ("10.0.0.1-10.0.0.9",) * 3]
)
def test_clients_that_a_dictionary_takes_otherwise_are_left_alone(values: tuple[str, ...]) -> None:
    assert _proposed("\n".join(f"f{n}: if (remote-ip == '{value}') {{ drop(); }}" for n, value in enumerate(values))) == []


@pytest.mark.parametrize(
    "between",
    [
        'k: if (subject == "x") { quarantine("q"); }',
        'k: if (mail-from == "@x\\\\.example$") { deliver(); }',
        'k: if (true) { log-entry("all"); }',
        "k: if (rcpt-count > 1) { drop(); } else { deliver(); }",
    ],
)
def test_no_filter_is_moved_over_one_that_may_act_on_the_same_message(between: str) -> None:
    assert (
        _proposed(
            f'a: if (mail-from == "^a@x\\\\.example$") {{ drop(); }}\n{between}\nb: if (mail-from == "^b@x\\\\.example$") {{ drop(); }}'
        )
        == []
    )


@pytest.mark.parametrize(
    "between",
    [
        'k: if (subject == "x") { drop(); }',  # does the very same
        'k: if (mail-from == "@y\\\\.example$") { quarantine("q"); }',  # is for other mail
        "k! if (true) { deliver(); }",  # does not run
    ],
)
def test_a_filter_is_moved_over_one_that_makes_no_difference(between: str) -> None:
    text = f'a: if (mail-from == "^a@x\\\\.example$") {{ drop(); }}\n{between}\nb: if (mail-from == "^b@x\\\\.example$") {{ drop(); }}'
    assert _proposed("\n".join(line for line in text.splitlines() if "!" not in line)) == [("a", "b")]


@pytest.mark.parametrize(
    ("first", "second", "actions"),
    [
        ("rcpt-to == '^a@x.example$'", "rcpt-to == '^b@x.example$'", "log-entry('seen');"),  # two recipients: it would be written once
        ("mail-from == '^a@x\\.example$'", "mail-from == '^b@x\\.example$'", "log-entry('$FilterName');"),
        ("subject == 'a'", "subject == 'b'", "edit-header-text('subject', 'a', 'b');"),  # what the second sees is the first's doing
        ("mail-from == 'a@x'", "mail-from == 'b@x'", "drop();"),  # stand anywhere in the address
        ("mail-from == '^a@x\\.example$'", "mail-from == '(?i)^b@x\\.example$'", "drop();"),
        ("mail-from == '^a@x\\.example$' and true", "mail-from == '^b@x\\.example$' and true", "drop();"),
        ("mail-from != '^a@x\\.example$'", "mail-from != '^b@x\\.example$'", "drop();"),
    ],
)
def test_what_would_not_be_the_same_is_not_merged(first: str, second: str, actions: str) -> None:
    assert _proposed(f"a: if ({first}) {{ {actions} }}\nb: if ({second}) {{ {actions} }}") == []


ADDRESSES = ["a@x.example", "b@x.example", "A@x.example", "a@y.example", "b.a@x.example", "a@x.example.example", ""]
TESTS = [
    'mail-from == "^a@x\\\\.example$"',
    'mail-from == "^b@x\\\\.example$"',
    'mail-from == "@y\\\\.example$"',
    'mail-from == "(?i)^a@x\\\\.example$"',
]
TESTS += [
    'mail-from == "(?i)@Y\\\\.example$"',
    'rcpt-to == "^a@x\\\\.example$"',
    'rcpt-to == "^b@x\\\\.example$"',
    'rcpt-to == "@y\\\\.example$"',
]
TESTS += [
    'subject == "one"',
    'subject == "two"',
    'subject == "(?i)two"',
    'subject == "(?i)three"',
    "true",
    'header("X-A")',
    "rcpt-count > 1",
]
ACTIONS = [
    "drop();",
    "deliver();",
    'quarantine("q");',
    'quarantine("r");',
    'log-entry("seen");',
    'insert-header("X-A", "1");',
    'log-entry("s"); drop();',
]
ACTIONS += ['edit-header-text("subject", "one", "two");', 'alt-rcpt-to("c@x.example");']
chains = st.lists(st.tuples(st.sampled_from(TESTS), st.sampled_from(ACTIONS)), min_size=2, max_size=8)
RAWS = [
    f"Subject: {subject}\r\n{field}\r\nhello\r\n".encode()
    for subject in ("one", "TWO three", "one two", "none")
    for field in ("", "X-A: 0\r\n")
]


@settings(max_examples=100, deadline=None)
@given(chains)
@example(  # scores of dictionaries are not counted anew when the subject was edited
    [
        ('mail-from == "^a@x\\\\.example$"', 'edit-header-text("subject", "one", "two");'),
        ('subject == "one"', "drop();"),
        ('subject == "one"', "drop();"),
    ]
)
def test_the_merged_filters_are_equal_to_the_old_ones_for_every_message(chain: list[tuple[str, str]]) -> None:
    filters = _filters("\n".join(f"f{number}: if ({condition}) {{ {action} }}" for number, (condition, action) in enumerate(chain)))
    merges = propose(filters, Scope(), fewest=2)
    assert all(map(proved_equal, merges))
    if not merges:
        return
    before, after = _sides(filters, merges)
    compared = comparison_of(merges)
    envelopes = [
        Envelope(sender, recipients)
        for sender in ADDRESSES
        for recipients in (("a@x.example",), ("b@x.example", "A@y.example"), ("z@z.example",))
    ]
    clients = itertools.cycle(
        [("10.0.0.7", ""), ("10.0.0.9", "mx.x.example"), ("192.0.2.1", "my.x.example"), ("192.0.2.1", ""), ("", "x.example")]
    )
    for (raw, envelope), (client, host) in zip(itertools.product(RAWS, envelopes), clients, strict=False):
        session = Session(client_address=client, listener="mail")
        reports = {id(side): side.scanner.scan(raw) for side in (before, after)}

        facts = raw, session, envelope, host

        def view_of(side: Side, facts: tuple[bytes, Session, Envelope, str] = facts, reports: Mapping[int, Report] = reports) -> View:
            raw, session, envelope, host = facts
            return View(raw, session, envelope, reports[id(side)], lookup=side.scanner.lookup, identifier="x", remote_host=host)

        compared.compare(before, after, view_of, f"{facts}")
    assert compared.different == 0, compared.differences
