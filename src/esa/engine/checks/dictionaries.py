"""Content dictionaries: lists of weighted entries, matched in subject, header and text of every message in the one pass of the core.

Reports per dictionary the score (sum of weight × occurrences), which entries stand there how often, and the score by place in the message: subject,
header, body, attachment. What a match means is for the policy to say: dictionaries report facts and add nothing to the score of a message.
Networks and hashes are no text to match: networks are looked up by `esa.engine.lookup`, hashes are those of the files that are attached. Files are
decoded and hashed only where a dictionary has hashes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, get_args, overload

from esa.engine.check import Check, Evidence, Finding, Materials, Term
from esa.engine.dictionary import IDENTIFIERS, MAX_WEIGHT, Dictionary, EntryKind
from esa.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.engine.expressions import Match
    from esa.message.content import Message

PLACES = ("subject", "header", "body", "attachment")

_KINDS: Final[tuple[EntryKind, ...]] = get_args(EntryKind)
_LENGTHS: Final = "Q"  # array type of places in all texts together
_NUMBERS: Final = "I"  # array type of days (as date.toordinal has them, 0: none) and of numbers of entries
_NETWORK_OCTETS = 17  # 16 of an IPv6 address, in which IPv4 is mapped (RFC 4291 section 2.5.5.2), and the length of the prefix
_HASH_OCTETS = 33  # the length of the digest, and the digest, filled up to 32
_DIGESTS = {16: hashlib.md5, 20: hashlib.sha1, 32: hashlib.sha256}  # by length; the short ones as lists of known malware have them
_NETWORK_LIKE = re.compile(r"[0-9a-fA-F:.]*[:.][0-9a-fA-F:.]*(?:/[0-9]{1,3})?\Z")
_HASH_LIKE = re.compile(r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\Z")
_BEGINS_WORD = re.compile(r"(?:\((?:\?[:a-zA-Z]+:?|\?P?<\w+>)?)*(?:\w|\\[wd]|\[(?:\w|\\[wd]))")
_ENDS_WORD = re.compile(r"(?:(?<!\\)\w|\\[wd]|(?:\w|\\[wd])\])(?:[*+?)]|\{[\d,]+\})*\Z")
_NO_FILES: Mapping[int, int] = MappingProxyType({})
_PLACE_OF = {"subject": "subject", "header": "header", "from_name": "header", "file_name": "attachment"}


def network_of(text: str) -> bytes | None:
    """The key of a network or address, or None for what is none."""
    if not _NETWORK_LIKE.match(text):
        return None
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    address, length = network.network_address, network.prefixlen
    if address.version == 4:
        return b"\0" * 10 + b"\xff\xff" + address.packed + bytes([96 + length])
    return address.packed + bytes([length])


def _hash_key(digest: bytes) -> bytes:
    return bytes([len(digest)]) + digest.ljust(_HASH_OCTETS - 1, b"\0")


class _Keys:
    """Sorted keys of one width, one behind another."""

    def __init__(self, octets: memoryview, width: int) -> None:
        self._octets, self._width = octets, width

    def __len__(self) -> int:
        return len(self._octets) // self._width

    def places(self, key: bytes) -> range:
        """Where keys equal to this one stand."""
        octets, width = self._octets, self._width  # no bisect: a call of Python's for each step would be most of what a look-up takes
        low, high = 0, len(octets) // width
        while low < high:
            middle = (low + high) // 2
            if bytes(octets[middle * width : middle * width + width]) < key:
                low = middle + 1
            else:
                high = middle
        last = low
        while bytes(octets[last * width : last * width + width]) == key:
            last += 1
        return range(low, last)


class Entries:
    """Entries of all dictionaries as flat tables, which a million of them share among processes.

    `books` are (name, number of its first entry, whole words, case); `ends` the octets of `texts` at which each text ends; `weights` and `kinds` an
    octet each; `days` the last day of each, or empty if none ends. Networks and hashes are sorted keys, with the number of the entry of each.
    """

    def __init__(self, books: Sequence[tuple[str, int, bool, bool]], tables: Mapping[str, memoryview]) -> None:
        """Raises ValueError and KeyError for tables that do not go together."""
        self.books, self._tables = books, tables
        self.ends, self.texts = tables["ends"].cast(_LENGTHS), tables["texts"]
        self.weights, self.kinds, self._days = tables["weights"], tables["kinds"], tables["days"].cast(_NUMBERS)
        self._networks, self._network_entries = _Keys(tables["networks"], _NETWORK_OCTETS), tables["network_entries"].cast(_NUMBERS)
        self._hashes, self._hash_entries = _Keys(tables["hashes"], _HASH_OCTETS), tables["hash_entries"].cast(_NUMBERS)
        n = len(self.ends)
        if not n == len(self.weights) == len(self.kinds) or len(self._days) not in (0, n):
            raise ValueError("the dictionaries have tables of different lengths")
        if len(self._networks) != len(self._network_entries) or len(self._hashes) != len(self._hash_entries):
            raise ValueError("the dictionaries have more or fewer keys than entries for them")
        self._lengths = bytes(tables["lengths"])  # of prefixes that there are
        self._digests = [_DIGESTS[length] for length in bytes(tables["hash_lengths"])]
        self._firsts = [first for _, first, _, _ in books]

    def __len__(self) -> int:
        return len(self.ends)

    @classmethod
    def of(cls, dictionaries: Sequence[Dictionary]) -> Entries:
        books: list[tuple[str, int, bool, bool]] = []
        pieces: list[bytes] = []
        weights, kinds, days = bytearray(), bytearray(), array(_NUMBERS)
        networks: list[tuple[bytes, int]] = []
        hashes: list[tuple[bytes, int]] = []
        numbers = {kind: number for number, kind in enumerate(_KINDS)}
        for dictionary in dictionaries:
            books.append((dictionary.name, len(weights), dictionary.whole_words, dictionary.case_sensitive))
            for entry in dictionary.entries:
                if not 0 <= entry.weight <= MAX_WEIGHT:
                    what = f"a term weighs 0 to {MAX_WEIGHT}, not {entry.weight}"
                    raise ConfigurationError(what, where=f"{dictionary.name}, {entry.text!r}")
                if entry.kind in ("network", "term") and (key := network_of(entry.text)) is not None:
                    networks.append((key, len(pieces)))
                elif entry.kind in ("hash", "term") and _HASH_LIKE.match(entry.text):
                    hashes.append((_hash_key(bytes.fromhex(entry.text)), len(pieces)))
                pieces.append(entry.text.encode("utf-8", "surrogatepass"))
                weights.append(entry.weight)
                kinds.append(numbers[entry.kind])
                days.append(entry.until.toordinal() if entry.until else 0)
        networks.sort()
        hashes.sort()
        tables: dict[str, Buffer] = {
            "ends": array(_LENGTHS, accumulate(map(len, pieces))),
            "texts": b"".join(pieces),
            "weights": bytes(weights),
            "kinds": bytes(kinds),
            "days": days if any(days) else b"",
            "networks": b"".join(key for key, _ in networks),
            "lengths": bytes(sorted({key[-1] for key, _ in networks})),
            "network_entries": array(_NUMBERS, (number for _, number in networks)),
            "hashes": b"".join(key for key, _ in hashes),
            "hash_lengths": bytes(sorted({key[0] for key, _ in hashes})),
            "hash_entries": array(_NUMBERS, (number for _, number in hashes)),
        }
        return cls(books, {name: memoryview(table).cast("B") for name, table in tables.items()})

    @classmethod
    def saved(cls, tables: Mapping[str, memoryview]) -> Entries:
        books = [(str(name), int(first), bool(words), bool(case)) for name, first, words, case in json.loads(bytes(tables["books"]))]
        return cls(books, tables)

    def tables(self) -> dict[str, Buffer]:
        return {**self._tables, "books": json.dumps(self.books).encode()}

    def text(self, index: int) -> str:
        if not 0 <= index < len(self.ends):
            raise IndexError(index)
        return str(self.texts[self.ends[index - 1] if index else 0 : self.ends[index]], "utf-8", "surrogatepass")

    def kind(self, index: int) -> EntryKind:
        return _KINDS[self.kinds[index]]

    def book(self, index: int) -> int:
        """Which dictionary an entry is of."""
        return bisect_right(self._firsts, index) - 1

    @property
    def are_endless(self) -> bool:
        """Whether no entry has a last day."""
        return not self._days

    def counts_on(self, index: int, today: Callable[[], date]) -> bool:
        """Whether the last day of an entry is not over; `today` is asked only if it has one."""
        return not self._days or not self._days[index] or today().toordinal() <= self._days[index]

    def digests(self) -> dict[str, str]:
        """By name of a dictionary a digest of all that decides what it finds."""
        found: dict[str, str] = {}
        firsts = [*self._firsts, len(self)]
        for book, (name, first, whole_words, case) in enumerate(self.books):
            last = firsts[book + 1]
            begin = self.ends[first - 1] if first else 0
            digest = hashlib.sha256(repr((whole_words, case, last - first)).encode())
            if last > first:
                digest.update(self.texts[begin : self.ends[last - 1]])
                digest.update(array(_LENGTHS, (end - begin for end in self.ends[first:last])))
                for table in (self.weights, self.kinds):
                    digest.update(table[first:last])
                if self._days:
                    digest.update(array(_NUMBERS, self._days[first:last]))
            found[name] = digest.hexdigest()
        return found

    def networks_of(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterator[int]:
        """Entries that are networks which hold an address: a look for each length of prefix that there is."""
        packed = b"\0" * 10 + b"\xff\xff" + address.packed if address.version == 4 else address.packed
        value = int.from_bytes(packed)
        for length in self._lengths:
            key = (value >> 128 - length << 128 - length).to_bytes(16) + bytes([length])
            for place in self._networks.places(key):
                yield self._network_entries[place]

    def hashes_of(self, digest: bytes) -> Iterator[int]:
        """Entries that are this digest: of 32 octets by SHA-256, 20 by SHA-1, 16 by MD5."""
        for place in self._hashes.places(_hash_key(digest)) if len(digest) in _DIGESTS else ():
            yield self._hash_entries[place]

    @property
    def have_hashes(self) -> bool:
        return bool(self._digests)

    def hashes_of_content(self, content: bytes) -> Iterator[int]:
        """Entries that are a hash of these octets, by each algorithm that entries are of."""
        for algorithm in self._digests:
            yield from self.hashes_of(algorithm(content, usedforsecurity=False).digest())


class _Terms(Sequence[Term]):
    """What is listened for by all entries, one after another, made when asked for. Networks and hashes listen for nothing."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Term: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Term]: ...
    def __getitem__(self, index: int | slice) -> Term | Sequence[Term]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        text = self._entries.text(index)
        _, _, whole_words, case = self._entries.books[self._entries.book(index)]
        match self._entries.kind(index):
            case "term":
                return Term(text, whole_words, case=case)
            case "expression":
                return Term(_bounded(text) if whole_words else text, kind="expression", case=case)
            case "identifier":
                return Term("", kind=IDENTIFIERS[text])
            case "address":
                return Term(text, kind="address")
            case "domain":
                return Term(text.removeprefix("."), kind="suffix" if text.startswith(".") else "domain")
            case "network" | "hash":
                return Term("")


