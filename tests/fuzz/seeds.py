"""What the mutations of each target begin with, and the words that mean something to its parser.

Seeds are our own mail, cases written here, and what the shared packs hold for the parser, where they are there. Called by the runner and
by the bounded run of the ordinary tests.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, SHARED
from tests.core import containers

PACKS = SHARED / "conformance"
LONGEST = {  # octets of an input
    "structure": 4096, "message": 4096, "parsed": 3072, "scan": 3072, "terms": 1024, "smtp": 1024, "domain": 512, "registrable": 512,
    "normal_url": 1024, "arrays": 256, "image": 128, "program": 128, "raw_image": 1024,
}  # fmt: skip
LONGEST_ELSE = 2048
MOST_SEEDS = 600

_MAIL_WORDS = """\
From: |Subject: |To: |Content-Type: |Content-Transfer-Encoding: |Content-Disposition: |multipart/mixed|multipart/digest|message/rfc822
message/partial|message/external-body|text/plain|text/html|application/ms-tnef|application/pkcs7-mime|application/octet-stream|boundary=
charset=|base64|quoted-printable|x-uuencode|8bit|binary|attachment|inline|name=|filename=|filename*0*=utf-8''|filename*1=|--|--b|--b--
begin 644 a|end|winmail.dat|smime.p7m|utf-8|utf-7|utf-16|gb2312|iso-2022-jp|big5|us-ascii|=?utf-8?b?|=?utf-8?q?|?=|Date: |Message-ID: <
Received: |Reply-To: |Sender: |boundary*0=|boundary*1=|MIME-Version: 1.0"""
_HTML_WORDS = """\
<a href=|</a>|<p>|<div hidden>|</div>|<span style="display:none">|</span>|<td>|<table>|</table>|<pre>|<li>|<ul>|<!--|-->|<script>|</script>
<style>|</style>|<title>|</title>|<textarea>|<img src=x alt='|<input type=submit value=|<plaintext>|<base href=|<select><option>|<body>
<meta http-equiv=refresh content="0;url=|<meta charset=|<form action=|<svg>|<math>|<![CDATA[|]]>|<!doctype html>|<iframe src=|<font color=
&amp;|&#65;|&#x1F600;|&nGt;|&#|&notit;|style=|hidden|display:none|visibility:hidden|font-size:0|color:#fff|background:#fff|opacity:0
position:absolute;left:-999px|text-indent:-999px|max-height:0|overflow:hidden|!important|rgb(255,255,255)|class=|width=1 height=1|javascript:
data:text/html;base64,|http://|https://|mailto:|//|@|cid:"""
_URL_WORDS = """\
http://|https://|//|www.|@|:|:80|/|?|#|[::1]|[|]|%2e|%|0x7f.1|127.0.0.1|xn--|.com|.co.uk|\\|..|user:pass@|javascript:|data:|&#x2e;|\t|%00
HTTP:|ftp://|localhost|256|0300|0xffffffff|xn--bcher-kva|ß|。|＠"""
_SMTP_WORDS = """\
HELO |EHLO |MAIL FROM:<|RCPT TO:<|DATA\r\n|RSET\r\n|NOOP|QUIT\r\n|VRFY |EXPN |HELP|BDAT 10 LAST\r\n|STARTTLS\r\n|> SIZE=1000|> BODY=8BITMIME
BDAT 3\r\nabc|AUTH PLAIN =\r\n|STARTTLS\r\n|XCLIENT ADDR=1.2.3.4\r\n|> RET=HDRS ENVID=a+3Db|> NOTIFY=NEVER ORCPT=rfc822;a|> REQUIRETLS
> SMTPUTF8|>\r\n|\r\n.\r\n|\n.\n|\r\n..|\r.\r|postmaster|a@b.example|"a b"@c|@[127.0.0.1]|@x,@y:|GET / HTTP/1.1|AUTH PLAIN |\r\n|\n|\r"""
_RTF_WORDS = r"""\rtf1|\ansi|\ansicpg|\fromhtml1|\htmlrtf|\htmlrtf0|\htmltag|\*|{|}|\'e4|\u|\uc1|\bin|\par|\tab|\line|\cell|\~|\_|\fonttbl|\pict
\fcharset128|\f0|\deff0|\mhtmltag|\objdata|\v|\v0|\up"""
_ODD = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b"=",
    b'"',
    b"\\",
    b"(",
    b")",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"\x80",
    b"\xff",
)
_CHARACTERS = (
    *(
        b"\xe2\x80\x8b",
        b"\xc2\xad",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xc3\x9f",
        b"\xc4\xb0",
        b"\xef\xb7\xba",
        b"\xf0\x9f\x98\x80",
    ),
    *(
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
        b"\xd0\xb0",
        b"\xce\xbf",
        b"\xef\xbc\xa1",
        b"\xcc\x81",
        b"\xe2\x80\xae",
        b"\xf3\xa0\x81\x81",
    ),
)
_STATEFUL = (
    *(b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\x1b$(D", b"\x1b(J", b"\x1b$)C", b"\x0e", b"\x0f", b"~{", b"~}", b"~~", b"+2AA-", b"+AGE-", b"+-"),
    *(b"\x810\x810", b"\x84\x31\xa4\x37", b"\x8f\xa2\xaf", b"\x8e\xb1", b"\xa1\xa1", b"\x88\x62", b"\xfe\xfe"),
)


def _words(written: str) -> list[bytes]:
    return (
        [word.encode() for line in written.split("\n") for word in line.split("|") if word] if "\r" not in written else _smtp_words(written)
    )


def _smtp_words(written: str) -> list[bytes]:
    lines = written.replace("\r\n", "\x01").replace("\n.\n", "\x02").split("\n")
    return [word.replace("\x01", "\r\n").replace("\x02", "\n.\n").encode() for line in lines for word in line.split("|") if word]


def _pack(*path: str) -> Any:
    file = PACKS.joinpath(*path)
    return json.loads(file.read_text("utf-8", "surrogatepass")) if file.exists() else []


def _strings(value: Any) -> Iterator[bytes]:
    """Every string of a JSON document."""
    if isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)


@cache
def _mail() -> tuple[bytes, ...]:
    paths = sorted((ROOT / "tests" / "mail").rglob("*.eml"))
    for pack in ("mime-ambiguity", "mime-mime4j", "markers", "limits"):
        paths += sorted(path for path in (PACKS / pack).rglob("*") if path.suffix in {".eml", ".msg"})
    return tuple(path.read_bytes() for path in paths)


@cache
def _values() -> tuple[bytes, ...]:
    """Unfolded values of the header fields of our mail."""
    found: dict[bytes, None] = {}
    for raw in _mail():
        header = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].replace(b"\n ", b" ").replace(b"\n\t", b" ")
        for line in header.split(b"\n"):
            found[line.partition(b":")[2].strip()[:400]] = None
    return tuple(found)


