"""Reads an exported Recipient Access Table of AsyncOS and writes it as `[[recipient_access]]` for `esa.toml`.

    # File exported by the appliance
    postmaster@example.com ACCEPT (ours) { bypass_receiving_control = yes }
    .example.com ACCEPT
    old.example.com REJECT { smtp_code = 550 smtp_text = "5.1.6 We have moved" }
    ALL REJECT

An entry and its rule stand in each line; `#` begins a comment, and comments in round brackets stand behind the rule. Parameters are taken in
the form that the Host Access Table has. Nothing is guessed: what is not understood is a note, and the line is kept without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from esa.config.importers.hat import Imported
from esa.config.recipient_access import reply_of
from esa.errors import ConfigurationError, SyntaxFault
from esa.policy.recipient_access import Form, parse_entry

Values = dict[str, str | int | bool]
_LINE = re.compile(r"(\S+)[\s,]+(ACCEPT|RELAY|REJECT)\b(.*)\Z", re.IGNORECASE)
_REST = re.compile(
    r"""\((?:[^()]*)\)                                              # comment
      | (?P<key>\w+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s",;{}]+))
      | (?P<switch>\w+)
      | [\s{},;]+""",
    re.VERBOSE,
)
_SWITCHES = {
    "bypass_ldap": "bypass_recipient_check",
    "bypass_ldap_accept": "bypass_recipient_check",
    "bypass_call_ahead": "bypass_recipient_check",
    "bypass_callahead": "bypass_recipient_check",
    "bypass_receiving_control": "bypass_receiving_control",
}
_CODES, _TEXTS = ("smtp_code", "smtp_response_code", "code"), ("smtp_text", "smtp_response", "smtp_response_text", "text")


def import_rat(text: str, *, file: str = "RAT", listener: str = "") -> Imported:
    """Translate an export. `listener` names the one listener that the entries are for; empty means all.

    Raises ConfigurationError, with the line, for what is no such export.
    """
    tables: list[tuple[Values, list[str]]] = []
    notes: list[str] = []
    everyone = False
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.match(stripped)
        where = f"{file}, line {number}"
        if match is None:
            raise ConfigurationError(
                f"{stripped[:60]!r} is no entry with ACCEPT or REJECT", where=where, mend="give the text that AsyncOS exports, unchanged"
            )
        name, rule, rest = match.groups()
        try:
            entry = parse_entry(name)
        except SyntaxFault as fault:
            notes.append(f"line {number}: {fault.what}; left out")
            continue
        values: Values = {"access": "REJECT" if rule.upper() == "REJECT" else "ACCEPT"}
        _read_rest(values, rest, f"line {number}", notes)
        _check_reply(values, f"line {number}", notes)
        if everyone:
            notes.append(f"line {number}: {name} stands behind ALL and never matches")
        everyone = everyone or entry.form is Form.EVERYONE
        if entry.form is Form.EVERYONE and values["access"] == "ACCEPT":
            notes.append(f"line {number}: ALL accepts mail for every domain; where mail is relayed to others this is an open relay")
        if tables and tables[-1][0] == values:
            tables[-1][1].append(entry.text)
        else:
            tables.append((values, [entry.text]))
    return Imported("\n".join(_written(tables, listener)), notes)


def _read_rest(values: Values, rest: str, where: str, notes: list[str]) -> None:
    place = 0
    while place < len(rest):
        match = _REST.match(rest, place)
        if match is None or match.end() == place:
            notes.append(f"{where}: {rest[place:].strip()[:60]!r} left out: it is not understood")
            return
        place = match.end()
        key = (match.group("key") or match.group("switch") or "").lower()
        given = match.group("quoted") if match.group("quoted") is not None else match.group("bare")
        if not key or key in ("smtp_response_enabled",):
            continue
        if key in _SWITCHES:
            if given is None or given.lower() in ("1", "yes", "on", "true"):
                values[_SWITCHES[key]] = True
        elif key in _CODES and given is not None and given.isdecimal():
            values["code"] = int(given)
        elif key in _TEXTS and given is not None:
            values["text"] = given.replace('\\"', '"')
        else:
            notes.append(f"{where}: {match.group().strip()} left out: there is no such parameter here")


def _check_reply(values: Values, where: str, notes: list[str]) -> None:
    """Leave out a reply that cannot be said."""
    code = int(values.get("code", 0))
    if code and (code // 100 == 2) != (values["access"] == "ACCEPT"):
        notes.append(f"{where}: code {code} left out: it does not fit {values['access']}")
        del values["code"]
        code = 0
    try:
        reply_of(code or (250 if values["access"] == "ACCEPT" else 550), str(values.get("text", "")))
    except SyntaxFault as fault:
        notes.append(f"{where}: the reply is left out: {fault.what}")
        values.pop("text", None)


def _written(tables: list[tuple[Values, list[str]]], listener: str) -> Iterator[str]:
    for values, names in tables:
        lines = ["[[recipient_access]]"]
        if len(names) > 1:
            lines += ["recipients = [", *(f"  {json.dumps(name)}," for name in names), "]"]
        else:
            lines.append(f"recipients = {json.dumps(names)}")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        if listener:
            lines.append(f"listeners = {json.dumps([listener])}")
        yield "\n".join([*lines, ""])
