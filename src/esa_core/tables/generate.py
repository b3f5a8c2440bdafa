"""Write the C headers with character sets, entities, HTML names and case folding, from Python's own tables.

Called by setup.py before every build. A header is rewritten only if this script, the Python version or its Unicode data changed, so that an
unchanged tree is not compiled again. Nothing here is read at run time.
"""

from __future__ import annotations

import codecs
import encodings
import hashlib
import importlib
import pkgutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from encodings.aliases import aliases
from html.entities import html5
from pathlib import Path

from .c_source import name_table, numbers, octets
from .folding import CONFUSABLES, compose_header, disguise_header, fold_header
from .gram_rarity import gram_header

HERE = Path(__file__).parent

# Numbers below 32 are read by code of their own (CHARSET_* of _charset.pxd); the single-byte tables follow.
ABSENT, ASCII, UTF8, WINDOWS_1252, UNKNOWN = range(5)
UTF16, UTF16LE, UTF16BE, UTF32, UTF32LE, UTF32BE, UTF7 = range(5, 12)
GB18030, BIG5, EUC_KR, SHIFT_JIS, EUC_JP, ISO_2022_JP, ISO_2022_KR, HZ = range(12, 20)
FIRST_SINGLE_BYTE = 32

# Labels as clients read them (WHATWG Encoding Standard 4.2), where that is wider than Python's codec of the same name.
LABELS = {
    "us-ascii": ASCII, "ascii": ASCII, "ansi_x3.4-1968": ASCII, "iso646-us": ASCII, "646": ASCII, "cp367": ASCII,
    "utf-8": UTF8, "utf8": UTF8, "unicode-1-1-utf-8": UTF8, "cp65001": UTF8, "utf-8-sig": UTF8,
    "iso-8859-1": WINDOWS_1252, "latin1": WINDOWS_1252, "latin-1": WINDOWS_1252, "l1": WINDOWS_1252, "cp819": WINDOWS_1252,
    "windows-1252": WINDOWS_1252, "cp1252": WINDOWS_1252, "ibm819": WINDOWS_1252, "ansi": WINDOWS_1252, "iso-ir-100": WINDOWS_1252,
    "unknown": UNKNOWN, "unknown-8bit": UNKNOWN, "8bit": UNKNOWN, "x-unknown": UNKNOWN, "default": UNKNOWN, "x-user-defined": UNKNOWN,
    "utf-16": UTF16, "utf16": UTF16, "ucs-2": UTF16, "unicode": UTF16, "utf-16le": UTF16LE, "utf-16be": UTF16BE,
    "utf-32": UTF32, "ucs-4": UTF32, "utf-32le": UTF32LE, "utf-32be": UTF32BE,
    "utf-7": UTF7, "utf7": UTF7, "unicode-1-1-utf-7": UTF7, "csunicode11utf7": UTF7,
    "gb18030": GB18030, "gbk": GB18030, "gb2312": GB18030, "x-gbk": GB18030, "cp936": GB18030, "gb_2312-80": GB18030, "euc-cn": GB18030,
    "csgb2312": GB18030, "chinese": GB18030, "iso-ir-58": GB18030, "ms936": GB18030, "windows-936": GB18030,
    "big5": BIG5, "big5-hkscs": BIG5, "cn-big5": BIG5, "x-x-big5": BIG5, "cp950": BIG5, "csbig5": BIG5, "big5-tw": BIG5, "hkscs": BIG5,
    "euc-kr": EUC_KR, "ks_c_5601-1987": EUC_KR, "ks_c_5601-1989": EUC_KR, "ksc5601": EUC_KR, "ksc_5601": EUC_KR, "cp949": EUC_KR,
    "korean": EUC_KR, "windows-949": EUC_KR, "uhc": EUC_KR, "cseuckr": EUC_KR, "ms949": EUC_KR,
    "shift_jis": SHIFT_JIS, "sjis": SHIFT_JIS, "x-sjis": SHIFT_JIS, "ms_kanji": SHIFT_JIS, "cp932": SHIFT_JIS, "windows-31j": SHIFT_JIS,
    "csshiftjis": SHIFT_JIS, "ms932": SHIFT_JIS, "shift-jis": SHIFT_JIS, "shift_jis-2004": SHIFT_JIS, "shift_jisx0213": SHIFT_JIS,
    "euc-jp": EUC_JP, "x-euc-jp": EUC_JP, "cseucpkdfmtjapanese": EUC_JP, "ujis": EUC_JP, "eucjp": EUC_JP, "euc_jis_2004": EUC_JP,
    "iso-2022-jp": ISO_2022_JP, "csiso2022jp": ISO_2022_JP, "iso-2022-jp-1": ISO_2022_JP, "iso-2022-jp-2": ISO_2022_JP,
    "iso-2022-jp-3": ISO_2022_JP, "iso-2022-jp-ext": ISO_2022_JP, "iso-2022-jp-ms": ISO_2022_JP, "cp50220": ISO_2022_JP,
    "iso-2022-kr": ISO_2022_KR, "csiso2022kr": ISO_2022_KR, "hz-gb-2312": HZ, "hz": HZ,
}  # fmt: skip
NAMES = {
    ABSENT: "", ASCII: "us-ascii", UTF8: "utf-8", WINDOWS_1252: "windows-1252", UNKNOWN: "unknown", UTF16: "utf-16", UTF16LE: "utf-16le",
    UTF16BE: "utf-16be", UTF32: "utf-32", UTF32LE: "utf-32le", UTF32BE: "utf-32be", UTF7: "utf-7", GB18030: "gb18030", BIG5: "big5",
    EUC_KR: "euc-kr", SHIFT_JIS: "shift_jis", EUC_JP: "euc-jp", ISO_2022_JP: "iso-2022-jp", ISO_2022_KR: "iso-2022-kr", HZ: "hz-gb-2312",
}  # fmt: skip
# Labels that clients read as a superset of what they say (WHATWG): label -> Python codec.
SUPERSETS = {
    "iso-8859-9": "cp1254", "latin5": "cp1254", "l5": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874", "dos-874": "cp874",
    "iso-8859-8-i": "iso8859_8", "iso-8859-8-e": "iso8859_8", "iso-8859-6-i": "iso8859_6", "koi8": "koi8_r", "koi": "koi8_r",
    "koi8-ru": "koi8_u", "macintosh": "mac_roman", "mac": "mac_roman", "x-mac-cyrillic": "mac_cyrillic", "x-mac-ukrainian": "mac_cyrillic",
}  # fmt: skip

