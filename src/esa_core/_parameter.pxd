"""Parameters of structured header fields. Called by _mime (structure) and _field (file names)."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Span

cdef struct Parameter:           # one parameter of a structured field; offsets in raw
    Span name                    # as written, with any RFC 2231 suffix
    Span value                   # without quotes; escapes and folds are still in it
    bint quoted


cdef inline bint is_blank(uint8_t octet) noexcept nogil:
    return octet == 32 or octet == 9 or octet == 13 or octet == 10


cdef int hexadecimal(uint8_t octet) noexcept nogil
cdef size_t skip_comment(const uint8_t *raw, size_t at, size_t end) noexcept nogil
cdef size_t skip_blank(const uint8_t *raw, size_t at, size_t end) noexcept nogil
cdef size_t first_parameter(const uint8_t *raw, size_t at, size_t end) noexcept nogil
cdef bint next_parameter(const uint8_t *raw, size_t *at, size_t end, Parameter *parameter) noexcept nogil
cdef bint is_named(const uint8_t *raw, const Parameter *parameter, const char *name, uint32_t length) noexcept nogil
cdef bint is_section(const uint8_t *raw, const Parameter *parameter, uint32_t stem, uint32_t wanted) noexcept nogil
cdef Span behind_charset(const uint8_t *raw, const Parameter *parameter) noexcept nogil
