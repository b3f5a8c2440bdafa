"""Required literals: clauses of texts of which one must stand in whatever an expression matches, so that the one pass over all literals decides.

Called by `esa.engine.expressions`. The promise is one-sided: where an expression in RE2's syntax matches a text, one literal of each clause stands in
the folded text (`esa_core.fold`). No clauses is always a right answer; the expression is then tried on every message.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

SHORTEST = 3  # octets: shorter ones stand in every other message
MOST = 32  # alternatives of one clause; more of them wake the expression often and cost more than it does
CLAUSES = 3  # of one expression: a fourth spares little

_Strings = tuple[str, ...]  # alternatives
_INLINE = re.compile(r"\(\?[imsU]*(?:-[imsU]+)?\)")


def required_clauses(expression: str) -> tuple[_Strings, ...]:
    """The best clauses of required literals, folded, at most CLAUSES; empty if there is none whose literals have SHORTEST octets."""
    plain = _as_python(expression)
    if plain is None:
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(plain)
    except (re.error, OverflowError, RecursionError):
        return ()
    exact, clauses = _read(parsed)
    if exact is not None:
        clauses.append(exact)
    # the last letter of a literal may be folded together with a mark behind it: é for an e and an accent
    usable = [tuple(dict.fromkeys(text[:-1] for text in clause)) for clause in clauses]
    usable = [clause for clause in usable if len(clause) <= MOST and min(map(len, clause)) >= SHORTEST]
    return tuple(sorted(dict.fromkeys(usable), key=_worth, reverse=True)[:CLAUSES])


def _worth(clause: _Strings) -> tuple[int, int]:
    return min(map(len, clause)), -len(clause)


def _as_python(expression: str) -> str | None:
    """RE2's syntax as Python's parser reads it, where they differ; None where that is not known."""
    out = []
    at = 0
    in_class = False
    while at < len(expression):
        char = expression[at]
        pair = expression[at : at + 2]
        if char == "\\":
            if pair[1:] in "pPCx" and (found := re.compile(r"\\(?:[pP](?:\{[^}]*\}|.)|C|x\{[^}]*\})").match(expression, at)):
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
        elif found := _INLINE.match(expression, at):
            at = found.end()  # flags change case, dots and anchors: nothing here depends on them
            continue
        elif expression.startswith("(?<", at) and expression[at + 3 : at + 4] not in "=!":
            out.append("(?P<")
            at += 3
            continue
        out.append(char)
        at += 1
    return "".join(out)


def _cross(heads: Sequence[str], tails: Sequence[str]) -> _Strings | None:
    if len(heads) * len(tails) > MOST:
        return None
    return tuple(dict.fromkeys(head + tail for head in heads for tail in tails))


def _read(items: Iterable[tuple[Any, Any]]) -> tuple[_Strings | None, list[_Strings]]:
    """All texts that a sequence matches, if they are few; and clauses: alternatives of which one stands in every match."""
    run: _Strings = ("",)
    whole = True
    clauses: list[_Strings] = []
    for operator, argument in items:
        exact, inner = _read_one(operator, argument)
        clauses += inner
        longer = None if exact is None else _cross(run, exact)
        if longer is None:
            if run != ("",):
                clauses.append(run)
            whole = False
            run = ("",) if exact is None else exact
        else:
            run = longer
    if whole:
        return run, clauses
    if run != ("",):
        clauses.append(run)
    return None, clauses


def _read_one(operator: Any, argument: Any) -> tuple[_Strings | None, list[_Strings]]:
    if operator is sre.AT:
        return ("",), []
    if operator is sre.LITERAL:
        return ((chr(argument).lower(),), []) if 0x20 <= argument < 0x7F else (None, [])
    if operator is sre.IN:
        return _read_class(argument), []
    if operator is sre.SUBPATTERN:
        return _read(argument[-1])
    if operator is sre.BRANCH:
        return _read_branch([_read(branch) for branch in argument[1]])
    if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, body = argument
        if least == 0:
            return None, []
        exact, clauses = _read(body)
        if exact is None or least != most:
            return None, clauses if exact is None else [*clauses, exact]
        repeated: _Strings | None = exact
        for _ in range(int(least) - 1):
            repeated = None if repeated is None else _cross(repeated, exact)
        return repeated, [*clauses, exact] if repeated is None else clauses
    return None, []


def _read_class(members: Sequence[tuple[Any, Any]]) -> _Strings | None:
    chars = []
    for operator, argument in members:
        if operator is not sre.LITERAL or not 0x20 <= argument < 0x7F:
            return None
        chars.append(chr(argument).lower())
    return tuple(dict.fromkeys(chars)) if len(chars) <= 4 else None


def _read_branch(branches: Sequence[tuple[_Strings | None, list[_Strings]]]) -> tuple[_Strings | None, list[_Strings]]:
    exact = [texts for texts, _ in branches if texts is not None]
    if len(exact) == len(branches):
        together = tuple(dict.fromkeys(text for texts in exact for text in texts))
        if len(together) <= MOST:
            return together, []
    best = []
    for texts, clauses in branches:
        candidates = [*clauses, texts] if texts is not None else clauses
        if not candidates:
            return None, []
        best.append(max(candidates, key=_worth))
    together = tuple(dict.fromkeys(text for clause in best for text in clause))
    return None, [together]
