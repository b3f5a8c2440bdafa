"""Decoding and folding of a whole document; its structure has been parsed. Called by _parsed and _batch."""

from libc.stdint cimport uint32_t

from esa_core._types cimport Buffer, Document

cdef int decode_header(Document *document) noexcept nogil
cdef int decode_texts(Document *document) noexcept nogil
cdef int decode_text(Document *document) noexcept nogil
cdef bint is_text(const Document *document, uint32_t index) noexcept nogil
cdef int decode_body(const Document *document, uint32_t index, Buffer *octets, Buffer *out) noexcept nogil
cdef int fold_text(Document *document) noexcept nogil
