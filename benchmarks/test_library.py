"""Speed of the library as its users call it, and the time until a first verdict; `make bench`."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import esa


def _report(benchmark: BenchmarkFixture, n: int) -> None:
    benchmark.extra_info["us_per_message"] = round(1e6 * benchmark.stats["median"] / n, 2)


def test_scan_many(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    benchmark(lambda: list(esa.scan_many(mail)))
    _report(benchmark, len(mail))


def test_scan_one_by_one(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    benchmark(lambda: [esa.scan(raw) for raw in mail])
    _report(benchmark, len(mail))


def test_scan_and_read_the_reasons(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    benchmark(lambda: [list(report.reasons) for report in esa.scan_many(mail)])
    _report(benchmark, len(mail))


def test_scan_async(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    async def scan_all() -> None:
        for raw in mail:
            await esa.scan_async(raw)

    benchmark(lambda: asyncio.run(scan_all()))
    _report(benchmark, len(mail))


@pytest.mark.parametrize(
    "code",
    ["pass", "import esa", "import esa; esa.Scanner", "import esa; esa.scan(b'Subject: x\\r\\n\\r\\n')"],
    ids=["python", "import", "load", "first verdict"],
)
def test_start(benchmark: BenchmarkFixture, code: str) -> None:
    """Wall time of a whole process; the bar for `import esa` is 150 ms, the interpreter's own start included."""
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds=7, warmup_rounds=1)
