"""HTML → text as seen, text that is written but not shown, links with the text shown for them, counts.

A tokenizer after the HTML Living Standard 13.2.5 and a stack of open elements that knows scopes, implied ends and visibility, not a tree.
One pass, never back: what is not ended (comment, quote, script) reaches to the end, as in a browser. An end tag finds its element by a
table, so that its cost does not depend on the depth. Past ESA_MAX_HTML_DEPTH elements inherit the deepest known state: DEFECTIVE_HTML.
Inside the text, white space is one space, a block begins a line, a table cell is set off by a space.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from esa_core._buffer cimport equals_caseless, grow, lower, reserve
from esa_core._charset cimport CHARSET_ABSENT, find_charset
from esa_core._entity cimport decode_reference, decode_value, element_bits, find_attribute, find_element
from esa_core._mime cimport reserve_scratch
from esa_core._style cimport UNSHOWN_FOR_GOOD, read_style
from esa_core._types cimport *

cdef extern from "html_tables.h" nogil:
    const uint32_t ELEMENTS
    const uint32_t TAG_A, TAG_AREA, TAG_AUDIO, TAG_BASE, TAG_BODY, TAG_BUTTON, TAG_DD, TAG_DT, TAG_EMBED, TAG_FORM, TAG_FRAME, TAG_IFRAME
    const uint32_t TAG_IMAGE, TAG_IMG, TAG_INPUT, TAG_LI, TAG_LINK, TAG_LISTING, TAG_META, TAG_OBJECT, TAG_OL, TAG_OPTION, TAG_P, TAG_PRE
    const uint32_t TAG_SCRIPT, TAG_SOURCE, TAG_STYLE, TAG_TABLE, TAG_TBODY, TAG_TD, TAG_TEXTAREA, TAG_TFOOT, TAG_TH, TAG_THEAD, TAG_TITLE
    const uint32_t TAG_TR, TAG_UL, TAG_VIDEO, TAG_XMP, TAG_PLAINTEXT, TAG_NOFRAMES, TAG_SELECT
    const uint32_t ATTR_HREF, ATTR_SRC, ATTR_STYLE, ATTR_HIDDEN, ATTR_ALT, ATTR_WIDTH, ATTR_HEIGHT, ATTR_ACTION, ATTR_BACKGROUND, ATTR_LANG
    const uint32_t ATTR_TYPE, ATTR_CONTENT, ATTR_HTTPEQUIV, ATTR_FORMACTION, ATTR_DATA, ATTR_POSTER, ATTR_VALUE, ATTR_XMLLANG

cdef extern from *:
    """
    /* 0 ordinary, 1 white space, 2 ampersand, 3 NUL (dropped, as browsers do) */
    static const unsigned char text_class[256] = {[0] = 3, ['\\t'] = 1, ['\\n'] = 1, ['\\f'] = 1, ['\\r'] = 1, [' '] = 1, ['&'] = 2};
    """
    const uint8_t *text_class

cdef enum:                       # element bits, as generate.py writes them
    VOID = 1
    BLOCK = 2
    CELL = 4
    RAW = 8
    HIDES = 16
    SCOPE = 32
    FORMATTING = 64
    CLOSES_P = 128

cdef enum:                       # what stands between the last text of a stream and the next
    GAP_NONE = 0
    GAP_SPACE = 1
    GAP_LINE = 2

cdef enum:
    BUCKETS = 64                 # unknown elements share this many names
    NAMES = 320                  # more than known elements and buckets
    ATTRIBUTES = 64              # more than known attributes
    HTML_DEPTH = 512             # ESA_MAX_HTML_DEPTH

cdef struct Open:                # an open element
    uint16_t name
    uint16_t before              # UNSHOWN_* bits outside it
    int16_t same                 # the next lower open element of this name, -1 if none
    int16_t scope                # the next lower scope

cdef struct Stream:
    Buffer *buffer
    uint32_t start               # where this part's text begins in it
    uint32_t gap

cdef struct Attributes:
    uint64_t present             # bit ATTR_*
    const uint8_t *value[64]
    uint32_t length[64]

cdef struct Reader:
    Document *document
    uint32_t part
    const uint8_t *source
    size_t length
    size_t at
    Stream seen
    Stream hidden
    uint32_t state               # UNSHOWN_* bits at `at`
    uint32_t preformatted        # open <pre>
    int32_t anchor               # the link whose text is being shown, -1 if none
    uint32_t anchor_start
    bint anchor_hidden
    uint32_t n_open
    uint32_t overflow            # elements opened past HTML_DEPTH
    int16_t scope
    int16_t top[320]             # per name: the topmost open element, -1 if none
    Open open[512]
    Attributes attributes


# ---- records ----

cdef int add_region(Document *document, uint32_t part, uint32_t kind, uint32_t start, uint32_t length) noexcept nogil:
    """Append a region of the text arena; an empty one is left out. -1 for no memory."""
    if length == 0:
        return 0
    if grow(<void **>&document.regions, &document.cap_regions, document.n_regions + 1, sizeof(Region)) < 0:
        return -1
    document.regions[document.n_regions] = Region(Span(start, length), Span(0, 0), part, kind)
    document.n_regions += 1
    return 0


cdef int add_link(Document *document, uint32_t part, uint32_t kind, bint hidden) noexcept nogil:
    """Append an empty link; gives its index, -1 for no memory, -2 if there are too many."""
    cdef Link *link
    if document.n_links >= ESA_MAX_LINKS:
        document.flags |= TOO_MANY_LINKS
        return -2
    if grow(<void **>&document.links, &document.cap_links, document.n_links + 1, sizeof(Link)) < 0:
        return -1
    link = &document.links[document.n_links]
    memset(link, 0, sizeof(Link))
    link.part = part
    link.kind = <uint16_t>kind
    link.hidden = hidden
    document.n_links += 1
    return <int>document.n_links - 1


# ---- text ----

cdef inline bint is_blank(uint8_t octet) noexcept nogil:
    return text_class[octet] == 1


cdef inline Stream *current(Reader *reader) noexcept nogil:
    return &reader.hidden if reader.state else &reader.seen


cdef inline void leave_gap(Reader *reader, uint32_t gap) noexcept nogil:
    """In the stream of the current text; a box that is only invisible still takes its place among what is seen."""
    if reader.state and gap > reader.hidden.gap:
        reader.hidden.gap = gap
    if not reader.state & UNSHOWN_FOR_GOOD and gap > reader.seen.gap:
        reader.seen.gap = gap


cdef inline void fill_gap(Stream *stream) noexcept nogil:
    """Write the gap before the next text; there is room for one octet."""
    cdef Buffer *buffer = stream.buffer
    if stream.gap != GAP_NONE:
        if buffer.length > stream.start:
            if stream.gap == GAP_LINE:
                buffer.data[buffer.length] = 10
                buffer.length += 1
            elif buffer.data[buffer.length - 1] != 10:
                buffer.data[buffer.length] = 32
                buffer.length += 1
        stream.gap = GAP_NONE


cdef int emit(Reader *reader, const uint8_t *source, size_t length, bint references) noexcept nogil:
    """Append a run of text to the stream it belongs to; -1 for no memory."""
    cdef Stream *stream = current(reader)
    cdef Buffer *buffer = stream.buffer
    cdef uint8_t *put
    cdef uint8_t text[8]
    cdef uint8_t octet
    cdef size_t at = 0
    cdef size_t used
    cdef uint32_t written = 0
    cdef bint odd = False
    if length == 0:
        return 0
    if buffer.length > ESA_MAX_TEXT:
        reader.document.flags |= TEXT_TRUNCATED
        return 0
    # the longest text of a reference is 6 octets for 5 (&nGt;)
    if reserve(buffer, length + length // 4 + 16) < 0:
        return -1
    while at < length:
        octet = source[at]
        if text_class[octet] == 0:
            fill_gap(stream)
            put = buffer.data + buffer.length
            while True:
                put[0] = octet
                put += 1
                at += 1
                if at >= length:
                    break
                octet = source[at]
                if text_class[octet] and not (octet == 32 and at + 1 < length and text_class[source[at + 1]] == 0):
                    break
            buffer.length = <uint32_t>(put - buffer.data)
            continue
        if octet == 38 and references:
            used = decode_reference(source + at, length - at, False, text, &written, &odd)
            if used:
                reader.document.html.entities_odd += odd
                at += used
                if written == 1 and is_blank(text[0]):
                    stream.gap = max(stream.gap, <uint32_t>GAP_SPACE)
                    continue
                fill_gap(stream)
                memcpy(buffer.data + buffer.length, text, written)
                buffer.length += written
                continue
        if octet == 38:
            fill_gap(stream)
            buffer.data[buffer.length] = 38
            buffer.length += 1
        elif text_class[octet] == 1:
            if reader.preformatted and octet != 13:
                fill_gap(stream)
                buffer.data[buffer.length] = octet
                buffer.length += 1
            else:
                stream.gap = max(stream.gap, <uint32_t>GAP_SPACE)
        at += 1
    return 0


# ---- links ----

cdef int put_target(Reader *reader, int index, const uint8_t *value, size_t length) noexcept nogil:
    """Write a link's URL to the targets buffer: references decoded, blanks at the ends and tabs and line breaks inside left out."""
    cdef Buffer *targets = &reader.document.targets
    cdef Link *link = &reader.document.links[index]
    cdef size_t decoded, at, put
    cdef uint8_t *url
    while length and value[0] <= 32:
        value += 1
        length -= 1
    if reserve(targets, ESA_MAX_TARGET) < 0:
        return -1
    url = targets.data + targets.length
    decoded = decode_value(value, length, url, ESA_MAX_TARGET, &reader.document.html.entities_odd)
    put = 0
    for at in range(decoded):
        if url[at] == 9 or url[at] == 10 or url[at] == 13 or (put == 0 and url[at] <= 32):
            continue
        url[put] = url[at]
        put += 1
    while put and url[put - 1] <= 32:
        put -= 1
    link.url = Span(targets.length, <uint32_t>put)
    targets.length += <uint32_t>put
    if put >= 5 and equals_caseless(url, b"data:", 5):
        reader.document.html.data_urls += 1
    return 0


