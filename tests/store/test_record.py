"""The form of a record on disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esa.message.envelope import Envelope
from esa.store.record import (
    HEADER_SIZE,
    ContentFile,
    Event,
    EventName,
    Splinter,
    decode_header,
    decode_metadata,
    encode_head,
    encode_metadata,
)
from tests.store.messages import CONTENT, PREFIX, make_record

MARKER = b"\x81marker\x00"


def test_metadata_comes_back_as_it_was() -> None:
    record = replace(
        make_record(),
        envelope=Envelope("", ("üser@exämple.org", "b@example.org"), 12, "8BITMIME", smtputf8=True),
        splinters=(Splinter(("üser@exämple.org",), "deliver"), Splinter(("b@example.org",), "quarantine", 'a "reason"\n')),
        events=(Event(EventName.ACCEPTED, 1.5, {"score": 12.5, "reasons": ["a", "b"]}), Event(EventName.DROPPED, 2.0)),
        omitted=((3, 9), (20, 31)),
    )
    file = ContentFile("0001-X", 5_000_000, 77)
    decoded, its_file = decode_metadata(encode_metadata(record, file))
    assert decoded == replace(record, content=None, prefix=b"")
    assert its_file == file


def test_octets_of_an_address_that_are_no_utf8_are_kept() -> None:
    record = replace(make_record(), envelope=Envelope("caf\udce9@example.net", ("b@example.org",)))
    assert decode_metadata(encode_metadata(record, None))[0].envelope.reverse_path == "caf\udce9@example.net"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"null", b'{"env": [1]}', b"\xff", b"[" * 100])
def test_other_metadata_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_metadata(data)


def head(**changed: int) -> bytes:
    numbers = {"generation": 7, "sequence": 3} | changed
    return encode_head(
        encode_metadata(make_record(), None),
        PREFIX,
        CONTENT,
        marker=MARKER,
        generation=numbers["generation"],
        sequence=numbers["sequence"],
    )


def test_header_gives_lengths_and_place() -> None:
    data = head() + CONTENT
    header = decode_header(b"garbage" + data, 7, marker=MARKER, generation=7)
    assert header is not None
    assert (header.generation, header.sequence, header.length) == (7, 3, len(data))
    assert (header.prefix_length, header.content_length) == (len(PREFIX), len(CONTENT))


def test_no_flipped_bit_of_a_header_goes_unnoticed() -> None:
    data = head()
    for bit in range(HEADER_SIZE * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode_header(bytes(flipped), 0, marker=MARKER, generation=7) is None


def test_header_of_another_segment_is_none_of_this() -> None:
    assert decode_header(head(generation=8), 0, marker=MARKER, generation=7) is None
    assert decode_header(head(), 0, marker=b"otherone", generation=7) is None
    assert decode_header(head()[:-1][: HEADER_SIZE - 1], 0, marker=MARKER, generation=7) is None
