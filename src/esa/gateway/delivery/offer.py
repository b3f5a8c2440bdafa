"""How a message is offered to a next hop: the commands of its envelope, with what the next hop's extensions allow. Pure; `client` sends them.

- SIZE (RFC 1870), 8BITMIME (RFC 6152), DSN (RFC 3461) and REQUIRETLS (RFC 8689) as they are offered, and what the envelope has of them.
- Without SMTPUTF8 (RFC 6531) a domain goes as A-labels, which mean the same; a local part cannot, and fails, for its recipient alone. So does a
  header that its author wrote in UTF-8, for all.
- Content with octets over 127 is sent unchanged to a next hop without 8BITMIME: converting it would break signatures, refusing it loses
  mail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from esa.gateway.delivery.mail_data import Sendable, has_ascii_header
from esa.gateway.delivery.replies import CONTROL
from esa.message.a_labels import as_a_labels
from esa.message.envelope import Envelope, Options

_NO_UTF8 = "the next hop does not offer SMTPUTF8, which"
_NOTHING = Options()


class Path(NamedTuple):
    """A forward-path as the envelope has it, and the command that offers it."""

    address: str
    command: bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """Commands, each with its line end. `refused`: forward-paths that this next hop cannot be offered, with the reply that says why."""

    mail: bytes
    paths: tuple[Path, ...]
    refused: Mapping[str, str]


def make_offer(
    envelope: Envelope,
    addresses: Sequence[str],
    message: Sendable,
    extensions: Mapping[str, str],
    *,
    is_secure: bool,
    is_local: bool = False,
) -> Offer:
    """The offer of a message for these forward-paths. `extensions`: keywords of EHLO, upper case. `is_local`: the next hop is on this machine."""
    if refusal := _refusal(envelope, addresses, message, extensions, is_bound=is_local or (is_secure and "REQUIRETLS" in extensions)):
        return _refused_for_all(addresses, refusal)
    knows_utf8 = "SMTPUTF8" in extensions
    reverse_path = envelope.reverse_path if knows_utf8 else _in_ascii(envelope.reverse_path)
    if reverse_path is None:
        return _refused_for_all(addresses, f"553 5.6.7 {_NO_UTF8} the reverse-path needs")
    options = envelope.options or _NOTHING
    of_paths = {one.forward_path: one for one in options.recipients} if "DSN" in extensions else {}
    paths, refused = [], {}
    for address in addresses:
        written = address if knows_utf8 else _in_ascii(address)
        if written is None:
            refused[address] = f"553 5.6.7 {_NO_UTF8} this address needs"
            continue
        parameters = ""
        if (one := of_paths.get(address)) is not None:
            parameters += f" NOTIFY={one.notify}" if one.notify else ""
            parameters += f" ORCPT={one.original_recipient}" if one.original_recipient else ""
        paths.append(Path(address, _octets(f"RCPT TO:<{written}>{parameters}\r\n")))
    parameters = f" SIZE={message.size}" if "SIZE" in extensions else ""
    if envelope.body == "8BITMIME" and "8BITMIME" in extensions:
        parameters += " BODY=8BITMIME"
    if knows_utf8 and (envelope.smtputf8 or not all(path.isascii() for path in (reverse_path, *addresses))):
        parameters += " SMTPUTF8"
    if options.requiretls and not is_local:
        parameters += " REQUIRETLS"
    if "DSN" in extensions:
        parameters += f" RET={options.ret}" if options.ret else ""
        parameters += f" ENVID={options.envelope_id}" if options.envelope_id else ""
    return Offer(_octets(f"MAIL FROM:<{reverse_path}>{parameters}\r\n"), tuple(paths), refused)


def _refused_for_all(addresses: Sequence[str], reply: str) -> Offer:
    return Offer(b"", (), dict.fromkeys(addresses, reply))


def _refusal(envelope: Envelope, addresses: Sequence[str], message: Sendable, extensions: Mapping[str, str], *, is_bound: bool) -> str:
    """Why this message cannot be offered at all, in words of a reply; empty if it can."""
    if any(CONTROL.search(path) for path in (envelope.reverse_path, *addresses)):
        return "553 5.1.3 an address holds control characters"
    if envelope.smtputf8 and "SMTPUTF8" not in extensions and not has_ascii_header(message):
        return f"554 5.6.9 {_NO_UTF8} the header of this message needs"
    if envelope.options is not None and envelope.options.requiretls and not is_bound:  # who opens connections sees to it
        return "550 5.7.30 the next hop is not spoken to in TLS with REQUIRETLS, which this message needs"
    if envelope.body == "BINARYMIME":
        return "554 5.6.3 the message is binary, and the next hop is sent text only"
    limit = extensions.get("SIZE", "")
    if limit.isdigit() and 0 < int(limit) < message.size:
        return f"552 5.3.4 the message has {message.size} octets, the next hop takes {limit}"
    return ""


def _in_ascii(address: str) -> str | None:
    """The address with its domain in A-labels (RFC 5890), or None if that is not all that is not ASCII."""
    if address.isascii():
        return address
    local, at, domain = address.rpartition("@")
    domain = as_a_labels(domain)
    return f"{local}{at}{domain}" if local.isascii() and domain.isascii() else None


def _octets(command: str) -> bytes:
    return command.encode("utf-8", "surrogateescape")
