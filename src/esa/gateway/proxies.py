"""Clients that come through a proxy of ours: the PROXY header, versions 1 and 2 (haproxy's proxy-protocol.txt), and XCLIENT (Postfix).

`opening.Opening` calls it for peers in networks that the listener trusts, and for no others: whoever is believed here may say that he is
anybody. Both parsers are pure, take octets of strangers, and raise ValueError only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_V1: Final = 107  # octets with CRLF
LONGEST_V2: Final = 16 + 2048  # addresses take 216 at most; the rest are extensions, which are skipped
XCLIENT_KEYWORD: Final = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
_V1 = re.compile(rb"PROXY (?:UNKNOWN(?: [ -~]*)?|(TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (\d{1,5}) (\d{1,5}))\r\n")
_XCLIENT = re.compile(r"([A-Za-z]+)=((?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*)\Z")
_HEX = re.compile(r"\+([0-9A-Fa-f]{2})")
_UNKNOWN: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """Whether an address is in one of some networks; an IPv4 address mapped to IPv6 is the IPv4 one."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """ValueError for what is no network."""
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if found.version == 6 and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found.version == network.version and found in network for network in self._networks)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Who speaks to whom, as a proxy says. Empty addresses: it does not say (a check of its own, or a client it knows nothing of)."""

    client_address: str = ""
    client_port: int = 0
    local_address: str = ""
    local_port: int = 0


def read_header(octets: bytes) -> tuple[Endpoints, int] | None:
    """Read a PROXY header at the beginning: what it says, and its length. None: more octets are needed. ValueError: it is none."""
    if octets.startswith(SIGNATURE):
        return _read_v2(octets)
    if SIGNATURE.startswith(octets[: len(SIGNATURE)]):
        return None
    end = octets.find(b"\n", 0, LONGEST_V1)
    if end < 0:
        if len(octets) >= LONGEST_V1 or not (octets[:6] == b"PROXY " or b"PROXY ".startswith(octets)):
            raise ValueError("no PROXY header")
        return None
    match = _V1.fullmatch(octets[: end + 1])
    if match is None:
        raise ValueError("malformed PROXY header")
    if match[1] is None:
        return Endpoints(), end + 1
    version = 4 if match[1] == b"TCP4" else 6
    source, destination = (_address(match[place].decode(), version) for place in (2, 3))
    return Endpoints(source, _port(match[4]), destination, _port(match[5])), end + 1


def _read_v2(octets: bytes) -> tuple[Endpoints, int] | None:
    if len(octets) < 16:
        return None
    command, family, length = octets[12], octets[13], 16 + int.from_bytes(octets[14:16], "big")
    if command not in (0x20, 0x21) or length > LONGEST_V2:
        raise ValueError("malformed PROXY header")
    if len(octets) < length:
        return None
    if command == 0x20:  # LOCAL: the proxy itself
        return Endpoints(), length
    size = {0x11: 4, 0x21: 16}.get(family, 0)
    if not size:
        if family in (0x00, 0x31):  # not said, or a Unix socket
            return Endpoints(), length
        raise ValueError("a PROXY header of another transport")
    if length < 16 + 2 * size + 4:
        raise ValueError("cut PROXY header")
    source, destination, ports = octets[16 : 16 + size], octets[16 + size : 16 + 2 * size], octets[16 + 2 * size : 20 + 2 * size]
    addresses = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))
    return Endpoints(addresses[0], int.from_bytes(ports[:2], "big"), addresses[1], int.from_bytes(ports[2:], "big")), length


def _address(text: str, version: int) -> str:
    address = ipaddress.ip_address(text)
    if address.version != version:
        raise ValueError("an address of another family")
    return str(address)


def _port(text: bytes | str) -> int:
    port = int(text)
    if port > 65_535:
        raise ValueError("no port")
    return port


@dataclass(frozen=True, slots=True)
class Claims:
    """What an XCLIENT command says. None: not said, or not known to the proxy."""

    values: dict[str, str] = field(default_factory=dict)

    @property
    def client_address(self) -> str | None:
        return self.values.get("ADDR")

    @property
    def client_port(self) -> int | None:
        return int(self.values["PORT"]) if "PORT" in self.values else None

    @property
    def helo(self) -> str | None:
        return self.values.get("HELO")

    @property
    def user(self) -> str | None:
        return self.values.get("LOGIN")

    @property
    def local_address(self) -> str | None:
        return self.values.get("DESTADDR")

    @property
    def local_port(self) -> int | None:
        return int(self.values["DESTPORT"]) if "DESTPORT" in self.values else None


def read_xclient(argument: str) -> Claims:
    """Read the attributes of an XCLIENT command. ValueError: malformed."""
    values: dict[str, str] = {}
    for word in argument.split():
        match = _XCLIENT.match(word)
        if match is None:
            raise ValueError("no attribute")
        name, value = match[1].upper(), _HEX.sub(lambda found: chr(int(found[1], 16)), match[2])
        if name not in ("NAME", "REVERSE_NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"):
            raise ValueError("unknown attribute")
        if value.upper() in _UNKNOWN or not value:
            continue
        if name in ("ADDR", "DESTADDR"):
            value = str(ipaddress.ip_address(re.sub("(?i)^ipv6:", "", value)))
        elif name in ("PORT", "DESTPORT"):
            if not value.isdecimal():
                raise ValueError("no port")
            value = str(_port(value))
        elif name == "PROTO" and value.upper() not in ("SMTP", "ESMTP"):
            raise ValueError("no protocol")
        elif not value.isprintable() or not value.isascii() or len(value) > 255 or " " in value:
            raise ValueError("no name")
        values[name] = value
    return Claims(values)


@dataclass(frozen=True, slots=True)
class Trust:
    """Networks whose peers may say who the client is."""

    proxy_header: Networks = field(default_factory=Networks)  # these must send a PROXY header first
    xclient: Networks = field(default_factory=Networks)  # these may use XCLIENT

    def __bool__(self) -> bool:
        return bool(self.proxy_header or self.xclient)

    @classmethod
    def of(cls, proxy_header: Sequence[str], xclient: Sequence[str]) -> Trust:
        return cls(Networks(proxy_header), Networks(xclient))