cdef int link_attribute(Reader *reader, uint32_t attribute, uint32_t kind) noexcept nogil:
    """Make a link of an attribute if it is there; its index, -1 for no memory, -2 if there is none."""
    cdef int index
    if not reader.attributes.present & (<uint64_t>1 << attribute):
        return -2
    index = add_link(reader.document, reader.part, kind, reader.state != 0)
    if index >= 0 and put_target(reader, index, reader.attributes.value[attribute], reader.attributes.length[attribute]) < 0:
        return -1
    return index


cdef void end_anchor(Reader *reader) noexcept nogil:
    """The text shown for the open anchor ends here."""
    cdef Buffer *buffer = reader.hidden.buffer if reader.anchor_hidden else reader.seen.buffer
    cdef uint32_t start = reader.anchor_start
    if reader.anchor < 0:
        return
    while start < buffer.length and (buffer.data[start] == 32 or buffer.data[start] == 10):
        start += 1
    reader.document.links[reader.anchor].shown = Span(start, buffer.length - start)
    reader.anchor = -1


cdef int begin_anchor(Reader *reader) noexcept nogil:
    cdef int index
    end_anchor(reader)
    index = link_attribute(reader, ATTR_HREF, LINK_ANCHOR)
    if reader.attributes.present & (<uint64_t>1 << ATTR_HREF):
        reader.document.html.anchors += 1
    if index >= 0:
        reader.anchor = index
        reader.anchor_hidden = reader.state != 0
        reader.anchor_start = current(reader).buffer.length
    return -1 if index == -1 else 0


