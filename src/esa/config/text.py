"""Writes a configuration as a commented `esa.toml`. The comments come from the schema, so they cannot disagree with it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from esa.config.schema import Configuration, table_of
from esa.config.sender_groups import DEFAULT, base_of

WIDTH = 110
HEAD = """\
# Configuration of the esa gateway. Every setting stands here with its default; what is left out keeps it.
# Check it with: esa config check        Start it with: esa serve --config esa.toml
"""


def write_text(configuration: Configuration | None = None) -> str:
    """The whole file for a configuration (the defaults without one). Reading it again gives an equal configuration."""
    configuration = configuration or Configuration()
    sections = [HEAD]
    for name in type(configuration).model_fields:
        value = getattr(configuration, name)
        if isinstance(value, dict):
            sections.extend(_policies(name, value))
            continue
        tables = value if isinstance(value, tuple) else (value,)
        if not tables:
            sections.append(_example(f"[[{name}]]", table_of(name)()))
        header = f"[[{name}]]" if isinstance(value, tuple) else f"[{name}]"
        sections.extend(_table(header, table, explained=number == 0) for number, table in enumerate(tables))
    return "\n".join(sections)


def _example(header: str, table: BaseModel) -> str:
    """A table of which there is none, as a comment."""
    return "\n".join(line if line.startswith("#") else f"# {line}" for line in _table(header, table, explained=True).splitlines()) + "\n"


def _policies(name: str, policies: Mapping[str, BaseModel]) -> Iterator[str]:
    """The first policy whole; of the others what differs from the first's defaults or from what such a name has anyway."""
    given = {DEFAULT: policies[DEFAULT].model_dump()} if DEFAULT in policies else {}
    for number, (policy, table) in enumerate(policies.items()):
        values, plain = table.model_dump(), type(table)().model_dump()
        base = {**plain, **base_of(policy, given)}
        shown = {key for key, value in values.items() if number == 0 or value != base[key] or value != plain[key]}
        yield _table(f"[{name}.{policy}]", table, explained=number == 0, shown=shown)


def _table(header: str, table: BaseModel, *, explained: bool, shown: Collection[str] | None = None) -> str:
    lines = [_comment(type(table).__doc__ or "")] if explained else []
    lines.append(header)
    values = table.model_dump()
    for key, field in type(table).model_fields.items():
        if shown is not None and key not in shown:
            continue
        if explained:
            lines.append(_comment(f"{field.description or ''}{_choices(field)}"))
        lines.append(f"{key} = {_literal(values[key])}")
    return "\n".join(lines) + "\n"


def _choices(field: FieldInfo) -> str:
    """The words of a closed vocabulary that the sentence does not name itself."""
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    unnamed = [word for word in words if f'"{word}"' not in (field.description or "")]
    return f" One of {', '.join(json.dumps(word) for word in words)}." if unnamed else ""


def _comment(sentence: str) -> str:
    return "\n".join(textwrap.wrap(sentence, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False))


def _literal(value: object) -> str:
    """A TOML literal: JSON's strings, numbers and lists of strings are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f" {_literal(key)} = {_literal(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
