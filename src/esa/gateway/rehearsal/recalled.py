"""A recorded message as rules see it: what was recorded is known, and to ask for anything else is an error of its own kind, never a guess.

`recalling` judges recorded mail with it. Of terms that were listened for it is known that they did not stand in the message; of a filter that was there
already it is known whether it acted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn, cast

from esa.gateway.deciding import Case, Decider, Hits
from esa.message.content import Message
from esa.message.subject import SUBJECT_LENGTH
from esa.policy.filters.note import Note
from esa.policy.filters.witness import Witness
from esa.policy.view import View
from esa.store.recorded import CONTENT_FILTERS, MESSAGE_FILTERS, Program, Recorded

if TYPE_CHECKING:
    from esa.engine.check import Term
    from esa.engine.scanner import Scanner
    from esa.message.envelope import Envelope
    from esa.policy.filters.run import Run
    from esa.policy.filters.tree import Call, If, Test
    from esa.policy.filters.words import Rule
    from esa_core import Parsed, Part
    from esa_core._fields import FieldGate

_SUBJECT = frozenset({"subject"})
_GOES_ON = ("deliver", "quarantine")


class NotKnown(Exception):
    """Something was asked for that is not recorded; says what, in words that many messages share."""


def not_known(what: str) -> NoReturn:
    raise NotKnown(what)


class Outline:
    """What of a parsed message is known: its subject."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    @property
    def subject(self) -> str:
        return subject_of(self._recorded)

    def __getattr__(self, name: str) -> NoReturn:
        raise NotKnown("the text of the message")


def subject_of(recorded: Recorded) -> str:
    """The subject, if all of it is recorded. Raises NotKnown."""
    subject = recorded.subject
    if not subject or len(subject) >= SUBJECT_LENGTH or "\N{REPLACEMENT CHARACTER}" in subject:
        not_known("the whole subject")
    return subject


class RecalledView(View):
    """A view of a message whose content is not there."""

    __slots__ = ("recorded",)
    recorded: Recorded

    @property
    def content(self) -> bytes:
        not_known("the text of the message")

    @content.setter
    def content(self, value: object) -> None:
        """There is none."""

    @property
    def parsed(self) -> Parsed:
        return cast("Parsed", Outline(self.recorded))

    def has_field(self, name: bytes) -> bool:
        return bool(self.header(name.decode()))

    def fields_in(self, gate: FieldGate, more: bytes) -> None:
        """Nobody knows: each filter is asked."""

    @property
    def size(self) -> int:
        return self.envelope.size

    def header(self, name: str) -> list[str]:
        if name.lower() == "subject":
            return [subject_of(self.recorded)]
        not_known(f"header field {name}")

    @property
    def attachments(self) -> list[Part]:
        not_known("attachments")


class Counts(Mapping[int, int]):
    """Counts of the terms of one configuration in a message that was recorded under another."""

    def __init__(self, recorded: Recorded, terms: tuple[Term, ...], places: list[int], scanner: Scanner) -> None:
        """`places`: for each term its number in the recorded program, -1 where it was not listened for."""
        self._recorded, self._terms, self._places, self._scanner = recorded, terms, places, scanner
        self._of_subject: Mapping[int, int] | None = None

    def __getitem__(self, number: int) -> int:
        heard, place = self._recorded.terms, self._places[number]
        if place >= 0:
            if place not in heard.counts and not heard.is_whole:
                not_known("terms of a message that had too many, or whose program is gone")
            return heard.counts[place]
        if self._terms[number].regions != _SUBJECT:
            not_known("a text that no filter looked for then")
        if self._of_subject is None:  # the subject is recorded: the scanner reads it as it reads any
            mail = f"Subject: {subject_of(self._recorded)}\r\n\r\n".encode("utf-8", "replace")
            self._of_subject = self._scanner.scan(mail).checks.get("filters", {}).get("counts", {})  # type: ignore[assignment]
            assert self._of_subject is not None
        return self._of_subject[number]

    def __iter__(self) -> Iterator[int]:
        return (number for number, place in enumerate(self._places) if place in self._recorded.terms.counts)

    def __len__(self) -> int:
        return len(self._terms)


class Dictionaries(Mapping[str, Mapping[str, object]]):
    """What of dictionaries stood in a message, of those whose entries are what they were."""

    def __init__(self, recorded: Recorded, digests: Mapping[str, str]) -> None:
        self._recorded, self._digests = recorded, digests

    def __getitem__(self, name: str) -> Mapping[str, object]:
        if self._digests.get(name) != self._recorded.program.dictionaries.get(name):
            not_known(f"entries of dictionary {name}, which has changed")
        found = self._recorded.dictionaries[name]
        return {"score": found.score, "terms": found.terms, "places": _Places()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded.dictionaries)

    def __len__(self) -> int:
        return len(self._recorded.dictionaries)


