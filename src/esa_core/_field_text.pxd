"""Decoded header fields and file names. Called by _text."""

from libc.stdint cimport uint32_t

from esa_core._types cimport Document

cdef int decode_fields(Document *document) noexcept nogil
cdef int decode_inner_header(Document *document, uint32_t index) noexcept nogil
cdef int decode_names(Document *document, uint32_t index) noexcept nogil
