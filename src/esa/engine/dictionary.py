"""Dictionaries as values and as text: entries with weight, comment, owner and last day, one a line.

    # words of the finance department
    # esa: whole_words = false       options of the file, above its first entry: kind, whole_words, case_sensitive
    ABA, 3
    account, 2                       # until 2027-01-31; owner: finance; asked for by audit
    "dear sir, 1"                    a term in double quotes is taken as it stands; "" is one double quote
    [#]1 offer                       [#] stands for a # that begins no comment
    /invoice \\d{6}/, 4               a regular expression in RE2's syntax
    *card                            a number that passes its own check

AsyncOS reads such a file too, for all that it does not know stands in comments; its own exports are files of the kind `expressions`.
Called by the check `dictionaries`, which compiles them, and by `esa dictionary`, which edits them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from esa.engine.expression_syntax import expression_fault
from esa.errors import ConfigurationError, SyntaxFault
from esa.message.address import Address, parse_domain

Kind = Literal["terms", "expressions", "addresses", "domains", "networks", "hashes"]
EntryKind = Literal["term", "expression", "identifier", "address", "domain", "network", "hash"]

MAX_WEIGHT = 10  # as AsyncOS has it: a term weighs 0 to 10
MAX_TERM_OCTETS = 1024  # bounds one line of a wrong file; the longest phrases in use have some tens
MAX_LINE = 8 * MAX_TERM_OCTETS  # characters, so that no odd line is looked at for long

IDENTIFIERS: Final[Mapping[str, str]] = {  # as written (*credit is AsyncOS's word) → kind of pattern
    "*card": "card",
    "*credit": "card",
    "*ssn": "ssn",
    "*aba": "aba",
    "*cusip": "cusip",
    "*iban": "iban",
}
MARK = "# esa:"  # begins a line of options

_COMMENT = re.compile(r"(?<!\[)#|#(?!\])")
_LINE = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>.*?))(?:\s*,\s*(?P<weight>-?[0-9]{1,2}))?\Z', re.DOTALL)
_OPTION = re.compile(r"#\s*esa:\s*(\w+)\s*=\s*(\w+)\s*\Z")
_UNTIL = re.compile(r"until\s+(\d{4}-\S*)\Z")
_OWNER = re.compile(r"owner:\s*(\S.*)\Z")
_BARE = re.compile(r"[\w@.+-]+(?: [\w@.+-]+)*\Z")  # stands for itself in a file of terms
_ODD = re.compile(r"[\\^$*+?{}|()\[\].]")  # what makes a line of an AsyncOS dictionary a regular expression
_HASH = re.compile(r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\Z")  # MD5, SHA-1, SHA-256


class Entry(NamedTuple):  # and no dataclass: there may be a million
    """One entry. `text` is what is looked for, without slashes or quotes; `until` the last day on which it counts (of this machine's time)."""

    text: str
    weight: int = 1
    kind: EntryKind = "term"
    comment: str = ""
    owner: str = ""
    until: date | None = None


class Line(NamedTuple):
    """A line of a file that has an entry, or a fault. Numbers begin at 1."""

    number: int
    entry: Entry | None
    fault: ConfigurationError | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for a whole file. `kind`: what a line is that has no mark of its own; whole words and case count for terms and expressions."""

    kind: Kind = "terms"
    whole_words: bool = True
    case_sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A named list of entries with weights 0–10. `whole_words`: a term matches only between word boundaries; `case_sensitive`: as it is written."""

    name: str
    entries: Sequence[Entry]
    whole_words: bool = True
    case_sensitive: bool = False
    kind: Kind = "terms"

    @classmethod
    def of(cls, name: str, terms: Mapping[str, int], *, whole_words: bool = True, case_sensitive: bool = False) -> Dictionary:
        """A dictionary of plain terms and their weights; `*card` and its like are numbers."""
        entries = [Entry(term, weight, "identifier" if term in IDENTIFIERS else "term") for term, weight in terms.items()]
        return cls(name, entries, whole_words, case_sensitive)

    @property
    def terms(self) -> dict[str, int]:
        """Weights by text."""
        return {entry.text: entry.weight for entry in self.entries}

    @property
    def options(self) -> Options:
        return Options(self.kind, self.whole_words, self.case_sensitive)

    @classmethod
    def from_text(
        cls, name: str, text: str, *, whole_words: bool = True, case_sensitive: bool = False, where: str | None = None
    ) -> Dictionary:
        """Read the lines of a dictionary file; what it says of whole words and case goes before what is given here.

        Raises ConfigurationError with the line at fault.
        """
        options = read_options(text, Options("terms", whole_words, case_sensitive), where or name)
        entries: list[Entry] = []
        for line in read_lines(text, options, where or name):
            if line.fault is not None:
                raise line.fault
            if line.entry is not None:
                entries.append(line.entry)
        return cls(name, entries, options.whole_words, options.case_sensitive, options.kind)

    @classmethod
    def from_file(cls, path: Path, *, name: str | None = None, whole_words: bool = True, case_sensitive: bool = False) -> Dictionary:
        """Read a dictionary file (UTF-8); its name is that of the file without the ending unless given."""
        octets = read_octets(path)
        return cls.from_octets(name or path.stem, octets, whole_words=whole_words, case_sensitive=case_sensitive, where=str(path))

    @classmethod
    def from_octets(cls, name: str, octets: bytes, *, whole_words: bool = True, case_sensitive: bool = False, where: str) -> Dictionary:
        """Read the content of a dictionary file."""
        return cls.from_text(name, decode(octets, where), whole_words=whole_words, case_sensitive=case_sensitive, where=where)

    def to_text(self) -> str:
        """A file that `from_text` reads as an equal dictionary."""
        return "".join(f"{line}\n" for line in (*write_options(self.options), *(write_entry(entry, self.kind) for entry in self.entries)))


# --- reading ------------------------------------------------------------------------------------------------------------------------------


def read_octets(path: Path) -> bytes:
    """The content of a dictionary file. Raises ConfigurationError."""
    try:
        return path.read_bytes()
    except OSError as error:
        mend = "check its path and mode"
        raise ConfigurationError(f"the dictionary cannot be read: {error.strerror}", where=str(path), mend=mend) from error


def decode(octets: bytes, where: str) -> str:
    """Text of a file, without a byte order mark. Raises ConfigurationError for what is no UTF-8."""
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"this is no UTF-8 text: {error.reason} at octet {error.start}", where=where) from error


