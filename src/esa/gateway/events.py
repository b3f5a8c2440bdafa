"""What the gateway logs: a closed list of event names, one event a line, `key=value` or JSON, control characters escaped.

Every process of the gateway logs through `info`, `warning` and `error`. Info: one line per message and delivery attempt. Warning: a person
should look this week. Error: someone now. Never content, credentials, or what a client put into AUTH.
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
from enum import StrEnum
from typing import Literal, TextIO

FieldValue = str | int | float | bool | None
LogFormat = Literal["text", "json"]


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
    CONNECTION_REFUSED = "connection.refused"
    TLS_FAILED = "tls.failed"
    TLS_INJECTED = "tls.injected"
    AUTHENTICATION_FAILED = "authentication.failed"
    PIPELINING_VIOLATION = "pipelining.violation"
    PROXY_REFUSED = "proxy.refused"
    USERS_REFUSED = "users.refused"
    CERTIFICATE_EXPIRED = "certificate.expired"
    CERTIFICATE_REFUSED = "certificate.refused"
    CERTIFICATES_LOADED = "certificates.loaded"
    RECIPIENT_REFUSED = "recipient.refused"
    MESSAGE_KEPT = "message.kept"
    MESSAGE_REFUSED = "message.refused"
    MESSAGE_DEFERRED = "message.deferred"
    SCAN_FAILED = "scan.failed"
    COMMIT_FAILED = "commit.failed"
    SPACE_LOW = "space.low"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_DEFERRED = "delivery.deferred"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_DUPLICATED = "delivery.possibly_duplicated"
    QUARANTINE_KEPT = "quarantine.kept"
    QUARANTINE_RELEASED = "quarantine.released"
    QUARANTINE_DELETED = "quarantine.deleted"
    QUARANTINE_EXPIRED = "quarantine.expired"
    SPOOL_DAMAGED = "spool.damaged"
    LISTENER_STRESSED = "listener.stressed"
    LISTENER_RELIEVED = "listener.relieved"
    HARVEST_DETECTED = "harvest.detected"
    RESOLVER_SILENT = "resolver.silent"


_logger = logging.getLogger("esa")
_NEEDS_QUOTING = re.compile(r'[\s"=\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


def info(event: Event, **fields: FieldValue) -> None:
    _emit(logging.INFO, event, fields)


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
    """`event=… key=value …`: values with white space, quotes or control characters stand quoted and escaped; None is left out."""
    shown = [(key, value if type(value) is str else quote(value)) for key, value in fields.items() if value is not None]
    texts = [text for _, text in shown]
    if "" in texts or _NEEDS_QUOTING.search("".join(texts)):  # rare: one look at all of them is cheaper than one at each
        shown = [(key, quote(value)) for key, value in fields.items() if value is not None]
    return " ".join([f"event={event}", *[f"{key}={text}" for key, text in shown]])


def quote(value: FieldValue) -> str:
    """A value as it stands in a line: as it is where it is harmless, else in double quotes with \\xNN and \\uNNNN escapes."""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if text and not _NEEDS_QUOTING.search(text):
        return text
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


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
    if _logger.isEnabledFor(level):
        _logger.handle(EventRecord(level, event, fields))


class EventFormatter(logging.Formatter):
    """Time, level, process name and event; as text or as one JSON object a line. Also formats records of other libraries."""

    def __init__(self, process: str, log_format: LogFormat) -> None:
        super().__init__()
        self._process = process
        self._json = log_format == "json"
        self._second = -1
        self._stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int(record.msecs):03d}Z"
        if self._json:
            body: dict[str, object] = {"time": stamp, "level": record.levelname.lower(), "process": self._process}
            if isinstance(record, EventRecord):
                body["event"] = record.event
                body.update({key: value for key, value in record.fields.items() if value is not None})
            else:
                body["message"] = record.getMessage()
            return json.dumps(body, ensure_ascii=True)
        text = line(record.event, record.fields) if isinstance(record, EventRecord) else f"message={quote(record.getMessage())}"
        return f"{stamp} {record.levelname.lower()} {self._process} {text}"


class GatheringHandler(logging.StreamHandler[TextIO]):
    """Writes at the end of the event loop's iteration all that was logged during it, in one call; warnings and errors at once."""

    def __init__(self, stream: TextIO, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(stream)
        self._loop = loop
        self._thread = threading.get_ident()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + "\n")
            if record.levelno > logging.INFO or threading.get_ident() != self._thread or self._loop.is_closed():
                self.flush()
            elif len(self._lines) == 1:
                self._loop.call_soon(self.flush)
        except Exception:
            self.handleError(record)

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


def configure(process: str, *, log_format: LogFormat = "text", stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send all events of this process to `stream` (stderr). Call once at the start of a process."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(EventFormatter(process, log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level)
