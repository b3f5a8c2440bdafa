"""Compressed octets unpacked. Called by _cms."""

from libc.stdint cimport uint8_t, uint64_t

from esa_core._types cimport Buffer

cdef int inflate(const uint8_t *packed, size_t length, size_t room, Buffer *out, uint64_t *flags) noexcept nogil
