"""Structure of one message: header fields and parts as offsets into the raw bytes. Called by _parsed and _batch; nothing here can raise."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Document, HeaderField, Part, Span

cdef struct Parameter:           # one parameter of a structured field; offsets in raw
    Span name                    # as written, with any RFC 2231 suffix
    Span value                   # without quotes; escapes and folds are still in it
    bint quoted

cdef int document_init(Document *document) noexcept nogil
cdef void document_free(Document *document) noexcept nogil
cdef void document_reset(Document *document) noexcept nogil
cdef int parse_structure(Document *document, const uint8_t *raw, size_t length) noexcept nogil
cdef int reserve_text(Document *document, size_t more) noexcept nogil
cdef int reserve_scratch(Document *document, size_t needed) noexcept nogil
cdef HeaderField *find_field(Document *document, const Part *part, uint32_t known) noexcept nogil
cdef size_t first_parameter(const uint8_t *raw, size_t at, size_t end) noexcept nogil
cdef bint next_parameter(const uint8_t *raw, size_t *at, size_t end, Parameter *parameter) noexcept nogil
