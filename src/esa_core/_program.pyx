"""One compiled program for all patterns of a configuration, and the match table that it makes of a message.

Patterns are literal text, whole words and phrases, addresses, domain names and their suffixes, and numbers with a check of their own. Case
does not count unless a pattern says so: then it is looked for in the text as written. A pattern may be limited to kinds of regions. Compiled, it
is one image that may be written, mapped and shared. Called by `_batch`.

Any white space between two words of a pattern is any white space in a text, line ends included: both are looked at with one space in its place.

The table has a row for each pattern and region: how often, and where first. Words that mix scripts are in the folded text twice, as written
and in plain form among words of their context: such a region counts only for patterns that do not stand in the region its words are from.

Regular expressions are not matched here: beside the table come the windows in which they may match (`_anchors`).
"""

import numpy as np

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from esa_core._anchors cimport Wake, attach_anchors, sort_wakes, wake, wakes_free, wakes_init, wakes_trim
from esa_core._automaton cimport Automaton, Matcher, count_matches
from esa_core._buffer cimport reserve
from esa_core._identifiers cimport N_IDENTIFIERS, Identifier, find_identifiers
from esa_core._shapes cimport attach_shapes, has_shapes, match_shapes
from esa_core._terms cimport ESA_MAX_COUNT, Place, sink_free, sink_init, sink_reset
from esa_core._types cimport REGION_DISGUISED, Buffer, Document, Region, Span

from esa_core._anchors import triggers_of
from esa_core._image import pack, unpack
from esa_core._parsed import fold
from esa_core._shapes import shapes_of

cdef enum:
    KEPT = 1048576               # octets of one array that a thread keeps between calls

cdef extern from *:
    """
    /* Rows of one message: a pattern in a region each. More is an attack, or a list of common words against a digest; the message is flagged. */
    #define ESA_MAX_ROWS 16384u
    """
    const uint32_t ESA_MAX_ROWS

cdef extern from "spaces.h" nogil:
    const uint32_t ESA_MARK
    const uint32_t ESA_JOINED_SLACK
    uint32_t esa_join_spaces_plain(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks)
    uint32_t esa_join_spaces_wide(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks)
    bint esa_spaces_are_wide()
    uint32_t esa_before_joining(const uint8_t *text, uint32_t n, const uint32_t *marks, uint32_t place)

cdef bint wide = esa_spaces_are_wide()

PATTERN_KINDS = ("text", "words", "address", "domain", "suffix", "card", "ssn", "aba", "cusip", "iban")
_TERM_KINDS = np.array([0, 1, 3, 5, 4], np.uint8)    # TermKind of the first five
_EVERYWHERE = 0xFFFF
_SPACES = bytes.maketrans(b"\t\n\v\f\r", b"     ")


# --- rows -----------------------------------------------------------------------------------------------------------------------------

cdef int rows_init(RowSink *sink, const Compiled *compiled) noexcept nogil:
    """0, or -1 for no memory."""
    memset(sink, 0, sizeof(RowSink))
    sink.n_patterns = compiled.n_patterns
    sink.last = <uint32_t *> calloc(compiled.n_patterns + 1, sizeof(uint32_t))
    if sink_init(&sink.matches, 0) < 0 or sink.last == NULL or wakes_init(&sink.wakes, &compiled.anchors) < 0:
        rows_free(sink)
        return -1
    return 0


cdef void rows_free(RowSink *sink) noexcept nogil:
    sink_free(&sink.matches)
    wakes_free(&sink.wakes)
    free(sink.last)
    free(sink.rows)
    free(sink.origins)
    free(sink.joined.data)
    free(sink.starts)
    free(sink.marks)
    free(sink.mark_starts)
    memset(sink, 0, sizeof(RowSink))


cdef void rows_reset(RowSink *sink) noexcept nogil:
    sink.n_rows = 0
    sink.capped = False
    sink.wakes.n_wakes = 0
    sink.wakes.capped = False


