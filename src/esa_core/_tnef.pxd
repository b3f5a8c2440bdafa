"""Parts out of a winmail.dat. Called by _reading."""

from libc.stdint cimport uint32_t, uint64_t

from esa_core._types cimport Buffer, Document

cdef int open_tnef(Document *document, uint32_t index, Buffer *octets, uint64_t *flags) noexcept nogil
