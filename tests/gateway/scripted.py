"""A next hop whose every reply a test can set: what to answer to which command, and where to drop the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DROP = b"drop"  # in place of a reply: close the connection at once
SILENCE = b"silence"  # in place of a reply: say nothing
EXTENSIONS = ("PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
DEFAULTS: Mapping[str, bytes] = {
    "greeting": b"220 next.example.org ESMTP\r\n",
    "HELO": b"250 next.example.org\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go on\r\n",
    "BDAT": b"250 2.0.0 chunk\r\n",
    ".": b"250 2.0.0 taken\r\n",
    "RSET": b"250 2.0.0 ok\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}


@dataclass
class Taken:
    """One message as it came over the wire, dots still stuffed, without the final dot."""

    mail: str
    recipients: list[str]
    content: bytes


@dataclass
class ScriptedServer:
    """`replies` maps a command (or "RCPT <address>", "greeting", "." for the end of mail data) to a reply, or a list used one by one."""

    replies: Mapping[str, bytes | list[bytes]] = field(default_factory=dict)
    extensions: Sequence[str] | None = EXTENSIONS  # None: EHLO is not known
    delay: float = 0.0  # seconds before the reply to the end of mail data
    taken: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    port: int = 0

    async def __aenter__(self) -> ScriptedServer:
        self._used: dict[str, int] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def _reply(self, *names: str) -> bytes:
        for name in names:
            given = self.replies.get(name)
            if isinstance(given, bytes):
                return given
            if given:
                used = self._used.get(name, 0)
                self._used[name] = used + 1
                return given[min(used, len(given) - 1)]
        if names[-1] == "EHLO":
            if self.extensions is None:
                return b"502 5.5.2 not known\r\n"
            lines = ["next.example.org", *self.extensions]
            return "".join(f"250{'-' if line is not lines[-1] else ' '}{line}\r\n" for line in lines).encode()
        return DEFAULTS.get(names[-1], b"500 5.5.1 not known\r\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        self._writers.add(writer)
        try:
            await self._session(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_now -= 1
            self._writers.discard(writer)
            writer.transport.abort()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail = ""
        recipients: list[str] = []
        chunks: list[bytes] = []
        if not await self._say(writer, self._reply("greeting")):
            return
        while line := await reader.readline():
            command = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            self.commands.append(command)
            verb = command[:4].upper()
            names = (command, verb)
            if verb == "MAIL":
                mail, recipients = command, []
                chunks.clear()
            elif verb == "RCPT":
                names = (f"RCPT {command.partition('<')[2].partition('>')[0]}", verb)
            if verb == "BDAT":
                chunk = await reader.readexactly(int(command.split()[1]))
                chunks.append(chunk)
            reply = self._reply(*names)
            if verb == "BDAT" and command.endswith(" LAST") and reply.startswith(b"2"):
                self.taken.append(Taken(mail, recipients, b"".join(chunks)))
                chunks.clear()
            if verb == "RCPT" and reply.startswith(b"2"):
                recipients.append(names[0].removeprefix("RCPT "))
            if not await self._say(writer, reply):
                return
            if verb == "DATA" and b"354" in reply:
                content = await self._content(reader)
                if self.delay:
                    await asyncio.sleep(self.delay)
                reply = self._reply(".")
                if reply.startswith(b"2") or reply is DROP:
                    self.taken.append(Taken(mail, recipients, content))
                if not await self._say(writer, reply):
                    return
            if verb == "QUIT":
                return

    async def _content(self, reader: asyncio.StreamReader) -> bytes:
        first = await reader.readexactly(3)
        if first == b".\r\n":
            return b""
        return (first + await reader.readuntil(b"\r\n.\r\n"))[:-3]

    async def _say(self, writer: asyncio.StreamWriter, reply: bytes) -> bool:
        if reply is DROP:
            return False
        if reply is not SILENCE:
            writer.write(reply)
            await writer.drain()
        return True
