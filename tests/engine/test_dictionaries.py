"""Dictionary files: one term a line, weights, comments; and what is said about lines that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from esa import Scanner
from esa.engine.checks.dictionaries import Dictionary
from esa.errors import ConfigurationError


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
        ("# nothing\n", "d.txt", "no term"),
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
        Scanner(dictionaries=[Dictionary("d", {"a": 1}), Dictionary("d", {"b": 1})])
