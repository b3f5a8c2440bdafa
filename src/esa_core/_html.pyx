"""HTML → text as seen, text that is written but not shown, links with the text shown for them, counts.

A tokenizer after the HTML Living Standard 13.2.5 and a stack of open elements that knows scopes, implied ends and looks, not a tree.
First, the places at which something must be decided are marked (markup.h); then one pass over these marks, never back: what is not ended
(comment, quote, script) reaches to the end, as in a browser. A style sheet behind text that it may hide makes a second pass, no third.
An end tag finds its element by a table, so that its cost does not depend on the depth. Past ESA_MAX_HTML_DEPTH elements inherit the deepest
known look: DEFECTIVE_HTML. Inside the text, white space is one space, a block begins a line, a table cell is set off by a space.
Text of comments counts as written; that of conditional comments, which some clients show, is read as HTML for that.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp, memcpy, memset

from esa_core._buffer cimport equals_caseless, grow, lower, reserve
from esa_core._charset cimport CHARSET_ABSENT, find_charset
from esa_core._document cimport may_read_again
from esa_core._element cimport close_down_to, close_implied, end_element, is_foreign, leave_foreign, open_element
from esa_core._inner cimport decode_inner_page
from esa_core._link cimport end_anchor, read_links
from esa_core._look cimport read_look
from esa_core._raw cimport comment_end, emit_comment, read_raw, skip_to_greater
from esa_core._reader cimport *
from esa_core._style cimport SIZE_USUAL
from esa_core._text_links cimport find_text_links
from esa_core._types cimport *

cdef int WIDE = esa_marks_are_wide()

cdef enum:
    INNER_DEPTH = 2              # pages in attributes of pages in attributes are read, no deeper ones

# ---- attributes ----

cdef inline uint32_t name_number(const uint8_t *name, size_t length, uint32_t tag) noexcept nogil:
    """The number under which an element stands on the stack: unknown ones share BUCKETS by a hash of their beginning."""
    cdef uint32_t key = 0
    cdef size_t at
    if tag:
        return tag
    for at in range(min(length, <size_t>24)):
        key = key * 31 + lower(name[at])
    return ELEMENTS + (key ^ (key >> 8)) % BUCKETS


cdef inline size_t skip_blank(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """At most to `end`; the octet there may be read."""
    while at < end and is_blank(source[at]):
        at += 1
    return at


cdef inline size_t quoted_end(const Reader *reader, size_t at, uint8_t quote) noexcept nogil:
    """Offset of the next such quote, or the length of the source."""
    at = esa_next_mark(&reader.marks.quote, at, reader.length)
    while at < reader.length and reader.source[at] != quote:
        at = esa_next_mark(&reader.marks.quote, at + 1, reader.length)
    return at


cdef bint read_attributes(Reader *reader, uint32_t tag) noexcept nogil:
    """Read up to behind the ">" of the tag at reader.at; False, at the end of the source, if there is none (the tag is then dropped)."""
    cdef const uint8_t *source = reader.source
    cdef size_t length = reader.length
    cdef size_t at = reader.at
    cdef size_t name, value, end
    cdef uint32_t attribute
    cdef uint64_t present = 0
    cdef uint8_t octet
    while at < length:
        octet = source[at]
        if octet <= 62:
            if octet == 32 or octet == 47 or is_blank(octet):
                at += 1
                continue
            if octet == 62:
                reader.at = at + 1
                reader.attributes.present = present & ~<uint64_t>1
                return True
        name = at
        at = esa_next_mark(&reader.marks.name, at + 1, length)  # a leading "=" belongs to the name
        attribute = attribute_of(source + name, at - name)
        octet = source[at]
        if octet != 61:
            at = skip_blank(source, at, length)
            octet = source[at]
        if at >= length:
            break
        value = end = at
        if octet == 61:
            octet = source[at + 1]
            at += 1
            if octet != 34 and octet != 39:
                at = skip_blank(source, at, length)
                octet = source[at]
            if at >= length:
                break
            if octet == 34 or octet == 39:
                value = at + 1
                end = quoted_end(reader, value, octet)
                if end >= length:
                    break
                at = end + 1
            else:
                value = at
                at = end = esa_next_mark(&reader.marks.value, at, length)
        attribute = 0 if present >> attribute & 1 else attribute  # the first of a name counts; 0 is for all that nobody asks for
        present |= <uint64_t>1 << attribute
        reader.attributes.value[attribute] = source + value
        reader.attributes.length[attribute] = <uint32_t>(end - value)
    reader.at = length
    reader.document.flags |= DEFECTIVE_HTML
    return False


cdef inline bint read_tag(Reader *reader, size_t *name_length, uint32_t *tag) noexcept nogil:
    """reader.at is at a tag's name: bring it behind the ">"; False if there is none."""
    cdef size_t start = reader.at
    cdef size_t at = esa_next_mark(&reader.marks.name, start, reader.length)
    while at < reader.length and reader.source[at] == 61:  # <a=b>
        at = esa_next_mark(&reader.marks.name, at + 1, reader.length)
    name_length[0] = at - start
    tag[0] = tag_of(reader.source + start, at - start)
    if at < reader.length and reader.source[at] == 62:
        reader.attributes.present = 0
        reader.at = at + 1
        return True
    reader.at = at
    return read_attributes(reader, tag[0])


