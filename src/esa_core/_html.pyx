"""HTML → text as seen, text that is written but not shown, links with the text shown for them, counts.

A tokenizer after the HTML Living Standard 13.2.5 and a stack of open elements that knows scopes, implied ends and visibility, not a tree.
One pass, never back: what is not ended (comment, quote, script) reaches to the end, as in a browser. An end tag finds its element by a
table, so that its cost does not depend on the depth. Past ESA_MAX_HTML_DEPTH elements inherit the deepest known state: DEFECTIVE_HTML.
Inside the text, white space is one space, a block begins a line, a table cell is set off by a space.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from esa_core._buffer cimport equals_caseless, grow, lower, reserve
from esa_core._charset cimport CHARSET_ABSENT, find_charset
from esa_core._document cimport reserve_scratch
from esa_core._element cimport close_implied, end_element, open_element
from esa_core._entity cimport decode_value, element_bits, find_attribute, find_element
from esa_core._link cimport end_anchor, read_links
from esa_core._reader cimport *
from esa_core._style cimport UNSHOWN_FOR_GOOD, read_style
from esa_core._types cimport *


# ---- tags ----

cdef uint32_t name_number(const uint8_t *name, size_t length, uint32_t tag) noexcept nogil:
    """The number under which an element stands on the stack: unknown ones share BUCKETS by a hash of their beginning."""
    cdef uint32_t key = 0
    cdef size_t at
    if tag:
        return tag
    for at in range(min(length, <size_t>24)):
        key = key * 31 + lower(name[at])
    return ELEMENTS + (key ^ (key >> 8)) % BUCKETS


cdef bint read_attributes(Reader *reader) noexcept nogil:
    """Read up to behind the ">" of the tag at reader.at; False, at the end of the source, if there is none (the tag is then dropped)."""
    cdef const uint8_t *source = reader.source
    cdef size_t length = reader.length
    cdef size_t at = reader.at
    cdef size_t name, value, size
    cdef const uint8_t *quote
    cdef uint32_t attribute
    reader.attributes.present = 0
    while at < length:
        if is_blank(source[at]) or source[at] == 47:
            at += 1
            continue
        if source[at] == 62:
            reader.at = at + 1
            return True
        name = at
        at += 1  # a leading "=" belongs to the name
        while at < length and source[at] != 61 and source[at] != 62 and source[at] != 47 and not is_blank(source[at]):
            at += 1
        attribute = find_attribute(source + name, at - name)
        while at < length and is_blank(source[at]):
            at += 1
        value = at
        size = 0
        if at < length and source[at] == 61:
            at += 1
            while at < length and is_blank(source[at]):
                at += 1
            value = at
            if at < length and (source[at] == 34 or source[at] == 39):
                value = at + 1
                quote = <const uint8_t *>memchr(source + value, source[at], length - value)
                if quote == NULL:
                    break
                size = <size_t>(quote - source) - value
                at = value + size + 1
            else:
                while at < length and source[at] != 62 and not is_blank(source[at]):
                    at += 1
                size = at - value
        if attribute and not reader.attributes.present & (<uint64_t>1 << attribute):
            reader.attributes.present |= <uint64_t>1 << attribute
            reader.attributes.value[attribute] = source + value
            reader.attributes.length[attribute] = <uint32_t>size
    reader.at = length
    reader.document.flags |= DEFECTIVE_HTML
    return False


cdef size_t find_raw_end(const uint8_t *source, size_t at, size_t length, const uint8_t *name, size_t name_length) noexcept nogil:
    """Offset of the end tag of a script, style, ..., or `length`."""
    cdef const uint8_t *found
    cdef size_t index
    while at < length:
        found = <const uint8_t *>memchr(source + at, 60, length - at)
        if found == NULL:
            return length
        at = <size_t>(found - source)
        if at + 2 + name_length < length and source[at + 1] == 47:
            for index in range(name_length):
                if lower(source[at + 2 + index]) != lower(name[index]):
                    break
            else:
                index = at + 2 + name_length
                if source[index] == 62 or source[index] == 47 or is_blank(source[index]):
                    return at
        at += 1
    return length


cdef int read_raw(Reader *reader, uint32_t tag, const uint8_t *name, size_t name_length) noexcept nogil:
    """The content of an element in which there are no tags."""
    cdef size_t start = reader.at
    cdef size_t end = reader.length if tag == TAG_PLAINTEXT else find_raw_end(reader.source, start, reader.length, name, name_length)
    cdef uint32_t before = reader.state
    cdef int outcome = 0
    reader.at = end
    if tag == TAG_TITLE or tag == TAG_NOFRAMES:
        reader.state |= UNSHOWN_FOR_GOOD
    elif tag != TAG_TEXTAREA and tag != TAG_XMP and tag != TAG_PLAINTEXT:
        return 0
    leave_gap(reader, GAP_LINE)
    outcome = emit(reader, reader.source + start, end - start, tag == TAG_TITLE or tag == TAG_TEXTAREA)
    leave_gap(reader, GAP_LINE)
    reader.state = before
    return outcome


cdef uint32_t own_state(Reader *reader) noexcept nogil:
    """The UNSHOWN_* bits inside an element with these attributes."""
    cdef uint32_t state = reader.state
    cdef const uint8_t *style
    cdef size_t length
    cdef uint32_t odd = 0
    if reader.attributes.present & (<uint64_t>1 << ATTR_HIDDEN):
        state |= UNSHOWN_FOR_GOOD
    if reader.attributes.present & (<uint64_t>1 << ATTR_STYLE):
        style = reader.attributes.value[ATTR_STYLE]
        length = reader.attributes.length[ATTR_STYLE]
        if memchr(style, 38, length) != NULL and reserve_scratch(reader.document, length + length // 4 + 8) == 0:
            length = decode_value(style, length, reader.document.scratch, length + length // 4 + 8, &odd)
            style = reader.document.scratch
        state = read_style(style, length, state)
    return state


cdef int start_tag(Reader *reader) noexcept nogil:
    """reader.at is at the "<" of a start tag; -1 for no memory."""
    cdef HtmlCounts *counts = &reader.document.html
    cdef const uint8_t *name = reader.source + reader.at + 1
    cdef size_t length = 1
    cdef size_t left = reader.length - reader.at - 1
    cdef uint32_t tag, bits, before
    while length < left and name[length] != 62 and name[length] != 47 and not is_blank(name[length]):
        length += 1
    reader.at += 1 + length
    if not read_attributes(reader):
        return 0
    tag = find_element(name, length)
    bits = element_bits(tag)
    counts.tags += 1
    if tag == 0:
        counts.unknown_tags += 1
    if reader.attributes.present & ((<uint64_t>1 << ATTR_LANG) | (<uint64_t>1 << ATTR_XMLLANG)):
        counts.lang_attributes += 1
    close_implied(reader, tag, bits)
    before = reader.state
    if reader.attributes.present & ((<uint64_t>1 << ATTR_STYLE) | (<uint64_t>1 << ATTR_HIDDEN)):
        reader.state = own_state(reader)
    if bits & HIDES and not bits & RAW:
        reader.state |= UNSHOWN_FOR_GOOD
    if before and not reader.state:  # what is hidden before and behind it does not belong together
        reader.hidden.gap = GAP_LINE
    if bits & BLOCK or (reader.state and not before):
        leave_gap(reader, GAP_LINE)
    elif bits & CELL:
        leave_gap(reader, GAP_SPACE)
    if read_links(reader, tag) < 0:
        return -1
    if bits & RAW:
        if read_raw(reader, tag, name, length) < 0:
            return -1
        reader.state = before
    elif bits & VOID:
        reader.state = before
    elif tag == 0 and reader.source[reader.at - 2] == 47:  # <o:p/>
        reader.state = before
    else:
        open_element(reader, name_number(name, length, tag), bits, before)
    return 0


cdef void end_tag(Reader *reader) noexcept nogil:
    """reader.at is at the "<" of an end tag."""
    cdef const uint8_t *name = reader.source + reader.at + 2
    cdef size_t length = 1
    cdef size_t left = reader.length - reader.at - 2
    cdef uint32_t tag
    while length < left and name[length] != 62 and name[length] != 47 and not is_blank(name[length]):
        length += 1
    reader.at += 2 + length
    if not read_attributes(reader):
        return
    tag = find_element(name, length)
    end_element(reader, name_number(name, length, tag), element_bits(tag))


cdef void skip_to_greater(Reader *reader) noexcept nogil:
    cdef const uint8_t *found = <const uint8_t *>memchr(reader.source + reader.at, 62, reader.length - reader.at)
    reader.at = <size_t>(found - reader.source) + 1 if found != NULL else reader.length
    if found == NULL:
        reader.document.flags |= DEFECTIVE_HTML


cdef void skip_declaration(Reader *reader) noexcept nogil:
    """reader.at is at "<!" or "<?": a comment, or something that is read as one."""
    cdef const uint8_t *source = reader.source
    cdef size_t start = reader.at
    cdef size_t end
    if not (start + 3 < reader.length and source[start + 1] == 33 and source[start + 2] == 45 and source[start + 3] == 45):
        skip_to_greater(reader)
        return
    reader.document.html.comments += 1
    reader.at = start + 4
    while reader.at < reader.length:
        skip_to_greater(reader)
        end = reader.at - 1  # at ">"
        if source[end] == 62 and end >= start + 4:
            if source[end - 1] == 45 and source[end - 2] == 45:
                return
            if end >= start + 7 and source[end - 1] == 33 and source[end - 2] == 45 and source[end - 3] == 45:
                return


cdef int read_markup(Reader *reader) noexcept nogil:
    """reader.at is at "<": read one tag or comment, or the "<" as text; -1 for no memory."""
    cdef size_t at = reader.at
    cdef uint8_t next_octet = reader.source[at + 1] if at + 1 < reader.length else 0
    if 97 <= (next_octet | 32) <= 122:
        return start_tag(reader)
    if next_octet == 47:
        next_octet = reader.source[at + 2] if at + 2 < reader.length else 0
        if 97 <= (next_octet | 32) <= 122:
            end_tag(reader)
        else:
            skip_to_greater(reader)
        return 0
    if next_octet == 33 or next_octet == 63:
        skip_declaration(reader)
        return 0
    reader.at += 1
    return emit(reader, reader.source + at, 1, False)


# ---- the door ----

cdef int add_region(Document *document, uint32_t part, uint32_t kind, uint32_t start, uint32_t length) noexcept nogil:
    """Append a region of the text arena; an empty one is left out. -1 for no memory."""
    if length == 0:
        return 0
    if grow(<void **>&document.regions, &document.cap_regions, document.n_regions + 1, sizeof(Region)) < 0:
        return -1
    document.regions[document.n_regions] = Region(Span(start, length), Span(0, 0), part, kind)
    document.n_regions += 1
    return 0


cdef void move_links(Reader *reader, uint32_t first, uint32_t hidden, uint32_t alternatives, uint32_t targets) noexcept nogil:
    """The work buffers were appended to the arena at these offsets: make the links' spans offsets in it."""
    cdef Link *link
    cdef uint32_t index
    for index in range(first, reader.document.n_links):
        link = &reader.document.links[index]
        link.url.start += targets
        if link.kind == LINK_IMAGE:
            link.shown.start += alternatives
        elif link.kind == LINK_ANCHOR and link.hidden:
            link.shown.start += hidden


