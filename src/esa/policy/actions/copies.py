"""Actions that make copies or tell somebody: quarantines, blind copies, notices, archives. Each target gets one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esa.policy.filters.acting import add_once, address_at, addresses_at, text_at, writer_at
from esa.policy.filters.scope import Severity, Unusable
from esa.policy.filters.variables import writer_of
from esa.policy.filters.words import Action, Kind, Signature, Step
from esa.policy.outcome import BlindCopy, Notice

if TYPE_CHECKING:
    from esa.policy.filters.run import Run
    from esa.policy.filters.scope import Scope
    from esa.policy.filters.tree import Call

_COPY = Signature((Kind.ADDRESS, Kind.TEXT, Kind.TEXT, Kind.TEXT), 1)
_NAME = Signature((Kind.TEXT,), 1)


def _quarantine(call: Call, scope: Scope) -> Step:
    name = text_at(call, 0)
    return Step(lambda run: add_once(run.outcome.quarantines, name))


def _duplicate(call: Call, scope: Scope) -> Step:
    name = text_at(call, 0)
    return Step(lambda run: add_once(run.outcome.duplicate_quarantines, name))


def _archive(call: Call, scope: Scope) -> Step:
    name = text_at(call, 0)
    if not name or name.startswith(".") or not all(char.isalnum() or char in "-_." for char in name):
        mend = "write letters, digits, - and _"
        raise Unusable(Severity.ERROR, call.arguments[0].at, f"{name!r} is no name of a log", mend)
    return Step(lambda run: add_once(run.outcome.archives, name))


def _blind_copy(*, is_scanned: bool) -> Callable[[Call, Scope], Step]:
    def build(call: Call, scope: Scope) -> Step:
        given = text_at(call, 1)
        if is_scanned:
            scope.note_redirection(text_at(call, 0))
        addresses, subject = addresses_at(call, 0), writer_of("" if given == "$Subject" else given)  # the field stays as it is
        path, mailhost = address_at(call, 2), writer_at(call, 3)

        def run(run: Run) -> None:
            copy = BlindCopy(addresses(run), subject(run), path(run), mailhost(run), is_scanned)
            if copy.addresses and copy not in run.outcome.blind_copies:
                run.outcome.blind_copies.append(copy)

        return Step(run)

    return build


def _notice(*, with_copy: bool) -> Callable[[Call, Scope], Step]:
    def build(call: Call, scope: Scope) -> Step:
        addresses, subject = addresses_at(call, 0), writer_at(call, 1, "Message notification")
        path = address_at(call, 2)
        template = scope.resource(call, 3) if len(call.arguments) > 3 else None

        def run(run: Run) -> None:
            text = "" if template is None else template(run)
            notice = Notice(addresses(run), subject(run), path(run), text, with_copy)
            if notice.addresses and notice not in run.outcome.notices:
                run.outcome.notices.append(notice)

        return Step(run)

    return build


_NOTICE = Signature((Kind.ADDRESS, Kind.TEXT, Kind.TEXT, Kind.RESOURCE), 1)

actions = (
    Action("quarantine", _NAME, "The message goes into this quarantine after all stages, unless it is dropped before.", _quarantine),
    Action("duplicate-quarantine", _NAME, "A copy goes into this quarantine.", _duplicate, outlives=True),
    Action("archive", _NAME, "A copy is written to the mbox log of this name.", _archive, outlives=True),
    Action(
        "bcc",
        _COPY,
        "A copy to an address: with a subject, a return path and a mail host if given.",
        _blind_copy(is_scanned=False),
        outlives=True,
    ),
    Action(
        "bcc-scan",
        _COPY,
        "A copy to an address that goes through all stages as a new message; the texts are those of bcc.",
        _blind_copy(is_scanned=True),
        outlives=True,
    ),
    Action(
        "notify",
        _NOTICE,
        "A notice to an address: with a subject, a return path and a text resource if given.",
        _notice(with_copy=False),
        outlives=True,
    ),
    Action(
        "notify-copy",
        _NOTICE,
        "A notice to an address, with the message attached; the texts are those of notify.",
        _notice(with_copy=True),
        outlives=True,
    ),
)
