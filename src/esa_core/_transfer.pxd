"""Content transfer encodings (RFC 2045 6, uuencode) → octets. Called by _text, _field and _parsed."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef int decode_base64(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
cdef bint is_joined_base64(const uint8_t *source, size_t length) noexcept nogil
cdef bint has_foreign_octets(const uint8_t *source, size_t length) noexcept nogil
cdef int decode_joined(const uint8_t *source, size_t length, bint padded, Buffer *out) noexcept nogil
cdef int decode_quoted_printable(const uint8_t *source, size_t length, bint word, Buffer *out, uint64_t *flags) noexcept nogil
cdef int decode_uuencode(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
cdef int decode_transfer(uint32_t encoding, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
