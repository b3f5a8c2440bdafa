"""HTML to text beside selectolax (lexbor): the HTML parts of a corpus, round by round in one process, and whether both read the same words.

Usage: python benchmarks/html.py [--corpus NAME] [--rounds N] [--write]

esa reads a whole message of one part (structure, charset, text as seen and as written, links, counts, looks) and gives the text as a string;
selectolax parses the same octets and gives theirs. Figures are the best round's CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from mail import corpus_path, read
from results import table, write_section
from selectolax.lexbor import LexborHTMLParser

from esa_core import parse

HEAD = b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"


def html_parts(corpus: str) -> list[bytes]:
    """The decoded HTML parts of a corpus as UTF-8."""
    found = []
    for raw in read(corpus_path(corpus))[0]:
        for part in parse(raw).parts:
            if part.media_type == "text/html" and not part.another:
                charset = part.charset if part.charset not in ("", "unknown") else "windows-1252"
                found.append(part.content().decode(charset, "replace").encode())
    return found


def their_text(tree: LexborHTMLParser) -> str:
    """The text of a tree without what no client shows, and with the labels of buttons, which all show; white space left out."""
    for node in tree.css("input[type=submit i], input[type=button i]"):
        node.replace_with(node.attributes.get("value") or "")
    for node in tree.css("script, style, title, template, noframes, noembed, iframe"):
        node.decompose()
    text = "" if tree.root is None else tree.root.text(separator=" ")
    return "".join(text.replace("\0", "").split())


def same_words(parts: list[bytes]) -> tuple[int, int]:
    """(parts that hide nothing but their title and have no comments, of them with the same characters in order)"""
    plain = same = 0
    for markup in parts:
        parsed, tree = parse(HEAD + markup), LexborHTMLParser(markup)
        titles = "".join("".join(node.text().split()) for node in tree.css("title"))
        if parsed.html["comments"] or "".join(parsed.written.split()) != titles:
            continue
        plain += 1
        same += "".join(parsed.text.split()) == their_text(tree)
    return plain, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="spamassassin")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    parts = html_parts(options.corpus)
    mail = [HEAD + part for part in parts]
    size = sum(map(len, parts))
    runs: dict[str, Callable[[], object]] = {
        "esa: parse(message).text": lambda: [parse(raw).text for raw in mail],
        "selectolax: LexborHTMLParser(octets).text()": lambda: [LexborHTMLParser(part).text() for part in parts],
    }
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            spent[name].append(time.process_time() - begun)
    least = min(next(iter(spent.values())))
    rows = [
        (name, f"{1e6 * min(times) / len(parts):.1f}", f"{size / min(times) / 1e6:,.0f}", f"{min(times) / least:.1f}×")
        for name, times in spent.items()
    ]
    plain, same = same_words(parts)
    text = table(("reader", "CPU µs/part", "MB/s", "against esa"), rows)
    text += (
        f"\n\n{len(parts):,} HTML parts of {options.corpus}, mean {size / len(parts) / 1000:.1f} kB, best of {options.rounds} rounds in turn. "
        f"Of {plain:,} parts that hide nothing, {same:,} ({same / plain:.1%}) show the same characters in order in both.\n\nBar: 4×."
    )
    print(text)
    if options.write:
        write_section(f"html-{options.corpus}", text, title=f"HTML to text: {options.corpus}")


if __name__ == "__main__":
    main()
