"""A listener that drops every message, as a process of its own: `python -m tests.gateway.discard SPILL_DIRECTORY`. Prints its port."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvloop

from esa.gateway.limits import Limits
from esa.gateway.listener import serve
from esa.gateway.receiver import Receiver, Transaction
from esa.message.reply import Reply

TAKEN = Reply(250, "2.0.0", "taken")


class Discard(Receiver):
    def message(self, transaction: Transaction) -> None:
        if transaction.content_path is not None:
            transaction.content_path.unlink()
        transaction.finish(TAKEN)


async def main(spill_directory: Path) -> None:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = await serve(
        Discard(), bound, hostname="mx.example.com", limits=Limits(message_size=50 * 2**20), spill_directory=spill_directory
    )
    print(server.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(Path(sys.argv[1])))
