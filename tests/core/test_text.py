"""Decoding: transfer encodings against Python's, header words, HTML as a client shows it."""

from __future__ import annotations

import base64
import binascii
import html
import quopri
from html.entities import html5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core import Parsed, parse


def plain(content: bytes, charset: str, encoding: str = "8bit") -> Parsed:
    return parse(f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + content)


def page(markup: str) -> Parsed:
    return parse(b"Content-Type: text/html; charset=utf-8\n\n" + markup.encode())


def subject(value: bytes) -> str:
    return parse(b"Subject: " + value + b"\n\n").subject


# ---- transfer encodings ----


@given(st.binary(max_size=400), st.integers(1, 90), st.booleans())
def test_base64_in_lines_of_any_length_is_decoded(content: bytes, width: int, carriage_return: bool) -> None:
    written = base64.b64encode(content)
    lines = (b"\r\n" if carriage_return else b"\n").join(written[at : at + width] for at in range(0, len(written), width))
    assert parse(b"Content-Transfer-Encoding: base64\nContent-Type: image/x\n\n" + lines).parts[0].content() == content


@given(st.binary(max_size=300))
def test_quoted_printable_is_decoded_as_python_does(content: bytes) -> None:
    written = quopri.encodestring(content)
    found = parse(b"Content-Transfer-Encoding: quoted-printable\nContent-Type: image/x\n\n" + written).parts[0].content()
    assert found == quopri.decodestring(written)


@given(st.binary(min_size=1, max_size=300))
def test_uuencode_is_decoded(content: bytes) -> None:
    lines = b"".join(binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45))
    raw = b"Content-Transfer-Encoding: x-uuencode\nContent-Type: image/x\n\nbegin 644 a\n" + lines + b"`\nend\n"
    assert parse(raw).parts[0].content() == content


def test_breaches_of_an_encoding_are_flagged_and_the_rest_is_kept() -> None:
    assert plain(b"SGVs*bG8", "utf-8", "base64").text == "Hello"
    assert "bad_base64" in plain(b"SGVs*bG8", "utf-8", "base64").flags
    assert plain(b"a=ZZ=4", "utf-8", "quoted-printable").text == "a=ZZ=4"
    assert "bad_quoted_printable" in plain(b"a=ZZ=4", "utf-8", "quoted-printable").flags


# ---- header fields ----


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=\n  \n =?ISO-8859-2?Q?_b?=", "a b"),
        (b"=?utf-8?B?w6Q=?= and =?UTF-8?b?w7Y=?=", "ä and ö"),
        (b"=?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€"),
        (b"=?utf-8*en?q?x?=", "x"),
        (b"pre=?utf-8?q?fix?=ed", "prefixed"),
        (b"=?utf-8?q?not ended", "=?utf-8?q?not ended"),
        (b"=?utf-8?x?y?=", "=?utf-8?x?y?="),
        (b"=?utf-8?q??=", ""),
        (b"=?utf-8?q?a=0Ab?=", "a b"),
        (b"1 =?= 2 =?", "1 =?= 2 =?"),
        ("roh ä".encode(), "roh ä"),
        (b"=?utf-8?B?4oI=?= =?UTF8?q?=AC?=", "€"),  # a character split between two encodings and two names of one set
        (b"=?utf-8?B?4oI?=\n\t=?utf-8?B?rA?=", "€"),  # without padding
        (b"=?utf-8?q?=E2=82?= =?iso-8859-15?q?=A4?=", "\ufffd€"),  # not between two sets
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?iso-2022-jp?B?GyRCOGwbKEI=?=", "日本語"),
        (b"=?gb2312*zh?B?sNeLbLO/?=", "白媗晨"),  # GBK, as clients read it
        (b"=?iso-8859-1?q?it=92s?=", "it\u2019s"),  # windows-1252
        (b"=?utf-8?q?two words?= =?utf-8?q?_more?=", "two words more"),
        (b"=?utf-8?B?4oKs\n 4oKs?=", "€€"),  # folded in the middle
        (b"=?utf-8?Q?really??=", "really?"),
        (b"=?none?q?x=E4?=", "xä"),
        (b"=??q?x?=", "=??q?x?="),
        (b"(=?utf-8?q?a?=)[=?utf-8?q?b?=]", "(a)[b]"),
        (b"=?koi8-r?B?8NLJ18XU?= \xcd\xc9\xd2", "Привет ÍÉÒ"),
    ],
)
def test_encoded_words_are_shown_as_clients_show_them(value: bytes, shown: str) -> None:
    assert subject(value) == shown


