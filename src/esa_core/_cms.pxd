"""The content inside CMS signed-data and compressed-data. Called by _reading."""

from libc.stdint cimport uint8_t, uint64_t

from esa_core._types cimport Buffer

cdef int open_cms(const uint8_t *ber, size_t length, size_t room, Buffer *out, uint64_t *flags) noexcept nogil
