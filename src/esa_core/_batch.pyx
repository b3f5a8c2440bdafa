"""The batch driver: many raw messages in, arrays out, in one native call.

The GIL is held only to collect the pointers of the buffers (a tuple keeps them alive); parsing, decoding, folding, facts, scoring and
matching of the whole batch then run without it. Each call borrows a workspace (arena, match counters) from the engine's pool, so that one
engine serves any number of threads; lexicon, cards, program and weights are shared read-only. Results do not depend on the size of the
batch or on threads.
Called by `esa.engine.scanner`.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport fabs, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from esa_core._cards cimport Cards, CardTable, score_cards
from esa_core._facts cimport N_FACTS, extract_facts_of
from esa_core._features cimport N_FAMILIES, FeatureScratch, features_free, features_init, hash_features, hash_more
from esa_core._lexicon cimport Lexicon
from esa_core._linear cimport LinearModel, mean_weight
from esa_core._buffer cimport append
from esa_core._document cimport document_free, document_held, document_init, document_reset, give_back, lend
from esa_core._html cimport add_region
from esa_core._mime cimport parse_structure
from esa_core._program cimport Compiled, Program, RowSink, match_document, rows_free, rows_held, rows_init, rows_reset, rows_trim
from esa_core._rank cimport rank
from esa_core._results cimport Kept, Match, Results, Window, results_add, results_free, results_held, results_init, results_reset, results_trim
from esa_core._text cimport decode_text, fold_text
from esa_core._types cimport REGION_PLAIN, TOO_MANY_MATCHES, Buffer, Document
from esa_core._words cimport Table

from esa_core._features import N_FEATURES
from esa_core._parsed import REGION_NAMES, Region as RegionText

cdef extern from *:
    """
    #include <time.h>
    /* CPU time of this thread in microseconds: what a message cost, whatever else the machine did meanwhile. */
    static inline double esa_thread_micros(void) {
        struct timespec now;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
    }
    """
    double esa_thread_micros() noexcept nogil

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__GLIBC__)
    #include <malloc.h>
    #define esa_give_back() ((void)malloc_trim(0))
    #else
    #define esa_give_back() ((void)0)
    #endif
    """
    void esa_give_back() noexcept nogil

FAMILY_NAMES = ("header_tokens", "body_words", "header_grams", "body_grams", "masked_grams", "text_words")  # in the order of the bits
cdef uint32_t N_WEIGHTS = N_FEATURES
MAX_POOL = 16                    # workspaces kept between calls; more threads than that at once make theirs anew

cdef enum:
    GREAT = 8388608              # octets of a document, freed after its message, that the C library is told to give back: it would keep them

cdef struct Stage:               # a linear model and the hashed features that it weighs
    const float *weights         # [2^20]; NULL: there is no such stage
    double bias
    bint normalised
    uint32_t families            # bits of Family

cdef struct Parts:               # what an engine scans with; NULL where it has none
    const Table *lexicon
    const CardTable *cards
    const Compiled *program
    Stage first
    Stage second                 # weighs its families instead, all of them, where the first is not sure
    double margin                # the first stage is sure of a message whose log-odds are this far from 0

cdef struct Row:                 # where the results of one message go
    double *logit
    uint64_t *flags
    float *facts                 # [N_FACTS] or NULL
    double *families             # [N_FAMILIES + 1] log-odds of each family of hashed features, then the bias; or NULL
    uint8_t *stage               # whose log-odds these are; or NULL
    float *micros


# --- leaf functions ---------------------------------------------------------------------------------------------------------------

cdef double _weigh(const Stage *stage, const FeatureScratch *scratch, Py_ssize_t n, double *families) noexcept nogil:
    """The log-odds of n features, and in `families` their summands, one a family and the bias."""
    cdef Py_ssize_t start = 0
    cdef double length = sqrt(<double> n) if stage.normalised and n else 1.0, total = stage.bias
    cdef int family
    for family in range(<int> N_FAMILIES):
        families[family] = mean_weight(stage.weights, scratch.indices + start, <Py_ssize_t> scratch.ends[family] - start, False) / length
        start = <Py_ssize_t> scratch.ends[family]
        total += families[family]
    families[<int> N_FAMILIES] = stage.bias
    return total


