"""Gates: which filters can fire at all, found from what is true of a message without looking at the filters one by one.

For each filter the compiler finds a clause: atoms of which one must be true where its condition is. The index turns them round: from the facts of a
message to the filters that have an atom which may be true. A filter without a clause is always a candidate. The promise is one-sided: a filter that
is no candidate would not fire; a candidate may fire or not, its condition is then evaluated.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from esa.policy.filters.short_texts import Addresses, ShortTexts
from esa_core._fields import FieldGate

if TYPE_CHECKING:
    from esa.policy.view import View


@dataclass(frozen=True, slots=True)
class TermAtom:
    """A term of the one program stands in the message."""

    number: int


@dataclass(frozen=True, slots=True)
class TextAtom:
    """An expression matches a short text: `field` is mail-from, rcpt-to, media-type or header:<name>."""

    field: str
    expression: str


@dataclass(frozen=True, slots=True)
class EqualAtom:
    """A fact of the session is this text: `field` is an attribute of View."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class NetworkAtom:
    """The client's address is in a range of addresses of one version, both ends in it."""

    version: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class DictionaryAtom:
    """An entry of a dictionary stands somewhere."""

    name: str


@dataclass(frozen=True, slots=True)
class LookupAtom:
    """An entry of a dictionary stands in a short text: `field` is mail-from, rcpt-to or header:<name>."""

    field: str
    name: str


@dataclass(frozen=True, slots=True)
class HeaderAtom:
    """There is a field of this name (lower case)."""

    name: str


@dataclass(frozen=True, slots=True)
class AttachmentAtom:
    """There is an attachment of more than so many octets, encoded; -1: of any size."""

    over: float = -1.0


@dataclass(frozen=True, slots=True)
class SizeAtom:
    """The message has more than so many octets."""

    over: float


Atom: TypeAlias = TermAtom | TextAtom | EqualAtom | NetworkAtom | DictionaryAtom | LookupAtom | HeaderAtom | AttachmentAtom | SizeAtom
Clause: TypeAlias = frozenset[Atom]

# About how many of a thousand messages have it: the rarest clause of several gates best.
_FREQUENCY: dict[type[Atom], int] = {
    TermAtom: 5,
    TextAtom: 6,
    DictionaryAtom: 20,
    LookupAtom: 21,
    NetworkAtom: 10,
    HeaderAtom: 100,
    EqualAtom: 300,
    AttachmentAtom: 200,
    SizeAtom: 200,
}


def frequency_of(clause: Clause) -> int:
    """About how many of a thousand messages fulfil a clause."""
    return sum(_FREQUENCY[type(atom)] for atom in clause)


def rarer(one: Clause | None, other: Clause | None) -> Clause | None:
    """The better gate of two that both must be fulfilled."""
    if one is None or other is None:
        return other if one is None else one
    return one if frequency_of(one) <= frequency_of(other) else other


def either(one: Clause | None, other: Clause | None) -> Clause | None:
    """The gate where one of two must be fulfilled."""
    return None if one is None or other is None else one | other


