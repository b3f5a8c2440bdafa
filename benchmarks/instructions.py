"""Where the core's instructions go: the pipeline of `pipeline.py` under callgrind, by function.

    python benchmarks/instructions.py [--write] [--messages N]

Needs valgrind. Terms and literals are those of the pipeline, made from the whole corpus.
Counted is `Engine.scan` only, over a fixed random choice of messages and after a first round; functions that the compiler put
into their callers count as these. Instructions do not depend on what else the machine does: two runs of one build differ by less than 0.1 %.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mail import corpus_path, dictionary_terms, literals, read
from results import table, write_section

from esa.engine.judge import native_engine
from esa.engine.model import Model
from esa_core import Program, parse

SHOWN = 30
SCAN = "__pyx_pw_8esa_core_6_batch_6Engine_*scan"
LINE = re.compile(r"\s*([\d,]+)\s*(?:\([\s\d.]+%\))?\s+\S*?:(\S+)(?: \[(.*)\])?$")
ROOM = re.compile(r"_([a-z0-9_]+?)\.[^/]*$")


def compiled(corpus: Path) -> bytes:
    """The image of the program of the pipeline."""
    raws, _ = read(corpus)
    terms = [term.encode() for term in dictionary_terms(raws)]
    return bytes(Program([*terms, *literals([parse(raw).folded for raw in raws])]).image)


def scan(messages: int, corpus: Path, image: Path) -> None:
    """What callgrind watches: one round, so that what is made once is made, and as few as possible of Python's own instructions."""
    raws, _ = read(corpus, messages)
    engine = native_engine(Model.load(), Program.from_image(image.read_bytes()))
    engine.scan(raws)


def watch(messages: int, corpus: Path) -> list[tuple[int, str, str]]:
    """(instructions, function, room) by falling number."""
    with tempfile.TemporaryDirectory() as folder:
        out, image = Path(folder) / "callgrind.out", Path(folder) / "image"
        image.write_bytes(compiled(corpus))
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={SCAN}"]
        inner = [sys.executable, __file__, "--inner", "--messages", str(messages), "--corpus", str(corpus), "--image", str(image)]
        subprocess.run([*command, *inner], check=True, capture_output=True)
        done = subprocess.run(["callgrind_annotate", "--threshold=100", str(out)], check=True, capture_output=True, text=True)
    found = []
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match:
            room = ROOM.search(Path(match[3] or "").name)
            found.append((int(match[1].replace(",", "")), _plain(match[2]), f"_{room[1]}" if room else Path(match[3] or "?").name))
    return sorted(found, reverse=True)


def _plain(function: str) -> str:
    """The name as it stands in the source."""
    return re.sub(r"^__pyx_(?:f|pf|pw)_8esa_core_(?:\d+)_[a-z0-9_]+?_(?=[a-z_]*[a-z])", "", function).removesuffix("'2")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--messages", type=int, default=768, help="messages (default 768)")
    options.add_argument("--corpus", type=Path, default=None, help="corpus archive or folder (default: shared spamassassin)")
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    options.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    corpus = chosen.corpus or corpus_path("spamassassin")
    if chosen.inner:
        scan(chosen.messages, corpus, chosen.image)
        return 0
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed")
    found = watch(chosen.messages, corpus)
    total = sum(count for count, _, _ in found)
    rooms: dict[str, int] = {}
    for count, _, room in found:
        rooms[room] = rooms.get(room, 0) + count

    def share(count: int) -> list[object]:
        return [f"{count / chosen.messages:,.0f}", f"{100 * count / total:.1f} %"]

    functions = [[name, room, *share(count)] for count, name, room in found[:SHOWN]]
    text = table(["function", "room", "instructions a message", "of all"], functions)
    by_room = sorted(rooms.items(), key=lambda pair: -pair[1])
    text += "\n\n" + table(
        ["room", "instructions a message", "of all"], [[room, *share(count)] for room, count in by_room if count > total / 200]
    )
    text += (
        f"\n\n{total / chosen.messages:,.0f} instructions a message, {chosen.messages} messages of the spamassassin corpus; shipped model, "
        "10,000 terms, 1,000 literals. Functions that the compiler put into their callers count as these."
    )
    print(text)
    if chosen.write:
        write_section("profile", text, title="Where the instructions of the pipeline go")
    return 0


if __name__ == "__main__":
    sys.exit(main())
