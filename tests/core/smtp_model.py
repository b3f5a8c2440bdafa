"""A plain model of the SMTP machine: the same events by regular expressions, from a whole session at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Set

Event = tuple[object, ...]

HELLO_NAME = re.compile(rb"[!#$%&'*+,\-./0-9:=?@A-Z\[\]^_`a-z{|}~]{1,255}\Z")
COMMON_PATH = re.compile(
    rb"<(?=[^@]{1,64}@)((?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+\.)*[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)"
    rb"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)>\Z"
)
PATH = re.compile(rb'[ \t]*(<(?:[^">]|"(?:[^"\\]|\\.)*")*>)(?=[ \t]|\Z)', re.DOTALL)
WEB_METHODS = {b"GET", b"PUT", b"POST", b"HEAD", b"PATCH", b"DELETE", b"CONNECT", b"OPTIONS"}
NOT_IMPLEMENTED = {b"ETRN", b"SEND", b"SOML", b"SAML", b"TURN"}
PLAIN = {b"NOOP": "NOOP", b"VRFY": "VERIFY", b"EXPN": "EXPAND", b"HELP": "HELP"}


XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")
INTERNATIONAL = re.compile(r"(?:[!-*,-<>-~\u00a0-\ud7ff\ue000-\U0010ffff]|\+[0-9A-F]{2})+\Z")
KIND = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9-]+\Z")
NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")
LARGEST = 2**30
ACCEPTED, REFUSED, CHALLENGED = range(3)
Decide = Callable[[int], int]


class Model:
    """The same session, read line by line with regular expressions.

    `decide` is asked for each event that can be accepted, by its number, and says what the caller does.
    """

    def __init__(
        self, *, message_size: int = 0, reject_bare: bool = False, offers: Set[str] = frozenset(), decide: Decide = lambda number: ACCEPTED
    ) -> None:
        self.message_size = message_size
        self.reject_bare = reject_bare
        self.offers = offers
        self.decide = decide
        self.state = "START"
        self.extended = self.secure = self.authenticated = False
        self.first = True
        self.binary = False
        self.chunks: list[bytes] = []
        self.taken: list[tuple[int, bool]] = []  # the chunk that the last command announced
        self.events: list[Event] = []

    def run(self, octets: bytes) -> list[Event]:
        position = 0
        while self.state != "ENDED":
            if self.state == "MAIL_DATA":
                position = self.mail_data(octets, position)
                if position < 0:
                    break
                continue
            end = octets.find(b"\n", position)
            if end < 0:
                break
            line, position = octets[position:end], end + 1
            self.swallow = 0
            self.taken.clear()
            self.command(line)
            for size, last in self.taken:
                if position + size > len(octets):
                    return self.events
                self.chunk(octets[position : position + size], last)
                position += size
            position = min(position + self.swallow, len(octets))
        return self.events

    def happen(self, *event: object) -> bool:
        """Report an event; whether it is accepted."""
        self.events.append(event)
        return self.decide(len(self.events)) == ACCEPTED

    def forget(self, state: str = "READY") -> None:
        self.state = state
        self.binary = False
        self.chunks = []

    def chunk(self, octets: bytes, last: bool) -> None:
        self.chunks.append(octets)
        if not last:
            self.state = "CHUNKS"
            if not self.happen("CHUNK_END"):
                self.forget()
            return
        octets = b"".join(self.chunks)
        feeds = returns = nuls = 0
        if not self.binary:
            nuls = octets.count(b"\0")
            feeds = len(re.findall(rb"(?<!\r)\n", octets))
            octets = re.sub(rb"(?<!\r)\n", b"\r\n", octets)
            octets, returns = re.subn(rb"\r(?!\n)", b" ", octets)
            octets = octets.replace(b"\0", b" ")
            if octets and not octets.endswith(b"\r\n"):
                octets += b"\r\n"
        oversized = bool(self.message_size) and len(octets) > self.message_size
        self.events.append(("MESSAGE", b"" if oversized else octets, len(octets), feeds, returns, nuls, oversized))
        self.forget()

    def mail_data(self, octets: bytes, position: int) -> int:
        content = b""
        feeds = returns = nuls = 0
        bare_before = False
        while True:
            end = octets.find(b"\n", position)
            if end < 0:
                return -1
            line, position = octets[position:end], end + 1
            bare = not line.endswith(b"\r")
            if not bare:
                line = line[:-1]
            feeds += bare
            if line == b".":
                if not bare and not bare_before:
                    break
                bare_before = bare
                continue
            bare_before = bare
            line = line.removeprefix(b".")
            returns += line.count(b"\r")
            nuls += line.count(b"\0")
            content += line.replace(b"\r", b" ").replace(b"\0", b" ") + b"\r\n"
        oversized = bool(self.message_size) and len(content) > self.message_size
        self.events.append(("MESSAGE", b"" if oversized else content, len(content), feeds, returns, nuls, oversized))
        self.forget()
        return position

    def fault(self, name: str) -> None:
        self.events.append(("FAULT", name))

    def command(self, line: bytes) -> None:
        first, self.first = self.first, False
        bare = not line.endswith(b"\r")
        response, self.state = self.state == "AUTH", "READY" if self.state == "AUTH" else self.state
        if len(line) > 1024:
            return self.fault("LINE_TOO_LONG")
        if bare and self.reject_bare:
            self.first = first
            return self.fault("BARE_LINE_FEED")
        line = line if bare else line[:-1]
        if response:
            return self.exchange("RESPONSE", line.decode()) if re.fullmatch(rb"[ -~]*", line) else self.fault("BAD_OCTETS")
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line):
            return self.fault("FOREIGN" if first and not line[:1].isalnum() else "BAD_OCTETS")
        verb, _, argument = re.sub(rb"\t", b" ", line).partition(b" ")
        verb = verb.upper()
        argument = line[len(verb) + 1 :].strip(b" \t")
        if len(line) + 2 > (1024 if verb in (b"MAIL", b"RCPT", b"AUTH") else 512):
            return self.fault("LINE_TOO_LONG")
        if first and (not verb[:1].isalpha() or verb in WEB_METHODS):
            return self.fault("FOREIGN")
        if verb in NOT_IMPLEMENTED:
            return self.fault("NOT_IMPLEMENTED")
        if verb in PLAIN:
            if not argument and verb in (b"VRFY", b"EXPN"):
                return self.fault("NEED_ARGUMENT")
            self.events.append((PLAIN[verb], argument.decode("utf-8", "surrogateescape")))
            return None
        method = getattr(self, "on_" + verb.decode("latin-1").lower(), None)
        if method is None:
            return self.fault("UNKNOWN")
        method(argument)
        return None

    def on_starttls(self, argument: bytes) -> None:
        if self.secure:
            return self.fault("ALREADY")
        if "STARTTLS" not in self.offers:
            return self.fault("NOT_IMPLEMENTED")
        if argument:
            return self.fault("NO_ARGUMENT")
        if self.state != "READY":
            return self.fault("NEED_HELLO" if self.state == "START" else "NESTED")
        if self.happen("STARTTLS"):
            self.restart()
            self.secure = True
        return None

    def on_xclient(self, argument: bytes) -> None:
        if "XCLIENT" not in self.offers:
            return self.fault("UNKNOWN")
        if not argument:
            return self.fault("NEED_ARGUMENT")
        if self.state not in ("START", "READY"):
            return self.fault("NESTED")
        if self.happen("XCLIENT", argument.decode("utf-8", "surrogateescape")):
            self.restart()
        return None

    def restart(self) -> None:
        self.forget("START")
        self.extended = self.authenticated = False
        self.first = True

    def on_auth(self, argument: bytes) -> None:
        if "AUTH" not in self.offers:
            return self.fault("NOT_IMPLEMENTED")
        if self.state != "READY":
            return self.fault("NEED_HELLO" if self.state == "START" else "NESTED")
        if self.authenticated:
            return self.fault("ALREADY")
        if not argument:
            return self.fault("NEED_ARGUMENT")
        return self.exchange("AUTH", argument.decode("utf-8", "surrogateescape"))

    def exchange(self, event: str, argument: str) -> None:
        self.events.append((event, argument))
        decision = self.decide(len(self.events))
        if decision == ACCEPTED:
            self.authenticated = True
        elif decision == CHALLENGED:
            self.state = "AUTH"

    def on_bdat(self, argument: bytes) -> None:
        match = re.match(rb"(\d+)(?:[ \t]+(.*))?\Z", argument, re.DOTALL)
        if not match or int(match[1]) > LARGEST:
            self.fault("CHUNK")
            self.state = "ENDED"
            return
        size, word = int(match[1]), match[2] or b""
        fault = ""
        if "CHUNKING" not in self.offers:
            fault = "NOT_IMPLEMENTED"
        elif word and word.upper() != b"LAST":
            fault = "BAD_PARAMETER"
        elif self.state not in ("TO", "CHUNKS"):
            fault = {"START": "NEED_HELLO", "READY": "NEED_MAIL", "FROM": "NEED_RECIPIENT"}[self.state]
        elif self.message_size and sum(map(len, self.chunks)) + size > self.message_size:
            fault = "TOO_LARGE"
        if fault:
            self.fault(fault)
        elif self.happen("CHUNK", size, bool(word)):
            self.taken.append((size, bool(word)))
            return
        self.swallow = size
        if self.state != "START":
            self.forget()

    def hello(self, verb: str, argument: bytes) -> None:
        if not argument:
            return self.fault("NEED_ARGUMENT")
        if not HELLO_NAME.match(argument):
            return self.fault("BAD_HELLO")
        self.extended = verb == "EHLO"
        if self.happen("HELLO", verb, argument.decode()):
            self.forget()
        return None

    def on_ehlo(self, argument: bytes) -> None:
        self.hello("EHLO", argument)

    def on_helo(self, argument: bytes) -> None:
        self.hello("HELO", argument)

    def path(self, argument: bytes, keyword: bytes) -> tuple[bytes, list[str]] | None:
        if not argument.upper().startswith(keyword):
            return None
        rest = argument[len(keyword) :]
        match = PATH.match(rest)
        if not match:
            return None
        return match[1], rest[match.end() :].decode("utf-8", "surrogateescape").split()

    def values(self, path: bytes) -> tuple[str | None, bytes | None]:
        if path == b"<>":
            return "", None
        match = COMMON_PATH.match(path)
        if match and len(path) <= 256 and len(match[2]) <= 255:
            return f"{match[1].decode()}@{match[2].decode().lower()}", None
        return None, path

    def on_mail(self, argument: bytes) -> None:
        if self.state != "READY":
            return self.fault("NEED_HELLO" if self.state == "START" else "NESTED")
        found = self.path(argument, b"FROM:")
        if found is None:
            return self.fault("MAIL_SYNTAX")
        path, parameters = found
        values = {"SIZE": "0", "BODY": "7BIT", "SMTPUTF8": "", "AUTH": "", "RET": "", "ENVID": "", "REQUIRETLS": ""}
        seen: set[str] = set()
        for parameter in parameters:
            keyword, equals, value = parameter.partition("=")
            keyword = keyword.upper()
            if not self.extended:
                return self.fault("UNKNOWN_PARAMETER")
            if keyword in seen or (equals and not value):
                return self.fault("BAD_PARAMETER")
            seen.add(keyword)
            needs = {"RET": "DSN", "ENVID": "DSN", "AUTH": "AUTH", "REQUIRETLS": "REQUIRETLS"}.get(keyword)
            if keyword not in values or (needs and needs not in self.offers):
                return self.fault("UNKNOWN_PARAMETER")
            if keyword == "BODY" and value.upper() == "BINARYMIME" and not {"BINARYMIME", "CHUNKING"} <= set(self.offers):
                return self.fault("UNKNOWN_PARAMETER")
            good = {
                "SIZE": re.fullmatch("[0-9]{1,20}", value),
                "BODY": value.upper() in ("7BIT", "8BITMIME", "BINARYMIME"),
                "SMTPUTF8": not equals,
                "REQUIRETLS": not equals,
                "RET": value.upper() in ("FULL", "HDRS"),
                "ENVID": len(value) <= 100 and XTEXT.match(value),
                "AUTH": len(value) <= 500 and XTEXT.match(value),
            }
            if not good[keyword]:
                return self.fault("BAD_PARAMETER")
            values[keyword] = value.upper() if keyword in ("BODY", "RET") else value or "yes"
        if self.message_size and int(values["SIZE"]) > self.message_size:
            return self.fault("TOO_LARGE")
        size = min(int(values["SIZE"]), 2**64 - 1)
        flags = bool(values["SMTPUTF8"]), bool(values["REQUIRETLS"])
        words = values["BODY"], values["AUTH"], values["RET"], values["ENVID"]
        if self.happen("MAIL", *self.values(path), tuple(parameters), size, *words, *flags):
            self.state = "FROM"
        self.binary = values["BODY"] == "BINARYMIME"
        return None

    def on_rcpt(self, argument: bytes) -> None:
        if self.state not in ("FROM", "TO"):
            return self.fault({"START": "NEED_HELLO", "CHUNKS": "CHUNKED"}.get(self.state, "NEED_MAIL"))
        found = self.path(argument, b"TO:")
        if found is None or found[0] == b"<>":
            return self.fault("RECIPIENT_SYNTAX")
        values: dict[str, str] = {}
        for parameter in found[1]:
            keyword, _, value = parameter.partition("=")
            keyword = keyword.upper()
            if not self.extended or "DSN" not in self.offers or keyword not in ("NOTIFY", "ORCPT"):
                return self.fault("UNKNOWN_PARAMETER")
            if keyword in values:
                return self.fault("BAD_PARAMETER")
            if keyword == "NOTIFY":
                value = value.upper()
                good = NOTIFY.fullmatch(value) is not None and len(set(value.split(","))) == value.count(",") + 1
            else:
                kind, _, address = value.partition(";")
                good = len(value) <= 500 and KIND.match(kind) is not None
                good = good and (INTERNATIONAL if kind.lower() == "utf-8" else XTEXT).match(address) is not None
            if not good:
                return self.fault("BAD_PARAMETER")
            values[keyword] = value
        if self.happen("RECIPIENT", *self.values(found[0]), values.get("NOTIFY", ""), values.get("ORCPT", "")):
            self.state = "TO"
        return None

    def on_data(self, argument: bytes) -> None:
        if self.state != "TO":
            return self.fault({"START": "NEED_HELLO", "READY": "NEED_MAIL", "CHUNKS": "CHUNKED"}.get(self.state, "NEED_RECIPIENT"))
        if argument:
            return self.fault("NO_ARGUMENT")
        if self.binary:
            return self.fault("NEED_CHUNKS")
        if self.happen("DATA"):
            self.state = "MAIL_DATA"
        return None

    def on_rset(self, argument: bytes) -> None:
        if argument:
            return self.fault("NO_ARGUMENT")
        self.forget("START" if self.state == "START" else "READY")
        self.events.append(("RESET",))
        return None

    def on_quit(self, argument: bytes) -> None:
        if argument:
            return self.fault("NO_ARGUMENT")
        self.state = "ENDED"
        self.events.append(("QUIT",))
        return None