cdef int _score_features(const Parts *parts, Document *document, FeatureScratch *scratch, Row row) noexcept nogil:
    """Add the log-odds of the stage that is sure of the message, or of the last one, to the logit; 0, or -1 for no memory."""
    cdef Py_ssize_t n
    cdef double total
    scratch.weights = parts.first.weights
    scratch.prefetched = N_WEIGHTS - 1
    n = hash_features(document, parts.first.families, scratch)
    if n < 0:
        return -1
    total = _weigh(&parts.first, scratch, n, row.families)
    row.stage[0] = 1
    if parts.second.weights != NULL and fabs(total) < parts.margin:
        n = hash_more(document, parts.second.families & ~parts.first.families, scratch)
        if n < 0:
            return -1
        total = _weigh(&parts.second, scratch, n, row.families)
        row.stage[0] = 2
    row.logit[0] += total
    return 0


cdef int _scan_one(
    const Parts *parts, Document *document, RowSink *sink, FeatureScratch *scratch, const uint8_t *raw, size_t length, Row row,
    Results *results, double *clock,
) noexcept nogil:
    """One message through the whole pipeline; 0, or -1 for no memory. `clock` is when the message before it was done."""
    cdef double began = clock[0]
    if parse_structure(document, raw, length) < 0 or decode_text(document) < 0 or fold_text(document) < 0:
        return -1
    row.logit[0] = 0.0
    if row.facts != NULL:
        if extract_facts_of(document, parts.lexicon, row.facts) < 0:
            return -1
        if parts.cards != NULL:
            row.logit[0] = score_cards(parts.cards, row.facts, NULL)
    if row.families != NULL and _score_features(parts, document, scratch, row) < 0:
        return -1
    if parts.program != NULL:
        if match_document(parts.program, document, sink) < 0 or results_add(results, parts.program, document, sink) < 0:
            return -1
        if sink.capped:
            document.flags |= TOO_MANY_MATCHES
        rows_reset(sink)
    row.flags[0] = document.flags
    if document_held(document) > GREAT:
        document_reset(document)
        esa_give_back()
    else:
        document_reset(document)
    clock[0] = esa_thread_micros()  # asked once a message: it is a system call
    row.micros[0] = <float> (clock[0] - began)
    return 0


# --- workspaces -------------------------------------------------------------------------------------------------------------------

cdef class Workspace:
    """The memory that scanning one message after another needs; of one thread at a time."""

    cdef Document document
    cdef RowSink sink
    cdef FeatureScratch scratch
    cdef Results results

    def __cinit__(self, Program program, bint hashing):
        memset(&self.sink, 0, sizeof(RowSink))
        results_init(&self.results)
        memset(&self.scratch, 0, sizeof(FeatureScratch))
        if document_init(&self.document) < 0 or (program is not None and rows_init(&self.sink, &program.compiled) < 0):
            raise MemoryError
        if hashing and features_init(&self.scratch) < 0:
            raise MemoryError

    def __dealloc__(self):
        document_free(&self.document)
        rows_free(&self.sink)
        features_free(&self.scratch)
        results_free(&self.results)

    cdef void trim(self) noexcept:
        """Give back what one great batch needed; the document has done so after each message."""
        results_trim(&self.results)
        rows_trim(&self.sink)

    cdef size_t held(self) noexcept:
        cdef size_t features = self.scratch.capacity * sizeof(int32_t) + self.scratch.masked_capacity
        return document_held(&self.document) + results_held(&self.results) + rows_held(&self.sink) + features


cdef Stage _stage(LinearModel model, uint32_t families) noexcept:
    cdef Stage stage
    memset(&stage, 0, sizeof(Stage))
    if model is not None:
        stage.weights = model.weights
        stage.bias = model.bias
        stage.normalised = model.normalised
        stage.families = families
    return stage


# --- front door -------------------------------------------------------------------------------------------------------------------

