"""Containers: winmail.dat, signed content, uuencoded files and encoded messages are opened, and what is in them is read like other parts."""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import resource
import zlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st

from esa_core import Engine, Parsed, Part, parse
from tests.core import containers

HEAD = b"From: ann@example.org\n"
ENTITY = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsigned text\r\n"
    b"--b\r\nContent-Type: application/octet-stream; name=x.exe\r\n\r\nMZ\r\n--b--\r\n"
)


def mail(content: bytes, media_type: bytes) -> Parsed:
    return parse(HEAD + b"Content-Type: " + media_type + b"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(content))


def opened(parsed: Parsed) -> list[Part]:
    return [part for part in parsed.parts if part.origin >= 0]


# ---- TNEF ----


def test_attachments_and_body_of_a_winmail_dat_become_parts() -> None:
    parsed = mail(
        containers.tnef(
            containers.attribute(1, 0x0002800C, b"plain body\0"),
            containers.attachment(b"MZ payload", title=b"PAYLOA~1.EXE", long_name="Päyload.exe"),
            containers.attachment(b"second", title=b"b\xfc.bin"),
            containers.attachment(b"no name"),
        ),
        b"application/ms-tnef",
    )
    assert parsed.flags == ("tnef",)
    assert [(part.file_name, part.content(), part.attachment) for part in opened(parsed)[1:]] == [
        ("Päyload.exe", b"MZ payload", True),
        ("bü.bin", b"second", True),
        ("", b"no name", True),
    ]
    assert parsed.text == "plain body"
    assert b"payload.exe" in parsed.folded.replace("ä".encode(), b"a")
    assert {part.parent for part in opened(parsed)} == {0}


@pytest.mark.parametrize("media_type", [b"application/octet-stream", b"image/png", b"application/octet-stream; name=WINMAIL.DAT", b"a/b"])
def test_tnef_is_known_by_its_first_octets_whatever_it_is_called(media_type: bytes) -> None:
    assert mail(containers.tnef(containers.attachment(b"x", title=b"x.exe")), media_type).parts[1].file_name == "x.exe"


def test_texts_in_properties_are_read_in_their_character_set() -> None:
    parsed = mail(
        containers.tnef(
            containers.message_properties(
                containers.fixed(0x0003, 0x1234, b"abcd"),
                containers.fixed(0x000B, 0x1235, b"\1\0"),
                containers.fixed(0x0040, 0x1236, bytes(8)),
                containers.named(0x1F, 0x8001, "name", "value\0".encode("utf-16-le")),
                containers.variable(0x1E, 0x1000, "Юникод\0".encode("cp1251")),
                containers.variable(0x1F, 0x1000, "Ünïcode\0".encode("utf-16-le")),
                containers.variable(0x102, 0x1013, b"<meta charset=utf-8><b>\xc3\xa4</b>"),
            ),
            page=1251,
        ),
        b"application/ms-tnef",
    )
    assert [part.text for part in opened(parsed)] == ["Юникод", "Ünïcode", "ä"]
    assert parsed.flags == ("tnef",)


@pytest.mark.parametrize(
    ("page", "name"), [(65001, "utf-8"), (932, "shift_jis"), (1200, "utf-16le"), (0, "windows-1252"), (99999, "windows-1252")]
)
def test_code_pages_are_character_sets(page: int, name: str) -> None:
    parsed = mail(containers.tnef(containers.attribute(1, 0x0002800C, b"ab"), page=page), b"application/ms-tnef")
    assert parsed.parts[1].charset == name


def test_rich_text_is_unpacked_and_shown_as_text() -> None:
    rich = (
        rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}{\colortbl;\red0;}{\*\generator hidden;}{\info{\title hidden}}\pard "
        rb"Gr\'fc\u223?e\~\b bold\b0  \{x\}\tab y\par\bin3 }}}second\line third \u-10179?\u-8704?\emdash\'80}"
    )
    parsed = mail(containers.tnef(containers.message_properties(containers.variable(0x102, 0x1009, containers.packed(rich)))), b"a/b")
    assert parsed.text == "Grüße\xa0bold {x}\ty\nsecond\nthird 😀—€"


