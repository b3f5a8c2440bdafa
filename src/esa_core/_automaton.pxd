"""Many terms found in one pass over folded text; the struct that the batch driver shares read-only between threads."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from esa_core._terms cimport MatchSink, TermList, TermTable

cdef struct Chain:               # sparse state: its children are contiguous
    uint32_t first_child
    uint32_t fail

cdef struct Matcher:
    TermList terms
    # automaton
    uint32_t n_states            # 0: no term is matched by an automaton
    uint32_t n_classes
    uint32_t longest             # bytes of the longest term in it
    uint8_t classes[256]         # byte -> class; bytes of no term share class 0
    const uint32_t *dense        # rows of next states. Whole: offsets of rows. Else: state | HAS_OUTPUT
    uint32_t n_dense             # states with a row; the rest are chains
    uint32_t first_output        # whole: offset of the first state that has output; those without come first
    const uint32_t *own          # [n_states] the term that ends in a state, or NO_TERM
    const uint32_t *link         # [n_states] the next state on its failure path with a term, or NO_TERM
    const Chain *chains          # [n_states + 1], or NULL: all states have a row
    const uint16_t *labels       # [n_states] class on the edge into a state, | LABEL_OUTPUT
    # hashes
    TermTable tokens             # whole words that are one token
    TermTable addresses
    TermTable domains

cdef void count_matches(const Matcher *matcher, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil

cdef class Automaton:
    cdef Matcher matcher
    cdef readonly Py_ssize_t n_terms
    cdef readonly Py_ssize_t nbytes
    cdef readonly dict forms
    cdef list kept
    cdef int _build_table(self, TermTable *table, str form, chosen) except -1
    cdef bint _build_rows(self, list terms, chosen, Py_ssize_t budget) except -1
    cdef int _flatten(self, list nodes, list edges, list failures, chosen, uint32_t width) except -1
    cdef int _build_chains(self, list terms, chosen) except -1
