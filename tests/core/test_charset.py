"""Character sets against Python's codecs, code by code, and labels against the WHATWG Encoding Standard."""

from __future__ import annotations

import base64
import codecs
import encodings
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esa_core import Parsed, parse

# Labels of the standard that Python reads in a smaller set.
READ_AS_SUPERSET = {"iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874", "iso8859_1": "cp1252", "latin_1": "cp1252"}
# Octets of single-byte sets in which the standard has other characters than Python.
OTHERWISE = {"koi8_u": {0xAE: "ў", 0xBE: "Ў"}, "cp1255": {0xCA: "\u05ba"}}
WINDOWS = ("cp874", *(f"cp125{digit}" for digit in range(9)))
# Multi-byte sets: by how many codes the standard, and so every client, differs from Python's codec, and how.
DIFFERENCES = {
    "gb2312": 2,  # middle dot and dash, as GBK
    "gbk": 0,
    "gb18030": 2,  # U+3000 and U+1E3F for two codes of private use
    "big5": 254,  # symbols as Microsoft's, rows C6-C8 as HKSCS
    "big5hkscs": 11,  # symbols as Microsoft's
    "cp950": 244,  # rows C6-C8 as HKSCS
    "euc_kr": 0,
    "cp949": 0,
    "johab": 0,
    "shift_jis": 6,  # wave dash, double bar, minus, cent, pound, not: the wide forms of Microsoft's
    "cp932": 0,
    "euc_jp": 7,  # the same and a wide tilde
    "shift_jis_2004": 2,  # no clients' set: backslash and tilde stay ASCII, or links would break
    "shift_jisx0213": 3,  # the same, and one character as of 2004
    "euc_jis_2004": 1,  # a wide tilde
    "euc_jisx0213": 2,
}
ESCAPED = (
    ("iso2022_jp", "(B", 0),
    ("iso2022_jp", "(J", 0),
    ("iso2022_jp", "$@", 6),
    ("iso2022_jp", "$B", 6),
    ("iso2022_jp_1", "$(D", 1),
    ("iso2022_jp_2", "$A", 2),
    ("iso2022_jp_2", "$(C", 0),
    ("iso2022_jp_ext", "(I", 0),
    ("iso2022_jp_3", "$(O", 1),
    ("iso2022_jp_3", "$(P", 0),
    ("iso2022_jp_2004", "$(Q", 1),
    ("iso2022_jp_2004", "$(P", 0),
    ("iso2022_kr", "$)C\x0e", 0),
)
DOUBLE_BYTE = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5hkscs", "euc-kr": "cp949", "shift_jis": "cp932",
    "euc-jp": "euc_jp", "iso-2022-jp": "iso2022_jp", "iso-2022-kr": "iso2022_kr", "hz-gb-2312": "hz", "utf-16": "utf_16",
    "utf-16le": "utf_16_le", "utf-16be": "utf_16_be", "utf-32": "utf_32", "utf-7": "utf_7", "utf-8": "utf_8", "johab": "johab",
}  # fmt: skip
SAMPLES = {
    "gb": "简体中文邮件，测试。Hello", "big5": "繁體中文郵件，測試。Hello", "kr": "한국어 메일 시험. Hello",
    "jp": "日本語のメール、テスト。Hello",
    "any": "Grüße, Привет, 😀 Hello", "four": "㐀䶵ḿ中😀",
}  # fmt: skip
NO_CHARSET = {"idna", "punycode", "raw_unicode_escape", "unicode_escape", "mbcs", "oem", "undefined"}
# The standard's labels by the name their set is shown under here.
LABELS = {
    "utf-8": "unicode-1-1-utf-8 utf-8 utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859-2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859-3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859-4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859-5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso8859-6": (
        "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127 "
        "iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987"
    ),
    "iso8859-7": (
        "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek"
    ),
    "iso8859-8": (
        "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 "
        "visual csiso88598i iso-8859-8-i logical"
    ),
    "iso8859-10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859-13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859-14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859-16": "iso-8859-16",
    "koi8-r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8-u": "koi8-ru koi8-u",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "windows-1252": (
        "cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 "
        "windows-1252 x-cp1252"
    ),
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030",
    "big5": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc-jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso-2022-jp": "csiso2022jp iso-2022-jp",
    "shift_jis": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "euc-kr": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
    "utf-16be": "utf-16be",
}


