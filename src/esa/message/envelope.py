"""What a transaction carries beside the mail data: who it is from, who it is for, and over which session it came (RFC 5321)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self


@dataclass(frozen=True, slots=True)
class Session:
    """The SMTP session a message came over. Empty strings where the client did not say."""

    client_address: str = ""  # IP address in text, no port
    client_port: int = 0
    helo: str = ""  # argument of EHLO or HELO, as given
    protocol: str = "ESMTP"  # "with" word of the Received field: SMTP, ESMTP, ESMTPS, UTF8SMTP … (RFC 3848, 6531)
    listener: str = ""  # name of the listener in esa.toml
    received_at: float = 0.0  # Unix seconds, end of data
    tls_version: str = ""  # "TLSv1.3"; empty: in the clear
    tls_cipher: str = ""  # OpenSSL's name
    tls_client: str = ""  # subject of a verified client certificate (RFC 4514)
    user: str = ""  # authenticated identity (RFC 4954)
    relayed_from: str = ""  # IP address of the client that an incoming relay took it from; empty: of nobody else

    def to_list(self) -> list[object]:
        """As JSON values; `from_list` undoes it."""
        values: list[object] = [self.client_address, self.client_port, self.helo, self.protocol, self.listener, self.received_at]
        if self.tls_version or self.user or self.relayed_from:
            values += [self.tls_version, self.tls_cipher, self.tls_client, self.user]
        if self.relayed_from:
            values.append(self.relayed_from)
        return values

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Self:
        return cls(*values)


class RecipientOptions(NamedTuple):
    """What the client wants to be told of one recipient (RFC 3461)."""

    forward_path: str  # addr-spec
    notify: str = ""  # NEVER, or some of SUCCESS, FAILURE and DELAY with commas between
    original_recipient: str = ""  # ORCPT, as `rfc822;` and xtext


@dataclass(frozen=True, slots=True)
class Options:
    """Rare parameters of MAIL and RCPT, kept for the next hop. Checked when they came in; empty strings were not given."""

    ret: str = ""  # FULL or HDRS (RFC 3461)
    envelope_id: str = ""  # ENVID, as xtext (RFC 3461)
    submitter: str = ""  # AUTH, as xtext or "<>" (RFC 4954)
    requiretls: bool = False  # never to be handed on without TLS (RFC 8689)
    recipients: tuple[RecipientOptions, ...] = ()  # of those that have any


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path and forward-paths as addr-specs without angle brackets; the null reverse-path is the empty string."""

    reverse_path: str
    recipients: tuple[str, ...]
    size: int = 0  # octets of mail data, after dot-unstuffing
    body: str = "7BIT"  # BODY parameter: 7BIT, 8BITMIME (RFC 6152) or BINARYMIME (RFC 3030)
    smtputf8: bool = False  # SMTPUTF8 parameter (RFC 6531)
    options: Options | None = None  # None: none were given
    number: int = 0  # of the message in logs, as AsyncOS's MID; 0: it was given none

    @property
    def is_null(self) -> bool:
        return not self.reverse_path

    @property
    def inherited(self) -> Options | None:
        """What must hold of copies and notices made of the message too (RFC 8689 section 5)."""
        return Options(requiretls=True) if self.options is not None and self.options.requiretls else None

    def to_list(self) -> list[object]:
        """As JSON values; `from_list` undoes it."""
        values: list[object] = [self.reverse_path, self.recipients, self.size, self.body, self.smtputf8]
        if (options := self.options) is not None:
            values.append([options.ret, options.envelope_id, options.submitter, options.requiretls, options.recipients])
        if self.number:
            values += [self.number] if options is not None else [None, self.number]
        return values

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Self:
        """Raises ValueError or TypeError for what `to_list` does not write."""
        reverse_path, recipients, size, body, smtputf8, *more = values
        options = None
        if more and more[0] is not None:
            ret, envelope_id, submitter, requiretls, of_recipients = more[0]
            options = Options(ret, envelope_id, submitter, requiretls, tuple(RecipientOptions(*one) for one in of_recipients))
        return cls(reverse_path, tuple(recipients), size, body, smtputf8, options, *more[1:])
