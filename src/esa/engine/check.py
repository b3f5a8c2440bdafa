"""What a check is, and how checks are found.

A check finds one kind of fact. It is one file: a module of `esa.engine.checks` (or of anyone's distribution, by an entry point of the group
"esa.checks") that offers `check`, a function from the scanner's `Materials` to a `Check`, or to None where there is nothing for it to do.
Checks never match text themselves: they name the terms they want to hear about, the scanner compiles the terms of all checks into one
program, and a check that asked for terms is called only for messages in which one of them stands.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from esa.engine import checks as package
from esa.engine.verdict import Reason
from esa.errors import ConfigurationError
from esa.message.content import Message
from esa.message.envelope import Envelope, Session

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from esa.engine.dictionary import Dictionary
    from esa.engine.expressions import Match
    from esa.engine.model import Model
    from esa_core import Batch

ENTRY_POINTS = "esa.checks"


@dataclass(frozen=True, slots=True)
class Term:
    """What a check wants to hear about: text matched caseless in folded text, between word boundaries if `whole_word`.

    `kind` may say more: one of `esa.engine.program.KINDS` (address, domain, suffix, card, ..., expression). `case`: case counts. `regions`: kinds of
    text that it counts in (`esa_core.REGION_NAMES`), all if empty.
    """

    text: str
    whole_word: bool = False
    kind: str = ""
    case: bool = False
    regions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Materials:
    """What a scanner gives the checks to build from. `saved`: by name of a check, the tables that another process saved of it (`Saving`)."""

    model: Model
    dictionaries: tuple[Dictionary, ...] = ()
    saved: Mapping[str, Mapping[str, memoryview]] = field(default_factory=lambda: MappingProxyType({}))


_NOTHING: Mapping[str, object] = MappingProxyType({})
_NO_MATCHES: Mapping[int, int] = MappingProxyType({})


def _nowhere() -> Sequence[tuple[int, Match]]:
    return ()


# Named tuples, not dataclasses: one of each is made a message, and a frozen dataclass costs a microsecond more.
class Evidence(NamedTuple):
    """One message of a batch as a check sees it. `batch` and `row` are the native results; `message.parsed` is made when asked for."""

    message: Message
    batch: Batch
    row: int
    logit: float  # of the model
    session: Session | None = None
    envelope: Envelope | None = None
    matches: Mapping[int, int] = _NO_MATCHES  # index in the check's `terms` → times it stands there
    where: Callable[[], Sequence[tuple[int, Match]]] = _nowhere  # the same by kind of region and part, made when asked for


class Finding(NamedTuple):
    """What a check found: `facts` for `Report.checks`, and `reasons` that add to the score's logit by `logit` (their sum)."""

    facts: Mapping[str, object] = _NOTHING
    reasons: Sequence[Reason] = ()
    logit: float = 0.0


class Check(Protocol):
    """One kind of fact. Holds no state of messages: one check serves many threads."""

    @property
    def name(self) -> str:
        """Key in `Report.checks`, and a word of the policy language."""

    @property
    def terms(self) -> Sequence[Term]:
        """What to listen for. Empty: the check examines every message."""

    def examine(self, evidence: Evidence) -> Finding | None:
        """The facts of one message, or None. Raises nothing for content."""


@runtime_checkable
class Saving(Check, Protocol):
    """A check with so many terms that they are saved with the compiled patterns: its factory finds the tables in `Materials.saved`."""

    def save(self) -> Mapping[str, Buffer]:
        """All that it is made of, as named tables of octets."""


@runtime_checkable
class Watching(Check, Protocol):
    """A check that may find something in messages in which none of its terms stands."""

    @property
    def examines_all(self) -> bool:
        """Whether it examines every message, though it names terms."""


Factory = Callable[[Materials], Check | None]


def factories() -> dict[str, Factory]:
    """Every check there is, by name in sorted order: the modules of `esa.engine.checks`, then entry points of other distributions.

    Raises ConfigurationError if two of them carry one name, or if an entry point cannot be loaded.
    """
    found: dict[str, Factory] = {}
    for module in pkgutil.iter_modules(package.__path__):
        found[module.name] = importlib.import_module(f"{package.__name__}.{module.name}").check
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        where = f"{entry.dist.name if entry.dist else 'a distribution'}, entry point {entry.name} = {entry.value}"
        if entry.name in found:
            raise ConfigurationError(f"a check called {entry.name!r} exists already", where=where, mend="rename it in that distribution")
        try:
            found[entry.name] = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"the check cannot be loaded: {error}", where=where, mend="repair or uninstall it") from error
    return dict(sorted(found.items()))


def build(names: Sequence[str | Check] | None, materials: Materials) -> tuple[Check, ...]:
    """The checks called for: names of found checks, or checks themselves; None means all that are found.

    Raises ConfigurationError for an unknown name, with the names there are.
    """
    if names is not None and not any(isinstance(name, str) for name in names):
        return tuple(check for check in names if not isinstance(check, str))
    known = factories()
    built: list[Check] = []
    for name in known if names is None else names:
        if not isinstance(name, str):
            built.append(name)
            continue
        if name not in known:
            raise ConfigurationError(f"no check is called {name!r}", mend=f"the checks are: {', '.join(known)}")
        check = known[name](materials)
        if check is not None:
            built.append(check)
    return tuple(built)
