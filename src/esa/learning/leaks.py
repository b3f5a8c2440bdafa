"""Drops what would give a message's label away before a scanner sees it: other filters' verdicts and artefacts of how a corpus was
collected.

Training and evaluation pass every message through `LeakList.strip`; the scanner itself never does. The list is a text file: `[verdicts]`
and
`[collection-artefacts]` hold one regular expression a line for names of header fields (caseless, whole name), `[tokens]` holds `pattern =
replacement`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from esa.errors import CorpusError

SHIPPED_LIST = Path(__file__).with_name("leaky-headers.txt")

_HEADER_SECTIONS = ("verdicts", "collection-artefacts")
_FIELD = re.compile(rb"(?P<name>[!-9;-~]+)[ \t]*:[^\n]*\n?(?:[ \t][^\n]*(?:\n|\Z))*")
_HEADER_END = re.compile(rb"\n\r?\n")
_MBOX_LINE = re.compile(rb"\A>?From [^\n]*\n")


class LeakList:
    """The compiled list. `names` matches a whole field name; `tokens` are applied to the message, `subject_tokens` to Subject fields
    only."""

    def __init__(
        self, names: re.Pattern[bytes], tokens: list[tuple[re.Pattern[bytes], bytes]], subject_tokens: list[tuple[re.Pattern[bytes], bytes]]
    ) -> None:
        self.names = names
        self.tokens = tokens
        self.subject_tokens = subject_tokens
        self._leaks: Callable[[bytes], bool] = lru_cache(maxsize=4096)(lambda name: names.fullmatch(name) is not None)

    @classmethod
    def load(cls, path: Path = SHIPPED_LIST) -> LeakList:
        """Read a list. Raises CorpusError with the line if a section or an expression is wrong, or the file cannot be read."""
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"the list of leaky headers cannot be read: {error}", where=str(path)) from error
        names: list[str] = []
        tokens: list[tuple[re.Pattern[bytes], bytes]] = []
        subject_tokens: list[tuple[re.Pattern[bytes], bytes]] = []
        section = ""
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if heading := re.fullmatch(r"\[([a-z-]+)\]", text):
                section = heading[1]
                continue
            try:
                if section in _HEADER_SECTIONS:
                    re.compile(text)
                    names.append(text)
                elif section == "tokens":
                    _add_token(text, tokens, subject_tokens)
                else:
                    raise CorpusError(
                        "this line stands in no known section",
                        where=f"{path}, line {number}",
                        mend="Sections: [verdicts], [collection-artefacts], [tokens].",
                    )
            except re.error as error:
                raise CorpusError(f"this is no regular expression: {error}", where=f"{path}, line {number}") from error
        pattern = "|".join(f"(?:{name})" for name in names) or r"(?!)"
        return cls(re.compile(pattern.encode(), re.IGNORECASE), tokens, subject_tokens)

    def strip(self, raw: bytes) -> bytes:
        """The message without leaks: the mbox line, listed fields of its own header, and listed tokens. All other bytes are kept as they
        are."""
        if mbox_line := _MBOX_LINE.match(raw):
            raw = raw[mbox_line.end() :]
        end = _HEADER_END.search(raw)
        split = end.start() + 1 if end else len(raw)
        message = _FIELD.sub(self._strip_field, raw[:split]) + raw[split:]
        for pattern, replacement in self.tokens:
            message = pattern.sub(replacement, message)
        return message

    def _strip_field(self, field: re.Match[bytes]) -> bytes:
        name = field["name"].lower()
        if self._leaks(name):
            return b""
        text = field[0]
        if name == b"subject":
            for pattern, replacement in self.subject_tokens:
                text = pattern.sub(replacement, text)
        return text


def _add_token(text: str, tokens: list[tuple[re.Pattern[bytes], bytes]], subject_tokens: list[tuple[re.Pattern[bytes], bytes]]) -> None:
    """`pattern = replacement`; a replacement in parentheses is a remark and means nothing is put in its place. Tags in brackets are of
    the subject."""
    left, _, right = text.partition(" =")
    replacement = re.sub(r"\(.*\)", "", right).strip()
    if left.startswith("^From "):
        return  # the mbox line: always dropped
    (subject_tokens if left.startswith(r"\[") else tokens).append((re.compile(left.encode()), replacement.encode()))
