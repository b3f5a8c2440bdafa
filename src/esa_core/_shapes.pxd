"""Anchors without a literal: octets of sets side by side, as the digits and hyphens of a number."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._anchors cimport AnchorTable, WakeSink

cdef struct Shape:
    uint32_t anchor
    uint32_t written             # 1: it is looked for in text as written
    uint32_t bucket
    uint32_t length
    uint32_t rarest              # place of the first of the four that are looked for
    uint32_t[32] sets            # of the anchors' table

cdef extern from "octet_set.h" nogil:
    ctypedef struct EsaOctetSet:
        uint8_t[256] member

cdef struct ShapeTable:          # read-only once built; [0] for folded text, [1] for text as written
    const Shape *shapes          # by bucket
    const uint32_t *starts       # [2 * 64 + 1] where those of a bucket begin
    const uint64_t *masks        # [2][4][256] bits of the buckets of which a shape has this octet there
    uint32_t n_shapes
    uint32_t[2] place            # which of the four octets is the rarest, and
    EsaOctetSet[2] rare          # what it may be: elsewhere no shape begins

cdef bint has_shapes(const ShapeTable *table, bint written) noexcept nogil
cdef int match_shapes(
    const ShapeTable *table, const AnchorTable *anchors, WakeSink *sink, bint written, uint32_t region, uint32_t kind, const uint8_t *text, uint32_t n
) noexcept nogil
cdef int attach_shapes(ShapeTable *table, dict sections, const AnchorTable *anchors) except -1
