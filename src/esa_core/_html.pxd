"""HTML → text as seen, text written but hidden, links, counts. Called by _text with UTF-8."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Document

cdef int read_html(Document *document, uint32_t part, const uint8_t *source, size_t length) noexcept nogil
cdef uint32_t find_meta_charset(const uint8_t *source, size_t length) noexcept nogil
cdef int add_region(Document *document, uint32_t part, uint32_t kind, uint32_t start, uint32_t length) noexcept nogil
