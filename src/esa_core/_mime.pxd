"""Structure of one message: header fields and parts as offsets. Called by _parsed, _batch, _facts and _features; nothing here can raise."""

from libc.stdint cimport uint8_t

from esa_core._types cimport Document

cdef int parse_structure(Document *document, const uint8_t *raw, size_t length) noexcept nogil
