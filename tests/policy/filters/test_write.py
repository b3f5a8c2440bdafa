"""Writing message filters: whatever is written reads as what it was, and is written the same again."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esa.policy.filters.read import read
from esa.policy.filters.tree import And, Block, Call, Condition, Filter, FilterFile, If, Not, Number, Or, Text, Texts, Value
from esa.policy.filters.tree import Test as Rule
from esa.policy.filters.write import write, write_condition

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
words = st.sampled_from(("a", "B_2", "_x-", "if-not", "Elsewhere", "and_", "or9", "notable", "header", "drop-attachments-by-name", "true"))
lines = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\x85"), max_size=20)
texts = st.builds(Text, lines | st.text("\\\"'#;{}ab", max_size=8))
numbers = st.builds(Number, st.sampled_from(("0", "-10", "+3", "6.25", "-0.5", "100K", "5M", "1G", "2k", "007")))
values: st.SearchStrategy[Value] = texts | numbers | st.builds(Texts, st.lists(texts, min_size=1, max_size=3).map(tuple))
arguments = st.lists(values, max_size=3).map(tuple)
plain_tests = st.builds(Rule, words, arguments)
comparisons = st.builds(Rule, words, arguments, st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), values)
conditions: st.SearchStrategy[Condition] = st.recursive(
    plain_tests | comparisons,
    lambda inner: st.builds(Not, inner) | st.builds(And, inner, inner) | st.builds(Or, inner, inner),
    max_leaves=6,
)
remarks = lines.map(str.strip)
comments = st.lists(remarks, max_size=2).map(tuple)
calls = st.builds(Call, words, arguments, comments=comments, remark=remarks)


def blocks(items: st.SearchStrategy[Call | If]) -> st.SearchStrategy[Block]:
    return st.builds(Block, st.lists(items, max_size=3).map(tuple), comments)


statements: st.SearchStrategy[If] = st.recursive(
    st.builds(If, conditions, blocks(calls), comments=comments),
    lambda inner: st.builds(If, conditions, blocks(calls | inner), st.none() | blocks(calls | inner), comments=comments),
    max_leaves=4,
)
files = st.builds(
    FilterFile,
    st.lists(st.builds(Filter, words, statements, st.booleans(), comments=comments), max_size=3).map(tuple),
    comments,
)


@unhurried
@given(files)
def test_what_is_written_reads_as_it_was(file: FilterFile) -> None:
    text = write(file)
    assert read(text) == file
    assert write(read(text)) == text


@unhurried
@given(conditions)
def test_a_condition_in_one_line_reads_as_it_was(condition: Condition) -> None:
    assert read(f"x: if ({write_condition(condition)}) {{ }}").filters[0].statement.condition == condition


def test_parentheses_stand_where_the_grouping_needs_them() -> None:
    a, b, c = Rule("a"), Rule("b"), Rule("c")
    assert write_condition(Or(And(a, b), c)) == "a and b or c"
    assert write_condition(And(a, Or(b, c))) == "a and (b or c)"
    assert write_condition(Not(And(a, b))) == "not (a and b)"


def test_the_layout_is_the_one_that_people_write() -> None:
    text = """\
# outside mail that claims to be ours
spoof:
if (recv-listener == "InboundMail" and mail-from == "@example\\\\.com$") {
    # told first
    log-entry("spoofed: $EnvelopeFrom");
    if (rcpt-count > 10) {
        drop();  # a run
    } else {
        quarantine("Policy");
    }
}

off!
if (true) {
    no-op();
}
"""
    assert write(read(text)) == text
