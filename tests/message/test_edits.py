"""Edits of a message: the standard library reads what was meant, all other octets stay, and nothing that a sender wrote adds a line or a part."""

from __future__ import annotations

import email.policy
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import SyntaxFault
from esa.message.edits import (
    AddFooter,
    AddHeading,
    ConvertHtml,
    DropParts,
    Edit,
    EditBody,
    EditHeader,
    InsertHeader,
    StripHeader,
    TagSubject,
    apply,
)
from esa_core import parse
from tests.core.containers import attachment, tnef

MAIL = sorted((Path(__file__).resolve().parent.parent / "mail").glob("*/*.eml"))
ENDS = [b"\r\n", b"\n"]


def lines(*texts: str, end: bytes = b"\r\n") -> bytes:
    return b"".join(text.encode("utf-8", "surrogateescape") + end for text in texts)


def read(raw: bytes) -> EmailMessage:
    """As the standard library reads it, without a defect."""
    message = message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert [defect for part in message.walk() for defect in part.defects] == []
    return message


def text_of(part: object) -> str:
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")


def texts(raw: bytes) -> list[str]:
    return [text_of(part) for part in read(raw).walk() if part.get_content_maintype() == "text"]


PLAIN = ("From: a@example.net", "Subject: hello", "X-Odd:  two  spaces ", "x-odd:\tagain", "", "Dear Ben,", "", "here it is.")


# --- header


@pytest.mark.parametrize("end", ENDS)
def test_a_field_is_added_at_the_end_of_the_header_and_all_else_stays(end: bytes) -> None:
    raw = lines(*PLAIN, end=end)
    made = apply(raw, [InsertHeader("X-Tag", "one two")])
    assert made == lines(*PLAIN[:4], "X-Tag: one two", *PLAIN[4:], end=end)


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "grüße an alle",
        "日本語 " * 40,
        "a " * 300,
        "x" * 3000,
        "mixed ASCII and ümläut, then ASCII",
        "=?utf-8?q?not_one?=",
        "two  spaces",
        "",
    ],
)
def test_a_value_is_read_as_it_was_given(value: str) -> None:
    made = apply(lines(*PLAIN), [InsertHeader("X-Tag", value)])
    found = read(made)["X-Tag"]
    expected = value.strip()
    assert found.replace(" ", "") == expected.replace(" ", "")
    if "x" * 1000 not in value:
        assert " ".join(found.split()) == " ".join(expected.split())
    assert all(len(line) <= 998 for line in made.split(b"\r\n"))
    assert parse(made).header("X-Tag")[0].replace(" ", "") == expected.replace(" ", "")


HOSTILE = "x\r\nBcc: victim@example.org\r\n\r\nbody\x00\n.\r\nX: y\x0b\u2028z"


@pytest.mark.parametrize("edit", [InsertHeader("X-Tag", HOSTILE), EditHeader("Subject", "hello", HOSTILE), TagSubject(HOSTILE)])
def test_a_hostile_value_adds_no_line(edit: Edit) -> None:
    before, made = read(lines(*PLAIN)), read(apply(lines(*PLAIN), [edit]))
    assert [name for name in made.keys() if name != "X-Tag"] == before.keys()  # noqa: SIM118
    assert made.get_content() == before.get_content()


@pytest.mark.parametrize(
    "edit", [InsertHeader("X Tag", "v"), InsertHeader("X:", "v"), StripHeader("a\r\nb"), InsertHeader("", "v"), InsertHeader("ü", "v")]
)
def test_what_is_no_name_of_a_field_is_refused(edit: Edit) -> None:
    with pytest.raises(SyntaxFault, match="no name of a header field"):
        apply(lines(*PLAIN), [edit])


def test_all_fields_of_a_name_go_with_their_folds() -> None:
    raw = lines("Received: a", "X-Odd: 1", "\tfolded", "X-ODD : 2", "X-Odder: 3", "Subject: s", "", "X-Odd: body")
    assert apply(raw, [StripHeader("x-odd")]) == lines("Received: a", "X-Odder: 3", "Subject: s", "", "X-Odd: body")
    assert apply(raw, [StripHeader("X-None")]) == raw


