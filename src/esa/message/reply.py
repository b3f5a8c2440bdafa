"""SMTP replies. One whose code and enhanced code disagree, or that would break the line, cannot be constructed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from esa.errors import SyntaxFault

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")  # RFC 3463 section 2
_TEXT = re.compile(r"[\x20-\x7e]*\Z")  # RFC 5321 section 4.2: textstring, without HT
_LINE_LIMIT = 512  # RFC 5321 section 4.5.3.1.5: octets of a reply line, CRLF included


WORDS_LIMIT = 400  # characters of words that a policy gives: they share a line with codes and an identifier


def refusal_of(text: str) -> tuple[str, str]:
    """Enhanced code and words of a refusal that somebody wrote, perhaps with variables of a message in it: `5.1.6 We have moved`.

    Without a code it is 5.7.1. What cannot stand in a reply becomes a question mark, and what is too long is cut.
    """
    words = "".join(c if " " <= c <= "~" else "?" for c in " ".join(text.split()))[:WORDS_LIMIT]
    code, _, rest = words.partition(" ")
    return (code, rest or "message refused") if _ENHANCED.match(code) and code[0] == "5" else ("5.7.1", words or "message refused")


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply: `code` 200–599, `enhanced` ("5.7.1", or None where RFC 2034 has none), one line of printable ASCII.

    Raises SyntaxFault if the classes of the two codes differ, or if the text is not printable ASCII that fits in one line.
    """

    code: int
    enhanced: str | None
    text: str

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise SyntaxFault(f"{self.code} is no SMTP reply code", mend="use 200 to 599")
        if self.enhanced is not None:
            if not _ENHANCED.match(self.enhanced):
                raise SyntaxFault(f"{self.enhanced!r} is no enhanced status code", mend="write class.subject.detail, as 5.7.1")
            if int(self.enhanced[0]) != self.code // 100:
                raise SyntaxFault(f"a {self.code} reply cannot carry {self.enhanced}", mend="both codes must be of one class")
        if not _TEXT.match(self.text):
            raise SyntaxFault("a reply text must be printable ASCII in one line")
        if len(self.to_bytes()) > _LINE_LIMIT:
            raise SyntaxFault(f"a reply line may have {_LINE_LIMIT} octets")

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"

    def to_bytes(self) -> bytes:
        return str(self).encode("ascii") + b"\r\n"
