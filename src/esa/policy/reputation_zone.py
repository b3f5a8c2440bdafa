"""Scores of senders as a DNS zone (RFC 5782), for other machines: written for rbldnsd or as a master file (unbound, BIND, NSD, Knot), and read back.

A score stands in the A record: 127.0.1.N is -N/10, 127.0.2.N is +N/10, N from 0 to 100, so 127.0.1.73 is -7.3. A TXT record says why. The
test entries that RFC 5782 section 5 asks for are there, and 127.0.0.1 is not. `esa reputation export` writes, `import` reads; any mail
server can ask, esa itself with a [[dns_list]] and its codes. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from esa.errors import SyntaxFault

Format = Literal["rbldnsd", "unbound"]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
BELOW, ABOVE = 1, 2  # third octet of the A record
TTL = 300  # seconds; also of the answer that a host is not in it
TEST_POINTS = (ipaddress.IPv4Network("127.0.0.2"), ipaddress.IPv6Network("::ffff:7f00:2"))  # RFC 5782 section 5
_TEXT_LIMIT = 200  # octets of a TXT string, which may have 255
_UNPRINTED = re.compile(r"[^A-Za-z0-9 .,%/:+-]")
_RBLDNSD = re.compile(r"([0-9a-fA-F.:]+(?:/\d{1,3})?)\s+:([\d.]+):(.*)\Z")
_DEFAULT = re.compile(r":[\d.]+:")  # rbldnsd: the answer of entries that give none
_MASTER = re.compile(r"(\S+)\s+(?:\d+\s+)?(?:IN\s+)?(A|TXT)\s+(.*)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """An address or network with its score, -10 to 10 in tenths, and why."""

    network: Network
    score: float
    reason: str = ""

    @property
    def name(self) -> str:
        """As histories name it: an address without its length."""
        return str(self.network.network_address) if self.network.prefixlen == 32 and self.network.version == 4 else str(self.network)


def encode(score: float) -> str:
    """The A record of a score."""
    tenths = min(100, round(abs(score) * 10))
    return f"127.0.{BELOW if score < 0 else ABOVE}.{tenths}"


def decode(answer: str) -> float | None:
    """The score of an A record; None for any other."""
    match answer.split("."):
        case ["127", "0", "1", tenths] if tenths.isdecimal() and int(tenths) <= 100:
            return -int(tenths) / 10 + 0.0
        case ["127", "0", "2", tenths] if tenths.isdecimal() and int(tenths) <= 100:
            return int(tenths) / 10
    return None


def write_zone(entries: Sequence[Entry], *, zone: str, serial: int, form: Format) -> Iterator[str]:
    """The lines of the file. `zone` is its domain, `serial` that of the SOA record."""
    given = {entry.network for entry in entries}
    tests = [Entry(point, -10.0, "test entry, RFC 5782 section 5") for point in TEST_POINTS if point not in given]
    ordered = sorted([*entries, *tests], key=lambda entry: (entry.network.version, entry.network))
    if form == "rbldnsd":
        return _write_rbldnsd(ordered, zone, serial)
    return _write_master(ordered, zone, serial)


def _write_rbldnsd(entries: Sequence[Entry], zone: str, serial: int) -> Iterator[str]:
    yield f"# rbldnsd -b ADDRESS {zone}:combined:THIS-FILE"
    yield f"$SOA {TTL} {zone}. hostmaster.{zone}. {serial} 600 300 86400 {TTL}"
    yield f"$NS {TTL} ns.{zone}."
    yield f"$TTL {TTL}"
    for version in (4, 6):
        yield f"$DATASET ip{version}trie:scores{version} @"
        for entry in entries:
            if entry.network.version == version:
                name = str(entry.network.network_address) if entry.network.prefixlen == 32 and version == 4 else str(entry.network)
                yield f"{name} :{encode(entry.score)}:{_text(entry.reason)}"


def _write_master(entries: Sequence[Entry], zone: str, serial: int) -> Iterator[str]:
    yield f'; unbound: auth-zone: name: "{zone}", zonefile: "THIS-FILE", for-downstream: yes, for-upstream: yes'
    yield f"$ORIGIN {zone}."
    yield f"$TTL {TTL}"
    yield f"@ SOA ns.{zone}. hostmaster.{zone}. {serial} 600 300 86400 {TTL}"
    yield f"@ NS ns.{zone}."
    networks = {entry.network: entry for entry in entries}
    for entry in entries:
        yield from _records(_owner(entry.network), entry)
    written = set(networks)
    for entry in entries:  # RFC 4592: a wildcard ends where a longer name begins; its answer is given again there
        for between in _between(entry.network):
            wider = next((networks[one] for one in _wider(between) if one in networks), None)
            if between not in written and wider is not None:
                written.add(between)
                yield from _records(_owner(between), wider)


def _records(owner: str, entry: Entry) -> Iterator[str]:
    yield f"{owner} A {encode(entry.score)}"
    if entry.reason:
        yield f'{owner} TXT "{_text(entry.reason)}"'


def _between(network: Network) -> Iterator[Network]:
    """Networks of whole nibbles between an IPv6 network and the 48 bits that histories have as its network."""
    if network.version == 6:
        yield from (network.supernet(new_prefix=length) for length in range(52, network.prefixlen, 4))


def _wider(network: Network) -> Iterator[Network]:
    step = 8 if network.version == 4 else 4
    yield from (network.supernet(new_prefix=length) for length in range(network.prefixlen - step, 0, -step))


def _owner(network: Network) -> str:
    """The name below the zone; for a network with a wildcard. Lengths are whole octets or nibbles."""
    labels = network.network_address.reverse_pointer.split(".")[:-2]
    width = 8 if network.version == 4 else 4
    kept = labels[len(labels) - network.prefixlen // width :]
    return ".".join(kept if network.prefixlen == network.max_prefixlen else ["*", *kept])


def _text(reason: str) -> str:
    return _UNPRINTED.sub(" ", reason)[:_TEXT_LIMIT]


def read_zone(lines: Iterable[str]) -> tuple[list[Entry], list[tuple[int, SyntaxFault]]]:
    """Entries with a score, in either form, without the test entries; and for each wrong line its number (from 1) and the fault."""
    scores: dict[Network, float] = {}
    reasons: dict[Network, str] = {}
    faults: list[tuple[int, SyntaxFault]] = []
    origin = ""
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.upper().startswith("$ORIGIN"):
            origin = text.split()[-1].rstrip(".").lower()
        if not text or text[0] in ";#$@" or _DEFAULT.match(text):
            continue
        try:
            network, answer, reason = _read_line(text, origin)
        except SyntaxFault as fault:
            faults.append((number, fault))
            continue
        if answer is not None:
            scores[network] = answer
        if reason is not None:
            reasons[network] = reason
    found = [Entry(network, score, reasons.get(network, "")) for network, score in scores.items() if network not in TEST_POINTS]
    return found, faults


def _read_line(text: str, origin: str) -> tuple[Network, float | None, str | None]:
    if match := _RBLDNSD.match(text):
        return _network(match[1]), _score(match[2]), match[3].strip()
    if match := _MASTER.match(text):
        network = _network_of_owner(match[1].lower(), origin)
        if match[2].upper() == "A":
            return network, _score(match[3].strip()), None
        return network, None, match[3].strip().strip('"')
    raise SyntaxFault(f"{text[:60]!r} is no entry", mend="write 192.0.2.1 :127.0.1.50:why, or 1.2.0.192 A 127.0.1.50")


def _score(answer: str) -> float:
    score = decode(answer)
    if score is None:
        raise SyntaxFault(f"{answer[:40]!r} is no score", mend="127.0.1.N is -N/10 and 127.0.2.N is N/10, N from 0 to 100")
    return score


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise SyntaxFault(f"{text!r} is no address or network", mend="write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/64") from None


def _network_of_owner(owner: str, origin: str) -> Network:
    if origin and owner.endswith(f".{origin}."):
        owner = owner.removesuffix(f".{origin}.")
    labels = owner.split(".")
    if is_wild := labels[0] == "*":
        labels = labels[1:]
    labels.reverse()
    if labels and all(label.isdecimal() and len(label) <= 3 for label in labels) and len(labels) <= 4 and (is_wild or len(labels) == 4):
        return _network(".".join([*labels, *["0"] * (4 - len(labels))]) + f"/{8 * len(labels)}")
    if labels and all(re.fullmatch("[0-9a-f]", label) for label in labels) and len(labels) <= 32 and (is_wild or len(labels) == 32):
        digits = "".join(labels).ljust(32, "0")
        return _network(":".join(digits[place : place + 4] for place in range(0, 32, 4)) + f"/{4 * len(labels)}")
    raise SyntaxFault(f"{owner[:60]!r} names no address", mend="write its labels backwards, as 1.2.0.192 or *.2.0.192")