def test_values_are_edited_decoded_and_fields_without_a_match_keep_their_octets() -> None:
    raw = lines("SUBJECT: =?utf-8?q?Fwd:_Gr=C3=BC=C3=9Fe?=", "Subject:   Fwd:  kept? ", "X: Fwd: other", "", "Fwd: body")
    made = apply(raw, [EditHeader("Subject", "^Fwd: (.*e)$", "\\1!")])
    assert read(made).get_all("Subject") == ["Grüße!", "Fwd:  kept? "]
    assert made.startswith(b"SUBJECT: ")
    assert made.endswith(lines("Subject:   Fwd:  kept? ", "X: Fwd: other", "", "Fwd: body"))


def test_references_to_groups_are_filled_in_and_those_to_none_are_empty() -> None:
    made = apply(lines(*PLAIN), [EditHeader("Subject", "(h)(?P<rest>ell)(x)?", "\\2-\\1\\\\\\3\\9\\g<rest>\\g<none>")])
    assert read(made)["Subject"] == "ell-h\\ello"
    with pytest.raises(SyntaxFault, match="cannot be used"):
        apply(lines(*PLAIN), [EditHeader("Subject", "a(?=b)", "")])


def test_addresses_stay_addresses_when_a_name_beside_them_is_encoded() -> None:
    raw = lines('From: "Jorg Muller" <j@example.net>, k@example.net', "", "x")
    made = read(apply(raw, [EditHeader("From", "Jorg Muller", "Jörg Müller")]))["From"]
    assert [(one.display_name, one.addr_spec) for one in made.addresses] == [("Jörg Müller", "j@example.net"), ("", "k@example.net")]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("Subject: hello", "[SPAM]", "[SPAM] hello"),
        ("Subject: hello", "[SPAM] ", "[SPAM] hello"),
        ("subject:hello", "Ü", "Ü hello"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle", "Ü!", "Ü! Grüße an alle"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "[SPAM]", "[SPAM] Grüße"),
        ("Subject:", "[SPAM]", "[SPAM]"),
        ("X: y", "[SPAM]", "[SPAM]"),
    ],
)
def test_the_subject_is_tagged_and_its_octets_stay(field: str, text: str, expected: str, end: bytes) -> None:
    raw = lines("From: a@example.net", field, "To: b@example.org", "", "Subject: body", end=end)
    made = apply(raw, [TagSubject(text)])
    assert read(made)["Subject"] == expected
    assert parse(made).subject == expected
    assert made.endswith(lines("", "Subject: body", end=end))
    assert field.partition(":")[2].strip().encode() in made


def test_a_folded_and_an_eight_bit_subject_keep_their_octets() -> None:
    folded = lines("Subject: ", "\thello", " again", "", "x")
    assert apply(folded, [TagSubject("[S]")]) == lines("Subject: [S]", "\thello", " again", "", "x")
    eight_bit = b"Subject: gr\xfc\xdfe\r\n\r\nx"
    assert apply(eight_bit, [TagSubject("[S]")]) == b"Subject: [S] gr\xfc\xdfe\r\n\r\nx"
    long = lines("Subject: " + "x" * 990, "", "y")
    assert max(map(len, apply(long, [TagSubject("[SPAM]")]).split(b"\r\n"))) <= 999


def test_header_edits_follow_one_another() -> None:
    made = apply(
        lines(*PLAIN), [InsertHeader("X-A", "1"), StripHeader("X-Odd"), EditHeader("X-A", "1", "2"), TagSubject("[A]"), TagSubject("[B]")]
    )
    assert made == lines("From: a@example.net", "Subject: [B] [A] hello", "X-A: 2", *PLAIN[4:])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", b"X: y\r\n\r\n"),
        (b"\r\nbody", b"X: y\r\n\r\nbody"),
        (b"\nbody\n", b"X: y\n\nbody\n"),
        (b"no header at all\n\nbody", b"X: y\r\n\r\nno header at all\n\nbody"),
        (b"Subject: s", b"Subject: s\r\nX: y\r\n"),
        (b"Subject: s\n", b"Subject: s\nX: y\n"),
        (b"From x Mon\nA: b\n\nz", b"From x Mon\nA: b\nX: y\n\nz"),
    ],
)
def test_odd_headers_take_a_field_too(raw: bytes, expected: bytes) -> None:
    assert apply(raw, [InsertHeader("X", "y")]) == expected


