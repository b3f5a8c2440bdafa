"""Links. Called by _html (one start tag at a time) and _text_links (bare URLs)."""

from libc.stdint cimport uint32_t

from esa_core._reader cimport Reader
from esa_core._types cimport Document

cdef int add_link(Document *document, uint32_t part, uint32_t kind, bint hidden) noexcept nogil
cdef int read_links(Reader *reader, uint32_t tag) noexcept nogil
cdef void end_anchor(Reader *reader) noexcept nogil
