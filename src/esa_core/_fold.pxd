"""Folding for matching: called by _text (regions) and _parsed (terms)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef int fold_octets(const uint8_t *source, size_t length, uint32_t limit, Buffer *out, uint64_t *flags) noexcept nogil