def test_rich_text_in_a_set_of_two_octets_a_character_is_read() -> None:
    rich = rb"{\rtf1\ansi a\'82\'a0\'82b \'b1\'88\'9f\u8364\'82{\*\x \'82\'a0}\'82}"
    packed = containers.variable(0x102, 0x1009, containers.packed(rich))
    parsed = mail(containers.tnef(containers.message_properties(packed), page=932), b"application/vnd.ms-tnef")
    assert parsed.text == "aあ\ufffdb ｱ亜€\ufffd"


def test_html_wrapped_in_rich_text_is_read_as_html() -> None:
    rich = (
        rb"{\rtf1\ansi\fromhtml1 \deff0{\fonttbl{\f0 Arial;}}{\*\htmltag64 <p>}Hello {\*\htmltag84 <a href='http://x.example/'>}"
        rb"\htmlrtf {\field not for HTML\htmlrtf0 link\htmlrtf }\htmlrtf0 {\*\htmltag92 </a>}{\*\htmltag72 </p>}}"
    )
    parsed = mail(containers.tnef(containers.message_properties(containers.variable(0x102, 0x1009, containers.packed(rich)))), b"a/b")
    assert (parsed.parts[1].media_type, parsed.text) == ("text/html", "Hello link")
    assert [(link.url, link.shown) for link in parsed.links] == [("http://x.example/", "link")]


def test_rich_text_that_is_not_compressed_is_read_too() -> None:
    rich = rb"{\rtf1 stored}"
    stored = (len(rich) + 12).to_bytes(4, "little") + len(rich).to_bytes(4, "little") + b"MELA" + bytes(4) + rich
    parsed = mail(containers.tnef(containers.message_properties(containers.variable(0x102, 0x1009, stored))), b"a/b")
    assert parsed.text == "stored"


@given(st.binary(max_size=600).map(lambda octets: bytes(97 + octet % 5 for octet in octets)))
def test_what_is_packed_is_unpacked(letters: bytes) -> None:
    rich = rb"{\rtf1 " + letters + b"}"
    parsed = mail(containers.tnef(containers.message_properties(containers.variable(0x102, 0x1009, containers.packed(rich)))), b"a/b")
    assert parsed.text == letters.decode()
    assert "bad_container" not in parsed.flags


def test_a_message_in_a_winmail_dat_is_opened_to_its_depth() -> None:
    inner = containers.tnef(containers.attribute(1, 0x0002800C, b"innermost\0"))
    for _ in range(5):
        inner = containers.tnef(containers.attached_message(inner))
    parsed = mail(inner, b"application/ms-tnef")
    assert parsed.text == "innermost"
    assert max(part.depth for part in parsed.parts) == 6


def test_a_damaged_winmail_dat_gives_what_is_there_and_says_so() -> None:
    whole = containers.tnef(containers.attachment(b"first", title=b"a.exe"), containers.attachment(b"second", title=b"b.exe"))
    parsed = mail(whole[:-6], b"application/ms-tnef")
    assert "bad_container" in parsed.flags
    assert [part.content() for part in opened(parsed)] == [b"first", b"se"]
    assert "bad_container" in mail(b"no TNEF", b"application/ms-tnef").flags


