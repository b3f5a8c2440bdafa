"""Rich text of TNEF bodies → UTF-8. Called by _tnef."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef int unpack_rtf(const uint8_t *packed, size_t length, size_t room, Buffer *out, uint64_t *flags) noexcept nogil
cdef int read_rtf(const uint8_t *rtf, size_t length, uint32_t charset, Buffer *out, bint *is_html) noexcept nogil
