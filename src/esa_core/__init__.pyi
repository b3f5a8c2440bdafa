"""Types of the native core. A row of a sparse matrix is a message; arrays that come out of a Batch are read-only."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer, Self, disjoint_base

__all__ = [
    "DOMAIN_LISTS",
    "FACT_NAMES",
    "FACT_SPACE",
    "FAMILY_NAMES",
    "LONGEST_SHAPE",
    "N_FEATURES",
    "PATTERN_KINDS",
    "REGION_NAMES",
    "TOKEN_SPACE",
    "UNBOUNDED",
    "WORD_CATEGORIES",
    "Anchor",
    "Automaton",
    "Batch",
    "Cards",
    "Engine",
    "Lexicon",
    "LinearModel",
    "Link",
    "Parsed",
    "Part",
    "Place",
    "Program",
    "Region",
    "Stretch",
    "count_presence",
    "extract_facts",
    "extract_features",
    "fit_platt",
    "fit_svm",
    "flag_names",
    "fold",
    "learn_on_error",
    "log_odds",
    "normalise",
    "parse",
    "rarity",
]

_Floats = npt.NDArray[np.float64]
_Singles = npt.NDArray[np.float32]
_Integers = npt.NDArray[np.int32]
_Starts = npt.NDArray[np.int64]
_Labels = Sequence[bool] | npt.NDArray[np.bool_]

REGION_NAMES: Final[tuple[str, ...]]

# --- one message ------------------------------------------------------------------------------------------------------------------

class Link(NamedTuple):
    url: str
    shown: str  # the text or alternative text shown for it, "" if none
    kind: str  # anchor, image, form, text (a bare URL) or other
    part: int
    hidden: bool
    base: str  # what its page says relative URLs count from, "" if nothing
    @property
    def normal(self) -> str: ...  # as a browser would ask for it; "" if malformed, or relative to nothing
    @property
    def host(self) -> str: ...  # what a browser would look up: lower case ASCII, dotted decimal; "" if there is none
    @property
    def host_shown(self) -> str: ...  # the same with Punycode written out
    @property
    def registrable_domain(self) -> str: ...  # by the public suffix list; "" if there is none

class Region(NamedTuple):
    kind: str  # one of REGION_NAMES
    origin: int  # number of the region; for disguised words of the region they stand in
    part: int
    text: bytes
    folded: bytes

class Place(NamedTuple):
    kind: str  # one of REGION_NAMES
    part: int
    start: int  # octets of the region's decoded text as UTF-8
    end: int
    text: str  # what stands there
    raw: tuple[int, int] | None  # the same stretch in octets of the message (or the part's origin), where decoding leaves octets alone

@disjoint_base
class Part:
    """One body part, a view on its message. Offsets count octets of the raw message, or of what it was taken out of (`origin`)."""

    @property
    def index(self) -> int: ...
    @property
    def parent(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def media_type(self) -> str: ...
    @property
    def charset(self) -> str: ...
    @property
    def encoding(self) -> str: ...
    @property
    def file_name(self) -> str: ...
    @property
    def file_names(self) -> list[str]: ...
    @property
    def attachment(self) -> bool: ...
    @property
    def another(self) -> bool: ...  # only in another reading of the message than the usual one
    @property
    def origin(self) -> int: ...  # the part it was taken out of, -1: the raw message
    @property
    def start(self) -> int: ...
    @property
    def body_start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def headers(self) -> list[tuple[str, bytes]]: ...
    def content(self) -> bytes: ...
    def contents(self) -> list[bytes]: ...  # in every reading, the usual one first
    @property
    def text(self) -> str: ...  # as seen
    @property
    def decoded(self) -> str: ...  # as written, HTML with its markup

@disjoint_base
class Parsed:
    """One message: structure read at once, text on first access. Content raises nothing; MemoryError only."""

    def __new__(cls, raw: Buffer) -> Self: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def headers(self) -> list[tuple[str, bytes]]: ...
    def fields(self, names: set[bytes]) -> list[tuple[bytes, bytes]]: ...
    def header(self, name: str) -> list[str]: ...
    @property
    def subject(self) -> str: ...
    @property
    def from_name(self) -> str: ...
    @property
    def from_address(self) -> str: ...
    @property
    def reply_to_address(self) -> str: ...
    @property
    def sender_address(self) -> str: ...
    @property
    def to_name(self) -> str: ...
    @property
    def to_address(self) -> str: ...
    @property
    def recipients(self) -> int: ...
    @property
    def parts(self) -> list[Part]: ...
    @property
    def attachments(self) -> list[Part]: ...
    @property
    def text(self) -> str: ...
    @property
    def written(self) -> str: ...
    @property
    def links(self) -> list[Link]: ...
    @property
    def html(self) -> dict[str, int]: ...
    @property
    def folded(self) -> bytes: ...
    @property
    def regions(self) -> list[Region]: ...
    def locate(self, start: int, length: int) -> Place | None: ...  # where folded[start : start + length] comes from

def parse(raw: Buffer) -> Parsed: ...
def fold(text: Buffer) -> bytes: ...
def flag_names(flags: int) -> tuple[str, ...]: ...

# --- terms ------------------------------------------------------------------------------------------------------------------------

@disjoint_base
class Automaton:
    """Folded terms of 1 to 4,096 octets, found in folded texts; ValueError for others. Shared by any number of threads.

    `image` is what was compiled, as octets; `from_image` takes it without a copy, or says in a ValueError what is damaged where.
    """

    def __new__(
        cls, terms: Iterable[bytes], *, whole_word: Sequence[bool] | bool = False, hashed: bool | None = None, seed: int = ...
    ) -> Self: ...
    @classmethod
    def from_image(cls, image: Buffer) -> Self: ...
    @property
    def image(self) -> Buffer: ...
    @property
    def n_terms(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def forms(self) -> dict[str, int]: ...
    def counts(self, text: Buffer) -> dict[int, int]: ...
    def find(self, text: Buffer, *, plain: bool = False) -> tuple[_Integers, npt.NDArray[np.uint32], bool]: ...
    def scan(self, texts: Sequence[Buffer]) -> tuple[_Starts, _Integers, _Integers, npt.NDArray[np.bool_]]: ...

PATTERN_KINDS: Final[tuple[str, ...]]
UNBOUNDED: Final[int]
LONGEST_SHAPE: Final[int]

class Stretch(NamedTuple):
    least: int
    most: int  # UNBOUNDED: any number
    octets: int  # bit n: octet n may be one of them

class Anchor(NamedTuple):
    """What wakes a regular expression, and what must stand beside it."""

    pattern: int
    cased: bool  # in text as written; else in folded text
    regions: int  # bits in the order of REGION_NAMES
    exact: bool  # these are octets of the text that is searched; if not, a match may be anywhere in the region
    literals: tuple[bytes, ...]  # one of them stands in every match; if there are none, octets
    shape: tuple[int, ...]  # of these sets do, side by side; at most LONGEST_SHAPE
    rarest: int  # from here on four of them are looked for
    before: Stretch  # between one of
    heads: tuple[bytes, ...]  # these, unless there are none, and the literal
    after: Stretch  # between the literal and one of
    tails: tuple[bytes, ...]
    lead: Stretch  # from where the match begins to the literal
    trail: Stretch  # from the literal to where it ends

def rarity(text: bytes) -> float: ...

@disjoint_base
class Program:
    """The patterns of a configuration: UTF-8 texts of PATTERN_KINDS, in kinds of regions (bits in the order of REGION_NAMES).

    Case counts in `cased` ones, which are looked for in text as written; all others in folded text. ValueError for unknown kinds and odd texts.
    `image` is what was compiled, as octets; `from_image` takes it without a copy, or says in a ValueError what is damaged where.
    """

    def __new__(
        cls,
        texts: Iterable[bytes],
        kinds: Sequence[str] | str = "text",
        *,
        cased: Sequence[bool] | bool = False,
        regions: Sequence[int] | int = ...,
        anchors: Sequence[Anchor] = (),
        keeps: bool = False,
        note: bytes = b"",
    ) -> Self: ...
    @classmethod
    def from_image(cls, image: Buffer) -> Self: ...
    @property
    def image(self) -> Buffer: ...
    @property
    def anchored(self) -> list[int]: ...  # patterns that anchors wake
    @property
    def note(self) -> memoryview: ...
    @property
    def n_patterns(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def folded(self) -> Automaton | None: ...
    @property
    def written(self) -> Automaton | None: ...

# --- facts and cards --------------------------------------------------------------------------------------------------------------

DOMAIN_LISTS: Final[tuple[str, ...]]
FACT_NAMES: Final[tuple[str, ...]]
FACT_SPACE: Final[str]
WORD_CATEGORIES: Final[tuple[str, ...]]

@disjoint_base
class Lexicon:
    """Word lists by category, lists of domains, brands with their own domains. ValueError for unknown categories and odd terms."""

    def __new__(
        cls, *, words: Mapping[str, Sequence[str]], domains: Mapping[str, Sequence[str]], brands: Mapping[str, Sequence[str]]
    ) -> Self: ...
    @property
    def brands(self) -> tuple[str, ...]: ...

def extract_facts(messages: Sequence[Buffer], lexicon: Lexicon) -> _Singles: ...

@disjoint_base
class Cards:
    """Two hand-signed cards as arrays [n_facts]; weights [2, 3] and prior [3] by mail type. ValueError for arrays that do not fit."""

    def __new__(
        cls,
        *,
        card: npt.ArrayLike,
        sign: npt.ArrayLike,
        mean: npt.ArrayLike,
        scale: npt.ArrayLike,
        weights: npt.ArrayLike,
        prior: npt.ArrayLike,
        mail_type: int,
    ) -> Self: ...
    @property
    def n_facts(self) -> int: ...
    def logits(self, facts: _Singles) -> _Floats: ...
    def contributions(self, facts: _Singles) -> _Floats: ...

# --- hashed features and linear models --------------------------------------------------------------------------------------------

FAMILY_NAMES: Final[tuple[str, ...]]
N_FEATURES: Final[int]
TOKEN_SPACE: Final[str]

def extract_features(messages: Sequence[Buffer], *, families: int) -> tuple[_Starts, _Integers, _Singles]: ...

@disjoint_base
class LinearModel:
    """Weights float32 [n_weights] and a bias, in log-odds; `normalised`: rows are scaled to length 1 first."""

    def __new__(cls, weights: npt.ArrayLike, bias: float = 0.0, *, normalised: bool = False) -> Self: ...
    @property
    def bias(self) -> float: ...
    @property
    def normalised(self) -> bool: ...
    def logits(self, indptr: _Starts, indices: _Integers, values: _Singles) -> _Floats: ...
    def contributions(self, indptr: _Starts, indices: _Integers, values: _Singles) -> _Floats: ...

def normalise(indptr: _Starts, indices: _Integers, values: _Singles) -> _Singles: ...
def fit_svm(
    indptr: _Starts,
    indices: _Integers,
    values: _Singles | None,
    labels: _Labels,
    *,
    n_weights: int,
    rows: npt.NDArray[np.int64] | None = None,
    cost: float = 100.0,
    epochs: int = 300,
    tolerance: float = 0.001,
    seed: int = 0,
) -> tuple[_Floats, float]: ...
def fit_platt(scores: npt.ArrayLike, labels: _Labels) -> tuple[float, float]: ...
def learn_on_error(
    weights: _Floats,
    bias: float,
    indptr: _Starts,
    indices: _Integers,
    values: _Singles,
    labels: _Labels,
    *,
    rate: float = 4.0,
    margin: float = 0.49,
) -> tuple[_Floats, float]: ...
def count_presence(counts: npt.NDArray[np.uint32], indptr: _Starts, indices: _Integers, labels: _Labels) -> None: ...
def log_odds(counts: npt.NDArray[np.uint32], n_ham: int, n_spam: int, *, smoothing: float = 0.5) -> _Floats: ...

# --- batches ----------------------------------------------------------------------------------------------------------------------

@disjoint_base
class Engine:
    """Scans batches of raw messages without the GIL; what is not given is not done. Immutable, shared by any number of threads."""

    def __new__(
        cls,
        *,
        lexicon: Lexicon | None = None,
        cards: Cards | None = None,
        program: Program | None = None,
        linear: LinearModel | None = None,
        families: int = 0,
        second: LinearModel | None = None,
        second_families: int = 0,
        margin: float = 0.0,
    ) -> Self: ...
    @property
    def lexicon(self) -> Lexicon | None: ...
    @property
    def cards(self) -> Cards | None: ...
    @property
    def program(self) -> Program | None: ...
    @property
    def linear(self) -> LinearModel | None: ...
    @property
    def second(self) -> LinearModel | None: ...
    @property
    def nbytes(self) -> int: ...
    def scan(self, raws: Sequence[Buffer]) -> Batch: ...
    def stands_in(self, text: bytes) -> bool: ...

@final
class Batch:
    """The results of one scan; see the properties' shapes in `Engine.scan`'s module."""

    def __len__(self) -> int: ...
    @property
    def logits(self) -> _Floats: ...
    @property
    def flags(self) -> npt.NDArray[np.uint64]: ...
    @property
    def micros(self) -> _Singles: ...
    @property
    def stages(self) -> npt.NDArray[np.uint8]: ...
    @property
    def facts(self) -> _Singles: ...
    @property
    def match_starts(self) -> _Starts: ...
    @property
    def match_terms(self) -> _Integers: ...
    @property
    def match_kinds(self) -> npt.NDArray[np.uint32]: ...
    @property
    def match_parts(self) -> _Integers: ...
    @property
    def match_offsets(self) -> npt.NDArray[np.uint32]: ...
    @property
    def match_counts(self) -> _Integers: ...
    def counts(self, row: int) -> dict[int, int]: ...
    def table(self, row: int) -> list[tuple[int, str, int, int, int]]: ...
    def windows(self, row: int) -> list[tuple[int, int, int, int]]: ...  # pattern, number of the region, start, end
    def regions(self, row: int) -> list[Region] | None: ...  # of a message with windows; None: its text was not kept
    def contributions(self, row: int) -> _Floats: ...
    def summed(self, row: int, places: Buffer, n: int) -> list[float]: ...
    def fact_row(self, row: int) -> bytes: ...
    def told(self, row: int, most: int, places: Buffer, n: int) -> tuple[list[int], list[float], list[float], bytes]: ...
    def ranked(self, row: int, most: int = -1) -> tuple[list[int], list[float]]: ...