def _html() -> Iterator[bytes]:
    for raw in _mail():
        at = raw.lower().find(b"<html")
        if at >= 0:
            yield raw[at:]
    yield from _strings(_pack("html-dompurify", "cases.json"))
    for file in sorted((PACKS / "html5lib-tests" / "tokenizer").glob("*.test")):
        yield from (case["input"].encode("utf-8", "surrogatepass") for case in json.loads(file.read_text("utf-8")).get("tests", []))
    for file in sorted((PACKS / "html5lib-tests").rglob("*.dat")):
        yield from (case.partition(b"\n#")[0] for case in file.read_bytes().split(b"#data\n"))
    yield b"<p>a<div hidden>b</div><!-- c --><a href='http://x.example/?a&amp;b'>d</a><img src=e alt=f><script>g</script>"


def _charsets() -> Iterator[bytes]:
    text = "Grüße aus Köln, 日本語 中文 한국어 Привет"
    labels = sorted({name.replace("_", "-") for name in __import__("encodings.aliases").aliases.aliases.values()})
    for label in [*labels, "x-user-defined", "x-mac-cyrillic", "unknown"]:
        try:
            octets = text.encode(label, "replace") if isinstance(text.encode(label, "replace"), bytes) else b""
        except (LookupError, UnicodeError, TypeError):
            octets = text.encode()
        yield label.encode() + b"\n" + octets


def _transfer() -> Iterator[bytes]:
    plain = bytes(range(256)) + "Grüße\r\n".encode() * 8
    yield base64.encodebytes(plain)
    yield base64.b64encode(b"one") + base64.b64encode(b"a") + base64.b64encode(b"three")
    yield codecs.encode(plain, "quopri")
    yield codecs.encode(plain, "uu")
    yield b"=41=4\r\n=\r\n=C3=\n=A4 \t\r\n==\r\n_a_"


