"""What a word of the filter language is, and how words are found.

A word is one of a tuple `conditions` or `actions` that a module of `esa.policy.conditions` or `esa.policy.actions` offers: its name, what it takes, and
how it is built. A new word is a new entry there, or a new module; nothing else names it.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from esa.policy.filters.gates import Clause

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call, Test
    from esa.policy.view import View

MATCHES = ("==", "!=")
COMPARES = ("==", "!=", "<", "<=", ">", ">=")


class Kind(Enum):
    """What an argument or a value is; the words are for people."""

    TEXT = "a text"
    EXPRESSION = "a regular expression"
    NUMBER = "a number"
    SIZE = "a size, as 100K or 5M"
    DATE = "a date, as 12/31/2026 23:59:59"
    NETWORK = "an address, network, range or host name"
    HEADER = "the name of a header field"
    ADDRESS = "an address"
    DICTIONARY = "the name of a dictionary"
    LISTENER = "the name of a listener"
    INTERFACE = "the name of an interface"
    DELIVERY_INTERFACE = "the name of a delivery interface"
    BOUNCE_PROFILE = "the name of a bounce profile"
    RESOURCE = "the name of a text resource"
    TEXTS = "a list of texts in square brackets"
    TEXT_OR_NUMBER = "a text or a number"

    @property
    def is_number(self) -> bool:
        return self in (Kind.NUMBER, Kind.SIZE)


class Cost(IntEnum):
    """What a test costs, for cheapest first: about microseconds, as measured on ordinary mail."""

    NOTHING = 0
    FACT = 1  # of the session, by comparison
    ENVELOPE = 2
    COUNTED = 3  # by the one pass over the text
    NETWORK = 4
    DIRECTORY = 5
    HEADER = 8
    STRUCTURE = 10
    ATTACHMENT = 30
    TEXT = 100
    OCTETS = 200


@dataclass(frozen=True, slots=True)
class Signature:
    """What a word takes: arguments, of which the first `least` must be given, and a value behind one of `operators`.

    `repeats`: the last argument may be given again and again. `is_bare`: it may stand without operator and value, or must where there are none.
    """

    arguments: tuple[Kind, ...] = ()
    least: int = 0
    operators: tuple[str, ...] = ()
    value: Kind | None = None
    repeats: bool = False
    is_bare: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled test. `evaluate` gives None where it is unscanned: its fact was not found out.

    `clause`: atoms of which one is true wherever the rule is true; None if none is known. `reads`: what of the message it reads, in the words of
    `Action.changes`. A rule that is made of others has them as `parts`, and how they are `joined`; a test has its text as `label`.
    """

    evaluate: Callable[[View], bool | None]
    cost: int
    clause: Clause | None = None
    reads: frozenset[str] = frozenset()
    parts: tuple[Rule, ...] = ()
    joined: Literal["", "and", "or", "not"] = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A word of conditions. `refused`: why no message can be tested for it here. `waits_for`: the fact that is not found out yet; it is unscanned.

    `is_early`: it asks for nothing but the session, the reverse-path and one recipient, so that it can be told at RCPT.
    """

    word: str
    signature: Signature
    sentence: str
    build: Callable[[Test, Scope], Rule] | None = None
    refused: str = ""
    waits_for: str = ""
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A compiled action. `changes` names what it changes of the message: `header:<name in lower case>` or `body`. `is_final`: no filter runs after it."""

    run: Callable[[Run], None]
    changes: frozenset[str] = frozenset()
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """A word of actions. `refused` and `waits_for` as for conditions; an action that waits for something does nothing but say so in the trail.

    `outlives`: what it does stays though the message is refused later (copies, notices), or it changes who is asked.
    """

    word: str
    signature: Signature
    sentence: str
    build: Callable[[Call, Scope], Step] | None = None
    refused: str = ""
    waits_for: str = ""
    is_final: bool = False
    outlives: bool = False


def usage_of(word: Condition | Action) -> str:
    """How a word is written, for people: `header(the name of a header field) [== a regular expression]`."""
    signature = word.signature
    shown = [kind.value if number < signature.least else f"[{kind.value}]" for number, kind in enumerate(signature.arguments)]
    text = ", ".join(shown) + (" …" if signature.repeats else "")
    is_action = isinstance(word, Action)
    written = f"{word.word}({text})" if text or is_action else word.word
    if not signature.operators or signature.value is None:
        return written
    compared = f"{'|'.join(signature.operators)} {signature.value.value}"
    return f"{written} [{compared}]" if signature.is_bare else f"{written} {compared}"


def _modules(package: str) -> list[ModuleType]:
    folder = importlib.import_module(package)
    return [importlib.import_module(f"{package}.{module.name}") for module in pkgutil.iter_modules(folder.__path__)]


@functools.cache
def conditions() -> Mapping[str, Condition]:
    """All conditions by word, in alphabetic order."""
    return _found("esa.policy.conditions", "conditions")


@functools.cache
def actions() -> Mapping[str, Action]:
    """All actions by word, in alphabetic order."""
    return _found("esa.policy.actions", "actions")


def _found(package: str, name: str) -> Mapping[str, Any]:
    words = {word.word: word for module in _modules(package) for word in getattr(module, name)}
    return MappingProxyType(dict(sorted(words.items())))
