"""The model file: plain arrays, the same bytes for the same model, and nothing altered is ever used."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.engine.model import DEFAULT_MODEL, MAGIC, Model
from esa.errors import ModelError


def small() -> Model:
    return Model(
        name="small",
        kind="cards",
        feature_space="facts-0",
        arrays={"weights": np.arange(6, dtype=np.float64).reshape(2, 3), "card": np.array([0, 1, -1], dtype=np.int8)},
        names=("money", "links", "prior"),
        families=("content", "relation", "prior"),
        facts={"licence": "none", "gewicht": "ä"},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "small.esamodel"
    small().save(path)
    model = Model.load(path, feature_space="facts-0")
    assert (model.name, model.kind, model.names, model.families) == ("small", "cards", small().names, small().families)
    assert model.facts == small().facts
    assert {name: array.tolist() for name, array in model.arrays.items()} == {"weights": [[0, 1, 2], [3, 4, 5]], "card": [0, 1, -1]}
    assert model.digest == hashlib.sha256(path.read_bytes()[48:]).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_equal_models_make_equal_bytes() -> None:
    again = replace(small(), arrays=dict(reversed(list(small().arrays.items()))))
    assert small().to_bytes() == again.to_bytes()


def test_arrays_are_read_only_and_aligned() -> None:
    content = small().to_bytes()
    model = Model.from_bytes(content, where="here")
    assert not any(array.flags.writeable for array in model.arrays.values())
    header = json.loads(content[48 : 48 + struct.unpack_from("<I", content, 12)[0]])
    assert all(entry["offset"] % 64 == 0 for entry in header["arrays"])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_altered_bit_anywhere_is_noticed(data: st.DataObject) -> None:
    content = bytearray(small().to_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ModelError):
        Model.from_bytes(bytes(content), where="here")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_file_cut_short_or_made_longer_is_noticed(data: st.DataObject) -> None:
    content = small().to_bytes()
    with pytest.raises(ModelError):
        Model.from_bytes(content[: data.draw(st.integers(0, len(content) - 1))], where="here")
    with pytest.raises(ModelError):
        Model.from_bytes(content + b"\0", where="here")


def forged(**changes: object) -> bytes:
    """A file whose digest is right and whose header lies."""
    content = small().to_bytes()
    _, version, length, _ = struct.unpack_from("<8sII32s", content)
    header = json.loads(content[48 : 48 + length]) | changes
    text = json.dumps(header).encode().ljust(length)
    body = text + content[48 + length :]
    return struct.pack("<8sII32s", MAGIC, version, len(text), hashlib.sha256(body).digest()) + body


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 1},
        {"kind": "pickle"},
        {"names": ["one"]},
        {"arrays": [{"name": "a", "type": "|O", "shape": [1], "offset": 0}]},
        {"arrays": [{"name": "a", "type": "<f8", "shape": [1 << 62, 1 << 62], "offset": 0}]},
        {"arrays": [{"name": "a", "type": "<f8", "shape": [-1], "offset": 0}]},
        {"arrays": [{"name": "a", "type": "<f8", "shape": [1], "offset": -8}]},
        {"arrays": [{"name": "a", "type": "<f8", "shape": [4], "offset": 10**6}]},
        {"arrays": [{}]},
        {"facts": 3},
    ],
)
def test_a_header_that_lies_is_an_error_and_no_crash(changes: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="header cannot be used"):
        Model.from_bytes(forged(**changes), where="here")


def test_errors_say_what_and_where_and_how_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "x.esamodel"
    with pytest.raises(ModelError, match=r"x\.esamodel: the model cannot be read") as absent:
        Model.load(path)
    assert absent.value.mend
    path.write_bytes(b"PK\3\4 no model at all")
    with pytest.raises(ModelError, match="not a model file"):
        Model.load(path)
    small().save(path)
    with pytest.raises(ModelError, match="feature space 'facts-0', this program extracts 'facts-9'"):
        Model.load(path, feature_space="facts-9")
    with pytest.raises(ModelError, match="cannot be written"):
        small().save(tmp_path / "no folder" / "x.esamodel")


def test_a_file_of_a_later_format_is_told_apart_from_a_damaged_one() -> None:
    content = bytearray(small().to_bytes())
    content[8] = 2
    with pytest.raises(ModelError, match="has format 2"):
        Model.from_bytes(bytes(content), where="here")


def test_an_array_of_objects_cannot_be_saved() -> None:
    with pytest.raises(ModelError, match="cannot hold"):
        replace(small(), arrays={"a": np.array([object()])}).to_bytes()


def test_the_shipped_model_holds_numbers_and_names_of_facts_only() -> None:
    content = DEFAULT_MODEL.read_bytes()
    model = Model.load()
    assert model.kind == "cards"
    assert b"@" not in content[48:2048]
    assert len(content) < 16_384
    assert set(model.arrays) == {"card", "sign", "mean", "scale", "weights", "prior"}