cdef class Engine:
    """Scans batches of raw messages: facts with a lexicon, a logit with cards or a linear model or their sum, patterns with a
    program.

    `families` are the bits of the hashed features that `linear` weighs. Where its log-odds are nearer to 0 than `margin`, `second` weighs
    `second_families` in its place: those of the first stage and more, of higher bits, that are not extracted before. What is not given is
    not done; without cards and linear model every logit is 0. Immutable and shared by threads. Raises ValueError if cards or weights are of
    another feature space, or if the stages do not fit together.
    """

    cdef readonly Lexicon lexicon
    cdef readonly Cards cards
    cdef readonly Program program
    cdef readonly LinearModel linear
    cdef readonly LinearModel second
    cdef list pool
    cdef Parts parts

    def __cinit__(
        self, *, Lexicon lexicon=None, Cards cards=None, Program program=None, LinearModel linear=None, uint32_t families=0,
        LinearModel second=None, uint32_t second_families=0, double margin=0.0,
    ):
        if cards is not None and lexicon is None:
            raise ValueError("cards need a lexicon to find the facts with")
        if cards is not None and cards.n_facts != N_FACTS:
            raise ValueError(f"the cards weigh {cards.n_facts} facts, this core finds {<int> N_FACTS}")
        cdef uint32_t added = second_families & ~families
        for model in (linear, second):
            if model is not None and (<LinearModel> model).n_weights != N_FEATURES:
                raise ValueError(f"the linear model has {(<LinearModel> model).n_weights} weights, this core hashes to {N_FEATURES} features")
        if second is not None:
            if linear is None:
                raise ValueError("a second stage needs a first one")
            if families & ~second_families or (added and (added & (~added + 1)) < families):
                raise ValueError("the second stage must weigh the families of the first, and others only of higher bits")
            if not margin >= 0.0:
                raise ValueError(f"the margin is a distance in log-odds, not {margin}")
        self.lexicon, self.cards, self.program, self.linear, self.second = lexicon, cards, program, linear, second
        self.pool = []
        self.parts.lexicon = NULL if lexicon is None else &lexicon.table
        self.parts.cards = NULL if cards is None else &cards.table
        self.parts.program = NULL if program is None else &program.compiled
        self.parts.first = _stage(linear, families)
        self.parts.second = _stage(second, second_families)
        self.parts.margin = margin

    def scan(self, raws):
        """Scan every message of a sequence of bytes-like objects, without the GIL. Order is kept.

        Raises TypeError or BufferError for what is no contiguous buffer, and MemoryError; nothing for content.
        """
        cdef tuple kept = tuple(raws)  # keeps the buffers alive
        cdef Py_ssize_t n = len(kept), i, done = 0, failed = -1
        cdef Workspace workspace = self._workspace()
        cdef Batch batch = Batch.__new__(Batch)
        cdef Py_buffer *buffers = <Py_buffer *> calloc(n + 1, sizeof(Py_buffer))
        cdef Row row, here
        cdef int64_t *starts
        cdef Results *results = &workspace.results
        cdef int64_t *window_starts
        cdef int64_t *kept_starts
        cdef double clock
        if buffers == NULL:
            raise MemoryError
        try:
            for i in range(n):
                PyObject_GetBuffer(kept[i], &buffers[i], PyBUF_SIMPLE)
                done += 1
            batch._allocate(n, self)
            row = batch._first_row()
            starts = <int64_t *> PyBytes_AS_STRING(batch._starts)
            window_starts = <int64_t *> PyBytes_AS_STRING(batch._window_starts)
            kept_starts = <int64_t *> PyBytes_AS_STRING(batch._kept_starts)
            results_reset(results)
            with nogil:
                clock = esa_thread_micros()
                for i in range(n):
                    starts[i], window_starts[i], kept_starts[i] = <int64_t> results.n_matches, <int64_t> results.n_windows, <int64_t> results.n_kept
                    here.logit = row.logit + i
                    here.flags = row.flags + i
                    here.micros = row.micros + i
                    here.facts = NULL if row.facts == NULL else row.facts + i * N_FACTS
                    here.families = NULL if row.families == NULL else row.families + i * (N_FAMILIES + 1)
                    here.stage = row.stage + i
                    if _scan_one(
                        &self.parts, &workspace.document, &workspace.sink, &workspace.scratch,
                        <const uint8_t *> buffers[i].buf, <size_t> buffers[i].len, here, results, &clock,
                    ) < 0:
                        failed = i
                        break
                starts[n], window_starts[n], kept_starts[n] = <int64_t> results.n_matches, <int64_t> results.n_windows, <int64_t> results.n_kept
            if failed >= 0:
                raise MemoryError(f"no memory to scan message {failed} of the batch")
            batch._take(results)
        finally:
            for i in range(done):
                PyBuffer_Release(&buffers[i])
            free(buffers)
        workspace.trim()
        if len(self.pool) < MAX_POOL:
            self.pool.append(workspace)  # not reached after an error: a workspace in an unknown state is thrown away
        return batch

    def stands_in(self, bytes text not None):
        """Whether any pattern stands in a text by itself, as in the plain text of a message, or a regular expression may. MemoryError only."""
        cdef Workspace workspace
        cdef Document *document
        cdef RowSink *sink
        cdef Buffer arena
        cdef bint found
        if self.program is None or len(text) == 0:
            return False
        workspace = self._workspace()
        document, sink = &workspace.document, &workspace.sink
        arena = lend(document)
        if append(&arena, <const uint8_t *> PyBytes_AS_STRING(text), len(text)) < 0:
            raise MemoryError
        give_back(document, &arena)
        if add_region(document, 0, REGION_PLAIN, 0, document.n_text) < 0 or fold_text(document) < 0:
            raise MemoryError
        if match_document(self.parts.program, document, sink) < 0:
            raise MemoryError
        found = sink.n_rows > 0 or sink.wakes.n_wakes > 0 or sink.capped
        rows_reset(sink)
        document_reset(document)
        if len(self.pool) < MAX_POOL:
            self.pool.append(workspace)
        return found

    @property
    def nbytes(self):
        """Octets of memory that idle workspaces hold for the next messages; bounded, however large a message was."""
        return sum([(<Workspace> workspace).held() for workspace in self.pool])

    cdef Workspace _workspace(self):
        try:
            return self.pool.pop()  # atomic, with the GIL and without
        except IndexError:
            return Workspace(self.program, self.linear is not None)


