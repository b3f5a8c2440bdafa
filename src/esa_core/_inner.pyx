"""Pages inside a page: what a `data:` URL or a `srcdoc` attribute holds, as HTML in UTF-8 (RFC 2397, Fetch Standard 6).

Nobody sees them in the page itself; who follows the link, or a client that opens frames, does.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr

from esa_core._buffer cimport equals_caseless, reserve
from esa_core._charset cimport CHARSET_UTF8, convert
from esa_core._entity cimport decode_value
from esa_core._transfer cimport decode_base64
from esa_core._types cimport Buffer


cdef bint is_inner_page(const uint8_t *url, size_t length) noexcept nogil:
    """A data: URL of a type that is shown as a page."""
    return (length > 14 and equals_caseless(url, b"data:text/html", 14)) or (
        length > 21 and equals_caseless(url, b"data:application/xhtml", 22)) or (length > 18 and equals_caseless(url, b"data:image/svg+xml", 18))


cdef int digit_of(uint8_t octet) noexcept nogil:
    if 48 <= octet <= 57:
        return octet - 48
    octet |= 32
    return octet - 87 if 97 <= octet <= 102 else -1


cdef size_t percent_decode(uint8_t *text, size_t length) noexcept nogil:
    """In place; gives the new length."""
    cdef size_t at = 0
    cdef size_t put = 0
    while at < length:
        if text[at] == 37 and at + 2 < length and digit_of(text[at + 1]) >= 0 and digit_of(text[at + 2]) >= 0:
            text[put] = <uint8_t>(digit_of(text[at + 1]) << 4 | digit_of(text[at + 2]))
            at += 3
        else:
            text[put] = text[at]
            at += 1
        put += 1
    return put


cdef bint is_base64(const uint8_t *kind, size_t length) noexcept nogil:
    while length and kind[length - 1] == 32:
        length -= 1
    return length >= 7 and equals_caseless(kind + length - 6, b"base64", 6)


cdef int decode_inner_page(const uint8_t *value, size_t length, bint is_url, Buffer *out) noexcept nogil:
    """Write the page that an attribute's value holds to `out`; -1 for no memory."""
    cdef Buffer text = Buffer(NULL, 0, 0)
    cdef const uint8_t *comma
    cdef size_t start = 0
    cdef uint32_t odd = 0
    cdef uint64_t flags = 0
    cdef int outcome = 0
    out.length = 0
    if reserve(&text, length + length // 4 + 16) < 0:
        return -1
    length = decode_value(value, length, text.data, length + length // 4 + 8, &odd)
    if is_url:
        comma = <const uint8_t *>memchr(text.data, 44, length)
        start = <size_t>(comma - text.data) + 1 if comma != NULL else length
        length = percent_decode(text.data + start, length - start)
    if is_url and start and is_base64(text.data, start - 1):
        if reserve(out, length) < 0:
            outcome = -1
        else:
            outcome = decode_base64(text.data + start, length, out, &flags)
            text.length = 0
            if outcome == 0:
                outcome = convert(CHARSET_UTF8, out.data, out.length, &text, &flags)
            if outcome == 0:
                out[0], text = text, out[0]
    else:
        outcome = convert(CHARSET_UTF8, text.data + start, length, out, &flags)
    free(text.data)
    return outcome
