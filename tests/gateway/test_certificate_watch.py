"""The ends of certificates are told in the log, each step once, and stand in the metrics."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esa.gateway import events
from esa.gateway.certificates.watch import Watch
from esa.gateway.metrics import Counters
from tests.gateway.chains import HOST, SEED_END, Chains, issue


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root, esa = logging.getLogger(), logging.getLogger("esa")
    kept = root.handlers[:], root.level, esa.level, logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    stream = io.StringIO()
    events.configure("service", stream=stream)
    yield stream
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    esa.setLevel(kept[2])
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = kept[3:]


def told(log: io.StringIO) -> list[str]:
    """Level, event and days left of each line."""
    lines = log.getvalue().splitlines()
    log.seek(0)
    log.truncate()
    return [f"{line.split()[1]} {line.split()[3]} {line.rpartition('=')[2]}" for line in lines]


def chain_with(chains: Chains, days: float) -> str:
    now = datetime.now(UTC)
    server = chains.server(begin=now - timedelta(days=300), end=now + timedelta(days=days, hours=1))
    return str(chains.files(server, chains.intermediate)[0])


def test_each_step_is_told_once_and_louder_near_the_end(tmp_path: Path, log: io.StringIO) -> None:
    chains = Chains(tmp_path)
    files = [chain_with(chains, days) for days in (100, 55, 20, 1)]
    watch = Watch(lambda: files)
    watch.look()
    watch.look()
    assert told(log) == [f"{level} event=certificate.expiring {days}" for level, days in (("info", 55), ("warning", 20), ("error", 1))]


def test_what_has_expired_is_an_error_and_a_renewed_one_is_told_anew(tmp_path: Path, log: io.StringIO) -> None:
    chains = Chains(tmp_path)
    chain = Path(chain_with(chains, -3))
    watch = Watch(lambda: [str(chain)])
    watch.look()
    assert told(log) == ["error event=certificate.expired -3"]
    for _ in range(2):
        chain.write_bytes(Path(chain_with(chains, 5)).read_bytes())
        watch.look()
    assert told(log) == ["warning event=certificate.expiring 5"] * 2
    chain.write_bytes(Path(chain_with(chains, 200)).read_bytes())
    watch.look()
    assert told(log) == []


def test_an_intermediate_certificate_that_ends_counts(tmp_path: Path, log: io.StringIO) -> None:
    chains = Chains(tmp_path)
    old = issue("Old Intermediate", by=chains.root, is_authority=True, end=SEED_END)
    chain, _ = chains.files(issue(HOST, by=old, names=[HOST]), old)
    Watch(lambda: [str(chain)]).look()
    assert 'name="CN=Old Intermediate" end=2019-05-20T22:00:00+00:00' in log.getvalue()


def test_metrics_have_the_end_of_each_file_and_none_that_cannot_be_read(tmp_path: Path) -> None:
    chains = Chains(tmp_path)
    chain, _ = chains.files(chains.server(end=SEED_END), chains.intermediate)
    watch = Watch(lambda: [str(chain), str(tmp_path / "none.pem"), str(chains.folder / "chain-1.key")])
    watch.look()
    text = Counters.create(tmp_path / "counters").prometheus_text(watch).decode()
    (line,) = (line for line in text.splitlines() if line.startswith("esa_certificate"))
    name, _, value = line.rpartition(" ")
    assert (name, float(value)) == (f'esa_certificate_end_timestamp_seconds{{certificate="{chain}"}}', SEED_END.timestamp())
