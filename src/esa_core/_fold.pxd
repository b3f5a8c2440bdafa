"""Folding for matching: called by _text (regions), _parsed (terms), _disguise and _place (single characters)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer

cdef enum:                       # bits of a character's kind; folding.py writes them
    FOLD_JOINS = 1               # combines with, or is put in order among, what stands before it
    FOLD_WORD = 2                # does not end a word: letters, marks, digits, and what has no width
    FOLD_LATIN = 4
    FOLD_LOOKS_LATIN = 8         # looks like an ASCII letter; with FOLD_LATIN: a Latin letter or sign that no alphabet of today uses

cdef int fold_octets(const uint8_t *source, size_t length, uint32_t limit, Buffer *out, uint64_t *flags, bint *mixed) noexcept nogil
cdef uint32_t character_kind(const uint8_t *source, size_t length, uint32_t *point, size_t *used) noexcept nogil
cdef size_t folded_text(uint32_t point, const uint8_t **text) noexcept nogil
