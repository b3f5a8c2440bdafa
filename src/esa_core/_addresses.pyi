"""What of many entries an address is, or is of."""

from collections.abc import Sequence
from typing import final

@final
class AddressIndex:
    def __new__(cls, keys: Sequence[bytes]) -> AddressIndex: ...
    @property
    def n_keys(self) -> int: ...
    def find(self, address: str) -> Sequence[int] | None: ...