class _Places(Mapping[str, int]):
    """Where in the message entries stood is not recorded."""

    def __getitem__(self, place: str) -> int:
        not_known("where in the message entries of a dictionary stood")

    def __iter__(self) -> Iterator[str]:
        not_known("where in the message entries of a dictionary stood")

    def __len__(self) -> int:
        return 1


class Groups(Mapping[str, frozenset[str]]):
    """Groups of directories, if all that rules ask about were asked about then."""

    def __init__(self, recorded: Recorded, asked: frozenset[str]) -> None:
        self._recorded = recorded
        self._is_known = asked <= set(recorded.program.groups)

    def __getitem__(self, address: str) -> frozenset[str]:
        if not self._is_known:
            not_known("groups of directories that nobody asked about then")
        return frozenset(self._recorded.groups[address])

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded.groups)

    def __len__(self) -> int:
        return len(self._recorded.groups)


class Recall(Witness):
    """Stands beside the filters of a configuration: where one asks for what is not known, it may be known whether it acted."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: Recorded | None = None
        self.program = Program()  # of the configuration; set once its filters are compiled
        self._same: tuple[Program, dict[str, Note]] = (self.program, {})

    def test(self, name: str, test: Test, rule: Rule) -> Rule:
        return rule

    def action(self, name: str, call: Call, run: Callable[[Run], None]) -> Callable[[Run], None]:
        return run

    def statement(self, name: str, statement: If, evaluate: Callable[[View], bool | None]) -> Callable[[View], bool | None]:
        def recalled(view: View) -> bool | None:
            try:
                return evaluate(view)
            except NotKnown:
                acted = self.acted(name, view)
                if acted is None:
                    raise
                return acted

        return recalled

    def acted(self, name: str, view: View) -> bool | None:
        """Whether this filter acted then, on the same facts; None: it was another, was not reached, saw something else, or nobody can tell."""
        recorded = self.recorded
        if recorded is None or not self._sees_the_same(view, recorded):
            return None
        key = f"{CONTENT_FILTERS}/{view.mail_policy}/{name}" if view.mail_policy else f"{MESSAGE_FILTERS}/{name}"
        note = self._unchanged(recorded.program).get(key)
        if note is None or not note.is_simple:
            return None
        if (f"{CONTENT_FILTERS}/{name}" if view.mail_policy else key) in recorded.hits:
            return True
        was_reached = not view.mail_policy or recorded.policies[0].action in _GOES_ON  # else an earlier stage may have ended it
        return False if was_reached and not self._ended_before(key, recorded) else None

    @staticmethod
    def _sees_the_same(view: View, recorded: Recorded) -> bool:
        """Whether all that a filter may ask about beside the text is what it was, and the text was not edited before."""
        if (view.sender_group, view.mail_flow_policy, view.reputation) != (
            recorded.sender_group,
            recorded.mail_flow_policy,
            recorded.reputation,
        ) or view.envelope.recipients != recorded.envelope.recipients:
            return False
        if view.mail_policy and [held.policy for held in recorded.policies] != [view.mail_policy]:
            return False
        acted = {hit.rpartition("/")[2] for hit in recorded.hits}
        return not any(note.edits and key.rpartition("/")[2] in acted for key, note in recorded.program.filters.items())

    @staticmethod
    def _ended_before(key: str, recorded: Recorded) -> bool:
        """Whether a filter of the same stage that may end all others acted, and stands before this one."""
        stage = key.rpartition("/")[0]
        for other, note in recorded.program.filters.items():
            if other == key:
                return False
            other_stage, _, name = other.rpartition("/")
            if note.is_final and other_stage == stage and f"{stage.partition('/')[0]}/{name}" in recorded.hits:
                return True
        return False

    def _unchanged(self, program: Program) -> dict[str, Note]:
        """Filters that are what they were then, and look up what they looked up."""
        known, same = self._same
        if known is not program:
            has_same_words = program.dictionaries == self.program.dictionaries
            same = {
                key: note
                for key, note in self.program.filters.items()
                if program.is_known and program.filters.get(key) == note and (has_same_words or not note.looks_up)
            }
            self._same = program, same
        return same


class RecallingDecider(Decider):
    """Policy over recorded mail. `recorded` is the message that is decided about."""

    recorded: Recorded | None = None

    def _view(self, case: Case, envelope: Envelope, mail_policy: str, message: Message | None, hits: Hits) -> View:
        recorded = self.recorded
        if recorded is None or recorded.content is not None:
            return super()._view(case, envelope, mail_policy, message, hits)
        view = self._make_view(RecalledView, case, envelope, mail_policy, None, hits)
        view.recorded = recorded
        return view
