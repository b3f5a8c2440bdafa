"""Looking up addresses, names, clients and hashes in dictionaries outside of messages."""

from __future__ import annotations

import hashlib
import random
from datetime import date, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from esa import Dictionary, Scanner
from esa.engine.checks.dictionaries import Dictionaries, Entries
from esa.engine.dictionary import Entry
from esa.engine.listening import Listening
from esa.engine.lookup import Lookup

DIGEST = hashlib.sha256(b"a virus").digest()
PEOPLE = Dictionary.from_text(
    "people", "bob@example.com, 2\nbrien@example.org\n@example.net, 3\n/^sales-\\d+@/, 5\nwinner\n192.0.2.0/24, 4\n"
)
DOMAINS = Dictionary.from_text("domains", "# esa: kind = domains\nexample.com\n.example.org, 2\n")
NETWORKS = Dictionary.from_text("networks", "# esa: kind = networks\n198.51.100.0/24\n198.51.100.7, 5\n2001:db8::/32, 2\n")
HASHES = Dictionary.from_text("hashes", f"# esa: kind = hashes\n{DIGEST.hex()}, 9\n")
ALL = [PEOPLE, DOMAINS, NETWORKS, HASHES]


def scores(lookup: Lookup, text: str) -> dict[str, int]:
    return {name: found.score for name, found in lookup.text(text).items()}


def test_an_address_is_found_as_itself_by_its_domain_and_by_what_stands_in_it() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    assert lookup.names == ("people", "domains", "networks", "hashes")
    assert scores(lookup, "bob@example.com") == {"people": 2, "domains": 1}
    assert scores(lookup, "Bob@EXAMPLE.com") == {"people": 2, "domains": 1}
    assert scores(lookup, "anybody@example.net") == {"people": 3}
    assert scores(lookup, "sales-12@example.edu") == {"people": 5}
    assert scores(lookup, "the.winner@example.edu") == {"people": 1}
    assert scores(lookup, "a@mail.example.org") == {"domains": 2}
    assert scores(lookup, "a@example.org") == {"domains": 2}
    assert lookup.text("bob@example.com")["people"].terms == {"bob@example.com": 1}


def test_what_only_looks_like_an_address_or_name_is_not_found() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    for text in (
        "o'brien@example.org.invalid",
        "x!bob@example.com.invalid",
        "a@mail.example.com",
        "a@example.com.au",
        "a@badexample.net",
        "",
    ):
        assert lookup.text(text) == {}, text
    assert scores(lookup, "o'brien@example.org") == {"domains": 2}
    assert scores(lookup, "x!bob@example.com") == {"domains": 1}
    assert scores(lookup, "example.com@example.edu") == {}
    assert scores(lookup, "a@b.example.net") == {}


def test_one_text_is_answered_as_many_are_whatever_stands_in_it() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    pieces = ["bob", "sales-12", "winner", "example.com", "example.net", "brien", "@", ".", " ", "-", "\t", "é", "Bob", "x"]
    chance = random.Random(9)
    texts = ["".join(chance.choices(pieces, k=chance.randint(0, 5))) for _ in range(3_000)]
    for text, found in zip(texts, lookup.texts(texts), strict=True):
        assert lookup.text(text) == found, text


def test_a_sentence_is_text_and_one_line_whatever_stands_in_it() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    assert scores(lookup, "write to bob@example.com, winner") == {"people": 3}
    assert scores(lookup, "Content-Type: text/html\r\n\r\n<b>winner</b> <!-- winner -->") == {"people": 2}


def test_a_client_is_found_in_each_network_that_holds_it() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    assert lookup.client("198.51.100.7")["networks"] == (6, {"198.51.100.0/24": 1, "198.51.100.7": 1})
    assert lookup.client("::ffff:198.51.100.8")["networks"].score == 1
    assert lookup.client(ip_address("2001:db8::1"))["networks"].score == 2
    assert lookup.client("192.0.2.200")["people"].score == 4
    assert lookup.client("203.0.113.1") == lookup.client("mail.example.org") == {}


def test_a_file_is_found_by_its_hash() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    assert lookup.digest(DIGEST)["hashes"] == (9, {DIGEST.hex(): 1})
    assert lookup.digest(bytes(32)) == {}


