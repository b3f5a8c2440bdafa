"""What a page shows and what only stands in its source: styles, style sheets, colours, comments, raw text, svg."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core import Parsed, parse
from esa_core._html import marks_of


def page(markup: str) -> Parsed:
    return parse(b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + markup.encode())


def shown(markup: str) -> tuple[str, str]:
    parsed = page(markup)
    return parsed.text, parsed.written


@pytest.mark.parametrize(
    "style",
    [
        "display:none", "DISPLAY : NONE ! important", "visibility:hidden", "visibility:collapse", "opacity:0", "opacity:.01", "opacity:3%",
        "filter:alpha(opacity=0)", "font-size:0", "font-size:0px", "font-size:1px", "font-size:1pt", "font-size:.5px", "font-size:0.01em",
        "font-size:1%", "font:0/0 a", "font:italic 0px/1 Arial", "font:1px serif", "color:#fff", "color:white", "color:#FEFEFE",
        "color:rgb(255,255,255)", "color:rgb(100%, 99%, 100%)", "color:rgba(250 250 250 / 1)", "color:hsl(0,0%,100%)", "color:transparent",
        "color:rgba(0,0,0,0)", "color:#0000", "color:#00000000", "color:black;background:#000", "background-color:#111;color:#111111",
        "background:no-repeat black;color:#010101", "position:absolute;left:-9999px", "position:fixed;top:-999em", "margin-left:-9999px",
        "text-indent:-9999px", "max-height:0;overflow:hidden", "overflow:hidden;height:1px", "width:0;overflow:hidden",
        "max-width:0px;overflow:hidden", "position:absolute;clip:rect(0 0 0 0)", "position:absolute;clip:rect(1px,1px,1px,1px)",
        "clip-path:inset(50%)", "clip-path:circle(0)", "mso-hide:all", "transform:scale(0)", "transform:scaleY(0)",
        "display:block;display:none", "display:none!important;display:block", "x:y;;display:/* */none", "/*;:(*/display:none",
        "color:/*;:*/#fff", "x:y(;z:());display:none", "(x);display:none", ";)x:y);display:none", f"x:{'y' * 70};display:none",
        f"{'x' * 62}:y;display:none", f"x:url({'(;' * 40}{'))' * 40};display:none", "font-family:a, b;display:none ",
    ],
)  # fmt: skip
def test_text_that_a_style_keeps_from_being_seen_is_written_only(style: str) -> None:
    seen, hidden = shown(f"a<p style='{style}'>b</p>c")
    assert ("".join(seen.split()), hidden) == ("ac", "b")
    assert shown(f"a<span style='{style}'>b</span>c") == ("ac", "b"), "words are not cut by what is not seen"


@pytest.mark.parametrize(
    "style",
    [
        "display:block", "display:none;display:block", "visibility:visible", "opacity:1", "opacity:0.5", "font-size:12px", "font-size:2em",
        "font-size:small", "font:12px/0 Arial", "font:700 12px Arial", "color:#eee;background:#000", "color:#fff;background:url(x.png)",
        "color:#fff;background:#fff url(x.png)", "color:#fff;background-image:linear-gradient(red,blue)", "color:red", "color:nonsense",
        "background:#000;color:#fff", "position:absolute;left:-9px", "left:-9999px", "margin-left:-9px", "text-indent:-9px",
        "max-height:0", "overflow:hidden", "overflow:hidden;height:10px", "overflow:hidden;width:0.5em", "clip:rect(0,0,0,0)",
        "clip-path:inset(0)", "transform:scale(1)", "background:url(a;display:none)", "display:none}", "display none", "", "a", ":;:", "display:",
    ],
)  # fmt: skip
def test_text_that_can_be_seen_is_seen(style: str) -> None:
    assert shown(f"<p style='{style}'>b</p>") == ("b", "")


@pytest.mark.parametrize(
    ("markup", "seen", "hidden"),
    [
        ("<body bgcolor=black text=black>a<font color=white>b</font></body>c", "b", "a\nc"),
        ("<table bgcolor=#f00><tr><td><font color=ff0000>a</font><td bgcolor=blue><font color=#ff0000>b", "b", "a"),
        ("<td bgcolor=#fff background=x.png><font color=#fff>a", "a", ""),
        ("<body bgcolor=#0000ee>a<a href=x>b</a><a name=x>c</a>", "ac", "b"),
        ("<body bgcolor=white link=white><a href=x>b</a>", "", "b"),
        ("<p style='color:#fff'>a<b style='background:red'>b<i style='color:inherit'>c</i></b>d", "bc", "a\nd"),
        ("<p style='font-size:10px'>a<i style='font-size:.1em'>b<b style='font-size:10rem'>c", "ac", "b"),
        ("<p style='visibility:hidden'>a<b style='visibility:visible'>b", "b", "a"),
        ("<p style='text-indent:-9999px'>a<b style='text-indent:0'>b", "b", "a"),
        ("<div hidden>a</div><div hidden style='display:block'>b</div>", "b", "a"),
        ("<p><font style='display:none'>a<p>b</font>c", "c", "a\nb"),
        ("<div><font color=white>a</div>b</font>c", "c", "ab"),
        ("<td><font color=white>a<td>b", "b", "a"),
        ("<a style='display:none'>a<a>b", "b", "a"),
        ("<body style='display:none'>a</body>b", "", "a\nb"),
    ],
)
def test_looks_are_inherited_and_end_as_in_a_browser(markup: str, seen: str, hidden: str) -> None:
    assert shown(markup) == (seen, hidden)


SHEETS = [
    (".a{display:none}", "<p class='x a'>b<p>c", "c", "b"),
    (".A{display:none}", "<p class=a>b<p>c", "c", "b"),
    ("p{font-size:0}", "<p>b</p>c", "c", "b"),
    ("p.a , #i{display:none}", "<p class=a>b</p><i class=a>c</i><b id=i>d</b>", "c", "b\nd"),
    (".a.b{display:none}", "<p class=a>b<p class='b a'>c", "b", "c"),
    ("td .a{display:none}", "<p class=a>b<td><p class=a>c", "b", "c"),
    ("body p > i{display:none}", "<p><i>b</i>c", "c", "b"),
    ("*{color:#fff}", "<p>b", "", "b"),
    (".a{display:none}.a{display:block}", "<p class=a>b", "b", ""),
    (".a{display:none!important}", "<p class=a style='display:block'>b", "", "b"),
    (".a{display:none}", "<p class=a style='display:block'>b", "b", ""),
    ("#i{display:block}.a{display:none}", "<p class=a id=i>b", "b", ""),
    ("p{display:none}.a{display:block}", "<p class=a>b", "b", ""),
    ("/* .a{} */<!-- .a{display:none} -->", "<p class=a>b", "", "b"),
    ("@import 'x';@font-face{a:b}.a{display:none}", "<p class=a>b", "", "b"),
    ("@media print{.a{display:none}}", "<p class=a>b", "b", ""),
    ("@media screen{.a{display:none}.b{color:#fff}}.c{display:none}", "<p class=a>b<p class=b>c<p class=c>d", "", "b\nc\nd"),
    ("@media (max-width:600px){.a{display:none}}.b{display:none}", "<p class=a>b<p class=b>c", "b", "c"),
    ("@media only screen and (min-width:10px){.a{display:none}}", "<p class=a>b", "", "b"),
    ("a:hover{display:none}a:link{color:#fff}", "<a href=x>b</a>c", "c", "b"),
    (".x .y{background:#000}", "<p class=y><font color=#fff>b", "b", ""),
    (".x .y{display:none}", "<p class=y>b", "b", ""),
    ("[class=a]{display:none}[title]{display:none}", "<p class=a>b<p title=x>c", "c", "b"),
    (r".sm\:a{display:none}", "<p class=sm:a>b", "", "b"),
    (r".a-long-name\:of-a-class{display:none}", "<p class=A-long-name:OF-a-class>b", "", "b"),
    (".a-long-name-of-a-class{display:none}", "<p class=a-long-name-of-b-class>b", "b", ""),
    (".a{display:none}", "<p class='x>y a'>b", "", "b"),
    ("@media print{.a{x:y}.b{x:y}}@media screen{.a{display:none}}", "<p class=a>b", "", "b"),
    (".a{display:none", "<p class=a>b", "", "b"),
    ("{}}{;", "b", "b", ""),
]


@pytest.mark.parametrize(("sheet", "markup", "seen", "hidden"), SHEETS)
def test_style_sheets_are_applied(sheet: str, markup: str, seen: str, hidden: str) -> None:
    assert shown(f"<style>{sheet}</style>{markup}") == (seen, hidden)
    if "@import" not in sheet and not sheet.startswith("body"):
        assert shown(f"{markup}<style>{sheet}</style>") == (seen, hidden), "a sheet behind the text"


def test_sheets_that_are_not_for_a_screen_are_passed_over() -> None:
    hide = ".a{display:none}</style>"
    text = "<p class=a>b"
    assert shown(f"<style media=print>{hide}{text}") == ("b", "")
    assert shown(f"<style media='screen, print'>{hide}{text}") == ("", "b")
    assert shown(f"<style type=text/x>{hide}{text}") == ("b", "")
    assert shown(f"<!--[if mso]><style>{hide}<![endif]-->{text}")[0] == "b"
    assert shown(f"<template><style>{hide}</template>{text}") == ("b", "")


def test_every_sheet_behind_the_text_is_applied() -> None:
    text = "<p class=a>b</p><p class=c>d</p>"
    first, second = "<style>.a{display:none}</style>", "<STYLE>.c{display:none}</STYLE>"
    assert shown(f"{text}{first}e{second}f") == ("ef", "b\nd")
    assert shown(f"{text}{first}e<style media=print>.c{{display:none}}</style>f") == ("d\nef", "b")
    assert shown(f"{text}{first}e<!--[if mso]>{second}<![endif]-->f") == ("d\nef", "b")
    assert shown(f"{text}{first}e<!-- {second} -->f")[0] == "d\nef"
    assert shown(f"{text}{first}<script>'{second}'</script>e") == ("d\ne", "b")


def test_an_end_tag_ends_its_element_however_it_is_written() -> None:
    for end in ("</i>", "</I>", "</i >", "</i x='>'>", "</i/>", "</i\n>"):
        assert shown(f"<p><i hidden>a{end}b") == ("b", "a")
    assert shown("<h1 hidden>a</h\x11>b</H1>c")[0].strip() == "c", "a control character is no digit"
    assert shown("<p><i hidden>a</b>b</i>c") == ("c", "ab")
    assert shown("<p><i hidden>a</i")[1] == "a"
    assert shown("<!--[if mso]><i>a</i><![endif]--><b>c</b>d") == ("cd", "a")


def test_a_second_reading_counts_nothing_twice() -> None:
    parsed = page("<p class=a>x <a href=h>b</a><img src=i alt=t><!-- c --><style>.a{color:#fff}</style>")
    assert [link.url for link in parsed.links] == ["h", "i"]
    assert parsed.html["tags"] == 4
    assert (parsed.html["images"], parsed.html["comments"], parsed.html["styles"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("markup", "defective"),
    [
        ("a<!-- b", True),
        ("a<!-- b>", True),
        ("a<!-- <b>c</b>", True),
        ("a<!--", True),
        ("a<b c='d>", True),
        ("a<!b", True),
        ("a<!-->b<!--->c<!-- d -->", False),
        ("<!--[if mso]><b>a</b><![endif]-->b", False),
        ("<!--[if mso]><!-- a --><![endif]-->b", False),
        ("<![if !mso]>a<![endif]>", False),
    ],
)
def test_a_page_that_ends_in_a_tag_or_comment_is_flagged(markup: str, defective: bool) -> None:
    assert ("defective_html" in page(markup).flags) == defective


def test_sheets_past_the_limits_are_flagged() -> None:
    rules = "".join(f".c{number}{{display:none}}" for number in range(3000))
    parsed = page(f"<style>{rules}</style><p class=c1>a<p class=c2999>b")
    assert (parsed.text, parsed.written) == ("b", "a")
    assert "defective_html" in parsed.flags


@pytest.mark.parametrize(
    ("markup", "seen", "hidden"),
    [
        ("a<!-- b -->c", "ac", "b"),
        ("a<!-- <b>x</b> & 1 < 2 <! -->c", "ac", "x & 1 2"),
        ("<!--[if mso]><p>b</p><a href=x>c</a></td></div><![endif]-->d", "d", "b\nc"),
        ("<div hidden>a<!--[if mso]></div><![endif]-->b</div>c", "c", "a\nb"),
        ("<!--[if !mso]><!-->b<!--<![endif]-->c", "bc", ""),
        ("<![if !mso]>b<![endif]>c", "bc", ""),
        ("<!--[if a]><!--[if b]><!--[if c]>b-->d", "d", "[if b]> b"),
        ("a<!---->b<!-->c<!--->d<!--x--!>e<!--y", "abcde", "x\ny"),
        ("<noscript>a</noscript><noframes>b</noframes><noembed>c</noembed><iframe>d</iframe>e", "ae", "b\nc"),
        ("<title>a &amp; <b></title>c", "c", "a & <b>"),
        ("<template>a</template><datalist><option>b</datalist>c", "c", "a b"),
        ("<plaintext>a<b></plaintext>", "a<b></plaintext>", ""),
        ("<xmp>a&amp;<b></xmp>c", "a&amp;<b>\nc", ""),
        ("<script><!--<script></script>a--></script>b<script>c</script>d", "bd", ""),
        ("<script>'<!--'</script>b<!-- --></script>c", "bc", ""),
        ("<svg><title>a</title><style>b</style><text>c</text><![CDATA[d<e>]]></svg>f<![CDATA[g]]>", "cd<e>f", "a b"),
        ("<svg><p>a<math><mi><![CDATA[b]]></mi><![CDATA[c]]></math>", "ac", ""),
        ("<table><tr><td>a</td></tr></table></p>b</br>c", "a\nb\nc", ""),
        ("<pre>\n a\tb </pre>", "\n a\tb ", ""),
        ("<a b='>'c=d>e</a =>f</>g<//h>i<?j?>k", "efgik", ""),
        ("<button>a<button>b</button></button>", "ab", ""),
    ],
)  # fmt: skip
def test_comments_and_elements_without_markup(markup: str, seen: str, hidden: str) -> None:
    if markup.startswith("<pre>"):
        assert page(markup).text.split("\n")[-1] == " a\tb "
    else:
        assert shown(markup)[0] == seen
        assert shown(markup)[1].split() == hidden.split()


PIECES = [
    "<", ">", "&", "a", " ", "\n", "\0", "'", '"', "=", "/", "<p", "<td>", "</td>", "<a href=", "<!--", "-->", "<!--[if x]>", "<style>",
    ".a{display:none}", "</style>", "<p class=a style=", "color:#fff", "<svg>", "<![CDATA[", "]]>", "<script>", "</script>", "&nbsp;", "&amp",
    "<table>", "</table>", "<font color=", "<b>", "</b>", "<pre>", "\u20ac", "<title>", "</title>", "<textarea>", "@media", "{", "}", "display:none",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_no_page_is_too_odd(pieces: list[str]) -> None:
    parsed = page("".join(pieces))
    seen, hidden = parsed.text, parsed.written
    for link in parsed.links:
        assert link.url is not None
    assert len(seen) + len(hidden) <= 2 * len("".join(pieces)) + 64


@given(st.text(alphabet="ab \n\t<>&/='\"\0\u00e9", max_size=300))
def test_the_length_of_what_stands_before_changes_nothing(text: str) -> None:
    plain = page(text.replace("<", "("))
    for length in (1, 31, 63, 64):
        assert page("x" * length + "<br>" + text.replace("<", "(")).text == (
            "x" * length + "\n" + plain.text if plain.text else "x" * length
        )


@given(st.binary(max_size=300), st.sampled_from([b"", b"<a b='c' d=\"e\"> \t\n\f\r\v x  y &amp;/>\0"]), st.integers(0, 70))
def test_every_kernel_marks_the_same_octets(octets: bytes, markup: bytes, shift: int) -> None:
    source = b"a" * shift + markup + octets + markup
    assert marks_of(source, kernel=0) == marks_of(source, kernel=-1)
    assert marks_of(source, kernel=1) == marks_of(source, kernel=-1)
    assert marks_of(source, kernel=2) == marks_of(source, kernel=-1)


def test_every_octet_is_marked_for_what_it_is() -> None:
    text, name, value, quote, less, blank = marks_of(b"a <  b&\0'\"=/>\t", kernel=-1)
    wanted = {"text": {2, 4, 6, 7, 13}, "name": {1, 3, 4, 10, 11, 12, 13}, "value": {1, 3, 4, 12, 13}, "quote": {8, 9}, "less": {2}}
    for marks, places in zip((text, name, value, quote, less), wanted.values(), strict=True):
        assert {at for at in range(14) if marks >> at & 1} == places
        assert marks >> 14 == (1 << 50) - 1
    assert {at for at in range(64) if blank >> at & 1} == {1, 3, 4, 13}


@pytest.mark.parametrize(
    ("markup", "hidden", "urls"),
    [
        ("<a href='data:text/html,<p>b%3Ca href=http://c.example%3Ed'>x</a>", "bd", ["http://c.example"]),
        ("<a href='DATA:text/html;charset=utf-8;base64,PHA+YiDDpDxhIGhyZWY9aHR0cDovL2MuZXhhbXBsZT5k'>x</a>", "b äd", ["http://c.example"]),
        ("<iframe srcdoc='<p>b &amp;amp; c'></iframe>x", "b & c", []),
        ("<iframe src='data:image/svg+xml,<svg><text>b</text></svg>'></iframe>x", "b", []),
        ("<img src='data:image/png;base64,AAAA'>x", "", []),
        ("<a href='data:text/html'>x</a>", "", []),
        ("<a href='data:text/html;base64,%%%'>x</a>", "", []),
    ],
)
def test_pages_in_attributes_count_as_written(markup: str, hidden: str, urls: list[str]) -> None:
    parsed = page(markup)
    assert (parsed.text, parsed.written.split()) == ("x", hidden.split())
    assert [link.url for link in parsed.links[1:] if link.hidden] == urls
    assert parsed.html["parts"] == 1


def test_pages_in_pages_in_pages_come_to_an_end() -> None:
    markup = "x"
    for _ in range(6):
        markup = "<a href='data:text/html," + markup.replace("%", "%25").replace("'", "%27").replace("<", "%3C") + "'>x</a>"
    assert page(markup).text == "x"
    parsed = page("<a href='data:text/html,y'>x</a>" * 500)
    assert parsed.written.count("y") == 8
