"""Mail that attacks a parser: shapes that cost much for their size, each as a function of about its size in octets.

Tests read them to the end; benchmarks/hostile.py measures what they cost.
"""

from __future__ import annotations

import base64
import functools
import zlib
from collections.abc import Callable

from tests.core import containers

HEAD = b"From: a@b.example\n"
CMS_HEAD = HEAD + b"Content-Type: application/pkcs7-mime\n\n"
TNEF_HEAD = HEAD + b"Content-Type: application/ms-tnef\n\n"


def nested(depth: int) -> bytes:
    head = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (level, level) for level in range(depth))
    return head + b"\ninnermost\n"


@functools.cache
def rich_bomb() -> bytes:
    return containers.message_properties(containers.variable(0x102, 0x1009, containers.packed(rb"{\rtf1 " + b"a b " * 4000 + b"}")))


HTML = b"Content-Type: text/html\n\n"
GREAT = 1_000_000  # the size that tests give them
TEXT = b"Content-Type: text/plain; charset=utf-8\n\n"


def zeros(n: int) -> bytes:
    """A zlib stream of about n octets that would be a thousand times as much."""
    packer = zlib.compressobj(9)
    begin = packer.compress(b"\n") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + piece * (n // len(piece))


def flushed(n: int) -> bytes:
    """A zlib stream of n blocks."""
    packer = zlib.compressobj(strategy=zlib.Z_FIXED)
    return packer.compress(b"\n") + b"".join(packer.compress(b"x") + packer.flush(zlib.Z_PARTIAL_FLUSH) for _ in range(n)) + packer.flush()


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "one line": lambda n: b"\n" + b"a" * 8 * n,
    "one header line": lambda n: b"Subject: " + b"=?" * 4 * n,
    "continuations": lambda n: b"Subject: x\n" + b" \n" * n,
    "delimiter-like lines under 63 multiparts": lambda n: nested(63) + b"--x\n" * n,
    "delimiters": lambda n: b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n" * n,
    "parameters": lambda n: b"Content-Type: a/b" + b"; name*1=a" * n + b"\n\n",
    "comments": lambda n: b"Content-Type: " + b"(" * n + b"\nFrom: " + b"(" * n + b"\n\n",
    "angles": lambda n: b"From: " + b"a<" * n + b"\n\n",
    "encoded words without end": lambda n: b"Subject: " + b"=?a?q?" * n + b"\n\n",
    "less-than": lambda n: HTML + b"<" * n,
    "unended tags": lambda n: HTML + b"<a " * n,
    "unended quotes": lambda n: HTML + b'<a b="' * n,
    "open elements": lambda n: HTML + b"<i><td>" + b"<b>" * 500 + b"</i>" * n,
    "unknown elements": lambda n: HTML + b"<x>" * 500 + b"</y><z>" * n,
    "comments without end": lambda n: HTML + b"<!-- >" * n,
    "scripts without end": lambda n: HTML + b"<script>" + b"</scrip" * n,
    "attributes": lambda n: HTML + b"<p" + b" a=b" * n + b">",
    "references": lambda n: HTML + b"&CounterClockwiseContourIntegra" * (n // 8),
    "styles": lambda n: HTML + b'<p style="' + b"a:(;" * n + b'">',
    "selectors": lambda n: HTML + b"<style>" + b"a," * (n // 2) + b"b{color:red}</style><a>x",
    "rules": lambda n: HTML + b"<style>" + b"".join(b".c%d{color:red}" % i for i in range(n // 16)) + b"</style><p class='c1 c2'>x",
    "classes": lambda n: (
        HTML + b"<style>" + b"".join(b".c%d{opacity:1}" % i for i in range(2000)) + b"</style>" + b"<p class='c1 c2 c3'>" * (n // 20)
    ),
    "sheets behind text": lambda n: HTML + b"x<style>.a{color:red}</style><p class=a>" * (n // 40),
    "conditional comments": lambda n: HTML + b"<!--[if a]>x<b><![endif]-->" * (n // 27),
    "formatting that goes on": lambda n: HTML + b"<p>" + b"<font color=red><font color=blue>" * 4 + b"<p>" * (n // 3),
    "scripts in comments in scripts": lambda n: HTML + b"<script><!--" * (n // 12),
    "pages in attributes": lambda n: HTML + b"<a href='data:text/html,%3Ca href=data:text/html,x%3E'>" * (n // 56),
    "anchors": lambda n: HTML + b"<a href=x>" * n,
    "schemes": lambda n: b"\nhttp://" * n,
    "hosts": lambda n: b"\n" + b"www. a:// " * n,
    "carriage returns": lambda n: b"\n" + b"\r" * n,
    "soft line breaks": lambda n: b"Content-Transfer-Encoding: quoted-printable\n\n" + b"= " * n,
    "content types": lambda n: (
        HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n" % i for i in range(n // 50)) + b"\n" + b"--b7\n\nx\n" * (n // 10)
    ),
    "two boundaries at each level": lambda n: (
        b"".join(b"Content-Type: multipart/mixed; boundary=a%d; boundary=b%d\n\n--a%d\n" % (i, i, i) for i in range(60))
        + b"\n"
        + b"text " * (n // 5)
    ),
    "uuencoded files": lambda n: HEAD + b"\n" + b"begin 644 a.exe\n#0V%T\n`\nend\n" * (n // 30),
    "begin lines": lambda n: HEAD + b"\n" + b"begin 644 a.exe\n" * (n // 16),
    "joined base64": lambda n: HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"eA==\n" * (n // 5),
    "joined base64 of HTML": lambda n: (
        HEAD + b"Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b"PGI+eDxpPnkg\neA==\n" * (n // 18)
    ),
    "charsets and encodings": lambda n: (
        HEAD
        + b"Content-Type: text/html; charset=utf-8; charset=utf-7; charset=gb18030; charset=utf-16\nContent-Transfer-Encoding: base64\n"
        b"Content-Transfer-Encoding: odd\nContent-Transfer-Encoding: 7bit\n\n" + b"<a href=http://x.example>+AGE-" * (n // 30)
    ),
    "a message in base64": lambda n: (
        HEAD
        + b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(b"Subject: x\n\n" + b"word <http://a.example/> " * (n // 30))
    ),
    "properties of a winmail.dat": lambda n: (
        TNEF_HEAD + containers.tnef(containers.message_properties(*[containers.variable(0x1F, 0x1000, b"a\0b\0")] * (n // 16)))
    ),
    "files in a winmail.dat": lambda n: TNEF_HEAD + containers.tnef(*[containers.attachment(b"x", title=b"a")] * (n // 70)),
    "rich text that unpacks to much": lambda n: TNEF_HEAD + containers.tnef(*[rich_bomb()] * (n // 2500)),
    "signed in single octets": lambda n: CMS_HEAD + containers.signed(b"\r\n" + b"word " * (n // 10), pieces=[1] * (n // 10)),
    "compressed zeros": lambda n: CMS_HEAD + containers.compressed(zeros(n)),
    "compressed HTML": lambda n: (
        CMS_HEAD
        + containers.compressed(zlib.compress(b"Content-Type: text/html\n\n" + b"".join(b"<p>%d <a href=x>" % i for i in range(n // 5))))
    ),
    "compressed in blocks of an octet": lambda n: CMS_HEAD + containers.compressed(flushed(n // 4)),
    "indefinite lengths": lambda n: CMS_HEAD + b"\x30\x80" * (n // 2),
    "lines that are no field": lambda n: HEAD + b"no field\nX: y\n" * (n // 14),
    "file names": lambda n: HEAD + b"Content-Disposition: attachment" + b"; filename=a; filename*=b" * (n // 24) + b"\n\nx",
    "reopened multiparts": lambda n: HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n" + b"--b--\n--b\n\nx\n" * (n // 14),
    "authors": lambda n: b"From: a@b.example\n" * (n // 18) + b"\nx",
    "lone carriage returns in a header": lambda n: HEAD + b"X: y\rZ: a\r" * (n // 10) + b"\n\nx",
    "marks out of order": lambda n: HEAD + TEXT + ("a" + "\u0345\u0301\u0323\u0327\u0334" * (n // 10)).encode(),
    "marks between what has no width": lambda n: HEAD + TEXT + ("a" + "\u200b\u0301" * (n // 5)).encode(),
    "letters taken apart": lambda n: HEAD + TEXT + "ǖ\u0323".encode() * (n // 4),
    "ligatures of eleven letters": lambda n: HEAD + TEXT + "\ufdfa".encode() * (n // 3),
    "words that mix scripts": lambda n: HEAD + TEXT + "aа ".encode() * (n // 4),
    "one word that mixes scripts": lambda n: HEAD + TEXT + "aа".encode() * (n // 3),
    "octets without meaning": lambda n: HEAD + b"Content-Type: text/plain; charset=euc-jp\n\n" + b"\x8f\xa1" * (n // 2),
    "escapes": lambda n: HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\n\n" + b"\x1b$B\x1b(J" * (n // 6),
}
