"""A judgement as `esa trace` shows it: text for people, and documents for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from esa.cli.terminal import coloured, counted, printable, say

if TYPE_CHECKING:
    from esa.gateway.rehearsal.judgement import Difference, Judgement, Part, Stage

_RED = ("4", "5", "refuse", "drop", "reset", "deferred")
_YELLOW = ("quarantine", "suspect", "unscanned", "does not run")
_COUNTED = ("reason", "condition", "action")  # parts of which the answer stands first


def document(judgement: Judgement, *, has_times: bool) -> dict[str, object]:
    """One object for JSON."""
    mail = judgement.mail
    return {
        "id": mail.identifier,
        "message": mail.name,
        "client": mail.session.client_address,
        "reverse_path": mail.envelope.reverse_path,
        "reply": judgement.reply,
        "step": str(judgement.step),
        "verdict": judgement.verdict or None,
        "score": None if judgement.report is None else round(judgement.report.score, 4),
        "recipients": [
            {
                "address": fate.recipient,
                "outcome": str(fate.outcome),
                "step": str(fate.where),
                "reason": fate.reason,
                "reply": fate.reply,
                "policy": fate.policy or None,
                "quarantines": list(fate.quarantines),
                "destinations": list(fate.destinations),
                "mailhost": fate.mailhost or None,
                "edits": list(fate.edits),
            }
            for fate in judgement.fates
        ],
        "stages": [stage_document(stage, has_times=has_times) for stage in judgement.stages],
        "missing": list(judgement.missing),
    }


def stage_document(stage: Stage, *, has_times: bool) -> dict[str, object]:
    return {
        "stage": stage.name,
        "subject": stage.subject,
        "answer": stage.answer,
        "rule": stage.rule,
        "place": stage.place,
        "reason": stage.reason,
        "acts": stage.acts,
        **({"micros": _rounded(stage.microseconds)} if has_times else {}),
        "parts": [
            {
                "kind": part.kind,
                "text": part.text,
                "answer": part.answer,
                "detail": part.detail,
                "place": part.place,
                **({"micros": _rounded(part.microseconds)} if has_times else {}),
            }
            for part in stage.parts
        ],
    }


def _rounded(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds, 1)


def print_judgement(judgement: Judgement, *, has_times: bool, shows_all: bool) -> None:
    """All stages, and at the end what becomes of each recipient."""
    shown = [stage for stage in judgement.stages if stage.acts or shows_all]
    lines: list[str] = []
    quiet: dict[str, int] = {}
    for stage in judgement.stages:
        if not stage.acts and not shows_all:
            quiet[stage.name] = quiet.get(stage.name, 0) + 1
    for number, stage in enumerate(shown):
        lines += _lines(stage, has_times=has_times)
        following = shown[number + 1].name if number + 1 < len(shown) else ""
        if stage.name == "scan" and "message filter" in quiet and following != "message filter":
            lines.append(_quiet("message filter", quiet.pop("message filter"), others=False))
        elif stage.name == "message filter" and following != "message filter" and "message filter" in quiet:
            lines.append(_quiet("message filter", quiet.pop("message filter"), others=True))
    lines += [_quiet(name, count, others=False) for name, count in quiet.items()]
    for fate in judgement.fates:
        elsewhere = f", to {', '.join(fate.destinations)}" if fate.destinations not in ((), (fate.recipient,)) else ""
        reason = f" ({fate.reason})" if fate.reason else ""
        lines.append(f"{printable(fate.recipient)}: {_coloured(str(fate.outcome))}{printable(elsewhere + reason)}")
    click.echo("\n".join(lines))
    if judgement.missing:
        say(f"not answered here, as nobody is asked: {', '.join(map(printable, judgement.missing))}; see --resolver and --record")


def _quiet(name: str, count: int, *, others: bool) -> str:
    noun = f"other {name}" if others else name
    return f"({counted(count, noun)} without effect; --all shows {'it' if count == 1 else 'them'})"


def print_differences(found: Sequence[Difference], names: tuple[str, str], *, has_times: bool, shows_all: bool) -> None:
    """Stages that differ, each as both sides have it."""
    shown = [one for one in found if shows_all or any(stage is not None and stage.acts for stage in (one.before, one.after))]
    lines: list[str] = []
    for one in shown:
        for mark, stage in (("-", one.before), ("+", one.after)):
            if stage is None:
                title = f"{one.name} {one.subject}".rstrip()
                lines.append(f"{mark} {printable(title)}: there is none")
            else:
                lines += [f"{mark} {line}" for line in _lines(stage, has_times=has_times)]
    if lines:
        click.echo("\n".join([coloured(f"--- {names[0]}", "red"), coloured(f"+++ {names[1]}", "green"), *lines]))
    hidden = len(found) - len(shown)
    more = f", and {counted(hidden, 'filter')} without effect; --all shows them" if hidden else ""
    say(f"{counted(len(shown), 'stage')} of this message differ{'s' if len(shown) == 1 else ''}{more}" if found else "nothing differs")


def _lines(stage: Stage, *, has_times: bool) -> list[str]:
    title = f"{stage.name[:1].upper()}{stage.name[1:]} {printable(stage.subject)}".rstrip()
    lines = [f"{title}: {_coloured(printable(stage.answer))}{_time(stage.microseconds, has_times=has_times)}"]
    if stage.rule or stage.place:
        rule = printable(stage.rule)
        lines.append("    " + (f"{rule}  [{printable(stage.place)}]" if rule and stage.place else rule or f"[{printable(stage.place)}]"))
    if stage.reason:
        lines.append(f"    {printable(stage.reason)}")
    lines += [f"    {_part(part, has_times=has_times)}" for part in stage.parts]
    return lines


def _part(part: Part, *, has_times: bool) -> str:
    detail = f" ({printable(part.detail)})" if part.detail else ""
    time = _time(part.microseconds, has_times=has_times)
    text, answer = printable(part.text), printable(part.answer)
    if part.kind in _COUNTED:
        return f"{answer:<10} {text}{detail}{time}"
    return f"{text}: {answer}{detail}{time}" if answer else f"{part.kind}: {text}{detail}{time}"


def _time(microseconds: float | None, *, has_times: bool) -> str:
    return f"  {microseconds:.1f} µs" if has_times and microseconds is not None else ""


def _coloured(answer: str) -> str:
    words = answer.removeprefix("positive: ").removeprefix("suspect: ")
    if words.startswith(_RED):
        return coloured(answer, "red")
    return coloured(answer, "yellow" if words.startswith(_YELLOW) else "green")
