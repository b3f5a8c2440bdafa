"""Files uuencoded in the middle of a text. Called by _text."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Document

cdef int find_uuencoded(Document *document, uint32_t index, const uint8_t *text, size_t length, bint decoded) noexcept nogil
