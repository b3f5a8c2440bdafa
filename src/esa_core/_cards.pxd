from libc.stdint cimport int8_t, uint32_t

cdef struct CardTable:           # borrowed arrays: whoever fills it keeps them alive
    uint32_t n_facts
    uint32_t mail_type           # index of the fact that holds the mail type 0, 1, 2
    const int8_t *card           # [n_facts] 0 content, 1 relation, -1 on no card
    const double *mean           # [n_facts]
    const double *step           # [n_facts] sign / scale
    double weights[2][3]         # [card][mail type], log-odds per step
    double prior[3]              # [mail type], log-odds of a message whose every fact is at its mean

cdef double score_cards(const CardTable *cards, const float *facts, double *contributions) noexcept nogil

cdef class Cards:
    cdef CardTable table
    cdef readonly uint32_t n_facts
    cdef object _kept