class _Over:
    """Filters that wait for a number over a bound."""

    def __init__(self, bounds: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(bounds)
        self._bounds = [bound for bound, _ in ordered]
        self._filters = [number for _, number in ordered]

    def below(self, value: float) -> Sequence[int]:
        return self._filters[: bisect_left(self._bounds, value)]


class _Networks:
    """Filters by ranges of addresses of one version: cut into runs, each with all filters whose ranges cover it."""

    def __init__(self, ranges: Sequence[tuple[int, int, int]]) -> None:
        edges = sorted({first for first, _, _ in ranges} | {last + 1 for _, last, _ in ranges})
        begins: dict[int, list[int]] = {}
        ends: dict[int, list[int]] = {}
        for first, last, number in ranges:
            begins.setdefault(first, []).append(number)
            ends.setdefault(last + 1, []).append(number)
        self._starts: list[int] = []
        self._filters: list[tuple[int, ...]] = []
        covering: dict[int, int] = {}
        for edge in edges:
            for number in ends.get(edge, ()):
                covering[number] -= 1
                if not covering[number]:
                    del covering[number]
            for number in begins.get(edge, ()):
                covering[number] = covering.get(number, 0) + 1
            self._starts.append(edge)
            self._filters.append(tuple(covering))

    def at(self, place: int) -> tuple[tuple[int, ...], ...]:
        """The filters whose ranges cover a place, as one run or none."""
        index = bisect_right(self._starts, place) - 1
        return (self._filters[index],) if index >= 0 and self._filters[index] else ()


class Gates:
    """The index of clauses. `clauses[n]` is that of filter n, None where it must always be evaluated. Immutable, shared by threads."""

    def __init__(self, clauses: Sequence[Clause | None]) -> None:
        self.always = tuple(number for number, clause in enumerate(clauses) if clause is None)
        terms: dict[int, list[int]] = {}
        texts: dict[str, dict[str, list[int]]] = {}
        equal: dict[str, dict[str, list[int]]] = {}
        dictionaries: dict[str, list[int]] = {}
        lookups: dict[str, dict[str, list[int]]] = {}
        headers: dict[str, list[int]] = {}
        networks: dict[int, list[tuple[int, int, int]]] = {}
        attachments: list[tuple[float, int]] = []
        sizes: list[tuple[float, int]] = []
        for number, clause in enumerate(clauses):
            for atom in clause or ():
                match atom:
                    case TermAtom(term):
                        terms.setdefault(term, []).append(number)
                    case TextAtom(field, expression):
                        texts.setdefault(field, {}).setdefault(expression, []).append(number)
                    case EqualAtom(field, value):
                        equal.setdefault(field, {}).setdefault(value, []).append(number)
                    case NetworkAtom(version, first, last):
                        networks.setdefault(version, []).append((first, last, number))
                    case DictionaryAtom(name):
                        dictionaries.setdefault(name, []).append(number)
                    case LookupAtom(field, name):
                        lookups.setdefault(field, {}).setdefault(name, []).append(number)
                    case HeaderAtom(name):
                        headers.setdefault(name, []).append(number)
                    case AttachmentAtom(over):
                        attachments.append((over, number))
                    case SizeAtom(over):
                        sizes.append((over, number))
        self._terms = terms
        self._equal = tuple(equal.items())
        self._lookups = tuple(lookups.items())
        self._dictionaries = dictionaries
        self._networks = {version: _Networks(ranges) for version, ranges in networks.items()}
        self._attachments = _Over(attachments) if attachments else None
        self._sizes = _Over(sizes) if sizes else None
        self._mail_from = Addresses(texts.pop("mail-from")) if "mail-from" in texts else None
        self._recipients = Addresses(texts.pop("rcpt-to")) if "rcpt-to" in texts else None
        self._media_types = ShortTexts(texts.pop("media-type")) if "media-type" in texts else None
        self._fields = _Fields(
            headers,
            {field.removeprefix("header:"): ShortTexts(expressions) for field, expressions in texts.items()},
            [one for one in (self._mail_from, self._recipients, self._media_types) if one is not None],
        )
        self._asks_attachments = self._attachments is not None or self._media_types is not None
        self._reads_texts = any(one is not None and one.literals for one in (self._mail_from, self._recipients, self._media_types))
        of_envelope = [one.always for one in (self._mail_from, self._recipients) if one is not None]
        self.always = tuple(sorted({*self.always, *(number for numbers in of_envelope for number in numbers)}))

    def candidates(self, view: View) -> Sequence[int]:
        """The filters that may fire, in their order."""
        told: list[Sequence[int]] = []  # numbers of filters that may
        if view.counts:
            told += [self._terms[term] for term in view.counts.keys() & self._terms.keys()]
        for field, filters in self._equal:
            if (numbers := filters.get(getattr(view, field))) is not None:
                told.append(numbers)
        if self._networks and (place := view.client) is not None and (networks := self._networks.get(place[0])) is not None:
            told += networks.at(place[1])
        envelope = view.envelope
        if self._mail_from is not None:
            self._mail_from.find(envelope.reverse_path, told)
        if self._recipients is not None:
            for recipient in envelope.recipients:
                self._recipients.find(recipient, told)
        if self._dictionaries and view.dictionaries:
            told += [self._dictionaries[name] for name in view.dictionaries.keys() & self._dictionaries.keys()]
        for field, books in self._lookups:
            for text in view.texts(field):
                if scores := view.scores(text):
                    told += [books[name] for name in scores.keys() & books.keys()]
        if self._sizes is not None and (of_size := self._sizes.below(view.size)):
            told.append(of_size)
        if self._asks_attachments and view.attachments:
            self._by_attachments(view, told)
        if self._reads_texts or self._fields.has_names:
            self._fields.find(view, self._texts(view) if self._reads_texts else (), told)
        if not told:
            return self.always
        found = set(self.always)
        found.update(*told)
        return sorted(found)

    def _by_attachments(self, view: View, told: list[Sequence[int]]) -> None:
        if self._attachments is not None:
            told.append(self._attachments.below(max(part.end - part.body_start for part in view.attachments)))
        if self._media_types is not None:
            told.append(self._media_types.always)

    def _texts(self, view: View) -> list[str]:
        """The short texts beside header fields in which literals are looked for."""
        texts: list[str] = []
        if self._mail_from is not None and self._mail_from.literals:
            texts.append(view.envelope.reverse_path)
        if self._recipients is not None and self._recipients.literals:
            texts += view.envelope.recipients
        if self._media_types is not None and self._media_types.literals:
            texts += [part.media_type for part in view.attachments]
        return texts


class _Fields:
    """Filters by header fields, and by literals in the values of these and in other short texts, all together. A literal that stands in another text than
    it is meant for opens a gate in vain, and no more."""

    def __init__(self, headers: Mapping[str, Sequence[int]], values: Mapping[str, ShortTexts], others: Iterable[ShortTexts]) -> None:
        """`headers`: filters that ask whether there is a field; `values`: those that ask for its value."""
        literals: dict[bytes, list[int]] = {}
        for short in (*values.values(), *others):
            for literal, numbers in short.literals.items():
                literals.setdefault(literal, []).extend(numbers)
        names = sorted({*headers, *values})
        self._told = [[*headers.get(name, ()), *(values[name].always if name in values else ())] for name in names]
        self._told += literals.values()
        self.has_names = bool(names)
        self._gate = FieldGate(
            [(name.encode("latin-1", "replace"), name in values and bool(values[name].literals)) for name in names], list(literals)
        )

    def find(self, view: View, texts: Sequence[str], told: list[Sequence[int]]) -> None:
        more = "\n".join(texts).encode("utf-8", "surrogatepass") if texts else b""
        found = view.fields_in(self._gate, more)
        if found is None:
            told += self._told
        elif found:
            told += [self._told[number] for number in found]


def network_atoms(text: str) -> Clause | None:
    """The atoms of an address, a network (CIDR) or a range first-last; None for anything else."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
            if low.version != high.version or int(low) > int(high):
                return None
            return frozenset({NetworkAtom(low.version, int(low), int(high))})
        network = ipaddress.ip_network(text, strict=False)
        return frozenset({NetworkAtom(network.version, int(network.network_address), int(network.broadcast_address))})
    except ValueError:
        return None
