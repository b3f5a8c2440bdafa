"""Packs url-wpt (URLs as a browser reads them, names to ASCII) and psl (registrable domains)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from esa_core import Link
from esa_core._domain import domain_to_ascii, registrable_domain
from tests.conformance.outcome import Outcome, judged, skipped

ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x\{([0-9A-Fa-f]+)\}")


def run_wpt(folder: Path) -> Iterator[Outcome]:
    for number, case in enumerate(json.loads((folder / "urltestdata.json").read_text("utf-8"))):
        base = case["base"] or ""
        name = f"{number} {case['input']!r} from {base!r}"
        link = Link(case["input"], "", "anchor", 0, False, base)
        if case.get("failure"):
            if base and not base.startswith(("http:", "https:")):
                yield skipped(name, "neither http nor https")
            else:
                yield judged(name, link.host == "", f"not malformed: {link.host!r}")
        elif case["protocol"] in ("http:", "https:"):
            wanted = (case["hostname"], case["href"])
            yield judged(name, (link.host, link.normal) == wanted, f"{(link.host, link.normal)!r}, not {wanted!r}")
        else:
            yield skipped(name, "neither http nor https")
    yield from names(folder / "IdnaTestV2.txt")


def names(path: Path) -> Iterator[Outcome]:
    """Name, Unicode, status, ASCII, status: an empty column is as the one before it."""
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        columns = [unescaped(column.strip()) for column in line.partition("#")[0].split(";")]
        if len(columns) < 5:
            continue
        source, shown, status, wanted, ascii_status = columns[:5]
        shown = shown or source
        errors = (ascii_status or status or "[]") != "[]"
        found = domain_to_ascii(source, strict=True)
        fine = found is None if errors else found == (wanted or shown)
        yield judged(
            f"idna {number} {source!r}", fine, f"{found!r}, not {'malformed ' + (ascii_status or status) if errors else wanted or shown!r}"
        )


def unescaped(text: str) -> str:
    text = ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
    return "" if text == '""' else text


def run_psl(folder: Path) -> Iterator[Outcome]:
    for line in (folder / "tests.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("//"):
            continue
        name, wanted = line.split()
        host = "" if name == "null" else domain_to_ascii(name) or ""
        found = registrable_domain(host)
        yield judged(line, found == ("" if wanted == "null" else domain_to_ascii(wanted)), f"{found!r}")
