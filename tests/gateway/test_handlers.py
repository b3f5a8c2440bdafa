"""Handlers written for aiosmtpd run on our listener unchanged."""

# ruff: noqa: N802  (the names of hooks are aiosmtpd's)

from __future__ import annotations

import asyncio
import io
import mailbox
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.handlers import AsyncMessage, Debugging, Mailbox, Message, Proxy, Sink

from esa.gateway.authentication import Credentials
from esa.gateway.tls import TlsSettings
from tests.conformance.gateway import Sink as NextHop
from tests.gateway.certificates import Authority
from tests.gateway.sessions import Client, listening


class Everything:
    """Every hook there is; remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.contents: list[object] = []

    async def handle_HELO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        self.calls.append(("HELO", hostname))
        session.host_name = hostname
        return "250 hello"

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> list[str]:
        self.calls.append(("EHLO", hostname))
        session.host_name = hostname
        return [*responses[:-1], "250-X-MINE", responses[-1]]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.calls.append(("MAIL", address, options))
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender fine"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.calls.append(("RCPT", address))
        if address.startswith("no"):
            return "550 5.1.1 no such user"
        await asyncio.sleep(0.001)
        envelope.rcpt_tos.append(address)
        return "250 recipient fine"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.calls.append(("DATA", session.peer[0], session.host_name, envelope.mail_from, list(envelope.rcpt_tos), envelope.smtp_utf8))
        assert server.hostname == "mx.example.com"
        assert server.envelope is envelope
        assert envelope.original_content == envelope.content
        self.contents.append(envelope.content)
        return "250 2.6.0 taken"

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:
        assert envelope.mail_from is None
        return "250 reset"

    async def handle_NOOP(self, server: Any, session: Any, envelope: Any, argument: str) -> str:
        return f"250 noop {argument}"

    async def handle_VRFY(self, server: Any, session: Any, envelope: Any, address: str) -> str:
        return "252 who knows"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return "221 so long"


async def test_every_hook_is_called_with_the_session_and_envelope_of_aiosmtpd() -> None:
    handler = Everything()
    async with listening(handler) as running:
        client = await running.connect()
        await client.send(b"EHLO client.example\r\n")
        lines = [await client.line() for _ in range(10)]
        assert lines[-2:] == ["250-X-MINE", "250 HELP"]
        assert "250-8BITMIME" in lines
        assert await client.ask("MAIL FROM:<a@partner.example> BODY=8bitmime") == "250 2.1.0 sender fine"
        assert await client.ask("RCPT TO:<nobody@example.com>") == "550 5.1.1 no such user"
        assert await client.ask("RCPT TO:<user@example.com>") == "250 recipient fine"
        await client.ask("DATA")
        assert await client.ask(b"..x\r\n.\r\n") == "250 2.6.0 taken"
        assert await client.ask("MAIL FROM:<>") == "250 2.1.0 sender fine"
        assert await client.ask("RSET") == "250 reset"
        assert await client.ask("NOOP x") == "250 noop x"
        assert await client.ask("VRFY root") == "252 who knows"
        assert await client.ask("HELO client.example") == "250 hello"
        assert await client.ask("QUIT") == "221 so long"
        assert await client.is_closed()
    assert handler.contents == [b".x\r\n"]
    assert handler.calls == [
        ("EHLO", "client.example"),
        ("MAIL", "a@partner.example", ["BODY=8BITMIME"]),
        ("RCPT", "nobody@example.com"),
        ("RCPT", "user@example.com"),
        ("DATA", "127.0.0.1", "client.example", "a@partner.example", ["user@example.com"], False),
        ("MAIL", "<>", []),
        ("HELO", "client.example"),
    ]


async def send(client: Client, body: bytes) -> str:
    await client.begin()
    return await client.ask(body)


async def test_a_handler_without_hooks_takes_everything() -> None:
    async with listening(Sink()) as running:
        assert await send(await running.connect(), b"x\r\n.\r\n") == "250 OK"


async def test_the_debugging_handler_prints_the_message() -> None:
    stream = io.StringIO()
    async with listening(Debugging(stream)) as running:
        assert await send(await running.connect(), b"Subject: x\r\n\r\n..body\r\n.\r\n") == "250 OK"
    assert "Subject: x\nX-Peer: ('127.0.0.1'," in stream.getvalue()
    assert "\n.body\n" in stream.getvalue()


async def test_the_mailbox_handler_stores_the_message(tmp_path: Path) -> None:
    async with listening(Mailbox(tmp_path / "box")) as running:
        assert await send(await running.connect(), b"Subject: x\r\n\r\nbody\r\n.\r\n") == "250 OK"
    (message,) = mailbox.Maildir(tmp_path / "box")
    assert message["X-MailFrom"] == "a@partner.example"
    assert message["X-RcptTo"] == "user@example.com"
    assert message.get_payload() == "body\n"


async def test_the_proxy_handler_passes_the_message_on() -> None:
    next_hop = NextHop()  # in a thread: as aiosmtpd has it, the handler blocks the loop while it sends
    next_hop.start()
    try:
        async with listening(Proxy("127.0.0.1", next_hop.port)) as running:
            assert await send(await running.connect(), b"Subject: x\r\n\r\n..\r\n.\r\n") == "250 OK"
    finally:
        next_hop.server.close()
    (delivered,) = next_hop.delivered
    assert delivered.recipients == ["user@example.com"]
    assert delivered.data.startswith(b"Subject: x\r\nX-Peer: ")
    assert delivered.data.endswith(b"\r\n\r\n..\r\n")


@pytest.mark.parametrize("kind", [Message, AsyncMessage])
async def test_handlers_of_whole_messages_get_them_parsed(kind: Any) -> None:
    found: list[Any] = []

    def handle(self: object, message: Any) -> None:
        found.append(message)

    async def handle_later(self: object, message: Any) -> None:
        await asyncio.sleep(0)
        found.append(message)

    handler = type("Handler", (kind,), {"handle_message": handle_later if kind is AsyncMessage else handle})()
    async with listening(handler) as running:
        assert await send(await running.connect(), b"Subject: x\r\n\r\nbody\r\n.\r\n") == "250 OK"
    (message,) = found
    assert (message["Subject"], message["X-MailFrom"], message["X-RcptTo"]) == ("x", "a@partner.example", "user@example.com")
    assert message["X-Peer"].startswith("('127.0.0.1'")


async def test_hooks_know_of_tls_and_of_who_authenticated(tmp_path: Path) -> None:
    class Knows:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            return f"250 {session.ssl['version']} {session.authenticated} {session.auth_data} {session.host_name}"

        def handle_STARTTLS(self, server: Any, session: Any, envelope: Any) -> bool:
            assert session.host_name is None
            return True

    class Anyone:
        async def verify(self, credentials: Credentials, client_address: str) -> str | None:
            return credentials.name

    authority = Authority(tmp_path)
    tls = TlsSettings(certificates=(authority.certificate(),))
    async with listening(Knows(), tls=tls, authenticator=Anyone()) as running:
        client = await running.connect()
        await client.ask("EHLO before.example")
        await client.start_tls(authority.client())
        await client.ask("EHLO client.example")
        assert (await client.ask("AUTH PLAIN AGFubmEAeA==")).startswith("235")
        assert await send(client, b".\r\n") == "250 TLSv1.3 True anna client.example"


async def test_a_hook_may_end_a_session_by_its_tls(tmp_path: Path) -> None:
    class Strict:
        def handle_STARTTLS(self, server: Any, session: Any, envelope: Any) -> bool:
            return False

    authority = Authority(tmp_path)
    async with listening(Strict(), tls=TlsSettings(certificates=(authority.certificate(),))) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.start_tls(authority.client())
        assert await client.is_closed()


async def test_a_large_message_is_read_back_for_a_handler(tmp_path: Path) -> None:
    handler = Everything()
    async with listening(handler, spill_directory=tmp_path) as running:
        assert (await send(await running.connect(), b"z" * 3_000_000 + b"\r\n.\r\n")).startswith("250")
    assert handler.contents == [b"z" * 3_000_000 + b"\r\n"]
    assert list(tmp_path.iterdir()) == []


def returning(value: object) -> Callable[..., Any]:
    async def hook(self: object, server: object, session: object, envelope: object) -> object:
        if isinstance(value, Exception):
            raise value
        return value

    return hook


@pytest.mark.parametrize("value", [None, "", "fine", "250 a\r\n550 b", 250, ["250-x", 3], ValueError("secret")])
async def test_a_hook_that_gives_no_reply_costs_451_and_says_nothing(value: object) -> None:
    handler = type("Handler", (), {"handle_DATA": returning(value)})()
    async with listening(handler) as running:
        assert await send(await running.connect(), b".\r\n") == "451 4.3.0 Local error in processing, try again later"


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        ("250-one\r\n250 two", ["250-one", "250 two"]),
        (b"250 octets", ["250 octets"]),
        (["250-one", "250 two"], ["250-one", "250 two"]),
        ("550 5.7.1 a\x00b\u00e4", ["550 5.7.1 a?b?"]),
        ("550 4.7.1 classes differ", ["550 4.7.1 classes differ"]),
        ("250", ["250 "]),
    ],
)
async def test_replies_of_a_hook_reach_the_client_whole_and_safe(status: object, lines: list[str]) -> None:
    handler = type("Handler", (), {"handle_DATA": returning(status)})()
    async with listening(handler) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b".\r\n")
        assert [await client.line() for _ in lines] == lines


async def test_an_exception_goes_to_the_handlers_own_hook() -> None:
    class Failing:
        async def handle_RCPT(self, *arguments: object) -> str:
            raise KeyError("x")

        async def handle_exception(self, error: Exception) -> str:
            return f"542 {type(error).__name__}"

    async with listening(Failing()) as running:
        client = await running.connect()
        await client.ask("EHLO c")
        await client.ask("MAIL FROM:<a@b>")
        assert await client.ask("RCPT TO:<a@b>") == "542 KeyError"


async def test_an_old_ehlo_hook_of_four_arguments_ends_the_list() -> None:
    class Old:
        async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
            session.host_name = hostname
            return "250 OLD"

    async with listening(Old()) as running:
        client = await running.connect()
        assert await client.ask("EHLO c") == "250 OLD"
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("250")


async def test_a_hook_that_waits_runs_as_a_task() -> None:
    class Waiting:
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
            async with asyncio.timeout(5):
                await asyncio.sleep(0.01)
            assert asyncio.current_task() is not None
            return "250 waited"

    async with listening(Waiting()) as running:
        client = await running.connect()
        await client.begin()
        await client.send(b".\r\nQUIT\r\n")
        assert await client.reply() == "250 waited"
        assert (await client.reply()).startswith("221")