def plain(content: bytes, charset: str, encoding: str = "8bit") -> Parsed:
    return parse(f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + content)


def decode(octets: bytes, label: str) -> str:
    return plain(base64.b64encode(octets), label, "base64").text


def python(octets: bytes, codec: str) -> str | None:
    try:
        return octets.decode(codec)
    except UnicodeDecodeError:
        return None


# ---- labels ----


@pytest.mark.parametrize("shown", LABELS)
def test_every_label_of_the_standard_is_known_in_any_case(shown: str) -> None:
    for label in LABELS[shown].split():
        for written in (label, label.upper(), f'"{label.title()}"'):
            assert plain(b"", written).parts[0].charset == shown, label


def test_every_text_codec_of_python_is_known_by_all_its_names() -> None:
    for alias, codec in [*aliases.items(), *((name, name) for name in set(aliases.values()))]:
        if codec in NO_CHARSET or codec.endswith("_codec") or codec == "rot_13":
            continue
        for label in (alias, alias.upper(), alias.replace("_", "-")):
            assert plain(b"", label).parts[0].charset not in ("", "unknown"), label


def test_labels_that_nobody_knows_are_flagged() -> None:
    for label in ("nobody-knows-this", "replacement", "x-user-defined", "8bit", "utf-9"):
        assert plain("Grüße".encode(), label).text == "Grüße"
        assert "bad_charset" in plain(b"x", label).flags


def test_codec_names_are_those_of_python() -> None:
    for name in single_byte_codecs():
        shown = plain(b"", name).parts[0].charset
        assert codecs.lookup(shown).name == codecs.lookup(name).name


# ---- single-byte sets ----


def single_byte_codecs() -> list[str]:
    found = []
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name in ("aliases", "mbcs", "oem"):  # no codec, or for Windows only
            continue
        loaded = importlib.import_module(f"encodings.{module.name}")
        tables = hasattr(loaded, "decoding_table") or hasattr(loaded, "decoding_map")
        if tables and module.name != "rot_13" and module.name not in READ_AS_SUPERSET:
            found.append(module.name)
    return found


@pytest.mark.parametrize("name", single_byte_codecs())
@pytest.mark.parametrize("times", [1, 40])
def test_every_single_byte_codec_of_python_is_read_alike(name: str, times: int) -> None:
    octets = bytes(octet for octet in range(256) if octet not in (10, 13))
    expected = [octets[at : at + 1].decode(name, "replace") for at in range(len(octets))]
    if name in WINDOWS:  # what is not used is a control character in the standard
        expected = [chr(octet) if text == "\ufffd" and 0x80 <= octet < 0xA0 else text for octet, text in zip(octets, expected, strict=True)]
    for octet, text in OTHERWISE.get(name, {}).items():
        expected[octets.index(octet)] = text
    parsed = plain(octets * times, name.replace("_", "-"))
    assert parsed.text == "".join(expected * times).replace("\r\n", "\n")
    assert ("bad_charset" in parsed.flags) == ("\ufffd" in expected)


# ---- sets of more octets ----


def codes(codec: str) -> Iterator[bytes]:
    """All that a codec may have a meaning for: one octet, two, three behind 8F, four in GB 18030's second half and ends of its first."""
    singles = [bytes([lead]) for lead in range(0x20, 0x100)]
    yield from singles
    doubles = [lead for lead in singles if lead >= b"\x80" and python(lead, codec) is None]
    yield from (lead + trail for lead in doubles for trail in singles)
    if codec.startswith("euc_j"):
        yield from (bytes([0x8F, lead, trail]) for lead in range(0xA1, 0xFF) for trail in range(0xA1, 0xFF))
    if codec == "gb18030":
        linears = [*range(39500), *range(188900, 1240000, 97)]
        for linear in linears:
            rest, last = divmod(linear, 10)
            rest, third = divmod(rest, 126)
            first, second = divmod(rest, 10)
            yield bytes([0x81 + first, 0x30 + second, 0x81 + third, 0x30 + last])