def read_options(text: str, given: Options | None = None, where: str = "") -> Options:
    """The options above the first entry; what they do not say is as `given`. Raises ConfigurationError."""
    options = given or Options()
    kind, whole_words, case_sensitive = options.kind, options.whole_words, options.case_sensitive
    for number, line in _head(text):
        if not line.startswith(MARK):
            continue
        at = f"{where}, line {number}"
        found = _OPTION.match(line)
        match found.groups() if found else (line.removeprefix(MARK).strip(), ""):
            case ["kind", value]:
                kinds: tuple[Kind, ...] = get_args(Kind)
                chosen = next((one for one in kinds if one == value), None)
                if chosen is None:
                    raise ConfigurationError(
                        f"no kind of dictionary is called {value!r}", where=at, mend=f"write one of {', '.join(kinds)}"
                    )
                kind = chosen
            case ["whole_words", "true" | "false" as value]:
                whole_words = value == "true"
            case ["case_sensitive", "true" | "false" as value]:
                case_sensitive = value == "true"
            case _:
                mend = "write kind, whole_words or case_sensitive, and behind = one of the kinds, true or false"
                raise ConfigurationError("this is no option of a dictionary", where=at, mend=mend)
    return Options(kind, whole_words, case_sensitive)


def _head(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines above the first entry."""
    at = number = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line, at, number = text[at:end].strip(), end + 1, number + 1
        if line and line[0] != "#":
            return
        yield number, line


def read_lines(text: str, options: Options, where: str) -> Iterator[Line]:
    """The entries and faults of a file, in order: an entry that stands there twice is a fault of the second line."""
    numbers: dict[str | tuple[str, str], int] = {}
    has_entries = False
    for number, line in enumerate(text.split("\n"), 1):
        try:
            entry = read_entry(line, options.kind)
            if entry is None:
                if has_entries and line.lstrip().startswith(MARK):
                    raise SyntaxFault("options stand above the first entry", mend="move this line up")
                continue
            if entry.kind == "expression" and (wrong := expression_fault(entry.text)) is not None:
                raise SyntaxFault(f"column {line.find(entry.text) + wrong.column}: {wrong.what}", mend=wrong.mend)
            key = key_of(entry, options)
            first = numbers.setdefault(key, number)
            if first != number:
                raise SyntaxFault(f"{entry.text!r} stands there twice", mend=f"remove this line or line {first}")
        except SyntaxFault as fault:
            yield Line(number, None, ConfigurationError(fault.what, where=f"{where}, line {number}", mend=fault.mend))
        else:
            has_entries = True
            yield Line(number, entry)


def key_of(entry: Entry, options: Options) -> str | tuple[str, str]:
    """Equal for entries that look for the same."""
    if entry.kind == "term":
        return entry.text if options.case_sensitive else entry.text.casefold()
    if entry.kind == "identifier":
        return ("identifier", IDENTIFIERS[entry.text])
    return (entry.kind, entry.text if entry.kind == "expression" else entry.text.casefold())


def read_entry(line: str, kind: Kind = "terms") -> Entry | None:
    """The entry of one line; None for a comment or an empty line. Raises SyntaxFault."""
    if len(line) > MAX_LINE:
        raise SyntaxFault(f"a term has at most {MAX_TERM_OCTETS} octets", mend="shorten the line")
    note = ""
    if "#" in line:
        body, *more = _COMMENT.split(line, maxsplit=1)
        line, note = body.replace("[#]", "#"), more[0].strip() if more else ""
    body = line.strip()
    if not body:
        return None
    weight = 1
    is_quoted = False
    if body[0] == '"' or body[-1] in "0123456789":
        found = _LINE.match(body)
        assert found is not None
        quoted = found["quoted"]
        is_quoted = quoted is not None
        body = (found["plain"] if quoted is None else quoted.replace('""', '"')).strip()
        weight = int(found["weight"] or 1)
        if not 0 <= weight <= MAX_WEIGHT:
            mend = "if the comma belongs to the term, put the term in double quotes"
            raise SyntaxFault(f"a term weighs 0 to {MAX_WEIGHT}, not {weight}", mend=mend)
        if not body:
            raise SyntaxFault("a weight without a term", mend="write the term before the comma")
    if len(body) > MAX_TERM_OCTETS // 4 and len(body.encode("utf-8", "surrogatepass")) > MAX_TERM_OCTETS:
        raise SyntaxFault(f"a term has at most {MAX_TERM_OCTETS} octets", mend="shorten it")
    entry = _typed(body, weight, kind, is_quoted)
    return _noted(entry, note) if note else entry


def _typed(body: str, weight: int, kind: Kind, is_quoted: bool) -> Entry:
    match kind:
        case "terms" | "expressions":
            return _term(body, weight, kind, is_quoted)
        case "addresses":
            if body.startswith("@"):
                return Entry(_domain(body[1:]), weight, "domain")
            address = Address.parse(body)
            return Entry(f"{address.local_part}@{address.domain}", weight, "address")
        case "domains":
            return Entry(_domain(body), weight, "domain")
        case "networks":
            try:
                network = ipaddress.ip_network(body)
            except ValueError as error:
                raise SyntaxFault(
                    f"{body!r} is no IP network: {error}", mend="write one as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7"
                ) from None
            return Entry(network_text(network), weight, "network")
        case "hashes":
            if not _HASH.match(body):
                mend = "write its hexadecimal digits: 64 of SHA-256, 40 of SHA-1 or 32 of MD5"
                raise SyntaxFault(f"{body!r} is no hash of a file", mend=mend)
            return Entry(body.lower(), weight, "hash")


def _term(body: str, weight: int, kind: Kind, is_quoted: bool) -> Entry:
    if is_quoted:
        return Entry(body, weight)
    if body[0] == "*" and body in IDENTIFIERS:
        return Entry(body, weight, "identifier")
    if body[0] == "/" and body[-1] == "/" and len(body) > 2:
        return Entry(body[1:-1], weight, "expression")
    if kind == "expressions" and _ODD.search(body):
        return Entry(body, weight, "expression")
    return Entry(body, weight)


def make_entry(text: str, kind: Kind = "terms", *, weight: int = 1, comment: str = "", owner: str = "", until: date | None = None) -> Entry:
    """An entry from its text alone, with the marks that it has in a file of this kind. Raises SyntaxFault."""
    body = text.strip()
    is_quoted = len(body) > 2 and body[0] == body[-1] == '"'
    body = body[1:-1].replace('""', '"').strip() if is_quoted else body
    if not body or "\n" in body or len(body.encode("utf-8", "surrogatepass")) > MAX_TERM_OCTETS:
        raise SyntaxFault(f"an entry is one line of 1 to {MAX_TERM_OCTETS} octets", where=text[:80], mend="write one")
    entry = _typed(body, weight, kind, is_quoted)
    if entry.kind == "expression" and (wrong := expression_fault(entry.text)) is not None:
        raise SyntaxFault(f"column {wrong.column} of {entry.text!r}: {wrong.what}", mend=wrong.mend)
    return entry._replace(comment=comment.strip(), owner=owner.strip(), until=until)


def network_text(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """As people write it: without a mask if it is one address."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _domain(text: str) -> str:
    """`example.org`, or `.example.org` for it and all below it; in lower case."""
    dot = "." if text.startswith(".") else ""
    return dot + parse_domain(text.removeprefix(".").removesuffix("."))


def _noted(entry: Entry, note: str) -> Entry:
    until, owner, comment = _read_note(note)
    day = None
    if until:
        try:
            day = date.fromisoformat(until)
        except ValueError:
            raise SyntaxFault(f"{until!r} is no date", mend="write the last day that counts as: until 2027-01-31") from None
    return entry._replace(comment=comment, owner=owner, until=day)


def _read_note(note: str) -> tuple[str, str, str]:
    """Last day, owner and comment, as written behind the #. A semicolon before the comment keeps its first words from being read as these."""
    until = owner = ""
    rest = note
    while rest:
        first, _, more = rest.partition(";")
        if not until and (found := _UNTIL.match(first.strip())):
            until = found[1]
        elif not owner and (found := _OWNER.match(first.strip())):
            owner = found[1]
        else:
            break
        rest = more.strip()
    return until, owner, rest[1:].strip() if rest.startswith(";") else rest


# --- writing ------------------------------------------------------------------------------------------------------------------------------


def write_options(options: Options) -> list[str]:
    """Lines for all options that are not the usual ones."""
    lines = [] if options.kind == "terms" else [f"{MARK} kind = {options.kind}"]
    if not options.whole_words:
        lines.append(f"{MARK} whole_words = false")
    if options.case_sensitive:
        lines.append(f"{MARK} case_sensitive = true")
    return lines


def write_entry(entry: Entry, kind: Kind = "terms") -> str:
    """The line of an entry in a file of this kind, which `read_entry` reads as equal. Raises SyntaxFault for what such a file cannot hold."""
    if any(mark in text for text in (entry.text, entry.comment, entry.owner) for mark in "\r\n") or ";" in entry.owner:
        raise SyntaxFault("an entry is one line, and no owner has a semicolon", where=entry.text)
    body = next((body for body in _bodies(entry, kind) if _is_read_as(entry, body, kind)), None)
    if body is None:
        raise SyntaxFault(f"a dictionary of {kind} cannot hold this {entry.kind}", where=entry.text, mend="choose another dictionary")
    note = write_note(entry)
    return f"{body}  # {note}" if note else body


def _bodies(entry: Entry, kind: Kind) -> Iterator[str]:
    """How it may be written, the plainest first."""
    text = entry.text.replace("#", "[#]")
    weight = "" if entry.weight == 1 else f", {entry.weight}"
    if entry.kind == "domain" and kind == "addresses":
        yield f"@{text}{weight}"
        return
    yield text + weight
    if entry.kind == "expression":
        yield f"/{text}/{weight}"
    quoted = text.replace('"', '""')
    yield f'"{quoted}"{weight}'


def _is_read_as(entry: Entry, body: str, kind: Kind) -> bool:
    if kind == "terms" and entry.kind == "term" and entry.weight == 1 and _BARE.match(body):
        return True
    try:
        return read_entry(body, kind) == (*entry[:3], "", "", None)
    except SyntaxFault:
        return False


def write_note(entry: Entry) -> str:
    """What stands behind the entry, without the #."""
    pieces = [f"until {entry.until.isoformat()}"] if entry.until else []
    if entry.owner:
        pieces.append(f"owner: {entry.owner}")
    comment = entry.comment
    if comment:
        pieces.append(f"; {comment}" if comment[0] == ";" or _read_note(comment) != ("", "", comment) else comment)
    return "; ".join(pieces)
