"""Reads `esa.toml` into a Configuration, or says at once all that is wrong with it: file, line, table, key, value, and how to mend it.

`esa serve` and every other command that takes `--config` call `load`; `esa config check` calls `check`. Nothing is started or changed here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from esa.config import delivery_tls, dictionary_file, filters, recipient_access, units
from esa.config.content_filters import faults_of as faults_of_content
from esa.config.policies import as_tables
from esa.config.schema import Configuration
from esa.config.sender_groups import entries_of_files
from esa.config.values import Duration, Size, Table
from esa.errors import ConfigurationError, SyntaxFault
from esa.message.address import parse_domain

DEFAULT_FILE = "esa.toml"
SOURCE_FILES = ("file", "database", "authorities", "password_file")  # keys of sources of recipients and users that name files
Location = tuple[str | int, ...]
_Table = TypeVar("_Table", bound=Table)
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")
HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"-]+)\s*\]\]?")
_KEY = re.compile(r"\s*([\w.\"-]+)\s*=")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a configuration file."""

    file: str
    what: str
    mend: str
    line: int | None = None
    table: str = ""  # as a reader finds it: `[gateway]`, `[[listener]] "mail"`; empty for the file as a whole
    key: str = ""
    value: str = ""  # as written in the file, shortened; empty if there is none

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, f"line {self.line}" if self.line else "", self.table, self.key) if part)
        value = f" = {self.value}" if self.value and self.key else ""
        return f"{place}{value}: {self.what}.\n  {self.mend[:1].upper()}{self.mend[1:]}."


def load(path: Path | None = None, *, state: Path | None = None) -> Configuration:
    """Read and check a file; without one, `esa.toml` in the working folder if it is there, else the embedded defaults.

    `state` overrides the state folder. In the result the state folder, model and dictionaries are absolute paths, the host name is filled
    in and the number of workers is at least 1. Raises ConfigurationError that names every fault.
    """
    if path is None:
        if not Path(DEFAULT_FILE).exists():
            return resolve(Configuration(), Path.cwd(), state=state)
        path = Path(DEFAULT_FILE)
    configuration, faults = check(read(path), str(path), base=path.parent)
    if configuration is None:
        count = f"{len(faults)} things are wrong" if len(faults) > 1 else "one thing is wrong"
        raise ConfigurationError(f"{count} with this configuration\n" + "\n".join(map(str, faults)), where=str(path))
    return resolve(configuration, path.parent, state=state)


def load_leniently(path: Path | None = None) -> Configuration:
    """As `load`, for who mends files that a configuration names: whatever is wrong in these is passed by."""
    if path is None:
        if not Path(DEFAULT_FILE).exists():
            return resolve(Configuration(), Path.cwd())
        path = Path(DEFAULT_FILE)
    configuration, faults = check(read(path), str(path), base=path.parent, reads_files=False)
    if configuration is None:
        raise ConfigurationError("\n".join(map(str, faults)), where=str(path))
    return resolve(configuration, path.parent)


def read(path: Path) -> str:
    """The text of a configuration file. Raises ConfigurationError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError("there is no such file", where=str(path), mend=f"Write one with: esa config init {path}") from None
    except UnicodeDecodeError as wrong:
        raise ConfigurationError(f"octet {wrong.start} is not UTF-8", where=str(path), mend="Save the file as UTF-8 text.") from None
    except OSError as wrong:
        raise ConfigurationError(f"the file cannot be read ({wrong.strerror})", where=str(path), mend="Check its path and mode.") from wrong


def check(
    text: str, file: str = DEFAULT_FILE, *, base: Path = Path(), reads_files: bool = True
) -> tuple[Configuration | None, list[Fault]]:
    """Check a text: the configuration, or None and all its faults in order of the file. `base` is the folder that file names start from.

    `reads_files`: whether the files it names are looked at too.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        position = _POSITION.search(str(wrong))
        what = _POSITION.sub("", str(wrong))
        line = int(position.group(1)) if position and position.group(1) else text.count("\n") + 1
        return None, [Fault(file, f"this is not TOML: {what[:1].lower()}{what[1:]}", "compare with the text of: esa config init", line)]
    lines = lines_of_keys(text)
    document = as_tables(document)
    try:
        configuration = Configuration.model_validate(document)
    except ValidationError as wrong:
        faults = [fault for error in wrong.errors(include_url=False) for fault in _faults_of(error, file, document, lines)]
        return None, sorted(faults, key=lambda fault: fault.line or 0)
    missing = _missing_files(configuration, base) if reads_files else []
    faults = [_fault(place, what, mend, file, document, lines) for place, what, mend in missing]
    return (None if faults else configuration), faults


