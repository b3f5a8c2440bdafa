"""The packs smtp-smuggling and smtp-dialogues through a real listener, with the settings that are the default."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esa.gateway import listener as listener_module
from esa.gateway.limits import Limits
from esa.gateway.tls import TlsSettings
from tests.gateway.certificates import Authority
from tests.gateway.sessions import Client, Recorder, listening


async def read_for(client: Client, seconds: float) -> bytes:
    """Everything that comes until nothing has come for `seconds`."""
    found = b""
    while True:
        try:
            octets = await asyncio.wait_for(client.reader.read(65536), seconds)
        except (TimeoutError, ConnectionError):
            return found
        if not octets:
            return found
        found += octets


def assert_clean(content: bytes) -> None:
    """What goes on to the next hop holds no bare CR, bare LF or NUL."""
    assert re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content) is None


@pytest.mark.parametrize("bare_newline", ["normalize", "reject"])
async def test_smuggling_sequences_never_make_two_messages(pack: Callable[[str], Path], bare_newline: Any) -> None:
    cases = json.loads((pack("smtp-smuggling") / "sequences.json").read_text("utf-8"))

    async def one(sequence: str) -> None:
        recorder = Recorder()
        async with listening(recorder, bare_newline=bare_newline) as running:
            client = await running.connect()
            await client.begin()
            await client.send((cases["prefix"] + sequence + cases["smuggled"]).encode())
            before = await read_for(client, 0.3)
            await client.send(b"\r\n.\r\nQUIT\r\n")
            replies = (before + await read_for(client, 0.3)).decode().splitlines()
        accepted = [reply for reply in replies if reply.startswith("250 2.0.0 accepted")]
        assert len(recorder.messages) == len(accepted) <= 1
        if accepted:
            assert b"SMUGGLED-BODY" in recorder.contents[0]
            assert_clean(recorder.contents[0])
        else:
            assert any(reply.startswith("550 5.6.11") for reply in replies)

    assert len(cases["sequences"]) > 30
    await asyncio.gather(*(one(case["seq"]) for case in cases["sequences"]))


async def play(client: Client, steps: list[dict[str, Any]], authority: Authority) -> None:
    """The steps of the pack's README; times are a hundredth."""
    for step in steps:
        octets = step.get("send", step.get("before_greeting", ""))
        if octets:
            await client.send(octets.encode() * step.get("repeat", 1))
        elif "expect" in step:
            reply = await client.reply()
            assert re.search(step["expect"], reply), f"{reply!r} is not {step['expect']}"
        elif "expect_any" in step:
            assert re.search(step["expect_any"], (await read_for(client, 0.3)).decode(), re.MULTILINE)
        elif "expect_close_or" in step:
            text = (await read_for(client, 0.3)).decode()
            assert not text or re.search(step["expect_close_or"], text, re.MULTILINE)
        elif step.get("expect_close"):
            assert await client.is_closed()
        elif "wait_close_s" in step:
            assert (await client.line()).startswith("421")
            assert await client.is_closed()
        elif "send_slow" in step:
            for _ in range(int(step["for_s"] / step["every_s"])):
                try:
                    await client.send(step["send_slow"].encode())
                except ConnectionError:
                    break
                await asyncio.sleep(step["every_s"] / 100)
        elif step.get("starttls"):
            await client.handshake(authority.client())
        elif step.get("close"):
            client.close()
        else:
            raise AssertionError(f"unknown step {step}")


async def test_dialogues_go_as_expected_and_the_next_client_is_served(
    pack: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(listener_module, "SWEEP_INTERVAL", 0.05)
    monkeypatch.chdir(tmp_path)
    dialogues = json.loads((pack("smtp-dialogues") / "dialogues.json").read_text("utf-8"))
    assert len(dialogues) > 40
    faults = []
    recorder = Recorder()
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    tls = TlsSettings(certificates=(authority.certificate(),))
    async with listening(recorder, limits=Limits(command_timeout=2.0), tls=tls) as running:

        async def one(dialogue: dict[str, Any]) -> None:
            try:
                await play(await running.connect(greeting=False), dialogue["steps"], authority)
                client = await running.connect()
                await client.begin()
                assert (await client.ask(b"plain\r\n.\r\n")).startswith("250")
            except (AssertionError, OSError, TimeoutError) as fault:
                faults.append(f"{dialogue['id']}: {fault!r}")

        await asyncio.gather(*(one(dialogue) for dialogue in dialogues))
    assert faults == []
    assert list(tmp_path.iterdir()) == []
    for message in recorder.messages:
        assert all(recipient.endswith("@example.com") for recipient in message.recipients)
        assert_clean(message.content)