cdef int append_to(Buffer *arena, const Buffer *more) noexcept nogil:
    if reserve(arena, more.length) < 0:
        return -1
    if more.length:
        memcpy(arena.data + arena.length, more.data, more.length)
        arena.length += more.length
    return 0


cdef int read_html(Document *document, uint32_t part, const uint8_t *source, size_t length) noexcept nogil:
    """Read one HTML part, given as UTF-8: regions, links and counts of `document`. `source` is not in its text arena. -1 for no memory."""
    cdef Reader reader
    cdef Buffer arena = Buffer(document.text, document.n_text, document.cap_text)
    cdef const uint8_t *found
    cdef uint32_t first_link = document.n_links
    cdef uint32_t start = document.n_text
    cdef uint32_t seen, hidden, alternatives, targets
    cdef int outcome = 0
    document.hidden.length = document.targets.length = document.alternatives.length = 0
    reader.document = document
    reader.part = part
    reader.source = source
    reader.length = length
    reader.at = 0
    reader.seen = Stream(&arena, start, GAP_NONE)
    reader.hidden = Stream(&document.hidden, 0, GAP_NONE)
    reader.state = reader.preformatted = reader.n_open = reader.overflow = 0
    reader.anchor = -1
    reader.anchor_start = 0
    reader.anchor_hidden = False
    reader.scope = -1
    memset(reader.top, 0xFF, sizeof(reader.top))
    document.html.parts += 1
    while outcome == 0 and reader.at < length:
        found = <const uint8_t *>memchr(source + reader.at, 60, length - reader.at)
        seen = <uint32_t>((<size_t>(found - source) if found != NULL else length) - reader.at)
        outcome = emit(&reader, source + reader.at, seen, True)
        reader.at += seen
        if outcome == 0 and found != NULL:
            outcome = read_markup(&reader)
    end_anchor(&reader)
    seen = arena.length - start
    hidden = arena.length
    if outcome == 0:
        outcome = append_to(&arena, &document.hidden)
    alternatives = arena.length
    if outcome == 0:
        outcome = append_to(&arena, &document.alternatives)
    targets = arena.length
    if outcome == 0:
        outcome = append_to(&arena, &document.targets)
    document.text = arena.data
    document.n_text = arena.length
    document.cap_text = arena.capacity
    if outcome < 0:
        document.n_links = first_link
        return -1
    move_links(&reader, first_link, hidden, alternatives, targets)
    document.html.seen_bytes += seen
    document.html.hidden_bytes += document.hidden.length
    document.parts[part].text = Span(start, seen)
    if add_region(document, part, REGION_HTML_SEEN, start, seen) < 0:
        return -1
    if add_region(document, part, REGION_HTML_HIDDEN, hidden, document.hidden.length) < 0:
        return -1
    return add_region(document, part, REGION_ALT, alternatives, document.alternatives.length)


cdef uint32_t find_meta_charset(const uint8_t *source, size_t length) noexcept nogil:
    """The charset that a page's first 1,024 octets declare (13.2.3.2), for a part whose Content-Type has none; CHARSET_ABSENT if none."""
    cdef size_t at = 0
    cdef size_t end
    length = min(length, <size_t>1024)
    while at + 8 < length:
        if lower(source[at]) == 99 and equals_caseless(source + at, b"charset", 7):
            at += 7
            while at < length and is_blank(source[at]):
                at += 1
            if at < length and source[at] == 61:
                at += 1
                while at < length and (is_blank(source[at]) or source[at] == 34 or source[at] == 39):
                    at += 1
                end = at
                while end < length and source[end] > 32 and source[end] not in (34, 39, 59, 62):
                    end += 1
                return find_charset(source + at, end - at)
        at += 1
    return CHARSET_ABSENT