def _cms() -> Iterator[bytes]:
    oid, data = containers.SIGNED_DATA, containers.DATA
    yield (
        b"\x30\x80\x06\x09"
        + oid
        + b"\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80\x06\x09"
        + data
        + b"\xa0\x80\x24\x80\x04\x03one\x04\x03two"
        + bytes(12)
    )
    yield b"\x30\x0b\x06\x09" + containers.ENVELOPED_DATA
    for content in (
        zlib.compress(b"Content-Type: text/plain\n\nwords " * 9),
        zlib.compress(bytes(70_000)),
        b"x\x9c\x03\x00\x00\x00\x00\x01",
    ):
        yield containers.compressed(content)
        yield containers.compressed(content, indefinite=True, pieces=(3, 5))


def _zlib() -> Iterator[bytes]:
    """Streams of every kind of block, and of many."""
    text = b"words of a text, and more words of the text. " * 8 + bytes(range(256))
    for level in (0, 1, 9):
        yield zlib.compress(text, level)
    for strategy in (zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
        packer = zlib.compressobj(strategy=strategy)
        yield packer.compress(text[:100]) + packer.flush(zlib.Z_FULL_FLUSH) + packer.compress(text) + packer.flush()
    yield zlib.compress(b"")
    yield zlib.compress(bytes(70_000))


def _rtf() -> Iterator[bytes]:
    yield containers.packed(rb"{\rtf1\ansi packed words, packed words\par more of the packed words}")
    for text in (
        rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset128 A;}}\f0 Hello\par \'e4\u8364?\uc2\u228xx{\*\hidden no}\bin3 abc\tab}",
        rb"{\rtf1\ansi\fromhtml1{\*\htmltag64 <p>}\htmlrtf no\htmlrtf0 yes{\*\htmltag &nbsp;}\u-10179?\u-8704?}",
    ):
        yield text
        yield struct.pack("<IIII", len(text) + 12, len(text), 0x414C454D, 0) + text
        yield struct.pack("<IIII", len(text) + 12, len(text), 0x75465A4C, 0) + b"".join(
            b"\0" + text[at : at + 8] for at in range(0, len(text), 8)
        )


def _tnef() -> Iterator[bytes]:
    body = containers.properties(containers.variable(0x1E, 0x1000, b"words\0"), containers.variable(0x102, 0x1013, b"<p>words</p>"))
    for one in (
        containers.tnef(containers.attachment(b"content", title=b"a.txt", long_name="long.txt")),
        containers.tnef(containers.attribute(1, 0x00069003, body)),
        containers.tnef(containers.attribute(1, 0x0002800C, b"the body"), containers.attachment(b"x", title=b"b.exe")),
    ):
        yield one[4:]  # the signature stands before the octets already


def _smtp() -> Iterator[bytes]:
    for file in sorted((ROOT / "tests" / "dialogue").glob("*.txt")):
        lines = [line[2:].removeprefix(" ") for line in file.read_text("utf-8").splitlines() if line.startswith("C:")]
        yield "\r\n".join(lines).encode() + b"\r\n"
    yield from _strings(_pack("smtp-dialogues", "dialogues.json"))
    opening = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
    yield from (opening + text for text in _strings(_pack("smtp-smuggling", "sequences.json")))
    yield opening + b"Subject: x\r\n\r\n..y\r\n.\r\nMAIL FROM:<> SIZE=9 BODY=8BITMIME SMTPUTF8\r\nBDAT 3 LAST\r\nabcQUIT\r\n"


def _mail_data() -> Iterator[bytes]:
    yield from (b"x\r\n" + text for text in _strings(_pack("smtp-smuggling", "sequences.json")))
    yield from (b"..a\r\n.\r\n", b"a\nb\r\n.\n.\r\n\r\n.\r\n", b"a\rb\0c\r\r\n.\r\n" + b"x" * 200 + b"\r\n.\r\nMAIL")


def _terms() -> Iterator[bytes]:
    texts = (
        b"ushers and his shepherd, free money free  money",
        b"a" * 100 + b"abab ab.ab@ab",
        b"from ann@example.org at www.example.org",
        "e\u0301 STRASSE Straße verify, a-b".encode(),
    )
    yield from (bytes([number]) + text for number in (0, 1, 2, 16, 17, 200) for text in texts)