def count_differences(octets: list[bytes], label: str, expected: list[str]) -> int:
    found = decode(b"\n".join(octets), label).split("\n")
    return sum(one != other for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("codec", DIFFERENCES)
def test_every_code_of_a_multi_byte_codec_is_read_alike_but_for_named_differences(codec: str) -> None:
    known = [(code, text) for code in codes(codec) if (text := python(code, codec)) is not None and "\n" not in text]
    assert len(known) > 7000
    assert count_differences([code for code, _ in known], codec, [text for _, text in known]) == DIFFERENCES[codec]


@pytest.mark.parametrize(("codec", "escape", "differences"), ESCAPED)
def test_every_code_behind_an_escape_is_read_alike(codec: str, escape: str, differences: int) -> None:
    signs = [bytes([octet]) for octet in range(0x21, 0x7F)]
    shift = b"\x0f" if codec == "iso2022_kr" else b"\x1b(B"
    codes = [lead + trail for lead in signs for trail in signs] if "$" in escape else signs
    known = [(octets, text) for code in codes if (text := python(octets := b"\x1b" + escape.encode() + code + shift, codec)) is not None]
    assert known
    assert count_differences([octets for octets, _ in known], codec, [text for _, text in known]) == differences


def test_single_shifts_and_hz_are_read_alike() -> None:
    known = []
    for octet in range(0x20, 0x80):
        for half in (b"A", b"F"):
            octets = b"\x1b." + half + b"\x1bN" + bytes([octet])
            text = python(octets, "iso2022_jp_2")
            if text is not None:
                known.append((octets, text))
    assert count_differences([octets for octets, _ in known], "iso-2022-jp-2", [text for _, text in known]) == 0
    assert decode(b"a~~b ~{<:Ky2;~}~\n c~{VPND", "hz-gb-2312") == b"a~~b ~{<:Ky2;~}~\n c~{VPND~}".decode("hz")


@pytest.mark.parametrize("label", DOUBLE_BYTE)
@pytest.mark.parametrize("sample", SAMPLES)
def test_text_in_a_wider_character_set_is_read_as_python_reads_it(label: str, sample: str) -> None:
    octets = SAMPLES[sample].encode(DOUBLE_BYTE[label], "ignore")
    parsed = plain(base64.b64encode(octets), label, "base64")
    assert parsed.text == octets.decode(DOUBLE_BYTE[label])
    assert "bad_charset" not in parsed.flags


@pytest.mark.parametrize("label", DOUBLE_BYTE)
@given(octets=st.binary(max_size=200))
def test_any_octets_are_read_and_what_has_no_meaning_is_flagged(label: str, octets: bytes) -> None:
    parsed = plain(base64.b64encode(octets), label, "base64")
    if "\ufffd" in parsed.text and "\ufffd" not in (python(octets, DOUBLE_BYTE[label]) or ""):
        assert "bad_charset" in parsed.flags
    text = python(octets, DOUBLE_BYTE[label])
    if text is not None and label in ("utf-8", "euc-kr", "johab"):
        assert parsed.text == text.replace("\r\n", "\n")


@pytest.mark.parametrize("label", ["gb18030", "big5", "euc-kr", "shift_jis", "euc-jp", "johab"])
def test_a_lead_without_sense_does_not_swallow_what_stands_behind(label: str) -> None:
    parsed = plain(b"one \xff<b> two \x81", label)
    assert "<b> two" in parsed.text
    assert "bad_charset" in parsed.flags


# ---- Unicode ----


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=60))
@pytest.mark.parametrize("label", ["utf-8", "gb18030", "utf-16le", "utf-16be", "utf-7"])
def test_every_code_point_survives_the_unicode_encodings(label: str, text: str) -> None:
    octets = text.encode(label)
    if label.startswith("utf-16") and octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return  # a byte order mark wins over the label
    assert decode(octets, label) == text


