"""What greylisting goes by: triplets, aligned authors, and mail that somebody waits for before a screen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa.policy.greylisting import aligned_domain, client_network, looks_like_login_code, triplet_path
from esa.policy.senders import read_address

CODES = [
    ("Your verification code", "Your verification code is 482913. It expires in 10 minutes."),
    ("482913 is your Example code", "Hi"),
    ("G-482913", "Use G-482913 to verify your account"),
    ("Sign-in attempt", "Enter this one-time passcode:\n\n   739 204\n\nIf this was not you …"),
    ("Ihr Bestätigungscode", "Ihr Bestätigungscode lautet 82931"),
    ("Code de vérification", "Votre code de vérification : 019283"),
    ("Код подтверждения", "Ваш код: 5512"),
    ("验证码", "您的验证码是 339201"),
    ("Sign in to Example", "Your login code: H7K2QX"),
    ("Reset your password", "Follow this link: https://example.com/reset/abc"),
    ("Please confirm your email address", "Click here"),
    ("Your magic link", "https://example.com/in"),
]
OTHERS = [
    ("Lunch at noon?", "See you at 12:30, room 1204."),
    ("Invoice 2026-1132", "Total: 1.482,00 EUR, customer number 88123499, payable by 2026-12-01."),
    ("Cheap pills", "Order now, only 49.99! Call 555-0199"),
    ("minutes", "We decided on the code of conduct."),
    ("Parcel 00340434161094042557", "Track it at https://example.com/?id=88123499"),
    ("", ""),
]


@pytest.mark.parametrize(("subject", "text"), CODES)
def test_a_login_code_is_seen(subject: str, text: str) -> None:
    assert looks_like_login_code(subject, text)


@pytest.mark.parametrize(("subject", "text"), OTHERS)
def test_other_mail_is_none(subject: str, text: str) -> None:
    assert not looks_like_login_code(subject, text)


def test_a_code_far_from_its_word_or_far_down_is_none() -> None:
    assert not looks_like_login_code("Newsletter", "code" + " filler" * 100 + " 48291388")
    assert not looks_like_login_code("Newsletter", "x" * 5000 + " your code is 482913")
    assert not looks_like_login_code("İ" * 3, "İ" * 50 + " 48291388")


@given(st.text(), st.text())
def test_any_text_is_judged(subject: str, text: str) -> None:
    assert looks_like_login_code(subject, text) in (True, False)


def test_numbers_and_extensions_of_paths_do_not_make_new_triplets() -> None:
    assert triplet_path("Bounce-12-user=example.org@Lists.Example.NET") == "bounce-#-user=example.org@lists.example.net"
    assert triplet_path("anna+shop@example.org") == "anna@example.org"
    assert triplet_path("") == "@"


def test_a_client_is_its_network() -> None:
    found = [client_network(address) for address in map(read_address, ("192.0.2.77", "2001:db8:1:2:3::4", "::ffff:192.0.2.1")) if address]
    assert found == ["192.0.2.0/24", "2001:db8:1:2::/64", "192.0.2.0/24"]


def test_an_author_is_aligned_with_a_confirmed_name_of_the_same_registered_domain() -> None:
    assert aligned_domain("a@News.Example.co.uk", ("mx1.mail.example.co.uk",)) == "example.co.uk"
    assert not aligned_domain("a@example.co.uk", ("mx.other.co.uk",))
    assert not aligned_domain("a@co.uk", ("mx.example.co.uk",))
    assert not aligned_domain("a@example.org", ())
    assert not aligned_domain("", ("mx.example.org",))