def test_raw_octets_in_a_header_are_utf_8_else_as_a_part_declares_else_windows_1252() -> None:
    head = "Subject: Привет\nFrom: Жук <a@example.ru>\nContent-Disposition: attachment; filename=Жук.txt\n"
    for charset, part in (("koi8-r", "koi8-r"), ("gb18030", "gb2312"), ("utf-8", "koi8-r")):
        parsed = parse(head.encode(charset) + f"Content-Type: text/plain; charset={part}\n\n".encode() + "текст".encode(charset))
        assert (parsed.subject, parsed.from_name, parsed.header("subject")) == ("Привет", "Жук", ["Привет"])
        assert parsed.parts[0].file_name == "Жук.txt"
        assert "eight_bit_header" in parsed.flags
    inner = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=windows-1251\n\n\n--b--\n"
    assert parse("Subject: Привет\n".encode("cp1251") + inner).subject == "Привет"
    assert parse(b"Subject: Gr\xfc\xdfe\n\n").subject == "Grüße"
    assert parse(b"Subject: Gr\xfc\xdfe\nContent-Type: text/plain; charset=utf-8\n\n").subject == "Grüße"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("image/ jpeg", "image/jpeg"),
        ("text /html", "text/html"),
        ("text (a/b) / (c) html; charset=utf-8", "text/html"),
        ("image/", "text/plain"),
        ("a/b/c", "text/plain"),
        ("a/b /c", "a/b"),
    ],
)
def test_a_media_type_may_have_white_space_and_comments_about_its_slash(written: str, shown: str) -> None:
    parsed = parse(f"Content-Type: {written}\n\n<p>x".encode())
    assert parsed.parts[0].media_type == shown
    assert ("ambiguous" in parsed.flags) == (written != "a/b /c")
    assert parsed.text == {"text/html": "x", "text/plain": "<p>x"}.get(shown, "")


@pytest.mark.parametrize(
    ("value", "name", "address"),
    [
        (b"ann@example.org", "", "ann@example.org"),
        (b"<Ann@Example.ORG>", "", "ann@example.org"),
        (b'"Author, Ann" <ann@example.org>', "Author, Ann", "ann@example.org"),
        (b'"A \\"quoted\\" \\\\ name" <a@b>', 'A "quoted" \\ name', "a@b"),
        (b"ann@example.org (Ann (the) Author)", "Ann (the) Author", "ann@example.org"),
        (b"=?utf-8?q?M=C3=BCller=2C_J?= <j@m>", "Müller, J", "j@m"),
        (b"=?utf-8?q?M=C3=BCller,_J?= <j@m>", "Müller, J", "j@m"),
        (b"Author, Ann <a@b>", "Author", "a@b"),
        (b"<@relay.example,@other.example:a@b>", "", "a@b"),
        (b"Friends: a@b, c@d;", "", "a@b"),
        (b"undisclosed-recipients:;", "", ""),
        (b"Only A Name", "Only A Name", ""),
        (b'"bank@example.com" <eve@evil.example>', "bank@example.com", "eve@evil.example"),
        (b"Eve <eve@evil.example", "Eve", "eve@evil.example"),
        (b"", "", ""),
    ],
)
def test_the_first_mailbox_of_from_is_read(value: bytes, name: str, address: str) -> None:
    parsed = parse(b"From: " + value + b"\n\n")
    assert (parsed.from_name, parsed.from_address) == (name, address)


def test_several_authors_are_flagged_and_recipients_counted() -> None:
    parsed = parse(b'From: a@b, c@d\nTo: "x, y" <e@f>, g@h\nCc: i@j (k, l)\n\n')
    assert "several_from" in parsed.flags
    assert parsed.recipients == 3


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b'Content-Disposition: attachment; filename="a b.txt"', "a b.txt"),
        (b"Content-Disposition: attachment; filename=a b.txt; size=3", "a b.txt"),
        (b"Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.txt", "€.txt"),
        (b"Content-Disposition: attachment; filename*0=\"a\"; filename*1*=%20b; filename*2=c", "a bc"),
        (b"Content-Disposition: attachment; filename*1=b; filename*0=a", "ab"),
        (b'Content-Disposition: attachment; filename="=?utf-8?q?=C3=A4?=.txt"', "ä.txt"),
        (b'Content-Disposition: attachment; filename="C:\\temp\\new.txt"', "C:\\temp\\new.txt"),
        (b'Content-Type: application/x; name="fallback.bin"', "fallback.bin"),
        (b"Content-Disposition: attachment; filename*=utf-8''good.txt; filename=bad.exe", "good.txt"),
        (b"Content-Disposition: attachment", ""),
    ],
)  # fmt: skip
def test_a_file_name_is_read_in_each_of_its_forms(field: bytes, name: str) -> None:
    part = parse(field + b"\n\n").parts[0]
    assert part.file_name == name
    assert part.attachment


# ---- HTML ----


