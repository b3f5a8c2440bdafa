"""What the conversions of _charset, _unicode_forms and _east_asian share: room in steps, and code points written with a look at their sense."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._buffer cimport encode_utf8, reserve
from esa_core._types cimport BAD_CHARSET, ESA_MAX_TEXT, TEXT_TRUNCATED, Buffer

cdef enum:
    BLOCK = 4096                 # octets read between two looks at the capacity of the output
    GROWTH = 3                   # octets of UTF-8 for one octet read, at most (two characters of three octets each for one code of two)
    REPLACEMENT = 0xFFFD


cdef inline int next_block(Buffer *out, size_t at, size_t length, size_t *end, uint64_t *flags) noexcept nogil:
    """Room for one more block of input; 1 go on, 0 stop, -1 no memory."""
    if at >= length:
        return 0
    if out.length > ESA_MAX_TEXT:
        flags[0] |= TEXT_TRUNCATED
        return 0
    end[0] = min(at + BLOCK, length)
    return -1 if reserve(out, GROWTH * (end[0] - at) + 64) < 0 else 1


cdef inline void put(Buffer *out, uint32_t point) noexcept nogil:
    out.length += <uint32_t>encode_utf8(out.data + out.length, point)


cdef inline void put_checked(Buffer *out, uint32_t point, uint64_t *flags) noexcept nogil:
    """0 and U+FFFD stand for what has no meaning."""
    if point == 0 or point == REPLACEMENT:
        point = REPLACEMENT
        flags[0] |= BAD_CHARSET
    put(out, point)
