"""Colours of CSS and of HTML attributes. Called by _style and _look."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:                       # beside 0 to 0xFFFFFF
    COLOUR_UNKNOWN = 0x1000000   # an image, a gradient, a word we do not know: like no other colour
    COLOUR_TRANSPARENT = 0x2000000
    COLOUR_INHERITED = 0x3000000

cdef uint32_t read_colour(const uint8_t *value, size_t length) noexcept nogil
cdef uint32_t read_legacy_colour(const uint8_t *value, size_t length) noexcept nogil


cdef inline uint32_t distance(uint32_t a, uint32_t b) noexcept nogil:
    return a - b if a > b else b - a


cdef inline bint are_alike(uint32_t a, uint32_t b) noexcept nogil:
    """Whether text of one colour cannot be read on the other: no channel differs by more than 10 of 255."""
    if (a | b) > 0xFFFFFF:
        return False
    return distance(a >> 16, b >> 16) <= 10 and distance(a >> 8 & 255, b >> 8 & 255) <= 10 and distance(a & 255, b & 255) <= 10