@pytest.mark.parametrize(
    ("markup", "seen"),
    [
        ("<p>one</p><p>two", "one\ntwo"),
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("a <b> b </b> c", "a b c"),
        ("un<b>brok</b>en w<i></i>ord", "unbroken word"),
        ("<table><tr><td>a<td>b<tr><td>c</table>d", "a b\nc\nd"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<pre>a\n  b</pre>c", "a\n  b\nc"),
        ("a<!-- b > c -->d<!-->e<!--->f<!doctype x>g<?php h?>i</ j>k", "adefgik"),
        ("a<script>b</script>c<style>d</style>e<title>f</title>g", "aceg"),
        ("1 < 2 <3", "1 < 2 <3"),
        ("&lt;a&gt;&nbsp;&eacute;&#8364;&#x20ac;&#128;&hellip;", "<a>\xa0é€€€…"),
        ("a<a href='>'>b</a>", "ab"),
        ("<textarea>a<b></textarea><option>c", "a<b>\nc"),
        ("a\0b", "ab"),
        ("\u200bzero", "\u200bzero"),
    ],
)
def test_html_is_read_as_it_is_shown(markup: str, seen: str) -> None:
    assert page(markup).text == seen


@pytest.mark.parametrize(
    ("markup", "seen", "hidden"),
    [
        ("a<p style='display:none'>b</p>c", "ac", "b"),
        ("a<p style=display:none>b<p>c", "a\nc", "b"),
        ("a<span style=' Color:red; DISPLAY : None ! important'>b</span>c", "ac", "b"),
        ("a<div hidden>b<div>c</div>d</div>e", "ae", "b\nc\nd"),
        ("<div><span style='display:none'>b</div>c", "c", "b"),
        ("<td><span style='display:none'></div>b</td>c", "c", "b"),
        ("<p style='font-size:0px'>b<b style='font-size:9pt'>c</b>d</p>", "c", "b\nd"),
        ("<p style='font-size:0'>b<b style='font-size:2em'>c</b></p>", "", "bc"),
        ("<p style='visibility:hidden'>b<b style='visibility:visible'>c</b></p>", "c", "b"),
        ("<p style='opacity:0'>b</p><p style='opacity:0.5'>c</p>", "c", "b"),
        ("<p style='max-height:0;overflow:hidden'>b</p><p style='max-height:0'>c</p>", "c", "b"),
        ("<p style='mso-hide:all'>b</p><p style='display:/**/none'>c</p>", "", "b\nc"),
        ("<p style='display&#58;none'>b</p>", "", "b"),
        ("<p style='background:url(a;display:none)'>b</p>", "b", ""),
        ("<template>b</template>c", "c", "b"),
    ],
)
def test_text_that_is_not_shown_is_kept_apart(markup: str, seen: str, hidden: str) -> None:
    parsed = page(markup)
    assert (parsed.text, parsed.written) == (seen, hidden)


@pytest.mark.parametrize("name", ["amp", "nbsp", "eacute", "nGt", "CounterClockwiseContourIntegral", "hellip", "copy", "fjlig", "bne"])
@pytest.mark.parametrize("after", [";", "", " ", "=", "x"])
def test_references_are_decoded_as_pythons_html_decodes_them(name: str, after: str) -> None:
    assert page(f"a&{name}{after}z").text.replace("\xa0", " ") == html.unescape(f"a&{name}{after}z").replace("\xa0", " ")


def test_every_named_reference_is_known() -> None:
    for name, text in html5.items():
        if name.endswith(";") and text.strip():
            assert page(f"a&{name}z").text == f"a{text}z", name


def test_links_carry_what_they_show() -> None:
    parsed = page(
        '<a href=" HTTP://Evil.example/?a=1&amp;b\n=2 "> Your <b>bank</b></a><a name=x>no link</a><area href=m>'
        "<img src=p.gif alt='A &lt;b&gt;'><form action=f><button formaction=g>Go</button></form><iframe src=i></iframe>"
        "<meta http-equiv=refresh content='3; URL=r'><td background=bg><span hidden><a href=h>unseen</a></span><img src='data:x'>"
    )
    assert [tuple(link)[:3] for link in parsed.links] == [
        ("HTTP://Evil.example/?a=1&b=2", "Your bank", "anchor"),
        ("m", "", "anchor"),
        ("p.gif", "A <b>", "image"),
        ("f", "", "form"),
        ("g", "", "form"),
        ("i", "", "other"),
        ("r", "", "other"),
        ("bg", "", "image"),
        ("h", "unseen", "anchor"),
        ("data:x", "", "image"),
    ]
    assert [link.url for link in parsed.links if link.hidden] == ["h"]
    assert {name: count for name, count in parsed.html.items() if count} == {
        "parts": 1, "tags": 13, "anchors": 2, "images": 2, "forms": 1, "inputs": 1, "hidden_bytes": 6, "data_urls": 1,
        "seen_bytes": len(parsed.text.encode()),
    }  # fmt: skip


def test_odd_references_tiny_images_and_unknown_elements_are_counted() -> None:
    counts = page(
        "<o:p>&#65;&#x42;&#8364;</o:p><img width=1><img height='0'><img width=100><p lang=de><table><script></script><!-- x -->"
    ).html
    wanted = ("entities_odd", "tiny_images", "images", "unknown_tags", "lang_attributes", "tables", "scripts", "comments")
    assert [counts[name] for name in wanted] == [2, 2, 3, 1, 1, 1, 1, 1]


def test_links_past_the_limit_are_flagged() -> None:
    parsed = page("<a href=x>y</a>" * 5000)
    assert len(parsed.links) == 4096
    assert "too_many_links" in parsed.flags
