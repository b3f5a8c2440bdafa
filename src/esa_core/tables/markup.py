"""Write the tables of HTML: elements, attributes, character references, colours. Called by generate.py."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from html.entities import html5

from .c_source import name_table, numbers, octets

# What the text extraction must know of each element (the element bits of _reader.pxd).
(
    VOID, BLOCK, CELL, RAW, HIDES, SCOPE, FORMATTING, CLOSES_P, ENDS, LINKS, BREAKS_OUT, REFERENCES, IN_HEAD, FOREIGN, PREFORMATTED,
) = (1 << bit for bit in range(15))  # fmt: skip
INLINE_ELEMENTS = """
abbr acronym bdi bdo cite data del dfn ins kbd label map mark meter output picture progress q rp rt ruby
samp span sub summary sup svg math time var canvas slot html body head noscript blink tfoot colgroup
foreignobject desc mi mo mn ms mtext annotation-xml optgroup
"""
FORMATTING_ELEMENTS = "a b big code em font i nobr s small strike strong tt u"
VOID_ELEMENTS = "basefont bgsound col keygen param track wbr"
BLOCK_ELEMENTS = """
address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer h1 h2 h3 h4 h5 h6 header
hgroup legend listing main menu nav ol p pre search section ul frameset
"""
LINKING_ELEMENTS = """
a area audio base button embed form frame iframe image img input link meta object script select source style table textarea video
"""
# Start tags that end svg and math (13.2.6.5)
BREAKING_ELEMENTS = """
b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu meta nobr ol p pre ruby s small
span strong strike sub sup table tt u ul var
"""
HEAD_ELEMENTS = "html head meta title link base style script noscript template bgsound basefont"
OTHER_ELEMENTS = {
    "br": VOID | BLOCK, "hr": VOID | BLOCK | CLOSES_P, "table": BLOCK | SCOPE | CLOSES_P, "caption": BLOCK | SCOPE, "tr": BLOCK | ENDS,
    "td": CELL | SCOPE | ENDS, "th": CELL | SCOPE | ENDS, "tbody": ENDS, "thead": ENDS, "tfoot": ENDS, "marquee": BLOCK | SCOPE,
    "script": RAW | HIDES, "style": RAW | HIDES, "title": RAW | HIDES | REFERENCES, "iframe": RAW | HIDES, "noembed": RAW | HIDES,
    "noframes": RAW | HIDES, "xmp": RAW | BLOCK | CLOSES_P, "textarea": RAW | REFERENCES, "plaintext": RAW | BLOCK | CLOSES_P,
    "template": HIDES | SCOPE, "datalist": HIDES, "li": BLOCK | CLOSES_P | ENDS, "dd": BLOCK | CLOSES_P | ENDS,
    "dt": BLOCK | CLOSES_P | ENDS, "option": ENDS, "select": 0, "button": ENDS, "form": BLOCK | CLOSES_P, "object": SCOPE, "applet": SCOPE,
    "audio": 0, "video": 0, "area": VOID, "base": VOID, "embed": VOID, "frame": VOID, "image": VOID, "img": VOID, "input": VOID,
    "link": VOID, "meta": VOID, "source": VOID, "a": FORMATTING | ENDS,
}  # fmt: skip
ATTRIBUTES = (
    "href", "src", "style", "hidden", "alt", "width", "height", "action", "background", "lang", "type", "content", "http-equiv",
    "formaction", "data", "poster", "value", "xml:lang", "class", "id", "color", "bgcolor", "text", "link", "media", "srcdoc",
    "xlink:href",
)  # fmt: skip
# The attributes that may decide whether text is shown.
LOOKS = ("style", "hidden", "class", "id", "color", "bgcolor", "text", "link", "background")

# What _element.end_element does more for than to close the element.
UNUSUAL_ENDS = ("html", "body", "pre", "listing")

# CSS: name -> the property it sets (P_* of _style.pxd); what sets several, or one in another way, has an entry of its own.
PROPERTIES = {
    "display": "display", "visibility": "visibility", "opacity": "opacity", "font-size": "size", "color": "colour",
    "background-color": "background", "height": "height", "max-height": "max_height", "width": "width", "max-width": "max_width",
    "overflow": "overflow", "position": "position", "left": "offset", "top": "offset", "margin-left": "margin", "margin-top": "margin",
    "text-indent": "indent", "clip": "clip", "clip-path": "clip_path", "mso-hide": "mso_hide", "transform": "transform",
    "font": "font_shorthand", "background": "background_shorthand", "background-image": "background_image", "filter": "filter",
}  # fmt: skip

# CSS Color 4 section 6.1, six hexadecimal digits each.
COLOURS = """
aliceblue f0f8ff antiquewhite faebd7 aqua 00ffff aquamarine 7fffd4 azure f0ffff beige f5f5dc bisque ffe4c4 black 000000
blanchedalmond ffebcd blue 0000ff blueviolet 8a2be2 brown a52a2a burlywood deb887 cadetblue 5f9ea0 chartreuse 7fff00 chocolate d2691e
coral ff7f50 cornflowerblue 6495ed cornsilk fff8dc crimson dc143c cyan 00ffff darkblue 00008b darkcyan 008b8b darkgoldenrod b8860b
darkgray a9a9a9 darkgreen 006400 darkgrey a9a9a9 darkkhaki bdb76b darkmagenta 8b008b darkolivegreen 556b2f darkorange ff8c00
darkorchid 9932cc darkred 8b0000 darksalmon e9967a darkseagreen 8fbc8f darkslateblue 483d8b darkslategray 2f4f4f darkslategrey 2f4f4f
darkturquoise 00ced1 darkviolet 9400d3 deeppink ff1493 deepskyblue 00bfff dimgray 696969 dimgrey 696969 dodgerblue 1e90ff
firebrick b22222 floralwhite fffaf0 forestgreen 228b22 fuchsia ff00ff gainsboro dcdcdc ghostwhite f8f8ff gold ffd700 goldenrod daa520
gray 808080 green 008000 greenyellow adff2f grey 808080 honeydew f0fff0 hotpink ff69b4 indianred cd5c5c indigo 4b0082 ivory fffff0
khaki f0e68c lavender e6e6fa lavenderblush fff0f5 lawngreen 7cfc00 lemonchiffon fffacd lightblue add8e6 lightcoral f08080
lightcyan e0ffff lightgoldenrodyellow fafad2 lightgray d3d3d3 lightgreen 90ee90 lightgrey d3d3d3 lightpink ffb6c1 lightsalmon ffa07a
lightseagreen 20b2aa lightskyblue 87cefa lightslategray 778899 lightslategrey 778899 lightsteelblue b0c4de lightyellow ffffe0
lime 00ff00 limegreen 32cd32 linen faf0e6 magenta ff00ff maroon 800000 mediumaquamarine 66cdaa mediumblue 0000cd mediumorchid ba55d3
mediumpurple 9370db mediumseagreen 3cb371 mediumslateblue 7b68ee mediumspringgreen 00fa9a mediumturquoise 48d1cc
mediumvioletred c71585 midnightblue 191970 mintcream f5fffa mistyrose ffe4e1 moccasin ffe4b5 navajowhite ffdead navy 000080
oldlace fdf5e6 olive 808000 olivedrab 6b8e23 orange ffa500 orangered ff4500 orchid da70d6 palegoldenrod eee8aa palegreen 98fb98
paleturquoise afeeee palevioletred db7093 papayawhip ffefd5 peachpuff ffdab9 peru cd853f pink ffc0cb plum dda0dd powderblue b0e0e6
purple 800080 rebeccapurple 663399 red ff0000 rosybrown bc8f8f royalblue 4169e1 saddlebrown 8b4513 salmon fa8072 sandybrown f4a460
seagreen 2e8b57 seashell fff5ee sienna a0522d silver c0c0c0 skyblue 87ceeb slateblue 6a5acd slategray 708090 slategrey 708090
snow fffafa springgreen 00ff7f steelblue 4682b4 tan d2b48c teal 008080 thistle d8bfd8 tomato ff6347 turquoise 40e0d0 violet ee82ee
wheat f5deb3 white ffffff whitesmoke f5f5f5 yellow ffff00 yellowgreen 9acd32
"""


def c_name(name: str) -> str:
    """A name as the end of a C identifier."""
    return name.replace("-", "").replace(":", "").upper()


def elements() -> dict[str, int]:
    """Every known element and its bits, by name."""
    found = {
        **dict.fromkeys(INLINE_ELEMENTS.split(), 0),
        **dict.fromkeys(FORMATTING_ELEMENTS.split(), FORMATTING),
        **dict.fromkeys(VOID_ELEMENTS.split(), VOID),
        **dict.fromkeys(BLOCK_ELEMENTS.split(), BLOCK | CLOSES_P),
        **OTHER_ELEMENTS,
    }
    for names, bit in ((LINKING_ELEMENTS, LINKS), (BREAKING_ELEMENTS, BREAKS_OUT), (HEAD_ELEMENTS, IN_HEAD),
                        ("svg math", FOREIGN), ("pre listing", PREFORMATTED)):  # fmt: skip
        for name in names.split():
            found[name] |= bit
    return {name: bits | (ENDS if bits & CLOSES_P else 0) for name, bits in sorted(found.items())}


def eight(octets: bytes) -> int:
    """Up to eight octets as the number that a processor loads."""
    return int.from_bytes(octets.ljust(8, b"\0"), "little")


def letters(name: bytes) -> bytes:
    """The bit that makes a letter small, where a letter stands."""
    return bytes(32 if 97 <= octet <= 122 else 0 for octet in name)


def perfect_table(prefix: str, values: Mapping[str, int]) -> str:
    """Names of 1 to 16 octets → numbers without collisions: slots[key * MULTIPLIER >> SHIFT] is 1 + entry. The key is made as ESA_FIND_NAME makes it."""
    keys = []
    for name in values:
        low, high = (eight(half.encode()) | eight(b"\x20" * 8) for half in (name[:8], name[8:]))
        keys.append(low + high * 31 if len(name) > 8 else low)
    bits = (2 * len(values)).bit_length() + 2
    chosen = random.Random(prefix)  # noqa: S311  (the same table at every build)
    mask = (1 << 64) - 1
    taken: list[int] = []
    while len(set(taken)) < len(values):
        multiplier = chosen.getrandbits(64) | 1
        taken = [(key * multiplier & mask) >> (64 - bits) for key in keys]
    slots = [0] * (1 << bits)
    for entry, slot in enumerate(taken):
        slots[slot] = entry + 1
    rows = ["{0,0,0,0,0},"]  # no name is of no octets
    for name, value in values.items():
        first, last = name[:8].encode(), name[8:].encode()
        rows.append(f"{{{eight(first)}u,{eight(letters(first))}u,{eight(last)}u,{eight(letters(last))}u,{value}u}},")
    return (
        f"#define {prefix}_MULTIPLIER {multiplier}u\n#define {prefix}_SHIFT {64 - bits}\n"
        + octets(f"{prefix}_slots", bytes(slots))
        + f"static const struct esa_name {prefix}_names[] = {{\n"
        + "\n".join(rows)
        + "\n};\n"
    )


def end_tags(names: Iterable[str]) -> str:
    """By number: the name and ">" of a short end tag, for one comparison. Those with more to do than to close an element have none."""
    rows = ["{0,0,0,0},"]
    for name in names:
        tag = f"{name}>".encode()
        if len(tag) > 8 or name in UNUSUAL_ENDS:
            rows.append("{0,1,0,0},")
        else:
            all_octets = (1 << 8 * len(tag)) - 1
            rows.append(f"{{{all_octets}u,{eight(tag)}u,{eight(letters(tag))}u,{len(tag)}u}},")
    return "static const esa_end_tag element_ends[] = {\n" + "\n".join(rows) + "\n};\n"


def sizes_of(names: Iterable[str]) -> list[int]:
    """By the first octet of a name: one bit for each length that a known one has. Most names are turned away by it."""
    sizes = [0] * 256
    for name in names:
        sizes[ord(name[0])] |= 1 << len(name)
        sizes[ord(name[0].upper())] |= 1 << len(name)
    return sizes


def html_header() -> str:
    legacy = {name for name in html5 if not name.endswith(";")}
    entities, pool = {}, b""
    for name, text in sorted(html5.items()):
        if not name.endswith(";"):
            continue
        written = text.encode()
        entities[name[:-1]] = (len(pool), len(written), name[:-1] in legacy)
        pool += written
    flags = elements()
    ids = {name: position + 1 for position, name in enumerate(flags)}
    colours = COLOURS.split()
    properties = {name: position + 1 for position, name in enumerate(dict.fromkeys(PROPERTIES.values()))}
    return (
        name_table("entity", {name: position for position, name in enumerate(entities)})
        + numbers("unsigned short", "entity_text_starts", (start for start, _, _ in entities.values()))
        + numbers("unsigned char", "entity_text_lengths", (length for _, length, _ in entities.values()))
        + numbers("unsigned char", "entity_legacy", (int(old) for _, _, old in entities.values()))
        + octets("entity_text", pool)
        + "struct esa_name { unsigned long long low, low_letters, high, high_letters; unsigned value; };\n"
        + "typedef struct { unsigned long long octets, text, letters, length; } esa_end_tag;\n"
        + perfect_table("element", ids)
        + end_tags(ids)
        + f"#define ELEMENTS {len(ids) + 1}u\n"
        + numbers("unsigned short", "element_flags", [LINKS, *flags.values()])  # an unknown element may hold links
        + "".join(f"#define TAG_{c_name(name)} {number}\n" for name, number in ids.items())
        + perfect_table("attribute", {name: position + 1 for position, name in enumerate(ATTRIBUTES)})
        + "".join(f"#define ATTR_{c_name(name)} {position + 1}\n" for position, name in enumerate(ATTRIBUTES))
        + numbers("unsigned int", "attribute_sizes", sizes_of(ATTRIBUTES))
        + numbers("unsigned int", "property_sizes", sizes_of(PROPERTIES))
        + f"#define LOOK_ATTRIBUTES {sum(1 << (ATTRIBUTES.index(name) + 1) for name in LOOKS)}ull\n"
        + perfect_table("property", {name: properties[meaning] for name, meaning in PROPERTIES.items()})
        + "".join(f"#define P_{name.upper()} {number}\n" for name, number in properties.items())
        + name_table("colour", {name: position for position, name in enumerate(colours[::2])})
        + numbers("unsigned int", "colour_rgb", (int(digits, 16) for digits in colours[1::2]))
    )
