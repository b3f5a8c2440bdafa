"""The tables of character sets: labels, single-byte sets, East Asian sets in rows.

Called by generate.py. Labels are those of the WHATWG Encoding Standard (4.2) and of Python; a label that both know is read as the standard
says, since that is what browsers and mail clients show. Octets and what they mean come from Python's codecs, brought to the standard where
that differs (the comments say by how much).
"""

from __future__ import annotations

import codecs
import encodings
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from encodings.aliases import aliases

from .c_source import name_table, numbers

# Numbers below 32 are read by code of their own (CHARSET_* of _charset.pxd); the single-byte tables follow.
ABSENT, ASCII, UTF8, WINDOWS_1252, UNKNOWN = range(5)
UTF16, UTF16LE, UTF16BE, UTF32, UTF32LE, UTF32BE, UTF7 = range(5, 12)
GB18030, BIG5, EUC_KR, SHIFT_JIS, EUC_JP, JOHAB, SHIFT_JIS_2004, EUC_JIS_2004 = range(12, 20)
ISO_2022_JP, ISO_2022_KR, HZ = range(20, 23)
FIRST_SINGLE_BYTE = 32

# name, number, codecs of Python that are read so, labels
SETS = (
    ("", ABSENT, "", ""),
    ("us-ascii", ASCII, "ascii", "iso646-us cp367 csascii"),
    ("utf-8", UTF8, "utf_8 utf_8_sig", "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 cp65001"),
    (
        "windows-1252",
        WINDOWS_1252,
        "cp1252 latin_1 iso8859_1",
        "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 "
        "us-ascii windows-1252 x-cp1252 ansi",
    ),
    ("unknown", UNKNOWN, "", "unknown unknown-8bit 8bit x-unknown default replacement x-user-defined"),
    ("utf-16", UTF16, "utf_16", "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16"),
    ("utf-16le", UTF16LE, "utf_16_le", "utf-16le"),
    ("utf-16be", UTF16BE, "utf_16_be", "unicodefffe utf-16be"),
    ("utf-32", UTF32, "utf_32", "ucs-4 iso-10646-ucs-4 csucs4"),
    ("utf-32le", UTF32LE, "utf_32_le", ""),
    ("utf-32be", UTF32BE, "utf_32_be", ""),
    ("utf-7", UTF7, "utf_7", "csutf7 csunicode11utf7 x-unicode-2-0-utf-7"),
    (
        "gb18030",
        GB18030,
        "gb18030 gbk gb2312",
        "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030 euc-cn x-euc-cn windows-936 gb18030-2022",
    ),
    ("big5", BIG5, "big5 big5hkscs cp950", "big5 big5-hkscs cn-big5 csbig5 x-x-big5 windows-950 big5-eten"),
    (
        "euc-kr",
        EUC_KR,
        "euc_kr cp949",
        "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
    ),
    ("shift_jis", SHIFT_JIS, "shift_jis cp932", "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis windows-932"),
    ("euc-jp", EUC_JP, "euc_jp", "cseucpkdfmtjapanese euc-jp x-euc-jp"),
    ("johab", JOHAB, "johab", "windows-1361"),
    ("shift_jis_2004", SHIFT_JIS_2004, "shift_jis_2004 shift_jisx0213", ""),
    ("euc_jis_2004", EUC_JIS_2004, "euc_jis_2004 euc_jisx0213", ""),
    (
        "iso-2022-jp",
        ISO_2022_JP,
        "iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext",
        "csiso2022jp iso-2022-jp iso-2022-jp-ms cp50220 cp50221 csiso2022jp2 iso-2022-cn iso-2022-cn-ext",
    ),
    ("iso-2022-kr", ISO_2022_KR, "iso2022_kr", "csiso2022kr iso-2022-kr cp50225"),
    ("hz-gb-2312", HZ, "hz", "hz-gb-2312 csgb2312hz"),
)
# The standard's labels of single-byte sets, by the codec of Python that has their octets.
SINGLE_BYTE_LABELS = {
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "cp866": "866 cp866 csibm866 ibm866",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "iso8859_10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859_13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859_14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859_15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859_16": "iso-8859-16",
    "iso8859_2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859_3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859_4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859_5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso8859_6": (
        "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127 "
        "iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987"
    ),
    "iso8859_7": (
        "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek"
    ),
    "iso8859_8": (
        "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 "
        "visual csiso88598i iso-8859-8-i logical"
    ),
    "koi8_r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8_u": "koi8-ru koi8-u",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman",
}


