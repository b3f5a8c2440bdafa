"""URLs in text that nobody made links, as clients make links of them: what begins with a scheme or with "www.".

A link's URL is a span of the text itself. It ends at white space, a quote, an angle bracket or East Asian punctuation; what closes a sentence is left out.
Cost is linear in the text. The door gives 0, or -1 for no memory.
"""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._buffer cimport equals_caseless, whole_characters
from esa_core._link cimport add_link
from esa_core._types cimport ESA_MAX_TARGET, LINK_ANCHOR, LINK_TEXT, TOO_MANY_LINKS, Document, Link, Span

cdef extern from "url_signs.h" nogil:
    const uint8_t *esa_url_ends
    size_t esa_next_url_sign_plain(const uint8_t *text, size_t at, size_t end)
    size_t esa_next_url_sign_wide(const uint8_t *text, size_t at, size_t end)
    int esa_url_signs_are_wide()

cdef bint WIDE = esa_url_signs_are_wide()


cdef inline size_t next_sign(const uint8_t *text, size_t at, size_t end) noexcept nogil:
    return esa_next_url_sign_wide(text, at, end) if WIDE else esa_next_url_sign_plain(text, at, end)


cdef inline bint parts_words(const uint8_t *text, size_t left) noexcept nogil:
    """Is a character over 127 white space (of "&nbsp;" HTML makes one), or East Asian punctuation other than a full stop, which browsers read as a
    dot? No URL goes on behind it."""
    cdef uint8_t last
    if left < 3 or text[0] not in (0xE2, 0xE3, 0xEF):
        return left > 1 and text[0] == 0xC2 and text[1] == 0xA0
    last = text[2]
    if text[0] == 0xE2:
        return (text[1] == 0x80 and (last <= 0x8A or last in (0xA8, 0xA9, 0xAF))) or (text[1] == 0x81 and last == 0x9F)
    if text[0] == 0xE3:
        return text[1] == 0x80 and last <= 0x91 and last != 0x82
    return text[1] == 0xBC and (0x81 <= last <= 0x8F or 0x9A <= last <= 0xA0) and last != 0x8E


cdef size_t url_end(const uint8_t *text, size_t at, size_t end) noexcept nogil:
    cdef uint8_t kind
    while at < end:
        kind = esa_url_ends[text[at]]
        if kind and (kind == 1 or parts_words(text + at, end - at)):
            break
        at += 1
    return at


cdef size_t without_punctuation(const uint8_t *text, size_t start, size_t end) noexcept nogil:
    """What closes the sentence a client leaves outside a link it makes of text."""
    while end > start:
        if text[end - 1] in (46, 44, 59, 58, 33, 63, 39, 41, 93):
            end -= 1
        elif end >= start + 3 and text[end - 3] == 0xE3 and text[end - 2] == 0x80 and text[end - 1] == 0x82:
            end -= 3
        else:
            break
    return end


cdef size_t scheme_start(const uint8_t *text, size_t colon, size_t floor) noexcept nogil:
    """Where the scheme before "://" begins, `colon` if there is none of http, https, ftp (or hxxp, as defanged)."""
    if colon >= floor + 5 and (equals_caseless(text + colon - 5, b"https", 5) or equals_caseless(text + colon - 5, b"hxxps", 5)):
        return colon - 5
    if colon >= floor + 4 and (equals_caseless(text + colon - 4, b"http", 4) or equals_caseless(text + colon - 4, b"hxxp", 4)):
        return colon - 4
    if colon >= floor + 3 and equals_caseless(text + colon - 3, b"ftp", 3):
        return colon - 3
    return colon


cdef size_t www_start(const uint8_t *text, size_t at, size_t floor) noexcept nogil:
    """Where the "www" that ends at text[at] begins, `at` if that is inside a word of ASCII, or follows "//"."""
    cdef uint8_t before
    if at < floor + 2 or not equals_caseless(text + at - 2, b"www", 3):
        return at
    before = text[at - 3] if at > floor + 2 else 32
    if 97 <= (before | 32) <= 122 or 48 <= before <= 57 or before == 47 or before == 46 or before == 64:
        return at
    return at - 2


cdef int add_text_link(Document *document, uint32_t part, size_t start, size_t end) noexcept nogil:
    cdef int index
    end = without_punctuation(document.text, start, end)
    index = add_link(document, part, LINK_TEXT, False)
    if index >= 0:
        if end - start > ESA_MAX_TARGET:
            end = start + whole_characters(document.text + start, ESA_MAX_TARGET)
        document.links[index].url = Span(<uint32_t>start, <uint32_t>(end - start))
    return -1 if index == -1 else 0


cdef inline bint is_shown(const Link *link) noexcept nogil:
    return link.kind == LINK_ANCHOR and not link.hidden and link.shown.length != 0


cdef int find_text_links(Document *document, uint32_t part, uint32_t first, uint32_t start, uint32_t length) noexcept nogil:
    """Links of a stretch of the text arena, but for what a page shows for its anchors: the links from `first` on, in the order of the text."""
    cdef const uint8_t *text = document.text
    cdef uint32_t n_links = document.n_links
    cdef size_t end = <size_t>start + length
    cdef size_t floor = start    # behind the last link
    cdef size_t at = next_sign(text, start, end)
    cdef size_t begin, host, stop
    cdef const Link *link
    while at < end:
        stop = end
        while first < n_links:
            link = &document.links[first]
            if is_shown(link):
                if link.shown.start > at:
                    stop = link.shown.start
                    break
                floor = max(floor, <size_t>link.shown.start + link.shown.length)
            first += 1
        if at < floor:
            at = next_sign(text, floor, end)
            continue
        host = at + 2
        if host > stop:
            begin = at
        elif text[at] == 58:
            begin = scheme_start(text, at, floor) if host < stop and text[host] == 47 else at
            host += 1
        else:
            begin = www_start(text, at, floor)
        if begin < at:
            at = floor = url_end(text, host, stop)
            if at > host and add_text_link(document, part, begin, at) < 0:
                return -1
            if document.flags & TOO_MANY_LINKS:  # said by add_link at the first that found no room
                return 0
        else:
            at += 1
        at = next_sign(text, at, end)
    return 0


def url_signs(bytes text not None, *, bint wide):
    """Every place that one of the two kernels finds (the plain one where the processor has no AVX2)."""
    cdef const uint8_t *octets = text
    cdef size_t end = len(text)
    cdef size_t at = 0
    cdef list found = []
    while at < end:
        at = esa_next_url_sign_wide(octets, at, end) if wide and WIDE else esa_next_url_sign_plain(octets, at, end)
        if at < end:
            found.append(at)
        at += 1
    return found
