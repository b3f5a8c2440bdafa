"""Structure scan and decoding by themselves, and fast-mail-parser (Rust, on the mailparse crate) on the same messages in the same process.

    python benchmarks/decode.py [--write]

Thread CPU time, rounds in turn, medians. fast-mail-parser decodes header, bodies and attachments and leaves HTML as it is; ours does the same in
the row of bodies (in all readings, with names, addresses and the links of plain text), which is what is compared. The next row turns HTML into
text as seen and as written, and finds its links, as well. First both without making Python objects of what was found, then with: header
fields, subject, and every text as it is written. Bars: structure scan 2 GB/s, decoding with HTML 0.5 GB/s, fast-mail-parser costs 4 times as
much as the bodies. Exit 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fast_mail_parser
from mail import corpus_path, read
from results import table, write_section

from esa_core import parse
from esa_core._steps import run

BATCH = 256
BAR_STRUCTURE, BAR_DECODE, BAR_RATIO = 2.0, 0.5, 4.0
STRUCTURE, BODIES, DECODE, FOLD = "structure scan", "bodies and attachments decoded", "decoded, HTML to text and links", "and folded"
PEER, PEER_READ = "fast-mail-parser", "fast-mail-parser, and read as Python objects"
OURS_READ, OURS_SEEN = "bodies, and read as Python objects", "HTML to text, and read as Python objects"


def batches(raws: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [raws[start : start + BATCH] for start in range(0, len(raws), BATCH)]


def works(raws: Sequence[bytes]) -> dict[str, Callable[[], object]]:
    parts = batches(raws)

    def their_objects() -> None:
        for part in parts:
            for mail in fast_mail_parser.parse_many(list(part), threads=1):
                if not isinstance(mail, fast_mail_parser.ParseError):
                    _ = (mail.headers, mail.subject, mail.text_plain, mail.text_html)

    def our_objects() -> None:
        for raw in raws:
            mail = parse(raw)
            _ = (mail.headers, mail.subject, [part.decoded for part in mail.parts])

    def our_texts() -> None:
        for raw in raws:
            mail = parse(raw)
            _ = (mail.headers, mail.subject, [part.text for part in mail.parts])

    return {
        STRUCTURE: lambda: [run(part, step="structure") for part in parts],
        BODIES: lambda: [run(part, step="bodies") for part in parts],
        DECODE: lambda: [run(part, step="decode") for part in parts],
        FOLD: lambda: [run(part, step="fold") for part in parts],
        PEER: lambda: [fast_mail_parser.parse_many(list(part), threads=1) for part in parts],
        OURS_READ: our_objects,
        OURS_SEEN: our_texts,
        PEER_READ: their_objects,
    }


def measure(raws: Sequence[bytes], rounds: int) -> dict[str, float]:
    """CPU seconds of each, medians."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in works(raws).items():
            began = time.thread_time()
            work()
            times.setdefault(name, []).append(time.thread_time() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def rows(name: str, raws: Sequence[bytes], times: dict[str, float]) -> list[list[object]]:
    octets = sum(map(len, raws))
    lines: list[list[object]] = []
    for what, seconds in times.items():
        peer = {BODIES: PEER, DECODE: PEER, OURS_READ: PEER_READ, OURS_SEEN: PEER_READ}.get(what)
        ratio = f"{times[peer] / seconds:.1f}× ours" if peer else ""
        lines.append([name, what, f"{1e6 * seconds / len(raws):.2f}", f"{octets / seconds / 1e9:.2f}", ratio])
    return lines


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=7, help="rounds of each (default 7)")
    options.add_argument("--corpus", type=Path, default=None, help="corpus archive or folder (default: shared spamassassin)")
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    chosen = options.parse_args()
    raws, _ = read(chosen.corpus or corpus_path("spamassassin"))
    plain = [raw for raw in raws if not any(part.media_type == "text/html" for part in parse(raw).parts)]
    refused = sum(isinstance(mail, fast_mail_parser.ParseError) for mail in fast_mail_parser.parse_many(raws, threads=1))
    whole, without = measure(raws, chosen.rounds), measure(plain, chosen.rounds)
    octets = sum(map(len, raws))
    structure, decode = octets / whole[STRUCTURE] / 1e9, octets / whole[DECODE] / 1e9
    ratio = whole[PEER] / whole[BODIES]
    lines = rows(f"all {len(raws):,}", raws, whole) + rows(f"the {len(plain):,} without HTML", plain, without)
    text = table(["messages", "what", "CPU µs a message", "GB/s", "fast-mail-parser"], lines)
    text += (
        f"\n\nBars: structure scan {BAR_STRUCTURE:.0f} GB/s ({_met(structure >= BAR_STRUCTURE)}: {structure:.2f}); decoding with HTML "
        f"{BAR_DECODE} GB/s ({_met(decode >= BAR_DECODE)}: {decode:.2f}); fast-mail-parser costs {BAR_RATIO:.0f} times as much "
        f"as the bodies ({_met(ratio >= BAR_RATIO)}: {ratio:.1f}). Corpus spamassassin, {octets / len(raws):,.0f} octets "
        f"mean; {chosen.rounds} rounds in turn. fast-mail-parser refuses {refused} of the messages."
    )
    print(text)
    if chosen.write:
        write_section("decode", text, title="Structure scan and decoding, and fast-mail-parser")
    return 0 if structure >= BAR_STRUCTURE and decode >= BAR_DECODE and ratio >= BAR_RATIO else 1


def _met(yes: bool) -> str:
    return "met" if yes else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
