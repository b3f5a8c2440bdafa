"""What the messages of a batch have of a program's patterns, as tables that grow from message to message."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from esa_core._program cimport Compiled, RowSink
from esa_core._types cimport Document

cdef struct Match:               # a row of the match table
    int32_t term
    int32_t part
    uint32_t kind                # RegionKind
    uint32_t offset
    int32_t count

cdef struct Window:              # where a regular expression may match
    uint32_t pattern
    uint32_t region              # number of the region among those of the message
    uint32_t start               # octets of the region's folded text, or of its text where case counts
    uint32_t end

cdef struct Kept:                # a region whose text was kept: its octets, as written and folded, stand one after another
    uint32_t kind                # RegionKind
    uint32_t part
    uint32_t origin              # number of the region itself; for disguised words of the region they stand in
    uint32_t n_text
    uint32_t n_folded
    uint32_t start               # in the octets of the batch

cdef struct Results:
    Match *matches
    size_t n_matches
    size_t cap_matches
    Window *windows
    size_t n_windows
    size_t cap_windows
    Kept *kept
    size_t n_kept
    size_t cap_kept
    uint8_t *octets              # of kept regions
    size_t n_octets
    size_t cap_octets

cdef void results_init(Results *results) noexcept nogil
cdef void results_free(Results *results) noexcept nogil
cdef void results_reset(Results *results) noexcept nogil
cdef void results_trim(Results *results) noexcept nogil
cdef size_t results_held(const Results *results) noexcept nogil
cdef int results_add(Results *results, const Compiled *compiled, const Document *document, const RowSink *sink) noexcept nogil
