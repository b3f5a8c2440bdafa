"""What filters and policies cost, for `/metrics`: the stages, and the dearest filters. Asked by `health`; the workers wrote it down (`costing`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from esa.policy.filters.costs import CHOOSING
from esa.store.costs import FOLDER, read_all

MOST_FILTERS = 20  # that are told of: each is a series that somebody keeps; `esa filters check --cost` tells of all


class CostCollector(Collector):
    """`state` is the state folder. Of all receive workers together, as they last wrote."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are checked when collected."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        costs = read_all(self._folder)
        if not costs.messages:
            return
        share = costs.messages / costs.timed if costs.timed else 0.0
        sentence = "Processor time of deciding about messages by stage, microseconds; one message in 64 is timed."
        stages = CounterMetricFamily("esa_policy_microseconds", sentence, labels=["stage"])
        for stage, nanoseconds in costs.stages.items():
            stages.add_metric(["choosing filters" if stage == CHOOSING else stage], nanoseconds / 1000 * share)
        times = CounterMetricFamily(
            "esa_filter_microseconds", "Processor time of the dearest filters, microseconds.", labels=["stage", "filter"]
        )
        hits = CounterMetricFamily("esa_filter_hits", "Messages that the dearest filters acted for.", labels=["stage", "filter"])
        last = GaugeMetricFamily(
            "esa_filter_last_hit_seconds", "When the dearest filters last acted, Unix seconds.", labels=["stage", "filter"]
        )
        for one in costs.dearest(MOST_FILTERS):
            labels = [one.stage, one.name]
            times.add_metric(labels, one.nanoseconds / 1000 * share)
            hits.add_metric(labels, one.hits)
            last.add_metric(labels, one.last_hit)
        yield from (stages, times, hits, last)
