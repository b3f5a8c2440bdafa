"""Recipient access: the first entry that matches decides."""

from __future__ import annotations

import itertools
import random

import pytest

from esa.errors import SyntaxFault
from esa.message.reply import Reply
from esa.policy.recipient_access import Form, RecipientAccess, RecipientEntry, RecipientRule, parse_entry, recipient_of

ACCEPT, REJECT = RecipientRule(), RecipientRule(accepts=False, reply=Reply(550, "5.1.1", "no"))


def table(*entries: tuple[str, RecipientRule]) -> RecipientAccess:
    return RecipientAccess([(parse_entry(text), rule) for text, rule in entries])


def accepts(access: RecipientAccess, forward_path: str) -> bool:
    return access.match(recipient_of(forward_path)).rule.accepts


def test_a_table_without_entries_accepts_nobody() -> None:
    assert not accepts(RecipientAccess([]), "anyone@example.com")


def test_a_domain_is_accepted_exactly_and_in_any_case() -> None:
    access = RecipientAccess.of_domains(["Example.ORG"])
    assert accepts(access, "a@EXAMPLE.org")
    assert not accepts(access, "a@sub.example.org")
    assert not accepts(access, "a@example.com")


def test_a_leading_dot_accepts_the_domains_below_and_not_the_domain() -> None:
    access = RecipientAccess.of_domains([".example.org"])
    assert accepts(access, "a@b.c.example.org")
    assert not accepts(access, "a@example.org")
    assert not accepts(access, "a@badexample.org")


def test_postmaster_without_a_domain_is_always_accepted() -> None:
    assert accepts(RecipientAccess.of_domains(["example.org"]), "Postmaster")
    assert not accepts(RecipientAccess.of_domains(["example.org"]), "root")


def test_an_address_behind_its_domain_is_never_reached_and_before_it_decides() -> None:
    pitfall = table(("example.org", ACCEPT), ("boss@example.org", REJECT))
    assert accepts(pitfall, "boss@example.org")
    mended = table(("boss@example.org", REJECT), ("example.org", ACCEPT))
    assert not accepts(mended, "boss@example.org")
    assert accepts(mended, "a@example.org")


def test_a_user_is_named_at_every_domain_and_all_is_everyone() -> None:
    access = table(("abuse@", ACCEPT), ("example.org", ACCEPT), ("ALL", REJECT))
    assert accepts(access, "Abuse@example.net")
    assert not accepts(access, "a@example.net")
    assert access.match(recipient_of("a@example.net")).because == "ALL"
    assert not access.accepts_everyone
    assert table(("example.org", ACCEPT), ("ALL", ACCEPT)).accepts_everyone
    assert not table(("ALL", REJECT), ("ALL", ACCEPT)).accepts_everyone


def test_address_literals_are_named_as_domains_are() -> None:
    access = table(("[192.0.2.1]", ACCEPT), ("a@[IPv6:2001:db8::1]", ACCEPT))
    assert accepts(access, "b@[192.0.2.1]")
    assert accepts(access, "a@[IPv6:2001:DB8::1]")
    assert not accepts(access, "b@[192.0.2.2]")


@pytest.mark.parametrize("disguise", ['"boss"@example.org', "BOSS@Example.Org", '"bo\\ss"@example.org'])
def test_no_way_to_write_an_address_evades_its_entry(disguise: str) -> None:
    assert not accepts(table(("boss@example.org", REJECT), ("example.org", ACCEPT)), disguise)


def test_a_quoted_name_that_needs_its_quotes_keeps_them() -> None:
    assert recipient_of('"a b"@example.org').local_part == '"a b"'
    assert recipient_of('"@"@example.org').local_part == '"@"'


def test_a_domain_in_unicode_and_in_ascii_is_one() -> None:
    access = RecipientAccess.of_domains(["bücher.example"])
    assert accepts(access, "a@xn--bcher-kva.example")
    assert accepts(RecipientAccess.of_domains(["xn--bcher-kva.example"]), "a@BÜCHER.example")


def test_two_domains_that_idna_of_2003_took_for_one_are_two() -> None:
    access = RecipientAccess.of_domains(["straße.example"])
    assert accepts(access, "a@xn--strae-oqa.example")
    assert not accepts(access, "a@strasse.example")


@pytest.mark.parametrize("text", ["exa mple", "", "@example.org", ".", "a@b@", "a b@example.org", "[192.0.2.300]", "*.example.org"])
def test_what_names_no_recipients_is_a_fault_that_shows_the_forms(text: str) -> None:
    with pytest.raises(SyntaxFault) as caught:
        parse_entry(text)
    assert "user@example.org" in (caught.value.mend or "")


def matches(entry: RecipientEntry, local_part: str, domain: str) -> bool:
    """The plain twin: what each form says."""
    match entry.form:
        case Form.ADDRESS:
            return (entry.local_part, entry.domain) == (local_part, domain)
        case Form.USER:
            return entry.local_part == local_part
        case Form.DOMAIN:
            return entry.domain == domain
        case Form.BELOW:
            return domain.endswith("." + entry.domain)
        case Form.EVERYONE:
            return True


def test_the_first_entry_that_matches_decides_as_a_walk_through_the_list_would() -> None:
    names, domains = ["a", "b"], ["x", "b.x", "c.b.x", "y"]
    texts = [*domains, *("." + domain for domain in domains), "a@", "b@", *(f"{n}@{d}" for n in names for d in domains), "ALL"]
    chance = random.Random(7)
    for _ in range(300):
        chosen = [parse_entry(text) for text in chance.choices(texts, k=chance.randint(1, 8))]
        access = RecipientAccess([(entry, ACCEPT) for entry in chosen])
        for local_part, domain in itertools.product(names, domains):
            walked = next((entry for entry in chosen if matches(entry, local_part, domain)), None)
            assert access.match(recipient_of(f"{local_part}@{domain}")).entry == walked