def test_many_are_looked_up_in_one_call_in_order() -> None:
    lookup = Scanner(dictionaries=ALL).lookup
    texts = [f"user{i}@example.{'com' if i % 3 else 'edu'}" for i in range(100)]
    assert lookup.texts(texts) == [lookup.text(text) for text in texts]


def test_what_was_compiled_by_another_process_answers_the_same(tmp_path: Path) -> None:
    made = Scanner(dictionaries=ALL)
    made.save(tmp_path / "patterns")
    mapped = Scanner(compiled=tmp_path / "patterns").lookup
    for text in ("bob@example.com", "sales-12@example.edu", "a@mail.example.org", "none"):
        assert mapped.text(text) == made.lookup.text(text)
    assert mapped.client("198.51.100.7") == made.lookup.client("198.51.100.7")
    assert mapped.digest(DIGEST) == made.lookup.digest(DIGEST)


def test_dictionaries_of_networks_and_hashes_alone_are_saved_and_looked_up(tmp_path: Path) -> None:
    Scanner(dictionaries=[NETWORKS, HASHES], checks=["dictionaries"]).save(tmp_path / "patterns")
    lookup = Scanner(compiled=tmp_path / "patterns", checks=["dictionaries"]).lookup
    assert lookup.client("198.51.100.9")["networks"].score == 1
    assert lookup.text("bob@example.com") == {}


def test_without_dictionaries_nothing_is_found() -> None:
    lookup = Scanner(checks=["spam"]).lookup
    assert (lookup.names, lookup.text("a@b.example"), lookup.client("192.0.2.1"), lookup.digest(DIGEST)) == ((), {}, {}, {})


def test_an_entry_is_found_until_its_last_day_is_over() -> None:
    today = [date(2027, 1, 1)]
    dictionary = Dictionary("d", [Entry("a@example.org", until=date(2027, 1, 1)), Entry("192.0.2.1", until=date(2026, 1, 1))])
    lookup = Scanner(checks=[Dictionaries(Entries.of([dictionary]), today=lambda: today[0])]).lookup
    assert scores(lookup, "a@example.org") == {"d": 1}
    assert lookup.client("192.0.2.1") == {}
    today[0] = date(2027, 1, 2)
    assert scores(lookup, "a@example.org") == {}


_NETWORKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda pair: str(ip_network((pair[0] >> (32 - pair[1]) << (32 - pair[1]), pair[1])))
)


@settings(deadline=None)
@given(st.lists(_NETWORKS, max_size=30, unique=True), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_networks_are_found_as_a_walk_through_them_finds_them(networks: list[str], places: list[int]) -> None:
    dictionary = Dictionary("d", [Entry(one, kind="network") for one in networks], kind="networks")
    lookup = Scanner(checks=[Dictionaries(Entries.of([dictionary]))]).lookup
    for place in [*places, *(int(ip_network(one)[0]) for one in networks)]:
        address = ip_address(place)
        expected = sum(address in ip_network(one) for one in networks)
        assert lookup.client(address).get("d", (0, {}))[0] == expected


def test_an_address_that_was_looked_up_is_not_remembered_beyond_the_last_day_of_its_entry() -> None:
    today = date(2027, 1, 31)
    entries = Entries.of([Dictionary.from_text("gone", "bob@example.org # until 2027-01-31\n")])
    lookup = Lookup(Listening.to([Dictionaries(entries, today=lambda: today)]))
    assert "gone" in lookup.text("bob@example.org")
    today += timedelta(days=1)
    assert lookup.text("bob@example.org") == {}


def test_short_hashes_are_looked_up_too_and_other_lengths_are_nobody(tmp_path: Path) -> None:
    lines = "".join(f"{hashlib.new(one, b'a virus').hexdigest()}\n" for one in ("md5", "sha1"))
    made = Scanner(dictionaries=[Dictionary.from_text("known", f"# esa: kind = hashes\n{lines}")])
    made.save(tmp_path / "patterns")
    for lookup in (made.lookup, Scanner(compiled=tmp_path / "patterns").lookup):
        assert lookup.digest(hashlib.md5(b"a virus").digest())["known"].score == 1
        assert lookup.content(b"a virus")["known"].score == 2
        assert lookup.content(b"another") == lookup.digest(b"") == lookup.digest(bytes(20)) == lookup.content(b"") == {}
