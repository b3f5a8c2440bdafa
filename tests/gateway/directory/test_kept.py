"""Answers that are kept, failures that are borne, and the database behind them: real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from esa.errors import ConfigurationError
from esa.gateway import events
from esa.gateway.directory.kept import Keeping, KeptSource, Outage
from esa.gateway.directory.silence import GIVE_UP_AFTER, SourceFailure
from esa.gateway.directory.sources import Directory, Finding, Scope, Standing
from esa.gateway.directory.sql import SqlAsker, check_query
from esa.gateway.events import Event as Log
from esa.policy.recipient_access import Recipient, recipient_of

QUERY = "SELECT 1 FROM users WHERE address = :address"


class Oracle:
    """An asker whose answers a test sets: a bool, an exception, or None for silence. Remembers what it was asked."""

    def __init__(self, answer: bool | Exception | None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def ask(self, recipient: Recipient) -> bool:
        self.asked.append(str(recipient))
        if self.answer is None:
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return bool(self.answer)

    async def close(self) -> None:
        pass


async def standing(source: KeptSource, forward_path: str = "anna@example.org") -> Standing:
    answer = source.look_up(recipient_of(forward_path))
    return await answer if isinstance(answer, asyncio.Future) else answer


def kept(asker: Oracle | SqlAsker, **keeping: float | int | Outage) -> KeptSource:
    return KeptSource(Scope("test"), asker, Keeping(**keeping))  # type: ignore[arg-type]


def database(folder: Path, *addresses: str) -> Path:
    path = folder / "users.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE users (address TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO users VALUES (?)", [(address,) for address in addresses])
    connection.close()
    return path


async def test_a_row_is_a_recipient_and_no_row_is_none(tmp_path: Path) -> None:
    source = kept(SqlAsker(database(tmp_path, "anna@example.org"), QUERY, timeout=5))
    assert await standing(source, "ANNA@example.org") is Standing.KNOWN
    assert await standing(source, "bert@example.org") is Standing.UNKNOWN
    await source.close()


@pytest.mark.parametrize("name", ["' OR '1'='1", "x'; DROP TABLE users; --", ":address", "?", "%", '" OR 1=1 --'])
async def test_what_a_client_says_is_a_value_and_never_a_query(tmp_path: Path, name: str) -> None:
    path = database(tmp_path, "anna@example.org")
    source = kept(SqlAsker(path, QUERY, timeout=5))
    assert await standing(source, f'"{name}"@example.org') is Standing.UNKNOWN
    assert await standing(source) is Standing.KNOWN
    await source.close()


async def test_a_query_cannot_write(tmp_path: Path) -> None:
    path = database(tmp_path, "anna@example.org")
    source = kept(SqlAsker(path, "DELETE FROM users RETURNING address", timeout=5))
    assert await standing(source) is Standing.UNSURE
    await source.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
    connection.close()


async def test_a_query_without_end_is_ended_in_time_and_the_next_is_answered(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 1 FROM n WHERE i < 0 AND :local_part = 'slow'"
    query = f"SELECT 1 FROM users WHERE address = :address UNION ALL SELECT * FROM ({endless})"
    source = kept(SqlAsker(database(tmp_path, "anna@example.org"), query, timeout=0.3), timeout=0.3)
    answers = await asyncio.gather(*(standing(source, f"{name}@example.org") for name in ("slow", "anna")))
    assert answers == [Standing.UNSURE, Standing.KNOWN]
    assert await standing(source, "anna@example.org") is Standing.KNOWN
    await source.close()


def test_a_query_that_cannot_be_asked_is_told_before_it_is_served(tmp_path: Path) -> None:
    path = database(tmp_path)
    check_query(path, QUERY)
    for query in ("SELECT 1 FROM nobody", "SELECT", "SELECT 1 FROM users WHERE address = :adress"):
        with pytest.raises(ConfigurationError, match="cannot be asked"):
            check_query(path, query)
    with pytest.raises(ConfigurationError, match="unable to open"):
        check_query(tmp_path / "none.sqlite", QUERY)


@pytest.mark.parametrize(("answer", "expected"), [(True, Standing.KNOWN), (False, Standing.UNKNOWN)])
async def test_an_answer_is_kept_for_its_time(answer: bool, expected: Standing) -> None:
    oracle = Oracle(answer)
    source = kept(oracle, known=0.2, unknown=0.2)
    assert [await standing(source) for _ in range(3)] == [expected] * 3
    assert len(oracle.asked) == 1
    await asyncio.sleep(0.25)
    assert await standing(source) is expected
    assert len(oracle.asked) == 2


async def test_many_who_ask_about_one_recipient_make_one_question() -> None:
    oracle = Oracle(True)
    source = kept(oracle)
    assert set(await asyncio.gather(*(standing(source) for _ in range(100)))) == {Standing.KNOWN}
    assert len(oracle.asked) == 1


async def test_what_is_kept_is_bounded_and_invented_addresses_push_no_real_one_out() -> None:
    oracle = Oracle(True)
    source = kept(oracle, size=100)
    await standing(source, "anna@example.org")
    oracle.answer = False
    for number in range(500):
        await standing(source, f"x{number}@example.org")
    assert await standing(source, "anna@example.org") is Standing.KNOWN
    assert len(oracle.asked) == 501
    await standing(source, "x0@example.org")
    assert len(oracle.asked) == 502


@pytest.mark.parametrize(("outage", "expected"), [("defer", Standing.UNSURE), ("accept", Standing.ASSUMED), ("stale", Standing.UNSURE)])
@pytest.mark.parametrize("answer", [SourceFailure("down"), OSError("down"), ValueError("a mistake of ours"), None])
async def test_an_outage_is_treated_as_its_policy_says(
    outage: Outage, expected: Standing, answer: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Log] = []
    monkeypatch.setattr(events, "error", lambda event, **fields: told.append(event))
    oracle = Oracle(answer)
    source = kept(oracle, timeout=0.05, outage=outage)
    for number in range(GIVE_UP_AFTER + 5):
        assert await standing(source, f"x{number}@example.org") is expected
    assert len(oracle.asked) == GIVE_UP_AFTER  # then it is left alone
    assert told == [Log.SOURCE_SILENT]
    await source.close()


async def test_a_stale_answer_does_during_an_outage() -> None:
    oracle = Oracle(True)
    source = kept(oracle, known=0.0, unknown=0.0, outage="stale", stale=60.0)
    await standing(source, "anna@example.org")
    oracle.answer = False
    await standing(source, "bert@example.org")
    oracle.answer = SourceFailure("down")
    assert await standing(source, "anna@example.org") is Standing.KNOWN
    assert await standing(source, "bert@example.org") is Standing.UNKNOWN
    assert await standing(source, "carla@example.org") is Standing.UNSURE


async def test_a_source_that_answers_again_is_believed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esa.gateway.directory.silence.PAUSE", 0.05)
    told: list[Log] = []
    monkeypatch.setattr(events, "error", lambda event, **fields: told.append(event))
    monkeypatch.setattr(events, "warning", lambda event, **fields: told.append(event))
    oracle = Oracle(SourceFailure("down"))
    source = kept(oracle)
    for number in range(GIVE_UP_AFTER):
        await standing(source, f"x{number}@example.org")
    oracle.answer = True
    assert await standing(source) is Standing.UNSURE
    await asyncio.sleep(0.1)
    assert await standing(source) is Standing.KNOWN
    assert told == [Log.SOURCE_SILENT, Log.SOURCE_ANSWERS]


async def found(directory: Directory, forward_path: str, *, is_named: bool = True) -> Finding:
    answer = directory.find(recipient_of(forward_path), is_named=is_named)
    return answer if isinstance(answer, Finding) else await answer


async def test_sources_are_asked_in_order_about_their_domains_and_the_first_that_knows_decides() -> None:
    no, yes, other = Oracle(False), Oracle(True), Oracle(True)
    directory = Directory(
        [
            KeptSource(Scope("no"), no, Keeping()),
            KeptSource(Scope.of("yes", [".example.org"]), yes, Keeping()),
            KeptSource(Scope.of("other", ["example.net"]), other, Keeping()),
        ]
    )
    assert await found(directory, "a@b.example.org") == Finding(Standing.KNOWN, "yes")
    assert (await found(directory, "a@example.org")).source == "no"
    assert (await found(directory, "a@example.net")).source == "other"
    assert (await found(directory, "a@elsewhere.example", is_named=False)).source == ""
    assert no.asked == ["a@b.example.org", "a@example.org", "a@example.net"]
    assert (yes.asked, other.asked) == (["a@b.example.org"], ["a@example.net"])


async def test_where_one_does_not_know_and_one_could_not_be_asked_it_is_uncertain() -> None:
    for order in (0, 1):
        sources = [KeptSource(Scope("no"), Oracle(False), Keeping()), KeptSource(Scope("ill"), Oracle(SourceFailure("down")), Keeping())]
        finding = await found(Directory(sources[::-1] if order else sources), "a@example.org")
        assert (finding.standing, finding.source) == (Standing.UNSURE, "ill")
