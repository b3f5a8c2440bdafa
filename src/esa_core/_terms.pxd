"""Terms and what counts them; structs that are read-only once built, but for the sink."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #define ESA_NO_TERM 0xffffffffu
    /* Matches looked at in one message, boundaries not yet tested: some milliseconds. A list of common words against a long text; the
       message is flagged. */
    #define ESA_MAX_MATCHES 1048576u
    /* Times that one term is counted in one message. */
    #define ESA_MAX_COUNT 65535u
    """
    const uint32_t ESA_NO_TERM
    const uint32_t ESA_MAX_MATCHES
    const uint32_t ESA_MAX_COUNT

cdef enum TermKind:
    SUBSTRING = 0
    WORDS = 1                    # whole words, more than one token or with other characters
    TOKEN = 2                    # one token
    ADDRESS = 3
    DOMAIN = 4                   # a domain name, and the names below it
    NAME = 5                     # a domain name, not those below it

cdef struct Place:
    uint32_t term
    uint32_t start               # offset in the text that was searched

cdef struct MatchSink:           # one per thread: what was found in one message
    uint32_t *counts             # [n_terms], all zero between messages
    uint32_t *touched            # [n_terms] the terms with counts > 0, in no order that means anything
    uint32_t n_touched
    uint32_t n_terms
    uint32_t visited             # matches looked at, boundaries not yet tested
    Place *places                # where each match stands, in no order
    uint32_t n_places
    uint32_t cap_places
    bint with_places             # in place of counts
    bint plain                   # without the wide kernels
    bint capped                  # ESA_MAX_MATCHES was reached: the rest of the message was not matched

cdef struct TermList:
    uint32_t n_terms
    const uint8_t *blob          # all terms, one after another
    const uint32_t *offsets      # [n_terms + 1] into blob
    const uint8_t *kinds         # [n_terms] TermKind
    const uint32_t *same         # [n_terms] next term of the same bytes, ESA_NO_TERM at the end; NULL if all differ

cdef struct TermTable:           # terms by hash, open addressing
    uint64_t *slots              # (upper hash bits << 32) | term + 1; 0 is free
    uint64_t mask
    uint32_t n_terms
    uint32_t shortest            # bytes
    uint32_t longest

cdef int sink_init(MatchSink *sink, uint32_t n_terms) noexcept nogil
cdef void sink_free(MatchSink *sink) noexcept nogil
cdef void sink_reset(MatchSink *sink) noexcept nogil
cdef void sort_touched(MatchSink *sink) noexcept nogil
cdef bint found_term(
    const TermList *terms, uint32_t term, const uint8_t *text, uint32_t start, uint32_t end, uint32_t n, MatchSink *sink
) noexcept nogil
cdef void match_tokens(const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil
cdef void match_addresses(const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil
cdef void match_domains(const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil
cdef uint8_t kind_of(const uint8_t *p, uint32_t n) noexcept nogil
cdef bint insert_term(
    TermTable *table, const TermList *terms, uint32_t term, bint names, uint32_t *same, uint32_t *same_last
) noexcept nogil
