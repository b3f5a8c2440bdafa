"""Speed of the core's rooms on real mail, one native call a batch; `make bench`. No figure is asserted here: machines differ."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mail import dictionary_terms
from pytest_benchmark.fixture import BenchmarkFixture

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import Automaton, Engine, Program, fold, parse


def _report(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    benchmark.extra_info["messages"] = len(mail)
    benchmark.extra_info["us_per_message"] = round(1e6 * benchmark.stats["median"] / len(mail), 2)
    benchmark.extra_info["megabytes_per_second"] = round(sum(map(len, mail)) / benchmark.stats["median"] / 1e6, 1)


@pytest.fixture(scope="session")
def folded(mail: list[bytes]) -> list[bytes]:
    return [parse(raw).folded for raw in mail]


@pytest.fixture(scope="session")
def terms(mail: list[bytes]) -> list[bytes]:
    return [fold(term.encode()) for term in dictionary_terms(mail, 10_000)]


def test_parse_structure(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    benchmark(lambda: [parse(raw) for raw in mail])
    _report(benchmark, mail)


def test_parse_decode_and_fold(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    engine = Engine()
    benchmark(engine.scan, mail)
    _report(benchmark, mail)


def test_fold_text(benchmark: BenchmarkFixture, folded: list[bytes]) -> None:
    benchmark(lambda: [fold(text) for text in folded])
    _report(benchmark, folded)


@pytest.mark.parametrize("n", [1_000, 10_000])
def test_match_terms(benchmark: BenchmarkFixture, folded: list[bytes], terms: list[bytes], n: int) -> None:
    automaton = Automaton(terms[:: len(terms) // n], whole_word=False)
    benchmark(automaton.scan, folded)
    _report(benchmark, folded)


def test_facts_and_cards(benchmark: BenchmarkFixture, mail: list[bytes]) -> None:
    engine = native_engine(Model.load(), None)
    benchmark(engine.scan, mail)
    _report(benchmark, mail)


@pytest.mark.parametrize("batch", [1, 4, 16, 256])
def test_whole_pipeline_with_ten_thousand_terms(benchmark: BenchmarkFixture, mail: list[bytes], terms: list[bytes], batch: int) -> None:
    engine = native_engine(Model.load(), Program(terms))
    work: Callable[[], object] = lambda: [engine.scan(mail[i : i + batch]) for i in range(0, len(mail), batch)]  # noqa: E731
    benchmark(work)
    _report(benchmark, mail)
