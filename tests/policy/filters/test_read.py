"""Reading message filters: what the language means, and what is said of what is wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import ConfigurationError
from esa.policy.filters.read import MOST_FAULTS, faults_in, read
from esa.policy.filters.tree import And, Block, Call, If, Not, Number, Or, Text, Texts
from esa.policy.filters.tree import Test as Rule

A, B, C = Rule("a"), Rule("b"), Rule("c")


def condition_of(text: str) -> object:
    return read(f"x: if ({text}) {{ drop(); }}").filters[0].statement.condition


def actions_of(text: str) -> Block:
    return read(f"x: if (true) {{ {text} }}").filters[0].statement.then


def test_a_filter_has_a_name_a_condition_and_actions() -> None:
    (one,) = read('spoof: if (mail-from == "@example\\\\.com$") { log-entry("x"); drop(); }').filters
    assert (one.name, one.is_active) == ("spoof", True)
    assert one.statement.condition == Rule("mail-from", (), "==", Text("@example\\.com$"))
    assert one.statement.then.items == (Call("log-entry", (Text("x"),)), Call("drop"))


def test_an_exclamation_mark_makes_a_filter_inactive() -> None:
    assert [one.is_active for one in read("x! if (true) { drop(); } y: if true { drop(); }").filters] == [False, True]


def test_tests_are_grouped_from_left_to_right_whatever_joins_them() -> None:
    assert condition_of("a or b and c") == And(Or(A, B), C)
    assert condition_of("a and b or c") == Or(And(A, B), C)
    assert condition_of("a or (b and c)") == Or(A, And(B, C))


def test_not_belongs_to_the_test_behind_it() -> None:
    assert condition_of("not a and b") == And(Not(A), B)
    assert condition_of("not (a and b)") == Not(And(A, B))
    assert condition_of("not not a") == Not(Not(A))


def test_words_of_the_grammar_are_written_in_any_case() -> None:
    assert read("x: IF (a AND NOT b) { drop(); } ELSE { bounce(); }") == read("x: if (a and not b) { drop(); } else { bounce(); }")


def test_a_name_may_begin_with_a_word_of_the_grammar() -> None:
    assert condition_of("notable and iffy or android") == Or(And(Rule("notable"), Rule("iffy")), Rule("android"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"ik\\.ac\\.uk"', r"ik\.ac\.uk"),
        (r'"ik\.ac\.uk"', r"ik\.ac\.uk"),
        (r'"say \"now\""', 'say "now"'),
        (r"'it\'s'", "it's"),
        (r"'a \"b\"'", 'a "b"'),
        (r'"\\\\server"', r"\\server"),
        (r'"\bword\b"', r"\bword\b"),
        ('"# no comment"', "# no comment"),
        ('"Grüße"', "Grüße"),
    ],
)
def test_a_backslash_escapes_quotes_and_itself_only(written: str, meant: str) -> None:
    assert condition_of(f"subject == {written}") == Rule("subject", (), "==", Text(meant))


def test_the_place_of_a_character_in_a_text_counts_its_escapes() -> None:
    test = condition_of(r'subject == "a\\.b(?=c)"')
    assert isinstance(test, Rule)
    assert isinstance(test.value, Text)
    assert test.value.value == r"a\.b(?=c)"
    assert test.value.place(test.value.value.index("(")).column == len(r'x: if (subject == "a\\.b(')


@pytest.mark.parametrize(
    ("written", "value"), [("10", 10.0), ("-3.5", -3.5), ("100K", 102_400.0), ("5m", 5.0 * (1 << 20)), ("1G", float(1 << 30))]
)
def test_numbers_may_have_a_sign_a_fraction_or_a_unit(written: str, value: float) -> None:
    test = condition_of(f"body-size > {written}")
    assert isinstance(test, Rule)
    assert test.value == Number(written)
    assert isinstance(test.value, Number)
    assert test.value.value == value


def test_arguments_are_texts_numbers_and_lists() -> None:
    assert condition_of("url-reputation(-10, -6.5, 'list', 1)") == Rule(
        "url-reputation", (Number("-10"), Number("-6.5"), Text("list"), Number("1"))
    )
    assert actions_of("url-category-defang(['a', 'b'], '', 1);").items == (
        Call("url-category-defang", (Texts((Text("a"), Text("b"))), Text(""), Number("1"))),
    )


def test_a_comparison_may_stand_inside_the_parentheses_as_some_rules_have_it() -> None:
    assert condition_of('signed-certificate("issuer" == "x")') == condition_of('signed-certificate("issuer") == "x"')


def test_statements_nest_without_end() -> None:
    depth = 200
    text = "if (a) { " * depth + "drop();" + " }" * depth
    statement = read(f"x: {text}").filters[0].statement
    for _ in range(depth - 1):
        inner = statement.then.items[0]
        assert isinstance(inner, If)
        statement = inner
    assert statement.then.items == (Call("drop"),)


def test_else_if_is_an_if_within_the_else() -> None:
    assert read("x: if (a) { drop(); } else if (b) { bounce(); }") == read("x: if (a) { drop(); } else { if (b) { bounce(); } }")


def test_the_last_action_may_stand_without_a_semicolon() -> None:
    assert actions_of("log-entry('a'); drop()") == actions_of("log-entry('a'); drop();")


def test_comments_stay_where_they_stand() -> None:
    found = read("""\
