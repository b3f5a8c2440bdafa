"""One line of the recorder's files: what stands where, and how it is read again.

A line is an array of JSON (`esa_core._json_lines` has its law). Whoever records says by columns where on its own objects the values are found, in this order:

    identifier · session · envelope · reply: code and enhanced code, or both in one text · is outgoing · its score counts · visit: sender group, HAT entry,
    mail flow policy, sender: reputation, names, reverse, lists · verdict · report: score, logit, flags, summary: families, log-odds of each, fact row ·
    the heaviest reasons · subject · greylisting · lists of dispositions, of which the first that is not empty counts · RAT entry by recipient · groups by
    address

and gives beside: fate, why it was refused, dictionaries, terms as number and count in turns and a 0 behind them if not all are there, what acted, fingerprint,
and the From and Reply-To fields as they stand or the mailboxes in them; the writer adds whether there is a content. `COLUMNS` and `beside_of` are those
of a `Recorded`.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeAlias

from pydantic_core import from_json

from esa.message.author import mailbox_of
from esa.message.envelope import Envelope, Session
from esa.store.recorded import FATES, Found, Heard, Held, Program, Recorded

Column: TypeAlias = "str | tuple[str, Sequence[Column]]"
Beside: TypeAlias = tuple[object, ...]

SESSION: Column = (
    "session",
    (
        *("client_address", "client_port", "helo", "protocol", "listener", "received_at"),
        *("tls_version", "tls_cipher", "tls_client", "user", "relayed_from"),
    ),
)
ENVELOPE: Column = (
    "envelope",
    (
        *("reverse_path", "recipients", "size", "body", "smtputf8"),
        ("options", ("ret", "envelope_id", "submitter", "requiretls", "recipients")),
        "number",
    ),
)
DISPOSITION = ("policy", "recipients", "action", "reason")
COLUMNS: Sequence[Column] = (
    *("id", SESSION, ENVELOPE, "answer", "is_outgoing", "spam_check"),
    ("", ("sender_group", "because", "mail_flow_policy", ("", ("reputation", "names", "reverse", "listed")))),
    "verdict",
    ("", ("score", "logit", "flags", "summary")),
    *("reasons", "subject", "greylist", ("", (("policies[]", DISPOSITION),)), "recipient_entries", "groups"),
)
_FIRST_FORM = 35  # values of a line as the recorder first wrote them


def beside(
    fate: str,
    reason: str = "",
    *,
    dictionaries: object = None,
    terms: Heard | None = None,
    hits: Sequence[str] = (),
    fingerprint: str = "",
    authors: str | tuple[str, str] = "",
) -> Beside:
    """What a line has beside its columns."""
    if terms is None or (not terms.counts and terms.is_whole):
        return fate, reason, dictionaries, (), hits, fingerprint, authors
    counts = [*chain.from_iterable(terms.counts.items())]
    if not terms.is_whole:
        counts.append(0)
    return fate, reason, dictionaries, counts, hits, fingerprint, authors


def beside_of(recorded: Recorded) -> Beside:
    """Of a record as it is read."""
    return beside(
        recorded.fate,
        recorded.reason,
        dictionaries=recorded.dictionaries,
        terms=recorded.terms,
        hits=recorded.hits,
        fingerprint=recorded.fingerprint,
        authors=(recorded.author, recorded.reply_to),
    )


def decode(line: bytes, program: Program) -> tuple[Recorded, bool]:
    """What a line says; the content is not there, but whether there was any. Raises ValueError for what no recorder wrote."""
    try:
        values: list[Any] = from_json(line)
    except ValueError:  # lone surrogates: octets that are no UTF-8
        values = json.loads(line)
    try:
        return _decoded_first(values, program) if len(values) == _FIRST_FORM else _decoded(values, program)
    except (TypeError, IndexError, AttributeError, KeyError, struct.error) as error:
        raise ValueError(f"this is no record: {error!r}") from error


def _decoded(values: list[Any], program: Program) -> tuple[Recorded, bool]:
    (identifier, session, envelope, reply, is_outgoing, spam_check, visit, verdict, report, reasons, subject, greylist, plan, *more) = (
        values
    )
    entries, groups, fate, reason, dictionaries, counts, hits, fingerprint, authors, has_content = more
    session[5] = _number(session[5])
    sent = Envelope.from_list(envelope)
    group, because, flow, sender = visit or ("", "", "", None)
    reputation, names, reverse, listed = sender or (None, (), None, ())
    score, logit, flags, (families, weights, row) = report
    dispositions = next(filter(None, plan), ())
    author, reply_to = _authors(authors) if isinstance(authors, str) else authors
    return Recorded(
        identifier,
        Session.from_list(session),
        sent,
        fate if fate in FATES else _raise(fate),
        reply if isinstance(reply, str) else f"{reply[0]} {reply[1]}",
        reason,
        is_outgoing,
        spam_check,
        group,
        because,
        flow,
        None if reputation is None else _number(reputation),
        tuple(names),
        reverse,
        tuple(sorted(listed)),
        _number(score),
        _number(logit),
        verdict,
        {name: _number(weight) for name, weight in zip(families, weights, strict=True) if weight},
        tuple([(name, _number(weight)) for name, weight in reasons]),
        tuple(flags),
        subject,
        author,
        reply_to,
        {name: Found(of, terms) for name, (of, terms) in (dictionaries or {}).items()},
        _heard(counts, program),
        tuple([Held(name, tuple(who), action, why) for name, who, action, why in dispositions]),
        tuple(hits),
        tuple([entries.get(one, "") for one in sent.recipients]) if entries else (),
        {address: tuple(sorted(of)) for address, of in (groups or {}).items()},
        greylist,
        fingerprint,
        base64.urlsafe_b64decode(row),
    ), bool(has_content)


def _number(value: float | list[int]) -> float:
    """A float as it is written."""
    if isinstance(value, list):
        [number] = struct.unpack("<d", struct.pack("<Q", value[0]))
        return float(number)
    return float(value)


def _raise(fate: object) -> Any:
    raise ValueError(f"{fate!r} is no fate")


def _heard(counts: list[int], program: Program) -> Heard:
    known = len(program.terms)
    heard = {number: times for number, times in zip(counts[::2], counts[1::2], strict=False) if number < known}
    return Heard(program, heard, is_whole=program.is_known and len(counts) % 2 == 0)


def _authors(fields: str) -> tuple[str, str]:
    """The mailboxes of From and Reply-To fields."""
    if not fields:
        return "", ""
    octets = fields.encode("latin-1")
    head = octets.lower()
    return mailbox_of(octets, head, "from"), mailbox_of(octets, head, "reply-to")


def _decoded_first(values: list[Any], program: Program) -> tuple[Recorded, bool]:
    """A line in the first form."""
    (identifier, session, envelope, fate, *told, dictionaries, counts, policies) = values[:27]
    hits, entries, groups, greylist, fingerprint, row, has_content, fields = values[27:]
    sent = Envelope.from_list(envelope)
    (answer, reason, is_outgoing, spam_check, group, because, flow, reputation, names, reverse, listed, score, logit) = told[:13]
    verdict, families, reasons, flags, subject, author, reply_to = told[13:]
    if fields:
        author, reply_to = _authors(fields)
    return Recorded(
        *(identifier, Session.from_list(session), sent, FATES[fate], answer, reason, is_outgoing, spam_check, group, because, flow),
        *(reputation, tuple(names), reverse, tuple(listed), score, logit, verdict, families),
        tuple(zip(reasons[::2], reasons[1::2], strict=True)),
        *(tuple(flags), subject, author, reply_to),
        {name: Found(of, terms) for name, (of, terms) in dictionaries.items()},
        _heard(counts, program),
        tuple([Held(name, sent.recipients if who is None else tuple(who), action, why) for name, who, action, why in policies]),
        *(tuple(hits), tuple(entries)),
        {address: tuple(of) for address, of in groups.items()},
        *(greylist, fingerprint),
        base64.urlsafe_b64decode(row),
    ), bool(has_content)
