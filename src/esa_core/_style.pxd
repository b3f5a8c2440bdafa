"""Inline styles: is the element shown? Called by _html."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    UNSHOWN_FOR_GOOD = 1         # display: none and its like: nothing inside can be seen
    UNSHOWN_VISIBILITY = 2       # visibility: hidden; an element inside may be visible again
    UNSHOWN_SIZE = 4             # font-size: 0; an element inside may have a size again

cdef uint32_t read_style(const uint8_t *style, size_t length, uint32_t inherited) noexcept nogil
