"""Delivery over STARTTLS: to our own listener, and to servers that do not take it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from esa.gateway.delivery.client import Connection, Timeouts, connect
from esa.gateway.delivery.replies import TlsError
from esa.gateway.tls import TlsSettings
from esa.message.envelope import Envelope
from tests.gateway.certificates import Authority
from tests.gateway.scripted import ScriptedServer
from tests.gateway.sessions import HOSTNAME, Recorder, listening
from tests.gateway.test_client import Message

PATIENT = Timeouts(connect=10, greeting=10, command=10, data=10, block=20, end_of_data=20, handshake=10)
LARGE = b"Subject: large\r\n\r\n" + b"".join(os.urandom(30).hex().encode() + b"\r\n" for _ in range(80_000))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def offer(connection: Connection, content: bytes) -> list[str]:
    envelope = Envelope("me@example.net", ("user@example.com",), len(content), "8BITMIME", False)
    attempt = await connection.send(envelope, envelope.recipients, Message(content))
    return [result.status for result in attempt.results]


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\n.dot\r\n", LARGE], ids=["small", "5 MB"])
async def test_mail_goes_over_tls_and_is_whole(authority: Authority, content: bytes) -> None:
    recorder = Recorder()
    async with listening(recorder, tls=TlsSettings(certificates=(authority.certificate(),))) as running:
        connection = await connect("127.0.0.1", running.port, hostname="mx.example.net", timeouts=PATIENT)
        await connection.start_tls(authority.client(), server_name=HOSTNAME, hostname="mx.example.net")
        assert connection.tls is not None
        assert "STARTTLS" not in connection.extensions
        assert [await offer(connection, content) for _ in range(2)] == [["delivered"]] * 2
        assert connection.is_usable
        connection.close()
    assert recorder.contents == [content] * 2
    assert {message.session.protocol for message in recorder.messages} == {"ESMTPS"}


async def test_a_certificate_for_another_name_ends_the_session(authority: Authority) -> None:
    recorder = Recorder()
    async with listening(recorder, tls=TlsSettings(certificates=(authority.certificate(),))) as running:
        connection = await connect("127.0.0.1", running.port, hostname="mx.example.net", timeouts=PATIENT)
        with pytest.raises(TlsError, match="Hostname mismatch") as caught:
            await connection.start_tls(authority.client(), server_name="other.example", hostname="mx.example.net")
        assert (caught.value.step, connection.is_usable) == ("certificate", False)
        assert await offer(connection, b"Subject: x\r\n\r\n") == ["deferred"]
    assert recorder.contents == []


@pytest.mark.parametrize(
    ("extensions", "reply", "step"),
    [
        (("PIPELINING",), b"", "offer"),
        (("PIPELINING", "STARTTLS"), b"454 4.7.0 not now\r\n", "reply"),
    ],
)
async def test_a_server_that_does_not_take_it_can_be_spoken_to_in_the_clear(
    authority: Authority, extensions: tuple[str, ...], reply: bytes, step: str
) -> None:
    async with ScriptedServer({"STARTTLS": reply} if reply else {}, extensions=extensions) as server:
        connection = await connect("127.0.0.1", server.port, hostname="mx.example.net", timeouts=PATIENT)
        with pytest.raises(TlsError) as caught:
            await connection.start_tls(authority.client(), server_name="x", hostname="mx.example.net")
        assert (caught.value.step, connection.is_usable) == (step, True)
        assert await offer(connection, b"Subject: x\r\n\r\n") == ["delivered"]
        connection.close()


async def test_nothing_goes_out_in_the_clear_behind_a_handshake_that_failed(authority: Authority) -> None:
    async with ScriptedServer({"STARTTLS": b"220 go\r\n"}, extensions=("STARTTLS",)) as server:
        timeouts = replace(PATIENT, handshake=0.3)
        connection = await connect("127.0.0.1", server.port, hostname="mx.example.net", timeouts=timeouts)
        with pytest.raises(TlsError) as caught:
            await connection.start_tls(authority.client(), server_name="x", hostname="mx.example.net")
        assert (caught.value.step, connection.is_usable) == ("handshake", False)
        assert await offer(connection, b"Subject: secret\r\n\r\n") == ["deferred"]
        connection.close()
    assert not any("MAIL" in command for command in server.commands)
