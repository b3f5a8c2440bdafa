"""Damaged spools: every record that is whole is found, none that is not, and what is missing is told."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from esa.errors import StoreError
from esa.store.segments import Damage, SpoolReader, Stored, read_message
from esa.store.spool import Spool
from tests.store.messages import PREFIX, fill, identifiers, make_record, read_all, segments_of

TEARS = 300


def written(state: Path, count: int, chance: random.Random) -> tuple[Path, bytes, list[Stored]]:
    """A segment of `count` records of mixed sizes; its path, octets, and the records in order."""
    fill(state, [make_record(chance.randbytes(chance.choice([0, 10, 500, 3000, 20_000]))) for _ in range(count)])
    [segment] = segments_of(state)
    return segment, segment.read_bytes(), read_all(SpoolReader(state / "spool")).stored


def tear(data: bytes, chance: random.Random) -> tuple[bytes, int, int]:
    """Damage a copy: cut it, zero 4 KiB, or flip a bit. Returns it and the range that changed."""
    kind = chance.randrange(3)
    place = chance.randrange(len(data))
    if kind == 0:
        return data[:place], place, len(data)
    if kind == 1:
        end = min(place + 4096, len(data))
        return data[:place] + bytes(end - place) + data[end:], place, end
    flipped = bytearray(data)
    flipped[place] ^= 1 << chance.randrange(8)
    return bytes(flipped), place, place + 1


def test_every_record_outside_of_the_damage_is_recovered_and_none_inside(tmp_path: Path) -> None:
    chance = random.Random(20)
    segment, data, stored = written(tmp_path, 30, chance)
    for number in range(TEARS):
        torn, start, end = tear(data, chance)
        segment.write_bytes(torn)
        found = read_all(SpoolReader(tmp_path / "spool"))
        whole = [one.record.id for one in stored if one.location.offset + one.location.length <= start or one.location.offset >= end]
        # Zeroes over zeroes change nothing: a record may also be whole although the damage touched it.
        intact = [
            one.record.id
            for one in stored
            if torn[one.location.offset : one.location.offset + one.location.length]
            == data[one.location.offset : one.location.offset + one.location.length]
        ]
        assert set(whole) <= set(intact)
        assert identifiers(found.stored) == intact, f"tear {number} at {start}"
        if torn[: len(data)] != data and intact != identifiers(stored) and len(torn) not in {0, *(s.location.offset for s in stored)}:
            assert found.damages, f"tear {number} at {start}"


def test_two_damaged_places_hide_nothing_between_them(tmp_path: Path) -> None:
    segment, data, stored = written(tmp_path, 12, random.Random(3))
    torn = bytearray(data)
    for index in (2, 7):
        torn[stored[index].location.offset + 3] ^= 0xFF
    segment.write_bytes(torn)
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert identifiers(found.stored) == [one.record.id for index, one in enumerate(stored) if index not in (2, 7)]
    assert [(damage.kind, damage.lost, damage.offset) for damage in found.damages] == [
        ("damaged", 1, stored[2].location.offset),
        ("damaged", 1, stored[7].location.offset),
    ]


def test_the_number_of_records_lost_is_told(tmp_path: Path) -> None:
    segment, data, stored = written(tmp_path, 12, random.Random(4))
    start, end = stored[3].location.offset, stored[8].location.offset
    segment.write_bytes(data[:start] + bytes(end - start) + data[end:])
    [damage] = read_all(SpoolReader(tmp_path / "spool")).damages
    assert damage == Damage("receive-0", segment.name, start, end - start, "damaged", 5)


def test_a_torn_tail_of_a_killed_writer_is_told_apart_from_damage(tmp_path: Path) -> None:
    first = make_record()
    fill(tmp_path, [first])
    [segment] = segments_of(tmp_path)
    # The committed page of a writer that was killed while it wrote the second group still points behind the first one.
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[:30])
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert identifiers(found.stored) == [first.id]
    assert [(damage.kind, damage.lost) for damage in found.damages] == [("torn", 0)]


def test_a_header_inside_of_mail_content_is_never_taken_for_a_record(tmp_path: Path) -> None:
    other = tmp_path / "other"
    fill(other, [make_record(b"forged")])
    forged = segments_of(other)[0].read_bytes()
    fill(tmp_path, [make_record(b"x" * 5000 + forged + b"y" * 5000), make_record()])
    [segment] = segments_of(tmp_path)
    data = bytearray(segment.read_bytes())
    data[2] ^= 0xFF
    segment.write_bytes(data)
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert len(found.stored) == 1
    assert found.damages[0].lost == 1


@pytest.mark.parametrize("name", ["README", "x.seg", "0000000000000001-0000000000000002.seg.bak", "000000000000000g-0000000000000002.seg"])
def test_foreign_files_are_left_alone(tmp_path: Path, name: str) -> None:
    fill(tmp_path, [make_record()])
    (tmp_path / "spool/receive-0/segments" / name).write_bytes(b"foreign")
    assert len(read_all(SpoolReader(tmp_path / "spool")).stored) == 1


def test_an_empty_segment_and_one_of_garbage_do_not_block_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "spool/receive-0/segments"
    fill(tmp_path, [make_record()])
    (folder / "0000000000000001-0000000000000002.seg").write_bytes(b"")
    (folder / "0000000000000002-0000000000000002.seg").write_bytes(os.urandom(10_000))
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert len(found.stored) == 1
    assert [damage.length for damage in found.damages] == [10_000]


def test_a_segment_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "other", [make_record()])
    fill(tmp_path, [make_record()])
    link = tmp_path / "spool/receive-0/segments/0000000000000001-0000000000000002.seg"
    link.symlink_to(segments_of(tmp_path / "other")[0])
    found = read_all(SpoolReader(tmp_path / "spool"))
    assert len(found.stored) == 1


def test_a_message_damaged_after_it_was_read_is_not_handed_on(tmp_path: Path) -> None:
    segment, data, stored = written(tmp_path, 3, random.Random(5))
    torn = bytearray(data)
    torn[stored[1].location.offset + stored[1].location.length - 1] ^= 1
    segment.write_bytes(torn)
    with pytest.raises(StoreError, match="damaged") as fault:
        read_message(tmp_path / "spool", stored[1].location)
    assert fault.value.is_damaged
    assert read_message(tmp_path / "spool", stored[0].location).to_bytes().startswith(PREFIX)


def test_damage_in_the_committed_part_of_a_living_writer_is_passed_over(tmp_path: Path) -> None:
    first, second, third = make_record(), make_record(), make_record()
    reader = SpoolReader(tmp_path / "spool")
    with Spool(tmp_path / "spool", "receive-0") as spool:
        spool.append([first, second])
        [segment] = segments_of(tmp_path)
        with segment.open("r+b") as file:
            file.seek(segment.stat().st_size - 200)
            file.write(bytes(200))
        found = read_all(reader)
        assert identifiers(found.stored) == [first.id]
        assert [damage.kind for damage in found.damages] == ["damaged"]
        spool.append([third])
        assert identifiers(read_all(reader).stored) == [third.id]


def test_a_segment_of_another_owner_is_told_once_and_does_not_block_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [make_record()])
    fill(tmp_path, [make_record()])
    foreign = segments_of(tmp_path)[0]
    real = os.open

    def refusing(path: str | os.PathLike[str], *given: int, **named: int) -> int:
        if Path(path) == foreign:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *given, **named)

    monkeypatch.setattr(os, "open", refusing)
    reader = SpoolReader(tmp_path / "spool")
    found = read_all(reader)
    assert len(found.stored) == 1
    assert [damage.kind for damage in found.damages] == ["unreadable"]
    assert not reader.read()
    assert (("receive-0", foreign.name)) not in reader.cursors