def resolve(configuration: Configuration, base: Path, *, state: Path | None = None) -> Configuration:
    """Fill in what depends on this machine: absolute paths, host name, number of workers."""
    gateway = configuration.gateway
    scan = configuration.scan
    base = base.absolute()
    changed_gateway = {
        "state": str(state.absolute() if state else base / gateway.state),
        "hostname": gateway.hostname or _machine_name(),
        "workers": gateway.workers or len(os.sched_getaffinity(0)),
    }
    changed_scan = {
        "model": str(base / scan.model) if scan.model else "",
        "dictionaries": tuple(str(path) for name in scan.dictionaries for path in dictionary_file.files_of(base / name)),
    }
    groups = tuple(
        group.model_copy(update={"sender_files": tuple(str(base / name) for name in group.sender_files)})
        for group in configuration.sender_group
    )
    accesses = tuple(
        one.model_copy(update={"recipient_files": tuple(str(base / name) for name in one.recipient_files)})
        for one in configuration.recipient_access
    )
    certificates = tuple(
        one.model_copy(update={"chain": str(base / one.chain), "key": str(base / one.key)}) for one in configuration.certificate
    )
    keys = tuple(one.model_copy(update={"key": str(base / one.key)}) for one in configuration.dkim)
    listeners = tuple(
        one.model_copy(update={"tls_client_authorities": str(base / one.tls_client_authorities)}) if one.tls_client_authorities else one
        for one in configuration.listener
    )
    return configuration.model_copy(
        update={
            "gateway": gateway.model_copy(update=changed_gateway),
            "listener": listeners,
            "certificate": certificates,
            "dkim": keys,
            "delivery_tls": _with_whole_paths(configuration.delivery_tls, delivery_tls.FILES, base),
            "authentication": configuration.authentication.model_copy(
                update={"users": str(base / configuration.authentication.users) if configuration.authentication.users else ""}
            ),
            "scan": scan.model_copy(update=changed_scan),
            "filters": configuration.filters.model_copy(
                update={key: tuple(str(base / name) for name in getattr(configuration.filters, key)) for key in ("files", "texts")}
            ),
            "sender_group": groups,
            "recipient_access": accesses,
            **{name: tuple(_absolute(one, base) for one in given) for name, given in _that_ask(configuration)},
        }
    )


def _that_ask(configuration: Configuration) -> list[tuple[str, Sequence[Table]]]:
    """Tables with keys of SOURCE_FILES, by name."""
    return [*configuration.recipient_sources, ("user_ldap", configuration.user_ldap), ("group_ldap", configuration.group_ldap)]


def _absolute(source: Table, base: Path) -> Table:
    """A source of recipients or users with whole paths."""
    return _with_whole_paths(source, SOURCE_FILES, base)


def _with_whole_paths(table: _Table, keys: Sequence[str], base: Path) -> _Table:
    """Of these keys, those that name a file."""
    return table.model_copy(update={key: str(base / getattr(table, key)) for key in keys if getattr(table, key, "")})


def _machine_name() -> str:
    try:
        return parse_domain(socket.gethostname())
    except SyntaxFault:
        return "localhost"


