"""Pack address-isemail: the grammar of mailbox addresses in the envelope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from esa.errors import SyntaxFault
from esa.message.address import Address
from tests.conformance.outcome import Outcome, judged, skipped

REFUSED = {"ISEMAIL_ERR"}
TAKEN = {"ISEMAIL_VALID_CATEGORY", "ISEMAIL_VALID", "ISEMAIL_RFC5321", "ISEMAIL_DNSWARN"}


def run(folder: Path) -> Iterator[Outcome]:
    for case in json.loads((folder / "cases.json").read_text("utf-8")):
        name = f"{case['id']} {case['address'][:40]!r}"
        if case["category"] not in REFUSED | TAKEN:
            yield skipped(name, "only of header fields; an envelope may refuse it")
            continue
        try:
            Address.parse(case["address"])
            taken = True
        except SyntaxFault:
            taken = False
        wanted = case["category"] in TAKEN
        yield judged(name, taken == wanted, f"{'refused' if wanted else 'taken'}, {case['diagnosis']}")
