"""A control socket and those who misuse it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.control import LINE_LIMIT, ControlServer, Request, ask
from tests.store.messages import mode


async def obey(request: Request) -> object:
    match request.get("verb"):
        case "echo":
            return request
        case "refuse":
            raise StoreError("no such thing", where="here", mend="ask for another")
        case "break":
            raise KeyError("a fault of our own")
        case "slow":
            await asyncio.sleep(60)
    return {}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "run" / "test.sock"
    server = await ControlServer.start(path, obey)
    yield path
    await server.close()
    assert not path.exists()


async def asking(path: Path, request: Request, **more: float) -> object:
    return await asyncio.to_thread(lambda: ask(path, request, **more))


async def test_the_socket_and_its_folder_are_private(path: Path) -> None:
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


async def test_a_fault_of_the_process_is_told_and_it_goes_on(path: Path) -> None:
    with pytest.raises(StoreError, match="KeyError"):
        await asking(path, {"verb": "break"})
    assert await asking(path, {"verb": "other"}) == {}


async def test_a_process_that_does_not_answer_is_told(path: Path) -> None:
    with pytest.raises(StoreError, match="does not answer"):
        await asking(path, {"verb": "slow"}, patience=0.1)


async def test_more_than_the_limit_is_refused_before_it_is_sent(path: Path) -> None:
    with pytest.raises(StoreError, match="too much"):
        await asking(path, {"keys": ["x" * LINE_LIMIT]})


async def test_a_line_without_end_is_cut_off(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"x" * (LINE_LIMIT * 3))
    assert b"too long" in await reader.readline()
    with contextlib.suppress(ConnectionError):  # it is reset: not all was read
        assert await reader.read() == b""
    writer.close()
    assert await asking(path, {"verb": "other"}) == {}


async def test_closing_does_not_wait_for_idle_connections(tmp_path: Path) -> None:
    server = await ControlServer.start(tmp_path / "test.sock", obey)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "test.sock"))
    writer.write(b"{}\n")
    await reader.readline()
    async with asyncio.timeout(5):
        await server.close()
        assert await reader.read() == b""
    writer.close()
