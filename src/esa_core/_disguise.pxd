"""Disguised words. Called by _text and _place."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef struct Piece:               # a stretch of a region that stands folded in another
    uint32_t start               # in the region's text
    uint32_t end
    uint32_t folded              # where it begins in the buffer that was folded into
    uint32_t disguised           # 1: look-alikes are replaced

cdef int fold_disguised(const uint8_t *source, size_t length, uint32_t limit, Buffer *work, Buffer *out, Buffer *trace,
                        uint64_t *flags) noexcept nogil
cdef int undisguise(const uint8_t *source, size_t length, Buffer *out) noexcept nogil
