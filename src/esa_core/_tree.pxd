"""Parts of one buffer. Called by _mime for the raw message, by _reading, _tnef and _uuencode for what is read again or taken out."""

from libc.stdint cimport int32_t, uint32_t

from esa_core._boundary cimport Frame
from esa_core._header cimport Header
from esa_core._types cimport Document

cdef int add_part(Document *document, int32_t parent, uint32_t depth, size_t at) noexcept nogil
cdef bint may_hold_part(Document *document, uint32_t index) noexcept nogil
cdef int read_parts(Document *document, uint32_t root, size_t at, size_t length, Header *begun, const Frame *given) noexcept nogil