# Elements and what the text extraction must know of each (the element bits of _html.pyx).
VOID, BLOCK, CELL, RAW, HIDES, SCOPE, FORMATTING, CLOSES_P = (1 << bit for bit in range(8))
INLINE_ELEMENTS = """
a abbr acronym b bdi bdo big button cite code data del dfn em font i ins kbd label map mark meter nobr output picture progress q rp rt ruby
s samp small span strike strong sub summary sup svg math time tt u var object audio video canvas select option optgroup datalist slot
html body head noscript blink applet image tbody thead tfoot colgroup
"""
VOID_ELEMENTS = "area base basefont bgsound col embed frame img input keygen link meta param source track wbr"
BLOCK_ELEMENTS = """
address article aside blockquote center details dialog dir div dl dd dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header
hgroup legend li listing main menu nav ol p pre search section ul frameset
"""
OTHER_ELEMENTS = {
    "br": VOID | BLOCK, "hr": VOID | BLOCK | CLOSES_P, "table": BLOCK | SCOPE | CLOSES_P, "caption": BLOCK | SCOPE, "tr": BLOCK,
    "td": CELL | SCOPE, "th": CELL | SCOPE, "marquee": BLOCK | SCOPE, "script": RAW | HIDES, "style": RAW | HIDES, "title": RAW | HIDES,
    "iframe": RAW | HIDES, "noembed": RAW | HIDES, "noframes": RAW | HIDES, "xmp": RAW | BLOCK, "textarea": RAW, "plaintext": RAW | BLOCK,
    "template": HIDES,
}  # fmt: skip
ELEMENTS: Mapping[str, int] = {
    **dict.fromkeys(INLINE_ELEMENTS.split(), 0),
    **dict.fromkeys(VOID_ELEMENTS.split(), VOID),
    **dict.fromkeys(BLOCK_ELEMENTS.split(), BLOCK | CLOSES_P),
    **OTHER_ELEMENTS,
}
FORMATTING_ELEMENTS = ("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u")
ATTRIBUTES = (
    "href", "src", "style", "hidden", "alt", "width", "height", "action", "background", "lang", "type", "content", "http-equiv",
    "formaction", "data", "poster", "value", "xml:lang",
)  # fmt: skip


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
        found[module.name] = [ord(bytes([octet]).decode(module.name, "replace")) for octet in range(256)]
    return found


def windows_1252() -> list[int]:
    """As browsers read it: the five octets that Python leaves undefined are control characters."""
    undefined = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
    return [octet if octet in undefined else ord(bytes([octet]).decode("cp1252")) for octet in range(256)]


def plain(label: str) -> str:
    """A label as it is looked up: lower case letters and digits only."""
    return "".join(character for character in label.lower() if character.isascii() and character.isalnum())


def double_byte(codec: Sequence[str]) -> list[int]:
    """Code points for lead 0x81-0xFE x trail 0x40-0xFE, 0 where none of the codecs has one in the basic plane."""
    table = []
    for lead in range(0x81, 0xFF):
        for trail in range(0x40, 0xFF):
            point = 0
            for name in codec:
                try:
                    text = bytes([lead, trail]).decode(name)
                except UnicodeDecodeError:
                    continue
                if len(text) == 1 and ord(text) < 0x10000:
                    point = ord(text)
                    break
            table.append(point)
    return table


def jis_x_0212() -> list[int]:
    table = []
    for lead in range(0x81, 0xFF):
        for trail in range(0x40, 0xFF):
            try:
                text = bytes([0x8F, lead, trail]).decode("euc_jp")
            except UnicodeDecodeError:
                text = "\0"
            table.append(ord(text) if len(text) == 1 else 0)
    return table