# --- text added to the body

FOOTER = "-- \nÄlter & <b>größer</b>\nend"


def attachment_of(raw: bytes) -> bytes:
    return next(part.as_bytes() for part in read(raw).walk() if part.get_filename())


def alternative(charset: str = "utf-8", cte: str = "quoted-printable", end: bytes = b"\r\n") -> bytes:
    message = EmailMessage(policy=email.policy.SMTP if end == b"\r\n" else email.policy.default)
    message["From"], message["Subject"] = "a@example.net", "hello"
    message.set_content("plain gr\xfc\xdfe\n", charset=charset, cte=cte)
    message.add_alternative("<html><body class=x><p>html gr\xfc\xdfe</p></body></html>\n", subtype="html", charset=charset, cte=cte)
    message.add_attachment(b"\0\1\2" * 100, maintype="application", subtype="octet-stream", filename="a.bin")
    return message.as_bytes()


@pytest.mark.parametrize("end", ENDS)
def test_a_footer_of_ascii_is_put_behind_the_octets_of_a_plain_message(end: bytes) -> None:
    raw = lines(*PLAIN, end=end)
    assert apply(raw, [AddFooter("one\ntwo\n")]) == raw + lines("one", "two", end=end)
    assert apply(raw, [AddHeading("one\ntwo")]) == lines(*PLAIN[:5], "one", "two", *PLAIN[5:], end=end)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
@pytest.mark.parametrize("cte", ["quoted-printable", "base64", "8bit"])
def test_a_footer_stands_in_each_form_of_the_text_in_its_character_set(charset: str, cte: str, end: bytes) -> None:
    raw = alternative(charset, cte, end)
    made = apply(raw, [AddFooter(FOOTER)])
    plain, html = texts(made)
    assert plain == "plain grüße\n--\nÄlter & <b>größer</b>\nend\n"
    assert html == "<html><body class=x><p>html grüße</p>\n<div>--<br>Älter &amp; &lt;b&gt;größer&lt;/b&gt;<br>end</div>\n</body></html>\n"
    assert attachment_of(made) == attachment_of(raw)
    types = [(part["Content-Type"], part["Content-Transfer-Encoding"]) for part in read(made).walk()]
    assert types == [(part["Content-Type"], part["Content-Transfer-Encoding"]) for part in read(raw).walk()]
    assert (b"\r\n" in made) == (end == b"\r\n")
    assert made.replace(b"\r\n", b"").count(b"\n") == (0 if end == b"\r\n" else made.count(b"\n"))


def test_a_heading_stands_behind_the_begin_of_the_body() -> None:
    plain, html = texts(apply(alternative(), [AddHeading("Caution: <x>")]))
    assert plain == "Caution: <x>\nplain grüße\n"
    assert html.startswith("<html><body class=x><div>Caution: &lt;x&gt;</div>\n<p>html")


def test_characters_that_a_character_set_lacks_are_written_otherwise() -> None:
    plain, html = (
        part for part in read(apply(alternative("iso-8859-1"), [AddFooter("5 € ☺")])).walk() if part.get_content_maintype() == "text"
    )
    assert (text_of(plain), plain.get_content_charset()) == ("plain grüße\n5 € ☺\n", "utf-8")
    assert html.get_content_charset() == "iso-8859-1"
    assert "<div>5 &#8364; &#9786;</div>" in text_of(html)


def test_a_message_of_ascii_gets_a_label_for_a_footer_that_is_not() -> None:
    for raw in (
        lines(*PLAIN),
        lines("From: a@example.net", "MIME-Version: 1.0", 'Content-Type: text/plain; format=flowed; charset="us-ascii"', "", "x = y"),
    ):
        made = read(apply(raw, [AddFooter("Grüße")]))
        assert text_of(made).endswith("\nGrüße\n")
        assert (made.get_content_charset(), made["MIME-Version"], made["Content-Transfer-Encoding"]) == ("utf-8", "1.0", "quoted-printable")
        assert made.get_param("format") == ("flowed" if b"flowed" in raw else None)


