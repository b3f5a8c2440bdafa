"""The native writer of groups against os.pwritev and os.fdatasync, and what the disk may say."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core._group_writer import FLUSHED, WROTE, GroupWriter

Outcome = tuple[str | None, int, float]


@pytest.fixture(scope="module")
def writer() -> Iterator[GroupWriter]:
    made = GroupWriter()
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(10)
    assert not thread.is_alive()


def written(writer: GroupWriter, descriptor: int, buffers: list[bytes], offset: int = 0) -> Outcome:
    writer.begin(descriptor, buffers, offset)
    assert select.select([writer.fileno()], [], [], 10)[0]
    outcome = writer.finish()
    assert outcome is not None
    assert writer.finish() is None  # told once
    return outcome


@given(st.lists(st.binary(max_size=100), max_size=40), st.integers(0, 50))
def test_all_buffers_stand_one_after_the_other_at_the_offset(
    tmp_path_factory: pytest.TempPathFactory, writer: GroupWriter, buffers: list[bytes], offset: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "group"
    path.write_bytes(b"")
    descriptor = os.open(path, os.O_RDWR)
    try:
        failed, number, microseconds = written(writer, descriptor, buffers, offset)
    finally:
        os.close(descriptor)
    assert (failed, number) == (None, 0)
    assert microseconds >= 0
    octets = b"".join(buffers)
    assert path.read_bytes() == (bytes(offset) + octets if octets else b"")


def test_more_buffers_than_the_kernel_takes_at_once_are_all_written(tmp_path: Path, writer: GroupWriter) -> None:
    buffers = [b"%d," % number for number in range(5_000)]
    with (tmp_path / "group").open("w+b", buffering=0) as file:
        assert written(writer, file.fileno(), buffers)[:2] == (None, 0)
        assert file.read() == b"".join(buffers)


def test_a_write_that_fails_is_told_with_its_error(writer: GroupWriter) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert written(writer, full, [b"x"])[:2] == (WROTE, errno.ENOSPC)
    finally:
        os.close(full)


def test_a_flush_that_fails_is_told_apart_from_a_write(writer: GroupWriter) -> None:
    null = os.open("/dev/null", os.O_WRONLY)  # takes everything and cannot be flushed
    try:
        assert written(writer, null, [b"x"])[:2] == (FLUSHED, errno.EINVAL)
    finally:
        os.close(null)


def test_a_failure_is_not_told_again_of_the_next_group(tmp_path: Path, writer: GroupWriter) -> None:
    assert written(writer, 1 << 20, [b"x"])[:2] == (WROTE, errno.EBADF)
    with (tmp_path / "group").open("wb", buffering=0) as file:
        assert written(writer, file.fileno(), [b"x"])[:2] == (None, 0)


def test_buffers_live_until_the_group_is_finished_whatever_becomes_of_the_list(tmp_path: Path, writer: GroupWriter) -> None:
    with (tmp_path / "group").open("w+b", buffering=0) as file:
        buffers = [bytes([number]) * 70_000 for number in range(100)]
        expected = b"".join(buffers)
        writer.begin(file.fileno(), buffers, 0)
        buffers.clear()
        assert select.select([writer.fileno()], [], [], 10)[0]
        assert writer.finish() is not None
        assert file.read() == expected


def test_one_group_at_a_time(tmp_path: Path, writer: GroupWriter) -> None:
    with (tmp_path / "group").open("wb", buffering=0) as file:
        writer.begin(file.fileno(), [b"x"], 0)
        with pytest.raises(RuntimeError, match="one group"):
            writer.begin(file.fileno(), [b"y"], 0)
        assert select.select([writer.fileno()], [], [], 10)[0]
        assert writer.finish() is not None


def test_what_is_no_bytes_is_refused_and_the_writer_goes_on(tmp_path: Path, writer: GroupWriter) -> None:
    with (tmp_path / "group").open("w+b", buffering=0) as file:
        with pytest.raises(TypeError):
            writer.begin(file.fileno(), [b"x", "y"], 0)  # type: ignore[list-item]
        assert written(writer, file.fileno(), [b"z"])[:2] == (None, 0)
        assert file.read() == b"z"