# ---- tags ----

cdef int start_tag(Reader *reader) noexcept nogil:
    """reader.at is at the "<" of a start tag; -1 for no memory."""
    cdef HtmlCounts *counts = &reader.document.html
    cdef const uint8_t *name = reader.source + reader.at + 1
    cdef size_t length = 0
    cdef uint32_t tag = 0
    cdef uint32_t bits
    cdef uint64_t present
    cdef Look before
    reader.at += 1
    if not read_tag(reader, &length, &tag):
        return 0
    bits = element_flags[tag]
    present = reader.attributes.present
    counts.tags += 1
    counts.unknown_tags += tag == 0
    counts.lang_attributes += present & ((<uint64_t>1 << ATTR_LANG) | (<uint64_t>1 << ATTR_XMLLANG)) != 0
    if reader.foreign:
        bits = foreign_bits(reader, tag, bits)
    if bits & ENDS:
        close_implied(reader, tag, bits)
    reader.begun |= not bits & IN_HEAD
    before = reader.look
    if (present & (LOOK_ATTRIBUTES & ~(<uint64_t>1 << ATTR_CLASS | <uint64_t>1 << ATTR_ID)) or reader.sheet.n_rules
            or (tag == TAG_A and present)):
        if read_look(reader, tag) < 0:
            return -1
    if bits & HIDES and not bits & RAW:
        reader.look.state |= UNSHOWN_FOR_GOOD | UNSHOWN_TEMPLATE
    if (before.state != 0) != (reader.look.state != 0):  # what is hidden before and behind it does not belong together
        reader.hidden.gap = GAP_LINE
    if bits & (BLOCK | CELL):
        leave_gap(reader, GAP_LINE if bits & BLOCK else GAP_SPACE)
    if (bits & LINKS or present >> ATTR_BACKGROUND & 1) and read_links(reader, tag) < 0:
        return -1
    if bits & (RAW | VOID):
        if bits & RAW and read_raw(reader, tag, bits, name, length) < 0:
            return -1
        reader.look = before
    elif (tag == 0 or reader.foreign) and reader.source[reader.at - 2] == 47:  # <o:p/>
        reader.look = before
    else:
        reader.foreign |= bits & FOREIGN != 0
        open_element(reader, name_number(name, length, tag), bits, &before)
    return 0


cdef uint32_t foreign_bits(Reader *reader, uint32_t tag, uint32_t bits) noexcept nogil:
    """The bits of an element that may stand in svg or math, where script, style and title hold markup."""
    if not is_foreign(reader):
        reader.foreign = reader.top[TAG_SVG] >= 0 or reader.top[TAG_MATH] >= 0
    elif bits & BREAKS_OUT:
        leave_foreign(reader)
    elif bits & RAW:
        return (bits & ~<uint32_t>RAW) | HIDES
    return bits


