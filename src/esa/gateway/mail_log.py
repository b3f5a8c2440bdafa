"""Log lines in the form of AsyncOS's text mail logs, for the programs and people that read those.

`events.configure` takes it for `log_format = "asyncos"`. It makes of each event the lines that AsyncOS writes for it (user guide, chapter
Logging, "Using Text Mail Logs"): connections carry an ICID, messages a MID, recipients a RID within their message, connections to a next hop a
DCID. What AsyncOS has no line for stands as `event=… key=value …` behind the level. Most lines are made of their fields alone: `_LINES` has
them; those that need a look have a function. Promise: whatever a client sends, one line stays one line, and what stands between angle brackets
or quotes does not leave them.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from esa.gateway.events import BY_BOUNCE_VERIFICATION, Event, EventRecord, FieldValue, escape, line, quote
from esa.store.debts import EXPIRED

Fields: TypeAlias = Mapping[str, FieldValue]
Lines: TypeAlias = Iterator[str]

ENGINE = "CASE"  # AsyncOS's name for its spam engine, which readers of these logs look for
QUARANTINE = "Spam"
MAIL_POLICY = "DEFAULT"
_LEVELS = ((logging.ERROR, "Critical"), (logging.WARNING, "Warning"), (logging.NOTSET, "Info"))
_SPAM = {"clean": "negative", "suspect": "suspect", "positive": "positive"}
_EXPIRED = "expired; "  # before why mail was given up
_REPLY = re.compile(r"([2-5]\d\d)(?: ([245]\.\d{1,3}\.\d{1,3}))? ?(.*)", re.DOTALL)
_STATUS_WORDS = {  # RFC 3463, in AsyncOS's words where it has its own
    "1.0": "Unknown address error",
    "1.1": "Bad destination email address",
    "1.2": "Bad destination host",
    "2.2": "Mailbox full",
    "4.0": "Other network problem",
    "4.7": "Delivery expired (message too old)",
    "7.1": "Delivery not authorized",
}
_UNNUMBERED: dict[str, FieldValue] = {"icid": 0, "mid": 0, "dcid": 0, "rids": 0}  # AsyncOS's 0: none
_PRIVATE = [ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


class MailLogFormatter(logging.Formatter):
    """`Mon Apr 17 19:56:22 2003 Info: …`: the local time, the level, the words. An event may be several lines, or none."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._stamp = second, time.asctime(time.localtime(second))
        level = next(word for number, word in _LEVELS if record.levelno >= number)
        if not isinstance(record, EventRecord):
            return f"{self._stamp} {level}: message={quote(record.getMessage())}"
        return "\n".join([f"{self._stamp} {level}: {text}" for text in _words(record)])


def _words(record: EventRecord) -> Iterable[str]:
    event = record.event
    fields = {**_UNNUMBERED, **{name: value for name, value in record.fields.items() if value is not None}}
    if event in _LINES:
        shown = _Shown((name, _Field(value)) for name, value in fields.items())
        return [words.format_map(shown) for words in _LINES[event]]
    if event in _TOLD:
        return _TOLD[event](fields)
    return [line(event, record.fields)]


# --- clients ----------------------------------------------------------------------------------------------------------------------------


def _opened(fields: Fields) -> Lines:
    icid, names = fields["icid"], fields.get("names")
    host = _word(str(names).split()[0]) if names else "unknown"
    yield (
        f"New SMTP ICID {icid} interface {_word(fields['listener'])} ({_word(fields['local'])}) address {_word(fields['client'])}"
        f" reverse dns host {host} verified {'yes' if names else 'no'}"
    )
    group, because = fields.get("group"), str(fields.get("because"))
    because = because.lower() if because.lower().startswith("sbrs[") else because
    shown = "None" if group == "ALL" else _word(group)
    yield f"ICID {icid} {fields['access']} SG {shown} match {_word(because)} SBRS {_reputation(fields)}"


def _reputation(fields: Fields) -> str:
    reputation = fields.get("reputation")
    if isinstance(reputation, int | float):
        return f"{reputation:.1f}"
    try:
        address = ipaddress.ip_address(str(fields.get("client")))
    except ValueError:
        return "None"
    return "rfc1918" if address.version == 4 and any(address in network for network in _PRIVATE) else "None"


def _refused(fields: Fields) -> Lines:
    """A refusal by the sender group has its line already."""
    match fields.get("reason"):
        case None:
            return
        case "max_concurrency" | "connections_per_network" | "max_connections":
            yield f"ICID {fields['icid']} Receiving Failed: Connection limit exceeded"
        case reason:
            yield f"ICID {fields['icid']} Receiving Failed: {_word(reason)}"


def _closed(fields: Fields) -> Lines:
    if fields.get("lost"):
        yield f"ICID {fields['icid']} lost"
    yield f"ICID {fields['icid']} close"


# --- messages ---------------------------------------------------------------------------------------------------------------------------


