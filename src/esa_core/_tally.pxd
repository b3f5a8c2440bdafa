from libc.stdint cimport uint8_t, uint16_t, uint32_t

from esa_core._names cimport Identity
from esa_core._tokens cimport Counts
from esa_core._words cimport Table

cdef struct Tally:               # what one stretch of text holds
    uint32_t hits[34]            # per Category
    uint32_t words
    Counts counts
    uint16_t brands[4]
    uint32_t n_brands
    bint large_amount

cdef struct Place:               # where in the whole text a region stands
    uint32_t offset              # bytes before it
    uint32_t total               # bytes of all
    bint body

cdef struct Shape:               # characters of text as written
    uint32_t upper
    uint32_t lower
    uint32_t styled
    uint32_t broken

cdef void count_words(const Table *lexicon, const uint8_t *text, uint32_t n, Tally *tally, Identity *identity, Place place) noexcept nogil
cdef void measure_shape(const uint8_t *text, uint32_t n, Shape *shape) noexcept nogil

cdef inline bint is_letter(uint8_t c) noexcept nogil:
    return 97 <= (c | 32) <= 122