cdef inline bint end_topmost(Reader *reader) noexcept nogil:
    """reader.at is at the "<" of an end tag: close the topmost element if it is the one that ends here without anything else; False if not."""
    cdef const Open *element
    cdef const esa_end_tag *tag
    cdef uint32_t name, bits
    if <int>reader.n_open <= reader.floor or reader.overflow:
        return False
    element = &reader.open[reader.n_open - 1]
    name = element.name
    if name >= ELEMENTS:
        return False
    tag = &element_ends[name]
    if (esa_load(reader.source + reader.at + 2) | tag.letters) & tag.octets != tag.text or reader.at + 2 + tag.length > reader.length:
        return False
    if name == TAG_A:
        end_anchor(reader)
    reader.at += 2 + tag.length
    reader.n_open -= 1
    bits = element_flags[name]
    if bits & (BLOCK | CELL):
        leave_gap(reader, GAP_LINE if bits & BLOCK else GAP_SPACE)
    reader.top[name] = element.same
    reader.scope = element.scope
    reader.look = element.before
    return True


cdef void end_tag(Reader *reader) noexcept nogil:
    """reader.at is at the "<" of an end tag."""
    cdef const uint8_t *name = reader.source + reader.at + 2
    cdef size_t length = 0
    cdef uint32_t tag = 0
    reader.at += 2
    if not read_tag(reader, &length, &tag):
        return
    end_element(reader, name_number(name, length, tag), element_flags[tag])


# ---- comments ----

cdef int read_conditional(Reader *reader, size_t start, size_t end) noexcept nogil:
    """The content of <!--[if ...]>...<![endif]-->: HTML for some clients. Its tags leave what stands around it as it is."""
    cdef const uint8_t *found = <const uint8_t *>memchr(reader.source + start, 62, end - start)
    cdef HtmlCounts counts = reader.document.html
    cdef Look look = reader.look
    cdef size_t at = reader.at
    cdef size_t length = reader.length
    cdef int32_t anchor = reader.anchor
    cdef uint32_t anchor_start = reader.anchor_start
    cdef bint anchor_hidden = reader.anchor_hidden
    cdef uint32_t overflow = reader.overflow
    cdef int floor = reader.floor
    cdef int outcome
    if found == NULL:
        return 0
    reader.in_comment = True
    reader.look.state |= UNSHOWN_FOR_GOOD
    reader.floor = <int>reader.n_open
    reader.anchor = -1
    reader.at = <size_t>(found - reader.source) + 1
    reader.length = end
    outcome = read_content(reader)
    end_anchor(reader)
    close_down_to(reader, reader.floor, False)
    reader.length = length
    reader.at = at
    reader.floor = floor
    reader.overflow = overflow
    reader.look = look
    reader.anchor, reader.anchor_start, reader.anchor_hidden = anchor, anchor_start, anchor_hidden
    reader.in_comment = False
    reader.document.html = counts
    return outcome


cdef int read_comment(Reader *reader) noexcept nogil:
    """reader.at is at "<!--"; -1 for no memory."""
    cdef size_t start = reader.at + 4
    cdef size_t end = comment_end(reader, start)
    cdef uint32_t state = reader.look.state
    cdef int outcome
    reader.document.html.comments += 1
    if end > start + 4 and reader.source[start] == 91 and equals_caseless(reader.source + start + 1, b"if", 2) and not reader.in_comment:
        reader.hidden.gap = GAP_LINE
        outcome = read_conditional(reader, start, end)
    else:
        reader.look.state |= UNSHOWN_FOR_GOOD
        reader.hidden.gap = GAP_LINE
        outcome = emit_comment(reader, start, end)
    reader.hidden.gap = GAP_LINE
    reader.look.state = state
    return outcome


