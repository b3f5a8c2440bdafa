"""Packs mime-mime4j and mime-ambiguity: no body part is lost, and what can be read in two ways is found or flagged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import esa_core
from tests.conformance.outcome import Outcome, judged, skipped

MARKER = b"esa-conformance-marker-9c1f7e"
EXECUTABLE = (".exe",)
LATER = {"from/from-punycode": "look-alike domains come with the checks of authors"}


def run_mime4j(folder: Path) -> Iterator[Outcome]:
    for path in sorted(folder.glob("*/*.msg")):
        name = f"{path.parent.name}/{path.stem}"
        parsed = esa_core.parse(path.read_bytes())
        readings = _readings(parsed)
        leaves = [leaf for kind in ("txt", "bin") for leaf in sorted(path.parent.glob(f"{path.stem}_decoded_*.{kind}"))]
        lost = [leaf for leaf in leaves if not _is_read(leaf.read_bytes(), readings, whole=True)]
        if parsed.flags:  # malformed and said so: then what is in it must still be found in some reading
            lost = [leaf for leaf in lost if not _is_read(leaf.read_bytes(), readings, whole=False)]
        yield judged(name, not lost, f"lost: {', '.join(leaf.name for leaf in lost)}")


def run_ambiguity(folder: Path) -> Iterator[Outcome]:
    for case in json.loads((folder / "cases.json").read_text("utf-8")):
        parsed = esa_core.parse((folder / case["file"]).read_bytes())
        found = _is_found(parsed)
        flagged = bool(parsed.flags)
        holds = {
            "found": found,
            "flagged": flagged,
            "found-or-flagged": found or flagged,
            "clean": not flagged,
            "no-crash": True,
        }[case["must"]]
        name = f"{case['group']}/{Path(case['file']).stem}"
        if name in LATER:
            yield skipped(name, LATER[name])
            continue
        yield judged(name, holds, f"must be {case['must']}; flags: {', '.join(parsed.flags) or 'none'}")


def _readings(parsed: esa_core.Parsed) -> list[bytes]:
    """Every reading of every leaf: decoded octets, and text in UTF-8."""
    found: list[bytes] = []
    for part in parsed.parts:
        found.extend(_normal(content) for content in part.contents())
        found.append(_normal(part.text.encode("utf-8", "replace")))
    return found


def _normal(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n")


def _is_read(leaf: bytes, readings: list[bytes], *, whole: bool) -> bool:
    """Whether a reading is this leaf; where only parts are asked for, whether one reading holds each of its lines."""
    for wanted in (_normal(leaf), _normal(leaf.decode("latin-1").encode("utf-8"))):
        lines = [wanted] if whole else [line for line in wanted.split(b"\n") if line]
        if any(wanted == reading or (not whole and all(line in reading for line in lines)) for reading in readings):
            return True
    return False


def _is_found(parsed: esa_core.Parsed) -> bool:
    """Whether a content rule on the marker, or an attachment rule on executables, would fire."""
    if MARKER in parsed.folded:
        return True
    for part in parsed.parts:
        if any(MARKER in content.lower() or content[:2] == b"MZ" for content in part.contents()):
            return True
        if any(name.lower().rstrip(" .\x00").endswith(EXECUTABLE) for name in part.file_names):
            return True
    return False