cdef void rows_trim(RowSink *sink) noexcept nogil:
    """Give back what one great message needed: nothing between messages holds more than KEPT octets."""
    wakes_trim(&sink.wakes, KEPT)
    if sink.cap_rows * sizeof(Row) > KEPT:
        free(sink.rows)
        sink.rows = NULL
        sink.cap_rows = 0
    if sink.joined.capacity > KEPT:
        free(sink.joined.data)
        memset(&sink.joined, 0, sizeof(Buffer))
    if sink.cap_marks * sizeof(uint32_t) > KEPT:
        free(sink.marks)
        sink.marks = NULL
        sink.cap_marks = 0
    if sink.matches.cap_places * sizeof(Place) > KEPT:
        free(sink.matches.places)
        sink.matches.places = NULL
        sink.matches.cap_places = 0


cdef size_t rows_held(const RowSink *sink) noexcept nogil:
    """Octets of memory."""
    cdef size_t of_places = sink.matches.cap_places * sizeof(Place)
    cdef size_t of_regions = <size_t> (sink.cap_origins + 2 * sink.cap_starts) * sizeof(uint32_t)
    cdef size_t of_wakes = sink.wakes.cap_wakes * sizeof(Wake) + 3 * sink.wakes.n_anchors * sizeof(uint32_t)
    cdef size_t of_text = sink.joined.capacity + sink.cap_marks * sizeof(uint32_t)
    return of_places + of_wakes + of_regions + of_text + sink.n_patterns * sizeof(uint32_t) + sink.cap_rows * sizeof(Row)


cdef int _add(RowSink *sink, const Compiled *compiled, const Document *document, uint32_t pattern, uint32_t region, uint32_t offset) noexcept nogil:
    """Count a match; offsets of one pattern rise. 0, or -1 for no memory."""
    cdef uint32_t latest = sink.last[pattern], capacity
    cdef Row *row
    cdef Row *moved
    if latest and sink.rows[latest - 1].region == region:
        row = &sink.rows[latest - 1]
        if row.count < ESA_MAX_COUNT:
            row.count += 1
        else:
            sink.capped = True
        return 0
    if not compiled.regions[pattern] >> document.regions[sink.origins[region]].kind & 1:
        return 0
    if sink.n_rows == ESA_MAX_ROWS:
        sink.capped = True
        return 0
    if sink.n_rows == sink.cap_rows:
        capacity = max(2 * sink.cap_rows, <uint32_t> 64)
        moved = <Row *> realloc(sink.rows, capacity * sizeof(Row))
        if moved == NULL:
            return -1
        sink.rows = moved
        sink.cap_rows = capacity
    sink.rows[sink.n_rows] = Row(pattern, region, offset, 1)
    sink.n_rows += 1
    sink.last[pattern] = sink.n_rows
    return 0


cdef inline uint32_t _region_at(const Document *document, uint32_t start) noexcept nogil:
    """The region that holds an offset of the folded text."""
    cdef uint32_t low = 0, high = document.n_regions, middle
    while high - low > 1:
        middle = (low + high) // 2
        if document.regions[middle].folded.start <= start:
            low = middle
        else:
            high = middle
    return low


cdef int _find_origins(const Document *document, RowSink *sink) noexcept nogil:
    """Disguised words come behind all other regions, in the order of the regions that they stand in."""
    cdef uint32_t index, at = 0
    cdef Region *region
    cdef void *moved
    if document.n_regions > sink.cap_origins:
        moved = realloc(sink.origins, 2 * document.n_regions * sizeof(uint32_t))
        if moved == NULL:
            return -1
        sink.origins = <uint32_t *> moved
        sink.cap_origins = 2 * document.n_regions
    for index in range(document.n_regions):
        sink.origins[index] = index
        region = &document.regions[index]
        if region.kind == REGION_DISGUISED:
            while at < index and (document.regions[at].text.start != region.text.start or document.regions[at].part != region.part):
                at += 1
            sink.origins[index] = at
    return 0


cdef inline bint _precedes(const Row *a, const Row *b) noexcept nogil:
    return a.pattern < b.pattern or (a.pattern == b.pattern and a.region < b.region)


