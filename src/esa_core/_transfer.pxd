"""Content transfer encodings (RFC 2045 6, uuencode) → octets. Called by _text, _field and _parsed."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef int decode_base64(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
cdef int decode_quoted_printable(const uint8_t *source, size_t length, bint word, Buffer *out, uint64_t *flags) noexcept nogil
cdef int decode_uuencode(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
cdef int decode_transfer(uint32_t encoding, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil
