"""The native core's front door: bytes in, typed facts out. Nothing that is not named here is public."""

from esa_core._parsed import Link, Parsed, Part, fold, parse

__all__ = ["Link", "Parsed", "Part", "fold", "parse"]