cdef void _sort(Row *rows, uint32_t n) noexcept nogil:
    """Shell sort by pattern and region: mostly a handful, and bounded."""
    cdef uint32_t gap = 1, i, j
    cdef Row row
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            row = rows[i]
            j = i
            while j >= gap and _precedes(&row, &rows[j - gap]):
                rows[j] = rows[j - gap]
                j -= gap
            rows[j] = row
        gap = gap // 3


cdef void _drop_repeated(const Document *document, RowSink *sink) noexcept nogil:
    """Of sorted rows, those of disguised words whose pattern stands in the region that the words are from."""
    cdef uint32_t i, kept = 0, first = 0, at = 0
    cdef Row row
    for i in range(sink.n_rows):
        row = sink.rows[i]
        if i == 0 or row.pattern != sink.rows[kept - 1].pattern:
            first = at = kept
        if document.regions[row.region].kind == REGION_DISGUISED:
            while at < kept and sink.rows[at].region < sink.origins[row.region]:
                at += 1
            if at < kept and sink.rows[at].region == sink.origins[row.region]:
                continue
        sink.rows[kept] = row
        kept += 1
    sink.n_rows = kept


# --- matching ---------------------------------------------------------------------------------------------------------------------

cdef struct Search:
    const Compiled *compiled
    const Document *document
    RowSink *sink
    bint failed


cdef bint _found_identifier(void *context, Identifier identifier, uint32_t start) noexcept nogil:
    cdef Search *search = <Search *> context
    cdef uint32_t region = _region_at(search.document, start), i
    for i in range(search.compiled.identifier_starts[<uint32_t> identifier], search.compiled.identifier_starts[<uint32_t> identifier + 1]):
        if _add(search.sink, search.compiled, search.document, search.compiled.identifiers[i], region,
                start - search.document.regions[region].folded.start) < 0:
            search.failed = True
            return True
    return False


cdef int _join(const Document *document, RowSink *sink, bint written) noexcept nogil:
    """All regions, folded or as written, with white space joined. 0, or -1 for no memory."""
    cdef uint32_t index, length, marks = 0
    cdef size_t octets = 0
    cdef Span span
    cdef const uint8_t *text
    cdef void *moved
    for index in range(document.n_regions):
        span = document.regions[index].text if written else document.regions[index].folded
        octets += span.length + 1
        marks += span.length // ESA_MARK + 1
    sink.joined.length = 0
    if reserve(&sink.joined, octets + ESA_JOINED_SLACK) < 0:
        return -1
    if document.n_regions > sink.cap_starts:
        moved = realloc(sink.starts, 2 * document.n_regions * sizeof(uint32_t))
        if moved == NULL:
            return -1
        sink.starts = <uint32_t *> moved
        moved = realloc(sink.mark_starts, 2 * document.n_regions * sizeof(uint32_t))
        if moved == NULL:
            return -1
        sink.mark_starts = <uint32_t *> moved
        sink.cap_starts = 2 * document.n_regions
    if marks > sink.cap_marks:
        moved = realloc(sink.marks, 2 * marks * sizeof(uint32_t))
        if moved == NULL:
            return -1
        sink.marks = <uint32_t *> moved
        sink.cap_marks = 2 * marks
    marks = 0
    for index in range(document.n_regions):
        span = document.regions[index].text if written else document.regions[index].folded
        if written and document.regions[index].kind == REGION_DISGUISED:
            span.length = 0          # it stands in another region
        sink.starts[index] = sink.joined.length
        sink.mark_starts[index] = marks
        text = (document.text if written else document.folded) + span.start
        if wide:
            length = esa_join_spaces_wide(text, span.length, sink.joined.data + sink.joined.length, sink.marks + marks)
        else:
            length = esa_join_spaces_plain(text, span.length, sink.joined.data + sink.joined.length, sink.marks + marks)
        sink.joined.length += length
        sink.joined.data[sink.joined.length] = c'\n'
        sink.joined.length += 1
        marks += span.length // ESA_MARK + 1
    return 0


