"""Addresses looked up among entries by whole address, local part, domain and domains above: against a look at each entry in turn."""

from __future__ import annotations

import random

import pytest

from esa_core._addresses import AddressIndex
from esa_core._shapes import next_of

LOCAL_PARTS, LABELS = ["ann", "bob.c", "x", ""], ["example", "org", "mail", "a-b", ""]


def _names(key: str, address: str) -> bool:
    folded = address.lower()
    local_part, at, domain = folded.partition("@")
    if key.startswith("."):
        return folded.endswith(key)
    return key in (folded, local_part + at, at + domain)


def test_an_address_finds_the_entries_that_name_it() -> None:
    chance = random.Random(2)

    def domain() -> str:
        return ".".join(chance.choices(LABELS, k=chance.randint(1, 4)))

    for _ in range(400):
        keys = {
            chance.choice((f"{chance.choice(LOCAL_PARTS)}@{domain()}", f"{chance.choice(LOCAL_PARTS)}@", f"@{domain()}", f".{domain()}"))
            for _ in range(chance.randint(0, 30))
        }
        listed = sorted(keys)
        index = AddressIndex([key.encode() for key in listed])
        for _ in range(30):
            address = f"{chance.choice(LOCAL_PARTS)}@{domain()}"
            address = address.upper() if chance.random() < 0.3 else address
            found = index.find(address)
            assert found is not None
            assert {listed[number] for number in found} == {key for key in listed if _names(key, address)}
            assert index.finds_none([address], ()) == index.finds_none((), ("", address)) == (not found)


@pytest.mark.parametrize("address", ["", "no.sign", "a@b@c", '"a"@b.example', "ä@b.example", "a@" + "b" * 400])
def test_an_address_that_is_not_plain_is_left_to_the_caller(address: str) -> None:
    index = AddressIndex([b"a@b", b"@b.example"])
    assert index.find(address) is None
    assert index.finds_none([address], ()) is (address == "")


def test_a_hundred_thousand_entries_are_told_apart() -> None:
    index = AddressIndex([f"person{number}@host{number % 7}.example".encode() for number in range(100_000)])
    assert index.find("Person77777@host0.example") == [77_777]
    assert index.find("person77777@host1.example") == ()


def test_both_kernels_find_the_same_next_octet_of_a_set() -> None:
    chance = random.Random(3)
    for _ in range(2_000):
        members = bytes(chance.sample(range(256), chance.choice((0, 1, 2, 10, 128))))
        text = (
            bytes(chance.choices(range(256), k=chance.randint(0, 150)))
            if chance.random() < 0.7
            else b"a" * chance.randint(0, 150) + b"\xff#"
        )
        start = chance.randint(0, len(text) + 3)
        expected = next((at for at in range(start, len(text)) if text[at] in members), len(text))
        assert next_of(members, text, start) == next_of(members, text, start, plain=True) == expected
