"""Arrays as C source: what the writers of the headers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def numbers(kind: str, name: str, values: Iterable[int]) -> str:
    lines, line = [], ""
    for value in values:
        word = f"{value},"
        if len(line) + len(word) > 136:
            lines.append(line)
            line = ""
        line += word
    lines.append(line)
    return f"static const {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def octets(name: str, content: bytes) -> str:
    return numbers("unsigned char", name, content)


def fowler_noll_vo(name: bytes) -> int:
    value = 2166136261
    for octet in name:
        value = ((value ^ octet) * 16777619) & 0xFFFFFFFF
    return value


def name_table(prefix: str, values: Mapping[str, int]) -> str:
    """A closed hash table name -> number: `slots` hold 1 + entry, 0 is free; probing is linear and its longest chain is known."""
    size = 8
    while size < 3 * len(values):
        size *= 2
    slots, pool, starts, lengths = [0] * size, b"", [], []
    for index, name in enumerate(values):
        written = name.encode()
        slot = fowler_noll_vo(written) & (size - 1)
        while slots[slot]:
            slot = (slot + 1) & (size - 1)
        slots[slot] = index + 1
        starts.append(len(pool))
        lengths.append(len(written))
        pool += written
    return (
        f"#define {prefix}_MASK {size - 1}u\n"
        + numbers("unsigned short", f"{prefix}_slots", slots)
        + numbers("unsigned int", f"{prefix}_starts", starts)
        + numbers("unsigned char", f"{prefix}_lengths", lengths)
        + numbers("unsigned short", f"{prefix}_values", values.values())
        + octets(f"{prefix}_pool", pool)
    )
