"""Asking a running process of the service to do something: one JSON object a line over a unix socket in `state/run`, one answer.

`deliver` and `keep` listen; `esa queue` and `esa quarantine` ask. Only the user the service runs as can reach the folder. An answer is
{"ok": …} with what was asked for, or {"error": {"what", "where", "mend"}}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from esa.errors import EsaError, StoreError
from esa.store.folder import make_private, store_error

LINE_LIMIT = 4 << 20  # octets of a request or an answer: some 100,000 identifiers
_TOO_LONG = {"error": {"what": "the request is too long", "where": None, "mend": "name fewer identifiers at a time"}}
PATIENCE = 60.0  # seconds to wait for an answer
_PATH_LIMIT = 100  # octets; the kernel takes 107

Request = Mapping[str, object]
Handler = Callable[[Request], Awaitable[object]]


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name of the socket that is short enough for the kernel, wherever the state folder lies."""
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlServer:
    """Listens for requests while the process runs.

    Make it with `start`; the caller holds the process's lock, so a socket found there is stale.
    """

    def __init__(self, server: asyncio.Server, path: Path, connections: set[asyncio.StreamWriter]) -> None:
        self._server = server
        self._path = path
        self._connections = connections

    @classmethod
    async def start(cls, path: Path, handler: Handler) -> ControlServer:
        """Listen at `path`; `handler` gets each request and returns a JSON value, or raises EsaError. Raises StoreError."""
        make_private(path.parent)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            path.unlink(missing_ok=True)
            with _reachable(path) as name:
                listening.bind(name)
            path.chmod(0o600)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            raise store_error(error, path) from error

        connections: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            try:
                await _serve(reader, writer, handler)
            finally:
                connections.discard(writer)

        return cls(await asyncio.start_unix_server(serve, sock=listening, limit=LINE_LIMIT), path, connections)

    async def close(self) -> None:
        """Stop listening; whoever is connected is cut off."""
        self._server.close()
        for writer in list(self._connections):
            writer.close()
        await self._server.wait_closed()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # a line past LINE_LIMIT
                writer.write(json.dumps(_TOO_LONG).encode() + b"\n")
                break
            if not line:
                break
            writer.write(json.dumps(await _answer(line, handler)).encode() + b"\n")
            await writer.drain()
    except OSError:  # the asking side is gone
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _answer(line: bytes, handler: Handler) -> dict[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {"error": {"what": "the request is no JSON", "where": None, "mend": None}}
    try:
        if not isinstance(request, dict):
            raise StoreError("a request is a JSON object")
        return {"ok": await handler(request)}
    except EsaError as error:
        return {"error": {"what": error.what, "where": error.where, "mend": error.mend}}
    except Exception as error:  # the asking side is told; the service goes on
        return {"error": {"what": f"a fault of esa itself: {type(error).__name__}: {error}", "where": None, "mend": None}}


def ask(path: Path, request: Request, *, patience: float = PATIENCE) -> object | None:
    """Send one request and return what the process answers (never None); None if no process listens there.

    Raises StoreError: what the process says, or that it does not answer.
    """
    line = json.dumps(dict(request)).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        raise StoreError("too much for one request", mend="name fewer identifiers at a time")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(patience)
        try:
            with _reachable(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise store_error(error, path) from error
        try:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answers:
                answered = answers.readline(LINE_LIMIT)
        except OSError as error:
            raise StoreError(f"the running service does not answer: {error}", where=str(path), mend="see its log; try again") from error
    try:
        answer = json.loads(answered)
    except ValueError:
        raise StoreError("the running service broke off its answer", where=str(path), mend="see its log; try again") from None
    if "error" in answer:
        fault = answer["error"]
        raise StoreError(fault["what"], where=fault["where"], mend=fault["mend"])
    result: object = answer["ok"]
    return result
