"""The packs that main holds, as far as they say something that does not depend on the speed of the machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import esa
from tests.conformance import addresses, fields, html, limits, markers, policy, strings, structure, urls
from tests.conformance.__main__ import PACKS, share_of
from tests.conformance.outcome import Outcome, Result

NEEDED = {pack.name: pack.floor for pack in PACKS}
QUICK = {
    "address-isemail": addresses.run,
    "header-fields": fields.run,
    "html-dompurify": html.run_payloads,
    "html5lib-tests": html.run,
    "markers": markers.run,
    "mime-ambiguity": structure.run_ambiguity,
    "mime-mime4j": structure.run_mime4j,
    "psl": urls.run_psl,
    "strings-blns": strings.run,
    "url-wpt": urls.run_wpt,
}


@pytest.mark.parametrize("name", QUICK)
def test_a_pack_reaches_what_main_holds_of_it(name: str, pack: Callable[[str], Path]) -> None:
    run: Callable[[Path], Iterable[Outcome]] = QUICK[name]
    outcomes = list(run(pack(name)))
    assert outcomes
    wrong = [f"{outcome.case}: {outcome.reason}" for outcome in outcomes if outcome.result is Result.FAILED]
    assert share_of(outcomes) >= NEEDED[name], "\n".join(wrong)


def test_expensive_mail_is_flagged_where_it_must_be(pack: Callable[[str], Path]) -> None:
    for recipe in json.loads((pack("limits") / "recipes.json").read_text("utf-8")):
        report = esa.scan(limits.build(recipe))
        assert report.flags or "flagged" not in recipe["must"], recipe["id"]


def test_every_shared_pack_is_run_or_named_as_later(shared: Path) -> None:
    from tests.conformance.__main__ import LATER

    folders = {path.name for path in (shared / "conformance").iterdir() if path.is_dir()}
    ours = {pack.name for pack in PACKS if pack.is_ours}
    assert folders == (set(NEEDED) - ours) | set(LATER)


def test_every_vector_of_policy_holds() -> None:
    outcomes = list(policy.run(Path()))
    assert [f"{one.case}: {one.reason}" for one in outcomes if one.result is Result.FAILED] == []
    assert sum(one.result is Result.PASSED for one in outcomes) >= 50
