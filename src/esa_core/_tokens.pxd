"""Words of folded text by the block: which of 64 octets are in words, and the words and signs among them in order.

Called by `_tally`. The kernels stand in tokens.h: one for every processor, one for those with AVX2.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "tokens.h":
    const uint32_t ESA_BLOCK
    const uint32_t ESA_CURRENCY_SIGN
    const uint32_t ESA_COPYRIGHT_SIGN
    const uint64_t ESA_NO_WORD
    ctypedef struct Block "EsaBlock":
        uint64_t word
        uint64_t digit
        uint64_t high
        uint64_t dot
        uint64_t blank
        uint64_t odd
    ctypedef struct Sign "EsaSign":          # a sign that words behind it depend on
        uint32_t kind
        uint32_t at                          # offset in the text
        uint32_t word                        # index of the word behind it
    ctypedef struct Choice "EsaChoice":      # which words somebody wants to look at; some others are given as well
        const uint64_t *telling
        const uint64_t *pairs
        uint64_t names
        uint8_t begin[2][2]
    ctypedef struct Batch "EsaBatch":
        uint64_t *hashes                     # of the word before, then of each
        uint64_t *pairs                      # of the phrases of the word before each and this one
        uint32_t *at                         # offsets in the text
        uint32_t *length                     # octets
        uint64_t *telling                    # words chosen for their own hashes, one bit each
        uint64_t *others                     # words chosen for any other reason
        Sign *signs
        uint32_t n_words
        uint32_t n_signs
        uint32_t wanted
    ctypedef struct Counts "EsaCounts":
        uint32_t sentences
        uint32_t exclamations
        uint32_t exclamation_runs
        uint32_t questions
        uint32_t currency
        uint32_t percent
        uint32_t signs
        uint32_t mixed_script
        uint32_t urls
    uint64_t esa_name_bits(uint64_t hash) noexcept nogil
    uint64_t esa_in_names(uint64_t names, uint64_t hash) noexcept nogil      # lowest bit
    void esa_block_plain(const uint8_t *octets, Block *block) noexcept nogil    # reads 64 octets, as all of them do
    void esa_block_narrow(const uint8_t *octets, Block *block) noexcept nogil
    void esa_block_wide(const uint8_t *octets, Block *block) noexcept nogil
    uint32_t esa_read_words_plain(const Choice *choice, const uint8_t *text, uint32_t i, uint32_t n, Batch *batch, Counts *counts) noexcept nogil
    uint32_t esa_read_words_widest(const Choice *choice, const uint8_t *text, uint32_t i, uint32_t n, Batch *batch, Counts *counts) noexcept nogil
    uint32_t esa_read_words_wide(const Choice *choice, const uint8_t *text, uint32_t i, uint32_t n, Batch *batch, Counts *counts) noexcept nogil

cdef void begin_batch(Batch *batch) noexcept nogil
cdef uint32_t read_words(const Choice *choice, const uint8_t *text, uint32_t i, uint32_t n, Batch *batch, Counts *counts) noexcept nogil
cdef bint count_letters(const uint8_t *text, uint32_t n, uint32_t *upper, uint32_t *lower) noexcept nogil
cdef void read_block(const uint8_t *text, Block *block) noexcept nogil
