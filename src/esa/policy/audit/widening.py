"""Whether one expression is another with wider parts: `a.{0,40}b` in `[ab].{0,80}(b|c)`. Seen from their trees, where automata would be too large.

Called by `language`. One-sided: what is true is proved, what is false may be so for other reasons. A match of the narrow one is divided among its
parts; the wide one matches the same text with the same division, so that what is asked between characters is asked in the same places.
"""

from __future__ import annotations

from esa.policy.audit.pattern import Assertion, Chars, Choice, Node, Repeat, Run
from esa.policy.audit.ranges import Ranges


def is_wider(wide: Node, narrow: Node) -> bool:
    """Whether all that the narrow one matches the wide one matches."""
    if isinstance(narrow, Choice):
        return all(is_wider(wide, item) for item in narrow.items)
    if isinstance(wide, Choice):
        return any(is_wider(item, narrow) for item in wide.items)
    if isinstance(wide, Repeat) and not isinstance(narrow, Repeat):
        return wide.least <= 1 and wide.most != 0 and is_wider(wide.inner, narrow)
    match wide, narrow:
        case Chars(outer), Chars(inner):
            return _holds_all(outer, inner)
        case Assertion(outer_where), Assertion(inner_where):
            return outer_where is inner_where
        case Run(outer_items), Run(inner_items):
            return len(outer_items) == len(inner_items) and all(map(is_wider, outer_items, inner_items))
        case Repeat(outer_node, least, most), Repeat(inner_node, its_least, its_most):
            is_longer = most is None or (its_most is not None and its_most <= most)
            return least <= its_least and is_longer and is_wider(outer_node, inner_node)
        case _:
            return False


def _holds_all(outer: Ranges, inner: Ranges) -> bool:
    return all(any(low <= first and last <= high for low, high in outer) for first, last in inner)
