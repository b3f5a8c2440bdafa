"""Which entries of the queue are meant: by identifier, destination, sender or recipient; what is given must all hold.

The command line makes one, and it travels to `deliver` as JSON. As AsyncOS's showrecipients, deleterecipients and bouncerecipients choose.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from esa.errors import StoreError
from esa.store.entry import COLUMNS, STATES, Entry, State, entry_of


@dataclass(frozen=True, slots=True)
class Selection:
    """`keys`: identifiers of entries or messages; None: any. `sender`, `recipient`: an address, or `@domain`; `<>` is the null reverse-path."""

    keys: tuple[str, ...] | None = None
    destination: str = ""
    sender: str = ""
    recipient: str = ""

    @property
    def is_everything(self) -> bool:
        return self == EVERYTHING

    def holds(self, entry: Entry) -> bool:
        """Whether it is one of those, by what is not asked of the table."""
        if self.sender and not _fits(entry.envelope.reverse_path or "<>", self.sender):
            return False
        if self.recipient:
            return any(one.status != "delivered" and _fits(one.address, self.recipient) for one in entry.recipients)
        return True

    def to_request(self) -> dict[str, object]:
        keys = None if self.keys is None else list(self.keys)
        return {"keys": keys, "destination": self.destination, "sender": self.sender, "recipient": self.recipient}

    @classmethod
    def from_request(cls, request: Mapping[str, object]) -> Self:
        """Raises StoreError."""
        keys = request.get("keys")
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise StoreError("keys is a list of message identifiers")
        texts = [request.get(name, "") for name in ("destination", "sender", "recipient")]
        if not all(isinstance(text, str) for text in texts):
            raise StoreError("destination, sender and recipient are texts")
        return cls(None if keys is None else tuple(keys), *map(str, texts))


EVERYTHING = Selection()


def _fits(address: str, wanted: str) -> bool:
    text = wanted.lower()
    return address.lower().endswith(text) if text.startswith("@") else address.lower() == text


def selected(connection: sqlite3.Connection, selection: Selection, *, states: Sequence[State] = STATES) -> Iterator[Entry]:
    """The entries, oldest first; of each key or message identifier in its turn where such are given."""
    marks = ",".join("?" * len(states))
    where, given = f"state IN ({marks})", list[object](states)
    if selection.destination:
        where, given = f"{where} AND destination = ? COLLATE NOCASE", [*given, selection.destination]
    if selection.keys is None:
        rows = connection.execute(f"SELECT {COLUMNS} FROM entry WHERE {where} ORDER BY accepted_at, key", given)  # noqa: S608
        yield from filter(selection.holds, map(entry_of, rows))
        return
    for key in dict.fromkeys(selection.keys):
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM entry WHERE (key = ? OR message = ?) AND {where} ORDER BY key",  # noqa: S608
            (key, key, *given),
        )
        yield from filter(selection.holds, map(entry_of, rows))
