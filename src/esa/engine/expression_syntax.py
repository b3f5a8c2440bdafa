"""What is wrong with a regular expression, where in it, and what to write instead: the syntax is RE2's.

Called by whoever reads expressions that people wrote. Python's and Perl's constructs that need backtracking are named with the column they begin
at; what else RE2 refuses is told in its own words.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

_GROUPS = {  # what begins behind a parenthesis → what it is, and what to do
    "?<=": ("look-behind", "match the text before it too, as in `abc(def)` for `(?<=abc)def`; or \\b for the begin of a word"),
    "?<!": ("negative look-behind", "write \\b where a word shall begin, or [^…] for the character that may stand before it"),
    "?=": ("look-ahead", "match the text behind it too, as in `abcdef` for `abc(?=def)`; or \\b for the end of a word"),
    "?!": ("negative look-ahead", "write [^…] for the character that may follow"),
    "?>": ("an atomic group", "write (?: for (?>: RE2 never backtracks"),
    "?P=": ("a reference to what a group matched", "write the text that shall repeat once more"),
    "?(": ("a condition on a group", "write both cases with |"),
    "?#": ("a comment", "write it behind the entry"),
}
_ESCAPES = {"Z": "write \\z for the end of the text", "G": "leave it out", "K": "leave it out", "h": "write [ \\t]", "R": "write \\r?\\n"}


class SyntaxProblem(NamedTuple):
    """`column` counts characters of the expression, from 1."""

    column: int
    what: str
    mend: str


def expression_fault(text: str) -> SyntaxProblem | None:
    """The first thing that RE2 cannot do, that is written wrongly, or that would match anywhere; None if the expression can be used."""
    import re2  # late: only who has expressions loads it

    found = _foreign(text)
    if found is not None:
        return found
    try:
        compiled = re2.compile(text, _options())
    except Exception as error:  # re2.error
        words = str(error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else error)
        fragment = words.rpartition(": ")[2]
        column = max(text.find(fragment), 0) if fragment else 0
        return SyntaxProblem(column + 1, words, "put a backslash before a character that stands for itself")
    if compiled.search("") is not None:
        return SyntaxProblem(1, "this regular expression matches empty text", "say what must stand there, as with + in the place of *")
    return None


@functools.cache
def _options() -> object:
    import re2

    options = re2.Options()
    options.log_errors = False
    return options


def _foreign(text: str) -> SyntaxProblem | None:
    """The first construct that other engines know and RE2 does not, outside character classes."""
    at, in_class = 0, False
    while at < len(text):
        character = text[at]
        following = text[at + 1 : at + 2]
        if character == "\\":
            if not in_class and following in "123456789" and following:
                mend = "write the text that shall repeat once more"
                return SyntaxProblem(at + 1, f"\\{following} refers to what a group matched, which RE2 cannot do", mend)
            if not in_class and following in _ESCAPES:
                return SyntaxProblem(at + 1, f"RE2 has no \\{following}", _ESCAPES[following])
            at += 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            at += 2 if following == "^" else 1
            at += text[at : at + 1] == "]"  # the first one in a class stands for itself
            continue
        elif character == "(":
            for begin, (name, mend) in _GROUPS.items():
                if text.startswith(begin, at + 1):
                    return SyntaxProblem(at + 1, f"({begin} is {name}, which RE2 cannot do", mend)
        elif character in "*+?}" and following == "+":
            return SyntaxProblem(
                at + 1, f"{character}+ is a possessive quantifier, which RE2 has not", "leave out the last +: it never backtracks"
            )
        at += 1
    return None
