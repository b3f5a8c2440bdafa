"""The program of a configuration: expressions behind their literals, budgets that are told, files that are mapped, and renewal under load."""

from __future__ import annotations

import threading
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
import re2

import esa_core
from esa import Scanner
from esa.engine import expressions
from esa.engine.dictionary import Dictionary
from esa.engine.program import NOT_FULLY_MATCHED, Pattern, Program
from esa.errors import ConfigurationError
from esa.message.content import Message
from esa_core import Engine, flag_names

HTML = 'Subject: {subject}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>{seen}</p><p style="display:none">{hidden}</p>\r\n'


def mail(seen: str = "", subject: str = "", hidden: str = "") -> bytes:
    return HTML.format(seen=seen, subject=subject, hidden=hidden).encode()


def rows(program: Program, raw: bytes) -> list[tuple[int, str, int]]:
    batch = Engine(program=program.native).scan([raw])
    return [(match.pattern, match.kind, match.times) for match in program.table(batch, 0, Message(raw))]


def counts(program: Program, raw: bytes) -> tuple[dict[int, int], tuple[str, ...]]:
    batch = Engine(program=program.native).scan([raw])
    capped = "too_many_matches" in flag_names(int(batch.flags[0]))
    return program.counts(batch, 0, Message(raw), is_capped=capped)


def expression(text: str, *, case: bool = False, regions: frozenset[str] = frozenset()) -> Pattern:
    return Pattern(text, "expression", case, regions)


# --- expressions ------------------------------------------------------------------------------------------------------------------------


def test_expressions_stand_in_the_table_beside_the_other_patterns() -> None:
    program = Program([Pattern("offer"), expression(r"limited\s+offers?"), expression(r"\d{3}-\d{4}"), Pattern(kind="card")])
    raw = mail("A limited offer, LIMITED  Offers: 555-1234, 4111 1111 1111 1111", subject="Limited offer")
    assert rows(program, raw) == [
        (0, "subject", 1), (0, "html_seen", 1), (1, "subject", 1), (1, "html_seen", 2), (2, "html_seen", 1), (3, "html_seen", 1),
    ]  # fmt: skip


def test_an_expression_whose_literal_is_absent_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program([expression("limited.*offer")])
    monkeypatch.setattr(expressions.Expressions, "search", lambda *_: pytest.fail("tried"))
    assert counts(program, mail("nothing of the kind")) == ({}, ())


def test_expressions_that_ignore_case_see_what_folding_undoes() -> None:
    program = Program([expression("paypal login"), expression("PayPal", case=True)])
    assert counts(program, mail("p\u0430ypal login, pay\u200bpal\u00a0login, ＰａｙＰａｌ login")) == ({0: 2}, ())
    assert counts(program, mail("p\u0430ypal login")) == ({0: 1}, ())
    assert counts(program, mail("PayPal login")) == ({0: 1, 1: 1}, ())


def test_an_expression_that_begins_by_ignoring_case_is_one_that_ignores_case() -> None:
    program = Program([expression("(?i)PayPal", case=True), expression("(?si)l.p", case=True), expression("(?-i)PayPal", case=True)])
    assert counts(program, mail("paYPal payPAL PayPal")) == ({0: 3, 1: 2, 2: 1}, ())
    assert counts(program, mail("p\u0430ypaL")) == ({0: 1}, ())
    for text, whole in (("(?i)", "matches empty text"), ("(?i)(", r"missing \)")):
        with pytest.raises(ConfigurationError, match=whole):
            Program([expression(text)])


def test_an_expression_of_other_letters_is_matched_as_written_too() -> None:
    program = Program([expression("straße [0-9]+"), expression("ﬁne line")])
    assert counts(program, mail("Straße 7, a ﬁne line"))[0] == {0: 1, 1: 1}


def test_an_expression_may_count_in_some_regions_only() -> None:
    program = Program(
        [expression("hidden words", regions=frozenset({"html_hidden"})), expression("[hx]idden w", regions=frozenset({"subject"}))]
    )
    assert rows(program, mail("hidden words", hidden="hidden words")) == [(0, "html_hidden", 1)]


