"""What dictionaries report of a message: sums as AsyncOS counts, places, last days, and counts that a plain reading of the text gives too."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import date
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa import Dictionary, Scanner
from esa.engine.checks.dictionaries import Dictionaries, Entries
from esa.engine.dictionary import Entry, EntryKind


def facts(dictionary: Dictionary, raw: bytes, today: date = date(2026, 1, 1)) -> dict[str, object]:
    """What is reported of one dictionary; empty if nothing of it stands there."""
    check = Dictionaries(Entries.of([dictionary]), today=lambda: today)
    found = Scanner(checks=[check]).scan(raw).checks.get("dictionaries", {}).get(dictionary.name, {})
    assert isinstance(found, dict)
    return found


def plain(text: str, *, subject: str = "x") -> bytes:
    return f"From: a@example.net\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()


FINANCE = Dictionary.from_text("finance", "ABA, 3\naccount, 2\nbank, 1\n")
THRESHOLD = 6


def test_sum_of_weights_and_occurrences_meets_a_threshold() -> None:
    """ABA 3, account 2, bank 1, threshold 6."""

    def score(text: str) -> object:
        return facts(FINANCE, plain(text)).get("score", 0)

    assert score("account account account") == THRESHOLD
    assert score("ABA of the account at the bank") == THRESHOLD
    assert score("bank bank bank bank bank") == THRESHOLD - 1
    assert score("nothing of it") == 0


def test_of_numbers_that_overlap_the_one_that_passes_its_check_is_found() -> None:
    raw = plain("9999 4321 9999 9999 9995 1234 5678 9000")
    assert facts(Dictionary.from_text("d", "*credit, 3\n"), raw) == {"score": 3, "terms": {"*credit": 1}, "places": {"body": 3}}


def test_an_entry_of_weight_zero_is_told_and_adds_nothing() -> None:
    assert facts(Dictionary.of("d", {"bank": 0}), plain("my bank")) == {"score": 0, "terms": {"bank": 1}, "places": {"body": 0}}


def test_expressions_count_each_match_and_keep_to_whole_words_and_case() -> None:
    raw = plain("invoice 12345 and INVOICE 67890, preinvoice 11111, invoice 123456")
    assert facts(Dictionary.from_text("d", "/invoice \\d{5}/, 2\n"), raw)["score"] == 4
    assert facts(Dictionary.from_text("d", "/invoice \\d{5}/, 2\n", whole_words=False), raw)["score"] == 8
    assert facts(Dictionary.from_text("d", "/INVOICE \\d{5}/, 2\n", case_sensitive=True), raw)["score"] == 2
    assert facts(Dictionary.from_text("d", "/\\$\\d+/\n"), plain("pay $500 now, US$20"))["score"] == 2


def test_typed_entries_stand_in_text_as_what_they_are() -> None:
    raw = plain("write to bob@example.com or xbob@example.com, see www.example.org, example.org and bad.example.edu.")
    assert facts(Dictionary.from_text("d", "# esa: kind = addresses\nbob@example.com\n"), raw)["score"] == 1
    assert facts(Dictionary.from_text("d", "# esa: kind = domains\nexample.org\n.example.edu\n"), raw)["terms"] == {
        "example.org": 1,
        ".example.edu": 1,
    }
    assert facts(Dictionary.from_text("d", f"# esa: kind = hashes\n{'ab' * 32}\n"), plain("ab" * 32)) == {}


def attached() -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"], message["X-Note"] = "Alpha <a@example.net>", "alpha", "alpha"
    message.set_content("alpha beta\n")
    message.add_alternative("<p>alpha <b>beta</b></p>", subtype="html")
    message.add_attachment("alpha alpha beta\n", filename="alpha.txt")
    inner = EmailMessage()
    inner["Subject"] = "alpha"
    inner.set_content("alpha\n")
    message.add_attachment(inner)
    return message.as_bytes()


def test_places_say_where_and_sum_to_the_score() -> None:
    found = facts(Dictionary.from_text("d", "alpha, 2\nbeta\n"), attached())
    places = found["places"]
    assert isinstance(places, Mapping)
    assert sum(places.values()) == found["score"]
    assert places["subject"] == 2
    assert places["header"] >= 2
    assert places["body"] == 2 * 2 + 2
    assert places["attachment"] == 2 * (1 + 2) + 1 + 2 * 2  # the name and text of the file, the message and its subject


def test_places_of_expressions_and_of_disguised_words() -> None:
    found = facts(Dictionary.from_text("d", "/alph[a]/, 2\nbeta\n"), attached())
    assert found["places"] == facts(Dictionary.from_text("d", "alpha, 2\nbeta\n"), attached())["places"]
    disguised = facts(Dictionary.of("d", {"paypal": 1}), plain("hello", subject="your p\u0430ypal"))
    assert disguised["places"] == {"subject": 1}


def test_an_entry_counts_on_its_last_day_and_no_more_on_the_next_without_a_new_scanner() -> None:
    days = iter([date(2027, 1, 1), date(2027, 1, 2)])
    dictionary = Dictionary.from_text("d", "alpha # until 2027-01-01\n")
    scanner = Scanner(checks=[Dictionaries(Entries.of([dictionary]), today=lambda: next(days))])
    assert "dictionaries" in scanner.scan(plain("alpha")).checks
    assert "dictionaries" not in scanner.scan(plain("alpha")).checks


def test_who_has_no_last_day_is_counted_beside_those_who_have() -> None:
    dictionary = Dictionary.from_text("d", "alpha # until 2027-01-01\nbeta, 4\ngamma # until 2029-01-01\n")
    assert facts(dictionary, plain("alpha beta gamma"), date(2028, 1, 1))["terms"] == {"beta": 1, "gamma": 1}


def test_a_dictionary_without_entries_finds_nothing() -> None:
    scanner = Scanner(dictionaries=[Dictionary.from_text("d", "# nobody yet\n")])
    assert "dictionaries" not in scanner.scan(plain("alpha")).checks


# --- beside a plain reading of the text

WORDS = ["alpha", "beta", "gamma", "alp", "ha", "beta gamma", "alpha beta", "a1"]


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(st.sampled_from(WORDS), st.integers(0, 10), min_size=1),
    st.lists(st.sampled_from(["alpha", "Beta", "GAMMA", "alp", "alphabeta", "a1", "a12", "x"]), min_size=1, max_size=30),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_counts_are_those_of_a_plain_reading(
    weights: dict[str, int], words: list[str], whole_words: bool, case_sensitive: bool, as_expressions: bool
) -> None:
    text = " ".join(words)
    kind: EntryKind = "expression" if as_expressions else "term"
    entries = [Entry(term, weight, kind) for term, weight in weights.items()]
    found = facts(Dictionary("d", entries, whole_words, case_sensitive), plain(text))
    expected: dict[str, int] = {}
    for term in weights:
        pattern = rf"\b{term}\b" if whole_words else term
        # a phrase may begin where one of its kind ends its first word: occurrences overlap
        pattern = pattern if as_expressions else f"(?={pattern})"
        if count := len(re.findall(pattern, text, 0 if case_sensitive else re.IGNORECASE)):
            expected[term] = count
    assert found.get("terms", {}) == expected
    assert found.get("score", 0) == sum(weights[term] * count for term, count in expected.items())


# --- hashes of files ----------------------------------------------------------------------------------------------------------------------

VIRUS = b"MZ\x90\x00 something that nobody wants"


def carrying(content: bytes, *, encoding: str = "base64", name: str = "a.exe") -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "a@example.net", "x"
    message.set_content("see there\n")
    message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name, cte=encoding)
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


def hashed(algorithm: str, content: bytes = VIRUS, weight: int = 3) -> Dictionary:
    return Dictionary.from_text("known", f"# esa: kind = hashes\n{hashlib.new(algorithm, content).hexdigest()}, {weight}\n")


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5"])
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_attached_file_is_known_by_its_hash_however_it_is_encoded(algorithm: str, encoding: str) -> None:
    digest = hashlib.new(algorithm, VIRUS).hexdigest()
    assert facts(hashed(algorithm), carrying(VIRUS, encoding=encoding)) == {"score": 3, "terms": {digest: 1}, "places": {"attachment": 3}}


def test_another_file_and_the_text_of_the_message_are_not() -> None:
    assert facts(hashed("sha256"), carrying(VIRUS + b"!")) == {}
    assert facts(hashed("sha256", b"see there\r\n"), carrying(VIRUS)) == {}
    assert facts(hashed("md5", b""), carrying(b"")) == {}


def test_words_hashes_and_last_days_count_together() -> None:
    digest = hashlib.sha256(VIRUS).hexdigest()
    dictionary = Dictionary.from_text("both", f"{digest}, 5\nthere, 2\n{hashlib.md5(VIRUS).hexdigest()}, 7  # until 2025-12-31\n")
    found = facts(dictionary, carrying(VIRUS))
    assert found == {"score": 7, "terms": {"there": 1, digest: 1}, "places": {"body": 2, "attachment": 5}}


def test_a_message_that_is_the_file_itself_and_a_file_in_a_message_are_known() -> None:
    whole = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(VIRUS) + b"\r\n"
    assert facts(hashed("sha256"), whole)["score"] == 3
    inner = b"Content-Type: message/rfc822\r\n\r\n" + carrying(VIRUS)
    assert facts(hashed("sha256"), inner)["score"] == 3


def test_without_hashes_no_message_is_examined_for_them() -> None:
    checks = [Dictionaries(Entries.of([FINANCE])), Dictionaries(Entries.of([hashed("sha1")]))]
    assert [check.examines_all for check in checks] == [False, True]


def test_a_message_edited_behind_its_scan_is_counted_as_if_it_had_been_scanned_so() -> None:
    scanner = Scanner(dictionaries=[FINANCE, hashed("sha256")])
    for raw in (plain("account of a bank", subject="ABA"), carrying(VIRUS), plain("nothing")):
        told = scanner.scan(raw).checks.get("dictionaries", {})
        again = scanner.lookup.message(raw)
        assert {name: dict(one) for name, one in again.items()} == {name: dict(one) for name, one in told.items()}  # type: ignore[call-overload]
