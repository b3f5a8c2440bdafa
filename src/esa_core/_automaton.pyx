"""Aho-Corasick over folded text: thousands of terms in one pass, without the GIL, counted per term.

Built with pyahocorasick and flattened to a table of byte classes, read in four interleaved streams (the load of the next state is the whole
cost, so four of them are kept in flight). Past DENSE_BUDGET single words, addresses and domains move to hash tables that are probed once
per token of the text, and what remains becomes an automaton whose shallow states have rows and whose deep states are chains with failure
links; that one is built here, because the dump of a million terms would take gigabytes. Every form finds the same matches.
"""

import ahocorasick
import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memset

from esa_core._terms cimport *

cdef extern from *:
    """
    #define ESA_HAS_OUTPUT 0x80000000u
    #define ESA_LABEL_OUTPUT 0x8000u
    """
    const uint32_t ESA_HAS_OUTPUT
    const uint16_t ESA_LABEL_OUTPUT

DENSE_BUDGET = 64 << 20          # bytes of the table; ten thousand mixed terms take some 24 MB
ROWS_BUDGET = 32 << 20           # bytes of the rows of the shallow states, once the whole table is past DENSE_BUDGET
LONGEST_TERM = 4096              # bytes; a longer one is no dictionary term

cdef bint _emit(const Matcher *m, uint32_t state, const uint8_t *text, uint32_t end, uint32_t n, MatchSink *sink) noexcept nogil:
    """All terms that end at `end`, longest first."""
    cdef uint32_t term = m.own[state]
    if term == ESA_NO_TERM:
        state = m.link[state]
    while state != ESA_NO_TERM:
        term = m.own[state]
        if found_term(&m.terms, term, text, end - (m.terms.offsets[term + 1] - m.terms.offsets[term]), end, n, sink):
            return True
        state = m.link[state]
    return False


# --- automaton, every state has a row -----------------------------------------------------------------------------------------------

