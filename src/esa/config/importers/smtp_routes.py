"""Reads exported SMTP routes of AsyncOS and writes them as `[[smtp_route]]` for `esa.toml`.

    # File exported by the appliance
    example.com : mail1.example.com/pri=0, mail2.example.com/pri=10
    .example.com USEDNS
    ALL : [relay.example.net]

A domain and its destinations stand in each line, with a colon, a comma or spaces between them; `#` begins a comment. What is not understood is a
note, and the line is left out.
"""

from __future__ import annotations

import json
import re

from esa.config.importers.hat import Imported
from esa.errors import ConfigurationError, SyntaxFault
from esa.policy.smtp_routes import parse_key, parse_route

_LINE = re.compile(r"(\[[^\]]+\]|[^\s:,]+)\s*[:,\s]\s*(\S.*)\Z")


def import_smtp_routes(text: str, *, file: str = "SMTP routes", listener: str = "") -> Imported:
    """Translate an export. `listener` says nothing here: routes hold for all mail.

    Raises ConfigurationError, with the line, for what is no such export.
    """
    tables: dict[tuple[str, ...], list[str]] = {}
    notes: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.partition("#")[0].strip()
        if not stripped:
            continue
        match = _LINE.match(stripped)
        if match is None:
            raise ConfigurationError(
                f"{stripped[:60]!r} is no domain with destinations",
                where=f"{file}, line {number}",
                mend="give the text that AsyncOS exports, unchanged",
            )
        try:
            key = parse_key(match.group(1))
            hosts = tuple(one for one in re.split(r"[,\s]+(?!/pri)", match.group(2).strip()) if one)
            parse_route(hosts)
        except SyntaxFault as fault:
            notes.append(f"line {number}: {fault.what}; left out")
            continue
        if key in seen:
            notes.append(f"line {number}: {key} has a route already; left out")
            continue
        seen.add(key)
        tables.setdefault(hosts, []).append(key)
    written = [f"[[smtp_route]]\ndomains = {json.dumps(keys)}\nhosts = {json.dumps(hosts)}\n" for hosts, keys in tables.items()]
    return Imported("\n".join(written), notes)
