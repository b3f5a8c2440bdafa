"""The model file: one file of plain arrays with a JSON header, verified whole before any of it is used.

Layout: magic `ESAMODEL`, format version and header length (two little-endian uint32), SHA-256 of all that follows (32 bytes), the header
(UTF-8 JSON, keys sorted), then the arrays, little-endian, each starting at a multiple of 64 bytes. It holds numbers and names; nothing in
it can run. The same header and arrays always make the same bytes. Called by the scanner (load), `esa train` and the scripts in `models/` (save).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from esa.errors import ModelError

Array = npt.NDArray[np.generic]
Kind = Literal["cards", "tokens"]

MAGIC: Final = b"ESAMODEL"
FORMAT: Final = 1
LARGEST_FILE: Final = 1 << 30  # bytes; a model is some kilobytes (cards) or megabytes (tokens), anything larger is a mistake
LARGEST_HEADER: Final = 1 << 22
DEFAULT_MODEL: Final = Path(__file__).with_name("default.esamodel")

_PREFIX = struct.Struct("<8sII32s")
_ALIGN = 64
_TYPES: Final = frozenset({"<f8", "<f4", "<f2", "<i8", "<i4", "|i1", "|u1", "<u4", "<u8"})
_AGAIN = "Take the file again from where it came, or make it again with `make model` or `esa train`."


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model. Arrays are read-only and must not be changed.

    `kind` "cards": arrays card, sign, mean, scale [n_facts], weights [2, 3], prior [3]; see `esa_core.Cards`. `kind` "tokens": a local
    model's weights float32 [2^20] and bias [1] over the features that `facts["families"]` names; with a second stage second_weights and
    second_bias too, for `facts["second_families"]`, which judge where the first stage's log-odds are nearer to 0 than `facts["margin"]`.
    `feature_space` names the extractor (and its word lists) that the numbers belong to. `facts` are the header's further entries:
    lineage, thresholds,
    calibration, figures, licence, date.
    """

    name: str
    kind: Kind
    feature_space: str
    arrays: Mapping[str, Array]
    names: tuple[str, ...] = ()  # of the contributions, in their order
    families: tuple[str, ...] = ()  # the family of evidence of each name
    facts: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    digest: str = ""  # SHA-256 of header and arrays, hexadecimal; empty before it is saved

    @classmethod
    def load(cls, path: Path = DEFAULT_MODEL, *, feature_space: str | None = None) -> Model:
        """Read and verify a model file: size, digest, every array, and the feature space if one is asked for.

        Raises ModelError (what, where, mend) if the file cannot be read, is cut short, altered, no model, or of another feature space.
        """
        model = cls.from_bytes(_read(path), where=str(path))
        if feature_space is not None and model.feature_space != feature_space:
            raise ModelError(
                f"the model was made for the feature space {model.feature_space!r}, this program extracts {feature_space!r}",
                where=str(path),
                mend="Use the model that came with this version, or train it again with this version.",
            )
        return model

    @classmethod
    def from_bytes(cls, content: bytes, *, where: str) -> Model:
        """As `load`, of bytes; `where` is named in errors."""
        if not content.startswith(MAGIC) or len(content) < _PREFIX.size:
            raise ModelError("this is not a model file", where=where, mend=_AGAIN)
        _, version, header_length, digest = _PREFIX.unpack_from(content)
        if version != FORMAT:
            raise ModelError(
                f"the model file has format {version}, this program reads format {FORMAT}",
                where=where,
                mend="Use a model made for this version.",
            )
        if hashlib.sha256(memoryview(content)[_PREFIX.size :]).digest() != digest:
            raise ModelError("the model file is cut short or was altered: its SHA-256 digest does not fit", where=where, mend=_AGAIN)
        try:
            return cls._decode(content, header_length, digest.hex())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(f"the model file's header cannot be used: {error}", where=where, mend=_AGAIN) from error

    @classmethod
    def _decode(cls, content: bytes, header_length: int, digest: str) -> Model:
        if header_length > min(LARGEST_HEADER, len(content) - _PREFIX.size):
            raise ValueError("its length is wrong")
        header = json.loads(content[_PREFIX.size : _PREFIX.size + header_length].decode("utf-8"))
        if header["size"] != len(content):
            raise ValueError(f"it announces {header['size']} bytes, the file has {len(content)}")
        if header["kind"] not in ("cards", "tokens"):
            raise ValueError(f"no model is of the kind {header['kind']!r}")
        names, families = tuple(map(str, header["names"])), tuple(map(str, header["families"]))
        if len(names) != len(families):
            raise ValueError("names and families differ in number")
        return cls(
            name=str(header["name"]),
            kind=header["kind"],
            feature_space=str(header["feature_space"]),
            arrays=MappingProxyType({str(entry["name"]): _array(content, entry) for entry in header["arrays"]}),
            names=names,
            families=families,
            facts=MappingProxyType(dict(header["facts"])),
            digest=digest,
        )

    def to_bytes(self) -> bytes:
        """The file's bytes; equal for equal models."""
        arrays = {name: _plain(name, array) for name, array in sorted(self.arrays.items())}
        header = b""
        offset = size = 0
        for _ in range(8):  # the header holds the offsets and the size, which depend on its own length: at most a few rounds
            offset = _aligned(_PREFIX.size + len(header))
            entries = []
            for name, array in arrays.items():
                entries.append({"name": name, "type": array.dtype.str, "shape": list(array.shape), "offset": offset})
                size = offset + array.nbytes
                offset = _aligned(size)
            described = {
                "name": self.name,
                "kind": self.kind,
                "feature_space": self.feature_space,
                "names": list(self.names),
                "families": list(self.families),
                "facts": dict(self.facts),
                "arrays": entries,
                "size": size if arrays else _PREFIX.size + len(header),
            }
            text = json.dumps(described, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
            if text == header:
                break
            header = text + b" " * max(0, len(header) - len(text))
        body = bytearray(header)
        for array in arrays.values():
            body.extend(b"\0" * (_aligned(_PREFIX.size + len(body)) - _PREFIX.size - len(body)))
            body.extend(array.tobytes())
        return _PREFIX.pack(MAGIC, FORMAT, len(header), hashlib.sha256(body).digest()) + bytes(body)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all (a new file beside it, then a rename). Raises ModelError if it cannot be written."""
        temporary = path.with_name(path.name + ".new")
        try:
            temporary.write_bytes(self.to_bytes())
            temporary.replace(path)
        except OSError as error:
            raise ModelError(f"the model cannot be written: {error.strerror}", where=str(path)) from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError("this file is too large for a model", where=str(path), mend=_AGAIN)
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the model cannot be read: {error.strerror}", where=str(path), mend="Check the path and the permissions."
        ) from error


def _array(content: bytes, entry: Mapping[str, object]) -> Array:
    """A read-only view of one array; raises ValueError if it does not lie inside the file."""
    kind, shape, offset = entry["type"], entry["shape"], entry["offset"]
    if kind not in _TYPES or not isinstance(shape, list) or not isinstance(offset, int):
        raise ValueError(f"array {entry['name']!r} is not described as it must be")
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise ValueError(f"array {entry['name']!r} has no true shape")
    count = 1
    for length in shape:
        count *= length
    if offset < 0 or offset + count * np.dtype(str(kind)).itemsize > len(content):
        raise ValueError(f"array {entry['name']!r} does not lie inside the file")
    return np.frombuffer(content, dtype=str(kind), count=count, offset=offset).reshape(shape)


def _plain(name: str, array: Array) -> Array:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if little.dtype.str not in _TYPES:
        raise ModelError(f"array {name!r} has the type {array.dtype}, which a model file cannot hold")
    return little


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN
