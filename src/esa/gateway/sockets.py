"""Listening sockets of the gateway: opened by ourselves, or handed over by systemd (sd_listen_fds(3)). The parent process calls it.

A socket of our own is opened once per receive worker with SO_REUSEPORT. One of systemd is shared by all workers: it stays open when the
gateway is started anew, so no client is ever refused, and the gateway needs no right to listen on port 25.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final

from esa.config.schema import Listener
from esa.errors import ConfigurationError

BACKLOG: Final = 4096  # the default of 100 fails at 1,000 sessions
FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START


def open_listener(listener: Listener, count: int) -> list[socket.socket]:
    """`count` sockets bound to the listener's address with SO_REUSEPORT. Raises ConfigurationError that names address, key and mend.

    SO_REUSEPORT would also let us in beside another program of the same user: a first bind without it finds that out.
    """
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    port = listener.port
    sockets: list[socket.socket] = []
    try:
        if port:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                _prepare(probe)
                probe.bind((listener.address, port))
        for _ in range(count):
            bound = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(bound)
            _prepare(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.setblocking(False)
            bound.bind((listener.address, port))
            port = bound.getsockname()[1]
        for bound in sockets:
            bound.listen(BACKLOG)
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise cannot_listen(error, listener.address, port, f'[[listener]] "{listener.name}", port') from error
    return sockets


def _prepare(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def cannot_listen(error: OSError, address: str, port: int, key: str) -> ConfigurationError:
    place = f"{address} port {port}"
    if error.errno == errno.EADDRINUSE:
        option = " (or --listen HOST:PORT)" if "listener" in key else ""
        return ConfigurationError(
            f"{place} is in use by another program", where=key, mend=f"stop that program, or choose another port{option}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigurationError(
            f"this user may not listen on {place}",
            where=key,
            mend="choose a port of 1024 or more, or give the program CAP_NET_BIND_SERVICE",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(
            f"{address} is no address of this machine", where=key, mend="choose one of its addresses, or 0.0.0.0 or ::"
        )
    return ConfigurationError(f"cannot listen on {place}: {error.strerror}", where=key, mend="choose another address or port")


@dataclass(slots=True)
class Passed:
    """Sockets that systemd has handed over, by the name of their unit or FileDescriptorName=."""

    sockets: list[tuple[str, socket.socket]] = field(default_factory=list)

    def for_listener(self, listener: Listener, count: int) -> list[socket.socket]:
        """`count` handles of the sockets with the listener's name, else of those on its address and port; none: it was passed none."""
        chosen = [one for one in self.sockets if one[0] == listener.name] or [
            one for one in self.sockets if one[1].getsockname()[:2] == (listener.address, listener.port)
        ]
        if not chosen:
            return []
        self.sockets = [one for one in self.sockets if one not in chosen]
        found = [bound for _, bound in chosen]
        handles = [found[number % len(found)].dup() for number in range(max(count, len(found)))]
        for bound in found:
            bound.close()
        if len(handles) > count:
            for handle in handles:
                handle.close()
            raise ConfigurationError(
                f"systemd passed {len(found)} sockets for it, and there are {count} workers",
                where=f'[[listener]] "{listener.name}"',
                mend="pass no more sockets than there are workers",
            )
        return handles

    def unused(self) -> str:
        """The first socket that no listener has taken; empty if there is none."""
        return f"{self.sockets[0][0] or self.sockets[0][1].getsockname()}" if self.sockets else ""


def passed_sockets(environment: MutableMapping[str, str]) -> Passed:
    """Take over what systemd has passed to this process; the variables that say so are removed, for they are not meant for our children.

    Raises ConfigurationError for a descriptor that is no listening Internet stream socket.
    """
    process, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()) or not count.isdecimal():
        return Passed()
    passed = Passed()
    for number in range(int(count)):
        descriptor = FIRST_DESCRIPTOR + number
        name = names[number] if number < len(names) else ""
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)
        try:
            bound = socket.socket(fileno=descriptor)
            is_right = bound.family in (socket.AF_INET, socket.AF_INET6) and bound.type == socket.SOCK_STREAM
            is_right = is_right and bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            is_right = False
        if not is_right:
            raise ConfigurationError(
                f"descriptor {descriptor} ({name or 'without a name'}) that systemd passed is no listening TCP socket",
                where="[[listener]]",
                mend="use ListenStream= with an address and a port, and Accept=no",
            )
        bound.setblocking(False)
        passed.sockets.append((name, bound))
    return passed
