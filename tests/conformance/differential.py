"""The core against Python's `email` (compat32, as installed) on every message of the shared corpora: names of header fields, and texts.

    python -m tests.conformance.differential [--every N] [--show CLASS] [CORPUS…]

Names are those of the message and, where both see the same parts, of every part. A text is a text/* leaf; blocks of message/delivery-status
and its kin are fields, no texts. Plain text is compared as decoded characters, HTML as octets without their transfer encoding (what is seen
of HTML has no counterpart in `email`), line ends as LF. Where a message names no charset for octets over 127, `email` has octets and no text:
such texts are counted apart, and their octets are compared. Every difference is put into one of the named classes below, each with the
reason why a mail client shows ours; what fits into none is `unexplained`. benchmarks/email_differential.py
writes the figures into RESULTS.md. Exit 1 if names differ
anywhere, if less than 99.5 % of the texts are equal, or if a difference is unexplained.
"""

from __future__ import annotations

import argparse
import codecs
import email
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

from esa_core import Parsed, Part, parse
from tests.conftest import SHARED, unpack_corpus

CORPORA = ("spamassassin", "list-nvdimm", "list-usrp", "foff-2025", "phishing_pot", "mime-fixtures")
REASONS = {
    "obsolete white space": "`Name : value` is a field (RFC 5322 4.5); Python ends the header there",
    "web charset": "ISO-8859-1, GB2312, KS_C_5601, Shift_JIS, … are read as their supersets (WHATWG Encoding Standard 4.2), as clients do",
    "charset unknown to Python": "the label is known to browsers, or clients guess; Python raises LookupError",
    "byte order mark": "a BOM wins over the label, and is not shown (WHATWG Encoding Standard 6)",
    "ill-formed octets": "the same text but for the number of U+FFFD for octets that are not valid in the charset",
    "base64 that Python refuses": "clients decode what there is; Python leaves the base64 standing",
    "malformed quoted-printable": "`=` that encodes nothing stays as it is (RFC 2045 6.7, note 2), as clients show it; Python drops one of `==`",
    "encoded container": "a message in base64 is opened, as Thunderbird and Outlook do; Python reads the base64 as its text",
    "unknown message type": "message/* other than those of RFC 2046 and 6532 are an attachment (RFC 2046 5.2.4); Python opens them",
    "malformed structure": "boundaries or headers are broken (flagged): the same content, parted in another place",
    "unknown transfer encoding": "the octets as they stand, and also decoded as another reading",
    "uuencoded": "the text stays whole, its files become attachments; Python decodes only what a field calls x-uuencode",
}


BLOCKS = {"message/delivery-status", "message/global-delivery-status", "message/disposition-notification", "message/feedback-report"}
OPENED = {"message/rfc822", "message/global", "message/news", "message/partial", "message/external-body"}
UNLABELLED = "unlabelled"


@dataclass(slots=True)
class Tally:
    messages: int = 0
    names_equal: int = 0
    names_explained: int = 0  # differ for a named reason
    texts: int = 0
    unlabelled: int = 0  # of them, those for which the message names no charset
    equal: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Tally) -> Tally:
        self.messages += other.messages
        self.names_equal += other.names_equal
        self.names_explained += other.names_explained
        self.texts += other.texts
        self.unlabelled += other.unlabelled
        self.equal += other.equal
        self.classes += other.classes
        return self

    @property
    def equal_share(self) -> float:
        return self.equal / (self.texts - self.unlabelled) if self.texts > self.unlabelled else 1.0


def theirs_in(message: Message) -> Iterator[Message]:
    if message.get_content_type() in BLOCKS:
        return
    if message.is_multipart():
        for part in message.get_payload():
            assert isinstance(part, Message)
            yield from theirs_in(part)
    elif message.get_content_maintype() == "text":
        yield message


def ours_in(parsed: Parsed) -> Iterator[Part]:
    """Text leaves of the usual reading."""
    parts = [part for part in parsed.parts if not part.another]
    parents = {part.parent for part in parts if part.encoding != "x-uuencode"}
    return (part for part in parts if part.index not in parents and part.media_type.startswith("text/"))


def normal(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").rstrip(b"\n")


def names_differ(theirs: Message, ours: Parsed) -> bool:
    one = [names_of(part) for part in all_of(theirs)]
    other = [[name for name, _ in part.headers] for part in ours.parts if not part.another and part.origin < 0 and not is_file(part)]
    return one != other if len(one) == len(other) else one[0] != other[0]


def names_of(message: Message) -> list[str]:
    return [name.encode("ascii", "surrogateescape").decode("latin-1") for name in message.keys()]  # noqa: SIM118


def all_of(message: Message) -> Iterator[Message]:
    yield message
    if message.is_multipart() and message.get_content_type() not in BLOCKS:
        for part in message.get_payload():
            assert isinstance(part, Message)
            yield from all_of(part)


def is_file(part: Part) -> bool:
    """Taken out of a text: it has no header."""
    return part.encoding == "x-uuencode" and not part.headers


def has_obsolete_white_space(raw: bytes) -> bool:
    head = raw.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0]
    return re.search(rb"(?m)^[!-9;-~]+[ \t]+:", head) is not None


