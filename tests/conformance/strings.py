"""Pack strings-blns: naughty strings as subject, display name, file name and body. Nothing raises; the text is read as it was written."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import esa
import esa_core
from tests.conformance.outcome import Outcome, judged


def run(folder: Path) -> Iterator[Outcome]:
    for number, string in enumerate(json.loads((folder / "blns.json").read_text("utf-8"))):
        octets = string.encode("utf-8", "surrogatepass")
        word = b"=?utf-8?B?" + b64encode(octets) + b"?="
        raw = (
            b"From: %b <ann@example.org>\r\nTo: bob@example.org\r\nSubject: %b\r\nMIME-Version: 1.0\r\n"
            b'Content-Type: multipart/mixed; boundary="cut"\r\n\r\n'
            b"--cut\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n"
            b'--cut\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="%b"\r\n\r\nx\r\n--cut--\r\n'
        ) % (word, word, b64encode(octets), word)
        parsed = esa_core.parse(raw)
        esa.scan(raw)
        name = f"{number} {string[:30]!r}"
        wanted = _seen(string)
        read = {"subject": parsed.subject, "name": parsed.from_name, "body": parsed.parts[1].text}
        wrong = {key: text for key, text in read.items() if _seen(text) != wanted}
        yield judged(name, not wrong, ", ".join(f"{key} {text[:40]!r}" for key, text in wrong.items()))


def _seen(text: str) -> str:
    """White space and controls may be cleaned in header fields; the rest must be what it was."""
    return "".join(character for character in text if character.isprintable() and not character.isspace())
