"""The tables of content filters. `schema` puts them into the configuration; `rules_of` compiles them, and message filters with them.

They speak the language of message filters: a condition and an action are written as they stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from esa.config.filters import plan_of, scope_of
from esa.config.values import Name, Table, Texts
from esa.errors import ConfigurationError
from esa.policy.content_filter import ContentPlan, Rules, content_filter
from esa.policy.filters.note import Notes
from esa.policy.filters.read import read
from esa.policy.filters.scope import Severity
from esa.policy.filters.tree import Call, Condition, Filter

if TYPE_CHECKING:
    from esa.config.schema import Configuration
    from esa.policy.filters.witness import Witness

_COLUMN = re.compile(r"line (\d+), column (\d+)")
_BEFORE_CONDITION, _BEFORE_ACTION = "x: if (", "x: if (true) { "


class ContentFilter(Table):
    """A filter that mail policies name (content_filters), asked for each recipient. Conditions and actions are those of message filters."""

    name: Name = Field(default="filter", description="Name that mail policies call it by.")
    apply: Literal["any", "all"] = Field(default="all", description='Whether one condition ("any") or every one has to hold.')
    conditions: Texts = Field(
        default=(), description="Conditions, as 'rcpt-to-dictionary-match(\"leavers\")' or 'subject == \"invoice\"'. None: every message."
    )
    actions: Texts = Field(
        default=(), description='Actions in order, as \'insert-header("X-Left", "yes")\'; a final one (drop, refuse, skip-filters …) last.'
    )


def contradictions_of(
    filters: Sequence[ContentFilter], chains: Sequence[Sequence[str]]
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What cannot stand together, as (place, what, mend). `chains`: of each mail policy the content filters it names."""
    names: set[str] = set()
    for number, one in enumerate(filters):
        place: tuple[str | int, ...] = ("content_filter", number)
        if one.name in names:
            yield (*place, "name"), f"two content filters are called {one.name!r}", "give each its own name"
        names.add(one.name)
        if not one.actions:
            yield (*place, "actions"), "it does nothing", 'say what, as actions = ["drop()"]'
        for key, texts in (("conditions", one.conditions), ("actions", one.actions)):
            for position, text in enumerate(texts):
                try:
                    _condition(text) if key == "conditions" else _action(text)
                except ConfigurationError as wrong:
                    yield (*place, key, position), f"{_place(wrong)}{wrong.what}", wrong.mend or "compare with: esa help filters"
    for number, wanted in enumerate(chains):
        for position, name in enumerate(wanted):
            if name not in names:
                mend = f"choose of {', '.join(sorted(names))}, or write a table [[content_filter]] of that name"
                what = f"no content filter is called {name!r}"
                yield ("mail_policy", number, "content_filters", position), what, mend if names else "write a table [[content_filter]]"


def _place(wrong: ConfigurationError) -> str:
    """Where in the text of one condition or action."""
    found = _COLUMN.search(wrong.where or "")
    if found is None:
        return ""
    return f"column {max(1, int(found[2]) - len(_BEFORE_CONDITION))}: "


def _condition(text: str) -> Condition:
    return read(f"{_BEFORE_CONDITION}{text}) {{ no-op(); }}").filters[0].statement.condition


def _action(text: str) -> Call:
    items = read(f"{_BEFORE_ACTION}{text.strip().rstrip(';')}; }}").filters[0].statement.then.items
    if len(items) != 1 or not isinstance(items[0], Call):
        raise ConfigurationError("this is no single action", mend='write one, as insert-header("X-Seen", "yes")')
    return items[0]


def filter_of(table: ContentFilter) -> Filter:
    """The tree of a content filter. Raises ConfigurationError."""
    return content_filter(
        table.name,
        [_condition(text) for text in table.conditions],
        [_action(text) for text in table.actions],
        needs_all=table.apply == "all",
    )


def rules_of(configuration: Configuration, base: Path = Path(), witness: Witness | None = None) -> Rules | None:
    """All filters compiled; None where there are none. Reads files; `base` is the folder that their names start from. `witness` is told what they do.

    Raises ConfigurationError for what cannot be read. Filters of which something is wrong do not run: `load` and `advice` tell of them.
    """
    of_messages = replace(scope_of(configuration, base), witness=witness)
    notes = Notes()
    messages = plan_of(configuration, base, of_messages, notes)
    tables = {table.name: table for table in configuration.content_filter}
    of_content = replace(of_messages, is_lenient=True)  # with the same terms, and the same groups asked for
    chains = dict.fromkeys(policy.content_filters for policy in configuration.mail_policy if policy.content_filters)
    content = {names: ContentPlan([filter_of(tables[name]) for name in names], of_content) for names in chains}
    is_there = content or messages.problems or not messages.is_empty  # what cannot run can still be told of
    return Rules(messages, content, of_messages, notes.of(messages)) if is_there else None


def faults_of(configuration: Configuration, base: Path) -> list[tuple[tuple[str | int, ...], str, str]]:
    """What makes content filters unusable, as (place, what, mend). Each is looked at, named by a policy or not."""
    try:
        scope = replace(scope_of(configuration, base), is_lenient=True)
    except ConfigurationError:  # told where the text resources are
        return []
    return [
        (("content_filter", number, "name"), problem.what, problem.mend or "mend it, or take it out")
        for number, table in enumerate(configuration.content_filter)
        for problem in ContentPlan([filter_of(table)], scope).problems
        if problem.severity is Severity.ERROR
    ]


def oddities_of(configuration: Configuration, base: Path) -> Iterator[tuple[str, str, str]]:
    """What keeps content filters from doing what they seem to, as (name, what, mend). Raises ConfigurationError for what cannot be read."""
    scope = scope_of(configuration, base)
    for table in configuration.content_filter:
        for problem in ContentPlan([filter_of(table)], scope).problems:
            what = problem.what.replace(", so the filter does not run", ", so that its condition never holds")
            yield table.name, what, problem.mend or "mend it, or take it out"
