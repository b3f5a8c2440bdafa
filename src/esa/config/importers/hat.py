"""Reads an exported Host Access Table of AsyncOS and writes it as sender groups and mail flow policies for `esa.toml`.

    $THROTTLED                      a policy: an access rule and parameters
        ACCEPT { max_rcpts_per_msg = 25  tls = "off" }
    SUSPECTLIST:                    a group: entries, then its policy
        sbrs[-3.0:-1.0]
        10.1.1. (branch office)
        $THROTTLED (Suspicious senders are throttled)
    .spamdomain.com                 an entry by itself, with a policy or a rule of its own
        REJECT
    ALL $ACCEPTED

`#` begins a comment; comments in round brackets stand behind entries and policies. Nothing is guessed: what has no counterpart is a note.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from esa.config.sender_groups import WITHOUT_EFFECT, MailFlowPolicy, base_of
from esa.config.units import format_size
from esa.config.values import LISTENER_NAME
from esa.errors import ConfigurationError, SyntaxFault
from esa.policy.host_access import EVERYONE
from esa.policy.mail_flow import SHIPPED, AccessRule
from esa.policy.senders import parse_sender

Value = str | int | bool
_TOKEN = re.compile(
    r"""\#[^\n]*                                     # comment to the end of the line
      | \((?P<remark>[^()]*)\)
      | \{(?P<block>(?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}
      | (?P<word>[^\s(){},\[\]]+(?:\[[^\]]*\])?)
      | [\s,]+""",
    re.VERBOSE,
)
_PARAMETER = re.compile(r'[\s,;]*(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))')
_RULES = {rule.value: rule for rule in AccessRule}
_DEMANDS = {"off": "off", "on": "preferred", "preferred": "preferred", "require": "required", "required": "required"}
_RENAMED = {"smtp_auth": "auth", "override_hostname": "banner_hostname", "smtp_banner_text": "banner_text"}
_RENAMED_REFUSING = {"smtp_banner_text": "reject_banner_text", "smtp_banner_code": "reject_banner_code"}
_WITHOUT_COUNTERPART = {"use_sb": "reputation is always used where a group asks for it"}


@dataclass(slots=True)
class _Group:
    name: str
    senders: list[str] = field(default_factory=list)
    policy: str = ""


@dataclass(slots=True)
class Imported:
    """What an export came to. `text` is for esa.toml; `notes` say what was left out or changed, in order."""

    text: str
    notes: list[str]


def import_hat(text: str, *, file: str = "HAT", listener: str = "") -> Imported:
    """Translate an export. `listener` names the one listener that the groups are for; empty means all.

    Raises ConfigurationError, with the line, for what is no such export.
    """
    return _Reader(list(_tokens(text, file)), file, listener).read()


def _tokens(text: str, file: str) -> Iterator[tuple[str, str, int]]:
    place, line = 0, 1
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ConfigurationError(
                f"{text[place : place + 20].split()[0]!r} does not belong in a HAT", where=f"{file}, line {line}", mend="export it again"
            )
        if match.lastgroup:
            yield match.lastgroup, match.group(match.lastgroup), line
        line += match.group().count("\n")
        place = match.end()


class _Reader:
    def __init__(self, tokens: list[tuple[str, str, int]], file: str, listener: str) -> None:
        self._tokens, self._file, self._listener = tokens, file, listener
        self._place = 0
        self._policies: dict[str, dict[str, Value]] = {}
        self._groups: list[_Group] = []
        self._notes: list[str] = []

    def read(self) -> Imported:
        while self._place < len(self._tokens):
            kind, word, line = self._next()
            if kind == "remark":
                continue
            if kind == "block":
                raise self._error("parameters without an access rule before them", line)
            if word.startswith("$"):
                rule = self._rule_ahead()
                if rule is None:
                    raise self._error(f"{word} has no access rule", line)
                self._policies[word[1:]] = self._parameters(rule, word[1:])
            elif word.upper() in _RULES:  # the default behaviour, before all policies
                self._policies["DEFAULT"] = self._parameters(_RULES[word.upper()], "DEFAULT")
            elif word.endswith(":"):
                self._group(word[:-1], None)
            else:
                self._group("", word)
        return Imported("\n".join([*self._policy_tables(), *self._group_tables()]), self._notes)

    # --- reading

    def _next(self) -> tuple[str, str, int]:
        token = self._tokens[self._place]
        self._place += 1
        return token

    def _rule_ahead(self) -> AccessRule | None:
        """Take the next word if it is an access rule."""
        if self._place < len(self._tokens):
            kind, word, _ = self._tokens[self._place]
            if kind == "word" and word.upper() in _RULES:
                self._place += 1
                return _RULES[word.upper()]
        return None

    def _group(self, name: str, first: str | None) -> None:
        """Entries up to a policy or a rule, which ends the group."""
        group = _Group(name, [] if first is None else [first])
        while self._place < len(self._tokens):
            kind, word, line = self._next()
            if kind == "remark":
                continue
            if kind == "word" and word.startswith("$"):
                group.policy = word[1:]
                break
            if kind == "word" and word.upper() in _RULES:
                group.policy = self._own_policy(_RULES[word.upper()], group)
                break
            if kind == "block" or word.endswith(":"):
                raise self._error(f"group {name or first} has no policy", line)
            group.senders.append(word)
        if not group.policy:
            raise self._error(f"group {name or first} has no policy", self._tokens[-1][2])
        self._add(group)

    def _own_policy(self, rule: AccessRule, group: _Group) -> str:
        """A policy for a rule that stands at the group itself; rules without parameters share one."""
        name = group.name or rule.value
        parameters = self._parameters(rule, name)
        if len(parameters) == 1:
            name = rule.value
        self._policies.setdefault(name, parameters)
        return name

    def _add(self, group: _Group) -> None:
        senders = []
        for text in group.senders:
            try:
                senders.append(parse_sender(text).text)
            except SyntaxFault as fault:
                self._notes.append(f"group {group.name or text}: {fault.what}; left out")
        last = self._groups[-1] if self._groups else None
        if not group.name and senders[:1] and senders[0].upper() == EVERYONE:
            group.name = EVERYONE
        if not group.name and last is not None and last.name.startswith("ENTRIES") and last.policy == group.policy:
            last.senders += senders
            return
        if group.name and not LISTENER_NAME.match(group.name):
            changed = re.sub(r"[^A-Za-z0-9_-]", "_", group.name)[:30]
            changed = changed if changed[:1].isalpha() else f"G{changed}"
            self._notes.append(f"group {group.name}: called {changed} here")
            group.name = changed
        group.name = group.name or f"ENTRIES-{1 + sum(other.name.startswith('ENTRIES') for other in self._groups)}"
        group.senders = senders
        self._groups.append(group)

    def _parameters(self, rule: AccessRule, policy: str) -> dict[str, Value]:
        values: dict[str, Value] = {"access": rule.value}
        if self._place < len(self._tokens) and self._tokens[self._place][0] == "block":
            _, block, line = self._next()
            refuses = rule in (AccessRule.REJECT, AccessRule.TCPREFUSE)
            place = 0
            while block[place:].strip(" \t\r\n;,"):
                match = _PARAMETER.match(block, place)
                if match is None:
                    raise self._error(f"{block[place:].split()[0]!r} is no parameter", line + block[:place].count("\n"))
                key = match.group(1).lower()
                key = (_RENAMED | (_RENAMED_REFUSING if refuses else {})).get(key, key)
                self._take(values, policy, key, match.group(2) if match.group(2) is not None else match.group(3))
                place = match.end()
        return values

    def _take(self, values: dict[str, Value], policy: str, key: str, given: str) -> None:
        known = MailFlowPolicy.model_fields.get(key)
        if known is None:
            why = _WITHOUT_COUNTERPART.get(key, "there is no such parameter here")
            self._notes.append(f"policy {policy}: {key} = {given} left out: {why}")
            return
        if key in WITHOUT_EFFECT:
            self._notes.append(f"policy {policy}: {key} = {given} is kept and has no effect yet: {WITHOUT_EFFECT[key]}")
        if key in ("tls", "auth"):
            if given.lower() in _DEMANDS:
                values[key] = _DEMANDS[given.lower()]
            else:
                self._notes.append(f"policy {policy}: {key} = {given} left out: it is none of {', '.join(_DEMANDS)}")
        elif known.annotation is bool:
            values[key] = given.lower() in ("on", "yes", "true", "1")
        elif known.annotation is int:
            try:
                values[key] = format_size(_octets(given)) if key == "max_message_size" else int(given)
            except ValueError:
                self._notes.append(f"policy {policy}: {key} = {given} left out: it is no number")
        else:
            values[key] = given

    def _error(self, what: str, line: int) -> ConfigurationError:
        return ConfigurationError(what, where=f"{self._file}, line {line}", mend="give the text that AsyncOS exports, unchanged")

    # --- writing

    def _policy_tables(self) -> Iterator[str]:
        used = {group.policy for group in self._groups}
        for name in sorted(used - set(self._policies) - set(SHIPPED)):
            self._notes.append(f"policy {name} is used and nowhere described; it accepts, with the defaults")
            self._policies[name] = {"access": "ACCEPT"}
        plain = base_of("", {})
        for name, given in self._policies.items():
            values = {key: value for key, value in plain.items() if base_of(name, {})[key] != value} | given
            shown = {key: value for key, value in values.items() if key in given or base_of(name, {})[key] != value}
            lines = [f"{key} = {json.dumps(value)}" for key, value in shown.items()]
            yield "\n".join([f"[mail_flow_policy.{name}]", *lines, ""])

    def _group_tables(self) -> Iterator[str]:
        for group in self._groups:
            lines = ["[[sender_group]]", f"name = {json.dumps(group.name)}", f"policy = {json.dumps(group.policy)}"]
            if len(group.senders) > 1:
                lines += ["senders = [", *(f"  {json.dumps(text)}," for text in group.senders), "]"]
            elif group.senders:
                lines.append(f"senders = {json.dumps(group.senders)}")
            if self._listener:
                lines.append(f"listeners = {json.dumps([self._listener])}")
            yield "\n".join([*lines, ""])


def _octets(given: str) -> int:
    """A size as AsyncOS writes it: octets, or with K, M or G."""
    number, unit = given[:-1], given[-1:].upper()
    return int(number) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit] if unit in "KMG" and number else int(given)
