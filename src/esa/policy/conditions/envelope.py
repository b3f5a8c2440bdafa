"""Conditions on the envelope. One about recipients is true if any recipient fulfils it, and its filter then acts for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from esa.policy.filters.comparing import by_operator, number_rule, text_of, text_rule
from esa.policy.filters.words import COMPARES, MATCHES, Condition, Cost, Kind, Rule, Signature

if TYPE_CHECKING:
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Test
    from esa.policy.view import View

_MATCH = Signature(operators=MATCHES, value=Kind.EXPRESSION)
_GROUP = Signature(operators=MATCHES, value=Kind.TEXT)


def _mail_from(test: Test, scope: Scope) -> Rule:
    return text_rule(test, "mail-from", lambda view: (view.envelope.reverse_path,), Cost.ENVELOPE)


def _rcpt_to(test: Test, scope: Scope) -> Rule:
    return text_rule(test, "rcpt-to", lambda view: view.envelope.recipients, Cost.ENVELOPE)


def _rcpt_count(test: Test, scope: Scope) -> Rule:
    return number_rule(test, lambda view: view.recipient_count, Cost.FACT)


def _in_group(group: str, addresses: Iterable[str], view: View) -> bool | None:
    if view.groups is None:
        return None
    return any(group in view.groups.get(address.lower(), ()) for address in addresses)


def _mail_from_group(test: Test, scope: Scope) -> Rule:
    group = text_of(test.value)
    scope.groups.add(group)
    return by_operator(test, Rule(lambda view: _in_group(group, (view.envelope.reverse_path,), view), Cost.DIRECTORY))


def _rcpt_to_group(test: Test, scope: Scope) -> Rule:
    group = text_of(test.value)
    scope.groups.add(group)
    return by_operator(test, Rule(lambda view: _in_group(group, view.envelope.recipients, view), Cost.DIRECTORY))


conditions = (
    Condition("mail-from", _MATCH, "The envelope sender matches; the null sender is the empty text.", _mail_from, is_early=True),
    Condition("rcpt-to", _MATCH, "An envelope recipient matches; the filter acts for all of them.", _rcpt_to, is_early=True),
    Condition(
        "rcpt-count",
        Signature(operators=COMPARES, value=Kind.NUMBER),
        "Envelope recipients, compared; in a content filter those that its mail policy holds for.",
        _rcpt_count,
    ),
    Condition("mail-from-group", _GROUP, "The envelope sender is in a group of the directory.", _mail_from_group),
    Condition("rcpt-to-group", _GROUP, "An envelope recipient is in a group of the directory.", _rcpt_to_group),
)
