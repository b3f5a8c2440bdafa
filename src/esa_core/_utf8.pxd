"""UTF-8 and ASCII. Called by _charset and _place."""

from libc.stdint cimport uint8_t, uint64_t

from esa_core._types cimport Buffer

cdef bint is_ascii(const uint8_t *source, size_t length) noexcept nogil
cdef bint is_utf8(const uint8_t *source, size_t length) noexcept nogil
cdef size_t ascii_run(const uint8_t *source, size_t length) noexcept nogil
cdef int convert_utf8(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