def _relayed(fields: Fields) -> Lines:
    found = f"MID {fields['mid']} IncomingRelay({_word(fields['relay'])}): Header {_word(fields['header'])}"
    if fields["origin"] == "none":
        yield f"{found} not found, IP of the connecting host being used"
    else:
        reputation = _reputation({"client": fields["origin"], "reputation": fields.get("origin_reputation")})
        yield f"{found} found, IP {_word(fields['origin'])} being used, SBRS {reputation}"


def _read(fields: Fields) -> Lines:
    mid = fields["mid"]
    if fields.get("message_id"):
        yield f"MID {mid} Message-ID '{_quoted(fields['message_id'])}'"
    if fields.get("subject"):
        yield f"MID {mid} Subject '{_quoted(fields['subject'])}'"
    yield f"MID {mid} ready {fields['size']} bytes from {_path(fields['reverse_path'])}"


def _judged(fields: Fields) -> Lines:
    mid = fields["mid"]
    policies = str(fields.get("policies") or MAIL_POLICY).split()
    for policy in policies:
        how = "all" if len(policies) == 1 else "some"
        yield f"MID {mid} matched {how} recipients for per-recipient policy {_word(policy)} in the {fields.get('table', 'inbound')} table"
    verdict = _SPAM.get(str(fields.get("verdict")))
    if verdict is not None and fields.get("spam_check", True):
        yield f"MID {mid} interim verdict using engine: {ENGINE} spam {verdict}"
        yield f"MID {mid} using engine: {ENGINE} spam {verdict}"


def _kept(fields: Fields) -> Lines:
    mid, actions = fields["mid"], str(fields.get("disposition")).split("+")
    yield from _judged(fields)
    if "deliver" in actions:
        yield f"MID {mid} queued for delivery"
    if actions == ["drop"]:
        yield f"Message aborted MID {mid} Dropped by antispam"
        yield f"Message finished MID {mid} done"


def _custom(fields: Fields) -> Lines:
    yield f"MID {fields['mid']} Custom Log Entry: {_word(fields.get('entry'))}"


def _message_refused(fields: Fields) -> Lines:
    mid = fields["mid"]
    yield from _judged(fields)
    if str(fields.get("reason")).startswith("spam:"):
        yield f"Message aborted MID {mid} Rejected by antispam"
    else:
        yield f"ICID {fields['icid']} Receiving Failed: {_word(fields.get('reason'))}"
        yield f"Message aborted MID {mid} Receiving failed"
    yield f"Message finished MID {mid} aborted"


def _recipient_refused(fields: Fields) -> Lines:
    mid, icid, recipient, by = fields["mid"], fields["icid"], _path(fields.get("recipient")), _word(fields.get("by"))
    if by == BY_BOUNCE_VERIFICATION:
        yield f"MID {mid} ICID {icid} invalid bounce, rcpt address {recipient} rejected by bounce verification."
    else:
        yield f"MID {mid} ICID {icid} To: {recipient} Rejected by {by}"


def _bounce_made(fields: Fields) -> Lines:
    mid = fields.get("notification_mid", 0)
    yield f"Start MID {mid} ICID 0"
    yield f"MID {mid} was generated for bounce of MID {fields['mid']}"
    yield f"MID {mid} ICID 0 From: <>"
    yield f"MID {mid} ICID 0 RID 0 To: {_path(fields.get('to'))}"
    yield f"MID {mid} ready {fields.get('size')} bytes from <>"
    yield f"MID {mid} queued for delivery"


def _bounce_dropped(fields: Fields) -> Lines:
    yield f"MID {fields['mid']} no bounce is sent to {_path(fields.get('reverse_path'))}: {_word(fields.get('reason'))}"


# --- next hops --------------------------------------------------------------------------------------------------------------------------


def _sent(fields: Fields) -> Lines:
    mid, rids = fields["mid"], fields["rids"]
    yield f"Message done DCID {fields['dcid']} MID {mid} to RID [{rids}]"
    _, status, words = _parts(fields.get("reply"))
    yield f"MID {mid} RID [{rids}] Response '{_quoted(f'{status} {words}'.strip())}'"
    if fields.get("finished"):
        yield f"Message finished MID {mid} done"


def _delayed(fields: Fields) -> Lines:
    yield from _not_sent("Delayed", "4", fields)


def _bounced(fields: Fields) -> Lines:
    yield from _not_sent("Bounced", "5", fields)
    if fields.get("finished"):
        yield f"Message finished MID {fields['mid']} done"


def _not_sent(word: str, kind: str, fields: Fields) -> Lines:
    said = str(fields.get("reply") or fields.get("reason"))
    code, status, words = _parts(said.removeprefix(EXPIRED).removeprefix(_EXPIRED))
    detail = "4.7" if said.startswith(_EXPIRED) else status[2:] if status[:1] == kind else "1.0" if code != "000" else "4.0"
    meaning = _STATUS_WORDS.get(detail, "Other error")
    for rid in str(fields["rids"]).split(", "):
        yield (
            f"{word}: DCID {fields['dcid']} MID {fields['mid']} to RID {rid} - {kind}.{detail} - {meaning}"
            f" ('{code}', ['{_quoted(words)}']) []"
        )


