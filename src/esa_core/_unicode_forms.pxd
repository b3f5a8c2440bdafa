"""The Unicode encodings that are not UTF-8. Called by _charset."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef int convert_utf16(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
cdef int convert_utf32(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
cdef int convert_utf7(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
