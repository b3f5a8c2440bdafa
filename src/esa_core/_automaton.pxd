"""Many terms found in one pass over folded text; the struct that the batch driver shares read-only between threads."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._grams cimport GramLayer
from esa_core._terms cimport MatchSink, TermList, TermTable

cdef extern from *:
    """
    #define ESA_MAX_LAYERS 8
    """
    const uint32_t ESA_MAX_LAYERS

cdef struct Matcher:
    TermList terms
    GramLayer layers[8]          # ESA_MAX_LAYERS
    uint32_t n_layers
    TermTable tokens             # whole words that are one token
    TermTable addresses
    TermTable domains

cdef void count_matches(const Matcher *matcher, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil

cdef class Automaton:
    cdef Matcher matcher
    cdef readonly Py_ssize_t n_terms
    cdef readonly dict forms
    cdef readonly object image
    cdef dict sections
    cdef int _attach(self, image) except -1
    cdef int _attach_table(self, TermTable *table, str form, numbers) except -1
    cdef int _attach_layer(self, uint32_t number, parameters) except -1
    cdef int _attach_class(self, uint32_t number, parameters) except -1