def _bounded(expression: str) -> str:
    """The expression between word boundaries, at each end at which it begins or ends with a word character."""
    begin = r"\b" if _BEGINS_WORD.match(expression) else ""
    end = r"\b" if _ENDS_WORD.search(expression) else ""
    return f"{begin}(?:{expression}){end}" if begin or end else expression


class Dictionaries:
    """Reports per dictionary the entries that stand in a message, how often, and the weighted sum of their occurrences, also by place."""

    name = "dictionaries"

    def __init__(self, entries: Entries, *, today: Callable[[], date] = date.today) -> None:
        """`today`: the day by which entries end, in the time of this machine."""
        names = [name for name, _, _, _ in entries.books]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"two dictionaries are called {twice!r}", mend="give one of them another name")
        self.entries, self.today = entries, today
        self.terms: Sequence[Term] = _Terms(entries)

    @property
    def examines_all(self) -> bool:
        """Files may be known by their hashes where no word is."""
        return self.entries.have_hashes

    def save(self) -> Mapping[str, Buffer]:
        return self.entries.tables()

    def examine(self, evidence: Evidence) -> Finding | None:
        """Facts: {dictionary: {"score": int, "terms": {text: times}, "places": {one of PLACES: score}}}; places sum to the score.

        Places are found when they are first asked for, and keep the message until then.
        """
        entries, weights, are_endless = self.entries, self.entries.weights, self.entries.are_endless
        found: dict[int, dict[str, int]] = {}
        scores: dict[int, int] = {}
        files = _known_files(entries, evidence.message) if entries.have_hashes else _NO_FILES
        for index, count in itertools.chain(evidence.matches.items(), files.items()):
            if not (are_endless or entries.counts_on(index, self.today)):
                continue
            book = entries.book(index)
            found.setdefault(book, {})[entries.text(index)] = count
            scores[book] = scores.get(book, 0) + weights[index] * count
        if not found:
            return None
        where = _Where(self, evidence, files)
        return Finding(
            {
                entries.books[book][0]: {"score": scores[book], "terms": terms, "places": Places(where, book)}
                for book, terms in found.items()
            }
        )


