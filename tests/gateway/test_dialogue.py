"""Transcripts of tests/dialogue, each replayed whole, one octet at a time, and pipelined."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from esa.gateway.limits import Limits
from tests.gateway.sessions import Client, Recorder, listening

FOLDER = Path(__file__).parent.parent / "dialogue"
STEPS = list[tuple[str, str]]


def read(path: Path) -> STEPS:
    lines = [line for line in path.read_text("utf-8").split("\n") if line and not line.startswith("#")]
    return [(line[0], line[3:] if line[2:3] == " " else line[2:]) for line in lines]


def octets_of(kind: str, text: str) -> bytes:
    octets = text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return octets + b"\r\n" if kind == "C" else octets


async def expect(client: Client, kind: str, text: str) -> None:
    line = await client.line()
    if kind == "X":
        assert line == ""
    else:
        assert line.startswith(text), f"expected {text!r}, got {line!r}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
@pytest.mark.parametrize("manner", ["whole", "octets", "pipelined"])
async def test_dialogue(path: Path, manner: str) -> None:
    steps = read(path)
    async with listening(Recorder(), limits=Limits(message_size=1_000_000, errors=100)) as running:
        client = await running.connect(greeting=False)
        if manner == "pipelined":
            await client.send(b"".join(octets_of(kind, text) for kind, text in steps if kind in "CB"))
        for kind, text in steps:
            if kind in "SX":
                await expect(client, kind, text)
            elif manner == "whole":
                await client.send(octets_of(kind, text))
            elif manner == "octets":
                for octet in octets_of(kind, text):
                    await client.send(bytes([octet]))
                    await asyncio.sleep(0)
