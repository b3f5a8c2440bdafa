"""Dictionary files: one term a line, weights, comments; and what is said about lines that are wrong."""

from __future__ import annotations

import re
from datetime import date
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa import Scanner
from esa.engine.dictionary import Dictionary, Entry, EntryKind, Options, key_of, write_entry
from esa.engine.expression_syntax import expression_fault
from esa.errors import ConfigurationError, SyntaxFault


def test_a_line_is_a_term_and_its_weight_is_one() -> None:
    assert dict(Dictionary.from_text("d", "ABA\naccount\n").terms) == {"ABA": 1, "account": 1}


def test_a_weight_follows_the_last_comma() -> None:
    assert dict(Dictionary.from_text("d", "ABA, 3\ndear sir, or madam,2\n").terms) == {"ABA": 3, "dear sir, or madam": 2}


def test_three_digits_behind_a_comma_are_no_weight() -> None:
    assert dict(Dictionary.from_text("d", "win 1,000\n").terms) == {"win 1,000": 1}


def test_a_quoted_term_is_taken_as_it_stands() -> None:
    assert dict(Dictionary.from_text("d", '"bank, 5"\n"a b", 4\n').terms) == {"bank, 5": 1, "a b": 4}


def test_comments_and_empty_lines_are_no_terms_and_a_bracketed_sign_is_no_comment() -> None:
    text = "# head\n\naccount # of anybody\n[#]1 offer, 2\n"
    assert dict(Dictionary.from_text("d", text).terms) == {"account": 1, "#1 offer": 2}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("bank\naccount, 11\n", "d.txt, line 2", "0 to 10, not 11"),
        ("bank, -1\n", "d.txt, line 1", "not -1"),
        (", 4\n", "d.txt, line 1", "without a term"),
        ("bank\nBANK\n", "d.txt, line 2", "twice"),
        ("x" * 2000, "d.txt, line 1", "1024 octets"),
    ],
)
def test_a_wrong_line_is_named(text: str, where: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Dictionary.from_text("d", text, where="d.txt")
    assert caught.value.where == where
    assert what in caught.value.what


def test_a_file_gives_its_name_and_a_byte_order_mark_is_no_part_of_a_term(tmp_path: Path) -> None:
    path = tmp_path / "finance.txt"
    path.write_bytes(b"\xef\xbb\xbfbank, 2\r\n")
    dictionary = Dictionary.from_file(path)
    assert (dictionary.name, dict(dictionary.terms)) == ("finance", {"bank": 2})


def test_a_file_that_is_absent_or_no_text_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Dictionary.from_file(tmp_path / "absent.txt")
    path = tmp_path / "binary.txt"
    path.write_bytes(b"bank\n\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        Dictionary.from_file(path)


def test_two_dictionaries_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two dictionaries"):
        Scanner(dictionaries=[Dictionary.of("d", {"a": 1}), Dictionary.of("d", {"b": 1})])


# --- kinds, options and notes of entries


def entries(text: str) -> list[Entry]:
    return list(Dictionary.from_text("d", text).entries)


def test_a_file_says_above_its_entries_what_they_are() -> None:
    dictionary = Dictionary.from_text("d", "# of ours\n# esa: kind = addresses\n#\n# esa: case_sensitive = true\nbob@example.com\n")
    assert dictionary.options == Options("addresses", True, True)
    assert list(dictionary.entries) == [Entry("bob@example.com", 1, "address")]


def test_marks_in_a_file_of_terms_make_expressions_and_numbers_and_quotes_make_terms_again() -> None:
    text = '/inv\\d{2,3}/, 4\n*card, 2\n*credit-like\n"/usr/bin/"\n"*ssn"\n"say ""now"""\n/\n'
    assert entries(text) == [
        Entry("inv\\d{2,3}", 4, "expression"),
        Entry("*card", 2, "identifier"),
        Entry("*credit-like"),
        Entry("/usr/bin/"),
        Entry("*ssn"),
        Entry('say "now"'),
        Entry("/"),
    ]


def test_lines_of_an_asyncos_export_with_characters_of_expressions_are_expressions() -> None:
    text = "# esa: kind = expressions\ncodename.*\naccount, 2\n*credit, 5\n[#]1 offer\n"
    assert [(one.text, one.kind) for one in entries(text)] == [
        ("codename.*", "expression"),
        ("account", "term"),
        ("*credit", "identifier"),
        ("#1 offer", "term"),
    ]


def test_typed_entries_are_written_in_one_way() -> None:
    assert entries("# esa: kind = networks\n192.0.2.7/32, 2\n2001:DB8::/32\n") == [
        Entry("192.0.2.7", 2, "network"),
        Entry("2001:db8::/32", 1, "network"),
    ]
    assert entries("# esa: kind = domains\nExample.ORG.\n.Example.net\n") == [
        Entry("example.org", 1, "domain"),
        Entry(".example.net", 1, "domain"),
    ]
    assert entries("# esa: kind = addresses\nBob@EXAMPLE.com\n@example.com\n") == [
        Entry("Bob@example.com", 1, "address"),
        Entry("example.com", 1, "domain"),
    ]
    assert entries(f"# esa: kind = hashes\n{'AB' * 32}\n") == [Entry("ab" * 32, 1, "hash")]
    assert entries(f"# esa: kind = hashes\n{'AB' * 20}, 2\n{'cd' * 16}\n") == [Entry("ab" * 20, 2, "hash"), Entry("cd" * 16, 1, "hash")]


def test_what_stands_behind_an_entry_is_its_last_day_its_owner_and_a_comment() -> None:
    assert entries(
        "a # until 2027-01-31; owner: Human Resources; left in May; who knows\nb # seen until 2027\nc # ; until 2027-01-01\n"
    ) == [
        Entry("a", 1, "term", "left in May; who knows", "Human Resources", date(2027, 1, 31)),
        Entry("b", 1, "term", "seen until 2027"),
        Entry("c", 1, "term", "until 2027-01-01"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "what", "mend"),
    [
        ("# esa: kind = words\na\n", 1, "no kind of dictionary is called 'words'", "terms, expressions"),
        ("# esa: whole-words = no\na\n", 1, "no option", "whole_words"),
        ("a\n# esa: kind = terms\n", 2, "above the first entry", "move this line up"),
        ("a # until 2027-13-01\n", 1, "'2027-13-01' is no date", "2027-01-31"),
        ("# esa: kind = networks\n192.0.2.7/24\n", 2, "host bits set", "192.0.2.0/24"),
        ("# esa: kind = hashes\nabc\n", 2, "no hash of a file", "64"),
        ("# esa: kind = addresses\nexample.com\n", 2, "needs an @", ""),
        ("/a(?=b)/\n", 1, "column 3: (?= is look-ahead", "match the text behind it too"),
        ("x\n/(a|b)\\1/\n", 2, "column 7: \\1 refers", "once more"),
        ("/ab++/\n", 1, "column 4: ++ is a possessive", "last +"),
        ("/a[b/\n", 1, "column 3: missing ]", "backslash"),
        ("/a*/\n", 1, "matches empty text", "+ in the place of *"),
        ("/A/\n/A/\n", 2, "twice", "line 1"),
        ("*card\n*credit\n", 2, "twice", "line 1"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_a_way_out(text: str, line: int, what: str, mend: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Dictionary.from_text("d", text, where="d.txt")
    assert caught.value.where == f"d.txt, line {line}"
    assert what in caught.value.what
    assert mend in (caught.value.mend or "")


def test_expressions_that_differ_in_case_are_two_and_what_stands_in_a_class_is_no_construct() -> None:
    assert [one.text for one in entries("/\\Sa/\n/\\sa/\n/[(?=*+]x/\n")] == ["\\Sa", "\\sa", "[(?=*+]x"]


# --- writing

_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
TEXTS = st.one_of(
    st.text(_CHARACTERS, min_size=1, max_size=20),
    st.text(st.sampled_from(' ,"#[]/*;:a1.@\\()'), min_size=1, max_size=12),
    st.sampled_from(["*card", "*ssn", "/x/", "a, 5", '"a"', "until 2027-01-01", "# esa: kind = terms", "example.org", "straße"]),
).map(str.strip)
NOTES = st.one_of(TEXTS, st.just(""), st.sampled_from(["until 2027-01-01", "owner: me", "; x", "until 2027-01-01; a", ";"]))


@st.composite
def dictionaries(draw: st.DrawFn) -> Dictionary:
    options = Options(draw(st.sampled_from(["terms", "expressions"])), draw(st.booleans()), draw(st.booleans()))
    made: dict[object, Entry] = {}
    for text in draw(st.lists(TEXTS.filter(bool), max_size=6)):
        kind: EntryKind = "expression" if draw(st.integers(0, 2)) == 0 else "term"
        if kind == "expression" and (options.kind == "expressions" or expression_fault(text) is not None):
            text, kind = re.escape(text) + "+", "expression"
        until = draw(st.none() | st.dates(date(2000, 1, 1), date(2099, 1, 1)))
        owner = draw(NOTES.filter(lambda owner: ";" not in owner))
        entry = Entry(text, draw(st.integers(0, 10)), kind, draw(NOTES), owner, until)
        if kind == "term" or (expression_fault(text) is None and text == text.strip()):
            made.setdefault(key_of(entry, options), entry)
    number = draw(st.booleans())
    if number:
        made["number"] = Entry("*iban", 3, "identifier", draw(NOTES))
    return Dictionary("d", list(made.values()), options.whole_words, options.case_sensitive, options.kind)


@settings(deadline=None)
@given(dictionaries())
def test_what_is_written_is_read_as_the_same(dictionary: Dictionary) -> None:
    assert Dictionary.from_text("d", dictionary.to_text()) == dictionary


@settings(deadline=None)
@given(
    st.lists(st.ip_addresses(v=4), max_size=4, unique=True),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4, unique=True),
    st.lists(st.sampled_from(["example.org", ".example.org", "a.b.example"]), unique=True),
)
def test_typed_dictionaries_too(addresses: list[IPv4Address], hashes: list[bytes], domains: list[str]) -> None:
    made = (
        Dictionary("d", [Entry(str(one), 1, "network") for one in addresses], kind="networks"),
        Dictionary("d", [Entry(one.hex(), 2, "hash") for one in hashes], kind="hashes"),
        Dictionary("d", [Entry(one, 10, "domain") for one in domains], kind="domains"),
        Dictionary("d", [Entry(f"x@{one}", 0, "address") for one in domains if one[0] != "."], kind="addresses"),
        Dictionary("d", [Entry(one, 1, "domain") for one in domains if one[0] != "."], kind="addresses"),
    )
    for dictionary in made:
        assert Dictionary.from_text("d", dictionary.to_text()) == dictionary


def test_an_entry_that_a_file_cannot_hold_is_refused() -> None:
    with pytest.raises(SyntaxFault, match="a dictionary of hashes cannot hold this term"):
        write_entry(Entry("bank"), "hashes")
    with pytest.raises(SyntaxFault, match="one line"):
        write_entry(Entry("bank", comment="a\nb"))
