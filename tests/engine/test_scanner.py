"""The scanner: additive reasons, order, flags, checks, dictionaries, markers, and errors about models."""

from __future__ import annotations

import base64
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.engine.check import Evidence, Finding, Term
from esa.engine.checks.markers import GTUBE
from esa.engine.dictionary import Dictionary
from esa.engine.scanner import BATCH_MESSAGES, PRIOR_LOGIT, Scanner
from esa.engine.verdict import Report, Verdict, score_of
from esa.errors import ConfigurationError, ModelError
from esa.message.envelope import Envelope, Session

PLAIN = b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: lunch\r\n\r\nHi Bob, shall we meet on Monday?\r\n\r\nAnn\r\n"


def message(body: str, subject: str = "x") -> bytes:
    return f"From: a@example.org\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n".encode()


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner()


def test_reasons_sum_to_the_logit_and_the_logit_makes_the_score(scanner: Scanner) -> None:
    report = scanner.scan(PLAIN)
    assert sum(reason.contribution for reason in report.reasons) == pytest.approx(report.logit, abs=1e-6)
    assert report.score == score_of(report.logit)
    assert report.verdict is Verdict.at(report.score)
    sizes = [abs(reason.contribution) for reason in report.reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(report.families.values()) == pytest.approx(report.logit, abs=1e-6)


def test_families_sum_the_reasons_whether_these_have_been_looked_at_or_not(scanner: Scanner) -> None:
    fresh, seen = scanner.scan_batch([PLAIN, PLAIN])
    one_by_one: dict[str, float] = {}
    for reason in seen.reasons:
        one_by_one[reason.family] = one_by_one.get(reason.family, 0.0) + reason.contribution
    assert fresh.families == pytest.approx(one_by_one, abs=1e-9)
    assert seen.families == pytest.approx(one_by_one, abs=1e-9)
    assert fresh.fact_row
    assert Report(Verdict.CLEAN, 0.0, 0.0).fact_row == b""


def test_the_first_reasons_are_the_same_whether_the_others_have_been_looked_at_or_not(scanner: Scanner) -> None:
    message = b"From: a@example.org\r\nSubject: free\r\n\r\nClick here!\r\n"
    whole = tuple(scanner.scan(message).reasons)
    assert len(whole) > 5
    for count in (0, 1, 5, len(whole), len(whole) + 5):
        assert tuple(scanner.scan(message).reasons[:count]) == whole[:count]


@pytest.mark.corpus
def test_reasons_of_real_mail_sum_to_the_logit(scanner: Scanner, corpus: Callable[[str], Path]) -> None:
    paths = sorted(corpus("spamassassin").glob("*/*"))
    chosen = random.Random(1).sample(paths, 1_000)
    for report in scanner.scan_many(path.read_bytes() for path in chosen):
        assert sum(reason.contribution for reason in report.reasons) == pytest.approx(report.logit, abs=1e-6)


def test_reports_come_in_the_order_of_the_messages_over_all_batches(scanner: Scanner) -> None:
    raws = [message("word " * (i % 7), subject=f"number {i}") + b"!" * (i % 11) for i in range(2 * BATCH_MESSAGES + 3)]
    assert [report.score for report in scanner.scan_many(raws)] == [scanner.scan(raw).score for raw in raws]


def test_any_buffer_is_a_message_and_text_is_none(scanner: Scanner) -> None:
    expected = scanner.scan(PLAIN).score
    assert scanner.scan(bytearray(PLAIN)).score == expected
    assert scanner.scan(memoryview(PLAIN)).score == expected
    with pytest.raises(TypeError):
        scanner.scan("Subject: text\r\n\r\n")  # type: ignore[arg-type]


def test_an_empty_message_is_flagged_and_scored(scanner: Scanner) -> None:
    report = scanner.scan(b"")
    assert "empty" in report.flags
    assert 0 <= report.score <= 100


@pytest.mark.parametrize(
    "raw",
    [
        message(GTUBE),
        message(f"first\r\n{GTUBE}\r\nlast"),
        message(f"inside{GTUBE}a line"),
        message("nothing", subject=GTUBE),
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(f"Hi,\n{GTUBE}\n".encode()),
        f"Content-Type: text/html\r\n\r\n<html><body><p>{GTUBE}</p></body></html>\r\n".encode(),
    ],
    ids=["alone", "line", "inside", "subject", "base64", "html"],
)
def test_gtube_in_any_decoded_text_is_positive_past_99_9(scanner: Scanner, raw: bytes) -> None:
    report = scanner.scan(raw)
    assert report.verdict is Verdict.POSITIVE
    assert report.score > 99.9
    assert report.reasons[0].name == "gtube"
    assert report.checks["markers"] == {"gtube": 1}
    assert sum(reason.contribution for reason in report.reasons) == pytest.approx(report.logit, abs=1e-6)


def test_part_of_gtube_is_nothing(scanner: Scanner) -> None:
    assert "markers" not in scanner.scan(message(GTUBE[:-1])).checks


def test_the_marker_pack_is_judged_as_it_says(scanner: Scanner, pack: Callable[[str], Path]) -> None:
    for path in sorted((pack("markers") / "messages").glob("gtube-*.eml")):
        if "header-only" not in path.name:
            assert scanner.scan(path.read_bytes()).verdict is Verdict.POSITIVE, path.name


def test_dictionaries_report_terms_counts_and_the_weighted_score() -> None:
    """The example of AsyncOS: ABA 3, account 2, bank 1."""
    scanner = Scanner(dictionaries=[Dictionary.of("finance", {"ABA": 3, "account": 2, "bank": 1})])
    found = scanner.scan(message("Account, account; aba! The banker is no match.", subject="Your account")).checks["dictionaries"]
    assert found == {"finance": {"score": 9, "terms": {"ABA": 1, "account": 3}, "places": {"subject": 2, "body": 7}}}
    assert "dictionaries" not in scanner.scan(message("nothing of it")).checks


def test_dictionary_terms_match_folded_text() -> None:
    scanner = Scanner(dictionaries=[Dictionary.of("d", {"Straße": 1, "café au lait": 1})])
    found = scanner.scan(message("STRASSE und CAFÉ AU LAIT")).checks["dictionaries"]
    assert found == {"d": {"score": 2, "terms": {"Straße": 1, "café au lait": 1}, "places": {"body": 2}}}


def test_one_term_in_two_dictionaries_is_reported_in_both() -> None:
    scanner = Scanner(
        dictionaries=[Dictionary.of("a", {"bank": 1}), Dictionary.of("b", {"Bank": 5}), Dictionary.of("c", {"an": 1}, whole_words=False)]
    )
    found = scanner.scan(message("my bank")).checks["dictionaries"]
    assert {name: facts["score"] for name, facts in found.items() if isinstance(facts, dict)} == {"a": 1, "b": 5, "c": 1}


def test_dictionaries_do_not_move_the_score(scanner: Scanner) -> None:
    raw = message("the bank")
    assert Scanner(dictionaries=[Dictionary.of("d", {"bank": 10})]).scan(raw).score == scanner.scan(raw).score


class Curious:
    """A check of somebody's own: sees session and envelope, and adds to the logit."""

    name = "curious"
    terms: tuple[Term, ...] = ()

    def examine(self, evidence: Evidence) -> Finding | None:
        client = evidence.session.client_address if evidence.session else ""
        recipients = evidence.envelope.recipients if evidence.envelope else ()
        return Finding({"client": client, "recipients": recipients, "subject": evidence.message.parsed.subject}, (), 0.0)


def test_checks_see_session_envelope_and_the_parsed_message() -> None:
    scanner = Scanner(checks=["spam", Curious()])
    session, envelope = Session(client_address="192.0.2.1"), Envelope("a@example.org", ("b@example.net",))
    facts = scanner.scan(PLAIN, session=session, envelope=envelope).checks["curious"]
    assert facts == {"client": "192.0.2.1", "recipients": ("b@example.net",), "subject": "lunch"}


def test_without_a_judging_check_the_score_is_the_prior() -> None:
    report = Scanner(checks=["markers"]).scan(PLAIN)
    assert report.score == pytest.approx(35.0)
    assert [reason.name for reason in report.reasons] == ["prior"]
    assert report.logit == PRIOR_LOGIT


def test_an_unknown_check_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        Scanner(checks=["spamm"])


def test_a_model_file_that_is_none_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "x.esamodel"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError) as caught:
        Scanner(model=path)
    assert caught.value.where == str(path)


async def test_scan_async_takes_session_and_envelope() -> None:
    scanner = Scanner(checks=["spam", Curious()])
    report = await scanner.scan_async(PLAIN * 400, session=Session(client_address="192.0.2.7"))
    assert report.checks["curious"]["client"] == "192.0.2.7"


def test_one_scanner_serves_many_threads(scanner: Scanner) -> None:
    raws = [message(f"{i} " * 50, subject=GTUBE if i % 5 == 0 else "x") for i in range(200)]
    expected = [report.score for report in scanner.scan_many(raws)]
    results: list[list[float]] = []

    def work() -> None:
        results.append([report.score for report in scanner.scan_many(raws)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


def test_reports_outlive_their_batch_and_their_messages(scanner: Scanner) -> None:
    raws = [message(f"free money {i}") for i in range(3)]
    reports = list(scanner.scan_many(raws))
    del raws
    assert all(sum(reason.contribution for reason in report.reasons) == pytest.approx(report.logit, abs=1e-6) for report in reports)