@given(st.data())
def test_no_damage_of_a_container_raises(data: st.DataObject) -> None:
    whole = bytearray(
        data.draw(
            st.sampled_from(
                [
                    containers.tnef(
                        containers.attachment(b"x", title=b"x", long_name="y"),
                        containers.message_properties(
                            containers.named(0x1F, 0x8001, "n", b"v"),
                            containers.variable(0x102, 0x1009, containers.packed(rb"{\rtf1 ab\'e4ab}")),
                        ),
                        containers.attached_message(containers.tnef()),
                    ),
                    containers.signed(ENTITY),
                    containers.signed(ENTITY, indefinite=True, pieces=(3, 4), nested=True),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    for media_type in (b"application/ms-tnef", b"application/pkcs7-mime"):
        parsed = mail(bytes(whole), media_type)
        assert parsed.folded is not None
        for part in parsed.parts:
            assert part.contents()[0] == part.content()
            assert part.file_names is not None


# ---- CMS ----


@pytest.mark.parametrize(
    "written",
    [
        containers.signed(ENTITY),
        containers.signed(ENTITY, indefinite=True),
        containers.signed(ENTITY, pieces=(10, 20, 1)),
        containers.signed(ENTITY, pieces=(10, 20, 1), indefinite=True),
        containers.signed(ENTITY, pieces=(10, 20, 1), indefinite=True, nested=True),
        containers.signed(ENTITY, pieces=(5,), nested=True),
    ],
    ids=["DER", "indefinite", "pieces", "indefinite pieces", "pieces in pieces", "definite pieces in pieces"],
)
def test_signed_content_is_opened_in_every_form_of_ber(written: bytes) -> None:
    for media_type in (
        b"application/pkcs7-mime; smime-type=signed-data",
        b"application/x-pkcs7-mime",
        b"application/octet-stream; name=a.P7M",
    ):
        parsed = mail(written, media_type)
        assert [(part.media_type, part.file_name) for part in opened(parsed)] == [
            ("multipart/mixed", ""),
            ("text/plain", ""),
            ("application/octet-stream", "x.exe"),
        ]
        assert parsed.text == "signed text"
        assert parsed.flags == ("opaque_signed",)


def test_content_signed_by_a_library_is_opened() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ann@example.org")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    builder = pkcs7.PKCS7SignatureBuilder().set_data(ENTITY).add_signer(certificate, key, hashes.SHA256())
    assert mail(builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary]), b"application/pkcs7-mime").text == "signed text"


def test_a_signature_without_content_and_encrypted_content_are_not_opened() -> None:
    detached = mail(containers.signed(None), b"application/pkcs7-mime")
    assert (opened(detached), detached.flags) == ([], ())
    sealed = containers.element(0x30, containers.element(0x06, containers.ENVELOPED_DATA) + containers.element(0xA0, b"\x30\x00"))
    assert mail(sealed, b"application/pkcs7-mime").flags == ("encrypted",)
    assert mail(b"no CMS", b"application/pkcs7-mime").flags == ("bad_container",)


def test_signatures_in_signatures_are_bounded() -> None:
    raw = b"Content-Type: text/plain\r\n\r\ninnermost\r\n"
    for _ in range(3):
        raw = b"Content-Type: application/pkcs7-mime\r\n\r\n" + containers.signed(raw)
    assert parse(HEAD + raw).text == "innermost\n"
    for _ in range(200):
        raw = b"Content-Type: application/pkcs7-mime\r\n\r\n" + containers.signed(raw)
    assert "not_all_read" in parse(HEAD + raw).flags


COMPRESSED = b"application/pkcs7-mime; smime-type=compressed-data"
PACKED = zlib.compress(ENTITY.replace(b"signed", b"packed"))


@pytest.mark.parametrize(
    "written",
    [
        containers.compressed(PACKED),
        containers.compressed(PACKED, indefinite=True),
        containers.compressed(PACKED, pieces=(1, 20, 3)),
        containers.compressed(PACKED, pieces=(1, 20, 3), indefinite=True),
        containers.compressed(PACKED, pieces=(1, 20, 3), indefinite=True, nested=True),
    ],
    ids=["DER", "indefinite", "pieces", "indefinite pieces", "pieces in pieces"],
)
def test_compressed_content_is_opened_in_every_form_of_ber(written: bytes) -> None:
    for media_type in (COMPRESSED, b"application/octet-stream; name=smime.p7z"):
        parsed = mail(written, media_type)
        assert [(part.media_type, part.file_name) for part in opened(parsed)] == [
            ("multipart/mixed", ""),
            ("text/plain", ""),
            ("application/octet-stream", "x.exe"),
        ]
        assert parsed.text == "packed text"
        assert parsed.flags == ()


def unpacked(packed: bytes, room: bytes = b"") -> tuple[bytes, tuple[str, ...]]:
    """What comes out of compressed-data, and the flags; `room` is put into the message to be allowed more."""
    written = base64.encodebytes(containers.compressed(packed)).replace(b"\n", b"\r\n")
    parsed = parse(HEAD + b"X: " + room + b"\r\nContent-Type: " + COMPRESSED + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + written)
    return (parsed.parts[1].content() if len(parsed.parts) > 1 else b""), parsed.flags


OCTETS = b"Content-Type: application/octet-stream\r\n\r\n"
CONTENTS = st.lists(
    st.binary(max_size=300) | st.sampled_from([b"words of a text ", b"\0" * 700, bytes(range(256))]), min_size=1, max_size=30
).map(b"".join)
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


@given(CONTENTS, st.integers(0, 9), st.sampled_from(STRATEGIES), st.booleans(), st.integers(9, 15))
def test_whatever_zlib_packs_is_unpacked(content: bytes, level: int, strategy: int, flushed: bool, window: int) -> None:
    packer = zlib.compressobj(level, zlib.DEFLATED, window, 9, strategy)
    half = len(content) // 2
    packed = packer.compress(OCTETS + content[:half]) + (packer.flush(zlib.Z_FULL_FLUSH) if flushed else b"")
    packed += packer.compress(content[half:]) + packer.flush()
    assert unpacked(packed, bytes(len(content)).replace(b"\0", b"x")) == (content, ())


@given(CONTENTS, st.integers(0, 9), st.data())
def test_damaged_compressed_content_is_flagged_and_what_stands_before_the_damage_is_read(
    content: bytes, level: int, data: st.DataObject
) -> None:
    packed = bytearray(zlib.compress(OCTETS + content, level))
    at, value = data.draw(st.integers(0, len(packed) - 1)), data.draw(st.integers(1, 255))
    packed[at] ^= value
    oracle, out = zlib.decompressobj(), b""
    with contextlib.suppress(zlib.error):
        for one in packed:
            out += oracle.decompress(bytes([one]))
    found, flags = unpacked(bytes(packed), b"x" * (len(content) + 300))
    if oracle.eof and out.startswith(OCTETS):
        assert (found, flags) == (out.removeprefix(OCTETS), ())
    else:
        assert {"bad_container", "not_all_read"} & set(flags) or found == out.removeprefix(OCTETS)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"x",
        b"\x78\x9d" + PACKED[2:],  # the check of the header
        b"\x79\x9c" + PACKED[2:],  # another method
        b"\x78\xbb\0\0\0\0" + PACKED[2:],  # a dictionary of its own
        PACKED[:-1],
        PACKED[:-1] + bytes([PACKED[-1] ^ 1]),
        PACKED[: len(PACKED) // 2],
        b"\x78\x9c\x07",  # a kind of block that there is not
        b"\x78\x9c\x01\x05\0\x05\0hello",  # a length and its complement
        b"\x78\x9c\x01\x05\0\xfa\xffhel",
    ],
)
def test_compressed_content_that_is_damaged_is_said_to_be(packed: bytes) -> None:
    assert "bad_container" in mail(containers.compressed(packed), COMPRESSED).flags


def test_compressed_data_without_content_has_no_parts() -> None:
    assert opened(mail(containers.compressed(None), COMPRESSED)) == []


@pytest.mark.parametrize("size", [1_000_000, 100_000_000])
def test_a_bomb_of_compressed_content_is_bounded_by_the_size_of_the_message(size: int) -> None:
    raw = HEAD + b"Content-Type: " + COMPRESSED + b"\n\n" + containers.compressed(zlib.compress(b"\nseen" + bytes(size)))
    parsed = parse(raw)
    assert "not_all_read" in parsed.flags
    assert parsed.parts[1].content().startswith(b"seen")
    assert len(parsed.parts[1].content()) <= 4 * len(raw) + 65536


def test_compressed_content_in_compressed_content_is_bounded() -> None:
    raw = b"Content-Type: text/plain\r\n\r\ninnermost\r\n"
    for _ in range(3):
        raw = b"Content-Type: application/pkcs7-mime\r\n\r\n" + containers.compressed(zlib.compress(raw))
    assert parse(HEAD + raw).text == "innermost\n"
    for _ in range(100):
        raw = b"Content-Type: application/pkcs7-mime\r\n\r\n" + containers.compressed(zlib.compress(raw, 0))
    assert {"not_all_read", "too_deep"} & set(parse(HEAD + raw).flags)


def test_compressed_content_of_thousands_of_empty_blocks_is_not_read_to_its_end() -> None:
    """Each brings its code, which costs more to make than the block is long."""
    packer = zlib.compressobj(strategy=zlib.Z_FIXED)
    packed = (
        packer.compress(OCTETS)
        + b"".join(packer.compress(b"x") + packer.flush(zlib.Z_PARTIAL_FLUSH) for _ in range(20_000))
        + packer.flush()
    )
    content, flags = unpacked(packed)
    assert flags == ("not_all_read",)
    assert 0 < len(content) < 20_000


# ---- uuencode ----


def uuencoded(content: bytes, name: bytes = b"a.exe", end: bytes = b"`\nend\n") -> bytes:
    lines = b"".join(binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45))
    return b"begin 644 " + name + b"\n" + lines + end


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("encoding", [b"8bit", b"quoted-printable", b"base64"])
def test_files_uuencoded_in_a_text_become_parts_in_any_transfer_encoding(encoding: bytes, line_end: bytes) -> None:
    content = bytes(range(256))
    text = (b"before\n" + uuencoded(content, b"one.exe") + b"between\n" + uuencoded(b"MZ", b"the second.exe") + b"after\n").replace(
        b"\n", line_end
    )
    body = {b"8bit": text, b"quoted-printable": text.replace(b"=", b"=3D"), b"base64": base64.encodebytes(text)}[encoding]
    parsed = parse(HEAD + b"Content-Transfer-Encoding: " + encoding + b"\n\n" + body)
    assert [(part.file_name, part.content()) for part in parsed.parts[1:]] == [("one.exe", content), ("the second.exe", b"MZ")]
    assert "uuencoded" in parsed.flags
    assert parsed.parts[0].text.startswith("before\nbegin 644 one.exe\n")
    assert parsed.parts[0].text.endswith("end\nafter\n")


