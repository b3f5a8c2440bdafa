"""Recipient access by domain."""

from __future__ import annotations

import pytest

from esa.errors import ConfigurationError
from esa.policy.access import RecipientAccess


def test_a_table_without_entries_accepts_every_domain() -> None:
    assert RecipientAccess().accepts("anyone@example.com")


def test_a_domain_is_accepted_exactly_and_in_any_case() -> None:
    access = RecipientAccess(["Example.ORG"])
    assert access.accepts("a@EXAMPLE.org")
    assert not access.accepts("a@sub.example.org")
    assert not access.accepts("a@example.com")


def test_a_leading_dot_accepts_the_domains_below_and_not_the_domain() -> None:
    access = RecipientAccess([".example.org"])
    assert access.accepts("a@b.c.example.org")
    assert not access.accepts("a@example.org")
    assert not access.accepts("a@badexample.org")


def test_postmaster_without_a_domain_is_always_accepted() -> None:
    assert RecipientAccess(["example.org"]).accepts("Postmaster")
    assert not RecipientAccess(["example.org"]).accepts("root")


def test_an_entry_that_is_no_domain_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no domain"):
        RecipientAccess(["exa mple"])