def _missing_files(configuration: Configuration, base: Path) -> list[tuple[Location, str, str]]:
    faults: list[tuple[Location, str, str]] = []
    scan = configuration.scan
    if scan.model and not (base / scan.model).exists():
        faults.append(
            (("scan", "model"), f"there is no {base / scan.model}", "name a model file, or leave it empty for the one esa comes with")
        )
    for number, name in enumerate(scan.dictionaries):
        if not (base / name).is_file() and not (base / name).is_dir():
            mend = "name text files with one entry a line, or a folder of them"
            faults.append((("scan", "dictionaries", number), f"there is no file {base / name}", mend))
    for number, group in enumerate(configuration.sender_group):
        try:
            entries_of_files(group, base)
        except ConfigurationError as wrong:
            faults.append((("sender_group", number, "sender_files"), f"{wrong.where}: {wrong.what}", wrong.mend or "name text files"))
    for number, table in enumerate(configuration.recipient_access):
        try:
            recipient_access.entries_of_files(table, base)
        except ConfigurationError as wrong:
            faults.append(
                (("recipient_access", number, "recipient_files"), f"{wrong.where}: {wrong.what}", wrong.mend or "name text files")
            )
    named: list[tuple[Location, str]] = [
        (("certificate", number, key), getattr(one, key))
        for number, one in enumerate(configuration.certificate)
        for key in ("chain", "key")
    ]
    named += [
        (("listener", number, "tls_client_authorities"), one.tls_client_authorities) for number, one in enumerate(configuration.listener)
    ]
    named += [(("dkim", number, "key"), one.key) for number, one in enumerate(configuration.dkim)]
    named += [(("delivery_tls", key), getattr(configuration.delivery_tls, key)) for key in delivery_tls.FILES]
    for name, sources in _that_ask(configuration):
        for number, source in enumerate(sources):
            for key in SOURCE_FILES:
                given = getattr(source, key, "")
                if given and not (base / given).is_file():
                    faults.append(((name, number, key), f"there is no file {base / given}", "name a file that is there"))
    faults += [(("filters", "files"), what, mend) for what, mend in filters.faults_of(configuration, base)]
    faults += faults_of_content(configuration, base)
    users = configuration.authentication.users
    if users and not (base / users).is_file():
        faults.append((("authentication", "users"), f"there is no file {base / users}", "write one, a line name:hash for each user"))
    for place, name in named:
        if name and not (base / name).is_file():
            faults.append((place, f"there is no file {base / name}", "name a file in PEM"))
    return faults


def lines_of_keys(text: str) -> dict[Location, int]:
    """Where each table and key stands: tomllib keeps no positions, so they are found again by their headers."""
    lines: dict[Location, int] = {}
    counts: dict[str, int] = {}
    table: Location = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            name = header.group(2).replace('"', "")
            table = tuple(name.split("."))
            if header.group(1) == "[" and table == ("mail_policy",):
                table = ("mail_policy", 0)  # as_tables: the one is the first of several
            if header.group(1) == "[[":
                table = (*table, counts.get(name, 0))
                counts[name] = counts.get(name, 0) + 1
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *key.group(1).replace('"', "").split(".")), number)
    return lines


def _faults_of(error: ErrorDetails, file: str, document: Mapping[str, Any], lines: Mapping[Location, int]) -> list[Fault]:
    context: dict[str, Any] = error.get("ctx", {})
    if error["type"] == "esa_contradictions":
        return [_fault(found.place, found.what, found.mend, file, document, lines) for found in context["contradictions"]]
    place: Location = error["loc"]
    what, mend = _explain(error["type"], place, error["input"], context)
    return [_fault(place, what, mend, file, document, lines)]


