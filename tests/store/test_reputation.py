"""Histories on disk and in the memory that receivers share."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.policy.history import History, Kind, Learning, Seen, Subject, learned
from esa.store.reputation import FILE_NAME, ReputationStore, ReputationView
from esa.store.reputation_table import TableReader, TableWriter, memory_size

NOW = 1_800_000_000.0
HERE = Subject(Kind.ADDRESS, "192.0.2.1")


def seen(messages: int, positive: int = 0, at: float = NOW) -> History:
    return learned(None, Seen(messages, positive), at, Learning())


def subject(number: int) -> Subject:
    return Subject(Kind.ADDRESS, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")


def test_what_is_stored_is_there_after_a_restart_with_how_far_was_learned(tmp_path: Path) -> None:
    store = ReputationStore(tmp_path)
    odd = Subject(Kind.HELO, "x.\udcff\u00e9.example")
    store.save({HERE: seen(7, 3), odd: seen(1)}, position={("receive-0", "1-a"): 400})
    store.save({HERE: seen(9, 4)}, [Subject(Kind.DOMAIN, "nobody.example")], {("receive-0", "1-a"): 800, ("receive-1", "2-b"): 5})
    store.close()
    again = ReputationStore(tmp_path)
    found, position = again.load()
    again.close()
    assert found[HERE] == seen(9, 4)
    assert len(found) == 2
    assert position == {("receive-0", "1-a"): 800, ("receive-1", "2-b"): 5}
    view = ReputationView.open(tmp_path)
    assert view is not None
    assert view.look_up(HERE) == seen(9, 4)
    assert view.look_up(odd) == seen(1)
    assert view.look_up(subject(1)) is None
    view.close()


def test_positions_of_segments_that_are_gone_go_too(tmp_path: Path) -> None:
    store = ReputationStore(tmp_path)
    store.save({}, position={("receive-0", "1-a"): 400, ("receive-0", "2-b"): 100})
    store.save({}, segments={("receive-0", "2-b")})
    assert store.load()[1] == {("receive-0", "2-b"): 100}
    store.close()


def test_a_row_that_no_history_can_be_made_of_is_left_out(tmp_path: Path) -> None:
    store = ReputationStore(tmp_path)
    store.save({HERE: seen(7), subject(2): seen(8)})
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("UPDATE history SET good = 'much' WHERE name = '192.0.2.1'")
        database.execute("INSERT INTO history VALUES ('planet', 'mars', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)")
    again = ReputationStore(tmp_path)
    assert list(again.load()[0]) == [subject(2)]
    again.close()


def test_nothing_learned_yet_is_no_view(tmp_path: Path) -> None:
    assert ReputationView.open(tmp_path) is None


# --- the shared table


def test_a_reader_finds_what_was_written_and_changed(tmp_path: Path) -> None:
    writer, reader = TableWriter(tmp_path / "table", 1_000), TableReader(tmp_path / "table")
    writer.publish()
    assert reader.look_up(HERE) is None
    writer.put(HERE, seen(7, 3))
    assert reader.look_up(HERE) == seen(7, 3)
    writer.put(HERE, seen(8, 4))
    assert reader.look_up(HERE) == seen(8, 4)
    writer.remove(HERE)
    assert reader.look_up(HERE) is None
    writer.remove(HERE)
    assert not reader.has_imported
    writer.tell_imported(3)
    assert reader.has_imported


def test_ten_thousand_histories_are_all_found(tmp_path: Path) -> None:
    writer, reader = TableWriter(tmp_path / "table", 10_000), TableReader(tmp_path / "table")
    writer.publish()
    for number in range(10_000):
        writer.put(subject(number), seen(1 + number % 50))
    found = sum(reader.look_up(subject(number)) == seen(1 + number % 50) for number in range(10_000))
    assert found > 9_950  # a full bucket loses one now and then
    assert (tmp_path / "table").stat().st_size == memory_size(10_000)


def test_a_flood_of_strangers_makes_it_no_larger_and_those_just_heard_of_stay(tmp_path: Path) -> None:
    writer, reader = TableWriter(tmp_path / "table", 1_000), TableReader(tmp_path / "table")
    writer.publish()
    for number in range(20_000):
        writer.put(subject(number), seen(1, at=NOW + number))
    assert (tmp_path / "table").stat().st_size == memory_size(1_000)
    assert all(reader.look_up(subject(number)) is not None for number in range(19_500, 20_000))


def test_a_reader_notices_a_new_table_and_keeps_to_the_old_one_until_it_is_published(tmp_path: Path) -> None:
    now = [0.0]
    reader = TableReader(tmp_path / "table", clock=lambda: now[0])
    assert reader.look_up(HERE) is None  # there is none yet
    first = TableWriter(tmp_path / "table", 1_000)
    first.put(HERE, seen(7))
    first.publish()
    now[0] += 2
    assert reader.look_up(HERE) == seen(7)
    second = TableWriter(tmp_path / "table", 2_000)
    second.put(HERE, seen(8))
    now[0] += 2
    assert reader.look_up(HERE) == seen(7)
    second.publish()
    now[0] += 2
    assert reader.look_up(HERE) == seen(8)


def test_a_record_that_is_damaged_or_half_written_is_not_found(tmp_path: Path) -> None:
    writer, reader = TableWriter(tmp_path / "table", 1_000), TableReader(tmp_path / "table")
    writer.publish()
    writer.put(HERE, seen(7))
    octets = (tmp_path / "table").read_bytes()
    place = next(position for position in range(64, len(octets)) if octets[position])  # the key; its record lies behind the other keys
    for offset in range(place + 16 * 8, len(octets)):
        if octets[offset]:
            with (tmp_path / "table").open("r+b") as file:
                os.pwrite(file.fileno(), bytes([octets[offset] ^ 1]), offset)
            break
    assert reader.look_up(HERE) is None


@pytest.mark.parametrize("content", [b"", b"x", b"ESAREP01" + bytes(56), os.urandom(5_000)])
def test_a_file_that_is_no_table_tells_nothing_of_anybody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table").write_bytes(content)
    reader = TableReader(tmp_path / "table")
    assert reader.look_up(HERE) is None
    assert not reader.has_imported


def test_another_process_sees_it_at_once(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "table", 1_000)
    writer.publish()
    program = (
        "import sys\nfrom pathlib import Path\nfrom esa.policy.history import Kind, Subject\nfrom esa.store.reputation_table import TableReader\n"
        "reader = TableReader(Path(sys.argv[1]))\n"
        "for line in sys.stdin:\n    print(reader.look_up(Subject(Kind.ADDRESS, line.strip())), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "table")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        answers = []
        for messages in (0, 5, 6):
            if messages:
                writer.put(HERE, seen(messages))
            other.stdin.write("192.0.2.1\n")
            other.stdin.flush()
            answers.append(other.stdout.readline().strip())
        other.stdin.close()
    assert answers == ["None", str(seen(5)), str(seen(6))]


def test_a_table_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        TableWriter(tmp_path / "no-such-folder" / "table", 1_000)