def test_octets_that_are_no_text_of_their_character_set_stay() -> None:
    raw = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nodd \xff\xfe octets\r\n"
    assert apply(raw, [AddFooter("end")]) == raw + b"end\r\n"
    assert apply(raw, [AddFooter("ünd")]) == raw + "ünd\r\n".encode()
    unlabelled = b"Subject: s\r\n\r\ngr\xfc\xdfe\r\nbare\nline\r\n"
    assert apply(unlabelled, [AddFooter("end")]) == unlabelled + b"end\r\n"


def test_a_footer_goes_behind_the_last_text_and_a_heading_before_the_first() -> None:
    message = MIMEMultipart()
    message.attach(MIMEText("first\n"))
    message.attach(MIMEText("second\n"))
    attached = MIMEText("attached\n")
    attached["Content-Disposition"] = "attachment; filename=x.txt"
    message.attach(attached)
    raw = message.as_bytes()
    assert texts(apply(raw, [AddHeading("head"), AddFooter("foot")])) == ["head\nfirst\n", "second\nfoot\n", "attached\n"]


def test_an_attached_message_is_not_touched() -> None:
    inner = EmailMessage()
    inner.set_content("inner\n")
    outer = EmailMessage()
    outer["Subject"] = "fwd"
    outer.set_content("outer\n")
    outer.add_attachment(inner)
    assert texts(apply(outer.as_bytes(), [AddFooter("foot"), EditBody("e", "E")])) == ["outEr\nfoot\n", "inner\n"]


SIGNED = lines(
    "From: a@example.net",
    "Subject: signed",
    "MIME-Version: 1.0",
    'Content-Type: multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature"; boundary=b',
    "DKIM-Signature: v=1",
    "",
    "--b",
    "Content-Type: text/plain",
    "",
    "signed text",
    "--b",
    "Content-Type: application/pgp-signature",
    "",
    "-----BEGIN PGP SIGNATURE-----",
    "--b--",
)


@pytest.mark.parametrize("edit", [AddFooter("ümlaut"), AddHeading("ascii")])
def test_what_is_signed_stays_and_text_stands_beside_it(edit: Edit) -> None:
    made = apply(SIGNED, [edit])
    message = read(made)
    assert message.get_content_type() == "multipart/mixed"
    parts = list(message.iter_parts())
    signed = parts[0 if isinstance(edit, AddFooter) else 1]
    assert signed.get_content_type() == "multipart/signed"
    assert (message["Subject"], message["DKIM-Signature"]) == ("signed", "v=1")
    assert SIGNED[SIGNED.index(b"--b") :] in made
    assert text_of(parts[1 if isinstance(edit, AddFooter) else 0]).strip() in ("ümlaut", "ascii")


def test_a_message_without_text_gets_a_part_for_it() -> None:
    raw = lines("Subject: s", "Content-Type: application/pdf", "Content-Transfer-Encoding: base64", "", "JVBERi0=")
    made = read(apply(raw, [AddFooter("foot")]))
    pdf, foot = made.iter_parts()
    assert (pdf.get_content_type(), pdf.get_content(), text_of(foot).strip()) == ("application/pdf", b"%PDF-", "foot")


def mixed(boundary: str = "bound") -> bytes:
    head = [f"Content-Type: multipart/mixed; boundary={boundary}", "MIME-Version: 1.0", ""]
    return lines(
        *head, f"--{boundary}", "", "text of ours", f"--{boundary}", "Content-Type: application/pdf", "", "%PDF-", f"--{boundary}--"
    )


@pytest.mark.parametrize(
    "edit",
    [
        AddFooter("--bound--\r\n\r\nX: y\x00\x1b[0m"),
        AddHeading("--bound"),
        EditBody("text", "a\n--bound\n\nb"),
        DropParts(frozenset({2}), "--bound--"),
    ],
)
def test_no_text_that_is_added_ends_a_part(edit: Edit) -> None:
    parts = list(read(apply(mixed(), [edit])).iter_parts())
    assert len(parts) == 2
    assert any("--bound" in text_of(part) for part in parts if part.get_content_maintype() == "text")
    sealed = read(apply(SIGNED, [AddFooter("--b--\n--b")]))
    assert len(list(sealed.walk())) == 5