def _explain(kind: str, place: Location, value: object, context: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong and how to mend it, from pydantic's kind of error."""
    shown = _shown(value)
    limit = context.get("ge", context.get("le"))
    match kind:
        case "esa":
            return context["what"], context["mend"]
        case "extra_forbidden":
            return _unknown(place)
        case "greater_than_equal":
            return f"{_quantity(place, value)} is too small", f"write at least {_quantity(place, limit)}"
        case "less_than_equal":
            return f"{_quantity(place, value)} is too large", f"write at most {_quantity(place, limit)}"
        case "literal_error":
            words = [word for word in get_args(_annotation(place)) if isinstance(word, str)]
            close = difflib.get_close_matches(str(value), words, n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            return f"{shown} is no choice here", f"{meant}{'C' if meant else 'c'}hoose one of {', '.join(map(json.dumps, words))}"
        case "string_too_short":
            return "it may not be empty", "write a value, or leave the key out for its default"
        case "int_type":
            return f"{shown} is no whole number", "write a whole number without quotes"
        case "float_type":
            return f"{shown} is no number", "write a number without quotes"
        case "string_type":
            return f"{shown} is no text", 'write it in quotes, as "text"'
        case "tuple_type" if len(place) == 1:
            return f"{place[0]} is one of several tables", f"write its header as [[{place[0]}]]"
        case "tuple_type":
            return f"{shown} is no list", 'write a list, as ["one", "two"]'
        case "model_type" | "model_attributes_type":
            return f"{shown} is no table", f"write the settings under [{place[0]}]"
        case _:
            return f"{shown} is not valid here ({kind.replace('_', ' ')})", "compare with the text of: esa config init"


def _unknown(place: Location) -> tuple[str, str]:
    *outer, name = place
    names = list(_model(tuple(outer)).model_fields)
    close = difflib.get_close_matches(str(name), names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    of = "" if not outer else f"[[{outer[0]}]]" if isinstance(outer[-1], int) else f"[{'.'.join(map(str, outer))}]"
    known = f"settings of {of} are" if outer else "tables are"
    kind = "table" if not outer else "setting"
    return f"no {kind} is called {str(name)!r}", f"{meant}{known[:1].upper() if meant else known[:1]}{known[1:]}: {', '.join(names)}"


def _model(place: Location) -> type[BaseModel]:
    model: type[BaseModel] = Configuration
    for name in place:
        if isinstance(name, str) and name in model.model_fields:
            inner = _model_in(model.model_fields[name].annotation)
            model = inner or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _field(place: Location) -> FieldInfo | None:
    names = [name for name in place if isinstance(name, str)]
    return _model(place).model_fields.get(names[-1]) if names else None


def _annotation(place: Location) -> object:
    field = _field(place)
    return field.annotation if field else None


def _quantity(place: Location, value: object) -> str:
    """A number as its setting is written: with a unit if it has one."""
    field = _field(place)
    if field is not None and isinstance(value, (int, float)):
        if any(mark in field.metadata for mark in get_args(Duration)[1:]):
            return f'"{units.format_duration(value)}"'
        if any(mark in field.metadata for mark in get_args(Size)[1:]):
            return f'"{units.format_size(int(value))}"'
    return f"{value:g}" if isinstance(value, float) else _shown(value)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (str, bool)) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fault(place: Location, what: str, mend: str, file: str, document: Mapping[str, Any], lines: Mapping[Location, int]) -> Fault:
    line = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), None)
    table, rest = _table(place, document)
    keys = [str(name) if isinstance(name, str) else f"number {name + 1}" for name in rest]
    value = _value(place, document)
    return Fault(file, what, mend, line, table, " ".join(keys), "" if value is None or isinstance(value, (dict, list)) else _shown(value))


def _table(place: Location, document: Mapping[str, Any]) -> tuple[str, Sequence[str | int]]:
    """The header that a reader looks for, and what is left of the place below it."""
    if not place or place[0] not in Configuration.model_fields:
        return "", place
    if len(place) > 1 and place[0] == "mail_flow_policy":
        return f"[mail_flow_policy.{place[1]}]", place[2:]
    if len(place) > 1 and isinstance(place[1], int):
        entry = _value(place[:2], document)
        name = entry.get("name") if isinstance(entry, dict) else None
        return f'[[{place[0]}]] "{name}"' if isinstance(name, str) else f"[[{place[0]}]] number {place[1] + 1}", place[2:]
    return f"[{place[0]}]", place[1:]


def _value(place: Location, document: Mapping[str, Any]) -> object:
    value: Any = document
    for name in place:
        try:
            value = value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value
