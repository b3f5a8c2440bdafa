"""Dictionaries of AsyncOS made ours, ours written for AsyncOS, and what is said of a dictionary that deserves a look."""

from __future__ import annotations

from datetime import date

import pytest

from esa import Dictionary
from esa.engine.dictionary import Entry, read_options
from esa.engine.dictionary_audit import audit
from esa.engine.dictionary_exchange import for_asyncos, taken_over
from esa.errors import ConfigurationError

EXPORT = "# finance, 2009\r\ncodename.*\r\n*credit, 5\r\naccount, 2\r\nbank\r\n\r\n(?<=x)y, 3\r\n[#]1 offer\r\nBank\r\n"


def test_an_export_is_taken_over_with_its_comments_and_what_cannot_be_used_is_kept_as_a_comment() -> None:
    text, faults = taken_over(EXPORT, kind="expressions", whole_words=False, where="export.txt")
    assert text.split("\n") == [
        "# esa: kind = expressions",
        "# esa: whole_words = false",
        "# finance, 2009",
        "codename.*",
        "*credit, 5",
        "account, 2",
        "bank",
        "",
        "# not used, column 1: (?<= is look-behind, which RE2 cannot do: (?<=x)y, 3",
        "[#]1 offer",
        "# not used, 'Bank' stands there twice: Bank",
        "",
    ]
    assert [fault.where for fault in faults] == ["export.txt, line 7", "export.txt, line 9"]
    dictionary = Dictionary.from_text("finance", text)
    assert (dictionary.kind, dictionary.whole_words) == ("expressions", False)
    assert dictionary.terms == {"codename.*": 1, "*credit": 5, "account": 2, "bank": 1, "#1 offer": 1}


def test_what_was_taken_over_goes_back_as_it_came() -> None:
    export = "# finance\ncodename.*\n*credit, 5\naccount, 2\n[#]1 offer\n"
    text, _ = taken_over(export, kind="expressions", case_sensitive=True, where="e")
    back, unknown = for_asyncos(text, read_options(text))
    assert (back, unknown) == (text, [])
    assert "\n".join(line for line in back.split("\n") if not line.startswith("# esa:")) == export


def test_a_file_of_ours_is_taken_over_as_it_is_and_options_given_go_before_its_own() -> None:
    text = "# esa: case_sensitive = true\n# note\nbank  # owner: me\n"
    assert taken_over(text, where="d") == (text, [])
    assert taken_over(text, case_sensitive=False, where="d") == ("# note\nbank  # owner: me\n", [])
    with pytest.raises(ConfigurationError, match="no kind of dictionary"):
        taken_over("# esa: kind = what\n", where="d")


def test_terms_are_written_so_that_asyncos_takes_them_for_the_text_they_are() -> None:
    text = 'a+b, 2  # until 2027-01-01; why\n/in\\d/\n*card\n*iban\n"(x)"\n# end\n'
    written, unknown = for_asyncos(text, read_options(text))
    assert written == "# esa: kind = expressions\na\\+b, 2  # until 2027-01-01; why\nin\\d\n*credit\n*iban\n\\(x\\)\n# end\n"
    assert unknown == [Entry("*iban", 1, "identifier")]
    networks = "# esa: kind = networks\n192.0.2.0/24\n"
    assert for_asyncos(networks, read_options(networks)) == (
        "# esa: kind = expressions\n192.0.2.0/24\n",
        [Entry("192.0.2.0/24", 1, "network")],
    )


def remarks(text: str) -> list[tuple[int, str]]:
    return [(one.line, one.kind) for one in audit("d", text, date(2026, 6, 1))]


def test_a_sound_dictionary_deserves_no_remark() -> None:
    assert audit("d", "# head\nbank, 2\naccount  # until 2026-06-01\n/inv\\d+/\n*card\n", date(2026, 6, 1)) == []
    assert audit("d", "", date(2026, 6, 1)) == []


def test_each_thing_that_deserves_a_look_is_told_with_its_line() -> None:
    text = "bank\nBANK\nold  # until 2026-05-31\n\u200b\u200d\n/.*lock.*/\n/^.*$/\nbank account\n/a(?!b)/\nx, 11\n/out\\.*/\n"
    found = audit("d", text, date(2026, 6, 1))
    assert [(one.line, one.kind) for one in found] == [
        (2, "fault"),
        (3, "expired"),
        (4, "never"),
        (5, "greedy"),
        (6, "fault"),
        (7, "contained"),
        (8, "fault"),
        (9, "fault"),
    ]
    assert found[3].mend == "write lock"
    assert found[5].what == "in 'bank account' stands 'bank' (line 1): each counts"
    assert "column 3" in found[6].what


def test_entries_of_types_stand_in_wider_ones() -> None:
    assert remarks("# esa: kind = networks\n192.0.2.0/24\n192.0.2.7\n198.51.100.0/24\n192.0.0.0/16\n") == [
        (2, "contained"),
        (3, "contained"),
    ]
    assert remarks("# esa: kind = domains\n.example.org\nmail.example.org\nexample.net\n.example.com\n") == [(3, "contained")]
    assert remarks("# esa: kind = addresses\na@example.org\n@example.org\nb@example.net\n") == [(2, "contained")]


def test_wrong_options_are_a_remark_and_so_are_too_many_expressions_that_any_text_may_match() -> None:
    assert remarks("# esa: kind = odd\nbank\n") == [(1, "fault")]
    many = "".join(f"/[a-z]{{{number}}}[0-9]/\n" for number in range(1, 102))
    assert ("fault") in {kind for _, kind in remarks(many)}