cdef bint is_tiny(Reader *reader, uint32_t attribute) noexcept nogil:
    """A width or height of 0 or 1."""
    cdef const uint8_t *value = reader.attributes.value[attribute]
    cdef uint32_t length = reader.attributes.length[attribute]
    if not reader.attributes.present & (<uint64_t>1 << attribute) or length == 0:
        return False
    return 48 <= value[0] <= 49 and (length == 1 or not (48 <= value[1] <= 57 or value[1] == 46 or value[1] == 37))


cdef int read_image(Reader *reader) noexcept nogil:
    cdef Buffer *texts = &reader.document.alternatives
    cdef int index
    cdef uint32_t length
    reader.document.html.images += 1
    if is_tiny(reader, ATTR_WIDTH) or is_tiny(reader, ATTR_HEIGHT):
        reader.document.html.tiny_images += 1
    index = link_attribute(reader, ATTR_SRC, LINK_IMAGE)
    if index == -1:
        return -1
    if reader.attributes.present & (<uint64_t>1 << ATTR_ALT) and reader.attributes.length[ATTR_ALT]:
        length = reader.attributes.length[ATTR_ALT]
        if texts.length > ESA_MAX_TEXT:
            reader.document.flags |= TEXT_TRUNCATED
            return 0
        if reserve(texts, <size_t>length + length // 4 + 16) < 0:
            return -1
        if texts.length:
            texts.data[texts.length] = 10
            texts.length += 1
        length = <uint32_t>decode_value(reader.attributes.value[ATTR_ALT], length, texts.data + texts.length, length + length // 4 + 8,
                                        &reader.document.html.entities_odd)
        if index >= 0:
            reader.document.links[index].shown = Span(texts.length, length)
        texts.length += length
    return 0


cdef int read_refresh(Reader *reader) noexcept nogil:
    """<meta http-equiv=refresh content="0; url=...">"""
    cdef const uint8_t *value = reader.attributes.value[ATTR_CONTENT]
    cdef size_t length = reader.attributes.length[ATTR_CONTENT]
    cdef size_t at = 0
    cdef int index
    if not reader.attributes.present & (<uint64_t>1 << ATTR_HTTPEQUIV) or not reader.attributes.present & (<uint64_t>1 << ATTR_CONTENT):
        return 0
    if reader.attributes.length[ATTR_HTTPEQUIV] != 7 or not equals_caseless(reader.attributes.value[ATTR_HTTPEQUIV], b"refresh", 7):
        return 0
    while at + 4 <= length and not equals_caseless(value + at, b"url=", 4):
        at += 1
    if at + 4 > length:
        return 0
    at += 4
    while at < length and (is_blank(value[at]) or value[at] == 34 or value[at] == 39):
        at += 1
    while length > at and (is_blank(value[length - 1]) or value[length - 1] == 34 or value[length - 1] == 39):
        length -= 1
    index = add_link(reader.document, reader.part, LINK_OTHER, False)
    if index >= 0:
        return put_target(reader, index, value + at, length - at)
    return index if index == -1 else 0


cdef int read_button(Reader *reader) noexcept nogil:
    """The label of <input type=submit>, which a reader sees."""
    cdef const uint8_t *kind = reader.attributes.value[ATTR_TYPE]
    cdef uint32_t length = reader.attributes.length[ATTR_TYPE]
    if not reader.attributes.present & (<uint64_t>1 << ATTR_TYPE) or not reader.attributes.present & (<uint64_t>1 << ATTR_VALUE):
        return 0
    if length == 6 and (equals_caseless(kind, b"submit", 6) or equals_caseless(kind, b"button", 6)):
        leave_gap(reader, GAP_SPACE)
        if emit(reader, reader.attributes.value[ATTR_VALUE], reader.attributes.length[ATTR_VALUE], True) < 0:
            return -1
        leave_gap(reader, GAP_SPACE)
    return 0


cdef int read_links(Reader *reader, uint32_t tag) noexcept nogil:
    """Links and counts of one start tag, its own visibility already in reader.state; -1 for no memory."""
    cdef HtmlCounts *counts = &reader.document.html
    cdef int outcome = 0
    if tag == TAG_A:
        return begin_anchor(reader)
    if tag == TAG_IMG or tag == TAG_IMAGE:
        outcome = read_image(reader)
    elif tag == TAG_AREA:
        outcome = link_attribute(reader, ATTR_HREF, LINK_ANCHOR)
    elif tag == TAG_FORM:
        counts.forms += 1
        outcome = link_attribute(reader, ATTR_ACTION, LINK_FORM)
    elif tag == TAG_INPUT or tag == TAG_BUTTON or tag == TAG_SELECT or tag == TAG_TEXTAREA:
        counts.inputs += 1
        outcome = link_attribute(reader, ATTR_FORMACTION, LINK_FORM)
        if outcome != -1 and tag == TAG_INPUT:
            outcome = link_attribute(reader, ATTR_SRC, LINK_IMAGE)
            if outcome != -1:
                outcome = read_button(reader)
    elif tag == TAG_TABLE:
        counts.tables += 1
    elif tag == TAG_SCRIPT:
        counts.scripts += 1
    elif tag == TAG_STYLE:
        counts.styles += 1
    elif tag == TAG_META:
        outcome = read_refresh(reader)
    elif tag == TAG_LINK or tag == TAG_BASE:
        outcome = link_attribute(reader, ATTR_HREF, LINK_OTHER)
    elif tag == TAG_OBJECT:
        outcome = link_attribute(reader, ATTR_DATA, LINK_OTHER)
    elif tag == 0:
        outcome = link_attribute(reader, ATTR_HREF, LINK_OTHER)
        if outcome != -1:
            outcome = link_attribute(reader, ATTR_SRC, LINK_IMAGE)  # <v:fill>, <v:imagedata>
    if outcome != -1 and (tag == TAG_SCRIPT or tag == TAG_IFRAME or tag == TAG_FRAME or tag == TAG_EMBED or tag == TAG_VIDEO
                          or tag == TAG_AUDIO or tag == TAG_SOURCE):
        outcome = link_attribute(reader, ATTR_SRC, LINK_OTHER)
        if outcome != -1 and tag == TAG_VIDEO:
            outcome = link_attribute(reader, ATTR_POSTER, LINK_IMAGE)
    if outcome != -1:
        outcome = link_attribute(reader, ATTR_BACKGROUND, LINK_IMAGE)
    return -1 if outcome == -1 else 0


# ---- open elements ----

cdef void open_element(Reader *reader, uint32_t name, uint32_t bits, uint32_t before) noexcept nogil:
    cdef Open *element
    if reader.n_open >= HTML_DEPTH:
        reader.overflow += 1
        reader.state = before
        reader.document.flags |= DEFECTIVE_HTML
        return
    element = &reader.open[reader.n_open]
    element.name = <uint16_t>name
    element.before = <uint16_t>before
    element.same = reader.top[name]
    element.scope = reader.scope
    reader.top[name] = <int16_t>reader.n_open
    if bits & SCOPE:
        reader.scope = <int16_t>reader.n_open
    if name == TAG_PRE or name == TAG_LISTING:
        reader.preformatted += 1
    reader.n_open += 1


cdef void close_down_to(Reader *reader, int index) noexcept nogil:
    """Close every element from the topmost down to this one, leaving a gap as each of them does."""
    cdef Open *element
    cdef uint32_t bits
    while <int>reader.n_open > index:
        reader.n_open -= 1
        element = &reader.open[reader.n_open]
        bits = element_bits(element.name) if element.name < ELEMENTS else 0
        if bits & (BLOCK | CELL):
            leave_gap(reader, GAP_LINE if bits & BLOCK else GAP_SPACE)
        reader.top[element.name] = element.same
        reader.scope = element.scope
        reader.state = element.before
        if (element.name == TAG_PRE or element.name == TAG_LISTING) and reader.preformatted:
            reader.preformatted -= 1
    reader.overflow = 0


cdef inline void close_within(Reader *reader, uint32_t name, int scope) noexcept nogil:
    """Close the topmost element of this name if it stands above `scope`."""
    if reader.top[name] > scope:
        close_down_to(reader, reader.top[name])


cdef void close_implied(Reader *reader, uint32_t tag, uint32_t bits) noexcept nogil:
    """What the start of `tag` ends without an end tag (13.2.6.4.7 ff.)."""
    cdef int table = reader.top[TAG_TABLE]
    if bits & CLOSES_P or tag == TAG_P:
        close_within(reader, TAG_P, reader.scope)
    if tag == TAG_LI:
        close_within(reader, TAG_LI, max(<int>reader.scope, max(<int>reader.top[TAG_UL], <int>reader.top[TAG_OL])))
    elif tag == TAG_DD or tag == TAG_DT:
        close_within(reader, TAG_DD, reader.scope)
        close_within(reader, TAG_DT, reader.scope)
    elif tag == TAG_OPTION:
        close_within(reader, TAG_OPTION, reader.scope)
    elif tag == TAG_TD or tag == TAG_TH:
        close_within(reader, TAG_TD, table)
        close_within(reader, TAG_TH, table)
    elif tag == TAG_TR:
        close_within(reader, TAG_TR, table)
    elif tag == TAG_TBODY or tag == TAG_THEAD or tag == TAG_TFOOT:
        close_within(reader, TAG_TR, table)
        close_within(reader, TAG_TBODY, table)
        close_within(reader, TAG_THEAD, table)
        close_within(reader, TAG_TFOOT, table)


cdef void end_element(Reader *reader, uint32_t name, uint32_t bits) noexcept nogil:
    cdef int scope = reader.scope
    if name == TAG_A:
        end_anchor(reader)
    if reader.overflow:
        reader.overflow -= 1
        return
    if name == TAG_TABLE:
        scope = -1
    elif name == TAG_TD or name == TAG_TH or name == TAG_TR or name == TAG_TBODY or name == TAG_THEAD or name == TAG_TFOOT:
        scope = reader.top[TAG_TABLE]
    elif bits & SCOPE:
        scope = -1
    if reader.top[name] > scope:
        close_down_to(reader, reader.top[name])
    elif bits & BLOCK:
        leave_gap(reader, GAP_LINE)


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