@pytest.mark.parametrize("label", ["utf-32", "utf-32be", "utf-32le"])
def test_a_mark_of_byte_order_decides_how_utf_32_is_read(label: str) -> None:
    for mark, codec in ((b"\0\0\xfe\xff", "utf-32-be"), (b"\xff\xfe\0\0", "utf-32-le")):
        assert decode(mark + "aé😀".encode(codec), label) == "aé😀"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"x+2D0- y", "x\ufffd y"),  # high and no low surrogate,
        (b"x+2D0", "x\ufffd"),  # not at the end either,
        (b"+2D0AYQ-", "\ufffda"),
        (b"+2D3YPd4A-", "\ufffd😀"),
        (b"+3gA-", "\ufffd"),  # low and no high surrogate
        (b"a\xff+-", "a\ufffd+"),  # no octet of UTF-7
    ],
)
def test_surrogates_without_each_other_are_replaced_in_utf_7(octets: bytes, text: str) -> None:
    assert decode(octets, "utf-7") == text


PIECES = st.sampled_from(
    [b"a", "é".encode(), "中".encode(), "😀".encode(), b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\x80"]
)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=80).map(b"".join)).filter(lambda octets: b"\r" not in octets))
def test_invalid_utf_8_is_replaced_as_python_replaces_it(octets: bytes) -> None:
    assert decode(octets, "utf-8") == octets.decode("utf-8", "replace")


@pytest.mark.parametrize("at", [0, 1, 30, 31, 32, 33, 62, 63, 64, 95, 96])
def test_what_is_cut_off_is_seen_wherever_it_stands(at: int) -> None:
    for whole in ("é", "中", "😀"):
        octets = whole.encode()
        for text in (octets[:-1], octets[1:], octets + octets[:1], octets[:-1] + b"a"):
            for behind in (b"", b"b" * 40, whole.encode() * 20):
                content = b"a" * at + text + behind
                assert decode(content, "utf-8") == content.decode("utf-8", "replace")
                assert "bad_charset" in plain(base64.b64encode(content), "utf-8", "base64").flags


def test_the_plain_path_reads_alike() -> None:
    """The vector kernel has a twin, which ESA_CORE_PLAIN=1 chooses."""
    program = (
        "import random, esa_core\n"
        "rng = random.Random(5)\n"
        "pieces = [b'a' * 140, 'é'.encode(), '中文字'.encode(), '😀'.encode(), b'\\xed\\xa0\\x80', b'\\xf4\\x90\\x80\\x80', b'\\xc0\\x80', b'\\x80', b'\\xe2']\n"
        "for _ in range(400):\n"
        "    octets = b''.join(rng.choices(pieces, weights=[9, 9, 9, 9, 1, 1, 1, 1, 1], k=rng.randint(1, 30)))\n"
        "    parsed = esa_core.parse(b'Content-Type: text/plain; charset=utf-8\\n\\n' + octets)\n"
        "    print(ascii(parsed.text), 'bad_charset' in parsed.flags)\n"
    )
    written = [
        subprocess.run([sys.executable, "-c", program], env={**os.environ, "ESA_CORE_PLAIN": plain}, capture_output=True, check=True).stdout
        for plain in ("0", "1")
    ]
    assert written[0] == written[1] != b""


# ---- what is guessed ----


def test_unlabelled_octets_are_utf_8_if_valid_else_windows_1252() -> None:
    assert parse("\nGrüße".encode()).text == "Grüße"
    assert parse(b"\nGr\xfc\xdfe \x80").text == "Grüße €"


def test_a_page_without_a_label_may_declare_its_own() -> None:
    raw = b"Content-Type: text/html\n\n<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>" + "Привет".encode("koi8_r")
    assert parse(raw).text == "Привет"


def test_line_ends_become_line_feeds() -> None:
    assert parse(b"\r\none\r\ntwo\r\n\r\nthree").text == "one\ntwo\n\nthree"
