"""Boundaries of multiparts: read from their parameter into a frame, and found again in the lines of the message (RFC 2046 5.1).

Nothing here can raise; -1 of read_boundary only says that there is no memory.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from esa_core._document cimport reserve_scratch
from esa_core._parameter cimport Parameter, behind_charset, hexadecimal, is_blank
from esa_core._types cimport ESA_MAX_BOUNDARY, ODD_BOUNDARY, Document, Part, Span


cdef int read_boundary(Document *document, const uint8_t *raw, Part *part, const Parameter *parameter, Frame *frame) noexcept nogil:
    """Append the boundary, without quotes, escapes and folds, to the frame's; -1 for no memory."""
    cdef Span where = behind_charset(raw, parameter)
    cdef const uint8_t *value = raw + where.start
    cdef bint percent = raw[parameter.name.start + parameter.name.length - 1] == 42
    cdef uint32_t at = 0
    cdef uint32_t put = frame.length
    cdef uint8_t octet
    cdef uint8_t *out
    if reserve_scratch(document, <size_t>frame.start + ESA_MAX_BOUNDARY) < 0:
        return -1
    out = document.scratch + frame.start
    if part.boundary.length == 0:
        part.boundary = where
    while at < where.length and put < ESA_MAX_BOUNDARY:
        if value[at] == 92 and parameter.quoted and at + 1 < where.length:
            at += 1
        octet = value[at]
        if percent and octet == 37 and at + 2 < where.length and hexadecimal(value[at + 1]) >= 0 and hexadecimal(value[at + 2]) >= 0:
            octet = <uint8_t>((hexadecimal(value[at + 1]) << 4) | hexadecimal(value[at + 2]))
            at += 2
        at += 1
        if octet != 13 and octet != 10:
            out[put] = octet
            put += 1
    frame.cut = at < where.length
    while put and (out[put - 1] == 32 or out[put - 1] == 9):  # RFC 2046 5.1.1: no boundary ends with white space
        put -= 1
    frame.length = put
    if frame.cut:
        part.flags |= ODD_BOUNDARY
    return 0


cdef int find_delimiter(Document *document, const uint8_t *raw, const Frame *frames, uint32_t n_frames, size_t at, size_t end,
                        bint *closes) noexcept nogil:
    """`at` is at "--": the frame whose delimiter the line at[:end] is, outermost first, or -1; the whole line must be it (RFC 2046 5.1)."""
    cdef const uint8_t *line = raw + at + 2
    cdef size_t length = end - at - 2
    cdef const Frame *frame
    cdef const uint8_t *boundary
    cdef uint32_t index
    while length and is_blank(line[length - 1]):
        length -= 1
    for index in range(n_frames):
        frame = &frames[index]
        boundary = document.scratch + frame.start
        if frame.cut:
            if length >= frame.length and memcmp(line, boundary, frame.length) == 0:
                closes[0] = length >= frame.length + 2 and line[length - 1] == 45 and line[length - 2] == 45
                return <int>index
        elif length == frame.length:
            if memcmp(line, boundary, length) == 0:
                closes[0] = False
                return <int>index
        elif length == frame.length + 2 and line[length - 1] == 45 and line[length - 2] == 45:
            if memcmp(line, boundary, frame.length) == 0:
                closes[0] = True
                return <int>index
    return -1
