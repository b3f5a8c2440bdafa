"""Structure of one message: header fields and parts as offsets into the raw bytes. Called by _parsed and _batch; nothing here can raise."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Document

cdef int parse_structure(Document *document, const uint8_t *raw, size_t length) noexcept nogil
