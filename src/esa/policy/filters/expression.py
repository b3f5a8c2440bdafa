"""Regular expressions of filters: one syntax, RE2's. What it does not have is refused with its place and a rewrite; simple ones are matched without it.

Called when filters are compiled, and by conditions that look at short texts: addresses, names, values of header fields.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

MEMORY = 8 << 20  # octets of the states that one expression may keep: short texts need few of them
_IGNORES_CASE = "(?i)"
_PLAIN = re.compile(r"(\^)?((?:[\w@ \-,:;<>#&%!='/\"~`]|\\[^\w\s])*)(\$)?", re.ASCII)
_UNESCAPE = re.compile(r"\\(.)")
_REFUSED = {
    "(?=": "look-ahead",
    "(?!": "negative look-ahead",
    "(?<=": "look-behind",
    "(?<!": "negative look-behind",
    "(?P=": "a back-reference",
    "(?(": "a condition on a group",
    "(?>": "an atomic group",
    "(?#": "a comment in an expression",
}
Matcher = Callable[[str], bool]


class Fault(NamedTuple):
    """What is wrong with an expression: `offset` in its characters."""

    offset: int
    what: str
    mend: str


class Plain(NamedTuple):
    """An expression that is mere text: where it must stand, if anywhere."""

    text: str
    at_start: bool
    at_end: bool


def split_case(expression: str) -> tuple[str, bool]:
    """The expression without a leading (?i), and whether case counts."""
    return (expression[len(_IGNORES_CASE) :], False) if expression.startswith(_IGNORES_CASE) else (expression, True)


def plain_of(expression: str) -> Plain | None:
    """The text that an expression without (?i) is, if it is one."""
    found = _PLAIN.fullmatch(expression)
    return Plain(_UNESCAPE.sub(r"\1", found[2]), bool(found[1]), bool(found[3])) if found else None


def fault_of(expression: str) -> Fault | None:
    """Why RE2 cannot take an expression; None if it can."""
    found = _refused(expression)
    if found is not None:
        return found
    try:
        _compiled(expression)
    except ValueError as error:
        return Fault(0, f"this regular expression cannot be used: {error}", "write it in RE2's syntax")
    return None


def matches_empty(expression: str) -> bool:
    """Whether it matches where nothing stands; the expression has no fault."""
    return bool(_compiled(expression).search("") is not None)


@functools.lru_cache(maxsize=65_536)
def matcher(expression: str) -> Matcher:
    """Whether an expression without a fault matches somewhere in a text."""
    text, is_cased = split_case(expression)
    plain = plain_of(text)
    if plain is not None and is_cased:
        return _matcher_of(plain)
    compiled = _compiled(expression)
    if plain is not None and plain.text.isascii():
        quick = _matcher_of(plain._replace(text=plain.text.lower()))
        return lambda text: quick(text.lower()) if text.isascii() else compiled.search(text) is not None
    return lambda text: compiled.search(text) is not None


def found_in(expression: str, text: str) -> str | None:
    """The first text that it matches; None if none."""
    found = _compiled(expression).search(text)
    return None if found is None else str(found.group())


def count_in_octet_text(expression: str, text: bytes, most: int) -> int:
    """How often it matches in UTF-8 text, up to `most`; matches of nothing do not count."""
    return _count(_compiled(expression), text, most)


def count_in_octets(expression: str, content: bytes, most: int) -> int:
    """The same over octets, of which each is a character of its number."""
    return _count(_compiled_octets(expression), content, most)


def _count(compiled: Any, content: bytes, most: int) -> int:
    count = 0
    for found in compiled.finditer(content):
        if found.end() > found.start():
            count += 1
            if count == most:
                break
    return count


def _matcher_of(plain: Plain) -> Matcher:
    wanted = plain.text
    if plain.at_start and plain.at_end:
        return lambda text: text == wanted
    if plain.at_start:
        return lambda text: text.startswith(wanted)
    if plain.at_end:
        return lambda text: text.endswith(wanted)
    return lambda text: wanted in text


@functools.lru_cache(maxsize=65_536)
def _compiled(expression: str) -> Any:
    """Raises ValueError with RE2's words."""
    return _compile(expression, is_octets=False)


