"""The facts of the two cards: what each says of a message written for it, and that no message makes them run away."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.lexicons import feature_space, shipped
from esa_core import DOMAIN_LISTS, FACT_NAMES, WORD_CATEGORIES, Lexicon, extract_facts


def message(
    text: str = "Good day.",
    *,
    author: str = "Anna Berg <anna@shop.example>",
    to: str = "Karl Holm <karl@example.net>",
    subject: str = "Hello",
    html: bool = False,
    more: str = "",
) -> bytes:
    kind = "text/html" if html else "text/plain"
    return f"From: {author}\nTo: {to}\nSubject: {subject}\n{more}Content-Type: {kind}; charset=utf-8\n\n{text}\n".encode()


def facts_of(raw: bytes) -> dict[str, float]:
    (row,) = extract_facts([raw], shipped())
    return dict(zip(FACT_NAMES, row.tolist(), strict=True))


def links(*targets: str, shown: str = "here") -> str:
    return "".join(f'<a href="{target}">{shown}</a> ' for target in targets)


# --- content ----------------------------------------------------------------------------------------------------------------------


def test_words_of_a_category_are_counted_against_the_length_of_the_text() -> None:
    short = facts_of(message("Buy viagra"))
    long = facts_of(message("Buy viagra " + "and read on about the weather " * 50))
    assert short["text_pharma"] > long["text_pharma"] > 0
    assert short["text_pharma"] == pytest.approx((1 / 27) ** 0.5)


def test_case_and_width_do_not_hide_a_word() -> None:
    assert facts_of(message("VIAGRA"))["text_pharma"] > 0
    assert facts_of(message("ｖｉａｇｒａ"))["text_pharma"] > 0  # full-width letters


def test_a_phrase_is_found_across_line_breaks_and_not_in_parts() -> None:
    assert facts_of(message("you may click\nhere now"))["text_call_to_action"] > 0
    assert facts_of(message("a click, not from here"))["text_call_to_action"] == 0


def test_words_of_other_languages_count() -> None:
    assert facts_of(message("Bitte bestätigen Sie Ihr Passwort"))["text_credential"] > 0
    assert facts_of(message("Votre compte sera suspendu"))["text_account_threat"] > 0


def test_absence_of_usual_words_says_nothing_in_a_short_text() -> None:
    short, long = facts_of(message("See you.")), facts_of(message("Prices fall. Shops open. " * 100))
    assert short["text_technical"] > 0.15 > long["text_technical"]


def test_a_large_amount_needs_a_currency_beside_it() -> None:
    assert facts_of(message("the sum of $12,500,000.00 is yours"))["text_large_amount"] == 1
    assert facts_of(message("twelve million dollars"))["text_large_amount"] == 1
    assert facts_of(message("it wrote 12,500,000 blocks"))["text_large_amount"] == 0


def test_words_inside_a_bare_address_of_a_page_are_no_text() -> None:
    assert facts_of(message("see http://example.com/viagra/casino"))["text_pharma"] == 0


def test_a_shouted_subject() -> None:
    facts = facts_of(message(subject="ACT NOW!!"))
    assert facts["subject_shouted"] == 1
    assert facts["subject_exclamations"] == 2
    assert facts["subject_urgency"] >= 1
    assert facts_of(message(subject="Minutes of the USB group"))["subject_shouted"] == 0


def test_letters_that_only_look_like_others() -> None:
    assert facts_of(message(subject="p\u0430ypal"))["subject_mixed_script"] == 1
    assert facts_of(message(subject="Привет всем"))["subject_mixed_script"] == 0
    assert facts_of(message(subject="𝓦𝓲𝓷𝓷𝓮𝓻"))["subject_styled"] == 1
    assert facts_of(message("ver\u200bify"))["text_broken_words"] == 1


def test_a_plain_twin_of_an_html_part_is_not_counted_twice() -> None:
    parts = (
        "--b\nContent-Type: text/plain\n\nviagra\n--b\nContent-Type: text/html\n\n<p>A letter of more than twenty characters.</p>\n--b--\n"
    )
    raw = f"From: a@example.org\nTo: b@example.org\nContent-Type: multipart/alternative; boundary=b\n\n{parts}".encode()
    assert facts_of(raw)["text_pharma"] == 0
    assert facts_of(raw.replace(b"alternative", b"mixed"))["text_pharma"] > 0


# --- relation ---------------------------------------------------------------------------------------------------------------------


def test_mail_type_goes_by_html_and_its_links() -> None:
    page = "http://example.com/"
    assert facts_of(message())["mail_type"] == 0
    assert facts_of(message(links(page), html=True))["mail_type"] == 1
    assert facts_of(message(links(*[page + str(n) for n in range(5)]), html=True))["mail_type"] == 2


def test_reply_to_of_another_organisation() -> None:
    assert facts_of(message(more="Reply-To: x@gmail.com\n"))["reply_elsewhere"] == 1
    assert facts_of(message(more="Reply-To: x@gmail.com\n"))["reply_free_mail"] == 1
    assert facts_of(message(more="Reply-To: help@mail.shop.example\n"))["reply_elsewhere"] == 0


@pytest.mark.parametrize(
    ("one", "other", "same"), [("a.co.uk", "b.co.uk", False), ("mail.a.co.uk", "a.co.uk", True), ("x.a.com", "a.com", True)]
)
def test_registrable_domains_know_public_suffixes_of_two_labels(one: str, other: str, same: bool) -> None:
    raw = message(author=f"Anna <anna@{one}>", more=f"Reply-To: anna@{other}\n")
    assert facts_of(raw)["reply_elsewhere"] == (0 if same else 1)


@given(st.text("abc", min_size=1, max_size=40), st.text("abc", min_size=1, max_size=40))
def test_the_longest_common_part_of_name_and_label_is_measured(name: str, label: str) -> None:
    longest = max(
        (end - start for start in range(len(name)) for end in range(start + 1, len(name) + 1) if name[start:end] in label), default=0
    )
    share = facts_of(message(author=f"{name} <joe@{label}.example>"))["name_domain_common"]
    assert share == pytest.approx(longest / min(len(name), len(label)) if longest >= 3 else 0)


def test_a_brand_in_the_display_name_needs_the_domain_of_the_brand() -> None:
    assert facts_of(message(author="PayPal <service@alerts.example>"))["name_brand_foreign"] == 1
    own = facts_of(message(author="PayPal <service@mail.paypal.com>"))
    assert own["name_brand_foreign"] == 0
    assert own["brand_own"] == 1


def test_a_free_mail_domain_is_nobodys_own_brand() -> None:
    assert facts_of(message(author="Anna <anna@gmail.com>"))["brand_own"] == 0


def test_an_own_domain_counts_only_if_it_is_named() -> None:
    page = links("http://kfjw.example/a", "http://kfjw.example/b")
    assert facts_of(message(page, html=True, author="Soda Water <x@kfjw.example>"))["link_own"] == 0
    assert facts_of(message(page, html=True, author="Kfjw <x@kfjw.example>"))["link_own"] == 1
    assert facts_of(message(page + "<p>Kfjw, Main Street</p>", html=True, author="Soda Water <x@kfjw.example>"))["link_own"] == 1


def test_a_link_that_shows_one_domain_and_leads_to_another() -> None:
    bank = links("http://evil.example/login", shown="www.bigbank.com")
    assert facts_of(message(bank, html=True))["link_shown_elsewhere"] == 1
    assert facts_of(message(links("http://a.bigbank.com/x", shown="www.bigbank.com"), html=True))["link_shown_elsewhere"] == 0
    tracked = links("http://click.tracker.example/x", shown="www.shop.example")
    assert facts_of(message(tracked, html=True))["link_shown_elsewhere"] == 0  # From's own domain, counted by a tracker


@pytest.mark.parametrize(
    ("target", "fact"),
    [
        ("http://192.0.2.7/x", "link_address"),
        ("http://[2001:db8::1]/x", "link_address"),
        ("http://3221225985/x", "link_address"),
        ("http://example.com:8080/", "link_port"),
        ("http://paypal.com@evil.example/", "link_user"),
        ("http://xn--pypal-4ve.com/", "link_punycode"),
        ("https://bit.ly/3x", "link_shortener"),
        ("https://x.weebly.com/", "link_free_hosting"),
        ("http://paypal-login.example/", "link_brand_foreign"),
        ("http://secure-login.example/", "link_credential"),
        ("http://offers.top/", "link_odd_ending"),
    ],
)
def test_links_that_hide_where_they_lead(target: str, fact: str) -> None:
    assert facts_of(message(links(target), html=True))[fact] == 1
    assert facts_of(message(links("https://www.example.com/page"), html=True))[fact] == 0


def test_a_bare_url_that_a_page_shows_counts_as_a_link() -> None:
    assert facts_of(message("<p>Now: http://secure-login.example/x today</p>", html=True))["link_credential"] == 1
    shown = links("https://www.example.com/page", shown="http://secure-login.example/x")
    assert facts_of(message(shown, html=True))["link_credential"] == 0  # what an anchor shows leads where the anchor does


def test_a_picture_between_two_links_is_not_taken_for_what_they_lead_to() -> None:
    link, picture = '<a href="https://other.example/a">here</a>', '<img src="https://pictures.shop.example/b.png">'
    apart = facts_of(message(link + link + picture, html=True, author="Shop <anna@shop.example>"))
    between = facts_of(message(link + picture + link, html=True, author="Shop <anna@shop.example>"))
    assert apart["link_own_share"] == between["link_own_share"] == 0
    assert apart["link_domains"] == between["link_domains"] == 1


def test_an_ordinary_port_is_no_odd_port() -> None:
    assert facts_of(message(links("https://example.com:443/", "http://example.com:80/"), html=True))["link_port"] == 0


def test_greeting_and_signature_by_name() -> None:
    facts = facts_of(message("Dear Karl,\n\nthe talk is at nine.\n\nAnna Berg"))
    assert facts["greeted_by_name"] == facts["name_signed"] == 1
    assert facts["greeted_by_address"] == 0
    assert facts_of(message("Dear info4,\nopen this", to="info4@example.net"))["greeted_by_address"] == 1


def test_a_name_that_holds_the_address_of_somebody_else() -> None:
    assert facts_of(message(author='"service@bigbank.com" <x@evil.example>'))["name_address"] == 1
    assert facts_of(message(author='"anna@shop.example" <anna@shop.example>'))["name_is_address"] == 1
    assert facts_of(message(author='"a) b( <c" <x@evil.example>'))["name_address"] == 0


def test_attachments_that_are_pages_or_programs() -> None:
    def attached(name: str) -> dict[str, float]:
        part = f'--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename="{name}"\n\nx\n--b--\n'
        return facts_of(f"From: a@example.org\nContent-Type: multipart/mixed; boundary=b\n\n{part}".encode())

    assert attached("invoice.HTML")["attached_page"] == 1
    assert attached("invoice.pdf.exe")["attached_program"] == 1
    assert attached("invoice.pdf")["attached_page"] == attached("invoice.pdf")["attached_program"] == 0


# --- any message ------------------------------------------------------------------------------------------------------------------


def test_received_date_and_message_id_are_not_looked_at() -> None:
    trace = "Received: from x by y; Mon, 1 Jan 2001 00:00:00 +0000\nDate: Mon, 1 Jan 2001 00:00:00 +0000\nMessage-ID: <1@viagra.example>\n"
    assert facts_of(message(more=trace)) == facts_of(message())


def test_an_empty_message_has_facts() -> None:
    assert np.isfinite(extract_facts([b"", b"\n", b"\0", b"From"], shipped())).all()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "<a href=",
                "http://",
                "From: ",
                "\n",
                "\n\n",
                '"',
                "@",
                "a.b",
                "=?utf-8?q?",
                "\xc2\xa9",
                "💰",
                "1,000,000 $",
                ")(",
                "[",
                "%",
                "\0",
            ]
        )
    )
)
def test_no_arrangement_of_odd_pieces_makes_a_fact_that_is_not_finite(pieces: list[str]) -> None:
    raw = b"From: x\nContent-Type: text/html\n\n" + "".join(pieces).encode()
    assert np.isfinite(extract_facts([raw, "".join(pieces).encode()], shipped())).all()


def test_facts_of_real_mail_are_finite_and_the_same_in_any_batch(corpus: Callable[[str], Path]) -> None:
    paths = random.Random(1).sample(sorted(corpus("foff-2025").glob("*/*")), 100)
    mail = [path.read_bytes() for path in paths]
    rows = extract_facts(mail, shipped())
    assert rows.shape == (100, len(FACT_NAMES))
    assert np.isfinite(rows).all()
    assert np.array_equal(rows[::-1], extract_facts(mail[::-1], shipped()))


@pytest.mark.parametrize("piece", ["a ", "anna", "berg ", "© shop ", "http://a.b/ ", "click ", "1,000", "$", "\u0430a "])
def test_text_past_the_window_changes_no_fact(piece: str) -> None:
    """Facts look at a bounded stretch of text and a bounded number of links, however long the message is."""
    long, longer = (extract_facts([message(piece * (length // len(piece.encode())))], shipped()) for length in (400_000, 4_000_000))
    assert np.array_equal(long, longer)


# --- the lexicon ------------------------------------------------------------------------------------------------------------------


def test_a_lexicon_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="no category is called 'weather'"):
        Lexicon(words={"weather": ["rain"]}, domains={}, brands={})
    with pytest.raises(ValueError, match="no list of domains"):
        Lexicon(words={}, domains={"weather": ["rain.example"]}, brands={})
    with pytest.raises(ValueError, match="has 7 words"):
        Lexicon(words={"money": ["one two three four five six seven"]}, domains={}, brands={})
    with pytest.raises(ValueError, match="has 0 words"):
        Lexicon(words={"money": [" - "]}, domains={}, brands={})


def test_an_empty_lexicon_finds_no_words() -> None:
    (row,) = extract_facts([message("viagra click here")], Lexicon(words={}, domains={}, brands={}))
    assert row[FACT_NAMES.index("text_pharma")] == 0


def test_every_term_of_the_shipped_lists_is_found() -> None:
    folder = Path(__file__).resolve().parents[2] / "src" / "esa" / "engine" / "lexicons"
    assert {path.stem for path in folder.glob("*.txt")} == {*WORD_CATEGORIES, *DOMAIN_LISTS, "brands"}
    for category in ("text_pharma", "text_account_threat", "text_removal"):
        terms = [
            line for line in (folder / f"{category.removeprefix('text_')}.txt").read_text("utf-8").splitlines() if not line.startswith("#")
        ]
        rows = extract_facts([message(term) for term in terms], shipped())
        assert (rows[:, FACT_NAMES.index(category)] > 0).all()


def test_the_feature_space_is_named_by_version_and_lists() -> None:
    assert feature_space().startswith("facts-")
    assert feature_space() == feature_space()