cdef int read_declaration(Reader *reader) noexcept nogil:
    """reader.at is at "<!" or "<?": a comment, or something that is read as one."""
    cdef const uint8_t *source = reader.source + reader.at
    cdef size_t left = reader.length - reader.at
    cdef size_t start
    if left > 3 and source[1] == 33 and source[2] == 45 and source[3] == 45:
        return read_comment(reader)
    if left > 8 and memcmp(source + 1, b"![CDATA[", 8) == 0 and reader.foreign and is_foreign(reader):
        start = reader.at + 9
        reader.at = start
        while True:
            skip_to_greater(reader)
            if reader.at >= reader.length and reader.source[reader.length - 1] != 62:
                return emit(reader, reader.source + start, reader.length - start, False)
            if reader.at >= start + 3 and reader.source[reader.at - 2] == 93 and reader.source[reader.at - 3] == 93:
                return emit(reader, reader.source + start, reader.at - 3 - start, False)
            if reader.at >= reader.length:
                return emit(reader, reader.source + start, reader.length - start, False)
    skip_to_greater(reader)
    return 0


cdef int read_markup(Reader *reader) noexcept nogil:
    """reader.at is at "<": read one tag or comment, or the "<" as text; -1 for no memory."""
    cdef size_t at = reader.at
    cdef uint8_t next_octet = reader.source[at + 1] if at + 1 < reader.length else 0
    if is_letter(next_octet):
        return start_tag(reader)
    if next_octet == 47:
        if end_topmost(reader):
            return 0
        if at + 2 >= reader.length:
            reader.at = reader.length
            return emit(reader, reader.source + at, 2, False)
        if is_letter(reader.source[at + 2]):
            end_tag(reader)
        else:
            skip_to_greater(reader)
        return 0
    if next_octet == 33 or next_octet == 63:
        return read_declaration(reader)
    reader.at += 1
    return emit(reader, reader.source + at, 1, False)


cdef inline bint skip_blanks(Reader *reader) noexcept nogil:
    """Pass what is nothing but white space up to the next "<"; False, with nothing done, if other text stands there."""
    cdef uint32_t *gap
    cdef size_t at
    if not is_blank(reader.source[reader.at]) or reader.preformatted:
        return False
    at = reader.at + 1
    if reader.source[at] != 60:
        at = next_other(reader, at, reader.length)
        if at >= reader.length or reader.source[at] != 60:
            return False
    gap = &current(reader).gap
    if gap[0] == GAP_NONE:
        gap[0] = GAP_SPACE
    reader.at = at
    return True


cdef int read_content(Reader *reader) noexcept nogil:
    """Everything from reader.at to reader.length; -1 for no memory."""
    while reader.at < reader.length:
        if reader.source[reader.at] != 60 and not skip_blanks(reader) and read_text(reader, reader.length, True) < 0:
            return -1
        if reader.at < reader.length and read_markup(reader) < 0:
            return -1
    return 0


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
        link.base = reader.base
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


cdef void begin(Reader *reader) noexcept nogil:
    """Make the reader ready for a reading from the start; what its sheet and its table of styles hold stays."""
    reader.document.hidden.length = reader.document.targets.length = reader.document.alternatives.length = 0
    reader.at = 0
    reader.seen.gap = reader.hidden.gap = GAP_NONE
    reader.look = Look(UNSHOWN_FOR_GOOD if reader.depth else 0, SIZE_USUAL, 0, 0xFFFFFF)
    reader.link_colour = 0x0000EE
    reader.preformatted = reader.n_open = reader.overflow = 0
    reader.floor = 0
    reader.n_inner = 0
    reader.base = 0
    reader.anchor = -1
    reader.anchor_start = 0
    reader.anchor_hidden = reader.foreign = reader.in_comment = reader.begun = False
    reader.scope = -1
    memset(reader.top, 0xFF, sizeof(reader.top))


