"""Packs html5lib-tests and html-dompurify, read by the core. White space is left out of comparisons: blocks and line breaks set words apart.

html5lib-tests: the text that is seen of every case is that of the tokens a conforming parser makes of it, in less than 50 ms.
html-dompurify: what the sanitiser leaves of a payload's text and links is read from the payload too (running them in a viewer comes with it).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from esa_core import parse
from tests.conformance.outcome import Outcome, judged, skipped

LIMIT = 0.05  # seconds of CPU
SURROGATE = re.compile("[\ud800-\udfff]")


def run(folder: Path) -> Iterator[Outcome]:
    for path in sorted(folder.glob("tokenizer/*.test")):
        for number, case in enumerate(json.loads(path.read_text("utf-8")).get("tests", ())):
            for state in case.get("initialStates", ["Data state"]):
                yield tokens(f"{path.stem}/{number} {case['description']} ({state})", case, state)
    for path in sorted(folder.glob("encoding/*.dat")):
        for number, markup in enumerate(re.findall(rb"#data\n(.*?)\n#encoding\n", path.read_bytes(), re.DOTALL)):
            yield judged(f"{path.stem}/{number}", seconds(markup) < LIMIT, "slow")


def tokens(name: str, case: dict[str, Any], state: str) -> Outcome:
    markup, output = case["input"], case["output"]
    if case.get("doubleEscaped"):
        markup, output = unescaped(markup), [[unescaped(part) if isinstance(part, str) else part for part in token] for token in output]
    if SURROGATE.search(markup):
        return skipped(name, "UTF-8 has no lone surrogates")
    if state == "Script data state":
        return skipped(name, "the text of scripts is not shown")
    wanted = "".join(token[1] for token in output if token[0] == "Character")
    last = case.get("lastStartTag", "")
    if state == "PLAINTEXT state":
        markup = "<plaintext>" + markup
    elif state == "RCDATA state":
        markup, wanted = "<textarea>" + renamed(markup, last, "textarea"), renamed(wanted, last, "textarea")
    elif state == "RAWTEXT state":
        markup, wanted = "<xmp>" + renamed(markup, last, "xmp"), renamed(wanted, last, "xmp")
    elif state == "CDATA section state":
        markup = "<svg><![CDATA[" + markup
    if state in ("Data state", "CDATA section state"):
        wanted = wanted.replace("\0", "")  # the tree is built without them
    begun = time.process_time()
    shown = parse(message(markup.encode())).text
    spent = time.process_time() - begun
    return judged(name, joined(shown) == joined(wanted) and spent < LIMIT, f"{markup!r} shows {shown!r}, not {wanted!r} ({spent:.3f} s)")


def renamed(text: str, name: str, new: str) -> str:
    """Other elements are not read in this state, or their text is not shown."""
    return re.sub(re.escape(name), new, text, flags=re.IGNORECASE) if name else text


def message(markup: bytes) -> bytes:
    return b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: binary\n\n" + markup


def seconds(markup: bytes) -> float:
    begun = time.process_time()
    assert isinstance(parse(b"Content-Type: text/html\n\n" + markup).text, str)
    return time.process_time() - begun


def unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), text)


def joined(text: str) -> str:
    return "".join(text.split())


def run_payloads(folder: Path) -> Iterator[Outcome]:
    for case in json.loads((folder / "cases.json").read_text("utf-8")):
        name = f"{case['id']} {case.get('title', '')}"
        payload = case["payload"].encode()
        if "<isindex" in case["payload"]:
            yield skipped(name, "isindex is no longer part of HTML")
            continue
        spent = seconds(payload)
        found = parse(message(payload))
        kept = [parse(message(text.encode())) for text in as_list(case["expected"])]
        texts = any(joined(one.text) in joined(found.text + found.written) for one in kept)
        links = any({link.url for link in one.links} <= {link.url for link in found.links} for one in kept)
        yield judged(name, texts and links and spent < LIMIT, f"text kept: {texts}, links kept: {links}, {spent:.3f} s")


def as_list(expected: str | list[str]) -> list[str]:
    return [expected] if isinstance(expected, str) else expected
