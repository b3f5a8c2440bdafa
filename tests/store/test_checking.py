"""What `esa queue check` finds, and what is moved out of the spools."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esa.gateway.delivery.open_queue import OpenQueue
from esa.gateway.keep import KeepSettings, OpenKeep
from esa.store.checking import check, foreign
from esa.store.entry import FILE_NAME
from esa.store.segments import SpoolReader
from esa.store.waiting import Capacity
from tests.cli.command import esa
from tests.store.messages import CONTENT, fill, make_record, read_all, segments_of


def kinds(state: Path) -> list[str]:
    return [one.kind for one in check(state)]


def imported(state: Path) -> None:
    with OpenQueue(state) as queue:
        queue.step(SpoolReader(state / "spool", queue.cursors()).read(), [], rooms=Capacity(0), now=time.time())


def test_nothing_is_found_in_what_is_whole(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(), make_record(os.urandom(2 << 20))])
    imported(tmp_path)
    seen: list[int] = []
    assert list(check(tmp_path, seen.append)) == []
    assert sum(seen) == sum(path.stat().st_size for path in segments_of(tmp_path))


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def zero(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) - 64)
    data[start : start + 64] = bytes(64)


@pytest.mark.parametrize("harm", [flip, cut, zero])
def test_damage_of_an_entry_is_found_and_every_other_one_is_whole(tmp_path: Path, harm: Callable[[bytearray, random.Random], None]) -> None:
    chance = random.Random(harm.__name__)
    records = [make_record(CONTENT * 5) for _ in range(60)]
    for record in records:  # a segment each
        fill(tmp_path, [record])
    imported(tmp_path)
    harmed = chance.sample(segments_of(tmp_path), 20)
    for path in harmed:
        data = bytearray(path.read_bytes())
        harm(data, chance)
        path.write_bytes(data)
    found = [one for one in check(tmp_path) if one.is_alarming]
    assert {one.path for one in found} == set(harmed)
    assert len(read_all(SpoolReader(tmp_path / "spool")).stored) == 40


def test_content_of_its_own_that_is_altered_or_gone_is_found(tmp_path: Path) -> None:
    fill(tmp_path, [make_record(os.urandom(2 << 20)), make_record(os.urandom(2 << 20)), make_record()])
    first, second = sorted((tmp_path / "spool/receive-0/content").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"!")
    assert sorted((one.kind, one.path) for one in check(tmp_path)) == [("damaged", first), ("damaged", second)]


def strange(folder: Path) -> list[Path]:
    """A link, a folder, a file of another user, names of nobody's."""
    segments, content = folder / "spool/receive-0/segments", folder / "spool/receive-0/content"
    (folder / "elsewhere").write_bytes(b"secret")
    paths = [
        segments / "0000000000000001-0000000000000002.seg",
        segments / "README",
        content / "odd",
        folder / "spool/file",
        segments / "sub",
    ]
    paths[0].symlink_to(folder / "elsewhere")
    for path in paths[1:4]:
        path.write_bytes(b"x")
    paths[4].mkdir()
    if os.geteuid() == 0:
        other = segments / "0000000000000002-0000000000000002.seg"
        other.write_bytes(segments_of(folder)[-1].read_bytes() if segments_of(folder)[-1].suffix == ".seg" else b"")
        os.chown(other, 12345, 12345)
        paths.append(other)
    return paths


def test_what_is_foreign_is_found_and_moved_aside_and_blocks_nothing(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(3)])
    paths = strange(tmp_path)
    assert sorted(path for path, _ in foreign(tmp_path / "spool")) == sorted(paths)
    assert set(kinds(tmp_path)) <= {"foreign", "unreadable"}
    with OpenKeep(KeepSettings(tmp_path)) as keep:
        keep.drain()
        keep.keep_house()
    assert not any(os.path.lexists(path) for path in paths)
    assert kinds(tmp_path) == ["aside"] * len(paths)
    assert (tmp_path / "elsewhere").read_bytes() == b"secret"
    assert len(read_all(SpoolReader(tmp_path / "spool")).stored) == 3


def test_the_command_tells_findings_and_its_exit_status(tmp_path: Path) -> None:
    fill(tmp_path, [make_record() for _ in range(3)])
    imported(tmp_path)
    whole = esa("queue", "check", "--state", tmp_path)
    assert (whole.code, whole.err) == (0, "all is whole\n")
    (tmp_path / "spool/receive-0/segments/README").write_bytes(b"x")
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    found = esa("queue", "check", "--json", "--state", tmp_path)
    assert (found.code, found.err) == (1, "2 alarming findings\n")
    assert [one["kind"] for one in found.lines] == ["foreign", "damaged"]
    made = esa("queue", "rebuild", "--yes", "--json", "--state", tmp_path)
    assert (made.code, made.lines[0]["waiting"]) == (0, 3)
    (tmp_path / "spool/receive-0/segments/README").unlink()
    assert esa("queue", "check", "--state", tmp_path).code == 0