def test_a_line_of_hyphens_that_is_no_delimiter_changes_no_encoding() -> None:
    raw = mixed()
    assert apply(raw, [AddFooter("-- \nBen")]) == raw.replace(b"text of ours\r\n", b"text of ours\r\n--\r\nBen\r\n")


@pytest.mark.parametrize(
    "body",
    [
        "<body " * 50_000,
        "<html <!doctype " * 20_000,
        "<!-- " * 50_000,
        "<script>" * 50_000,
        "</body " * 50_000,
        "<" * 200_000,
        "</body" + " " * 200_000,
    ],
)
def test_hostile_markup_and_headers_are_read_in_a_moment(body: str) -> None:
    spaces = " " * 200_000
    raw = lines(f"Content-Type: text/html;{spaces}x=y;{spaces}", f"Subject:{spaces}x", "", body)
    made = apply(
        raw, [AddFooter("ü"), AddHeading("ü"), EditBody("none", ""), EditBody("b", "☺"), ConvertHtml(), EditHeader("Subject", "x", "y")]
    )
    assert parse(made).subject == "y"


# --- text replaced, HTML made plain


def test_matches_in_text_that_is_seen_are_replaced_and_markup_is_not() -> None:
    message = EmailMessage()
    message.set_content("a secret = 5 of ours\n")
    html = '<html><head><title>secret</title><style>.secret{}</style></head><body id="secret">a secret &amp; more<!-- secret --> se<b>cret</b></body></html>\n'
    message.add_alternative(html, subtype="html")
    made = apply(message.as_bytes(), [EditBody("secret( &)?", "<\\1>")])
    assert texts(made) == ["a <> = 5 of ours\n", html.replace("a secret &amp; more", "a &lt; &amp;&gt; more")]


@pytest.mark.parametrize("cte", ["quoted-printable", "base64", "8bit"])
def test_only_parts_with_a_match_are_encoded_anew(cte: str) -> None:
    raw = alternative(cte=cte)
    assert apply(raw, [EditBody("nowhere", "x")]) == raw
    made = apply(raw, [EditBody("^plain", "Klartext: ☺")])
    assert texts(made)[0] == "Klartext: ☺ grüße\n"
    start = raw.index(b"Content-Type: text/html")
    assert raw[start:] == made[-len(raw[start:]) :]


def test_html_becomes_the_text_that_is_seen() -> None:
    raw = alternative()
    made = apply(raw, [ConvertHtml()])
    assert texts(made) == ["plain grüße\n", "html grüße"]
    assert attachment_of(made) == attachment_of(raw)
    alone = read(apply(lines("Subject: s", "Content-Type: text/html", "", "<p>one</p><p hidden>two</p>"), [ConvertHtml()]))
    assert (alone.get_content_type(), text_of(alone).split(), alone["Subject"]) == ("text/plain", ["one"], "s")
    assert apply(lines(*PLAIN), [ConvertHtml()]) == lines(*PLAIN)


# --- parts taken out


def numbers(raw: bytes, media_type: str) -> frozenset[int]:
    return frozenset(part.index for part in parse(raw).parts if part.media_type == media_type)


