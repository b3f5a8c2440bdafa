"""Two real gateways with two sets of filters, and a client that plays the same mail into them by turns: what the receive worker takes of a message.

Called by `filters`. The mail goes over loopback, pipelined, in ten sessions; no sender or recipient comes twice. It is received, scanned, decided about,
recorded and committed; what is delivered is thrown away by another process, which does not count.
"""

from __future__ import annotations

import itertools
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from filter_mix import LISTENER, visits
from gateway import Gateway, quiet
from processes import LOOPBACK, cpu_seconds

from esa.engine.dictionary import Dictionary
from esa.message.envelope import Envelope

SESSIONS = 10


class Played:
    """A gateway of one receive worker with these filters and dictionaries. `costs` adds up CPU seconds of that worker."""

    def __init__(self, folder: Path, filters: str, dictionaries: Sequence[Dictionary]) -> None:
        (folder / "filters").mkdir(parents=True)
        (folder / "filters" / "all.filters").write_text(filters)
        names = []
        for one in dictionaries:
            path = folder / f"{one.name}.txt"
            path.write_text("".join(f"{entry.text}, {entry.weight}\n" for entry in one.entries))
            names.append(str(path))
        more = f'[filters]\nfiles = ["{folder}/filters/*.filters"]\n[scan]\ndictionaries = {names}\n'.replace("'", '"')
        self.gateway = Gateway(folder / "gateway", route="/dev/null", workers=1, listener=f'name = "{LISTENER}"\n', more=more)
        self._worker = next(process for name, process in self.gateway.processes().items() if name.startswith("receive"))

    def play(self, raws: Sequence[bytes], seed: int) -> float:
        """CPU seconds of the receive worker for these messages."""
        envelopes = (envelope for _, envelope in visits(seed))
        waiting = iter(list(zip(raws, itertools.islice(envelopes, len(raws)), strict=True)))
        lock = threading.Lock()
        began = cpu_seconds(self._worker)
        threads = [threading.Thread(target=_session, args=(self.gateway.port, _shared(waiting, lock))) for _ in range(SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        used = cpu_seconds(self._worker) - began
        quiet(lambda: (totals := self.gateway.totals())["esa_messages_kept"] - totals["esa_deliveries_sent"])
        return used

    def stop(self) -> None:
        self.gateway.server.stop()


def _shared(waiting: Iterator[tuple[bytes, Envelope]], lock: threading.Lock) -> Iterator[tuple[bytes, Envelope]]:
    while True:
        with lock:
            one = next(waiting, None)
        if one is None:
            return
        yield one


def _session(port: int, mails: Iterator[tuple[bytes, Envelope]]) -> None:
    with socket.create_connection((LOOPBACK, port), 60) as connection, connection.makefile("rb") as lines:

        def reply(expected: bytes) -> None:
            while (line := lines.readline())[3:4] == b"-":
                pass
            if not line.startswith(expected):
                raise SystemExit(f"the gateway answered {line!r}")

        reply(b"220")
        connection.sendall(b"EHLO client.example.net\r\n")
        reply(b"250")
        for raw, envelope in mails:
            to = "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in envelope.recipients)
            connection.sendall(f"MAIL FROM:<{envelope.reverse_path}>\r\n{to}DATA\r\n".encode())
            for _ in range(1 + len(envelope.recipients)):
                reply(b"250")
            reply(b"354")
            text = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..")
            connection.sendall((b"." + text if text.startswith(b".") else text) + (b"" if text.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            reply(b"250")
        connection.sendall(b"QUIT\r\n")
        reply(b"221")
