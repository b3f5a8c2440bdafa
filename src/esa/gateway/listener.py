"""Listening for SMTP: `serve` starts a `Server` on a socket; the gateway's workers and tests call it.

Promises: one write per batch of replies, no timer per session, memory bounded by `Limits`, a drain that loses nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from esa.gateway.limits import Limits
from esa.gateway.receiver import Receiver


class Server:
    """Signature only; see `serve`."""

    async def drain(self, patience: float = 30.0) -> None:
        """Stop listening, say 421 to idle sessions, let running transactions finish; after `patience` seconds close the rest."""

    def close(self) -> None:
        """Stop listening and drop every session at once."""


async def serve(
    receiver: Receiver | object,
    sockets: socket.socket | Sequence[socket.socket],
    *,
    hostname: str,
    limits: Limits | None = None,
    spill_directory: Path | None = None,
    listener: str = "",
    bare_newline: Literal["normalize", "reject"] = "normalize",
) -> Server:
    """Serve SMTP on bound sockets. `receiver` is a Receiver, or any aiosmtpd handler object (adapted by `handlers.HandlerReceiver`).

    Without `spill_directory` every message stays in memory (handlers of aiosmtpd expect that).
    """
    return Server()