def _parts(reply: FieldValue) -> tuple[str, str, str]:
    """Code, enhanced code and words of a reply; code 000 of what is none, as AsyncOS has it for trouble with a connection."""
    match = _REPLY.match(str(reply or ""))
    return (match[1], match[2] or "", match[3]) if match else ("000", "", str(reply or ""))


# --- values -----------------------------------------------------------------------------------------------------------------------------


def _word(value: FieldValue) -> str:
    return escape(str(value))


def _quoted(value: FieldValue) -> str:
    """As it stands between single quotes."""
    return escape(str(value), "'")


def _path(value: FieldValue) -> str:
    """A path in angle brackets, with none inside."""
    return f"<{escape(str(value).removeprefix('<').removesuffix('>'), '<>')}>"


class _Field:
    """A value as `_LINES` names it: {name} is a word, {name:path} a path in angle brackets."""

    __slots__ = ("_value",)

    def __init__(self, value: FieldValue) -> None:
        self._value = value

    def __format__(self, form: str) -> str:
        return _path(self._value) if form == "path" else _word(self._value)


class _Shown(dict[str, _Field]):
    def __missing__(self, name: str) -> _Field:
        return _Field(None)


# --- which event is told how ------------------------------------------------------------------------------------------------------------

_LINES: dict[Event, tuple[str, ...]] = {
    Event.TLS_AGREED: ("ICID {icid} TLS success protocol {tls} cipher {cipher}",),
    Event.TLS_FAILED: ("ICID {icid} TLS failed: {reason}",),
    Event.AUTHENTICATION_PROVEN: ("SMTP Auth: (ICID {icid}) succeeded for user: {user} using AUTH mechanism: {mechanism}",),
    Event.AUTHENTICATION_FAILED: ("SMTP Auth: (ICID {icid}) failed for user: {user} using AUTH mechanism: {mechanism}",),
    Event.MESSAGE_STARTED: ("Start MID {mid} ICID {icid}", "MID {mid} ICID {icid} From: {reverse_path:path}"),
    Event.RECIPIENT_ACCEPTED: ("MID {mid} ICID {icid} RID {rid} To: {recipient:path}",),
    Event.MESSAGE_ABORTED: ("Message aborted MID {mid} Receiving aborted by sender", "Message finished MID {mid} aborted"),
    Event.MESSAGE_RECIPIENTS: (),  # told by other lines
    Event.MESSAGE_DEFERRED: (
        "ICID {icid} Receiving Failed: {reason}",
        "Message aborted MID {mid} Receiving deferred",
        "Message finished MID {mid} aborted",
    ),
    Event.HARVEST_DETECTED: (
        "LDAP: Dropping connection due to potential Directory Harvest Attack from host=('{client}', None), dhap_limit={limit},"
        " sender_group={group}, listener={listener}",
    ),
    Event.QUARANTINE_KEPT: (f'MID {{mid}} quarantined to "{QUARANTINE}" ({{reason}})',),
    Event.QUARANTINE_RELEASED: (
        f'MID {{mid}} released from quarantine "{QUARANTINE}" (manual)',
        "MID {mid} released from all quarantines",
    ),
    Event.QUARANTINE_DELETED: (
        f'MID {{mid}} deleted from quarantine "{QUARANTINE}" (manual)',
        "MID {mid} deleted from all quarantines",
    ),
    Event.QUARANTINE_EXPIRED: (
        f'MID {{mid}} deleted from quarantine "{QUARANTINE}" (expired)',
        "MID {mid} deleted from all quarantines",
    ),
    Event.DELIVERY_CONNECTED: ("New SMTP DCID {dcid} interface {local} address {address} port {port}",),
    Event.DELIVERY_TLS_AGREED: ("DCID {dcid} TLS success protocol {tls} cipher {cipher}",),
    Event.DELIVERY_TLS_FAILED: ("DCID {dcid} TLS failed: {reason}",),
    Event.DELIVERY_UNREACHABLE: ("Connection Error: DCID {dcid} domain: {next_hop} details: {reason} reason: network error",),
    Event.DELIVERY_DISCONNECTED: ("DCID {dcid} close",),
    Event.DELIVERY_STARTED: ("Delivery start DCID {dcid} MID {mid} to RID [{rids}]",),
    Event.DELIVERY_DUPLICATED: ("Possible Delivery: DCID {dcid} MID {mid} to RID [{rids}]",),
}
_TOLD: dict[Event, Callable[[Fields], Lines]] = {
    Event.CONNECTION_OPENED: _opened,
    Event.CONNECTION_REFUSED: _refused,
    Event.CONNECTION_CLOSED: _closed,
    Event.RECIPIENT_REFUSED: _recipient_refused,
    Event.BOUNCE_QUEUED: _bounce_made,
    Event.BOUNCE_DROPPED: _bounce_dropped,
    Event.RELAY_READ: _relayed,
    Event.MESSAGE_READ: _read,
    Event.MESSAGE_KEPT: _kept,
    Event.FILTER_LOG: _custom,
    Event.MESSAGE_REFUSED: _message_refused,
    Event.DELIVERY_SENT: _sent,
    Event.DELIVERY_DEFERRED: _delayed,
    Event.DELIVERY_FAILED: _bounced,
}
