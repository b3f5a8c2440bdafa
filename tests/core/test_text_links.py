"""URLs that nobody made links: as clients make links of them, in plain text and between the anchors of a page, as a plain twin finds them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core import parse
from esa_core._text_links import url_signs

# What ends a URL: blanks and quotes, then no-break and other wide spaces, East Asian punctuation but for full stops.
PARTS_WORDS = rb"\xc2\xa0|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80[\x80\x81\x83-\x91]|\xef\xbc[\x81-\x8d\x8f\x9a-\xa0]"
URL = re.compile(rb"(?i:(?:https?|hxxps?|ftp)://|(?<![a-z0-9/.@])www\.)((?:(?!" + PARTS_WORDS + rb")[^\x00-\x20\"<>\x7f])+)", re.DOTALL)
CLOSES = re.compile(rb"(?:[.,;:!?')\]]|\xe3\x80\x82)+\Z")
PIECES = (
    *("http://", "HTTPS://", "hxxp://", "ftp://", "://", ":/", "www.", "WWW.", "wwww.", "ww.", "w", "a", "9", "@", "/", ".", ",", ")", "'"),
    *(" ", "\n", '"', "<", ">", "\x7f", "\xa0", "\u2003", "\u2029", "\u205f", "\u3000", "\u3001", "\u3002", "\u3011", "\u3012", "\uff0c", "\uff0e", "\uff1f"),
    *("\u0100", "\u00c2", "\u2013", "\u4e00", "\uff21", "example.org", "x" * 31),
)  # fmt: skip


def twin(text: str) -> list[str]:
    """The URLs of one stretch of text."""
    return [CLOSES.sub(b"", found[0]).decode() for found in URL.finditer(text.encode())]


def text_links(raw: bytes) -> list[str]:
    return [link.url for link in parse(raw).links if link.kind == "text"]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see http://a.example/b?c, (https://d.example). <ftp://e> end", ["http://a.example/b?c", "https://d.example", "ftp://e"]),
        ("www.a.example and WWW.B.example/x! not awww.c.example", ["www.a.example", "WWW.B.example/x"]),
        ("http://www.a.example", ["http://www.a.example"]),
        ("http:// :// x://y mailto:a@b", []),
        ("\xa0www.a.example\xa0x http://b.example\u3000y", ["www.a.example", "http://b.example"]),
        ("请访问www.a.example，谢谢。http://b.example/c。", ["www.a.example", "http://b.example/c"]),
        ("http://a\u3002example/x", ["http://a\u3002example/x"]),
    ],
)
def test_bare_urls_in_plain_text_are_links(text: str, urls: list[str]) -> None:
    assert text_links(b"Content-Type: text/plain; charset=utf-8\n\n" + text.encode()) == urls == twin(text)


@pytest.mark.parametrize(
    ("markup", "urls"),
    [
        ("<p>Verify at http://evil.example/login today</p>", ["http://evil.example/login"]),
        ("visit&nbsp;www.a.example&nbsp;now<br>https://b.example<br>next", ["www.a.example", "https://b.example"]),
        ("<td>http://a.example<td>b", ["http://a.example"]),
        ("http://a.<b>example</b>/x", ["http://a.example/x"]),
        ("&#104;ttp://a.example/?b&amp;c", ["http://a.example/?b&c"]),
        ("<a href='http://x'>http://shown.example</a> www.b.example <a href=y>www.c.example</a>", ["www.b.example"]),
        ("www.a.<a href='http://x'>example</a>.com", ["www.a"]),
        ("<a name=top>www.a.example</a>", ["www.a.example"]),
        ("<a href=x><img src=y></a>www.a.example", ["www.a.example"]),
        ("<p style='display:none'>http://hidden.example</p><!-- www.comment.example -->", []),
        ("<a href=x style='display:none'>www.a.example</a>www.b.example", ["www.b.example"]),
        ("<area href=x>http://a.example<form action=y>www.b.example", ["http://a.example", "www.b.example"]),
        ("<title>www.a.example</title><script>'http://b.example'</script>", []),
        ("www.a.example<style>p{color:red}</style><p>www.b.example", ["www.a.example", "www.b.example"]),
    ],
)
def test_bare_urls_that_a_page_shows_are_links(markup: str, urls: list[str]) -> None:
    parsed = parse(b"Content-Type: text/html; charset=utf-8\n\n" + markup.encode())
    found = [link for link in parsed.links if link.kind == "text"]
    assert [link.url for link in found] == urls
    assert all(link.part == 0 and not link.hidden and link.shown == "" for link in found)
    assert all(url in parsed.text for url in urls)


def test_a_bare_www_is_a_host_whatever_base_the_page_names() -> None:
    parsed = parse(b"Content-Type: text/html\n\n<base href='http://base.example/'>WWW.A.co.uk/b <a href=www.c>d</a>")
    assert [(link.kind, link.normal, link.registrable_domain) for link in parsed.links] == [
        ("other", "http://base.example/", "base.example"),
        ("anchor", "http://base.example/www.c", "base.example"),
        ("text", "http://www.a.co.uk/b", "a.co.uk"),
    ]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_plain_text_has_the_links_of_its_twin(text: str) -> None:
    parsed = parse(b"Content-Type: text/plain; charset=utf-8\n\n" + text.encode())
    assert [link.url for link in parsed.links] == twin(parsed.text)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.integers(0, 70))
def test_both_kernels_find_the_same_signs(text: str, shift: int) -> None:
    octets = b"." * shift + text.encode()
    expected = [at for at in range(len(octets)) if octets[at : at + 2] == b":/" or octets[at : at + 2].lower() == b"w."]
    assert url_signs(octets, wide=False) == expected
    assert url_signs(octets, wide=True) == expected


@pytest.mark.parametrize("name", ["spamassassin", "phishing_pot", "foff-2025", "list-usrp"])
def test_real_mail_has_the_links_of_the_twin(name: str, corpus: Callable[[str], Path]) -> None:
    paths = sorted(path for path in corpus(name).rglob("*") if path.is_file())
    checked = found = 0
    for path in random.Random(3).sample(paths, min(600, len(paths))):
        parsed = parse(path.read_bytes())
        shown: dict[int, list[str]] = {}
        for link in parsed.links:
            if link.kind == "anchor" and link.shown and not link.hidden:
                shown.setdefault(link.part, []).append(link.shown)
        for part in parsed.parts:
            if not part.media_type.startswith("text/") or part.another or "not_all_read" in parsed.flags:
                continue
            pieces, rest = [], part.text
            for text in shown.get(part.index, []):
                before, there, rest = rest.partition(text)
                assert there
                pieces.append(before)
            whole = [url for piece in (*pieces, rest) for url in twin(piece)]
            links = [link.url for link in parsed.links if link.kind == "text" and link.part == part.index]
            if any(part.text.count(text) > 1 for text in shown.get(part.index, [])) and links != whole:
                continue  # where an anchor's text stands elsewhere too, the twin cannot tell which of them is the anchor
            assert links == whole, path
            checked += 1
            found += len(links)
    assert checked > 200
    assert found > 20
