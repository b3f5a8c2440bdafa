"""Conditions on dictionaries: whether the entries found in a place weigh enough. A dictionary that is not there makes its filter invalid."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from esa.policy.filters.comparing import number_of, text_of
from esa.policy.filters.gates import Clause, DictionaryAtom, LookupAtom
from esa.policy.filters.tree import Number
from esa.policy.filters.words import Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Test
    from esa.policy.view import View

_WEIGHED = Signature((Kind.DICTIONARY, Kind.NUMBER), 1, is_bare=True)
_IN_HEADER = Signature((Kind.DICTIONARY, Kind.HEADER, Kind.NUMBER), 2, is_bare=True)


def _threshold(test: Test) -> float:
    last = test.arguments[-1]
    return number_of(last) if isinstance(last, Number) else 1


def _found(place: str, *reads: str) -> Callable[[Test, Scope], Rule]:
    """In the message: one of the places that the check tells of, or all together where `place` is empty."""

    def build(test: Test, scope: Scope) -> Rule:
        name, least = text_of(test.arguments[0]), _threshold(test)

        def evaluate(view: View) -> bool:
            facts = view.dictionaries.get(name)
            if facts is None:
                return least <= 0
            if not (facts["places"].get(place, 0) if place else facts["score"]) >= least:
                return False
            view.matched.append(lambda: ", ".join(facts["terms"]))
            return True

        clause: Clause | None = frozenset({DictionaryAtom(name)}) if least > 0 else None
        return Rule(evaluate, Cost.COUNTED, clause, frozenset(reads))

    return build


def _looked_up(field: str) -> Callable[[Test, Scope], Rule]:
    """In a short text beside the message, or in the field that the second argument names."""

    def build(test: Test, scope: Scope) -> Rule:
        name, least = text_of(test.arguments[0]), _threshold(test)
        where = field or f"header:{text_of(test.arguments[1]).lower().rstrip(':')}"

        def evaluate(view: View) -> bool | None:
            if view.lookup is None:
                return None
            for text in view.texts(where):
                found = view.scores(text).get(name)
                if found is None:
                    continue
                if field:
                    view.hits[where, text, name] = found.terms
                elif beside := view.not_heard(name, found.terms):
                    view.hits[where, text, name] = beside
                if found.score >= least:
                    view.matched.append(partial(str, text))
                    return True
            return False

        return Rule(evaluate, Cost.HEADER, frozenset({LookupAtom(where, name)}), frozenset() if field else frozenset({where}))

    return build


def _client(test: Test, scope: Scope) -> Rule:
    """By the networks that hold the client's address, and what its confirmed name is; no word of AsyncOS's."""
    name, least = text_of(test.arguments[0]), _threshold(test)

    def evaluate(view: View) -> bool | None:
        if view.lookup is None:
            return None
        score = 0
        if (address := view.client_address) and (found := view.lookup.client(address).get(name)) is not None:
            score = found.score
        if view.remote_host and (found := view.scores(view.remote_host).get(name)) is not None:
            score += found.score
        if score < least:
            return False
        view.matched.append(lambda: view.client_address or view.remote_host)
        return True

    return Rule(evaluate, Cost.NETWORK)


conditions = (
    Condition(
        "dictionary-match",
        _WEIGHED,
        "Entries found anywhere in the message weigh so much at least: 1, unless said.",
        _found("", "body", "header:subject"),
    ),
    Condition(
        "subject-dictionary-match",
        _WEIGHED,
        "Entries found in the Subject weigh so much at least: 1, unless said.",
        _found("subject", "header:subject"),
    ),
    Condition(
        "body-dictionary-match",
        _WEIGHED,
        "Entries found in the message's own text, attachments left out, weigh so much at least: 1, unless said.",
        _found("body", "body"),
    ),
    Condition(
        "attachment-dictionary-match",
        _WEIGHED,
        "Entries found in attachments weigh so much at least: 1, unless said.",
        _found("attachment", "body"),
    ),
    Condition(
        "header-dictionary-match",
        _IN_HEADER,
        "Entries found in one field of this name weigh so much at least: 1, unless said.",
        _looked_up(""),
    ),
    Condition(
        "rcpt-to-dictionary-match",
        _WEIGHED,
        "Entries found in an envelope recipient weigh so much at least; the filter acts for all recipients.",
        _looked_up("rcpt-to"),
        is_early=True,
    ),
    Condition(
        "mail-from-dictionary-match",
        _WEIGHED,
        "Entries found in the envelope sender weigh so much at least: 1, unless said.",
        _looked_up("mail-from"),
        is_early=True,
    ),
    Condition(
        "remote-ip-dictionary-match",
        _WEIGHED,
        "Networks that the client is in, and entries that are its name, weigh so much at least: 1, unless said.",
        _client,
    ),
)