class _Where:
    """Scores of one message by dictionary and place, found when they are asked for."""

    __slots__ = ("_check", "_evidence", "_files", "_scores")

    def __init__(self, check: Dictionaries, evidence: Evidence, files: Mapping[int, int]) -> None:
        self._check, self._evidence, self._files = check, evidence, files
        self._scores: dict[int, dict[str, int]] | None = None

    def scores(self) -> dict[int, dict[str, int]]:
        if self._scores is None:
            self._scores = self._find()
            del self._evidence
        return self._scores

    def _find(self) -> dict[int, dict[str, int]]:
        entries, message = self._check.entries, self._evidence.message
        attached = _attached(message)
        scores: dict[int, dict[str, int]] = {}
        for index, times in self._files.items():
            if entries.counts_on(index, self._check.today):
                of_book = scores.setdefault(entries.book(index), {})
                of_book["attachment"] = of_book.get("attachment", 0) + entries.weights[index] * times
        for index, match in self._evidence.where() if self._evidence.matches else ():
            if entries.counts_on(index, self._check.today):
                of_book = scores.setdefault(entries.book(index), {})
                place = _place_of(match, attached, message)
                of_book[place] = of_book.get(place, 0) + entries.weights[index] * match.times
        return scores


class Places(Mapping[str, int]):
    """The score of one dictionary by place; only places in which an entry stands."""

    __slots__ = ("_book", "_where")

    def __init__(self, where: _Where, book: int) -> None:
        self._where, self._book = where, book

    def _scores(self) -> dict[str, int]:
        return self._where.scores().get(self._book, {})

    def __getitem__(self, place: str) -> int:
        return self._scores()[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores())

    def __len__(self) -> int:
        return len(self._scores())

    def __repr__(self) -> str:
        return repr(self._scores())


