"""Message filters in the configuration: the table that names their files, and the filters read from these.

The command line and the gateway read them here; `load` asks for their faults. Nothing runs a filter here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from esa.config.dictionary_file import files_of
from esa.config.values import Table, Texts
from esa.errors import ConfigurationError
from esa.policy.bounce_profile import DEFAULT
from esa.policy.filters.note import Notes
from esa.policy.filters.plan import FilterPlan
from esa.policy.filters.read import faults_in, read
from esa.policy.filters.scope import Problem, Scope, Severity

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.filters.tree import Filter, FilterFile

MAX_TEXT = 1 << 20  # octets of a text resource: it may go into every message
ENDING = ".filters"


class Filters(Table):
    """Message filters, in AsyncOS's language. They run for each message as a whole, before it is divided among mail policies."""

    files: Texts = Field(
        default=(f"filters/*{ENDING}",),
        description="Files of filters, relative to this file; * stands for any name. They run in this order, those of one * by name.",
    )
    texts: Texts = Field(
        default=("texts/*.txt",),
        description="Files of text resources: headings, footers and templates, that filters call by their names without the ending.",
    )
    left_to_right: bool = Field(
        default=False,
        description="Whether the tests of a condition are made as they are written. Else the cheapest come first; the answer is the same.",
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A file of filters, as it is written and as it reads."""

    path: Path
    text: str
    file: FilterFile


def expand(patterns: Iterable[str], base: Path) -> list[Path]:
    """The files that patterns name, in order, each once. Raises ConfigurationError for one without * that is not there."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = base / pattern
        if "*" not in path.name:
            if not path.is_file():
                raise ConfigurationError(f"there is no file {path}", mend="name files of filters that are there")
            found[path] = None
        elif path.parent.is_dir():
            found.update(dict.fromkeys(sorted(one for one in path.parent.glob(path.name) if one.is_file())))
    return list(found)


def sources(table: Filters, base: Path = Path()) -> list[Source]:
    """All files of filters. Raises ConfigurationError with file, line and column."""
    return [source_of(path) for path in expand(table.files, base)]


def source_of(path: Path) -> Source:
    """One file. Raises ConfigurationError."""
    text = text_of(path)
    return Source(path, text, read(text, str(path)))


def text_of(path: Path) -> str:
    """What is written in a file of filters. Raises ConfigurationError."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise ConfigurationError(f"octet {wrong.start} is not UTF-8", where=str(path), mend="save the file as UTF-8 text") from wrong
    except OSError as wrong:
        raise ConfigurationError(
            f"the filters cannot be read: {wrong.strerror}", where=str(path), mend="check its path and mode"
        ) from wrong


def filters_of(found: Iterable[Source]) -> Iterator[Filter]:
    """The filters of several files in the order that they run in."""
    for source in found:
        yield from source.file.filters


def resources(table: Filters, base: Path = Path()) -> dict[str, str]:
    """Text resources by name. Raises ConfigurationError for one that is no text or too long."""
    texts: dict[str, str] = {}
    for path in expand(table.texts, base):
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as wrong:
            reason = wrong.strerror if isinstance(wrong, OSError) else "it is not UTF-8"
            raise ConfigurationError(f"the text resource cannot be read: {reason}", where=str(path), mend="name text files") from wrong
        if len(text.encode()) > MAX_TEXT:
            raise ConfigurationError(f"the text resource is longer than {MAX_TEXT:,} octets", where=str(path), mend="shorten it")
        texts[path.stem] = text
    return texts


def scope_of(configuration: Configuration, base: Path = Path()) -> Scope:
    """What filters of this configuration may name. Raises ConfigurationError for a text resource that cannot be read."""
    return Scope(
        dictionaries=frozenset(path.stem for name in configuration.scan.dictionaries for path in files_of(base / name)),
        listeners=frozenset(listener.name for listener in configuration.listener),
        interfaces=frozenset(listener.interface or listener.name for listener in configuration.listener),
        delivery_interfaces=frozenset(one.name for one in configuration.delivery_interface),
        bounce_profiles=frozenset([DEFAULT, *(profile.name for profile in configuration.bounce_profile)]),
        texts=resources(configuration.filters, base),
        is_left_to_right=configuration.filters.left_to_right,
    )


def plan_of(configuration: Configuration, base: Path = Path(), scope: Scope | None = None, notes: Notes | None = None) -> FilterPlan:
    """The message filters of a configuration, compiled; its problems are not judged. `notes` are taken on the way. Raises ConfigurationError for syntax."""
    filters = filters_of(sources(configuration.filters, base))
    return FilterPlan(filters if notes is None else notes.passing(filters), scope or scope_of(configuration, base))


def faults_of(configuration: Configuration, base: Path) -> list[tuple[str, str]]:
    """What makes the filters of a configuration unusable, as (what, mend)."""
    try:
        unread = [fault for path in expand(configuration.filters.files, base) for fault in faults_in(text_of(path), str(path))]
        problems = plan_of(configuration, base).problems if not unread else []
    except ConfigurationError as wrong:
        unread = [wrong]
    if unread:
        return [(f"{wrong.where}: {wrong.what}" if wrong.where else wrong.what, wrong.mend or "mend that file") for wrong in unread]
    return [told(problem) for problem in problems if problem.severity is Severity.ERROR]


def told(problem: Problem) -> tuple[str, str]:
    """A problem as (what, mend)."""
    return (
        f"{problem.at}: filter {problem.filter!r}: {problem.what}",
        problem.mend or f"mend it, or write {problem.filter}! to keep it without running",
    )
