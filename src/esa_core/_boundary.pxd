"""Lines and boundary delimiters of multiparts (RFC 2046 5.1). Called by _header, _media and _mime."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr

from esa_core._parameter cimport Parameter
from esa_core._types cimport Document, Part

cdef struct Frame:               # an open multipart
    uint32_t part
    uint32_t start               # its boundary, without the leading hyphens: scratch[start : start + length]
    uint32_t length
    uint32_t given               # how many boundary parameters stand in the field
    bint cut                     # longer than ESA_MAX_BOUNDARY: only the beginning is compared


cdef inline size_t line_end(const uint8_t *raw, size_t at, size_t length) noexcept nogil:
    """Offset just behind the line feed that ends the line at `at`, or `length`."""
    cdef const uint8_t *feed = <const uint8_t *>memchr(raw + at, 10, length - at)
    return <size_t>(feed - raw) + 1 if feed != NULL else length


cdef inline size_t before_break(const uint8_t *raw, size_t start, size_t end) noexcept nogil:
    """`end` without the one line break before it, not below `start`."""
    if end > start and raw[end - 1] == 10:
        end -= 1
        if end > start and raw[end - 1] == 13:
            end -= 1
    return end


cdef inline bint begins_delimiter(const uint8_t *raw, size_t at, size_t length) noexcept nogil:
    return at + 1 < length and raw[at] == 45 and raw[at + 1] == 45


cdef int read_boundary(Document *document, const uint8_t *raw, Part *part, const Parameter *parameter, Frame *frame) noexcept nogil
cdef int find_delimiter(Document *document, const uint8_t *raw, const Frame *frames, uint32_t n_frames, size_t at, size_t end,
                        bint *closes) noexcept nogil
