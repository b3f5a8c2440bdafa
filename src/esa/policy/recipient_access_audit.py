"""What is odd about recipient access though it can be served: entries that never match, that accept too much, or nothing.

`esa config check` prints the findings. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esa.policy.host_access_audit import Finding
from esa.policy.recipient_access import Form, RecipientEntry, RecipientRule

Placed = tuple[RecipientEntry, RecipientRule]
_TABLE = "recipient access of"


def audit(entries: Sequence[Placed], listener: str) -> list[Finding]:
    """All findings for the entries of one listener, in order; none for a table without entries."""
    shadowed = [Finding(listener, what, advice, _TABLE, True) for what, advice in _unreachable(entries)]
    return [*shadowed, *(Finding(listener, what, advice, _TABLE) for what, advice in _reach(entries))]


def _unreachable(entries: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    """Entries that lose all they name to entries before them; `postmaster@example.org` behind `example.org` is the usual one."""
    seen: dict[tuple[Form, str, str], tuple[int, RecipientRule]] = {}
    for number, (entry, rule) in enumerate(entries):
        found = min((seen[key] for key in _wider(entry) if key in seen), key=lambda place: place[0], default=None)
        if found is not None:
            before, its_rule = found
            over = entries[before][0]
            advice = (
                f"take it out: {over.text} says the same" if its_rule == rule else f"move it before {over.text}: the first entry decides"
            )
            yield f"{entry.text} never matches: {over.text} stands before it", advice
        seen.setdefault((entry.form, entry.local_part, entry.domain), (number, rule))


def _wider(entry: RecipientEntry) -> Iterator[tuple[Form, str, str]]:
    """Keys of all entries that match whatever this one matches."""
    yield (Form.EVERYONE, "", "")
    yield (entry.form, entry.local_part, entry.domain)
    if entry.form is Form.ADDRESS:
        yield (Form.USER, entry.local_part, "")
        yield (Form.DOMAIN, "", entry.domain)
    domain = entry.domain
    while domain := domain.partition(".")[2]:
        yield (Form.BELOW, "", domain)


def _reach(entries: Sequence[Placed]) -> Iterator[tuple[str, str]]:
    if not entries:
        return
    named = {entry.domain for entry, _ in entries if entry.form is Form.DOMAIN}
    for entry, rule in entries:
        if entry.form is Form.EVERYONE and rule.accepts:
            yield (
                f"{entry.text} accepts mail for every domain",
                "name your own domains, and end with ALL as REJECT or leave it out: where mail is relayed this is an open relay",
            )
        elif entry.form is Form.USER and rule.accepts:
            yield (
                f"{entry.text} is accepted at every domain, at those of others too",
                f"write it with your domains, as {entry.text}example.org",
            )
        elif entry.form is Form.BELOW and entry.domain not in named and not any(other.text == "ALL" for other, _ in entries):
            yield (
                f"{entry.text} takes the domains below {entry.domain}, and no entry names {entry.domain} itself",
                f"add {entry.domain}, or leave it so if nobody has mail there",
            )
        if not rule.accepts and (rule.bypass_recipient_check or rule.bypass_receiving_control):
            yield f"{entry.text} is refused, so that it bypasses nothing", "take the bypass out, or accept it"
    if not any(rule.accepts for _, rule in entries):
        yield "no recipient is accepted", "add your domains"
