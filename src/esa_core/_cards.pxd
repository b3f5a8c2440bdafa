from libc.stdint cimport uint32_t

cdef struct CardTable:           # borrowed arrays: whoever fills it keeps them alive
    uint32_t n_facts
    uint32_t mail_type           # index of the fact that holds the mail type 0, 1, 2
    const double *mean           # [n_facts]
    const double *step           # [n_facts] sign / scale
    const double *weights        # [mail type][n_facts], log-odds per step; 0 for facts on no card
    double prior[3]              # [mail type], log-odds of a message whose every fact is at its mean

cdef double score_cards(const CardTable *cards, const float *facts, double *contributions) noexcept nogil

cdef class Cards:
    cdef CardTable table
    cdef readonly uint32_t n_facts
    cdef object _kept
