"""The memory of one Document. Called by whoever owns one (_parsed, _batch) and by _mime and _html, which fill it."""

from esa_core._types cimport Document

cdef int document_init(Document *document) noexcept nogil
cdef void document_free(Document *document) noexcept nogil
cdef void document_reset(Document *document) noexcept nogil
cdef int reserve_text(Document *document, size_t more) noexcept nogil
cdef int reserve_scratch(Document *document, size_t needed) noexcept nogil
