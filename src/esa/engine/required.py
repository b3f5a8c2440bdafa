"""Anchors: the literals of which one must stand in whatever an expression matches, and how far from it the match may reach.

Called by `esa.engine.expressions`. The promise is one-sided: where an expression in RE2's syntax matches, what its anchor says is true of the text.
No anchor is always a right answer; the expression is then tried on every message. The expression is read by Python's own parser as a sequence of
literals and of stretches, which are so many octets of a set: always of as many and as long texts as it matches, or of more.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from re import _constants as sre  # type: ignore[attr-defined, unused-ignore]
from re import _parser as parser  # type: ignore[attr-defined, unused-ignore]
from typing import Any, NamedTuple, TypeAlias

from esa_core import LONGEST_SHAPE, UNBOUNDED, Stretch, rarity

SHORTEST = 3  # octets: shorter ones stand in every other message
MOST = 32  # alternatives of one literal; more of them wake the expression often and cost more than it does
WIDEST = 4  # octets of a character

_Strings = tuple[str, ...]  # alternatives


class Fixed(NamedTuple):
    """One octet of each of these sets, side by side."""

    sets: tuple[int, ...]


_Element: TypeAlias = _Strings | Stretch | Fixed
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-[imsU]+)?([:)])")
_CHARACTER = re.compile(r"\\(?:[pP](?:\{[^}]*\}|.)|C|x\{[^}]*\})")
_NOTHING = Stretch(0, 0, 0)
_ALL = (1 << 256) - 1
_BEYOND = _ALL & ~((1 << 128) - 1)  # octets of characters beyond ASCII


def _set(octets: Iterable[int]) -> int:
    found = 0
    for octet in octets:
        found |= 1 << octet
    return found


# as RE2 has them
_DIGITS, _SPACES = _set(b"0123456789"), _set(b"\t\n\f\r ")
_WORD = _set(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PRINTABLE = _set(range(0x20, 0x7F))
_LINE = _ALL & ~(1 << 10)
_FREQUENT = (  # kinds of octets, and what share of a text is of them
    (_set(b" "), 0.15), (_set(b"\n"), 0.02), (_set(b"aeinorst"), 0.4), (_set(b"bcdfghjklmpquvwxyz"), 0.3), (_set(range(0x41, 0x5B)), 0.03),
    (_DIGITS, 0.04), (_set(b".,-/:"), 0.03),
)  # fmt: skip
RARE = 0.005  # the share of any other
FREQUENT = 1 / 128  # octets of a shape that stands oftener: searching all of the text costs no more
_CATEGORIES = {sre.CATEGORY_DIGIT: _DIGITS, sre.CATEGORY_SPACE: _SPACES, sre.CATEGORY_WORD: _WORD}


class Found(NamedTuple):
    """As `esa_core.Anchor`, without what it belongs to."""

    exact: bool
    literals: tuple[bytes, ...]
    shape: tuple[int, ...]
    rarest: int
    before: Stretch
    heads: tuple[bytes, ...]
    after: Stretch
    tails: tuple[bytes, ...]
    lead: Stretch
    trail: Stretch


def find_anchor(expression: str, *, case: bool = False) -> Found | None:
    """The rarest literal of an expression that is searched for in folded text, or where case counts in text as written; None if there is none.

    What the expression reads in folded text tells in octets where a match may be, if its letters are ASCII. What it reads in text as written does if it
    ignores case nowhere; its literals are then of that text. Otherwise they are folded, and the region is all that they tell.
    """
    plain = _as_python(expression)
    if plain is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(plain)
    except (re.error, OverflowError, RecursionError):
        return None
    flags = "".join(found[1] for found in _FLAGS.finditer(expression))
    exact = "i" not in flags if case else expression.isascii()
    dot = _ALL if "s" in flags else _LINE
    return _best(_Reader(exact and case, dot).sequence(parsed), exact) or _shape(_ShapeReader(exact and case, dot).sequence(parsed), exact)


def _best(elements: Sequence[_Element], exact: bool) -> Found | None:
    best: Found | None = None
    least = float("inf")
    for number, element in enumerate(elements):
        if isinstance(element, (Stretch, Fixed)):
            continue
        # the last letter may be folded together with a mark behind it: é for an e and an accent; white space is joined before texts are looked for
        texts = element if exact else tuple(text[:-1] for text in element)
        stripped = tuple(dict.fromkeys(text.strip(" ") for text in texts))
        if len(stripped) > MOST or min(map(len, stripped)) < SHORTEST:
            continue
        cost = _cost(stripped)
        if cost < least:
            least = cost
            best = _anchored(elements, number, stripped, exact)
    return best


def _anchored(elements: Sequence[_Element], number: int, literals: _Strings, exact: bool) -> Found:
    texts = tuple(text.encode() for text in literals)
    if not exact:
        return Found(False, texts, (), 0, _NOTHING, (), _NOTHING, (), _NOTHING, _NOTHING)
    element = _literal(elements[number])
    # the spaces that were stripped
    left = _hull([text[: len(text) - len(text.lstrip(" "))] for text in element])
    right = _hull([text[len(text.rstrip(" ")) :] for text in element])
    before, heads = _neighbour([left, *reversed(elements[:number])])
    after, tails = _neighbour([right, *elements[number + 1 :]])
    return Found(
        True, texts, (), 0, before, heads, after, tails, _sum([left, *elements[:number]]), _sum([right, *elements[number + 1 :]])
    )  # fmt: skip


def _shape(elements: Sequence[_Element], exact: bool) -> Found | None:
    """The rarest sets side by side, if they are rare enough."""
    best: Found | None = None
    least = FREQUENT
    for number, element in enumerate(elements):
        if not isinstance(element, Fixed):
            continue
        # as with literals: where folding joins a mark with the last letter, it is another
        sets = element.sets if exact else tuple(map(_both_cases, element.sets[:-1]))
        if not exact and any(octets & ~_PRINTABLE for octets in sets):
            continue
        for at in range(len(sets)):
            share = _share(sets[at : at + 4])
            if share < least:
                least = share
                trail = [*([] if exact else [Fixed(element.sets[-1:])]), *elements[number + 1 :]]
                best = Found(exact, (), sets, at, _NOTHING, (), _NOTHING, (), _sum(elements[:number]), _sum(trail))
    return best


def _share(sets: Sequence[int]) -> float:
    """The share of positions of a text where octets of these sets stand side by side, an estimate: like stands beside like."""
    share, before = 1.0, 0
    for octets in sets:
        one = sum(of for members, of in _FREQUENT if octets & members) + RARE
        share *= one**0.5 if octets & before else one
        before = octets
    return share


def _neighbour(elements: Iterable[_Element]) -> tuple[Stretch, tuple[bytes, ...]]:
    """The next literal, and the stretch up to it."""
    passed: list[_Element] = []
    for element in elements:
        if not isinstance(element, (Stretch, Fixed)) and min(map(len, element)) > 0:
            return _sum(passed), tuple(text.encode() for text in element)
        passed.append(element)
    return _NOTHING, ()


# --- sequences ------------------------------------------------------------------------------------------------------------------------


def _hull(texts: Sequence[str]) -> Stretch:
    """Printable ASCII texts as a stretch."""
    return Stretch(min(map(len, texts)), max(map(len, texts)), _set(b"".join(text.encode() for text in texts)))


def _literal(element: _Element) -> _Strings:
    assert not isinstance(element, (Stretch, Fixed))
    return element


def _as_stretch(element: _Element) -> Stretch:
    if isinstance(element, Fixed):
        octets = 0
        for one in element.sets:
            octets |= one
        return Stretch(len(element.sets), len(element.sets), octets)
    return element if isinstance(element, Stretch) else _hull(element)


def _sum(elements: Iterable[_Element]) -> Stretch:
    least = most = octets = 0
    for element in map(_as_stretch, elements):
        least = min(least + element.least, UNBOUNDED)
        most = min(most + element.most, UNBOUNDED)
        octets |= element.octets
    return Stretch(least, most, octets)


def _either(choices: Sequence[Sequence[_Element]]) -> Stretch:
    sums = [_sum(elements) for elements in choices]
    octets = 0
    for one in sums:
        octets |= one.octets
    return Stretch(min(one.least for one in sums), max(one.most for one in sums), octets)


def _times(element: _Element, least: int, most: int) -> Stretch:
    one = _as_stretch(element)
    return Stretch(min(one.least * least, UNBOUNDED), min(one.most * most, UNBOUNDED) if one.most else 0, one.octets)


def _cross(heads: Sequence[str], tails: Sequence[str]) -> _Strings | None:
    if len(heads) * len(tails) > MOST:
        return None
    return tuple(dict.fromkeys(head + tail for head in heads for tail in tails))


def _joined(elements: Iterable[_Element]) -> list[_Element]:
    """The same with fewer elements."""
    out: list[_Element] = []
    for element in elements:
        together = _together(out[-1], element) if out else None
        if together is None:
            out.append(element)
        else:
            out[-1] = together
    return out


def _together(first: _Element, second: _Element) -> _Element | None:
    match first, second:
        case Stretch(), Stretch():
            return _sum((first, second))
        case Fixed(), Fixed():
            return Fixed(first.sets + second.sets) if len(first.sets) + len(second.sets) <= LONGEST_SHAPE else None
        case (Stretch() | Fixed(), _) | (_, Stretch() | Fixed()):
            return None
        case _:
            return _cross(_literal(first), _literal(second))


def _is_exact(elements: Sequence[_Element]) -> bool:
    return not elements or (len(elements) == 1 and not isinstance(elements[0], (Stretch, Fixed)))


def _cost(texts: Iterable[str]) -> float:
    """The share of positions of a text at which one of these stands, an estimate."""
    return sum((2.0 ** -rarity(text.encode()) for text in texts), 0.0)


def _rarest(elements: Sequence[_Element]) -> int | None:
    """Which of them is the literal to look for."""
    costs = [(_cost(e), n) for n, e in enumerate(elements) if not isinstance(e, (Stretch, Fixed)) and min(map(len, e)) >= SHORTEST]
    return min(costs)[1] if costs else None


class _Reader:
    """Reads parsed expressions, for text as written or for folded text."""

    def __init__(self, cased: bool, dot: int) -> None:
        self.cased = cased
        self.dot = dot

    def sequence(self, items: Iterable[tuple[Any, Any]]) -> list[_Element]:
        return _joined(element for operator, argument in items for element in self._one(operator, argument))

    def _one(self, operator: Any, argument: Any) -> Sequence[_Element]:
        if operator is sre.AT:
            return ()
        if operator is sre.LITERAL:
            return (self._class([(operator, argument)]),)
        if operator is sre.IN:
            return (self._class(argument),)
        if operator is sre.ANY:
            return (self._of(self.dot),)
        if operator is sre.NOT_LITERAL:
            return (self._of(_ALL & ~self._inside([(sre.LITERAL, argument)])),)
        if operator is sre.SUBPATTERN:
            return self.sequence(argument[-1])
        if operator is sre.BRANCH:
            return self._branch([self.sequence(branch) for branch in argument[1]])
        if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, most, body = argument
            return self._repeat(int(least), UNBOUNDED if most is sre.MAXREPEAT else int(most), self.sequence(body))
        return (Stretch(0, UNBOUNDED, _ALL),)

    def _repeat(self, least: int, most: int, body: list[_Element]) -> Sequence[_Element]:
        if not body or most == 0:
            return ()
        whole = _sum(body)
        if len(body) > 1 or isinstance(body[0], (Stretch, Fixed)):
            return (_times(whole, 0, most),) if least == 0 else (*body, _times(whole, least - 1, most - 1))
        texts: _Strings = ("",)
        done = 0
        while done < least and (longer := _cross(texts, body[0])) is not None:
            texts = longer
            done += 1
        if least == done == 0 and most == 1 and len(body[0]) < 4:
            return ((*body[0], ""),)
        rest = _times(whole, least - done, most - done)
        return ((texts,) if done else ()) + ((rest,) if most > done else ())

    def _branch(self, branches: Sequence[list[_Element]]) -> Sequence[_Element]:
        if all(_is_exact(elements) for elements in branches):
            exact = tuple(dict.fromkeys(text for elements in branches for text in (_literal(elements[0]) if elements else ("",))))
            if len(exact) <= MOST:
                return (exact,)
        places = [_rarest(elements) for elements in branches]
        chosen = [(elements, n) for elements, n in zip(branches, places, strict=True) if n is not None]
        texts = tuple(dict.fromkeys(text for elements, n in chosen for text in _literal(elements[n])))
        if len(chosen) < len(branches) or len(texts) > MOST:
            return (_either(branches),)
        return (_either([elements[:n] for elements, n in chosen]), texts, _either([elements[n + 1 :] for elements, n in chosen]))

    # --- characters -------------------------------------------------------------------------------------------------------------------

    def _literals(self, characters: Sequence[int]) -> _Strings | None:
        """Printable ASCII, as it stands in the text."""
        if not all(0x20 <= character < 0x7F for character in characters):
            return None
        return tuple(dict.fromkeys(chr(character) if self.cased else chr(character).lower() for character in characters))

    def _class(self, members: Sequence[tuple[Any, Any]]) -> _Element:
        if all(operator is sre.LITERAL for operator, _ in members):
            characters = self._literals([argument for _, argument in members])
            if characters is not None and len(characters) <= 4:
                return characters
        if members[0][0] is sre.NEGATE:
            return self._of(_ALL & ~self._inside(members[1:]))
        return self._of(self._members(members))

    def _of(self, octets: int) -> _Element:
        return Stretch(1, WIDEST if octets & _BEYOND else 1, octets)

    def _members(self, members: Sequence[tuple[Any, Any]]) -> int:
        """The octets that a class's characters may have, or more."""
        found = 0
        for operator, argument in members:
            if operator is sre.LITERAL:
                found |= 1 << argument if argument < 0x80 else _BEYOND
            elif operator is sre.RANGE:
                found |= _range(*argument) | (_BEYOND if argument[1] >= 0x80 else 0)
            elif operator is sre.CATEGORY and argument in _CATEGORIES:
                found |= _CATEGORIES[argument]
            else:
                return _ALL
        if not self.cased:
            found = _both_cases(found)  # but not the sign of Kelvin and the long s: folded text has neither
        return found

    def _inside(self, members: Sequence[tuple[Any, Any]]) -> int:
        """The ASCII octets that are a class's characters for certain, as far as they are known."""
        found = 0
        for operator, argument in members:
            if operator is sre.LITERAL and argument < 0x80:
                found |= 1 << argument
            elif operator is sre.RANGE:
                found |= _range(*argument)
            elif operator is sre.CATEGORY and argument in _CATEGORIES:
                found |= _CATEGORIES[argument]
        return found