@cython.final
cdef class Batch:
    """The results of one `Engine.scan`, as read-only arrays that are made when asked for.

    `logits` float64 [n], `flags` uint64 [n] (see `flag_names`), `facts` float32 [n, n_facts], `micros` float32 [n] (CPU microseconds of the
    thread), `stages` uint8 [n]: which stage of linear models gave the log-odds (0: there is none).
    `match_starts` int64 [n + 1] are where the rows of each message begin in the match table, which is sorted by pattern and region: a row
    for each pattern and region, `match_terms` int32 (the pattern), `match_kinds` uint32 (of REGION_NAMES) and `match_parts` int32 (where), `match_offsets`
    uint32 (of the first match in the region's folded text, or its text where case counts), `match_counts` int32 (at most 65,535).
    """

    cdef Py_ssize_t n
    cdef Engine engine
    cdef bytes _logits
    cdef bytes _flags
    cdef bytes _facts
    cdef bytes _families
    cdef bytes _stages
    cdef bytes _micros
    cdef bytes _starts
    cdef bytes _matches
    cdef bytes _window_starts
    cdef bytes _windows
    cdef bytes _kept_starts
    cdef bytes _kept
    cdef bytes _octets

    cdef int _allocate(self, Py_ssize_t n, Engine engine) except -1:
        self.n = n
        self.engine = engine
        self._logits = PyBytes_FromStringAndSize(NULL, n * sizeof(double))
        self._flags = PyBytes_FromStringAndSize(NULL, n * sizeof(uint64_t))
        self._micros = PyBytes_FromStringAndSize(NULL, n * sizeof(float))
        self._facts = b"" if engine.lexicon is None else PyBytes_FromStringAndSize(NULL, n * N_FACTS * sizeof(float))
        self._families = b"" if engine.linear is None else PyBytes_FromStringAndSize(NULL, n * (N_FAMILIES + 1) * sizeof(double))
        self._stages = PyBytes_FromStringAndSize(NULL, n)
        memset(PyBytes_AS_STRING(self._stages), 0, n)
        self._starts = PyBytes_FromStringAndSize(NULL, (n + 1) * sizeof(int64_t))
        self._window_starts = PyBytes_FromStringAndSize(NULL, (n + 1) * sizeof(int64_t))
        self._kept_starts = PyBytes_FromStringAndSize(NULL, (n + 1) * sizeof(int64_t))
        return 0

    cdef Row _first_row(self):
        cdef Row row
        row.logit = <double *> PyBytes_AS_STRING(self._logits)
        row.flags = <uint64_t *> PyBytes_AS_STRING(self._flags)
        row.micros = <float *> PyBytes_AS_STRING(self._micros)
        row.facts = NULL if self.engine.lexicon is None else <float *> PyBytes_AS_STRING(self._facts)
        row.families = NULL if self.engine.linear is None else <double *> PyBytes_AS_STRING(self._families)
        row.stage = <uint8_t *> PyBytes_AS_STRING(self._stages)
        return row

    cdef int _take(self, const Results *results) except -1:
        self._matches = _copied(results.matches, results.n_matches * sizeof(Match))
        self._windows = _copied(results.windows, results.n_windows * sizeof(Window))
        self._kept = _copied(results.kept, results.n_kept * sizeof(Kept))
        self._octets = _copied(results.octets, results.n_octets)
        return 0

    def __len__(self):
        return self.n

    @property
    def logits(self):
        return _array(self._logits, "float64")

    @property
    def flags(self):
        return _array(self._flags, "uint64")

    @property
    def micros(self):
        return _array(self._micros, "float32")

    @property
    def stages(self):
        return _array(self._stages, "uint8")

    @property
    def facts(self):
        return _array(self._facts, "float32").reshape(self.n, 0 if self.engine.lexicon is None else N_FACTS)

    @property
    def match_starts(self):
        return _array(self._starts, "int64")

    cdef object _column(self, str name):
        return _array(self._matches, [("term", "i4"), ("part", "i4"), ("kind", "u4"), ("offset", "u4"), ("count", "i4")])[name]

    @property
    def match_terms(self):
        return self._column("term")

    @property
    def match_kinds(self):
        return self._column("kind")

    @property
    def match_parts(self):
        return self._column("part")

    @property
    def match_offsets(self):
        return self._column("offset")

    @property
    def match_counts(self):
        return self._column("count")

    def counts(self, Py_ssize_t row):
        """{pattern: matches} of one message; patterns without a match are absent. Raises IndexError."""
        cdef const int64_t *starts = <const int64_t *> PyBytes_AS_STRING(self._starts)
        cdef const Match *matches = <const Match *> PyBytes_AS_STRING(self._matches)
        cdef int64_t i
        cdef int32_t term = -1, count = 0
        cdef dict found = {}
        self._check(row)
        for i in range(starts[row], starts[row + 1]):
            count = matches[i].count + (count if matches[i].term == term else 0)
            term = matches[i].term
            found[term] = count
        return found

    def table(self, Py_ssize_t row):
        """The match table of one message: [(pattern, kind of region, part, offset, count)], sorted. Raises IndexError."""
        cdef const int64_t *starts = <const int64_t *> PyBytes_AS_STRING(self._starts)
        cdef const Match *matches = <const Match *> PyBytes_AS_STRING(self._matches)
        cdef int64_t i
        self._check(row)
        return [
            (matches[i].term, REGION_NAMES[matches[i].kind], matches[i].part, matches[i].offset, matches[i].count)
            for i in range(starts[row], starts[row + 1])
        ]

    def windows(self, Py_ssize_t row):
        """Where regular expressions may match in one message: [(pattern, region, start, end)], sorted, none overlapping. Raises IndexError."""
        cdef const int64_t *starts = <const int64_t *> PyBytes_AS_STRING(self._window_starts)
        cdef const Window *windows = <const Window *> PyBytes_AS_STRING(self._windows)
        cdef int64_t i
        self._check(row)
        return [(windows[i].pattern, windows[i].region, windows[i].start, windows[i].end) for i in range(starts[row], starts[row + 1])]

    def regions(self, Py_ssize_t row):
        """The regions of one message as `Parsed.regions` has them, if it has windows; None if their text was not kept. Raises IndexError."""
        cdef const int64_t *starts = <const int64_t *> PyBytes_AS_STRING(self._kept_starts)
        cdef const Kept *kept = <const Kept *> PyBytes_AS_STRING(self._kept)
        cdef const char *octets = PyBytes_AS_STRING(self._octets)
        cdef int64_t i
        self._check(row)
        return [
            RegionText(
                REGION_NAMES[kept[i].kind], kept[i].origin, kept[i].part, octets[kept[i].start:kept[i].start + kept[i].n_text],
                octets[kept[i].start + kept[i].n_text:kept[i].start + kept[i].n_text + kept[i].n_folded],
            )
            for i in range(starts[row], starts[row + 1])
        ] or None

    def contributions(self, Py_ssize_t row):
        """The summands of one message's logit, float64; they sum to it. Raises IndexError.

        With cards [n_facts + 1], the last is the prior; then with a linear model [n_families + 1], the last is the bias.
        """
        return _array(self._contributions(row), "float64")

    cdef bytes _contributions(self, Py_ssize_t row):
        cdef size_t of_cards = 0, of_families = 0
        cdef double *out
        cdef bytes memory
        self._check(row)
        if self.engine.cards is not None:
            of_cards = N_FACTS + 1
        if self.engine.linear is not None:
            of_families = N_FAMILIES + 1
        memory = PyBytes_FromStringAndSize(NULL, (of_cards + of_families) * sizeof(double))
        out = <double *> PyBytes_AS_STRING(memory)
        if of_cards:
            score_cards(&self.engine.cards.table, <const float *> PyBytes_AS_STRING(self._facts) + row * N_FACTS, out)
        if of_families:
            memcpy(out + of_cards, <const double *> PyBytes_AS_STRING(self._families) + row * of_families, of_families * sizeof(double))
        return memory

    def summed(self, Py_ssize_t row, const uint8_t[::1] places, Py_ssize_t n):
        """The contributions summed by place, a list of n floats; `places[i]`, under n, is where contribution i goes. Raises IndexError."""
        return self._sums(self._contributions(row), places, n)

    cdef list _sums(self, bytes memory, const uint8_t[::1] places, Py_ssize_t n):
        cdef const double *values = <const double *> PyBytes_AS_STRING(memory)
        cdef Py_ssize_t length = len(memory) // sizeof(double), i
        cdef double[256] sums
        if length != places.shape[0] or not 0 <= n <= 256:
            raise IndexError(f"{places.shape[0]} places of {length} contributions, {n} sums")
        for i in range(n):
            sums[i] = 0.0
        for i in range(length):
            if places[i] >= n:
                raise IndexError(f"place {places[i]} of {n}")
            sums[places[i]] += values[i]
        return [sums[i] for i in range(n)]

    def fact_row(self, Py_ssize_t row):
        """The facts of one message that are not zero, each as its number (one octet) and its float32. Raises IndexError."""
        cdef char[5 * N_FACTS] out
        cdef const float *facts
        cdef Py_ssize_t i, length = 0
        self._check(row)
        if self.engine.lexicon is None:
            return b""
        facts = <const float *> PyBytes_AS_STRING(self._facts) + row * N_FACTS
        for i in range(N_FACTS):
            if facts[i] != 0.0:
                out[length] = <char> i
                memcpy(out + length + 1, facts + i, sizeof(float))
                length += 1 + sizeof(float)
        return PyBytes_FromStringAndSize(out, length)

    def ranked(self, Py_ssize_t row, Py_ssize_t most=-1):
        """The contributions that are not zero, by falling size, equal ones in their order: (indices, values), two lists. Raises IndexError.

        `most`: only so many, the largest; negative: all.
        """
        return self._ranked(self._contributions(row), most)

    def told(self, Py_ssize_t row, Py_ssize_t most, const uint8_t[::1] places, Py_ssize_t n):
        """`ranked`, `summed` and `fact_row` of one message in one look: (indices, values, sums, facts). Raises IndexError."""
        cdef bytes memory = self._contributions(row)
        return *self._ranked(memory, most), self._sums(memory, places, n), self.fact_row(row)

    cdef tuple _ranked(self, bytes memory, Py_ssize_t most):
        cdef const double *values = <const double *> PyBytes_AS_STRING(memory)
        cdef Py_ssize_t n = len(memory) // sizeof(double), length, i
        cdef bytes places = PyBytes_FromStringAndSize(NULL, n * sizeof(int32_t))
        cdef int32_t *order = <int32_t *> PyBytes_AS_STRING(places)
        length = rank(values, n, order, n if most < 0 else min(most, n))
        return [order[i] for i in range(length)], [values[order[i]] for i in range(length)]

    cdef int _check(self, Py_ssize_t row) except -1:
        if not 0 <= row < self.n:
            raise IndexError(f"row {row} of a batch of {self.n}")
        return 0


cdef bytes _copied(const void *rows, size_t octets):
    return PyBytes_FromStringAndSize(<const char *> rows, octets) if octets else b""


cdef object _array(bytes memory, kind):
    """A read-only array over memory that it keeps alive; numpy is loaded by whoever asks first."""
    import numpy as np

    return np.frombuffer(memory, dtype=kind)