def _numbers() -> Iterator[bytes]:
    """Numbers that pass their checks, as people write them: cards, social security, routing, CUSIP, IBAN."""
    yield b"4111 1111 1111 1111, 5500-0000-0000-0004 and 3400.000000.00009 6011000990139424"
    yield b"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 4000 0000 0000 0000 4111 1111 1111 1111 222300 0048400011"
    yield b"ssn 123-45-6789 123.45.6789 123 45 6789 900-12-3456 000-12-3456 123-45-67890"
    yield b"routing 021000021 011401533 123456789 cusip 037833100 38259p508 68389x105"
    yield b"gb82 west 1234 5698 7654 32 de89370400440532013000 fr14-2004-1010-0505-0001-3m02-606 no9386011117947"


def _names() -> Iterator[bytes]:
    for lines in (PACKS / "psl" / "tests.txt", PACKS / "url-wpt" / "IdnaTestV2.txt"):
        if lines.exists():
            names = (re.split("[#; ]", line)[0] for line in lines.read_text("utf-8").splitlines())
            yield from (
                re.sub(r"\\u([0-9A-F]{4})", lambda point: chr(int(point[1], 16)), name).encode("utf-8", "replace") for name in names
            )
    yield from (
        b"www.example.co.uk",
        b"a.b.c.kawasaki.jp",
        b"city.kawasaki.jp",
        b"com",
        b".com",
        b"a..b",
        b"xn--bcher-kva.example.",
        b"1.2.3.4",
    )
    yield from ("bücher.example".encode(), "例え。テスト".encode(), "ﬁ­‍.ß".encode(), "אב1.گ‌ل".encode(), b"xn--a.xn--ls8h.xn--")


def _strange() -> Iterator[bytes]:
    yield from _strings(_pack("strings-blns", "blns.json"))
    yield from _strings(_pack("injection-strings", "strings.json"))
    yield from ("ﬁ ①② Ａｂｃ ｶﾞ".encode(), "а\u200bb\u00adc раураӏ".encode(), "İıſKÅ ﷺ".encode(), b"\xff\xfe\xc3", "e\u0301\u0323".encode())


def _field_seeds(key: str) -> Iterator[bytes]:
    yield from _values()
    for case in _pack("header-fields", key):
        yield case["header"].encode("utf-8", "surrogatepass")


def _urls() -> Iterator[bytes]:
    for case in _pack("url-wpt", "urltestdata.json"):
        if isinstance(case, dict):
            yield case["input"].encode("utf-8", "surrogatepass").removeprefix(b"http://")
    yield from (b"user@host.example:8080/path?query#fragment", "bücher.example/ä".encode(), b"0x7f.1/", b"[::ffff:1.2.3.4]/")


