"""The steps that benchmarks time find what the library finds, and nothing more is done than was asked for."""

from __future__ import annotations

import pytest

from esa_core import parse
from esa_core._steps import STEPS, run

HTML = b"Subject: x\nContent-Type: text/html\n\n<p>Hello <b>you</b></p>\n"
TWO = b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\none\n--b\n\ntwo\n--b--\n'


def test_structure_has_the_parts_and_no_text() -> None:
    assert run([HTML, TWO, b""], step="structure") == (sum(len(parse(raw).parts) for raw in (HTML, TWO, b"")), 0)


def test_decoding_and_folding_have_the_text() -> None:
    decoded, folded = (run([HTML, TWO], step=step) for step in ("decode", "fold"))
    assert decoded == folded
    assert decoded[0] == 4
    assert decoded[1] > len("Hello you") + len("one") + len("two")
    assert run([], step="decode") == (0, 0)


def test_bodies_have_the_markup_and_the_octets_of_attachments() -> None:
    attached = b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAEC\n"
    assert run([HTML], step="bodies") == (1, len("x") + len("<p>Hello <b>you</b></p>\n"))
    assert run([attached], step="bodies") == (1, 3)
    assert run([TWO], step="bodies") == run([TWO], step="decode")


def test_another_step_or_no_buffer_is_refused() -> None:
    assert STEPS == ("structure", "bodies", "decode", "fold")
    with pytest.raises(ValueError, match="score"):
        run([HTML], step="score")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        run(["text"], step="fold")  # type: ignore[list-item]
