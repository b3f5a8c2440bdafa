"""Where links lead: URLs as a browser reads them, names, and what of a name was registered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esa_core import Link, parse
from esa_core._domain import domain_to_ascii, domain_to_unicode, registrable_domain


def link(url: str, base: str = "") -> Link:
    return Link(url, "", "anchor", 0, False, base)


@pytest.mark.parametrize(
    ("url", "normal", "host"),
    [
        ("http://a.example", "http://a.example/", "a.example"),
        (" HTTP://A.Example:80/%7Eb/../c d?e f#g h ", "http://a.example/c%20d?e%20f#g%20h", "a.example"),
        ("http:a.example", "http://a.example/", "a.example"),
        ("http:/\\\\/a.example\\b", "http://a.example/b", "a.example"),
        ("ht\ntp://a\t.example", "http://a.example/", "a.example"),
        ("http://bank.example@evil.example/", "http://bank.example@evil.example/", "evil.example"),
        ("http://bank.example:443@evil.example", "http://bank.example:443@evil.example/", "evil.example"),
        ("http://a@b@c.example/", "http://a%40b@c.example/", "c.example"),
        ("http://bank.example%2eevil.example/", "http://bank.example.evil.example/", "bank.example.evil.example"),
        ("http://bank.example\\@evil.example/", "http://bank.example/@evil.example/", "bank.example"),
        ("http://0x7f.1", "http://127.0.0.1/", "127.0.0.1"),
        ("http://2130706433/", "http://127.0.0.1/", "127.0.0.1"),
        ("http://017700000001", "http://127.0.0.1/", "127.0.0.1"),
        ("http://127.0.0x0.1.", "http://127.0.0.1/", "127.0.0.1"),
        ("http://%31%32%37.1", "http://127.0.0.1/", "127.0.0.1"),
        ("http://１２７.1", "http://127.0.0.1/", "127.0.0.1"),
        ("http://256.1.1.1", "", ""),
        ("http://1.2.3.4.5", "", ""),
        ("http://09.1", "", ""),
        ("http://[::1]:8080/", "http://[::1]:8080/", "[::1]"),
        ("http://[2001:db8:0:0:1:0:0:1]", "http://[2001:db8::1:0:0:1]/", "[2001:db8::1:0:0:1]"),
        ("http://[::ffff:1.2.3.4]", "http://[::ffff:102:304]/", "[::ffff:102:304]"),
        ("http://[::1", "", ""),
        ("http://[1:2]", "", ""),
        ("http://bücher.example/ü?ü#ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC#%C3%BC", "xn--bcher-kva.example"),
        ("http://pаypal.example", "http://xn--pypal-4ve.example/", "xn--pypal-4ve.example"),
        ("http://ｅｖｉｌ。example", "http://evil.example/", "evil.example"),
        ("http://xn--a", "", ""),
        ("http://a b", "", ""),
        ("http://a:99999", "", ""),
        ("http://a:b", "", ""),
        ("http://", "", ""),
        ("//a.example", "", ""),
        ("page.html", "", ""),
        ("MailTo:a@b.example", "mailto:a@b.example", ""),
        ("javascript:alert(1)", "javascript:alert(1)", ""),
        ("", "", ""),
    ],
)
def test_a_link_leads_where_a_browser_goes(url: str, normal: str, host: str) -> None:
    assert (link(url).normal, link(url).host) == (normal, host)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("x", "https://a.example/b/x"), ("../x", "https://a.example/x"), ("/x", "https://a.example/x"), ("?x", "https://a.example/b/c?x"),
        ("#x", "https://a.example/b/c?d#x"), ("//b.example", "https://b.example/"), ("\\\\b.example\\c", "https://b.example/c"),
        ("https:x", "https://a.example/b/x"), ("http:b.example", "http://b.example/"), ("", "https://a.example/b/c?d"),
        ("./%2e%2E/x/.", "https://a.example/x/"),
    ],
)  # fmt: skip
def test_relative_urls_count_from_the_base_of_their_page(url: str, normal: str) -> None:
    assert link(url, "https://a.example/b/c?d").normal == normal
    page = f"Content-Type: text/html\n\n<a href='{url}'>x</a><base href='https://a.example/b/c?d'><base href=http://no.example>"
    assert parse(page.encode()).links[0].normal == normal


def test_a_base_in_a_comment_is_none() -> None:
    found = parse(b"Content-Type: text/html\n\n<!--[if a]><base href=http://a.example/><![endif]--><a href=x>y</a>").links
    assert [(one.url, one.base) for one in found] == [("http://a.example/", ""), ("x", "")]


@pytest.mark.parametrize(
    ("host", "registered"),
    [
        ("www.example.com", "example.com"), ("example.com", "example.com"), ("com", ""), ("a.b.co.uk", "b.co.uk"), ("co.uk", ""),
        ("a.b.c.ck", "b.c.ck"), ("www.ck", "www.ck"), ("x.github.io", "x.github.io"), ("unknown", ""), ("a.unknown", "a.unknown"),
        ("EXAMPLE.com.", "example.com"), ("127.0.0.1", ""), ("[::1]", ""), ("", ""), (".com", ""), ("a..com", ""), ("a.xn--p1ai", "a.xn--p1ai"),
        ("x." * 100 + "example.com", "example.com"),
    ],
)  # fmt: skip
def test_the_registrable_domain_is_that_of_the_public_suffix_list(host: str, registered: str) -> None:
    assert registrable_domain(host) == registered


def test_every_rule_of_the_list_is_followed() -> None:
    source = Path(__file__).resolve().parents[2] / "src/esa_core/tables/public_suffixes.txt"
    for rule in re.findall(r"^(?!//)\S+$", source.read_text("utf-8"), re.MULTILINE):
        name = domain_to_ascii(rule.lstrip("!").removeprefix("*."))
        assert name is not None
        if rule.startswith("!"):
            assert registrable_domain("a." + name) == name
        elif rule.startswith("*."):
            assert registrable_domain("a.0x." + name) in ("a.0x." + name, "0x." + name)
        else:
            assert registrable_domain("a.esa-test." + name) in ("esa-test." + name, "a.esa-test." + name)


@pytest.mark.parametrize("name", ["xn--bc0" + "x" * 57, "é" * 64, "p" * 60 + "ß", "é." * 600 + "example"])
def test_a_name_that_dns_could_never_take_is_no_host(name: str) -> None:
    assert (link(f"https://{name}/").host, link(f"https://{name}/").normal) == ("", "")


def test_names_are_shown_with_punycode_written_out() -> None:
    assert link("http://xn--bcher-kva.example").host_shown == "bücher.example"
    assert domain_to_unicode("XN--BCHER-KVA.example") == ("bücher.example", True)
    assert domain_to_ascii("a" * 64, strict=True) is None
    assert domain_to_ascii("a" * 64) == "a" * 64


@given(st.text(max_size=60), st.sampled_from(["", "http://a.example/b", "no url"]))
@example("http://[::", "")
@example("http://[1:::2]", "")
@example("http://%", "")
@example("http://0x", "")
@example("http://" + "9" * 5000, "")
@example("http://xn--99999999", "")
def test_no_url_is_too_odd(url: str, base: str) -> None:
    one = link(url, base)
    assert one.normal.isascii() or one.host == ""
    assert one.host.isascii()
    assert one.registrable_domain in one.host
    if one.host:
        again = link(one.normal)
        assert (again.normal, again.host) == (one.normal, one.host)
