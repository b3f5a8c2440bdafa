"""Other readings of parts, and containers opened. Called by _mime; header_holder by _text."""

from libc.stdint cimport uint32_t

from esa_core._types cimport Document

cdef int read_lone_returns(Document *document) noexcept nogil
cdef int read_again(Document *document) noexcept nogil
cdef uint32_t header_holder(const Document *document, uint32_t index) noexcept nogil
