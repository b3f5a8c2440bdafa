"""Where folded text came from. Called by _parsed."""

from libc.stdint cimport int64_t, uint32_t

from esa_core._types cimport Document

cdef struct Place:
    uint32_t region              # its index
    uint32_t start               # octets of the region's text (UTF-8)
    uint32_t end
    int64_t raw_start            # octets of the part's source, -1 where none are known
    int64_t raw_end

cdef int find_place(Document *document, uint32_t start, uint32_t length, Place *place) noexcept nogil
