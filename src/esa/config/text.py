"""Writes a configuration as a commented `esa.toml`. The comments come from the schema, so they cannot disagree with it."""

from __future__ import annotations

import json
import textwrap
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from esa.config.schema import Configuration

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
        tables = value if isinstance(value, tuple) else (value,)
        header = f"[[{name}]]" if isinstance(value, tuple) else f"[{name}]"
        sections.extend(_table(header, table, explained=number == 0) for number, table in enumerate(tables))
    return "\n".join(sections)


def _table(header: str, table: BaseModel, *, explained: bool) -> str:
    lines = [_comment(type(table).__doc__ or "")] if explained else []
    lines.append(header)
    values = table.model_dump()
    for key, field in type(table).model_fields.items():
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
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
