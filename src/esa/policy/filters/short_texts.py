"""Which of many expressions may match a short text: an address, a media type, the value of a header field.

Called by `gates`. Expressions that are mere text are looked up where they must stand: a whole address, what is before or behind its @, the end of its
domain. Of others a literal must stand in the text: `gates` looks for the literals of all in one pass. Those without any are always told. One-sided:
what is not told does not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esa.engine.required import find_anchor
from esa.policy.filters.expression import Plain, plain_of, split_case

_FEW = 4  # below so many expressions all are told: looking for their literals costs more than evaluating them


class ShortTexts:
    """`expressions`: expression → numbers to tell. Immutable, shared by threads.

    `literals`: folded literal → numbers to tell where it stands in the folded text. `needs_text`: whether `find` looks at the text at all.
    """

    def __init__(self, expressions: Mapping[str, Sequence[int]]) -> None:
        self._whole: dict[str, list[int]] = {}
        self._local_parts: dict[str, list[int]] = {}
        self._domains: dict[str, list[int]] = {}
        self._above: dict[str, list[int]] = {}
        self.always: list[int] = []
        self.literals: dict[bytes, list[int]] = {}
        for expression, numbers in expressions.items():
            text, _ = split_case(expression)
            plain = plain_of(text)
            table = None if plain is None else self._table_of(plain)
            if plain is not None and table is not None:
                table.setdefault(plain.text.casefold(), []).extend(numbers)
                continue
            anchor = None if len(expressions) < _FEW else find_anchor(text)
            for literal in anchor.literals if anchor is not None else ():
                self.literals.setdefault(literal, []).extend(numbers)
            if anchor is None:
                self.always.extend(numbers)
        self.needs_text = bool(self._whole or self._local_parts or self._domains or self._above)

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

    def find(self, text: str, found: set[int]) -> None:
        """Add the numbers of expressions that are looked up and may match."""
        folded = text.casefold()
        if self._whole and (numbers := self._whole.get(folded)) is not None:
            found.update(numbers)
        if self._local_parts and (numbers := self._local_parts.get(folded[: folded.find("@") + 1])) is not None:
            found.update(numbers)
        if self._domains and (numbers := self._domains.get(folded[folded.rfind("@") :])) is not None:
            found.update(numbers)
        if self._above:
            dot = folded.find(".")
            while dot >= 0:
                if (numbers := self._above.get(folded[dot:])) is not None:
                    found.update(numbers)
                dot = folded.find(".", dot + 1)