# of the file's first filter
# in two lines
x: # why
if (true) {
    # before
    log-entry("a");  # beside
    if (a) {  # in the midst
        drop();
    }
    # at the end
}
# behind all
""")
    (one,) = found.filters
    assert one.comments == ("of the file's first filter", "in two lines")
    assert one.statement.comments == ("why",)
    first, second = one.statement.then.items
    assert isinstance(first, Call)
    assert (first.comments, first.remark) == (("before",), "beside")
    assert isinstance(second, If)
    inner = second.then.items[0]
    assert isinstance(inner, Call)
    assert inner.comments == ("in the midst",)
    assert one.statement.then.comments == ("at the end",)
    assert found.comments == ("behind all",)


@pytest.mark.parametrize(
    ("text", "where", "what", "mend"),
    [
        ("x: fi (a) { b(); }", "column 4", "'fi' cannot stand here", "did you mean 'if'?"),
        ("x: if (a) { b() c(); }", "column 17", "'c' cannot stand here", "write ';' or '}'"),
        ('x: if (a = "b") { c(); }', "column 10", "'=' has no meaning here", "write == where both sides are to be equal"),
        ("x: if (a && b) { c(); }", "column 10", "'&' has no meaning here", "write and"),
        ('x: if (a == "b) { c(); }', "column 13", 'the text that begins here has no closing "', 'close it with "'),
        ("x: if (a) { c();", "column 17", "the filters end in the midst of one", "write"),
        ("x if (a) { c(); }", "column 3", "'if' cannot stand here", "write '!' or ':'"),
        ("x: if (a) { c; }", "column 14", "';' cannot stand here", "write '('"),
        ("x: if (a) { c('a', ); }", "column 20", "')' cannot stand here", "a text in quotes"),
        ("x: if (a) { drop(); } els { drop(); }", "column 27", "'{' cannot stand here", "write"),
        ("\n\nx: if (a { drop(); }", "line 3, column 10", "'{' cannot stand here", "write"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_could_stand_there(text: str, where: str, what: str, mend: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text, "site.filters")
    assert caught.value.what == what
    assert str(caught.value.where).startswith("site.filters, line ")
    assert str(caught.value.where).endswith(where)
    assert mend in str(caught.value.mend)


MANY = """\
# a comment: with if (no filter) in it
first: if (true) { drop(); }
broken if (true) { drop(); }
second: if (subject = "x") { drop(); }
third: if (true) { tag-message("never closed: if"); }
fourth: if (true) { drop();
fifth! if (true) { drop(); } }
sixth:
# between name and if
if (true { drop(); }
seventh: if (true) { drop(); }
last: if (true) {
"""


def test_reading_goes_on_after_a_fault_and_all_are_told() -> None:
    faults = faults_in(MANY, "many.filters")
    places = [(fault.where or "").removeprefix("many.filters, ") for fault in faults]
    assert places == [
        "line 3, column 8",
        "line 4, column 21",
        "line 7, column 6",
        "line 7, column 30",
        "line 10, column 10",
        "line 13, column 1",
    ]
    with pytest.raises(ConfigurationError) as raised:
        read(MANY, "many.filters")
    assert str(raised.value).startswith("many.filters: 6 places cannot be read\nmany.filters, line 3, column 8: 'if' cannot stand here\n")
    assert all(str(fault) in str(raised.value) for fault in faults)


def test_what_is_read_after_a_fault_is_read_as_if_there_had_been_none() -> None:
    before = read("a: if (true) { drop(); } # behind a\n# before b\nb: if (true) { no-op(); }")
    assert len(faults_in(MANY)) == 6
    assert faults_in("") == []
    assert read("a: if (true) { drop(); } # behind a\n# before b\nb: if (true) { no-op(); }") == before


def test_a_file_of_something_else_is_told_in_few_words_and_little_time() -> None:
    faults = faults_in("name: value if it is\nx: if y\n" * 20_000)
    assert len(faults) == MOST_FAULTS
    with pytest.raises(ConfigurationError, match="20 places, and perhaps more"):
        read("x: if y\n" * 1_000)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab:!{}();"# \nif=\\', max_size=120))
def test_whatever_stands_there_reading_ends_and_the_first_fault_is_told_first(text: str) -> None:
    faults = faults_in(text)
    if faults:
        with pytest.raises(ConfigurationError, match=r"cannot|closing|meaning|end") as raised:
            read(text)
        assert str(faults[0]) in str(raised.value)
        assert len({fault.where for fault in faults}) == len(faults)
    else:
        read(text)


def test_texts_are_read_at_one_time_by_many_threads() -> None:
    texts = [f"# of {number}\nf{number}: if (true) {{ drop(); }} # behind" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, texts)) == [read(text) for text in texts]
