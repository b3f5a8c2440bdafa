"""What the MIME fields of a part say of it. Called by _mime."""

from libc.stdint cimport uint32_t

from esa_core._boundary cimport Frame
from esa_core._header cimport Header
from esa_core._types cimport Document

cdef int read_mime_fields(Document *document, uint32_t index, const Header *header, bint digest, Frame *frame) noexcept nogil
