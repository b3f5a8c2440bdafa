"""Pack markers: GTUBE is positive whatever the model thinks; EICAR waits for the anti-virus stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import esa
from tests.conformance.outcome import Outcome, judged, skipped

VERDICTS = {"spam": {esa.Verdict.POSITIVE}, "clean": {esa.Verdict.CLEAN}, "any": set(esa.Verdict)}


def run(folder: Path) -> Iterator[Outcome]:
    for case in json.loads((folder / "cases.json").read_text("utf-8")):
        name = Path(case["file"]).stem
        if case["verdict"] not in VERDICTS or name.startswith("eicar"):
            yield skipped(name, "the anti-virus stage is a later issue")
            continue
        report = esa.scan((folder / case["file"]).read_bytes())
        yield judged(name, report.verdict in VERDICTS[case["verdict"]], f"{report.verdict}, score {report.score:.1f}")
