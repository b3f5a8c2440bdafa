"""Asking a running process over its unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.control import ControlServer, Request, ask


async def obey(request: Request) -> object:
    if request.get("verb") == "fail":
        raise StoreError("it cannot be", where="here", mend="do this")
    return {"heard": request}


@pytest.mark.parametrize("depth", [1, 12])
async def test_a_request_is_answered_however_long_the_path_is(tmp_path: Path, depth: int) -> None:
    path = tmp_path.joinpath(*["folder-with-a-long-name"] * depth) / "deliver.sock"
    server = await ControlServer.start(path, obey)
    try:
        assert path.stat().st_mode & 0o077 == 0
        assert await asyncio.to_thread(ask, path, {"verb": "retry", "keys": ["ü"]}) == {"heard": {"verb": "retry", "keys": ["ü"]}}
    finally:
        await server.close()
    assert ask(path, {}) is None


async def test_a_fault_comes_back_in_its_words(tmp_path: Path) -> None:
    server = await ControlServer.start(tmp_path / "s", obey)
    try:
        with pytest.raises(StoreError, match="it cannot be") as fault:
            await asyncio.to_thread(ask, tmp_path / "s", {"verb": "fail"})
        assert (fault.value.where, fault.value.mend) == ("here", "do this")
    finally:
        await server.close()


async def test_a_socket_left_by_a_crash_is_taken_over(tmp_path: Path) -> None:
    first = await ControlServer.start(tmp_path / "s", obey)
    second = await ControlServer.start(tmp_path / "s", obey)
    assert await asyncio.to_thread(ask, tmp_path / "s", {}) == {"heard": {}}
    await second.close()
    await first.close()


@pytest.mark.parametrize("line", [b"no json\n", b"[1, 2]\n", b"\xff\xfe\n"])
async def test_junk_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    server = await ControlServer.start(tmp_path / "s", obey)
    try:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(line)
        assert b'"error"' in await reader.readline()
        writer.close()
        await writer.wait_closed()
    finally:
        await server.close()


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    assert ask(tmp_path / "none", {"verb": "retry"}) is None
