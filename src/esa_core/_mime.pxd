"""Structure of one message: header fields and parts as offsets into the raw bytes. Called by _parsed and _batch; nothing here can raise."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._document cimport document_free, document_init, document_reset, reserve_scratch, reserve_text
from esa_core._types cimport Document, HeaderField, Part

cdef int parse_structure(Document *document, const uint8_t *raw, size_t length) noexcept nogil
cdef HeaderField *find_field(Document *document, const Part *part, uint32_t known) noexcept nogil
