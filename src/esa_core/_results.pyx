"""What the messages of a batch have of a program's patterns: rows of the match table, windows for regular expressions, and the text of these messages.

The text of a message in which a regular expression may match is kept for whoever searches it, as written and folded, so that the message is not
read again. Called by `_batch`.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from esa_core._anchors cimport Wake
from esa_core._program cimport Compiled, Row, RowSink
from esa_core._types cimport Document, Region

cdef enum:
    HELD = 1048576               # octets of one table between calls
    MOST_KEPT = 8388608          # octets of text of a batch; messages beyond are read again by who searches them


cdef void results_init(Results *results) noexcept nogil:
    memset(results, 0, sizeof(Results))


cdef void results_free(Results *results) noexcept nogil:
    free(results.matches)
    free(results.windows)
    free(results.kept)
    free(results.octets)
    memset(results, 0, sizeof(Results))


cdef void results_reset(Results *results) noexcept nogil:
    results.n_matches = results.n_windows = results.n_kept = results.n_octets = 0


cdef void results_trim(Results *results) noexcept nogil:
    """Give back what one great batch needed."""
    if results_held(results) > 4 * HELD:
        results_free(results)


cdef size_t results_held(const Results *results) noexcept nogil:
    """Octets of memory."""
    cdef size_t tables = results.cap_matches * sizeof(Match) + results.cap_windows * sizeof(Window) + results.cap_kept * sizeof(Kept)
    return tables + results.cap_octets


cdef void *_room(void *rows, size_t *capacity, size_t needed, size_t size) noexcept nogil:
    """The rows with room for as many as are needed, or NULL for no memory."""
    cdef size_t larger
    cdef void *moved
    if needed <= capacity[0]:
        return rows
    larger = max(needed, 2 * capacity[0], <size_t> 64)
    moved = realloc(rows, larger * size)
    if moved != NULL:
        capacity[0] = larger
    return moved


cdef int _keep(Results *results, const Document *document, const RowSink *sink) noexcept nogil:
    """Keep the text of all regions. 0, or -1 for no memory."""
    cdef size_t octets = 0
    cdef uint32_t i
    cdef const Region *region
    cdef Kept *kept
    cdef void *moved
    for i in range(document.n_regions):
        octets += document.regions[i].text.length + document.regions[i].folded.length
    if document.n_regions == 0 or results.n_octets + octets > MOST_KEPT:
        return 0
    moved = _room(results.kept, &results.cap_kept, results.n_kept + document.n_regions, sizeof(Kept))
    if moved == NULL:
        return -1
    results.kept = <Kept *> moved
    moved = _room(results.octets, &results.cap_octets, results.n_octets + octets + 1, 1)
    if moved == NULL:
        return -1
    results.octets = <uint8_t *> moved
    for i in range(document.n_regions):
        region = &document.regions[i]
        kept = &results.kept[results.n_kept]
        kept[0] = Kept(region.kind, region.part, sink.origins[i], region.text.length, region.folded.length, <uint32_t> results.n_octets)
        memcpy(results.octets + results.n_octets, document.text + region.text.start, region.text.length)
        memcpy(results.octets + results.n_octets + region.text.length, document.folded + region.folded.start, region.folded.length)
        results.n_octets += region.text.length + region.folded.length
        results.n_kept += 1
    return 0


cdef int results_add(Results *results, const Compiled *compiled, const Document *document, const RowSink *sink) noexcept nogil:
    """Add what one message has. 0, or -1 for no memory."""
    cdef void *moved = _room(results.matches, &results.cap_matches, results.n_matches + sink.n_rows, sizeof(Match))
    cdef const Row *row
    cdef const Wake *wake
    cdef uint32_t i
    if moved == NULL and sink.n_rows:
        return -1
    results.matches = <Match *> moved
    for i in range(sink.n_rows):
        row = &sink.rows[i]
        results.matches[results.n_matches + i] = Match(
            <int32_t> row.pattern, <int32_t> document.regions[row.region].part, document.regions[row.region].kind, row.offset, <int32_t> row.count,
        )
    results.n_matches += sink.n_rows
    if sink.wakes.n_wakes == 0 and not compiled.keeps:
        return 0
    moved = _room(results.windows, &results.cap_windows, results.n_windows + sink.wakes.n_wakes, sizeof(Window))
    if moved == NULL and sink.wakes.n_wakes:
        return -1
    results.windows = <Window *> moved
    for i in range(sink.wakes.n_wakes):
        wake = &sink.wakes.wakes[i]
        results.windows[results.n_windows + i] = Window(compiled.anchors.anchors[wake.anchor].pattern, wake.region, wake.start, wake.end)
    results.n_windows += sink.wakes.n_wakes
    return _keep(results, document, sink)