cdef void _match_rows(const Matcher *m, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    cdef const uint32_t *rows = m.dense
    cdef const uint8_t *classes = &m.classes[0]
    cdef uint32_t first = m.first_output
    cdef uint32_t width = m.n_classes
    cdef uint32_t warm = m.longest - 1
    cdef uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef uint32_t i = 0, k, length, step, stop
    cdef uint32_t[4] states
    cdef const uint8_t *p1
    cdef const uint8_t *p2
    cdef const uint8_t *p3
    if n < 4 * warm + 256:
        for i in range(n):
            s0 = rows[s0 + classes[text[i]]]
            if s0 >= first and _emit(m, s0 // width, text, i + 1, n, sink):
                return
        return
    # Stream k reads `length` bytes from k * step; the first `warm` of them, which stream k - 1 reads too, only bring it to its state.
    length = (n + 3 * warm + 3) // 4
    step = length - warm
    p1 = text + step
    p2 = p1 + step
    p3 = p2 + step
    for i in range(warm):
        s0 = rows[s0 + classes[text[i]]]
        s1 = rows[s1 + classes[p1[i]]]
        s2 = rows[s2 + classes[p2[i]]]
        s3 = rows[s3 + classes[p3[i]]]
        if s0 >= first and _emit(m, s0 // width, text, i + 1, n, sink):
            return
    for i in range(warm, length - 3):
        s0 = rows[s0 + classes[text[i]]]
        s1 = rows[s1 + classes[p1[i]]]
        s2 = rows[s2 + classes[p2[i]]]
        s3 = rows[s3 + classes[p3[i]]]
        if (s0 >= first) | (s1 >= first) | (s2 >= first) | (s3 >= first):
            if s0 >= first and _emit(m, s0 // width, text, i + 1, n, sink):
                return
            if s1 >= first and _emit(m, s1 // width, text, step + i + 1, n, sink):
                return
            if s2 >= first and _emit(m, s2 // width, text, 2 * step + i + 1, n, sink):
                return
            if s3 >= first and _emit(m, s3 // width, text, 3 * step + i + 1, n, sink):
                return
    states[0] = s0
    states[1] = s1
    states[2] = s2
    states[3] = s3
    for k in range(4):
        s0 = states[k]
        stop = k * step + length
        if stop > n:
            stop = n
        for i in range(k * step + length - 3, stop):
            s0 = rows[s0 + classes[text[i]]]
            if s0 >= first and _emit(m, s0 // width, text, i + 1, n, sink):
                return


# --- automaton, deep states are chains ----------------------------------------------------------------------------------------------

cdef inline uint32_t _step(const Matcher *m, uint32_t state, uint16_t c) noexcept nogil:
    """Next state | ESA_HAS_OUTPUT."""
    cdef uint32_t child, end
    while state >= m.n_dense:
        child = m.chains[state].first_child
        end = m.chains[state + 1].first_child
        while child < end:
            if (m.labels[child] & ~ESA_LABEL_OUTPUT) == c:
                return child | (ESA_HAS_OUTPUT if m.labels[child] & ESA_LABEL_OUTPUT else 0)
            child += 1
        state = m.chains[state].fail
    return m.dense[<size_t> state * m.n_classes + c]


cdef void _match_chains(const Matcher *m, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    cdef uint32_t warm = m.longest - 1
    cdef uint32_t streams = 4 if n >= 4 * warm + 256 else 1
    cdef uint32_t length = n if streams == 1 else (n + 3 * warm + 3) // 4
    cdef uint32_t step = length - warm if streams == 4 else 0
    cdef uint32_t i, k, at
    cdef uint32_t[4] states
    memset(states, 0, sizeof(states))
    for i in range(length):
        for k in range(streams):
            at = k * step + i
            if at < n:
                states[k] = _step(m, states[k] & ~ESA_HAS_OUTPUT, m.classes[text[at]])
                if states[k] & ESA_HAS_OUTPUT and (k == 0 or i >= warm):
                    if _emit(m, states[k] & ~ESA_HAS_OUTPUT, text, at + 1, n, sink):
                        return


# --- all forms ----------------------------------------------------------------------------------------------------------------------

cdef void count_matches(const Matcher *matcher, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    """Add every match in text[:n] to the sink (reset it first). Nothing behind text[n - 1] is read."""
    if n == 0:
        return
    if matcher.n_states:
        if matcher.chains == NULL:
            _match_rows(matcher, text, n, sink)
        else:
            _match_chains(matcher, text, n, sink)
    if matcher.tokens.n_terms and not sink.capped:
        match_tokens(&matcher.terms, &matcher.tokens, text, n, sink)
    if matcher.addresses.n_terms and not sink.capped:
        match_addresses(&matcher.terms, &matcher.addresses, text, n, sink)
    if matcher.domains.n_terms and not sink.capped:
        match_domains(&matcher.terms, &matcher.domains, text, n, sink)


cdef int _by_number(const void *a, const void *b) noexcept nogil:
    cdef uint32_t x = (<const uint32_t *> a)[0], y = (<const uint32_t *> b)[0]
    return (x > y) - (x < y)


# --- building -----------------------------------------------------------------------------------------------------------------------

def _slots_for(count):
    """Free hash table for so many terms, at most five eighths full."""
    size = 8
    while size * 5 < count * 8:
        size *= 2
    return np.zeros(size, np.uint64)


def _text_of(term):
    """pyahocorasick reads str: each byte becomes the character of the same number."""
    return term.decode("latin-1")


def _count_states(ordered):
    """States of the trie of sorted terms, the root included."""
    count, previous = 1, b""
    for term in ordered:
        shared = 0
        for a, b in zip(previous, term):
            if a != b:
                break
            shared += 1
        count += len(term) - shared
        previous = term
    return count


cdef class Automaton:
    """Terms, ready to be counted in texts. Read-only once built: any number of threads may share it.

    `terms` are folded (see `fold`) UTF-8, 1 to 4,096 bytes each; terms of equal bytes are counted each. `whole_word` is one answer for
    all or one per term. `budget` is the size in bytes past which the table of the automaton gives way to the compressed forms. Raises
    ValueError for an empty or over-long term. `n_terms`, `nbytes` (what matching needs, without the counts of a thread) and `forms`
    (terms per form, states) describe it.
    """

    def __cinit__(self, terms, *, whole_word=False, budget=DENSE_BUDGET):
        cdef uint32_t i, term, n
        cdef const uint32_t[::1] offsets
        cdef const uint8_t[::1] blob
        cdef uint8_t[::1] kinds
        cdef uint32_t[::1] same, same_last
        cdef uint64_t[::1] slots
        cdef TermTable everything
        memset(&self.matcher, 0, sizeof(Matcher))
        terms = [bytes(t) for t in terms]
        self.n_terms = n = len(terms)
        words = [bool(whole_word)] * n if isinstance(whole_word, (bool, int)) else [bool(w) for w in whole_word]
        if len(words) != n:
            raise ValueError(f"{n} terms, but {len(words)} answers whether they are whole words")
        lengths = np.fromiter(map(len, terms), np.int64, n)
        if n and (lengths.min() < 1 or lengths.max() > LONGEST_TERM):
            bad = int(np.flatnonzero((lengths < 1) | (lengths > LONGEST_TERM))[0])
            raise ValueError(f"term {bad} has {lengths[bad]} bytes; a term has 1 to {LONGEST_TERM}")
        if lengths.sum() > 0xFFFFFFFF:
            raise ValueError("more than 4 GiB of terms")
        whole = np.zeros(n + 1, np.uint32)
        whole[1:] = np.cumsum(lengths)
        joined = np.frombuffer(b"".join(terms) + bytes(8), np.uint8)
        kind_array = np.zeros(n + 1, np.uint8)
        kind_array[:n] = words
        self.kept = [whole, joined, kind_array]
        offsets, blob, kinds = whole, joined, kind_array
        self.matcher.terms.n_terms = n
        self.matcher.terms.blob = &blob[0]
        self.matcher.terms.offsets = &offsets[0]
        self.matcher.terms.kinds = &kinds[0]
        for i in range(n):
            if kinds[i]:
                kinds[i] = kind_of(&blob[offsets[i]], offsets[i + 1] - offsets[i])
        # terms of the same bytes: only the first goes into a form, the others hang behind it
        all_slots = _slots_for(n)
        slots = all_slots
        memset(&everything, 0, sizeof(TermTable))
        everything.slots = &slots[0]
        everything.mask = len(all_slots) - 1
        same_array, last_array = np.full(n + 1, 0xFFFFFFFF, np.uint32), np.arange(n + 1, dtype=np.uint32)
        same, same_last = same_array, last_array
        first = np.zeros(n, np.bool_)
        cdef uint8_t[::1] is_first = first.view(np.uint8)
        for i in range(n):
            is_first[i] = insert_term(&everything, &self.matcher.terms, i, False, &same[0], &same_last[0])
        if not first.all():
            self.matcher.terms.same = &same[0]
            self.kept.append(same_array)
            # a hashed form must suit every term of its bytes: where kinds differ (substring and whole word) the automaton takes them all
            for i in range(n):
                if same[i] != ESA_NO_TERM and is_first[i]:
                    term = same[i]
                    while term != ESA_NO_TERM:
                        if kinds[term] == SUBSTRING or kinds[i] == SUBSTRING:
                            is_first[i] = 2
                        term = same[term]
        del slots, all_slots, same_last, last_array
        marks = first.view(np.uint8)
        chosen = np.flatnonzero(marks)
        self.forms = {"rows": 0, "chains": 0, "tokens": 0, "addresses": 0, "domains": 0, "states": 0}
        if not self._build_rows(terms, chosen, budget):
            hashed = kind_array[:n].copy()
            hashed[marks != 1] = SUBSTRING
            self._build_table(&self.matcher.tokens, "tokens", np.flatnonzero(hashed == TOKEN))
            self._build_table(&self.matcher.addresses, "addresses", np.flatnonzero(hashed == ADDRESS))
            self._build_table(&self.matcher.domains, "domains", np.flatnonzero(hashed == DOMAIN))
            rest = chosen[hashed[chosen] <= WORDS]
            if not self._build_rows(terms, rest, budget):
                self._build_chains(terms, rest)
        self.nbytes = sum(array.nbytes for array in self.kept)

    cdef int _build_table(self, TermTable *table, str form, chosen) except -1:
        cdef uint64_t[::1] slots
        cdef uint32_t term
        if len(chosen) == 0:
            return 0
        array = _slots_for(len(chosen))
        slots = array
        table.slots = &slots[0]
        table.mask = len(array) - 1
        for term in chosen:
            insert_term(table, &self.matcher.terms, term, form != "tokens", NULL, NULL)
        self.kept.append(array)
        self.forms[form] = len(chosen)
        return 0

    def _classes(self, terms, chosen):
        """Give each byte that stands in a term a class of its own; returns their number, the class of all others included."""
        used = sorted(set().union(*[terms[i] for i in chosen]))
        shared = 0 if len(used) < 256 else -1   # all 256 bytes are used: no class for others is needed
        memset(self.matcher.classes, 0, 256)
        for number, byte in enumerate(used):
            self.matcher.classes[byte] = number + 1 + shared
        return len(used) + 1 + shared

    cdef bint _build_rows(self, list terms, chosen, Py_ssize_t budget) except -1:
        """The dense table, if it fits the budget."""
        if len(chosen) == 0:
            return True
        width = self._classes(terms, chosen)
        most = budget // (4 * width)
        states = int(sum([len(terms[i]) for i in chosen])) + 1
        if states > most:
            if states > 16 * most:
                return False
            states = _count_states(sorted([terms[i] for i in chosen]))
            if states > most:
                return False
        automaton = ahocorasick.Automaton()
        for i in chosen:
            automaton.add_word(_text_of(terms[i]), int(i))
        automaton.make_automaton()
        nodes, edges, failures = automaton.dump()
        self._flatten(nodes, edges, failures, chosen, width)
        self.forms["rows"] = len(chosen)
        return True

    cdef int _flatten(self, list nodes, list edges, list failures, chosen, uint32_t width) except -1:
        """pyahocorasick's dump → rows of offsets; states without output first, each group breadth first, so that hot rows lie together."""
        cdef Py_ssize_t n = len(nodes), i, j, head, tail
        cdef uint32_t state, term, after
        cdef uint32_t c
        identities = np.array([node[0] for node in nodes], np.int64)
        identities.sort()
        parents = np.searchsorted(identities, np.array([edge[0] for edge in edges], np.int64))
        children = np.searchsorted(identities, np.array([edge[2] for edge in edges], np.int64)).astype(np.int64)
        letters = np.frombuffer(b"".join([edge[1] for edge in edges]), np.uint8)
        by_parent = np.argsort(parents, kind="stable")
        starts_array = np.searchsorted(parents[by_parent], np.arange(n + 1)).astype(np.int64)
        children_array, letters_array = children[by_parent], np.ascontiguousarray(letters[by_parent])
        fails_array = np.zeros(n, np.int64)
        deeper = np.searchsorted(identities, np.array([failure[0] for failure in failures], np.int64))
        fails_array[deeper] = np.searchsorted(identities, np.array([failure[1] for failure in failures], np.int64))
        is_child = np.zeros(n, np.bool_)
        is_child[children] = True
        cdef int64_t root = int(np.flatnonzero(~is_child)[0])
        cdef const int64_t[::1] starts = starts_array
        cdef const int64_t[::1] child = children_array
        cdef const int64_t[::1] fails = fails_array
        cdef const uint8_t[::1] letter = letters_array
        order_array = np.empty(n, np.int64)
        cdef int64_t[::1] order = order_array
        order[0] = root
        head, tail = 0, 1
        while head < tail:
            for j in range(starts[order[head]], starts[order[head] + 1]):
                order[tail] = child[j]
                tail += 1
            head += 1
        # rows by dump index first: the term of a state and its output are found by walking
        rows_array = np.empty(n * width, np.uint32)
        cdef uint32_t[::1] rows = rows_array
        for i in range(n):
            state = <uint32_t> order[i]
            if i == 0:
                for c in range(width):
                    rows[state * width + c] = <uint32_t> root
            else:
                for c in range(width):
                    rows[state * width + c] = rows[fails[state] * width + c]
            for j in range(starts[state], starts[state + 1]):
                rows[state * width + self.matcher.classes[letter[j]]] = <uint32_t> child[j]
        own_array = np.full(n, 0xFFFFFFFF, np.uint32)
        cdef uint32_t[::1] own = own_array
        for i in chosen:
            term = <uint32_t> i
            state = <uint32_t> root
            for j in range(self.matcher.terms.offsets[term], self.matcher.terms.offsets[term + 1]):
                state = rows[state * width + self.matcher.classes[self.matcher.terms.blob[j]]]
            own[state] = term
        link_array = np.full(n, 0xFFFFFFFF, np.uint32)
        cdef uint32_t[::1] link = link_array
        for i in range(1, n):
            state = <uint32_t> order[i]
            after = <uint32_t> fails[state]
            link[state] = after if own[after] != ESA_NO_TERM else link[after]
        # final numbers
        has_output = (own_array != 0xFFFFFFFF) | (link_array != 0xFFFFFFFF)
        quiet = ~has_output[order_array]
        final = np.r_[order_array[quiet], order_array[~quiet]]
        number = np.empty(n, np.uint32)
        number[final] = np.arange(n, dtype=np.uint32)
        table = (number * np.uint32(width))[rows_array].reshape(n, width)[final].reshape(-1)
        linked = link_array != 0xFFFFFFFF
        link_array[linked] = number[link_array[linked]]
        link_final, own_final = link_array[final], own_array[final]
        cdef const uint32_t[::1] view
        view = table
        self.matcher.dense = &view[0]
        view = own_final
        self.matcher.own = &view[0]
        view = link_final
        self.matcher.link = &view[0]
        self.kept += [table, own_final, link_final]
        self.matcher.n_states = self.matcher.n_dense = <uint32_t> n
        self.matcher.n_classes = width
        self.matcher.first_output = <uint32_t> (int(quiet.sum()) * width)
        for i in chosen:
            term = <uint32_t> i
            self.matcher.longest = max(self.matcher.longest, self.matcher.terms.offsets[term + 1] - self.matcher.terms.offsets[term])
        self.forms["states"] = n
        return 0

    cdef int _build_chains(self, list terms, chosen) except -1:
        """Trie, failure links and rows of the shallow states, breadth first from the sorted terms."""
        cdef uint32_t width = self._classes(terms, chosen)
        ordered_list = sorted(chosen.tolist(), key=terms.__getitem__)
        cdef Py_ssize_t states = _count_states([terms[i] for i in ordered_list])
        if states >= 0x7FFFFFFF:
            raise ValueError("more states than an automaton can number")
        ordered_array = np.array(ordered_list, np.uint32)
        cdef const uint32_t[::1] ordered = ordered_array
        chains_array = np.zeros((states + 1, 2), np.uint32)
        labels_array = np.zeros(states, np.uint16)
        own_array, link_array = np.full(states, 0xFFFFFFFF, np.uint32), np.full(states, 0xFFFFFFFF, np.uint32)
        cdef uint32_t n_dense = <uint32_t> max(1, min(states, ROWS_BUDGET // (4 * width)))
        rows_array = np.zeros(n_dense * width, np.uint32)
        cdef uint32_t[:, ::1] chains = chains_array
        cdef uint16_t[::1] labels = labels_array
        cdef uint32_t[::1] own = own_array
        cdef uint32_t[::1] link = link_array
        cdef uint32_t[::1] rows = rows_array
        # the sorted terms below each state, of the level being read and the next one
        low_array, high_array = np.zeros(1, np.uint32), np.full(1, len(ordered_list), np.uint32)
        cdef uint32_t[::1] low, high, low_next, high_next
        cdef Py_ssize_t level_start = 0, level_size = 1, made = 1, s, j
        cdef uint32_t depth = 0, a, b, child, f
        cdef uint8_t byte
        cdef Matcher *m = &self.matcher
        while level_size:
            low, high = low_array, high_array
            next_size = int(min(states - made, int((high_array[:level_size] - low_array[:level_size]).sum())))
            low_next_array, high_next_array = np.empty(next_size + 1, np.uint32), np.empty(next_size + 1, np.uint32)
            low_next, high_next = low_next_array, high_next_array
            j = 0
            for s in range(level_size):
                a, b = low[s], high[s]
                chains[level_start + s, 0] = <uint32_t> made
                if a < b and m.terms.offsets[ordered[a] + 1] - m.terms.offsets[ordered[a]] == depth:
                    own[level_start + s] = ordered[a]
                    a += 1
                while a < b:
                    byte = m.terms.blob[m.terms.offsets[ordered[a]] + depth]
                    low_next[j] = a
                    while a < b and m.terms.blob[m.terms.offsets[ordered[a]] + depth] == byte:
                        a += 1
                    high_next[j] = a
                    labels[made] = m.classes[byte]
                    j += 1
                    made += 1
            level_start += level_size
            level_size = j
            depth += 1
            low_array, high_array = low_next_array, high_next_array
        chains[states, 0] = <uint32_t> made
        # failure links and rows, breadth first: all that is read of shallower states is final
        m.chains = <const Chain *> &chains[0, 0]
        m.labels = &labels[0]
        m.own = &own[0]
        m.link = &link[0]
        m.dense = &rows[0]
        m.n_states = <uint32_t> states
        m.n_dense = n_dense
        m.n_classes = width
        m.longest = depth - 1
        for s in range(states):
            f = chains[s, 1]
            if 0 < s < n_dense:
                for j in range(width):
                    rows[s * width + j] = rows[f * width + j]
            for child in range(chains[s, 0], chains[s + 1, 0]):
                chains[child, 1] = 0 if s == 0 else _step(m, f, labels[child])
                if s < n_dense:
                    rows[s * width + labels[child]] = child
        for s in range(1, states):
            f = chains[s, 1]
            link[s] = f if own[f] != ESA_NO_TERM else link[f]
        has_output = (own_array != 0xFFFFFFFF) | (link_array != 0xFFFFFFFF)
        labels_array[has_output] |= 0x8000
        rows_array |= has_output[rows_array].astype(np.uint32) << np.uint32(31)
        self.kept += [chains_array, labels_array, own_array, link_array, rows_array]
        self.forms["chains"] = len(ordered_list)
        self.forms["states"] = states
        return 0

    def counts(self, text):
        """{term: matches} of one text; terms without a match are absent. Past the cap of matches of one text the rest is not looked at."""
        _, found, counts, _ = self.scan([text])
        return dict(zip(found.tolist(), counts.tolist()))

    def scan(self, texts):
        """Matches of many folded texts, without the GIL.

        Returns `indptr` int64 [n + 1], `terms` int32 [m] (rising within a text), `counts` int32 [m], `capped` bool [n] (True:
        ESA_MAX_MATCHES was reached).
        """
        cdef Py_ssize_t n = len(texts), i, done = 0, room = 1024, m = 0
        cdef MatchSink sink
        cdef uint32_t j
        cdef int32_t *grown
        cdef bint failed = False
        cdef Py_buffer *buffers = <Py_buffer *> calloc(n + 1, sizeof(Py_buffer))
        cdef int32_t *found = <int32_t *> malloc(room * 2 * sizeof(int32_t))     # pairs of term and count
        indptr_array, capped_array = np.zeros(n + 1, np.int64), np.zeros(n, np.uint8)
        cdef int64_t[::1] indptr = indptr_array
        cdef uint8_t[::1] capped = capped_array
        memset(&sink, 0, sizeof(MatchSink))
        try:
            if buffers == NULL or found == NULL or sink_init(&sink, self.matcher.terms.n_terms) != 0:
                raise MemoryError
            for i in range(n):
                PyObject_GetBuffer(texts[i], &buffers[i], PyBUF_SIMPLE)
                done += 1
                if buffers[i].len > 0x40000000:
                    raise ValueError("a text longer than 1 GiB")
            with nogil:
                for i in range(n):
                    count_matches(&self.matcher, <const uint8_t *> buffers[i].buf, <uint32_t> buffers[i].len, &sink)
                    if m + sink.n_touched > room:
                        room = 2 * (m + sink.n_touched)
                        grown = <int32_t *> realloc(found, room * 2 * sizeof(int32_t))
                        if grown == NULL:
                            failed = True
                            break
                        found = grown
                    qsort(sink.touched, sink.n_touched, sizeof(uint32_t), &_by_number)
                    for j in range(sink.n_touched):
                        found[2 * m] = <int32_t> sink.touched[j]
                        found[2 * m + 1] = <int32_t> sink.counts[sink.touched[j]]
                        m += 1
                    indptr[i + 1] = m
                    capped[i] = sink.capped
                    sink_reset(&sink)
            if failed:
                raise MemoryError
            pairs = np.zeros((m, 2), np.int32)
            if m:
                pairs[:] = <int32_t[:m, :2]> found
            return indptr_array, pairs[:, 0].copy(), pairs[:, 1].copy(), capped_array.view(np.bool_)
        finally:
            sink_free(&sink)
            free(found)
            for i in range(done):
                PyBuffer_Release(&buffers[i])
            free(buffers)
