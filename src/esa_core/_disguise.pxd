"""Disguised words. Called by _text and _place."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Buffer

cdef struct Piece:               # a stretch of a region that stands in its plain form
    uint32_t start               # in the region's text
    uint32_t end
    uint32_t at                  # where it begins in the plain form
    uint32_t disguised           # 1: look-alikes are replaced

cdef int undisguise(const uint8_t *source, size_t length, Buffer *out) noexcept nogil
cdef int add_plain_form(const uint8_t *source, size_t length, Buffer *out, Buffer *trace) noexcept nogil
