"""Finding checks: by walking the package, by entry points, and by name."""

from __future__ import annotations

import importlib.metadata
from typing import cast

import pytest

from esa.engine import check as check_module
from esa.engine.check import Check, Evidence, Finding, Materials, Term, build, factories
from esa.engine.model import Model
from esa.errors import ConfigurationError

MATERIALS = Materials(cast(Model, None))


class Shouting:
    name = "shouting"
    terms = (Term("hello", whole_word=True),)

    def examine(self, evidence: Evidence) -> Finding | None:
        return Finding({"times": evidence.matches[0]})


def shouting(materials: Materials) -> Check:
    return Shouting()


def test_the_checks_of_the_package_are_these() -> None:
    """A check that is lost by accident, or appears by accident, fails here."""
    assert list(factories()) == ["dictionaries", "markers", "spam"]


def _pretend_installed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    entries = importlib.metadata.EntryPoints([importlib.metadata.EntryPoint(name, value, check_module.ENTRY_POINTS)])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **chosen: entries.select(**chosen))


def test_a_check_of_another_distribution_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_installed(monkeypatch, "shouting", "tests.engine.test_check:shouting")
    assert list(factories()) == ["dictionaries", "markers", "shouting", "spam"]
    assert [check.name for check in build(["shouting"], MATERIALS)] == ["shouting"]


def test_an_entry_point_may_not_take_the_name_of_another_check(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_installed(monkeypatch, "spam", "tests.engine.test_check:shouting")
    with pytest.raises(ConfigurationError, match="exists already"):
        factories()


def test_an_entry_point_that_cannot_be_loaded_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_installed(monkeypatch, "absent", "no_such_module:check")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        factories()


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(["spamm"], MATERIALS)
    assert caught.value.mend == "the checks are: dictionaries, markers, spam"


def test_checks_that_have_nothing_to_do_are_left_out() -> None:
    assert [check.name for check in build(["dictionaries", "markers"], MATERIALS)] == ["markers"]


def test_a_check_itself_may_be_given_beside_names() -> None:
    assert [check.name for check in build(["markers", Shouting()], MATERIALS)] == ["markers", "shouting"]