cdef inline uint32_t _joined_region(const RowSink *sink, uint32_t n_regions, uint32_t start) noexcept nogil:
    cdef uint32_t low = 0, high = n_regions, middle
    while high - low > 1:
        middle = (low + high) // 2
        if sink.starts[middle] <= start:
            low = middle
        else:
            high = middle
    return low


cdef int _match_terms(const Compiled *compiled, const Document *document, bint written, RowSink *sink) noexcept nogil:
    """Rows of the terms in folded text, or in text as written. 0, or -1 for no memory."""
    cdef const Matcher *matcher = compiled.written if written else compiled.folded
    cdef const uint32_t *patterns = compiled.of_written if written else compiled.of_folded
    cdef bint joins = compiled.joins or written
    cdef uint32_t i, start, rows, pattern, region = 0
    cdef Span span
    cdef const uint8_t *text = document.text if written else document.folded
    if joins:
        if _join(document, sink, written) < 0:
            return -1
        count_matches(matcher, sink.joined.data, sink.joined.length, &sink.matches)
    else:
        count_matches(matcher, document.folded, document.n_folded, &sink.matches)
    for i in range(sink.matches.n_places):
        start = sink.matches.places[i].start
        if joins:                # places mostly rise
            if start < sink.starts[region] or (region + 1 < document.n_regions and start >= sink.starts[region + 1]):
                region = _joined_region(sink, document.n_regions, start)
            start -= sink.starts[region]
        else:
            region = _region_at(document, start)
            start -= document.regions[region].folded.start
        pattern = patterns[sink.matches.places[i].term]
        span = document.regions[region].text if written else document.regions[region].folded
        if pattern >= compiled.n_patterns:
            if joins:
                start = esa_before_joining(text + span.start, span.length, sink.marks + sink.mark_starts[region], start)
            if wake(
                &compiled.anchors, &sink.wakes, pattern - compiled.n_patterns, region, document.regions[sink.origins[region]].kind,
                text + span.start, span.length, start,
            ) < 0:
                return -1
            continue
        rows = sink.n_rows
        if _add(sink, compiled, document, pattern, region, start) < 0:
            return -1
        if joins and sink.n_rows > rows:
            sink.rows[rows].offset = esa_before_joining(text + span.start, span.length, sink.marks + sink.mark_starts[region], start)
    sink.capped |= sink.matches.capped
    sink_reset(&sink.matches)
    return 0


cdef int _match_shapes(const Compiled *compiled, const Document *document, bint written, RowSink *sink) noexcept nogil:
    cdef uint32_t region
    cdef Span span
    if not has_shapes(&compiled.shapes, written):
        return 0
    for region in range(document.n_regions):
        span = document.regions[region].text if written else document.regions[region].folded
        if written and document.regions[region].kind == REGION_DISGUISED:
            continue             # it stands in another region
        if match_shapes(
            &compiled.shapes, &compiled.anchors, &sink.wakes, written, region, document.regions[sink.origins[region]].kind,
            (document.text if written else document.folded) + span.start, span.length,
        ) < 0:
            return -1
    return 0


cdef int match_document(const Compiled *compiled, const Document *document, RowSink *sink) noexcept nogil:
    """Fill the rows (reset before), sorted by pattern and region, from a folded document. 0, or -1 for no memory."""
    cdef uint32_t i
    cdef Search search
    if document.n_regions == 0:
        return 0
    if _find_origins(document, sink) < 0:
        return -1
    if compiled.folded != NULL and _match_terms(compiled, document, False, sink) < 0:
        return -1
    if compiled.written != NULL and _match_terms(compiled, document, True, sink) < 0:
        return -1
    if compiled.shapes.n_shapes and (_match_shapes(compiled, document, False, sink) < 0 or _match_shapes(compiled, document, True, sink) < 0):
        return -1
    if compiled.wanted:
        search.compiled, search.document, search.sink, search.failed = compiled, document, sink, False
        find_identifiers(document.folded, document.n_folded, compiled.wanted, _found_identifier, &search)
        if search.failed:
            return -1
    sink.capped |= sink.wakes.capped
    sort_wakes(&sink.wakes)
    for i in range(sink.n_rows):
        sink.last[sink.rows[i].pattern] = 0
    if sink.n_rows > 1:
        _sort(sink.rows, sink.n_rows)
        _drop_repeated(document, sink)
    return 0


