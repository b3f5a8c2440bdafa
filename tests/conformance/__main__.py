"""`make conformance`: run the shared packs, print pack by pack what passed, failed and was skipped, and why.

    python -m tests.conformance [--verbose] [PACK…]

Exit code 0: every pack reaches what main holds of it; 1: one falls below that; 3: packs are absent and ESA_REQUIRE=all.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.conformance import addresses, fields, html, injection, limits, markers, policy, strings, structure, urls, wire
from tests.conformance.outcome import Outcome, Pack, Result
from tests.conftest import REQUIRE_ALL, SHARED

PACKS = (
    Pack("address-isemail", addresses.run),
    Pack("header-fields", fields.run, share=0.98, floor=0.98),
    Pack("html-dompurify", html.run_payloads),
    Pack("html5lib-tests", html.run, share=0.98, floor=0.98),
    Pack("injection-strings", injection.run),
    Pack("limits", limits.run),
    Pack("markers", markers.run),
    Pack("mime-ambiguity", structure.run_ambiguity),
    Pack("mime-mime4j", structure.run_mime4j),
    Pack("policy", policy.run, is_ours=True),
    Pack("psl", urls.run_psl),
    Pack("smtp-dialogues", wire.run_dialogues),
    Pack("smtp-smuggling", wire.run_smuggling),
    Pack("strings-blns", strings.run),
    Pack("url-wpt", urls.run_wpt, share=0.99, floor=0.99),
)
LATER = {
    "arc-valimail": "ARC is a later issue",
    "archives": "opening archives and documents is a later issue",
    "authentication-results": "Authentication-Results is a later issue",
    "dkim-generated": "DKIM is a later issue",
    "dkim-mail-dkim": "DKIM is a later issue",
    "dmarc": "DMARC is a later issue",
    "spf-rfc7208": "SPF is a later issue",
    "spoofing-espoofer": "it needs SPF, DKIM and DMARC",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Run the shared conformance packs.")
    parser.add_argument("packs", nargs="*", metavar="PACK", help="only these packs")
    parser.add_argument("--verbose", action="store_true", help="name every case that failed or was skipped, not only the first few")
    options = parser.parse_args(arguments)
    known = {pack.name: pack for pack in PACKS}
    if unknown := set(options.packs) - set(known) - set(LATER):
        parser.error(f"no pack is called {', '.join(sorted(unknown))}; packs: {', '.join(sorted(set(known) | set(LATER)))}")
    wanted = options.packs or sorted(set(known) | set(LATER))
    print(f"{'pack':24} {'passed':>7} {'failed':>7} {'skipped':>8}")
    worst = 0
    for name in wanted:
        folder = SHARED / "conformance" / name
        if name in known and known[name].is_ours:
            worst = max(worst, run(known[name], folder, verbose=options.verbose))
        elif not folder.is_dir():
            print(f"{name:24} absent: no {folder}")
            worst = max(worst, 3 if REQUIRE_ALL else 0)
        elif name in LATER:
            print(f"{name:24} {'-':>7} {'-':>7} {'all':>8}   {LATER[name]}")
        else:
            worst = max(worst, run(known[name], folder, verbose=options.verbose))
    return worst


def run(pack: Pack, folder: Path, *, verbose: bool) -> int:
    """Run and print one pack; 1 if it falls below what main holds."""
    outcomes = list(pack.run(folder))
    counts = Counter(outcome.result for outcome in outcomes)
    print(f"{pack.name:24} {counts[Result.PASSED]:7} {counts[Result.FAILED]:7} {counts[Result.SKIPPED]:8}   {verdict(pack, outcomes)}")
    failures = [outcome for outcome in outcomes if outcome.result is Result.FAILED]
    for outcome in failures[: None if verbose else 8]:
        print(f"    failed  {outcome.case}: {outcome.reason}")
    if len(failures) > 8 and not verbose:
        print(f"    … and {len(failures) - 8} more (--verbose)")
    for reason, count in Counter(outcome.reason for outcome in outcomes if outcome.result is Result.SKIPPED).items():
        print(f"    skipped {count}: {reason}")
    sys.stdout.flush()
    return 1 if share_of(outcomes) < pack.floor else 0


def share_of(outcomes: Sequence[Outcome]) -> float:
    """The share that passed of what was run."""
    counts = Counter(outcome.result for outcome in outcomes)
    ran = counts[Result.PASSED] + counts[Result.FAILED]
    return counts[Result.PASSED] / ran if ran else 1.0


def verdict(pack: Pack, outcomes: Sequence[Outcome]) -> str:
    share = share_of(outcomes)
    if share >= pack.share:
        return "holds"
    return f"open: {share:.0%} of {pack.share:.0%}" if share >= pack.floor else f"BROKEN: {share:.0%}, main holds {pack.floor:.0%}"


if __name__ == "__main__":
    sys.exit(main())