@functools.lru_cache(maxsize=4096)
def _compiled_octets(expression: str) -> Any:
    return _compile(expression, is_octets=True)


def _compile(expression: str, *, is_octets: bool) -> Any:
    import re2  # late: only who has filters loads it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    if is_octets:
        options.encoding = re2.Options.Encoding.LATIN1
        octets = expression.encode("latin-1", "replace")
    try:
        return re2.compile(octets if is_octets else expression, options)
    except re2.error as error:
        text = error.args[0] if error.args else "unknown"
        raise ValueError(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)) from None


def _refused(expression: str) -> Fault | None:
    """The first construct of Python's syntax that RE2 has not."""
    at = 0
    in_class = False
    while at < len(expression):
        char = expression[at]
        if char == "\\":
            escape = expression[at + 1 : at + 2]
            if not in_class and escape.isdigit() and escape != "0":
                mend = f"RE2 has none: write out what {expression[at : at + 2]} may stand for, as (aa|bb|cc) for ([abc])\\1"
                return Fault(at, f"{expression[at : at + 2]} is a back-reference", mend)
            if escape == "Z":
                return Fault(at, "\\Z is not in RE2's syntax", f"write \\z: {expression[:at]}\\z{expression[at + 2 :]}")
            if escape in ("u", "U"):
                digits = 4 if escape == "u" else 8
                code = expression[at + 2 : at + 2 + digits]
                mend = f"write \\x{{{code}}}: {expression[:at]}\\x{{{code}}}{expression[at + 2 + digits :]}"
                return Fault(at, f"\\{escape} is not in RE2's syntax", mend)
            at += 2
            continue
        if in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
            at += 1 + (expression[at + 1 : at + 2] == "^")
            at += expression[at : at + 1] == "]"  # the first ] of a class is a member of it
            continue
        elif char == "(":
            opening = next((one for one in _REFUSED if expression.startswith(one, at)), None)
            if opening is not None:
                return Fault(at, f"{opening} is {_REFUSED[opening]}, which RE2 has not", _rewrite(expression, at, opening))
        elif char == "+" and at and expression[at - 1] in "*+?" and expression[max(at - 2, 0)] != "\\":
            rest = expression[:at] + expression[at + 1 :]
            return Fault(at, "a possessive repetition is not in RE2's syntax", f"leave out the last +: {rest}")
        at += 1
    return None


def _rewrite(expression: str, at: int, opening: str) -> str:
    """What to write in the place of a construct, as exactly as can be said."""
    end = _closing(expression, at)
    before, inner, behind = expression[:at], expression[at + len(opening) : end], expression[end + 1 :]
    match opening:
        case "(?=" if not behind:
            return f"write what must follow: {before}{inner}"
        case "(?<=" if not before:
            return f"write what must stand before: {inner}{behind}"
        case "(?!" if before in ("", "^"):
            return f'write two tests: … == "{before}{behind}" and not … == "{before}{inner}"'
        case "(?!":
            return f'write two tests: … == "{before}{behind}" and not … == "{before}{inner}"'
        case "(?<!":
            return f'write two tests: … == "{before}{behind}" and not … == "{before}{inner}{behind}"'
        case "(?=":
            return f'write two tests: … == "{before}{behind}" and … == "{before}{inner}"'
        case "(?<=":
            return f"write the text before it as part of the expression: {before}{inner}{behind}"
        case "(?#":
            return f"leave it out: {before}{behind}"
        case "(?>":
            return f"write a plain group: {before}(?:{inner}){behind}"
        case "(?P=":
            return "write out what the group may stand for, as (aa|bb|cc) for (?P<x>[abc])(?P=x)"
        case _:
            return "write one test for each case, joined by or"


def _closing(expression: str, at: int) -> int:
    """The parenthesis that closes the one at `at`; the end if none does."""
    depth = 0
    in_class = False
    while at < len(expression):
        char = expression[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return at
        at += 1
    return len(expression)