# --- building -----------------------------------------------------------------------------------------------------------------------

def _each(value, n, kind):
    """One answer a pattern, from one for all or one each."""
    if not np.ndim(value):
        return np.full(n, value, kind)
    array = np.fromiter(value, kind, len(value))
    if len(array) != n:
        raise ValueError(f"{n} patterns, but {len(array)} answers of a kind")
    return array


def _prepare(texts, kinds, cased):
    """Texts as they are looked for: folded where case does not count, without the dot that a suffix may begin with."""
    prepared = []
    for text, kind, exact in zip(texts, kinds.tolist(), cased.tolist()):
        if kind == 4:
            text = text.removeprefix(b".")
        text = (text if exact else fold(text)).translate(_SPACES)
        while b"  " in text:
            text = text.replace(b"  ", b" ")
        prepared.append(text)
    return prepared


cdef class Program:
    """Patterns, compiled. Read-only once built: any number of threads and processes may share it.

    `texts` are UTF-8, `kinds` are of PATTERN_KINDS (the text of a number's kind is of no account), one for all or one each; so are `cased`
    and `regions`, bits of where a pattern counts in the order of REGION_NAMES. `note` is octets that the image carries. A pattern of which folding
    leaves nothing never matches. `anchors` tell of patterns that are regular expressions, and have no text here, where they may match; `keeps`: others are searched
    for in every message, whose text is to be kept.
    Raises ValueError for unknown kinds and over-long texts. `from_image` takes an image without a copy.
    """

    def __cinit__(self, texts, kinds="text", *, cased=False, regions=_EVERYWHERE, anchors=(), bint keeps=False, bytes note=b""):
        if texts is _ATTACHED:
            return
        texts = [bytes(text) for text in texts]
        n = len(texts)
        numbers = {name: number for number, name in enumerate(PATTERN_KINDS)}
        try:
            kind_array = _each(numbers[kinds] if isinstance(kinds, str) else [numbers[kind] for kind in kinds], n, np.uint8)
        except KeyError as error:
            raise ValueError(f"no kind of pattern is called {error.args[0]!r}: {', '.join(PATTERN_KINDS)}") from None
        case_array = _each(cased, n, np.bool_)
        sections = {"regions": _each(regions, n, np.uint16), "note": np.frombuffer(note, np.uint8)}
        sets = {}
        triggers, waking = triggers_of(anchors, sets)
        sections.update(waking, **shapes_of(anchors, sets))
        sections["sets"] = np.frombuffer(b"".join([octets.to_bytes(32, "little") for octets in sets]), np.uint8)
        texts += [text for text, _ in triggers]
        kind_array = np.concatenate([kind_array, np.zeros(len(triggers), np.uint8)])
        case_array = np.concatenate([case_array, np.array([exact for _, exact in triggers], np.bool_)])
        prepared = _prepare(texts, kind_array, case_array)
        literal = (kind_array < 5) & np.fromiter(map(bool, prepared), np.bool_, len(texts))
        sections["joins"], sections["keeps"] = np.array([any([b" " in text for text in prepared])], np.uint8), np.array([keeps], np.uint8)
        for name, chosen in (("folded", np.flatnonzero(literal & ~case_array)), ("written", np.flatnonzero(literal & case_array))):
            if len(chosen):
                automaton = Automaton([prepared[i] for i in chosen.tolist()], whole_word=_TERM_KINDS[kind_array[chosen]])
                sections[name], sections[f"of_{name}"] = np.frombuffer(automaton.image, np.uint8), chosen.astype(np.uint32)
        by_kind = [np.flatnonzero(kind_array == 5 + identifier) for identifier in range(<int> N_IDENTIFIERS)]
        sections["identifiers"] = np.concatenate(by_kind).astype(np.uint32)
        sections["by_kind"] = np.concatenate([[0], np.cumsum([len(chosen) for chosen in by_kind])]).astype(np.uint32)
        self._attach(pack(sections))

    @classmethod
    def from_image(cls, image):
        """The program of an image, a read-only buffer (a mapped file, say) that it keeps. Raises ValueError that says what is wrong where."""
        cdef Program made = cls.__new__(cls, _ATTACHED)
        made._attach(image)
        return made

    cdef int _attach(self, image) except -1:
        cdef const uint32_t[::1] numbers
        cdef const uint16_t[::1] masks
        cdef uint32_t kind
        memset(&self.compiled, 0, sizeof(Compiled))
        self.image, self.sections = image, unpack(image)
        sections = self.sections
        for name in ("regions", "note", "joins", "keeps", "identifiers", "by_kind"):
            if name not in sections:
                raise ValueError(f"section {name}: is missing")
        masks = regions = _view(sections, "regions", np.uint16)
        self.n_patterns = self.compiled.n_patterns = <uint32_t> len(regions)
        if len(regions):
            self.compiled.regions = &masks[0]
        self.compiled.joins, self.compiled.keeps = bool(sections["joins"].any()), bool(sections["keeps"].any())
        self.folded, self.written = self._automaton("folded"), self._automaton("written")
        if self.folded is not None:
            numbers = _view(sections, "of_folded", np.uint32)
            self.compiled.folded, self.compiled.of_folded = &self.folded.matcher, &numbers[0]
        if self.written is not None:
            numbers = _view(sections, "of_written", np.uint32)
            self.compiled.written, self.compiled.of_written = &self.written.matcher, &numbers[0]
        attach_anchors(&self.compiled.anchors, sections, <uint32_t> self.n_patterns)
        attach_shapes(&self.compiled.shapes, sections, &self.compiled.anchors)
        starts, identifiers = _view(sections, "by_kind", np.uint32), _view(sections, "identifiers", np.uint32)
        if len(starts) != <int> N_IDENTIFIERS + 1 or (np.diff(starts.astype(np.int64)) < 0).any() or int(starts[<int> N_IDENTIFIERS]) != len(identifiers):
            raise ValueError("section by_kind: does not rise to the end of the identifiers")
        if len(identifiers) and int(identifiers.max()) >= self.n_patterns:
            raise ValueError("section identifiers: names patterns that do not exist")
        numbers = starts
        self.compiled.identifier_starts = &numbers[0]
        for kind in range(<uint32_t> N_IDENTIFIERS):
            if starts[kind] < starts[kind + 1]:
                self.compiled.wanted |= 1u << kind
        if len(identifiers):
            numbers = identifiers
            self.compiled.identifiers = &numbers[0]
        return 0

    def _automaton(self, name):
        if name not in self.sections:
            return None
        n_texts = self.n_patterns + max(len(_view(self.sections, "triggers", np.uint32)) - 1, 0)
        try:
            automaton = Automaton.from_image(self.sections[name])
        except ValueError as error:
            raise ValueError(f"section {name}: {error}") from None
        patterns = _view(self.sections, f"of_{name}", np.uint32)
        if len(patterns) != automaton.n_terms or int(patterns.max(initial=0)) >= n_texts or not len(patterns):
            raise ValueError(f"section of_{name}: names patterns that do not exist")
        return automaton

    @property
    def anchored(self):
        """The patterns that anchors wake, regular expressions; sorted."""
        return sorted({self.compiled.anchors.anchors[i].pattern for i in range(self.compiled.anchors.n_anchors)})

    @property
    def note(self):
        return memoryview(self.sections["note"])

    @property
    def nbytes(self):
        return memoryview(self.image).nbytes


_ATTACHED = object()             # in the place of texts: an image is to follow


def _view(sections, name, kind):
    if name not in sections or sections[name].nbytes % np.dtype(kind).itemsize:
        raise ValueError(f"section {name}: is missing or has a broken last entry")
    return sections[name].view(kind)
