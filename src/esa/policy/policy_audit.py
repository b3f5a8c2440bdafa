"""What is odd about mail policies though they can be served: those that never match because one before them takes all that they name.

`esa config check` prints the findings. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esa.policy.host_access_audit import Finding
from esa.policy.policy_table import Member, Members
from esa.policy.recipient_access import Form

Placed = tuple[str, Members]  # the name of a policy, and whom it is for


def audit(policies: Sequence[Placed], table: str) -> list[Finding]:
    """Findings of one table, in its order."""
    return [
        Finding(name, f"never matches: {other} stands before it and takes all that it names", _advice(other), f"{table} mail policy", True)
        for number, (name, members) in enumerate(policies)
        for other in _covering(members, policies[:number])
    ]


def _advice(other: str) -> str:
    return f"move it before {other}: for each recipient the first policy that names it holds; or take it out"


def _covering(members: Members, before: Sequence[Placed]) -> Iterator[str]:
    """The first policy that leaves it nothing."""
    for name, other in before:
        if _covers(other, members):
            yield name
            return


def _covers(wide: Members, narrow: Members) -> bool:
    """Whether whoever the narrow one is for, the wide one is for."""
    if wide.except_recipients or wide.except_senders:
        return False
    if narrow.senders and wide.senders and not narrow.sender_fields <= wide.sender_fields:
        return False
    if narrow.any_of_both and narrow.senders and narrow.recipients:  # either: both halves must be covered
        halves = (Members(narrow.recipients), Members(senders=narrow.senders, sender_fields=narrow.sender_fields))
        return all(_covers(wide, half) for half in halves)
    if wide.any_of_both and wide.senders and wide.recipients:
        halves = (Members(wide.recipients), Members(senders=wide.senders, sender_fields=wide.sender_fields))
        return any(_covers(half, narrow) for half in halves)
    return _all_within(narrow.recipients, wide.recipients) and _all_within(narrow.senders, wide.senders)


def _all_within(narrow: Sequence[Member], wide: Sequence[Member]) -> bool:
    """Empty names everybody."""
    if not wide or any(one.form is Form.EVERYONE for one in wide):
        return True
    return bool(narrow) and all(any(_within(one, other) for other in wide) for one in narrow)


def _within(one: Member, other: Member) -> bool:
    """Whether all that one entry names is named by another."""
    if one.group or other.group:
        return one.group == other.group
    match other.form:
        case Form.USER:
            return one.form in (Form.USER, Form.ADDRESS) and one.local_part == other.local_part
        case Form.DOMAIN:
            return one.form in (Form.DOMAIN, Form.ADDRESS) and one.domain == other.domain
        case Form.BELOW:
            return one.form in (Form.DOMAIN, Form.ADDRESS, Form.BELOW) and (
                one.domain.endswith(f".{other.domain}") or (one.form is Form.BELOW and one.domain == other.domain)
            )
        case _:
            return (one.form, one.local_part, one.domain) == (other.form, other.local_part, other.domain)