def test_what_stands_beside_a_disguised_word_is_counted_once() -> None:
    program = Program([expression("your [a-z]+ account")])
    assert rows(program, mail("please open your p\u0430ypal account")) == [(0, "disguised", 1)]
    assert rows(program, mail("your other account, your other account p\u0430ypal")) == [(0, "html_seen", 2)]
    # and where another region stands behind it
    assert rows(program, mail("your p\u0430ypal account, your other account", hidden="x")) == [(0, "html_seen", 1)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (r"(?=look)ahead", "cannot be used"),
        (r"(a)\1", "cannot be used"),
        ("(", "cannot be used"),
        ("x*", "matches empty text"),
        ("a{5000}", "cannot be used"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_with_its_text(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        Program([expression(text)])
    assert raised.value.where == text


def test_expressions_without_a_literal_are_limited_in_number() -> None:
    many = [expression(rf"\w{{{n}}}x") for n in range(1, 102)]
    assert Program(many[:100]).tries_all
    with pytest.raises(ConfigurationError, match="101 regular expressions have no text") as raised:
        Program(many)
    assert raised.value.where == many[100].text


def test_past_the_budget_a_message_is_not_fully_matched_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program([expression(r"\w\w\w\d"), expression("needle.hay")])
    monkeypatch.setattr(expressions, "BUDGET", 10_000)
    assert counts(program, mail("needle hay abc1")) == ({0: 1, 1: 1}, ())
    assert counts(program, mail("x" * 20_000 + " abc1"))[1] == (NOT_FULLY_MATCHED,)
    assert counts(program, mail("needle " + "x" * 20_000))[1] == (NOT_FULLY_MATCHED,)


def test_an_expression_of_many_states_takes_more_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "BUDGET", 100_000)
    text = mail("needle " + "x" * 20_000)
    assert counts(Program([expression("needle.*hay")]), text) == ({}, ())
    assert counts(Program([expression("needle.*a.{30}z.{30}y")]), text) == ({}, (NOT_FULLY_MATCHED,))


def test_a_failure_of_the_engine_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program([expression("needle.hay")])

    class Failing:
        programsize = 1

        def finditer(self, text: bytes) -> object:
            raise re2.error("out of memory")

    monkeypatch.setattr(program._expressions, "_compiled", {0: Failing()})
    assert counts(program, mail("needle hay")) == ({}, (NOT_FULLY_MATCHED,))


def test_where_literals_were_capped_all_expressions_are_tried() -> None:
    program = Program([Pattern("a", "text"), expression("needle.hay")])
    raw = mail("a" * 1_100_000 + " needle hay")
    assert counts(program, raw)[0][1] == 1


def test_hostile_text_costs_an_expression_no_more_than_its_length() -> None:
    program = Program([expression(r"needle(a|aa)+$"), expression(r"(x+x+)+y")])
    assert counts(program, mail("needle" + "a" * 100_000 + "!" + "x" * 100_000)) == ({}, ())


# --- files ----------------------------------------------------------------------------------------------------------------------------

PATTERNS = (Pattern("offer"), Pattern("US", case=True), expression("needle[0-9]"), Pattern(kind="iban"), expression(r"\d\d:\d\d"))
RAW = mail("US offer needle7 12:30 GB82 WEST 1234 5698 7654 32")


def test_a_saved_program_is_mapped_and_finds_the_same(tmp_path: Path) -> None:
    path = tmp_path / "patterns"
    program = Program(PATTERNS)
    program.save(path)
    assert rows(Program.load(path), RAW) == rows(program, RAW)
    assert len(rows(program, RAW)) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["patterns"]


def test_a_damaged_file_is_refused_with_what_is_wrong_where(tmp_path: Path) -> None:
    path = tmp_path / "patterns"
    Program(PATTERNS).save(path)
    content = path.read_bytes()
    for damaged, complaint in (
        (content[:-1], "octet 16: the image says that it has"),
        (content[:700] + b"!" + content[701:], "octet 24: the checksum differs"),
        (b"", "cannot"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=complaint) as raised:
            Program.load(path)
        assert raised.value.where == str(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Program.load(tmp_path / "absent")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"7",
        b"{",
        b"[" * 100_000,
        b"{}",
        b'{"tables": {"a": 1}}',
        b'{"tables": {}}',
        b'{"tables": {}, "expressions": [], "unfiltered": []}',
        b'{"tables": {}, "expressions": [[0, "a"]], "unfiltered": []}',
        b'{"tables": {}, "expressions": [[0, "a", true, [7]]], "unfiltered": []}',
        b'{"tables": {}, "expressions": [[0, "a", true, []]], "unfiltered": [1]}',
        b'{"tables": {}, "expressions": [[1, "a", true, []]], "unfiltered": []}',
    ],
)
def test_a_file_whose_head_is_of_something_else_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "patterns"
    blank = esa_core.Stretch(0, 0, 0)
    anchor = esa_core.Anchor(0, False, 0xFFFF, True, (b"needle",), (), 0, blank, (), blank, (), blank, blank)
    path.write_bytes(esa_core.Program([b""], anchors=[anchor], note=len(head).to_bytes(8, "little") + head).image)
    with pytest.raises(ConfigurationError, match="the compiled patterns cannot be used"):
        Program.load(path)


def test_an_expression_of_a_file_that_does_not_compile_is_not_answered_for(tmp_path: Path) -> None:
    path = tmp_path / "patterns"
    blank = esa_core.Stretch(0, 0, 0)
    anchor = esa_core.Anchor(0, False, 0xFFFF, True, (b"needle",), (), 0, blank, (), blank, (), blank, blank)
    head = b'{"tables": {}, "expressions": [[0, "needle(", false, []]], "unfiltered": []}'
    path.write_bytes(esa_core.Program([b""], anchors=[anchor], note=len(head).to_bytes(8, "little") + head).image)
    assert counts(Program.load(path), mail("needle")) == ({}, (NOT_FULLY_MATCHED,))


def test_who_maps_a_file_keeps_it_when_another_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "patterns"
    Program(PATTERNS).save(path)
    old = Program.load(path)
    Program([Pattern("other")]).save(path)
    assert len(rows(old, RAW)) == 5
    assert rows(Program.load(path), RAW) == []


def test_tables_go_into_the_file_and_are_mapped_with_it(tmp_path: Path) -> None:
    numbers, path = array("Q", range(5)), tmp_path / "patterns"
    program = Program(PATTERNS, {"odd": b"abc", "numbers": numbers, "none": b""})
    program.save(path)
    for made in (program, Program.load(path)):
        assert (bytes(made.tables["odd"]), made.tables["numbers"].cast("Q").tolist(), len(made.tables["none"])) == (b"abc", [*range(5)], 0)
        assert made.tables["numbers"].readonly


# --- in the scanner -------------------------------------------------------------------------------------------------------------------


NUMBERS = [
    Dictionary.from_text("numbers", "*card, 5\n*iban\naccount, 2\n"),
    Dictionary.from_text("countries", "US\nus\n", case_sensitive=True),
    Dictionary.from_text("more", "Account\nstraße, 3\n", whole_words=False),
]
NUMBERED = mail("Account 4111 1111 1111 1111 in the US, US, Hauptstraße")


def test_a_dictionary_may_name_numbers_and_let_case_count() -> None:
    assert Scanner(dictionaries=NUMBERS).scan(NUMBERED).checks["dictionaries"] == {
        "numbers": {"score": 7, "terms": {"*card": 1, "account": 1}, "places": {"body": 7}},
        "countries": {"score": 2, "terms": {"US": 2}, "places": {"body": 2}},
        "more": {"score": 4, "terms": {"Account": 1, "straße": 1}, "places": {"body": 4}},
    }


def test_a_scanner_maps_what_another_saved_and_reports_the_same(tmp_path: Path) -> None:
    made = Scanner(dictionaries=NUMBERS)
    made.save(tmp_path / "patterns")
    mapped = Scanner(compiled=tmp_path / "patterns")
    for raw in (NUMBERED, mail("nothing"), mail("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X")):
        assert replace(mapped.scan(raw), micros=0.0) == replace(made.scan(raw), micros=0.0)
    mapped.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "patterns").read_bytes()


def test_a_file_of_other_checks_is_refused_and_what_was_there_stays(tmp_path: Path) -> None:
    Scanner(dictionaries=NUMBERS, checks=["dictionaries"]).save(tmp_path / "fewer")
    Program(PATTERNS).save(tmp_path / "bare")
    scanner = Scanner(dictionaries=NUMBERS)
    for name in ("fewer", "bare"):
        with pytest.raises(ConfigurationError, match="the compiled patterns cannot be used"):
            scanner.renew(compiled=tmp_path / name)
    assert "numbers" in scanner.scan(NUMBERED).checks["dictionaries"]


def test_a_scanner_that_listens_for_nothing_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing to save"):
        Scanner(checks=["spam"]).save(tmp_path / "patterns")


def test_dictionaries_are_renewed_under_load_and_no_scan_is_lost_or_mixed() -> None:
    def dictionary(number: int) -> Dictionary:
        return Dictionary.of(f"d{number}", {f"word{number}": 1, "common": 1, **{f"filler{number}x{i}": 1 for i in range(200)}})

    scanner = Scanner(dictionaries=[dictionary(0)])
    raw = mail("common " + " ".join(f"word{number}" for number in range(30)))
    seen: list[tuple[str, ...]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def scan() -> None:
        try:
            while not done.is_set():
                for report in scanner.scan_batch([raw] * 5):
                    (name,) = report.checks["dictionaries"]
                    found = report.checks["dictionaries"][name]
                    assert isinstance(found, dict)
                    assert found["terms"] == {f"word{name[1:]}": 1, "common": 1}
                    seen.append((name,))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 30):
        scanner.renew([dictionary(number)])
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(seen)) > 1
    assert next(iter(scanner.scan(raw).checks["dictionaries"])) == "d29"


def test_dictionaries_that_cannot_be_compiled_leave_the_old_ones() -> None:
    scanner = Scanner(dictionaries=[Dictionary.of("d", {"word": 1})])
    with pytest.raises(ConfigurationError):
        scanner.renew([Dictionary.of("a", {"x" * 5000: 1})])
    assert "dictionaries" in scanner.scan(mail("word")).checks
