"""Looking up in dictionaries what stands outside of messages: envelope addresses, host names, header values; client addresses; hashes of files.

Offered by the scanner, asked by policy. All stands in the tables and patterns that are compiled once and mapped by every process: nothing is
loaded for it, and a look takes microseconds whether a dictionary has ten entries or a million. Texts are matched by the same program as
messages are, as a message of one line each. A name is more than text, though: `brien@example.org` is not found in `o'brien@example.org`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from esa.engine.check import Evidence
from esa.engine.checks.dictionaries import Dictionaries
from esa.message.content import Message
from esa_core import Engine, flag_names, fold

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.engine.listening import Listening

_HEAD = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
_LINES = str.maketrans("\r\n", "  ")
MOST_KNOWN = 10_000  # answers that are remembered, some 2 MB: the people that a gateway sees in an hour
LONGEST_KNOWN = 320  # characters of a text that is remembered: no address is longer (RFC 5321 section 4.5.3.1)
LONGEST = 65_536  # characters of a text that are looked at: longer ones stand in messages, and are scanned there


class Found(NamedTuple):
    """What of one dictionary was found: the sum of weight × occurrences, and entries with how often."""

    score: int
    terms: Mapping[str, int]


Founds = Mapping[str, Found]  # by dictionary; those of which nothing was found are not there
_NOTHING: Founds = MappingProxyType({})
_NO_FACTS: Mapping[str, object] = MappingProxyType({})
_NO_COUNTS: Mapping[int, int] = MappingProxyType({})


class Lookup:
    """Shared by threads; what it answers never changes but with the day."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._check = next((check for check in listening.checks if isinstance(check, Dictionaries)), None)
        self._has_patterns = self._check is not None and listening.program is not None and listening.program.n_patterns > 0
        self._known: dict[tuple[str, date], Founds] = {}
        self._engine = None if self._check is None else Engine(program=None if listening.program is None else listening.program.native)
        tries_all = listening.program is not None and listening.program.tries_all  # then nothing can be ruled out
        self._quick = self._engine if self._has_patterns and not tries_all else None

    @property
    def names(self) -> tuple[str, ...]:
        """The dictionaries there are."""
        return () if self._check is None else tuple(name for name, _, _, _ in self._check.entries.books)

    def text(self, text: str) -> Founds:
        """What stands in an address, a host name, or the value of a header field; see `texts`. In nearly all nothing does, which is seen at once; of
        addresses that stand in a dictionary the answers of a day are remembered."""
        if self._check is None or len(text) > LONGEST_KNOWN:
            return self.texts((text,))[0]
        if self._quick is not None and text.isascii() and text.isprintable() and not self._quick.stands_in(text.encode()):
            return _NOTHING
        key = text, self._check.today()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = self._known[key] = self.texts((text,))[0]
        return found

    def texts(self, texts: Sequence[str]) -> list[Founds]:
        """The same for many, in one call. Of an address (local@domain, no brackets): entries that are this address, `@domain`, its domain,
        `.domain` above it, and terms and expressions that stand in it. Counts are as in a message."""
        program = self._listening.program
        if self._engine is None or program is None or self._check is None or not self._has_patterns:
            return [_NOTHING] * len(texts)
        raws = [_HEAD + text[:LONGEST].translate(_LINES).encode("utf-8", "replace") for text in texts]
        batch = self._engine.scan(raws)
        starts = batch.match_starts.tolist()
        founds: list[Founds] = []
        for row, text in enumerate(texts):
            if not program.may_stand(batch, row, starts):
                founds.append(_NOTHING)
                continue
            counts, _ = program.counts(batch, row, Message(raws[row]))
            heard = self._listening.heard(counts).get(self._check, {})
            folded = fold(text.encode("utf-8", "replace"))
            founds.append(self._founds((index, count) for index, count in heard.items() if self._holds(index, folded)))
        return founds

    def client(self, address: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> Founds:
        """Networks that an IP address is of; each counts once. Nothing for what is no address."""
        if self._check is None:
            return _NOTHING
        if isinstance(address, str):
            try:
                address = ipaddress.ip_address(address)
            except ValueError:
                return _NOTHING
        return self._founds((index, 1) for index in self._check.entries.networks_of(address))

    def digest(self, digest: bytes) -> Founds:
        """Entries that are the hash of a file: 32 octets of SHA-256, 20 of SHA-1 or 16 of MD5."""
        return _NOTHING if self._check is None else self._founds((index, 1) for index in self._check.entries.hashes_of(digest))

    def content(self, content: bytes) -> Founds:
        """Entries that are a hash of these octets."""
        if self._check is None or not content:
            return _NOTHING
        return self._founds((index, 1) for index in self._check.entries.hashes_of_content(content))

    def message(self, raw: Buffer) -> Mapping[str, object]:
        """What of the dictionaries stands in a message, as `Report.checks` has it: for one that was edited behind its scan."""
        check = self._check
        if check is None or self._engine is None:
            return _NO_FACTS
        batch, message = self._engine.scan([raw]), Message(raw)
        evidence = Evidence(message, batch, 0, 0.0)
        if (program := self._listening.program) is not None and self._has_patterns:
            is_capped = "too_many_matches" in flag_names(int(batch.flags[0]))
            counts, _ = program.counts(batch, 0, message, is_capped=is_capped)
            matches = self._listening.heard(counts).get(check, _NO_COUNTS)
            where = partial(self._listening.where, check, matches, batch, 0, message, is_capped=is_capped)
            evidence = evidence._replace(matches=matches, where=where)
        finding = check.examine(evidence)
        return _NO_FACTS if finding is None else finding.facts

    def _founds(self, counts: Iterable[tuple[int, int]]) -> Founds:
        assert self._check is not None
        entries, today = self._check.entries, self._check.today
        scores: dict[str, int] = {}
        terms: dict[str, dict[str, int]] = {}
        for index, count in counts:
            if entries.counts_on(index, today):
                name = entries.books[entries.book(index)][0]
                scores[name] = scores.get(name, 0) + entries.weights[index] * count
                terms.setdefault(name, {})[entries.text(index)] = count
        return {name: Found(score, terms[name]) for name, score in scores.items()}

    def _holds(self, index: int, folded: bytes) -> bool:
        """Whether an entry that stands in this text is what the text names, where entry and text are addresses or names."""
        assert self._check is not None
        entries = self._check.entries
        kind, (_, _, whole_words, _) = entries.kind(index), entries.books[entries.book(index)]
        if kind not in ("address", "domain") and not (kind == "term" and whole_words):
            return True
        local_part, at, domain = folded.rpartition(b"@")
        if not at and kind == "term":
            return True
        entry = fold(entries.text(index).encode())
        if kind == "domain":
            return domain == entry or (entry.startswith(b".") and (domain == entry[1:] or domain.endswith(entry)))
        if b" " in entry or b" " in folded:
            return True  # a phrase, or a sentence
        if b"@" in entry:
            return domain == entry[1:] if entry.startswith(b"@") else folded == entry
        return b"." not in entry or domain == entry or domain.endswith(b"." + entry) or entry in local_part
