"""The content inside CMS signed-data. Called by _reading."""

from libc.stdint cimport uint8_t, uint64_t

from esa_core._types cimport Buffer

cdef int open_signed(const uint8_t *ber, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