@pytest.mark.parametrize(
    "text",
    [
        b"begin 644 words of a sentence\nthat goes on\n",
        b"begin the day\n",
        b"begin 6 a\n`\nend\n",
        b"begin 644 \n`\nend\n",
        b" begin 644 a\n`\nend\n",
    ],
)
def test_prose_that_begins_with_begin_is_no_file(text: bytes) -> None:
    assert len(parse(HEAD + b"\n" + text).parts) == 1


def test_a_uuencoded_file_without_end_is_read_to_where_its_lines_end() -> None:
    parsed = parse(HEAD + b"\n" + uuencoded(b"MZ" * 30, end=b"") + b"no line of data, this is prose again\n")
    assert parsed.parts[1].content() == b"MZ" * 30


@given(st.binary(max_size=300))
def test_what_python_uuencodes_is_decoded(content: bytes) -> None:
    assert parse(HEAD + b"\n" + uuencoded(content)).parts[1].content() == content


def test_opened_contents_leave_no_memory_behind() -> None:
    engine = Engine()
    content = containers.tnef(*[containers.attachment(b"x" * 4000, title=b"a.exe")] * 5)
    raw = HEAD + b"Content-Type: application/ms-tnef\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(content)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    engine.scan([raw] * 500)
    before = peak()
    for _ in range(20):
        engine.scan([raw] * 500)
    assert peak() - before < 8192  # KiB; kept, it would be 200 MB