def difference(theirs: Message, ours: Part) -> str:
    """ "" if the texts are equal, else the class."""
    content = theirs.get_payload(decode=True)
    assert isinstance(content, bytes)
    label = theirs.get_content_charset()
    if normal(content) != normal(ours.content()):
        if "bad_base64" in ours.flags:
            return "base64 that Python refuses"
        if "bad_quoted_printable" in ours.flags:
            return "malformed quoted-printable"
        if ours.encoding == "unknown":
            return "unknown transfer encoding"
        return "malformed structure" if ours.flags else "unexplained"
    if theirs.get_content_subtype() == "html" or ours.media_type == "text/html":
        return ""
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "byte order mark"
    try:
        text = content.decode(label or "ascii", "replace")
    except LookupError:
        return (
            ""
            if content.isascii() and content.decode("ascii").replace("\r\n", "\n").rstrip("\n") == ours.text.rstrip("\n")
            else ("charset unknown to Python")
        )
    except UnicodeError:
        return "ill-formed octets"
    text, seen = text.replace("\r\n", "\n").rstrip("\n"), ours.text.rstrip("\n")
    if text == seen:
        return ""
    if not content.isascii() and ours.charset in ("", "us-ascii", "unknown"):
        return UNLABELLED
    if re.sub("\ufffd+", "\ufffd", text) == re.sub("\ufffd+", "\ufffd", seen):
        return "ill-formed octets"
    if label is not None and codecs.lookup(label).name.replace("-", "_") != ours.charset.replace("-", "_"):
        return "web charset"
    if "\ufffd" in text or "bad_charset" in ours.flags:
        return "ill-formed octets"
    return "unexplained"


def structure_class(raw: bytes, theirs: Message, ours: Parsed) -> str:
    """Why the text leaves do not pair."""
    kinds = {part.get_content_type() for part in theirs.walk()}
    if "encoded_container" in ours.flags:
        return "encoded container"
    if any(kind.startswith("message/") for kind in kinds - BLOCKS - OPENED):
        return "unknown message type"
    if has_obsolete_white_space(raw):
        return "obsolete white space"
    if set(ours.flags) & {
        "ambiguous", "odd_boundary", "unterminated_multipart", "bad_header_line", "no_header_end", "duplicate_field", "mbox_line",
    }:  # fmt: skip
        return "malformed structure"
    return "unexplained"


def compare(raw: bytes) -> Tally:
    theirs = email.message_from_bytes(raw)
    ours = parse(raw)
    tally = Tally(messages=1)
    if names_differ(theirs, ours):
        tally.names_explained = int(has_obsolete_white_space(raw))
        tally.classes["obsolete white space" if tally.names_explained else "unexplained"] += 1
    else:
        tally.names_equal = 1
    one, other = list(theirs_in(theirs)), list(ours_in(ours))
    tally.texts = len(one)
    if len(one) == len(other):
        found = [difference(left, right) for left, right in zip(one, other, strict=True)]
    else:
        contents = {normal(part.content()) for part in other}
        why = structure_class(raw, theirs, ours)
        found = ["" if normal(part.get_payload(decode=True) or b"") in contents else why for part in one]  # type: ignore[arg-type]
    tally.equal = found.count("")
    tally.unlabelled = found.count(UNLABELLED)
    tally.classes.update(name for name in found if name not in ("", UNLABELLED))
    return tally


def messages(folder: Path, every: int = 1) -> Iterator[tuple[str, bytes]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "INDEX.tsv")
    for path in paths[::every]:
        yield str(path.relative_to(folder)), path.read_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.differential", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", help=f"folder or name of {', '.join(CORPORA)}")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th message")
    parser.add_argument("--show", metavar="CLASS", help="name the messages of one class")
    options = parser.parse_args(arguments)
    rows, whole = read_all(options.corpora or CORPORA, options.every, options.show)
    print(report([*rows, row("all", whole)], whole))
    return 0 if holds(whole) else 1


def holds(tally: Tally) -> bool:
    return tally.names_equal + tally.names_explained == tally.messages and tally.equal_share >= 0.995 and not tally.classes["unexplained"]


def read_all(corpora: Sequence[str], every: int = 1, show: str | None = None) -> tuple[list[tuple[str, ...]], Tally]:
    """A row for each corpus, and the sum; messages of the class `show` are named on the way."""
    rows, whole = [], Tally()
    for name in corpora:
        total = Tally()
        for path, raw in messages(folder_of(name), every):
            tally = compare(raw)
            total += tally
            if show and tally.classes[show]:
                print(f"{name}/{path}: {dict(tally.classes)}")
        rows.append(row(Path(name).name, total))
        whole += total
    return rows, whole


def folder_of(name: str) -> Path:
    return Path(name) if Path(name).is_dir() else unpack_corpus(SHARED / "corpora" / f"{name}.tar.zst")


def row(name: str, tally: Tally) -> tuple[str, ...]:
    return (
        name,
        f"{tally.messages:,}",
        f"{tally.names_equal:,} and {tally.names_explained}",
        f"{tally.texts:,}",
        f"{tally.unlabelled:,}",
        f"{tally.equal_share:.3%}",
    )


def report(rows: Sequence[tuple[str, ...]], whole: Tally) -> str:
    head = ("corpus", "messages", "header names equal, and explained", "texts", "without charset", "equal of the others")
    lines = ["| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *rows)]
    lines += ["", "Differences, and why a client shows ours:", ""]
    lines += [f"- {name} ({count:,}): {REASONS.get(name, 'no reason known')}" for name, count in whole.classes.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
