"""An imagined office: filters in which every word of the language stands at least twice, and for each a message that makes it fire.

`test_office` runs them through scanner and plan, tests/end_to_end/test_office.py through a real gateway.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from esa.engine.dictionary import Dictionary
from esa.policy.filters.read import read
from tests.policy.filters.running import MAIL, WITH_ATTACHMENTS

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
    Case("said_to_be_letters", attached("application/octet-stream", "letter.doc", "MZ\x01\x02 and so on")),
    Case("libraries", attached("application/octet-stream", "a.dll", "x")),
    Case("flash", attached("application/x-shockwave-flash", "a.swf", "x")),
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
    Case("holidays", mail(subject="Order 7"), {"received_at": time.mktime((2026, 12, 30, 9, 0, 0, 0, 0, -1))}),
    Case("one_in_three", facts={"identifier": "d"}),
    Case("one_in_two", facts={"identifier": "h"}),
    Case("busy", facts={"queue_length": 1001}),
    Case("busy", mail("X-Bulk: yes"), {"queue_length": 3}),
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
