"""Pages inside a page: data: URLs and srcdoc. Called by _html."""

from libc.stdint cimport uint8_t

from esa_core._types cimport Buffer

cdef bint is_inner_page(const uint8_t *url, size_t length) noexcept nogil
cdef int decode_inner_page(const uint8_t *value, size_t length, bint is_url, Buffer *out) noexcept nogil
