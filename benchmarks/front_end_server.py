"""Our listener as the front-end benchmark runs it: `front_end_server.py PORT handler|receiver`.

handler: the same aiosmtpd handler that the baseline serves, through the adapter. receiver: a Receiver of our own. Both drop the message.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop

from esa.gateway.listener import serve
from esa.gateway.receiver import Receiver, Transaction
from esa.message.reply import Reply

TAKEN = Reply(250, "2.0.0", "OK")


class Drop:
    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802  (aiosmtpd's name)
        return "250 2.0.0 OK"


class DropReceiver(Receiver):
    def message(self, transaction: Transaction) -> None:
        transaction.finish(TAKEN)


async def main(port: int, kind: str) -> None:
    bound = socket.create_server(("127.0.0.1", port))
    await serve(Drop() if kind == "handler" else DropReceiver(), bound, hostname="peer.example.org")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
