"""The tables of folding: NFKC and case folding per code point, composition of sequences, scripts and look-alikes.

Called by generate.py. All of it comes from Python's `unicodedata` but the look-alikes, which stand in confusables.txt.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from .c_source import numbers, octets

CONFUSABLES = Path(__file__).parent / "confusables.txt"
JOINS, WORD, LATIN, LOOKS_LATIN = 1, 2, 4, 8  # bits of fold_kind, as in _fold.pxd
POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]


def is_unseen(character: str) -> bool:
    """Default-ignorable or a format control: has no width, and only splits words for a matcher."""
    point = ord(character)
    return (
        unicodedata.category(character) == "Cf"
        or point in (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0)
        or 0x180B <= point <= 0x180F
        or 0xFE00 <= point <= 0xFE0F
        or 0xE0000 <= point <= 0xE0FFF
    )


def folded(character: str) -> str:
    """NFKC and full case folding of one code point, without what has no width; a fixed point of itself."""
    text = character
    for _ in range(4):
        again = "".join(part for part in unicodedata.normalize("NFKC", text).casefold() if not is_unseen(part))
        again = unicodedata.normalize("NFKC", again)
        if again == text:
            break
        text = again
    return text


def canonical(point: int) -> tuple[int, ...]:
    """The canonical decomposition of one step, () if there is none."""
    written = unicodedata.decomposition(chr(point))
    return tuple(int(word, 16) for word in written.split()) if written and not written.startswith("<") else ()


def composites() -> dict[tuple[int, int], int]:
    """Pairs that compose, Hangul syllables aside; composition exclusions are those that do not come back."""
    found = {}
    for point in POINTS:
        pair = canonical(point)
        if len(pair) == 2 and unicodedata.normalize("NFC", chr(point)) == chr(point):
            found[pair] = point
    return found


def look_alikes() -> dict[int, str]:
    found = {}
    for line in CONFUSABLES.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            target, *points = line.split()
            found.update({int(point, 16): target for point in points})
    return found


def kind_of(point: int, text: str, seconds: set[int], alike: dict[int, str]) -> int:
    """Bits of fold_kind: what the folding of `point` to `text` must heed."""
    character = chr(point)
    joins = JOINS if text and (unicodedata.combining(text[0]) or ord(text[0]) in seconds) else 0
    if not text:
        return WORD
    if point not in alike and (len(text) != 1 or ord(text) not in alike) and unicodedata.category(character)[0] not in "LMN":
        return joins
    if (point < 0x3000 and unicodedata.name(character, "").startswith("LATIN ")) or (text.isascii() and text.isalpha()):
        return joins | WORD | LATIN | (LOOKS_LATIN if point in alike else 0)
    if point in alike or (len(text) == 1 and ord(text) in alike):
        # black squares and small capitals are nobody's own letters: one of them is enough
        return joins | WORD | LOOKS_LATIN | (LATIN if unicodedata.category(character) == "So" else 0)
    return joins | WORD


def fold_header() -> str:
    """Two stages: page of code point >> 7, then per code point its kind and 0 (itself) or 1 + index of its folded UTF-8 text."""
    alike = look_alikes()
    seconds = {second for _, second in composites()} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    texts: dict[bytes, int] = {}
    pages: dict[tuple[tuple[int, int], ...], int] = {}
    first_stage = []
    for page in range(0x110000 >> 7):
        row = []
        for point in range(page << 7, (page + 1) << 7):
            character = chr(point)
            if 0xD800 <= point < 0xE000 or (unicodedata.category(character) in ("Cn", "Co") and not is_unseen(character)):
                row.append((0, 0))
                continue
            text = folded(character)
            entry = 0 if text == character else 1 + texts.setdefault(text.encode(), len(texts))
            row.append((entry, kind_of(point, text, seconds, alike)))
        first_stage.append(pages.setdefault(tuple(row), len(pages)))
    starts, pool = [], b""
    for text_octets in texts:
        starts.append(len(pool))
        pool += text_octets
    starts.append(len(pool))
    return (
        numbers("unsigned short", "fold_page", first_stage)
        + numbers("unsigned short", "fold_entry", (entry for row in pages for entry, _ in row))
        + numbers("unsigned char", "fold_kind", (kind for row in pages for _, kind in row))
        + numbers("unsigned int", "fold_start", starts)
        + octets("fold_text_pool", pool + bytes(8))  # read in steps of 8
    )


def compose_header() -> str:
    """Canonical decompositions in full (NFD) and pairs that compose, in hash tables; combining classes in two stages."""
    decomposed = {point: unicodedata.normalize("NFD", chr(point)) for point in POINTS if canonical(point)}
    starts, pool = [0], []
    for text in decomposed.values():
        pool += [ord(character) for character in text]
        starts.append(len(pool))
    slots: list[tuple[int, int, int]] = [(0, 0, 0)] * 4096
    for (first, second), point in composites().items():
        slot = (first * 31 + second) % len(slots)
        while slots[slot][2]:
            slot = (slot + 1) % len(slots)
        slots[slot] = (first, second, point)
    decomposed_slots = [0] * 8192
    for position, point in enumerate(decomposed):
        slot = point * 31 % len(decomposed_slots)
        while decomposed_slots[slot]:
            slot = (slot + 1) % len(decomposed_slots)
        decomposed_slots[slot] = 1 + position
    rows: dict[tuple[int, ...], int] = {}
    pages = []
    for page in range(0x110000 >> 7):
        row = tuple(unicodedata.combining(chr(point)) for point in range(page << 7, (page + 1) << 7))
        pages.append(rows.setdefault(row, len(rows)))
    return (
        f"#define DECOMPOSED_MASK {len(decomposed_slots) - 1}u\n#define PAIRS_MASK {len(slots) - 1}u\n"
        + numbers("unsigned short", "decomposed_slots", decomposed_slots)
        + numbers("unsigned int", "decomposed_point", decomposed)
        + numbers("unsigned short", "decomposed_start", starts)
        + numbers("unsigned int", "decomposed_pool", pool)
        + numbers("unsigned int", "pair_first", (first for first, _, _ in slots))
        + numbers("unsigned int", "pair_second", (second for _, second, _ in slots))
        + numbers("unsigned int", "pair_composite", (point for _, _, point in slots))
        + numbers("unsigned char", "mark_page", pages)
        + numbers("unsigned char", "mark_class", (order for row in rows for order in row))
    )


def disguise_header() -> str:
    """Sorted code points of look-alikes, and the two octets they stand for (the second may be 0)."""
    alike = sorted(look_alikes().items())
    return (
        f"#define LOOK_ALIKES {len(alike)}u\n"
        + numbers("unsigned int", "look_alike_point", (point for point, _ in alike))
        + octets("look_alike_text", b"".join(text.encode().ljust(2, b"\0") for _, text in alike))
    )
