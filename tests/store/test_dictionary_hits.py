"""Hits of dictionary entries: counted once from records, whatever dies in between, and begun anew if the file is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from esa.engine.verdict import Report, Verdict
from esa.store.dictionary_hits import FILE_NAME, TERMS, TERMS_TOLD, DictionaryHits, Hits, hits_of, terms_told
from esa.store.record import Event, EventName, Record
from tests.store.messages import fill, make_record, read_state

NOW = 1_800_000_000.0


def told(at: float, terms: object) -> Record:
    return replace(make_record(), events=(Event(EventName.ACCEPTED, at, {TERMS: terms}),))


def test_occurrences_messages_and_the_last_time_are_counted_by_entry(tmp_path: Path) -> None:
    fill(tmp_path, [told(NOW, {"d": {"bank": 2, "x": 1}}), told(NOW - 50, {"d": {"bank": 1}, "e": {"bank": 7}}), make_record()])
    hits = DictionaryHits(tmp_path)
    hits.add(read_state(tmp_path))
    assert hits_of(tmp_path, "d") == {"bank": Hits(3, 2, NOW), "x": Hits(1, 1, NOW)}
    assert hits_of(tmp_path, "e") == {"bank": Hits(7, 1, NOW - 50)}
    assert hits_of(tmp_path, "f") == {}
    hits.close()


def test_what_was_counted_is_not_counted_again_after_a_crash(tmp_path: Path) -> None:
    fill(tmp_path, [told(NOW, {"d": {"bank": 2}})])
    batch = read_state(tmp_path)
    for _ in range(2):
        hits = DictionaryHits(tmp_path)
        hits.add(batch)
        hits.add(batch)
        hits.close()
    assert hits_of(tmp_path, "d") == {"bank": Hits(2, 1, NOW)}


def test_positions_of_segments_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    fill(tmp_path, [told(NOW, {"d": {"bank": 2}})])
    batch = read_state(tmp_path)
    hits = DictionaryHits(tmp_path)
    hits.add(batch)
    hits.forget_segments([(one.location.writer, one.location.segment) for one in batch.stored])
    hits.close()
    again = DictionaryHits(tmp_path)
    again.add(batch)  # as if it were another segment of that name
    again.close()
    assert hits_of(tmp_path, "d") == {"bank": Hits(4, 2, NOW)}


def test_what_is_no_count_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, [told(NOW, {"d": {"a": "2", "b": -1, "c": 0}, "e": [1]}), told(NOW, "odd"), told(NOW, {"d": {"\udcff": 1}})])
    hits = DictionaryHits(tmp_path)
    hits.add(read_state(tmp_path))
    hits.close()
    assert hits_of(tmp_path, "d") == {"\\udcff": Hits(1, 1, NOW)}


def test_a_damaged_file_is_put_aside_and_counting_goes_on(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    hits = DictionaryHits(tmp_path)
    assert hits.lost == f"{FILE_NAME}.damaged-1"
    fill(tmp_path, [told(NOW, {"d": {"bank": 2}})])
    hits.add(read_state(tmp_path))
    hits.close()
    assert hits_of(tmp_path, "d") == {"bank": Hits(2, 1, NOW)}
    assert (tmp_path / hits.lost).read_bytes().startswith(b"no database")


def test_nothing_was_counted_where_there_is_no_file(tmp_path: Path) -> None:
    assert hits_of(tmp_path, "d") == {}


def test_a_report_tells_a_bounded_number_of_entries() -> None:
    terms = {f"t{number}": 1 for number in range(TERMS_TOLD + 20)}
    facts = {"a": {"score": 1, "terms": {"x": 3}}, "b": {"score": 1, "terms": terms}, "c": {"score": 1, "terms": {"y": 1}}}
    report = Report(Verdict.CLEAN, 0.0, 0.0, checks={"dictionaries": facts})
    found = terms_told(report)
    assert found["a"] == {"x": 3}
    assert len(found["b"]) == TERMS_TOLD - 1
    assert "c" not in found
    assert terms_told(Report(Verdict.CLEAN, 0.0, 0.0)) == {}
