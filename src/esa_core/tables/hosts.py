"""Write the table of public suffixes: the names under which anyone can register one. Called by generate.py."""

from __future__ import annotations

from pathlib import Path

from .c_source import name_table

SUFFIXES = Path(__file__).parent / "public_suffixes.txt"
IS_SUFFIX, ALL_BELOW, NO_SUFFIX = 1, 2, 4  # "name", "*.name" and "!name", as in _domain.pyx


def ascii_name(name: str) -> str:
    """A domain name with its labels in Punycode where they are not ASCII."""
    labels = name.lower().split(".")
    return ".".join(label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels)


def suffix_header() -> str:
    rules: dict[str, int] = {}
    for line in SUFFIXES.read_text("utf-8").splitlines():
        if not line or line.startswith("//"):
            continue
        name = ascii_name(line.lstrip("!").removeprefix("*."))
        rules[name] = rules.get(name, 0) | (NO_SUFFIX if line.startswith("!") else ALL_BELOW if line.startswith("*.") else IS_SUFFIX)
    return name_table("suffix", rules) + f"#define LONGEST_SUFFIX {max(map(len, rules))}u\n"
