"""A dictionary of a million addresses: read, compiled, mapped, changed by one entry, and asked.

    python benchmarks/dictionaries.py [--entries N] [--rounds N] [--write]

Each step runs in a process of its own, so that its growth is the memory of that step; seconds are CPU time of the process, all its threads together.
"Command" is `esa dictionary add` or `remove` as a person runs it: start of the program, configuration, and the file written and flushed to disk. Look-ups
are of addresses of which every second stands there, and of clients in a dictionary of as many networks; a plain dict and a plain loop say whether the
answers are right.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from automaton import peak_memory
from results import table, write_section

SOURCE = str(Path(__file__).resolve().parent.parent / "src")
ENTRIES = 1_000_000
ASKED = 20_000
Figures = dict[str, float]


def address(number: int) -> str:
    return f"user{number % 977}.{number}@host{number % 5_003}.example"


def network(number: int) -> str:
    """Every second /24 of the address space from 1.0.0.0 on, and some wider ones."""
    return f"{ipaddress.ip_address((1 << 24) + number * 512 % (200 << 24))}/24"


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def read(folder: Path, rounds: int) -> Figures:
    from esa import Dictionary

    seconds = min(_timed(lambda: Dictionary.from_file(folder / "people.txt"))[0] for _ in range(min(rounds, 2)))
    return {"read_s": seconds, "peak_mb": peak_memory() / 1e6}


def compile_all(folder: Path, rounds: int) -> Figures:
    from esa import Dictionary, Scanner

    dictionaries = [Dictionary.from_file(folder / "people.txt")]
    seconds, scanner = _timed(lambda: Scanner(dictionaries=dictionaries))
    assert isinstance(scanner, Scanner)
    writing, _ = _timed(lambda: scanner.save(folder / "people.patterns"))
    return {
        "compile_s": seconds,
        "save_s": writing,
        "file_mb": (folder / "people.patterns").stat().st_size / 1e6,
        "peak_mb": peak_memory() / 1e6,
    }


def look_up(folder: Path, rounds: int) -> Figures:
    from esa import Scanner

    Scanner()  # the model, which is not of the dictionaries
    before = peak_memory()
    mapping = []
    for _ in range(rounds):
        seconds, scanner = _timed(lambda: Scanner(compiled=folder / "people.patterns"))
        mapping.append(seconds)
    assert isinstance(scanner, Scanner)
    lookup = scanner.lookup
    asked = [address(2 * number) if number % 2 else f"nobody{number}@host7.example" for number in range(ASKED)]
    known = {address(2 * number) for number in range(ASKED)}
    single, many = [], []
    for _ in range(rounds):
        seconds, found = _timed(lambda: [lookup.text(text) for text in asked])
        single.append(seconds)
        assert isinstance(found, list)
        if [bool(one) for one in found] != [text in known for text in asked]:
            raise SystemExit("the look-ups find something else than a plain set does")
        seconds, found_together = _timed(lambda: [one for at in range(0, ASKED, 100) for one in lookup.texts(asked[at : at + 100])])
        many.append(seconds)
        if found_together != found:
            raise SystemExit("look-ups together find something else than one by one")
    return {
        "map_ms": 1e3 * statistics.median(mapping),
        "text_us": 1e6 * statistics.median(single) / ASKED,
        "texts_us": 1e6 * statistics.median(many) / ASKED,
        "own_mb": (peak_memory() - before) / 1e6,
    }


def networks(folder: Path, rounds: int) -> Figures:
    from esa import Dictionary, Scanner

    scanner = Scanner(dictionaries=[Dictionary.from_file(folder / "networks.txt")])
    clients = [ipaddress.ip_address((1 << 24) + number * 4_099 % (100 << 24)) for number in range(ASKED)]
    there = set((folder / "networks.txt").read_text().splitlines())
    times = []
    for _ in range(rounds):
        seconds, found = _timed(lambda: [scanner.lookup.client(client) for client in clients])
        times.append(seconds)
    assert isinstance(found, list)
    if [bool(one) for one in found] != [str(ipaddress.ip_network(f"{client}/24", strict=False)) in there for client in clients]:
        raise SystemExit("the look-ups of clients find something else than a plain set does")
    return {"client_us": 1e6 * statistics.median(times) / ASKED}


def change(folder: Path, rounds: int) -> Figures:
    """CPU and wall-clock seconds of the commands, and CPU seconds of the change alone."""
    from esa.config.dictionary_file import add, remove
    from esa.engine.dictionary import Entry

    entry = Entry("newcomer@host.example", comment="measured")
    path = folder / "people.txt"
    alone: list[list[float]] = [[], []]
    walls: list[list[float]] = [[], []]
    cpus: list[list[float]] = [[], []]
    for _ in range(rounds):
        alone[0].append(_timed(lambda: add(path, [entry]))[0])
        alone[1].append(_timed(lambda: remove(path, [entry]))[0])
        for number, verb in enumerate(("add", "remove")):
            began, before = time.monotonic(), os.times()
            words = [sys.executable, "-m", "esa.cli", "dictionary", verb, "people", entry.text, "--no-reload"]
            subprocess.run(words, cwd=folder, env={**os.environ, "PYTHONPATH": SOURCE}, check=True, capture_output=True)
            after = os.times()
            walls[number].append(time.monotonic() - began)
            cpus[number].append(after.children_user + after.children_system - before.children_user - before.children_system)
    figures = {}
    for number, verb in enumerate(("add", "remove")):
        figures[f"{verb}_alone_s"] = statistics.median(alone[number])
        figures[f"{verb}_cpu_s"] = statistics.median(cpus[number])
        figures[f"{verb}_wall_s"] = statistics.median(walls[number])
    return figures


STEPS: dict[str, Callable[[Path, int], Figures]] = {
    "read": read,
    "compile": compile_all,
    "look_up": look_up,
    "networks": networks,
    "change": change,
}


def rows(figures: Figures) -> Sequence[Sequence[object]]:
    return [
        ["read and check the file", f"{figures['read_s']:.2f} s"],
        ["compile, in a process of its own", f"{figures['compile_s']:.1f} s"],
        ["write what was compiled", f"{figures['save_s']:.2f} s, {figures['file_mb']:.0f} MB"],
        ["peak memory of that process", f"{figures['compile_peak_mb']:.0f} MB"],
        ["map it in a receiver", f"{figures['map_ms']:.0f} ms"],
        ["add one entry to the file", f"{figures['add_alone_s']:.2f} s"],
        ["`esa dictionary add`, the whole command", f"{figures['add_cpu_s']:.2f} s, {figures['add_wall_s']:.2f} s on the clock"],
        ["remove one entry from the file", f"{figures['remove_alone_s']:.2f} s"],
        ["`esa dictionary remove`, the whole command", f"{figures['remove_cpu_s']:.2f} s, {figures['remove_wall_s']:.2f} s on the clock"],
        ["look up an envelope address, one by one", f"{figures['text_us']:.1f} µs"],
        ["look up envelope addresses, a hundred together", f"{figures['texts_us']:.1f} µs each"],
        ["look up a client among as many networks", f"{figures['client_us']:.1f} µs"],
    ]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--entries", type=int, default=ENTRIES)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true", help="write the figures into RESULTS.md")
    options.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.step:
        print(json.dumps(STEPS[chosen.step](chosen.folder, chosen.rounds)))
        return 0
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "esa.toml").write_text('[scan]\ndictionaries = ["people.txt"]\n')
        (folder / "people.txt").write_text("# people\n" + "".join(f"{address(number)}\n" for number in range(chosen.entries)))
        (folder / "networks.txt").write_text(
            "# esa: kind = networks\n" + "\n".join(dict.fromkeys(network(number) for number in range(chosen.entries))) + "\n"
        )
        for step in STEPS:
            words = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--rounds", str(chosen.rounds)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{step}: {done.stderr}")
            found: Figures = json.loads(done.stdout.splitlines()[-1])
            figures |= {f"compile_{key}" if step == "compile" and key == "peak_mb" else key: value for key, value in found.items()}
    text = table([f"{chosen.entries:,} addresses", "CPU time"], rows(figures))
    text += f"\n\nMedian of {chosen.rounds} rounds; compiling once. Answers of look-ups are those of a plain set."
    print(text)
    if chosen.write:
        write_section("dictionaries", text, title="A dictionary of a million addresses")
    return 0


if __name__ == "__main__":
    sys.exit(main())
