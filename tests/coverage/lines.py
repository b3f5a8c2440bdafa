"""Writes into generated C which line of which source each of its lines comes from, so that gcov tells of Cython sources and of C within them.

Cython's own `emit_linenums` names a source line once and lets the compiler count on, over all C lines that follow; here each C line gets
its `#line`. What Cython adds (argument parsing, error exits, module creation) stays a part of the C file. Called by `make coverage` between
cythonizing and compiling.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

MARK = "/* lines named */"
SOURCE_LINE = re.compile(r'^\s*/\* "(?:src/)?(esa_core/[\w/]+\.p[yx][xd])":(\d+)$')
VERBATIM = re.compile(r'^cdef extern from \*:\n\s*("""(?:.|\n)*?""")', re.MULTILINE)


def verbatim_blocks(core: Path) -> list[tuple[str, int, list[str]]]:
    """C that stands in a Cython source: file, line of the first C line, the lines."""
    found = []
    for path in sorted((*core.glob("*.pyx"), *core.glob("*.pxd"))):
        text = path.read_text("utf-8")
        for match in VERBATIM.finditer(text):
            lines = ast.literal_eval(match[1]).split("\n")
            first = text.count("\n", 0, match.start(1)) + 1
            skip = next((at for at, line in enumerate(lines) if line.strip()), None)
            if skip is not None and any("{" in line for line in lines):
                found.append((f"src/esa_core/{path.name}", first + skip, [line.strip() for line in lines[skip:]]))
    return found


def find_block(lines: list[str], block: list[str]) -> int:
    """Where in the C file the block begins, -1 if it is not in it."""
    wanted = [line for line in block if line]
    for at, line in enumerate(lines):
        if line == wanted[0] and [text for text in lines[at : at + len(block)] if text][: len(wanted)] == wanted:
            return at
    return -1


def name_lines(c_file: Path, blocks: list[tuple[str, int, list[str]]]) -> None:
    text = c_file.read_text("utf-8")
    lines = text.split("\n")
    if lines[1] == MARK:
        return
    stripped = [line.strip() for line in lines]
    of_block: dict[int, tuple[str, int]] = {}
    for name, first, block in blocks:
        begin = find_block(stripped, block)
        if begin >= 0:
            of_block.update({begin + at: (name, first + at) for at in range(len(block))})
    out: list[str] = []
    place: tuple[str, int] | None = None
    named = True  # the compiler counts in a source, not in the C file
    in_comment = continued = False
    for at, line in enumerate(lines):
        source = SOURCE_LINE.match(line)
        if source and not in_comment:
            place = (f"src/{source[1]}", int(source[2]))
        if "/* function exit code */" in line or line.startswith("}"):
            place = None
        here = of_block.get(at, place)
        plain = in_comment or continued or line.lstrip().startswith(("#", "/*"))
        if not plain and here:
            out.append(f'#line {here[1]} "{here[0]}"')
            named = True
        elif not plain and named:
            out.append(f'#line {at + 1} "{c_file.name}"')
            named = False
        out.append(line)
        opened, closed = line.rfind("/*"), line.rfind("*/")
        in_comment = opened > closed if opened >= 0 else in_comment and closed < 0
        continued = line.endswith("\\")
    out.insert(1, MARK)  # behind the line by which Cython knows its own
    c_file.write_text("\n".join(out), "utf-8")


def main() -> None:
    core = Path(sys.argv[1])
    blocks = verbatim_blocks(core)
    for c_file in sorted(core.glob("*.c")):
        name_lines(c_file, blocks)


if __name__ == "__main__":
    main()
