"""What the gateway logs: a closed list of event names, one event a line, `key=value` or JSON, or in the form of AsyncOS's mail_logs.

Every process of the gateway logs through `step`, `info`, `warning` and `error`. Step: each step of a session, where an administrator asks for
them. Info: one line per connection, message and delivery attempt. Warning: a person should look this week. Error: someone now. What cannot be
printed is escaped. Never content, credentials, or what a client put into AUTH; AsyncOS's form alone has the subject.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TextIO

FieldValue = str | int | float | bool | None
LogFormat = Literal["text", "json", "asyncos"]
BY_BOUNCE_VERIFICATION = "bounce verification"  # value of `by` of a refused recipient that AsyncOS's form has a line of its own for
CONTENT_FIELDS = frozenset({"subject"})  # of mail: for AsyncOS's form, whose readers look for them


class Event(StrEnum):
    """Every event there is; noun, dot, past participle."""

    SERVICE_STARTED = "service.started"
    SERVICE_STOPPED = "service.stopped"
    SERVICE_UNHEALTHY = "service.unhealthy"
    PROCESS_STARTED = "process.started"
    PROCESS_ENDED = "process.ended"
    PROCESS_FAILED = "process.failed"
    PROCESS_DRAINED = "process.drained"
    SERVICE_RELOADED = "service.reloaded"
    RELOAD_REFUSED = "service.reload_refused"
    CONNECTION_OPENED = "connection.opened"
    CONNECTION_REFUSED = "connection.refused"
    CONNECTION_CLOSED = "connection.closed"
    TLS_AGREED = "tls.agreed"
    TLS_FAILED = "tls.failed"
    TLS_INJECTED = "tls.injected"
    AUTHENTICATION_PROVEN = "authentication.proven"
    AUTHENTICATION_FAILED = "authentication.failed"
    PIPELINING_VIOLATION = "pipelining.violation"
    PROXY_REFUSED = "proxy.refused"
    USERS_REFUSED = "users.refused"
    USER_AMBIGUOUS = "user.ambiguous"
    CERTIFICATE_EXPIRED = "certificate.expired"
    CERTIFICATE_EXPIRING = "certificate.expiring"
    CERTIFICATE_REFUSED = "certificate.refused"
    CERTIFICATES_LOADED = "certificates.loaded"
    MESSAGE_STARTED = "message.started"
    RECIPIENT_ACCEPTED = "recipient.accepted"
    COMPILED_DAMAGED = "compiled.damaged"
    DICTIONARIES_COMPILED = "dictionaries.compiled"
    DICTIONARIES_LOADED = "dictionaries.loaded"
    COSTS_NOT_KEPT = "costs.not_kept"
    DICTIONARIES_REFUSED = "dictionaries.refused"
    DICTIONARY_HITS_LOST = "dictionaries.hits_lost"
    RECIPIENT_REFUSED = "recipient.refused"
    MESSAGE_ABORTED = "message.aborted"
    RELAY_READ = "relay.read"
    GROUPS_FAILED = "groups.failed"
    FILTER_LOG = "filter.log"
    RELAY_FAILED = "relay.failed"
    MESSAGE_READ = "message.read"
    MESSAGE_RECIPIENTS = "message.recipients"
    MESSAGE_KEPT = "message.kept"
    MESSAGE_REFUSED = "message.refused"
    MESSAGE_DEFERRED = "message.deferred"
    NUMBERS_FAILED = "numbers.failed"
    SCAN_FAILED = "scan.failed"
    COMMIT_FAILED = "commit.failed"
    SPACE_LOW = "space.low"
    DELIVERY_CONNECTED = "delivery.connected"
    DELIVERY_TLS_AGREED = "delivery.tls_agreed"
    DELIVERY_TLS_FAILED = "delivery.tls_failed"
    DNSSEC_MISSING = "dnssec.missing"
    TLS_REPORT_FAILED = "tls_report.failed"
    TLS_REPORTED = "tls_report.sent"
    TLS_POLICY_FAILED = "tls_policy.failed"
    DELIVERY_UNREACHABLE = "delivery.unreachable"
    DELIVERY_DISCONNECTED = "delivery.disconnected"
    DELIVERY_STARTED = "delivery.started"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_DEFERRED = "delivery.deferred"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_DUPLICATED = "delivery.possibly_duplicated"
    BOUNCE_QUEUED = "bounce.queued"
    BOUNCE_DROPPED = "bounce.dropped"
    BOUNCES_WAIT = "bounces.wait"
    BOUNCE_KEYS_FAILED = "bounce_keys.failed"
    QUARANTINE_KEPT = "quarantine.kept"
    QUARANTINE_RELEASED = "quarantine.released"
    QUARANTINE_DELETED = "quarantine.deleted"
    QUARANTINE_EXPIRED = "quarantine.expired"
    SPOOL_DAMAGED = "spool.damaged"
    SPOOL_FOREIGN = "spool.foreign"
    QUEUE_REBUILT = "queue.rebuilt"
    QUEUE_CHANGED = "queue.changed"
    DELIVERY_SUSPENDED = "delivery.suspended"
    DELIVERY_RESUMED = "delivery.resumed"
    LISTENER_SUSPENDED = "listener.suspended"
    LISTENER_RESUMED = "listener.resumed"
    SUSPENSION_UNREADABLE = "suspension.unreadable"
    LISTENER_STRESSED = "listener.stressed"
    LISTENER_RELIEVED = "listener.relieved"
    GREYLIST_FAILED = "greylist.failed"
    HARVEST_DETECTED = "harvest.detected"
    RESOLVER_SILENT = "resolver.silent"
    RESOLVER_FAILED = "resolver.failed"
    DNS_LIST_IGNORED = "dns_list.ignored"
    REPUTATION_OFF = "reputation.off"
    REPUTATION_LOST = "reputation.lost"
    RECORDER_FAILED = "recorder.failed"
    RECORDER_STOPPED = "recorder.stopped"
    RECORDER_RESUMED = "recorder.resumed"
    RECIPIENTS_LOADED = "recipients.loaded"
    RECIPIENTS_REFUSED = "recipients.refused"
    SOURCE_SILENT = "source.silent"
    SOURCE_ANSWERS = "source.answers"
    SOURCE_CATCHES_ALL = "source.catches_all"


_logger = logging.getLogger("esa")
_root = logging.getLogger()
_NEEDS_QUOTING = re.compile(r'[\s"=\\]')


def step(event: Event, **fields: FieldValue) -> None:
    """Log a step of a session. Ask `tells_steps` first where the fields cost something."""
    _emit(logging.DEBUG, event, fields)


def tells_steps() -> bool:
    return _logger.isEnabledFor(logging.DEBUG)


def info(event: Event, **fields: FieldValue) -> None:
    _emit(logging.INFO, event, fields)


def info_each(event: Event, key: str, values: Sequence[str], **fields: FieldValue) -> None:
    """As `info` for each of these values, which is the last field: what is the same in all lines is made once."""
    if not _logger.isEnabledFor(logging.INFO) or not values:
        return
    handler = _gathering()
    if handler is not None and isinstance(handler.formatter, EventFormatter) and key not in CONTENT_FIELDS and handler.formatter.is_text:
        handler.add(handler.formatter.each(event, fields, key, values, handler.terminator))
        return
    for value in values:
        _emit(logging.INFO, event, {**fields, key: value})


def warning(event: Event, **fields: FieldValue) -> None:
    _emit(logging.WARNING, event, fields)


def error(event: Event, *, cause: BaseException | None = None, **fields: FieldValue) -> None:
    """Log for someone to act now. `cause` is named with its type and the place it was raised at, on the same line."""
    if cause is not None:
        fields["cause"] = describe(cause)
    _emit(logging.ERROR, event, fields)


def describe(cause: BaseException) -> str:
    """An exception in one line: type, text, and file and line it was raised at."""
    trace = cause.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace is not None else ""
    words = str(cause).replace("\n", "; ")  # an error for people has its mend on a line of its own
    return f"{type(cause).__name__}: {words}{place}"


def line(event: Event, fields: dict[str, FieldValue]) -> str:
    """`event=… key=value …`: values with white space, quotes or what cannot be printed stand quoted and escaped; None is left out."""
    parts = [f"event={event}"]
    texts = []
    for key, value in fields.items():
        if value is not None:
            text = value if type(value) is str else quote(value)
            texts.append(text)
            parts.append(f"{key}={text}")
    joined = "".join(texts)
    if "" in texts or not joined.isprintable() or _NEEDS_QUOTING.search(joined):  # rare: one look at all is cheaper than one at each
        parts[1:] = [f"{key}={quote(value)}" for key, value in fields.items() if value is not None]
    return " ".join(parts)


def quote(value: FieldValue) -> str:
    """A value as it stands in a line: as it is where it is harmless, else in double quotes with \\xNN, \\uNNNN and \\UNNNNNNNN escapes."""
    kind = type(value)
    if kind is int or kind is bool:
        return str(value)
    if kind is float:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    if text and text.isprintable():
        if not _NEEDS_QUOTING.search(text):
            return text
        if '"' not in text and "\\" not in text:
            return f'"{text}"'
    return '"' + escape(text, '"') + '"'


def escape(text: str, marks: str = "") -> str:
    """A text without line breaks, control characters, and characters that turn others round or are not seen (bidi, zero width).

    They become \\xNN, \\uNNNN or \\UNNNNNNNN; a backslash, and each of `marks`, has a backslash before it.
    """
    if text.isprintable() and "\\" not in text and not any(mark in text for mark in marks):
        return text
    return "".join("\\" + one if one == "\\" or one in marks else one if one.isprintable() else _escape(ord(one)) for one in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 1 << 8 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


_PLAIN = vars(logging.LogRecord("esa", logging.INFO, "", 0, "", None, None))


class EventRecord(logging.LogRecord):
    """A log record that is an event with its fields. It copies what any record holds: finding out code and thread anew takes longer."""

    def __init__(self, level: int, event: Event, fields: dict[str, FieldValue]) -> None:
        self.__dict__.update(_PLAIN)
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.created = time.time()
        self.msecs = self.created % 1 * 1000
        self.msg = self.event = event
        self.fields = fields


def _emit(level: int, event: Event, fields: dict[str, FieldValue]) -> None:
    if not _logger.isEnabledFor(level):
        return
    handler = _gathering()
    if handler is not None:  # where it goes anyway, without the way through all of logging
        formatter = handler.formatter
        if level == logging.INFO and type(formatter) is EventFormatter and formatter.is_text:
            handler.add(formatter.text(event, fields) + handler.terminator)
        else:
            handler.emit(EventRecord(level, event, fields))
    else:
        _logger.handle(EventRecord(level, event, fields))


def _gathering() -> GatheringHandler | None:
    """The handler that all goes to, on its own thread."""
    handlers = _root.handlers
    if len(handlers) == 1 and type(handlers[0]) is GatheringHandler and threading.get_ident() == handlers[0].thread:
        return handlers[0]
    return None


class EventFormatter(logging.Formatter):
    """Time, level, process name and event; as text or as one JSON object a line. Also formats records of other libraries."""

    def __init__(self, process: str, log_format: LogFormat) -> None:
        super().__init__()
        self._process = process
        self._json = log_format == "json"
        self.is_text = log_format == "text"
        self._second = -1
        self._stamp = ""

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int(created % 1 * 1000):03d}Z"

    def text(self, event: Event, fields: dict[str, FieldValue]) -> str:
        """A line of text, of level info and of now."""
        if not CONTENT_FIELDS.isdisjoint(fields):
            fields = {**fields, **dict.fromkeys(CONTENT_FIELDS)}
        return f"{self._time(time.time())} info {self._process} {line(event, fields)}"

    def each(self, event: Event, fields: dict[str, FieldValue], key: str, values: Sequence[str], terminator: str) -> str:
        """Lines of text, of level info, that differ in the last field."""
        before = f"{self._time(time.time())} info {self._process} {line(event, fields)} {key}="
        joined = "".join(values)
        if joined.isprintable() and '"' not in joined and "\\" not in joined:  # then a space is the only white space
            quoted = [f'"{value}"' if " " in value or "=" in value or not value else value for value in values]
        else:
            quoted = [quote(value) for value in values]
        return before + f"{terminator}{before}".join(quoted) + terminator

    def format(self, record: logging.LogRecord) -> str:
        stamp = self._time(record.created)
        if self._json:
            body: dict[str, object] = {"time": stamp, "level": record.levelname.lower(), "process": self._process}
            if isinstance(record, EventRecord):
                body["event"] = record.event
                body.update({key: value for key, value in record.fields.items() if value is not None and key not in CONTENT_FIELDS})
            else:
                body["message"] = record.getMessage()
            return json.dumps(body, ensure_ascii=True)
        if isinstance(record, EventRecord):
            fields = record.fields if CONTENT_FIELDS.isdisjoint(record.fields) else {**record.fields, **dict.fromkeys(CONTENT_FIELDS)}
            text = line(record.event, fields)
        else:
            text = f"message={quote(record.getMessage())}"
        return f"{stamp} {record.levelname.lower()} {self._process} {text}"


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes what the formatter makes of a record: a line, several, or none."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if text := self.format(record):
                self.stream.write(text + self.terminator)
                self.flush()
        except Exception:
            self.handleError(record)


class GatheringHandler(LineHandler):
    """Writes at the end of the event loop's iteration all that was logged during it, in one call; warnings and errors at once."""

    def __init__(self, stream: TextIO, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(stream)
        self._loop = loop
        self.thread = threading.get_ident()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not (text := self.format(record)):
                return
            self._lines.append(text + self.terminator)
            if record.levelno > logging.INFO or threading.get_ident() != self.thread or self._loop.is_closed():
                self.flush()
            elif len(self._lines) == 1:
                self._loop.call_soon(self.flush)
        except Exception:
            self.handleError(record)

    def add(self, lines: str) -> None:
        """Lines with their ends, which are no warnings; on this handler's thread."""
        if not self._lines and not self._loop.is_closed():
            self._loop.call_soon(self.flush)
        self._lines.append(lines)
        if self._loop.is_closed():
            self.flush()

    def flush(self) -> None:
        with self.lock or contextlib.nullcontext():
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("".join(lines))
                self.stream.flush()


def gather(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, write log lines once an iteration of this loop. Called on its thread, after `configure`."""
    root = logging.getLogger()
    (plain,) = root.handlers
    assert isinstance(plain, logging.StreamHandler)
    handler = GatheringHandler(plain.stream, loop)
    handler.setFormatter(plain.formatter)
    root.handlers[:] = [handler]


def configure(
    process: str, *, log_format: LogFormat = "text", steps: bool = False, stream: TextIO | None = None, level: int = logging.INFO
) -> None:
    """Send all events of this process to `stream` (stderr). Call once at the start of a process.

    `steps`: those of sessions too; AsyncOS's form always has them, for it is made of them.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LineHandler(stream or sys.stderr)
    if log_format == "asyncos":
        from esa.gateway.mail_log import MailLogFormatter  # late: it is made of what stands here, and few ask for it

        handler.setFormatter(MailLogFormatter())
    else:
        handler.setFormatter(EventFormatter(process, log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(logging.DEBUG if steps or log_format == "asyncos" else level)