def _place_of(match: Match, attached: set[int], message: Message) -> str:
    if match.part in attached:
        return "attachment"
    kind = match.kind
    if kind == "disguised":  # words told among others of their context: they stand where these do
        regions = message.parsed.regions
        kind = next((regions[one.origin].kind for one in regions if one.kind == kind and one.part == match.part), kind)
    return _PLACE_OF.get(kind, "body")


def _attached(message: Message) -> set[int]:
    """Parts that are attachments, or stand in one, or were taken out of one; the message itself is never one."""
    attached: set[int] = set()
    for part in message.parsed.parts[1:]:
        if part.attachment or part.origin >= 0 or part.parent in attached:
            attached.add(part.index)
    return attached


def _known_files(entries: Entries, message: Message) -> Mapping[int, int]:
    """Entries that are hashes of attached files, in whatever reading of their encoding, with how many files each is."""
    found: dict[int, int] = {}
    for part in message.parsed.parts:
        if part.media_type.startswith("multipart/") or not (
            part.attachment or part.file_name or not part.media_type.startswith(("text/", "message/"))
        ):
            continue
        for index in {index for content in part.contents() if content for index in entries.hashes_of_content(content)}:
            found[index] = found.get(index, 0) + 1
    return found


def check(materials: Materials) -> Check | None:
    if Dictionaries.name in materials.saved:
        return Dictionaries(Entries.saved(materials.saved[Dictionaries.name]))
    return Dictionaries(Entries.of(materials.dictionaries)) if materials.dictionaries else None
