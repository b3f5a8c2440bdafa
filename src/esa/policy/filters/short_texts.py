"""Which of many expressions may match a short text: an address, a media type, the value of a header field.

Called by `gates`. In addresses, expressions that are mere text are looked up where they must stand: a whole address, what is before or behind its @, the
end of its domain. Of others a literal must stand in the text: `gates` looks for the literals of all in one pass. Those without any are always told.
One-sided: what is not told does not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esa.engine.required import find_anchor
from esa.policy.filters.expression import Plain, plain_of, split_case
from esa_core._addresses import AddressIndex

Numbers = Sequence[int]


class ShortTexts:
    """`expressions`: expression → numbers to tell. Immutable, shared by threads.

    `literals`: folded literal → numbers to tell where it stands in the folded text. `always`: numbers to tell of any text.
    """

    def __init__(self, expressions: Mapping[str, Numbers]) -> None:
        self.always: list[int] = []
        self.literals: dict[bytes, list[int]] = {}
        for expression, numbers in expressions.items():
            self._add(expression, numbers)

    def _add(self, expression: str, numbers: Numbers) -> None:
        anchor = find_anchor(split_case(expression)[0])
        for literal in anchor.literals if anchor is not None else ():
            self.literals.setdefault(literal, []).extend(numbers)
        if anchor is None or not anchor.literals:
            self.always.extend(numbers)


class Addresses(ShortTexts):
    """The same for addresses of the envelope."""

    def __init__(self, expressions: Mapping[str, Numbers]) -> None:
        self._whole: dict[str, list[int]] = {}
        self._local_parts: dict[str, list[int]] = {}
        self._domains: dict[str, list[int]] = {}
        self._above: dict[str, list[int]] = {}
        super().__init__(expressions)
        told: dict[bytes, list[int]] = {}
        for table in (self._whole, self._local_parts, self._domains, self._above):
            for key, numbers in table.items():
                if key.isascii():
                    told.setdefault(key.encode(), []).extend(numbers)
        self._told = tuple(told.values())
        self._index = AddressIndex(list(told))

    def _add(self, expression: str, numbers: Numbers) -> None:
        text, _ = split_case(expression)
        plain = plain_of(text)
        table = None if plain is None else self._table_of(plain)
        if plain is None or table is None:
            super()._add(expression, numbers)
        else:
            table.setdefault(plain.text.casefold(), []).extend(numbers)

    def _table_of(self, plain: Plain) -> dict[str, list[int]] | None:
        """Where an expression that is mere text is looked up; None where it may stand anywhere."""
        at = plain.text.find("@")
        if plain.at_start and plain.at_end:
            return self._whole
        if plain.at_start and 0 <= at == len(plain.text) - 1:
            return self._local_parts
        if plain.at_end and plain.text.rfind("@") == 0:
            return self._domains
        if plain.at_end and at < 0 and plain.text.startswith("."):
            return self._above
        return None

    def find(self, address: str, told: list[Numbers]) -> None:
        """Add the numbers of expressions that are looked up and may match."""
        keys = self._index.find(address)
        if keys is None:
            self._find_odd(address, told)
        elif keys:
            told += [self._told[key] for key in keys]

    def _find_odd(self, address: str, told: list[Numbers]) -> None:
        """The same for an address that the index does not read."""
        folded = address.casefold()
        told.append(self._whole.get(folded, ()))
        told.append(self._local_parts.get(folded[: folded.find("@") + 1], ()))
        told.append(self._domains.get(folded[folded.rfind("@") :], ()))
        dot = folded.find(".") if self._above else -1
        while dot >= 0:
            told.append(self._above.get(folded[dot:], ()))
            dot = folded.find(".", dot + 1)
