"""What the MIME fields of a part say of it. Called by _mime."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._boundary cimport Frame
from esa_core._header cimport Header
from esa_core._parameter cimport Parameter
from esa_core._types cimport Document, HeaderField, Part, Span

cdef Span charset_label(const uint8_t *raw, const Parameter *parameter) noexcept nogil
cdef uint32_t encoding_of(const Document *document, const HeaderField *field) noexcept nogil
cdef int read_content_type(Document *document, Part *part, const HeaderField *field, Frame *frame, uint32_t skip) noexcept nogil
cdef int read_mime_fields(Document *document, uint32_t index, const Header *header, bint digest, Frame *frame) noexcept nogil
cdef bint split_type(const uint8_t *raw, size_t at, size_t end, Span *kind, Span *subtype) noexcept nogil
