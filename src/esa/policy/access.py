"""Recipient access: for which domains mail is accepted (the recipient access table, thin).

The receive route asks once per RCPT, before any mail data. A table without entries accepts every domain: that is the shipped state, where
the gateway listens on loopback and delivers to a Maildir or one fixed route, and so cannot be used as an open relay.
"""

from __future__ import annotations

from collections.abc import Iterable

from esa.errors import ConfigurationError, SyntaxFault
from esa.message.address import parse_domain

_POSTMASTER = "postmaster"  # accepted without a domain and for every domain: RFC 5321 section 4.5.1


class RecipientAccess:
    """The domains mail is accepted for: `example.org` exactly, `.example.org` for every domain below it.

    Raises ConfigurationError for an entry that is no domain.
    """

    def __init__(self, domains: Iterable[str] = ()) -> None:
        self._exact: set[str] = set()
        self._below: set[str] = set()
        for entry in domains:
            try:
                (self._below if entry.startswith(".") else self._exact).add(parse_domain(entry.removeprefix(".")))
            except SyntaxFault as fault:
                raise ConfigurationError(
                    f"{entry!r} is no domain mail can be accepted for", where="accepted domains", mend="write example.org, or .example.org"
                ) from fault

    def accepts(self, recipient: str) -> bool:
        """Whether mail for this addr-spec (no angle brackets) is accepted. The domain is compared in lower case."""
        if not self._exact and not self._below:
            return True
        local_part, _, domain = recipient.rpartition("@")
        if not local_part:
            return recipient.lower() == _POSTMASTER
        domain = domain.lower()
        if domain in self._exact:
            return True
        while self._below and "." in domain:
            domain = domain.partition(".")[2]
            if domain in self._below:
                return True
        return False