def seeds_of(target: str) -> list[bytes]:
    """At most MOST_SEEDS, each once, at least one."""
    match target:
        case "structure" | "message" | "parsed" | "scan" | "fields":
            found: Iterator[bytes] = iter(_mail())
        case "parameters" | "file_names":
            found = _field_seeds("content_type.json")
        case "encoded_words":
            found = _field_seeds("address.json")
        case "mailboxes":
            cases = _pack("address-isemail", "cases.json")
            found = iter([*_field_seeds("address.json"), *_strings(cases), b"A (b) <c@d.example>, e: f@g;", b'"a\\"b" <"c d"@[1.2.3.4]>'])
        case "transfer":
            found = _transfer()
        case "charset":
            found = _charsets()
        case "html":
            found = _html()
        case "style":
            found = iter(
                [b"display:none", b"color:#fff;background-color:white", b"font: 0px a; opacity: .0", b"text-indent:-9999px !important"]
            )
        case "sheet":
            found = iter(
                [
                    b".a{display:none}</style><p class=a>x</p>",
                    b"p.a, #b > i { color: #fff !important; background: rgb(255,255,255) } @media screen{p{font-size:0}}</style><p class=a id=b>x<i>y",
                    b"/* c */ * { opacity: 0 } @import url(x); a:hover{} [hidden]{}</style><a hidden>x</a>",
                    b"body{color:white;background-color:hsl(0 0% 100% / .5)} td{text-indent:-9999px;position:absolute;left:-100vw}</style>",
                ]
            )
        case "url" | "bare_url" | "normal_url":
            found = _urls()
        case "identifiers":
            found = _numbers()
        case "registrable" | "domain":
            found = _names()
        case "fold":
            found = _strange()
        case "cms":
            found = _cms()
        case "zlib":
            found = _zlib()
        case "rtf":
            found = _rtf()
        case "tnef":
            found = _tnef()
        case "uuencode":
            found = iter([b"a.txt\n#0V%T\n`\nend\n", b"a\n\n  \nend\nbegin 755 b.exe\nM" + b"0V%T" * 15 + b"\n \nend\n"])
        case "smtp":
            found = _smtp()
        case "mail_data":
            found = _mail_data()
        case "terms":
            found = _terms()
        case "arrays":
            found = iter([bytes(range(64)), b"\x02\x00\x00\x02\x04" + bytes(range(60)), b"\x01\x00\x02" + bytes(40)])
        case "image" | "program" | "raw_image":
            found = iter(
                [
                    bytes(4),
                    b"\x01" + bytes(range(40)),
                    b"\x02\x05\x06\x07\x08",
                    b"\x00\x81\x01\x02\x03",
                    b"\x01\x84\x03\x02\x03\x85\x40\xff",
                    b"\x04\x05\x00\xff\x00",
                    b"\x0c\x85\x40\x00\x00\x05\x00\x01\x00",
                    *(bytes([kind, which, 0, 0, 0]) for kind in (0, 4, 12) for which in (*range(8), *range(128, 136))),
                ]
            )
        case _:
            found = iter(())
    kept = list(dict.fromkeys(found))
    return kept[:: 1 + len(kept) // MOST_SEEDS] or [b"x"]


def words_of(target: str) -> list[bytes]:
    """Words for mutations to put in."""
    match target:
        case "structure" | "message" | "parsed" | "scan" | "parameters" | "file_names":
            words = [*_words(_MAIL_WORDS), *_words(_HTML_WORDS)[:24], *_CHARACTERS[:4]]
        case "encoded_words" | "mailboxes":
            words = [*_words(_MAIL_WORDS)[-24:], *_CHARACTERS, *_STATEFUL]
        case "html" | "style" | "sheet":
            words = [*_words(_HTML_WORDS), *_CHARACTERS]
        case "url" | "bare_url" | "normal_url" | "domain":
            words = [*_words(_URL_WORDS), "\u200d".encode(), "\u094d".encode(), "ß".encode(), "א".encode(), b"xn--"]
        case "registrable":
            words = [b".", b"co", b"uk", b"com", b"kawasaki", b"city", b"jp", b"github", b"io", b"ck", b"www"]
        case "identifiers":
            words = [*b" - . 4 0 1 9".split(), b"4111", b"1111", b"0000", b"gb82", b"de89", b"mt84", b"037833100", b"021000021", b"-45-"]
        case "charset" | "transfer" | "fold":
            words = [*_CHARACTERS, *_STATEFUL]
        case "smtp" | "mail_data":
            words = _smtp_words(_SMTP_WORDS)
        case "rtf":
            words = _words(_RTF_WORDS)
        case "cms":
            words = [
                containers.SIGNED_DATA,
                containers.ENVELOPED_DATA,
                containers.COMPRESSED_DATA,
                containers.DATA,
                b"\x30\x80",
                b"\x24\x80",
                b"\xa0\x80",
                b"\0\0",
                b"\x04\x82",
            ]
        case "tnef":
            words = [
                struct.pack("<I", number)
                for number in (0x00069003, 0x00069005, 0x0006800F, 0x00018010, 0x0002800C, 0x3707, 0x10130102, 0x10090102)
            ]
        case "uuencode":
            words = [b"begin 644 ", b"\nend\n", b"`\n", b"M", b" \n", b"begin-base64 "]
        case "terms":
            words = [b"free", b"money", b"he", b"ann@", b"example", b".org", "ß".encode(), b"verify", b"ab", b"a" * 8, *_CHARACTERS]
        case _:
            words = []
    return [*words, *_ODD]


def found_before(target: str) -> list[Path]:
    """Inputs that once broke the target and are mended."""
    return sorted((Path(__file__).parent / "found" / target).glob("*"))
