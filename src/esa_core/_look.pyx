"""The look of one element: what HTML itself says of it, then the rules of style sheets, then its style attribute.

The styles of attributes are kept in a small table by their text: a page repeats a few of them.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from esa_core._colour cimport COLOUR_UNKNOWN, read_legacy_colour
from esa_core._document cimport reserve_scratch
from esa_core._entity cimport decode_value
from esa_core._reader cimport *
from esa_core._sheet cimport (
    KIND_ANY, KIND_CLASS, KIND_IDENTIFIER, KIND_TYPE, MOST_AROUND, MOST_CLASSES, Rule, chain_heads, chain_of, name_hash, rules_of,
)
from esa_core._style cimport P_BACKGROUND, P_COLOUR, P_DISPLAY, Style, add_style, apply_style, read_style

cdef enum:
    MOST_MATCHES = 24            # rules for one element: real pages have a handful


cdef inline bint has(const Reader *reader, uint32_t attribute) noexcept nogil:
    return reader.attributes.present >> attribute & 1


cdef inline void say(Style *style, uint32_t name, uint32_t value) noexcept nogil:
    style.given |= <uint32_t>1 << name
    style.value[name] = value


cdef const Style *inline_style(Reader *reader) noexcept nogil:
    """What the style attribute says; NULL for no memory."""
    cdef const uint8_t *text = reader.attributes.value[ATTR_STYLE]
    cdef uint32_t length = reader.attributes.length[ATTR_STYLE]
    cdef uint64_t key = length
    cdef uint32_t odd = 0
    cdef Remembered *one
    if length >= 16:
        key = esa_load(text + length // 2) * 31 + esa_load(text + length - 9) + length
    one = &reader.remembered[(key * 0x9E3779B97F4A7C15ull) >> 59]
    if one.text == NULL or one.length != length or memcmp(one.text, text, length) != 0:
        if memchr(text, 38, length) != NULL:
            if reserve_scratch(reader.document, <size_t>length + length // 4 + 8) < 0:
                return NULL
            length = <uint32_t>decode_value(text, length, reader.document.scratch, <size_t>length + length // 4 + 8, &odd)
            read_style(reader.document.scratch, length, &reader.decoded)
            return &reader.decoded
        one.text = text
        one.length = length
        read_style(text, length, &one.style)
    return &one.style


cdef void attribute_styles(Reader *reader, uint32_t tag, Style *style) noexcept nogil:
    """What attributes other than style say (HTML 15.3: presentational hints)."""
    cdef uint32_t colour
    if has(reader, ATTR_HIDDEN):
        say(style, P_DISPLAY, 1)
    if has(reader, ATTR_BGCOLOR):
        colour = read_legacy_colour(reader.attributes.value[ATTR_BGCOLOR], reader.attributes.length[ATTR_BGCOLOR])
        if colour != COLOUR_UNKNOWN:
            say(style, P_BACKGROUND, colour)
    if has(reader, ATTR_BACKGROUND) and reader.attributes.length[ATTR_BACKGROUND]:
        say(style, P_BACKGROUND, COLOUR_UNKNOWN)
    if has(reader, ATTR_COLOR) and tag == TAG_FONT:
        colour = read_legacy_colour(reader.attributes.value[ATTR_COLOR], reader.attributes.length[ATTR_COLOR])
        if colour != COLOUR_UNKNOWN:
            say(style, P_COLOUR, colour)
    if tag == TAG_BODY:
        if has(reader, ATTR_TEXT):
            colour = read_legacy_colour(reader.attributes.value[ATTR_TEXT], reader.attributes.length[ATTR_TEXT])
            if colour != COLOUR_UNKNOWN:
                say(style, P_COLOUR, colour)
        if has(reader, ATTR_LINK):
            colour = read_legacy_colour(reader.attributes.value[ATTR_LINK], reader.attributes.length[ATTR_LINK])
            if colour != COLOUR_UNKNOWN:
                reader.link_colour = colour


cdef bint stands_within(const Reader *reader, const Rule *rule) noexcept nogil:
    cdef int at
    for at in range(MOST_AROUND):
        if rule.around[at] and reader.top[rule.around[at]] < 0:
            return False
    return True


cdef inline int find_rules(const Reader *reader, uint32_t kind, uint32_t name, uint32_t tag, const uint32_t *classes, int n_classes,
                           const Rule **matches, int n_matches) noexcept nogil:
    """Add the rules of one chain that hold, in the order of weight; gives their number."""
    cdef uint32_t index = chain_heads(&reader.sheet)[chain_of(kind, name)]
    return add_rules(reader, index, kind, name, tag, classes, n_classes, matches, n_matches) if index else n_matches


cdef int add_rules(const Reader *reader, uint32_t index, uint32_t kind, uint32_t name, uint32_t tag, const uint32_t *classes, int n_classes,
                   const Rule **matches, int n_matches) noexcept nogil:
    """From the rule of this index on."""
    cdef const Rule *rule
    cdef int at
    cdef bint holds
    while index:
        rule = &rules_of(&reader.sheet)[index - 1]
        index = rule.next
        if rule.name != name or rule.kind != kind or (rule.tag and rule.tag != tag) or n_matches >= MOST_MATCHES:
            continue
        holds = rule.also == 0
        for at in range(n_classes):
            holds |= classes[at] == rule.also
        if not holds or not stands_within(reader, rule):
            continue
        at = n_matches
        while at and (matches[at - 1].weight > rule.weight or (matches[at - 1].weight == rule.weight and matches[at - 1].order > rule.order)):
            matches[at] = matches[at - 1]
            at -= 1
        matches[at] = rule
        n_matches += 1
    return n_matches


cdef int read_classes(const Reader *reader, uint32_t *classes) noexcept nogil:
    cdef const uint8_t *text = reader.attributes.value[ATTR_CLASS]
    cdef size_t length = reader.attributes.length[ATTR_CLASS]
    cdef size_t first = <size_t>(text - reader.source)
    cdef size_t at = 0
    cdef size_t start
    cdef uint32_t name
    cdef int count = 0
    cdef int before
    while at < length and count < MOST_CLASSES:
        if is_blank(text[at]):
            at += 1
            continue
        start = at
        while True:  # the map also has ">"
            at = esa_next_mark(&reader.marks.value, first + at, first + length) - first
            if at >= length or is_blank(text[at]):
                break
            at += 1
        name = name_hash(text + start, at - start)
        before = 0
        while before < count and classes[before] != name:
            before += 1
        if before == count:
            classes[count] = name
            count += 1
    return count


cdef void sheet_styles(const Reader *reader, uint32_t tag, Style *style) noexcept nogil:
    cdef uint32_t classes[16]
    cdef const Rule *matches[24]
    cdef int n_classes = 0
    cdef int n_matches = 0
    cdef int at
    classes[0] = 0
    if has(reader, ATTR_CLASS):
        n_classes = read_classes(reader, classes)
    n_matches = find_rules(reader, KIND_ANY, 0, tag, classes, n_classes, matches, n_matches)
    if tag:
        n_matches = find_rules(reader, KIND_TYPE, tag, tag, classes, n_classes, matches, n_matches)
    for at in range(n_classes):
        n_matches = find_rules(reader, KIND_CLASS, classes[at], tag, classes, n_classes, matches, n_matches)
    if has(reader, ATTR_ID) and reader.attributes.length[ATTR_ID]:
        n_matches = find_rules(reader, KIND_IDENTIFIER, name_hash(reader.attributes.value[ATTR_ID], reader.attributes.length[ATTR_ID]), tag,
                               classes, n_classes, matches, n_matches)
    for at in range(n_matches):
        add_style(style, &matches[at].style)


cdef int read_look(Reader *reader, uint32_t tag) noexcept nogil:
    """Bring reader.look, that of the text around the element, to what it is inside; -1 for no memory."""
    cdef Style style
    cdef const Style *own
    cdef uint64_t present = reader.attributes.present
    style.given = style.important = 0
    if tag == TAG_A and has(reader, ATTR_HREF):
        say(&style, P_COLOUR, reader.link_colour)
    if present & (LOOK_ATTRIBUTES & ~(<uint64_t>1 << ATTR_STYLE | <uint64_t>1 << ATTR_CLASS | <uint64_t>1 << ATTR_ID)):
        attribute_styles(reader, tag, &style)
    if reader.sheet.n_rules:
        sheet_styles(reader, tag, &style)
    if has(reader, ATTR_STYLE):
        own = inline_style(reader)
        if own == NULL:
            return -1
        if style.given == 0:
            if own.given:
                apply_style(&reader.look, own)
            return 0
        add_style(&style, own)
    if style.given:
        apply_style(&reader.look, &style)
    return 0
