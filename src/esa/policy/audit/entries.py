"""Entries of dictionaries that say what one test of a filter says: which entry, in what kind of dictionary, and the proof that both take the same.

Called by `merging`. What an entry takes is said here as `docs/dictionaries.md` says it, for ASCII: a dictionary sees through disguises.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from esa.engine.dictionary import Entry, Options, network_text, write_entry
from esa.errors import SyntaxFault
from esa.policy.audit.facts import Literal, NumberLiteral, TextLiteral
from esa.policy.audit.language import Answer, Language, ending, exactly, find_text
from esa.policy.audit.meaning import V6
from esa.policy.filters.expression import Plain, plain_of, split_case
from esa.policy.filters.gates import network_atoms

WORDS = {  # of tests → of the test that asks a dictionary instead
    "mail-from": "mail-from-dictionary-match",
    "rcpt-to": "rcpt-to-dictionary-match",
    "subject": "subject-dictionary-match",
    "remote-ip": "remote-ip-dictionary-match",
}
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")  # where dictionaries keep IPv4


def entry_of(word: str, text: str) -> tuple[Entry, bool] | None:
    """The entry for the value of a test, and whether case counts; None if there is none that takes just the same."""
    if word == "remote-ip":
        entry, is_cased = _client(text), False
    else:
        bare, is_cased = split_case(text)
        plain = plain_of(bare)
        if plain is None or not plain.text.isascii() or not plain.text.strip():
            return None
        entry = _subject(bare) if word == "subject" else _address(plain)
    return None if entry is None or not _can_be_written(entry, options_of(word, is_cased, (entry,))) else (entry, is_cased)


def _client(text: str) -> Entry | None:
    """A network, or the whole name of a host. Not a range, nor .domain, which takes no host of that very name."""
    if network_atoms(text) is None:
        return Entry(text.lower(), kind="domain") if text.isascii() and not text.startswith(".") else None
    if "-" in text:
        return None
    network = ipaddress.ip_network(text, strict=False)
    return None if network.version == 6 and network.overlaps(_MAPPED) else Entry(network_text(network), kind="network")


def _address(plain: Plain) -> Entry | None:
    """Of an expression that is a whole address, or a whole domain with its @."""
    local_part, at, domain = plain.text.rpartition("@")
    is_whole = bool(at and domain and plain.at_end) and plain.at_start == bool(local_part)
    return Entry(plain.text) if is_whole and not any(char in ' "<>\\(),;:[]#' for char in plain.text) else None


def _subject(expression: str) -> Entry | None:
    """As the expression that it is, so that it is looked for in the same way."""
    return Entry(expression, kind="expression") if not expression.startswith("^") and not expression.endswith("$") else None


def options_of(word: str, is_cased: bool, entries: Sequence[Entry]) -> Options:
    """Of the dictionary. One of addresses ignores case, and takes for `@example.org` the bare domain too: then they are terms."""
    if word == "remote-ip":
        return Options("networks" if entries[0].kind == "network" else "domains")
    is_subject = word == "subject"
    are_terms = is_subject or is_cased or any(entry.text.startswith("@") for entry in entries)
    return Options("terms" if are_terms else "addresses", whole_words=not is_subject, case_sensitive=is_cased)


def typed(entry: Entry, options: Options) -> Entry:
    """The entry as it stands in a dictionary of this kind."""
    return entry._replace(text=entry.text.lower(), kind="address") if options.kind == "addresses" else entry


def _can_be_written(entry: Entry, options: Options) -> bool:
    try:
        write_entry(typed(entry, options), options.kind)
    except SyntaxFault:
        return False
    return True


def takes_the_same(entry: Entry, literal: Literal, *, is_cased: bool) -> bool:
    """Whether an entry takes exactly what a test is true of: by automata in both directions, networks by their ends."""
    if isinstance(literal, NumberLiteral):
        if entry.kind != "network":
            return False
        network = ipaddress.ip_network(entry.text)
        shift = 0 if network.version == 4 else V6
        ends = (int(network.network_address) + shift, 0), (int(network.broadcast_address) + shift, 0)
        return literal.allowed.intervals == (ends,)
    its = _language_of(entry, is_cased=is_cased or literal.fact.name == "remote host")  # names of hosts are in lower case already
    return find_text([literal.language], [its]) is Answer.NONE and find_text([its], [literal.language]) is Answer.NONE


def _language_of(entry: Entry, *, is_cased: bool) -> Language:
    if entry.kind == "expression":
        return Language(entry.text if is_cased else f"(?i){entry.text}")
    language = ending(entry.text) if entry.text.startswith("@") else exactly(entry.text)
    return language if is_cased else Language(f"(?i){language.expression}")


def is_as_it_came(literal: Literal) -> bool:
    """Whether a test reads the message as it came: scores of dictionaries are not counted anew when it was edited."""
    return literal.fact.version == 0 and (isinstance(literal, TextLiteral) or literal.fact.name == "client")
