"""What an automaton compiled is one image: it can be written, mapped and shared, and a damaged one is refused with what is wrong where."""

from __future__ import annotations

import mmap
import random
from pathlib import Path

import numpy as np
import pytest

from esa_core import Automaton
from esa_core._image import pack, unpack

TERMS = [
    b"a",
    b"of",
    b"the",
    b"free",
    b"cheap",
    b"act now",
    b"limited offer",
    b"john@example.com",
    b"example.org",
    b"free",
    b"\xc3\xa9t\xc3\xa9 chaud",
]
TEXT = b"the free offer: limited offer of cheap a, act now. john@example.com at www.example.org, \xc3\xa9t\xc3\xa9 chaud"


@pytest.fixture(params=[False, True], ids=["grams", "hashes"])
def automaton(request: pytest.FixtureRequest) -> Automaton:
    return Automaton(TERMS, whole_word=[*[False] * 5, *[True] * 6], hashed=request.param)


def test_a_mapped_image_finds_what_the_automaton_found_that_it_is_of(automaton: Automaton, tmp_path: Path) -> None:
    path = tmp_path / "terms.image"
    path.write_bytes(automaton.image)
    with path.open("rb") as file:
        mapped = Automaton.from_image(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert mapped.counts(TEXT) == automaton.counts(TEXT)
    assert len(mapped.counts(TEXT)) == len(TERMS)
    assert (mapped.n_terms, mapped.nbytes, mapped.forms) == (automaton.n_terms, automaton.nbytes, automaton.forms)


def test_equal_terms_make_equal_images(automaton: Automaton) -> None:
    assert bytes(Automaton(TERMS).image) == bytes(Automaton(TERMS).image)


def test_every_damaged_octet_is_noticed(automaton: Automaton) -> None:
    image = bytes(automaton.image)
    rng = random.Random(5)
    for at in (*range(64), *rng.sample(range(64, len(image)), 400)):
        damaged = bytearray(image)
        damaged[at] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueError, match=r"^octet \d+: "):
            Automaton.from_image(bytes(damaged))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda image: b"", "octet 0: the image ends within its head"),
        (lambda image: image[:100], "octet 16: the image says that it has"),
        (lambda image: b"#!/bin/sh" + image[9:], "octet 0: this is no compiled matcher"),
        (lambda image: image[:8] + b"\x63" + image[9:], "octet 8: the image has layout 99, this program reads layout 3"),
        (lambda image: image[:-1] + b"\x01", "octet 24: the checksum differs"),
    ],
)
def test_an_image_that_is_none_is_refused_with_what_is_wrong_where(automaton: Automaton, damage: object, complaint: str) -> None:
    assert callable(damage)
    with pytest.raises(ValueError, match=complaint):
        Automaton.from_image(damage(bytes(automaton.image)))


def test_an_image_whose_numbers_lead_astray_is_refused_or_harmless(automaton: Automaton) -> None:
    """The checksum guards against damage only; what the numbers point at is looked at, so that no image makes matching leave its memory."""
    sections = unpack(automaton.image)
    rng = random.Random(6)
    refused = 0
    for name in sections:
        for _ in range(40):
            forged = {key: np.array(array) for key, array in sections.items()}
            if forged[name].size and rng.random() < 0.8:
                at = rng.randrange(forged[name].size)
                forged[name][at : at + rng.choice((1, 4))] = rng.choice((0, 1, 127, 255))
            elif rng.random() < 0.5:
                forged[name] = forged[name][: rng.randrange(forged[name].size + 1)]
            else:
                del forged[name]
            try:
                Automaton.from_image(pack(forged).tobytes()).counts(TEXT * 3)
            except ValueError as error:
                assert str(error).startswith("section ")
                refused += 1
    assert refused > 100