def single_byte_codecs() -> dict[str, list[int]]:
    """Every single-byte text codec of Python: name -> 256 code points, 0xFFFD where it has none."""
    found = {}
    for module in sorted(pkgutil.iter_modules(encodings.__path__), key=lambda module: module.name):
        if module.name in ("aliases", "mbcs", "oem", "cp1252", "latin_1", "ascii", "iso8859_1", "undefined", "rot_13"):
            continue
        loaded = importlib.import_module(f"encodings.{module.name}")
        if not (hasattr(loaded, "decoding_table") or hasattr(loaded, "decoding_map")):
            continue
        if not codecs.lookup(module.name)._is_text_encoding:
            continue
        found[module.name] = as_standard(module.name)
    return found


def as_standard(codec: str) -> list[int]:
    """A Windows set's unused octets of 0x80 ... 0x9F are control characters; two sets have a letter or two more."""
    table = [ord(bytes([octet]).decode(codec, "replace")) for octet in range(256)]
    if codec in ("cp874", *(f"cp125{digit}" for digit in range(9))):
        table[0x80:0xA0] = [octet if point == 0xFFFD else point for octet, point in enumerate(table[0x80:0xA0], 0x80)]
    if codec == "cp1255":
        table[0xCA] = 0x05BA
    if codec == "koi8_u":
        table[0xAE], table[0xBE] = 0x045E, 0x040E
    return table


def plain(label: str) -> str:
    """A label as it is looked up: lower case letters and digits only."""
    return "".join(character for character in label.lower() if character.isascii() and character.isalnum())


def decoded(octets: bytes, *names: str) -> str:
    """By the first of some codecs that has a meaning for it, "" if none has."""
    for name in names:
        try:
            return octets.decode(name)
        except UnicodeDecodeError:
            continue
    return ""


def big5(lead: int, trail: int) -> str:
    """The standard's index is HKSCS with Microsoft's symbols; all but 192 of its 18,590 codes are in Python's codecs."""
    names = ("cp950", "big5hkscs") if lead <= 0xA3 else ("big5hkscs", "cp950")
    return decoded(bytes([lead, trail]), *names)


def gb18030(lead: int, trail: int) -> str:
    """Python's but for two codes of private use."""
    return {(0xA3, 0xA0): "\u3000", (0xA8, 0xBC): "\u1e3f"}.get((lead, trail)) or decoded(bytes([lead, trail]), "gb18030")


def jis_x_0212(lead: int, trail: int) -> str:
    return "\uff5e" if (lead, trail) == (0xA2, 0xB7) else decoded(bytes([0x8F, lead, trail]), "euc_jp")


def by(codec: str) -> Callable[[int, int], str]:
    """What a codec says of two octets of which the first means nothing alone."""
    return lambda lead, trail: "" if decoded(bytes([lead]), codec) else decoded(bytes([lead, trail]), codec)


# Sets of two octets: what each code means, first and last lead, first and last trail. JIS X 0208 is found through Shift_JIS.
Meaning = Callable[[int, int], str]
ROWS: tuple[tuple[str, Meaning, int, int, int, int], ...] = (
    ("gb18030", gb18030, 0x81, 0xFE, 0x40, 0xFE),
    ("big5", big5, 0x81, 0xFE, 0x40, 0xFE),
    ("euc_kr", by("cp949"), 0x81, 0xFD, 0x41, 0xFE),
    ("shift_jis", by("cp932"), 0x81, 0xFC, 0x40, 0xFC),
    ("shift_jis_2004", by("shift_jis_2004"), 0x81, 0xFC, 0x40, 0xFC),
    ("jis_x_0212", jis_x_0212, 0xA2, 0xED, 0xA1, 0xFE),
    ("johab", by("johab"), 0x84, 0xF9, 0x31, 0xFE),
)


