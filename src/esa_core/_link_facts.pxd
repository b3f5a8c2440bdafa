from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._names cimport Identity
from esa_core._types cimport Document
from esa_core._words cimport Table

cdef struct Url:
    const uint8_t *host
    uint32_t host_length
    const uint8_t *path
    uint32_t path_length
    bint user
    bint port

cdef void count_links(const Document *d, const Table *lexicon, Identity *identity, uint64_t *link_brands, uint32_t *anchors, float *facts) noexcept nogil
cdef uint32_t shown_host(const uint8_t *text, uint32_t n, Url *url) noexcept nogil