cdef int mark_source(Reader *reader) noexcept nogil:
    """Fill `marks`, and see that what stands behind the source may be read; -1 for no memory."""
    cdef Document *document = reader.document
    cdef const uint8_t *end = document.raw + document.raw_length
    if document.raw <= reader.source < end and <size_t>(end - reader.source) < reader.length + ESA_PADDING:
        document.characters.length = 0
        if reserve(&document.characters, reader.length) < 0:
            return -1
        memcpy(document.characters.data, reader.source, reader.length)
        reader.source = document.characters.data
    if reserve(&document.marks, (reader.length // 64 + 1) * sizeof(esa_marks)) < 0:
        return -1
    reader.marks = <const esa_marks *>document.marks.data
    esa_mark(WIDE, reader.source, reader.length, <esa_marks *>document.marks.data)
    return 0


cdef int read_html(Document *document, uint32_t part, const uint8_t *source, size_t length) noexcept nogil:
    """Read one HTML part, given as UTF-8: regions, links and counts of `document`. `source` is not in its text arena. -1 for no memory."""
    return read_page(document, part, source, length, 0)


cdef int read_inner_pages(Reader *reader) noexcept nogil:
    """What attributes of the page hold counts as written, with its links; -1 for no memory."""
    cdef HtmlCounts counts = reader.document.html
    cdef Buffer page = Buffer(NULL, 0, 0)
    cdef uint32_t index
    cdef int outcome = 0
    for index in range(reader.n_inner if reader.depth < INNER_DEPTH else 0):
        if not may_read_again(reader.document, reader.inner[index].length):
            break
        outcome = decode_inner_page(reader.inner[index].value, reader.inner[index].length, reader.inner[index].is_url, &page)
        if outcome == 0:
            outcome = read_page(reader.document, reader.part, page.data, page.length, reader.depth + 1)
        if outcome < 0:
            break
    free(page.data)
    counts.hidden_bytes = reader.document.html.hidden_bytes
    reader.document.html = counts
    return outcome


cdef int read_page(Document *document, uint32_t part, const uint8_t *source, size_t length, int depth) noexcept nogil:
    """Read a page, or one in an attribute of another one (`depth` over 0). -1 for no memory."""
    cdef Reader reader
    cdef Buffer arena = Buffer(document.text, document.n_text, document.cap_text)
    cdef HtmlCounts counts
    cdef uint32_t first_link = document.n_links
    cdef uint32_t start = document.n_text
    cdef uint32_t seen, hidden, alternatives, targets
    cdef int outcome
    cdef int index
    document.html.parts += depth == 0
    counts = document.html
    reader.depth = depth
    reader.document = document
    reader.part = part
    reader.source = source
    reader.length = length
    reader.seen = Stream(&arena, start, GAP_NONE)
    reader.hidden = Stream(&document.hidden, 0, GAP_NONE)
    reader.sheet.memory = &document.rules
    reader.sheet.n_rules = reader.sheet.n_selectors = 0
    reader.sheet.full = reader.sheets_read = reader.read_again = False
    for index in range(REMEMBERED):
        reader.remembered[index].text = NULL
    begin(&reader)
    outcome = mark_source(&reader)
    if outcome == 0:
        outcome = read_content(&reader)
    if outcome == 0 and reader.read_again:
        reader.sheets_read = True
        arena.length = start
        document.html = counts
        document.n_links = first_link
        begin(&reader)
        outcome = read_content(&reader)
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
    if depth == 0 and find_text_links(document, part, first_link, start, seen) < 0:
        return -1
    document.html.seen_bytes += seen
    document.html.hidden_bytes += document.hidden.length
    if depth == 0:
        document.parts[part].text = Span(start, seen)
    if add_region(document, part, REGION_HTML_SEEN, start, seen) < 0:
        return -1
    if add_region(document, part, REGION_HTML_HIDDEN, hidden, document.hidden.length) < 0:
        return -1
    if add_region(document, part, REGION_ALT, alternatives, document.alternatives.length) < 0:
        return -1
    return read_inner_pages(&reader) if reader.n_inner else 0


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


def marks_of(bytes source not None, *, int kernel):
    """The marks of `source` as uint64 numbers, by kernel: -1 the plain one, 0 SSE2, 1 AVX2, 2 AVX-512 (the one before where the processor has none)."""
    cdef bytearray marks = bytearray((len(source) // 64 + 1) * sizeof(esa_marks))
    cdef uint8_t[::1] view = marks
    esa_mark(min(kernel, max(WIDE, 0)), <const uint8_t *>source, len(source), <esa_marks *>&view[0])
    return memoryview(marks).cast("Q").tolist()
