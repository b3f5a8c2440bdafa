"""Which of many header fields and literals in their values may stand in a message."""

from collections.abc import Sequence
from typing import final

from esa_core import Parsed

@final
class FieldGate:
    def __new__(cls, fields: Sequence[tuple[bytes, bool]], literals: Sequence[bytes]) -> FieldGate: ...
    @property
    def n_fields(self) -> int: ...
    @property
    def n_literals(self) -> int: ...
    def find(self, parsed: Parsed, more: bytes = b"") -> list[int] | None: ...