def row_tables() -> str:
    """Rows of cells, equal rows once. A cell of 0 has no meaning; one of a surrogate's value stands for a character outside the basic plane, or
    for two: `wide_first` and `wide_second` by what it is above 0xD800."""
    wide: dict[str, int] = {}
    cells: list[int] = []
    rows: dict[tuple[int, ...], int] = {}
    written = []
    for name, meaning, first_lead, last_lead, first_trail, last_trail in ROWS:
        starts = []
        for lead in range(first_lead, last_lead + 1):
            row = []
            for trail in range(first_trail, last_trail + 1):
                text = meaning(lead, trail)
                if trail < 0x80 and len(text) == 2 and text[1] == chr(trail):
                    text = ""  # one octet and an ASCII character behind it
                if len(text) > 1 or text > "\uffff":
                    row.append(0xD800 + wide.setdefault(text, len(wide)))
                else:
                    row.append(ord(text) if text else 0)
            key = tuple(row)
            if key not in rows:
                rows[key] = len(cells)
                cells += row
            starts.append(rows[key])
        written.append(
            numbers("unsigned int", f"rows_{name}", starts)
            + f"static const RowSet set_{name} = {{rows_{name}, {first_lead}, {last_lead}, {first_trail}, {last_trail}}};\n"
        )
    assert len(wide) <= 0x800, "cells of surrogates' values do not reach"
    return (
        "typedef struct { const unsigned int *rows; unsigned char first_lead, last_lead, first_trail, last_trail; } RowSet;\n"
        + numbers("unsigned short", "row_cells", cells)
        + "".join(written)
        + numbers("unsigned int", "wide_first", (ord(text[0]) for text in wide))
        + numbers("unsigned short", "wide_second", (ord(text[1]) if len(text) > 1 else 0 for text in wide))
    )


def four_byte_ranges() -> list[tuple[int, int]]:
    """Runs of GB 18030's four-byte codes in the basic plane: (first linear index, its code point); code point 0 where there is none."""
    ranges: list[tuple[int, int]] = []
    for linear in range(39420):
        rest, last = divmod(linear, 10)
        rest, third = divmod(rest, 126)
        first, second = divmod(rest, 10)
        text = decoded(bytes([0x81 + first, 0x30 + second, 0x81 + third, 0x30 + last]), "gb18030")
        point = ord(text) if text else 0
        if not ranges or (ranges[-1][1] + linear - ranges[-1][0] if ranges[-1][1] else 0) != point:
            ranges.append((linear, point))
    return ranges


def halves(tables: Iterable[list[int]]) -> tuple[list[int], list[int]]:
    """The two halves of each table as starts in one list of code points, equal halves once."""
    starts: list[int] = []
    found: dict[tuple[int, ...], int] = {}
    for table in tables:
        starts += [found.setdefault(tuple(half), 128 * len(found)) for half in (table[:128], table[128:])]
    return starts, [point for half in found for point in half]


def label_numbers(single: dict[str, int]) -> dict[str, int]:
    """Labels as they are looked up: Python's names first, so that the standard's win."""
    numbers_by_codec = {codec: number for _, number, names, _ in SETS for codec in names.split()} | single
    found: dict[str, int] = {}
    for alias, codec in aliases.items():
        if codec in numbers_by_codec:
            found[plain(alias)] = numbers_by_codec[codec]
    found.update({plain(codec): number for codec, number in numbers_by_codec.items()})
    found.update({plain("windows-" + codec[2:]): number for codec, number in single.items() if codec.startswith("cp")})
    found.update({plain("x-" + codec.replace("_", "-")): number for codec, number in single.items() if codec.startswith("mac")})
    for codec, labels in SINGLE_BYTE_LABELS.items():
        found.update({plain(label): single[codec] for label in labels.split()})
    for _, number, _, labels in SETS:
        found.update({plain(label): number for label in labels.split()})
    # A label of ASCII says nothing about octets over 127: those are guessed at, as without a label.
    found.update({plain(label): ASCII for label in ("us-ascii", "ascii", "ansi_x3.4-1968", "646")})
    return found


def charset_header() -> str:
    single = single_byte_codecs()
    index = {name: FIRST_SINGLE_BYTE + position for position, name in enumerate(single)}
    names = [""] * FIRST_SINGLE_BYTE + [name.replace("_", "-") for name in single]
    for name, number, _, _ in SETS:
        names[number] = name
    starts, points = halves([as_standard("cp1252"), *single.values()])
    return (
        name_table("charset_labels", label_numbers(index))
        + f"#define CHARSETS {len(names)}u\n"
        + "static const char *const charset_names[] = {" + ",".join(f'"{name}"' for name in names) + "};\n"
        + numbers("unsigned short", "single_byte_halves", starts)
        + numbers("unsigned short", "single_byte_points", points)
    )  # fmt: skip


def east_asian_header() -> str:
    ranges = four_byte_ranges()
    return (
        row_tables()
        + f"#define GB18030_RANGES {len(ranges)}u\n"
        + numbers("unsigned short", "gb18030_linear", (linear for linear, _ in ranges))
        + numbers("unsigned short", "gb18030_point", (point for _, point in ranges))
    )