def four_byte_ranges() -> list[tuple[int, int]]:
    """Runs of GB 18030's four-byte codes in the basic plane: (first linear index, its code point); code point 0 where there is none."""
    ranges: list[tuple[int, int]] = []
    for linear in range(39420):
        rest, last = divmod(linear, 10)
        rest, third = divmod(rest, 126)
        first, second = divmod(rest, 10)
        try:
            point = ord(bytes([0x81 + first, 0x30 + second, 0x81 + third, 0x30 + last]).decode("gb18030"))
        except UnicodeDecodeError:
            point = 0
        if not ranges or (ranges[-1][1] + linear - ranges[-1][0] if ranges[-1][1] else 0) != point:
            ranges.append((linear, point))
    return ranges


def charset_header() -> str:
    single = single_byte_codecs()
    index = {name: FIRST_SINGLE_BYTE + position for position, name in enumerate(single)}
    labels: dict[str, int] = {}
    for alias, codec in aliases.items():
        if codec in index:
            labels[plain(alias)] = index[codec]
    labels.update({plain(codec): number for codec, number in index.items()})
    labels.update({plain("windows-" + codec[2:]): number for codec, number in index.items() if codec.startswith("cp")})
    labels.update({plain("x-" + codec.replace("_", "-")): number for codec, number in index.items() if codec.startswith("mac")})
    labels.update({plain(label): index[codec] for label, codec in SUPERSETS.items()})
    labels.update({plain(label): number for label, number in LABELS.items()})
    names = [NAMES.get(number, "") for number in range(FIRST_SINGLE_BYTE)] + [name.replace("_", "-") for name in single]
    flat = windows_1252() + [point for table in single.values() for point in table]
    ranges = four_byte_ranges()
    return (
        name_table("charset_labels", labels)
        + f"#define CHARSETS {len(names)}u\n"
        + "static const char *const charset_names[] = {" + ",".join(f'"{name}"' for name in names) + "};\n"
        + numbers("unsigned short", "single_byte_tables", flat)
        + numbers("unsigned short", "table_gb18030", double_byte(["gb18030"]))
        + numbers("unsigned short", "table_big5", double_byte(["cp950", "big5hkscs"]))
        + numbers("unsigned short", "table_euc_kr", double_byte(["cp949"]))
        + numbers("unsigned short", "table_shift_jis", double_byte(["cp932"]))
        + numbers("unsigned short", "table_jis_x_0208", double_byte(["euc_jp"]))
        + numbers("unsigned short", "table_jis_x_0212", jis_x_0212())
        + f"#define GB18030_RANGES {len(ranges)}u\n"
        + numbers("unsigned short", "gb18030_linear", (linear for linear, _ in ranges))
        + numbers("unsigned short", "gb18030_point", (point for _, point in ranges))
    )  # fmt: skip


def html_header() -> str:
    legacy = {name for name in html5 if not name.endswith(";")}
    entities, pool = {}, b""
    for name, text in sorted(html5.items()):
        if not name.endswith(";"):
            continue
        written = text.encode()
        entities[name[:-1]] = (len(pool), len(written), name[:-1] in legacy)
        pool += written
    elements = {name: flags | (FORMATTING if name in FORMATTING_ELEMENTS else 0) for name, flags in sorted(ELEMENTS.items())}
    ids = {name: position + 1 for position, name in enumerate(elements)}
    return (
        name_table("entity", {name: position for position, name in enumerate(entities)})
        + numbers("unsigned short", "entity_text_starts", (start for start, _, _ in entities.values()))
        + numbers("unsigned char", "entity_text_lengths", (length for _, length, _ in entities.values()))
        + numbers("unsigned char", "entity_legacy", (int(old) for _, _, old in entities.values()))
        + octets("entity_text", pool)
        + name_table("element", ids)
        + f"#define ELEMENTS {len(ids) + 1}u\n"
        + numbers("unsigned short", "element_flags", [0, *elements.values()])
        + "".join(f"#define TAG_{name.upper()} {number}\n" for name, number in ids.items())
        + name_table("attribute", {name: position + 1 for position, name in enumerate(ATTRIBUTES)})
        + "".join(f"#define ATTR_{plain(name).upper()} {position + 1}\n" for position, name in enumerate(ATTRIBUTES))
    )


HEADERS = {
    "charset_tables": charset_header,
    "html_tables": html_header,
    "fold_tables": fold_header,
    "compose_tables": compose_header,
    "disguise_tables": disguise_header,
    "gram_tables": gram_header,
}


def write_all() -> None:
    """Bring the headers up to date; some seconds when anything changed, none otherwise."""
    digest = hashlib.sha256()
    for source in (*sorted(HERE.glob("*.py")), CONFUSABLES):
        digest.update(source.read_bytes())
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stamp = f"/* generated by generate.py {digest.hexdigest()[:16]}, Python {python}, Unicode {unicodedata.unidata_version} */\n"
    for name, content in HEADERS.items():
        path = HERE / f"{name}.h"
        if path.exists():
            with path.open(encoding="ascii") as present:
                if present.readline() == stamp:
                    continue
        path.write_text(stamp + "#pragma once\n" + content(), encoding="ascii")
