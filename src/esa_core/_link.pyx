"""Links of HTML with the text shown for them, images, forms, and the counts of what stands in a page."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from esa_core._buffer cimport equals_caseless, grow, reserve, whole_characters
from esa_core._entity cimport decode_value
from esa_core._inner cimport is_inner_page
from esa_core._reader cimport *
from esa_core._types cimport *


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


cdef bint has_blank(const uint8_t *text, size_t length) noexcept nogil:
    """White space or a control character; without a branch, so that the compiler makes wide instructions of it."""
    cdef uint8_t found = 0
    cdef size_t at
    for at in range(length):
        found |= text[at] <= 32
    return found


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
    at = <size_t>(value - reader.source)
    if 0 < length < ESA_MAX_TARGET and esa_next_mark(&reader.marks.text, at, at + length) == at + length and value[length - 1] > 32:
        esa_copy_over(url, value, length)  # nothing in it to decode or leave out
        link.url = Span(targets.length, <uint32_t>length)
        targets.length += <uint32_t>length
        if url[0] | 32 == 100:
            note_data_url(reader, url, length, value, length)
        return 0
    decoded = decode_value(value, length, url, ESA_MAX_TARGET, &reader.document.html.entities_odd)
    if decoded + 4 > ESA_MAX_TARGET:
        decoded = whole_characters(url, decoded)
    put = 0
    if not has_blank(url, decoded):
        put = decoded
        decoded = 0
    for at in range(decoded):
        if url[at] == 9 or url[at] == 10 or url[at] == 13 or (put == 0 and url[at] <= 32):
            continue
        url[put] = url[at]
        put += 1
    while put and url[put - 1] <= 32:
        put -= 1
    link.url = Span(targets.length, <uint32_t>put)
    targets.length += <uint32_t>put
    note_data_url(reader, url, put, value, length)
    return 0


cdef void note_inner(Reader *reader, const uint8_t *value, size_t length, bint is_url) noexcept nogil:
    """Keep in mind a page that an attribute holds."""
    if reader.n_inner < MOST_INNER and length:
        reader.inner[reader.n_inner] = Inner(value, <uint32_t>length, is_url)
        reader.n_inner += 1


cdef void note_data_url(Reader *reader, const uint8_t *url, size_t put, const uint8_t *value, size_t length) noexcept nogil:
    if put >= 5 and equals_caseless(url, b"data:", 5):
        reader.document.html.data_urls += 1
        if is_inner_page(url, put):
            note_inner(reader, value, length, True)


cdef int link_attribute(Reader *reader, uint32_t attribute, uint32_t kind) noexcept nogil:
    """Make a link of an attribute if it is there; its index, -1 for no memory, -2 if there is none."""
    cdef int index
    if not reader.attributes.present & (<uint64_t>1 << attribute):
        return -2
    index = add_link(reader.document, reader.part, kind, reader.look.state != 0)
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
        reader.anchor_hidden = reader.look.state != 0
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
        if tag == TAG_BASE and outcome >= 0 and reader.base == 0 and not reader.in_comment:
            reader.base = <uint32_t>outcome + 1
    elif tag == TAG_OBJECT:
        outcome = link_attribute(reader, ATTR_DATA, LINK_OTHER)
    elif tag == 0:
        outcome = link_attribute(reader, ATTR_HREF, LINK_OTHER)
        if outcome != -1:
            outcome = link_attribute(reader, ATTR_SRC, LINK_IMAGE)  # <v:fill>, <v:imagedata>
    if outcome != -1 and (tag == TAG_SCRIPT or tag == TAG_IFRAME or tag == TAG_FRAME or tag == TAG_EMBED or tag == TAG_VIDEO
                          or tag == TAG_AUDIO or tag == TAG_SOURCE):
        outcome = link_attribute(reader, ATTR_SRC, LINK_OTHER)
        if tag == TAG_IFRAME and reader.attributes.present >> ATTR_SRCDOC & 1:
            note_inner(reader, reader.attributes.value[ATTR_SRCDOC], reader.attributes.length[ATTR_SRCDOC], False)
        if outcome != -1 and tag == TAG_VIDEO:
            outcome = link_attribute(reader, ATTR_POSTER, LINK_IMAGE)
    if outcome != -1 and reader.attributes.present >> ATTR_BACKGROUND & 1:
        outcome = link_attribute(reader, ATTR_BACKGROUND, LINK_IMAGE)
    return -1 if outcome == -1 else 0
