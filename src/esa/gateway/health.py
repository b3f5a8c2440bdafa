"""`/health` (JSON, 200 or 503) and `/metrics` (Prometheus text) over HTTP, on the parent's event loop. Used by service.py.

It answers GET and HEAD, one request a connection, and believes nothing it reads beyond the request line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client.registry import Collector

from esa.gateway import events
from esa.gateway.events import Event as Log
from esa.gateway.metrics import Counters

REQUEST_SECONDS = 5.0
REQUEST_LIMIT = 8192  # octets of request line and header
RESERVE_OCTETS = 64 << 20  # less free space than that is a state to act on
FAILURE_SECONDS = 5.0  # a failed commit makes the gateway unhealthy that long, or until one succeeds


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of the gateway now; `free_bytes` is None where the state folder is gone."""

    processes: Mapping[str, Mapping[str, object]]
    free_bytes: int | None
    commit_failures: int
    commits: int
    reserve: int = RESERVE_OCTETS  # octets


class HealthServer:
    """The HTTP server; `look` is asked for the state of the gateway at each request to /health."""

    def __init__(self, counters: Counters, look: Callable[[], Health], *collectors: Collector) -> None:
        """`collectors` have metrics beside the counters."""
        self._counters, self._look, self._collectors = counters, look, collectors
        self._server: asyncio.Server | None = None
        self._seen = (0, 0)  # commit failures and commits at the last look
        self._failed_at = -FAILURE_SECONDS
        self._was_healthy = True

    async def start(self, address: str, port: int) -> str:
        """Listen, and return host:port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, address, port, limit=REQUEST_LIMIT)
        host, bound = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether the gateway is healthy, and the object that /health shows."""
        health = self._look()
        now = time.monotonic()
        failures, commits = self._seen
        if health.commit_failures > failures:
            self._failed_at = now
        elif health.commits > commits:
            self._failed_at = now - FAILURE_SECONDS
        self._seen = (health.commit_failures, health.commits)
        problems = [f"{name} is not running" for name, process in health.processes.items() if not process["ready"]]
        if health.free_bytes is None:
            problems.append("the state folder cannot be read")
        elif health.free_bytes < health.reserve:
            problems.append("the state folder is full or read-only")
        if now - self._failed_at < FAILURE_SECONDS:
            problems.append("the spool cannot be written")
        healthy = not problems
        if healthy != self._was_healthy and not healthy:
            events.warning(Log.SERVICE_UNHEALTHY, problems="; ".join(problems))
        self._was_healthy = healthy
        body: dict[str, object] = {
            "status": "ok" if healthy else "unhealthy",
            "problems": problems,
            "free_bytes": health.free_bytes,
            "processes": {name: dict(process) for name, process in health.processes.items()},
            "totals": self._counters.totals(),
        }
        return healthy, body

    def respond(self, method: str, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body of one request."""
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", b"GET or HEAD only\n"
        match path.partition("?")[0]:
            case "/health":
                healthy, body = self.report()
                status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
                return status, "application/json", json.dumps(body, indent=1).encode() + b"\n"
            case "/metrics":
                return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", self._counters.prometheus_text(*self._collectors)
            case _:
                return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"/health and /metrics are here\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.partition(b"\r\n")[0].decode("ascii", "replace").split()
                if len(words) == 3 and words[2].startswith("HTTP/"):
                    status, kind, body = self.respond(words[0], words[1])
                else:
                    status, kind, body = HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", b"this is no HTTP request\n"
                shown = b"" if words[:1] == ["HEAD"] else body
                writer.write(
                    f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                    + shown
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that is gone, slow or talks something else is owed no answer
        finally:
            with contextlib.suppress(OSError):
                writer.close()
