"""Which of many expressions may match a short text: an address, a media type, the value of a header field.

Called by `gates`. Expressions that are mere text at the end of an address, or a whole one, are looked up; of others a literal must stand in the text,
all literals being found in one pass; those without any are always told. One-sided: what is not told does not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esa.engine.required import required_clauses
from esa.policy.filters.expression import plain_of, split_case
from esa_core import Automaton, fold

_FEW = 4  # below so many expressions all are told: asking costs more than evaluating them


class ShortTexts:
    """`expressions`: expression → numbers to tell. Immutable, shared by threads."""

    def __init__(self, expressions: Mapping[str, Sequence[int]]) -> None:
        self._whole: dict[str, list[int]] = {}
        self._domains: dict[str, list[int]] = {}
        self._always: list[int] = []
        literals: dict[bytes, list[int]] = {}
        for expression, numbers in expressions.items():
            text, _ = split_case(expression)
            plain = plain_of(text)
            if plain is not None and plain.at_start and plain.at_end:
                self._whole.setdefault(plain.text.casefold(), []).extend(numbers)
            elif plain is not None and plain.at_end and plain.text.rfind("@") == 0:
                self._domains.setdefault(plain.text.casefold(), []).extend(numbers)
            else:
                clauses = () if len(expressions) < _FEW else required_clauses(text)
                for literal in clauses[0] if clauses else ():
                    literals.setdefault(literal.encode(), []).extend(numbers)
                if not clauses:
                    self._always.extend(numbers)
        self._numbers = list(literals.values())
        self._automaton = Automaton(list(literals)) if literals else None

    def find(self, text: str, found: set[int]) -> None:
        """Add the numbers of expressions that may match."""
        if self._always:
            found.update(self._always)
        if self._whole or self._domains:
            folded = text.casefold()
            numbers = self._whole.get(folded)
            if numbers is not None:
                found.update(numbers)
            if self._domains:
                numbers = self._domains.get(folded[folded.rfind("@") :])
                if numbers is not None:
                    found.update(numbers)
        if self._automaton is not None:
            for literal in self._automaton.counts(fold(text.encode("utf-8", "surrogatepass"))):
                found.update(self._numbers[literal])
