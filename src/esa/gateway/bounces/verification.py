"""Bounce verification at the listener: who gets mail with a null return path, and under which address.

Recipient access and all behind it see addresses without their tag. Of mail of those who may send to any domain only our own tags are taken off:
those of others are none of ours to change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from esa.gateway.bounces.words import clean
from esa.gateway.receiver import Transaction
from esa.message.reply import Reply
from esa.policy.bounce_verification import NO_EXCEPTIONS, Checked, Exceptions, Finding, check, untagged
from esa.store.bounce_keys import Keys

REFUSED = Reply(550, "5.7.1", "This is a bounce of mail that we have not sent")
_CHUNK = 1 << 20


class Verification:
    """What holds for one configuration. `now` gives Unix seconds."""

    def __init__(
        self,
        keys: Keys,
        exceptions: Exceptions = NO_EXCEPTIONS,
        *,
        refuses: bool = True,
        header: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`refuses`: what is no bounce of our mail is refused; else it gets the field `header`; if that is empty too, tags are only taken off."""
        self._keys, self._exceptions, self._now = keys, exceptions, now
        self._refuses, self._field = refuses, f"{clean(header, ascii_only=True)}\r\n".encode() if header else b""

    def look(self, reverse_path: str, forward_path: str, *, is_ours: bool, accepts_untagged: bool = False) -> tuple[str, Finding]:
        """The recipient without a tag, and what it is; of mail that has a return path no tag is asked for.

        `is_ours`: the client may send to any domain. Of its mail only tags of our own keys are taken off.
        """
        if is_ours:
            found = check(forward_path, self._keys.current(), self._now(), self._exceptions)
            return (found.address if found.finding in (Finding.VALID, Finding.EXPIRED) else forward_path), Finding.EXEMPT
        if reverse_path:
            return untagged(forward_path), Finding.EXEMPT
        found = self._check(forward_path, accepts_untagged=accepts_untagged)
        return found.address, found.finding

    def _check(self, forward_path: str, *, accepts_untagged: bool) -> Checked:
        keys = self._keys.current()
        found = check(forward_path, keys, self._now(), self._exceptions)
        if found.finding is Finding.UNTAGGED and (accepts_untagged or not keys):  # without a key nothing was ever tagged
            return found._replace(finding=Finding.EXEMPT)
        return found

    def refusal(self, finding: Finding) -> Reply | None:
        return None if not self._refuses or finding in (Finding.VALID, Finding.EXEMPT) else REFUSED

    def settle(self, transaction: Transaction, *, is_ours: bool, accepts_untagged: bool = False) -> bool:
        """Take the tags off the recipients of a complete transaction. Returns whether the message has to be marked."""
        is_marked = False
        for place, path in enumerate(transaction.recipients):
            address, finding = self.look(transaction.reverse_path, path, is_ours=is_ours, accepts_untagged=accepts_untagged)
            is_marked = is_marked or finding not in (Finding.VALID, Finding.EXEMPT)
            if address != path:
                transaction.recipients[place] = address
                transaction.options = [
                    one._replace(forward_path=address) if one.forward_path == path else one for one in transaction.options
                ]
        return is_marked and bool(self._field)

    def mark(self, transaction: Transaction) -> None:
        """Put the header field on top of the message; in a thread for one in a file. Raises OSError."""
        if transaction.content_path is None:
            transaction.content = self._field + transaction.content
        else:
            _put_on_top(transaction.content_path, self._field)
        transaction.size += len(self._field)


def _put_on_top(path: Path, octets: bytes) -> None:
    working = path.with_name(f"{path.name}.marked")
    with open(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as target, path.open("rb") as source:  # noqa: PTH123
        target.write(octets)
        while chunk := source.read(_CHUNK):
            target.write(chunk)
    working.rename(path)