class _ShapeReader(_Reader):
    """Keeps sets of octets apart where they stand side by side, in place of literals."""

    def _literals(self, characters: Sequence[int]) -> _Strings | None:
        return None

    def _of(self, octets: int) -> _Element:
        return super()._of(octets) if octets & _BEYOND else Fixed((octets,))

    def _repeat(self, least: int, most: int, body: list[_Element]) -> Sequence[_Element]:
        if len(body) == 1 and isinstance(body[0], Fixed) and 0 < least <= most and least * len(body[0].sets) <= LONGEST_SHAPE:
            rest = _times(body[0], 0, most - least)
            return (Fixed(body[0].sets * least), *((rest,) if most > least else ()))
        return super()._repeat(least, most, body)

    def _branch(self, branches: Sequence[list[_Element]]) -> Sequence[_Element]:
        return (_either(branches),)


def _range(first: int, last: int) -> int:
    return _set(range(first, min(last, 0x7F) + 1))


def _both_cases(octets: int) -> int:
    upper, lower = _set(range(0x41, 0x5B)), _set(range(0x61, 0x7B))
    return octets | (octets & upper) << 32 | (octets & lower) >> 32


# --- syntax ---------------------------------------------------------------------------------------------------------------------------


def _as_python(expression: str) -> str | None:
    """RE2's syntax as Python's parser reads it, where they differ; None where that is not known."""
    if "{," in expression:
        return None  # as they stand, in RE2
    out = []
    at = 0
    in_class = False
    while at < len(expression):
        char = expression[at]
        pair = expression[at : at + 2]
        if char == "\\":
            if pair[1:] in "pPCx" and (found := _CHARACTER.match(expression, at)):
                out.append(r"\W")  # some character
                at = found.end()
                continue
            if pair[1:] in ("Q", "E", ""):
                return None
            out.append(r"\Z" if pair[1:] == "z" else pair)
            at += 2
            continue
        if in_class:
            if pair == "[:":
                return None
            in_class = char != "]"
        elif char == "[":
            end = at + 1 + expression.startswith("^", at + 1)
            end += expression.startswith("]", end)  # the first of a class is no end
            out.append(expression[at:end])
            at = end
            in_class = True
            continue
        elif (found := _FLAGS.match(expression, at)) and found[2] == ")":
            at = found.end()
            continue
        elif expression.startswith("(?<", at) and expression[at + 3 : at + 4] not in "=!":
            out.append("(?P<")
            at += 3
            continue
        out.append(char)
        at += 1
    return "".join(out)
