"""Terms found by a gram of theirs: filters say where one may stand, a bucket says of which terms it is."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._terms cimport MatchSink, TermList

cdef extern from "gram_filter.h" nogil:
    ctypedef struct esa_gram_filter:
        const uint32_t *words
        uint32_t shift
        uint32_t seed
        uint32_t core
    ctypedef struct esa_key_filter:
        const uint64_t *words
        uint32_t shift
        uint32_t length
        uint64_t mask
        uint64_t seed

cdef struct GramEntry:           # the anchor of a term
    uint64_t key                 # the octets of the term there; of a class with keys of less than 8 octets, all of the term
    uint32_t term
    uint16_t anchor              # where in the term
    uint16_t length              # octets of the term

cdef struct KeyClass:            # terms whose anchors have keys of one length
    esa_key_filter filter
    const uint32_t *buckets      # [2^(64 - bucket_shift) + 1] into entries
    uint32_t bucket_shift
    uint32_t n_entries
    const GramEntry *entries

cdef struct GramLayer:           # what one pass over the text finds
    esa_gram_filter filter
    KeyClass[2] classes          # short and long terms
    uint32_t n_classes

cdef void match_grams(const GramLayer *layer, const TermList *terms, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil
cdef int choose_anchors(
    const TermList *terms, const uint32_t *chosen, uint32_t count, const GramLayer *layer, const KeyClass *keys, uint32_t *words,
    uint64_t *key_words, uint32_t *buckets, uint16_t *anchors,
) noexcept nogil
cdef int fill_buckets(
    const TermList *terms, const uint32_t *chosen, uint32_t count, const GramLayer *layer, const KeyClass *keys, uint32_t *buckets,
    GramEntry *entries, const uint16_t *anchors,
) noexcept nogil
