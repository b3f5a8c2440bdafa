"""What a transaction carries beside the mail data: who it is from, who it is for, and over which session it came (RFC 5321)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """The SMTP session a message came over. Empty strings where the client did not say."""

    client_address: str = ""  # IP address in text, no port
    client_port: int = 0
    helo: str = ""  # argument of EHLO or HELO, as given
    protocol: str = "ESMTP"  # "with" word of the Received field: SMTP, ESMTP, ESMTPS, UTF8SMTP … (RFC 3848, 6531)
    listener: str = ""  # name of the listener in esa.toml
    received_at: float = 0.0  # Unix seconds, end of data


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path and forward-paths as addr-specs without angle brackets; the null reverse-path is the empty string."""

    reverse_path: str
    recipients: tuple[str, ...]
    size: int = 0  # octets of mail data, after dot-unstuffing
    body: str = "7BIT"  # BODY parameter: 7BIT or 8BITMIME (RFC 6152)
    smtputf8: bool = False  # SMTPUTF8 parameter (RFC 6531)

    @property
    def is_null(self) -> bool:
        return not self.reverse_path
