"""All patterns of a configuration, and the rows of the match table that they make of a message."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from esa_core._anchors cimport AnchorTable, WakeSink
from esa_core._automaton cimport Automaton, Matcher
from esa_core._shapes cimport ShapeTable
from esa_core._terms cimport MatchSink
from esa_core._types cimport Buffer, Document

cdef struct Compiled:            # read-only once built
    uint32_t n_patterns
    const Matcher *folded        # terms looked for in folded text, or NULL
    const Matcher *written       # terms looked for in text as written, or NULL
    const uint32_t *of_folded    # their patterns; from n_patterns on, triggers of regular expressions
    const uint32_t *of_written
    bint joins                   # a text has white space: it is looked for in text whose white space is joined
    const uint16_t *regions      # [n_patterns] bits 1 << RegionKind of where a pattern counts
    uint32_t wanted              # bits 1 << Identifier
    const uint32_t *identifiers  # patterns that are identifiers,
    const uint32_t *identifier_starts    # [N_IDENTIFIERS + 1] by kind
    AnchorTable anchors
    bint keeps                   # the text of every message is kept, not only of those that have windows
    ShapeTable shapes

cdef struct Row:                 # all matches of one pattern in one region
    uint32_t pattern
    uint32_t region              # index of the document's regions
    uint32_t offset              # of the first: octets of the region's folded text; of its text where case counts
    uint32_t count

cdef struct RowSink:             # one per thread
    MatchSink matches
    WakeSink wakes               # sorted, of the message whose rows these are
    uint32_t n_patterns
    uint32_t *last               # [n_patterns] 1 + the latest row of a pattern; all zero between messages
    Row *rows
    uint32_t n_rows
    uint32_t cap_rows
    uint32_t *origins            # [n_regions] where the words of a region of disguised words stand, else the region itself
    uint32_t cap_origins
    Buffer joined                # text of regions with white space joined, a line feed between them,
    uint32_t *starts             # [n_regions] where each begins in it,
    uint32_t *marks              # and the marks of all (spaces.h),
    uint32_t *mark_starts        # [n_regions] where each region's begin
    uint32_t cap_starts
    uint32_t cap_marks
    bint capped                  # rows or matches were too many: not all are in the rows

cdef int rows_init(RowSink *sink, const Compiled *compiled) noexcept nogil
cdef void rows_free(RowSink *sink) noexcept nogil
cdef void rows_reset(RowSink *sink) noexcept nogil
cdef void rows_trim(RowSink *sink) noexcept nogil
cdef size_t rows_held(const RowSink *sink) noexcept nogil
cdef int match_document(const Compiled *compiled, const Document *document, RowSink *sink) noexcept nogil

cdef class Program:
    cdef Compiled compiled
    cdef readonly Automaton folded
    cdef readonly Automaton written
    cdef readonly object image
    cdef readonly Py_ssize_t n_patterns
    cdef dict sections
    cdef int _attach(self, image) except -1
