"""A whole set of filters, in which every word of the language stands at least twice, is read, compiled, written and run."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from esa.engine.dictionary import Dictionary
from esa.policy.filters import tree
from esa.policy.filters.read import read
from esa.policy.filters.scope import Scope, Severity
from esa.policy.filters.words import actions, conditions
from esa.policy.filters.write import write
from esa.policy.outcome import Outcome
from tests.policy.filters.running import MAIL, WITH_ATTACHMENTS, Running

TEXT = Path(__file__).with_name("office.filters").read_text("utf-8")
FILTERS = read(TEXT, "office.filters").filters
DICTIONARIES = (
    Dictionary.from_text("bad_hosts", "# esa: kind = domains\nmx.bad.example, 2\n"),
    Dictionary.from_text("bad_networks", "# esa: kind = networks\n203.0.113.0/25\n2001:db8:bad::/48\n"),
    Dictionary.of("bad_senders", {"eve@bad.example": 1, "mallory@bad.example": 5}),
    Dictionary.of("ex_employees", {"gone@example.org": 1, "left@example.org": 2}),
    Dictionary.of("finance", {"budget": 2, "ledger": 3}),
    Dictionary.of("products", {"megamailer": 1, "gigamailer": 2}),
)
RESOURCES = {
    "confidential": "Confidential.",
    "disclaimer": "No liability.",
    "warning": "Take care, $EnvelopeFrom.",
    "notice": "See $Subject.",
}


def mail(*headers: str, body: str = "Hello.\r\n", subject: str = "Hello") -> bytes:
    lines = ["From: Ann <ann@example.com>", "To: bob@example.org", *([f"Subject: {subject}"] if subject else []), *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def attached(media_type: str, name: str, content: str) -> bytes:
    part = f'Content-Type: {media_type}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n{content}\r\n'
    body = f"--edge\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n--edge\r\n{part}--edge--\r\n"
    return mail("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=edge", body=body)


class Case(NamedTuple):
    fires: str
    raw: bytes = MAIL
    facts: dict[str, Any] = {}  # noqa: RUF012  # read only


EVERYBODY = tuple(f"user{number}@example.org" for number in range(60))
OUTSIDE = {"sender": "x@example.com", "recipients": ("bob@example.org",)}
CASES = (
    Case("trusted_partner", facts={"client_address": "198.51.100.3", "sender": "a@partner.example"}),
    Case("spoofed_domain", facts={"sender": "Boss@EXAMPLE.org"}),
    Case("host_by_name", facts={"remote_host": "Out1.Partner.example"}),
    Case("host_by_name", facts={"remote_host": "mx.supplier.example"}),
    Case("second_interface", facts={"interface": "Data 2"}),
    Case("first_interface", facts={"interface": "Data 1"}),
    Case("bad_reputation", facts={"reputation": -7.5}),
    Case("good_reputation", facts={"reputation": 5.0}),
    Case("unknown_sender", facts={"dns_lists": frozenset()}),
    Case("listed_sender", facts={"dns_lists": frozenset({"block.lists.example"})}),
    Case("listed_sender", facts={"recipients": EVERYBODY, "dns_lists": frozenset()}),
    Case("authenticated_as_another", facts={"user": "carl"}),
    Case("to_everybody", facts={"recipients": ("all@example.org",), "groups": {"ann@example.org": frozenset({"Management"})}}),
    Case("to_everybody", facts={"recipients": ("all@example.org",), "groups": {}}),
    Case("to_the_board", facts={"groups": {"bob@example.net": frozenset({"Board"})}}),
    Case("from_the_board", facts={"groups": {"ann@example.org": frozenset({"Board"})}}),
    Case("not_for_the_board", mail(subject="Minutes of the Board"), {"groups": {}}),
    Case("null_sender_to_many", facts={"sender": "", "recipients": ("a@example.org", "b@example.org")}),
    Case("former_staff", facts={"recipients": ("gone@example.org", "bob@example.org")}),
    Case("former_staff_many", facts={"recipients": ("left@example.org",)}),
    Case("bad_networks", facts={"client_address": "2001:db8:bad::7"}),
    Case("bad_hosts", facts={"remote_host": "mx.bad.example"}),
    Case("bad_senders", facts={"sender": "eve@bad.example"}),
    Case("bad_senders_of_weight", facts={"sender": "mallory@bad.example"}),
    Case("subject_tag", mail(subject="Re: Invoice 7")),
    Case("subject_seen_edited", mail(subject="Re: Invoice 7")),
    Case("no_subject", mail(subject="")),
    Case("list_mail", mail("List-Id: <talk.example.com>", "X-Priority: 1")),
    Case("many_in_the_header", mail("Cc: " + ", ".join(EVERYBODY[:21]))),
    Case("few_in_the_header", mail(), {"recipients": EVERYBODY[:6]}),
    Case("words_in_subject", mail(subject="The budget")),
    Case("heavy_words_in_subject", mail(subject="Ledger and ledger")),
    Case("mailer_of_ill_repute", mail("X-Mailer: MegaMailer 3")),
    Case("two_mailers", mail("X-Mailer: gigamailer")),
    Case("cards", mail(body="4111 1111 1111 1111 and 5500 0000 0000 0004\r\n")),
    Case("social_security", mail(body="His number is 078-05-1120.\r\n")),
    Case("phrase", mail(body="This is STRICTLY CONFIDENTIAL.\r\n")),
    Case("own_words_only", mail(body="A wire transfer is a wire transfer.\r\n")),
    Case("changed_words", mail(body="The [transfer] is done.\r\n")),
    Case("finance_anywhere", mail(subject="Budget", body="The budget and the budget.\r\n")),
    Case("finance_anything", mail(body="The budget.\r\n")),
    Case("finance_in_text", mail(body="Ledger after ledger.\r\n")),
    Case("products_in_text", mail(body="Buy MegaMailer now.\r\n")),
    Case("programs", WITH_ATTACHMENTS),
    Case("names_of_pictures", attached("application/x-thing", "a.GIF", "GIF89a")),
    Case("binary_types", attached("application/octet-stream", "a.bin", "x")),
    Case("videos", attached("video/mpeg", "a.mpg", "x")),
    Case("large_attachments", attached("text/plain", "a.txt", "x" * 200)),
    Case("huge_attachments", attached("text/plain", "a.txt", ("x" * 70 + "\r\n") * 160_000)),
    Case("secret_in_attachment", WITH_ATTACHMENTS),
    Case("secret_in_any", attached("text/plain", "a.txt", "Withheld by law.")),
    Case("all_attachments", attached("text/plain", "a.txt", "Public.")),
    Case("all_attachments_twice", attached("text/plain", "a.txt", "Public, public.")),
    Case("finance_in_attachments", attached("text/plain", "a.txt", "budget")),
    Case("heavy_attachments", attached("text/plain", "a.txt", "ledger ledger")),
    Case("dos_programs", attached("application/x-thing", "a.thing", "MZ and so on")),
    Case("pdf_octets", attached("application/pdf", "a.pdf", "%PDF-1.3 x")),
    Case("small"),
    Case("malformed", b"From: a@example.com\r\nthis is no field\r\n\r\nx\r\n"),
    Case("odd_header", b"From: a@example.com\r\nthis is no field\r\n\r\nx\r\n"),
    Case("twofold", mail("Content-Type: multipart/mixed; boundary=a; boundary=b", body="--a\r\n\r\nx\r\n--a--\r\n")),
    Case("holidays", facts={"received_at": time.mktime((2026, 12, 30, 9, 0, 0, 0, 0, -1))}),
    Case("one_in_three", facts={"identifier": "b"}),
    Case("one_in_two", facts={"identifier": "a"}),
    Case("busy", facts={"queue_length": 1001}),
    Case("idle", facts={"queue_length": 3}),
    Case("last_for_lists", mail("List-Unsubscribe: <https://example.com/off>")),
    Case("signed_by_gateway", mail("X-Sign: now")),
    Case("sign_later", mail("X-Sign: later")),
    Case("sign_both", mail("X-Sign: both")),
    Case("encrypt_on_request", mail(subject="[encrypt] salaries")),
    Case("bounce_on_request", mail(subject="[bounce]")),
    Case("skip_on_request", mail(subject="[skip]")),
    Case("refuse_on_request", mail(subject="[refuse]")),
    Case("refuse_the_old_address", facts={"sender": "old-shop@example.com"}),
)
WAITING = {
    "spf_fails", "spf_of_anybody", "dkim", "urls_by_score", "urls_without_score", "urls_of_kinds", "encrypted_or_signed", "encrypted_and_signed",
    "by_gateway", "by_gateway_verified", "types_from_content", "types_from_content_again", "protected", "unprotected", "corrupt", "repeated",
}  # fmt: skip


@pytest.fixture(scope="module")
def office() -> Running:
    scope = Scope(
        dictionaries=frozenset(one.name for one in DICTIONARIES), listeners=frozenset({"InboundMail", "OutboundMail"}), texts=RESOURCES
    )
    return Running(TEXT, *DICTIONARIES, scope=scope)


def run(office: Running, case: Case) -> Outcome:
    return office.run(case.raw, **case.facts)


def words_of(one: tree.Filter) -> tuple[list[str], list[str]]:
    tests = [test.word for statement in tree.statements_of(one.statement) for test in tree.tests_of(statement.condition)]
    return tests, [call.word for call in tree.calls_of(one.statement)]


def test_every_condition_and_every_action_stands_there_twice() -> None:
    tests = Counter(word for one in FILTERS for word in words_of(one)[0])
    calls = Counter(word for one in FILTERS for word in words_of(one)[1])
    assert [word for word in conditions() if tests[word] < 2] == []
    assert [word for word in actions() if calls[word] < 2] == []
    assert len(FILTERS) >= 60


def test_all_active_filters_compile(office: Running) -> None:
    assert [str(problem) for problem in office.plan.problems if problem.severity is not Severity.UNSCANNED] == []
    assert len(office.plan.filters) == sum(one.is_active for one in FILTERS)


def test_the_filters_that_wait_are_told_and_no_others(office: Running) -> None:
    told = {problem.filter for problem in office.plan.problems}
    assert told == WAITING | {"urls_replaced"}


def test_what_needs_another_product_is_refused_with_a_reason() -> None:
    refused = Running("\n".join(TEXT[one.span[0] : one.span[2]].replace("!", ":", 1) for one in FILTERS if not one.is_active))
    assert {problem.filter for problem in refused.plan.problems} == {"pictures", "proxies"}
    assert all("another" in problem.what for problem in refused.plan.problems)


def test_the_file_is_written_as_it_reads() -> None:
    assert read(write(read(TEXT))) == read(TEXT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fires)
def test_each_filter_fires_for_its_message(office: Running, case: Case) -> None:
    fired = {step.filter for step in run(office, case).trail}
    assert case.fires in fired
    assert not fired & WAITING


def test_every_filter_that_can_fire_has_a_message() -> None:
    assert {case.fires for case in CASES} == {one.name for one in FILTERS if one.is_active} - WAITING - {"urls_replaced"}


def test_the_same_message_has_the_same_outcome_again(office: Running) -> None:
    for case in CASES[:20]:
        assert run(office, case) == run(office, case)


def test_the_documentation_has_every_word() -> None:
    text = (Path(__file__).parents[3] / "docs" / "filters.md").read_text("utf-8")
    assert [word for word in (*conditions(), *actions()) if f"| `{word}" not in text] == []