@pytest.mark.parametrize("end", ENDS)
def test_a_part_goes_with_its_delimiter_and_all_else_stays(end: bytes) -> None:
    raw = alternative(end=end)
    made = apply(raw, [DropParts(numbers(raw, "application/octet-stream"))])
    assert [part.get_content_type() for part in read(made).walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    start = raw.index(b"Content-Type: application/octet-stream")
    assert made[: start - 60] == raw[: start - 60]
    assert texts(made) == texts(raw)


def test_a_replacement_stands_in_the_place_of_the_part() -> None:
    raw = alternative()
    made = read(apply(raw, [DropParts(numbers(raw, "application/octet-stream"), "taken out: größe\r\n--b--")]))
    replaced = list(made.iter_parts())[-1]
    assert (replaced.get_content_type(), text_of(replaced), replaced.get_filename()) == ("text/plain", "taken out: größe\n--b--", None)


def test_all_parts_and_a_message_that_is_one_part_become_text() -> None:
    raw = alternative()
    children = frozenset(part.index for part in parse(raw).parts if part.parent == 0)
    assert [part.get_content_type() for part in read(apply(raw, [DropParts(children)])).walk()] == ["multipart/mixed", "text/plain"]
    pdf = lines("Subject: s", "Content-Type: application/pdf", "Content-Disposition: attachment; filename=a.pdf", "", "%PDF-")
    made = read(apply(pdf, [DropParts(frozenset({0}), "gone")]))
    assert (made["Subject"], made.get_content_type(), text_of(made).strip(), made.get_filename()) == ("s", "text/plain", "gone", None)


def test_what_was_taken_out_of_a_part_goes_with_it() -> None:
    message = EmailMessage()
    message.set_content("see\n")
    packed = tnef(attachment(b"text", title=b"inner.txt"), attachment(b"more", title=b"other.txt"))
    message.add_attachment(packed, maintype="application", subtype="ms-tnef", filename="winmail.dat")
    raw = message.as_bytes()
    inner = frozenset(part.index for part in parse(raw).parts if part.origin >= 0)
    assert len(inner) == 2
    made = read(apply(raw, [DropParts(inner, "gone")]))
    assert [part.get_content_type() for part in made.walk()] == ["multipart/mixed", "text/plain", "text/plain"]


def test_numbers_that_are_no_parts_change_nothing() -> None:
    raw = alternative()
    assert apply(raw, [DropParts(frozenset({-1, 99}), "x"), DropParts(frozenset())]) == raw


def test_edits_find_the_parts_as_earlier_ones_left_them() -> None:
    raw = alternative()
    made = apply(raw, [AddFooter("foot"), DropParts(frozenset({2})), TagSubject("[T]"), EditBody("html", "HTML")])
    assert read(made)["Subject"] == "[T] hello"
    assert len(texts(made)) == 1
    assert "HTML grüße" in texts(made)[0]


# --- any message

EDITS: Sequence[Edit] = (
    InsertHeader("X-Tag", "ü"),
    StripHeader("Subject"),
    EditHeader("Subject", "[a-z]+", "x"),
    TagSubject("[T]"),
    EditBody("[a-z]+", "ü"),
    AddHeading("<h> ü"),
    AddFooter("<f> ü"),
    ConvertHtml(),
    DropParts(frozenset({1, 3}), "gone"),
    DropParts(frozenset({1, 2})),
)
SAME: Sequence[Edit] = (StripHeader("X-None"), EditHeader("Subject", "\\x01none", "x"), EditBody("\\x01none", "x"), DropParts(frozenset()))


@pytest.mark.parametrize("end", ENDS)
def test_no_message_makes_an_edit_fail_and_edits_of_nothing_change_no_octet(end: bytes) -> None:
    for path in MAIL:
        raw = path.read_bytes()
        if len(raw) > 200_000:
            continue
        raw = raw.replace(b"\r\n", b"\n").replace(b"\n", end)
        assert apply(raw, SAME) == raw, path
        for edit in EDITS:
            made = apply(raw, [edit])
            if isinstance(edit, InsertHeader):
                assert parse(made).header("X-Tag")[-1:] == ["ü"], path
            if isinstance(edit, StripHeader):
                assert not parse(made).subject, path


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(MAIL), st.lists(st.sampled_from(EDITS), max_size=4), st.integers(0, 4_000))
def test_edits_of_messages_that_are_cut_short_do_not_fail(path: Path, edits: list[Edit], size: int) -> None:
    apply(path.read_bytes()[:size], edits)


def test_thousands_of_parts_and_matches_are_edited_in_a_moment() -> None:
    """Each was compared with all others, and each match was counted in characters from the begin."""
    attached = b"--b\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nMZ\r\n"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n" + attached * 2_000 + b"--b--\r\n"
    numbers = frozenset(part.index for part in parse(raw).parts if part.attachment)
    assert len(numbers) == 2_000
    assert apply(raw, [DropParts(numbers, "")]) == b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b--\r\n"
    long = b"Subject: x\r\n\r\n" + "aä€\n".encode().replace(b"\n", b"\r\n") * 20_000
    labelled = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n" + long
    changed = apply(labelled, [EditBody("[aä]", "<\\0>")])
    assert message_from_bytes(changed, policy=email.policy.default).get_content().replace("\r\n", "\n") == "<a><ä>€\n" * 20_000
