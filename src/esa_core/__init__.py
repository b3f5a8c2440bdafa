"""The native core's front door: bytes in, typed facts out. Nothing that is not named here is public."""

from esa_core._anchors import UNBOUNDED, Anchor, Stretch
from esa_core._automaton import Automaton
from esa_core._batch import FAMILY_NAMES, Batch, Engine
from esa_core._cards import Cards
from esa_core._facts import FACT_NAMES, FACT_SPACE, extract_facts
from esa_core._features import N_FEATURES, TOKEN_SPACE, extract_features
from esa_core._grams import rarity
from esa_core._lexicon import DOMAIN_LISTS, WORD_CATEGORIES, Lexicon
from esa_core._linear import LinearModel, count_presence, fit_platt, fit_svm, learn_on_error, log_odds, normalise
from esa_core._parsed import REGION_NAMES, Link, Parsed, Part, Place, Region, flag_names, fold, parse
from esa_core._program import PATTERN_KINDS, Program
from esa_core._shapes import LONGEST_SHAPE

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
