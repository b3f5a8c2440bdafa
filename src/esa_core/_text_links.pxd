"""URLs that stand in text as such. Called by _text (plain text) and _html (text as seen)."""

from libc.stdint cimport uint32_t

from esa_core._types cimport Document

cdef int find_text_links(Document *document, uint32_t part, uint32_t first, uint32_t start, uint32_t length) noexcept nogil
