"""Terms over folded text: thousands of them in one pass, without the GIL, counted per term; built once, mapped and shared afterwards.

Terms are found by grams (`_grams`): no state is carried from octet to octet. Whole addresses are found by one probe at each @, and where there
are very many single words or domain names, these by one probe a word or label (`_terms`). Every form finds the same matches. What was
compiled is one image (`_image`) that a matcher points into, wherever it comes from.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memset

from esa_core._grams cimport GramEntry, GramLayer, KeyClass, choose_anchors, fill_buckets, match_grams
from esa_core._terms cimport *

from esa_core._image import pack, unpack

LONGEST_TERM = 4096              # octets; a longer one is no dictionary term
HASHED_FROM = {"tokens": 50_000, "addresses": 1, "domains": 10_000}   # terms of a kind past which probing them is faster than their grams
KINDS = {"tokens": 2, "addresses": 3, "domains": 4}                   # TermKind
ENTRY = np.dtype([("key", "u8"), ("term", "u4"), ("anchor", "u2"), ("length", "u2")])   # GramEntry
TABLE = np.dtype([("terms", "u4"), ("shortest", "u4"), ("longest", "u4")])
LAYER = np.dtype([("core", "u4"), ("shift", "u4"), ("seed", "u4")])
CLASS = np.dtype([("layer", "u4"), ("length", "u4"), ("shift", "u4"), ("bucket_shift", "u4"), ("seed", "u8")])

_ATTACHED = object()             # in the place of terms: an image is to follow


cdef void count_matches(const Matcher *matcher, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    """Add every match in text[:n] to the sink (reset it first). Nothing behind text[n - 1] is read."""
    cdef uint32_t i
    if n == 0:
        return
    for i in range(matcher.n_layers):
        if not sink.capped:
            match_grams(&matcher.layers[i], &matcher.terms, text, n, sink)
    if matcher.tokens.n_terms and not sink.capped:
        match_tokens(&matcher.terms, &matcher.tokens, text, n, sink)
    if matcher.addresses.n_terms and not sink.capped:
        match_addresses(&matcher.terms, &matcher.addresses, text, n, sink)
    if matcher.domains.n_terms and not sink.capped:
        match_domains(&matcher.terms, &matcher.domains, text, n, sink)


# --- building -----------------------------------------------------------------------------------------------------------------------

def _slots_for(count):
    """Free hash table for so many terms, at most five eighths full."""
    size = 8
    while size * 5 < count * 8:
        size *= 2
    return np.zeros(size, np.uint64)


def _log2(count, least, most):
    return min(max(int(count - 1).bit_length(), least), most)


def _layers_of(lengths):
    """(octets of a core, [(octets of a key, which terms)]) of each layer.

    A layer of its own costs a pass over the text, a class of its own a second look at what passes the layer's filter.
    """
    layers = [(n - 1, [(n, np.flatnonzero(lengths == n))]) for n in (1, 2, 3)]
    long = lengths >= 4
    if long.any():
        few = long & (lengths < 8)
        shortest = int(lengths[few].min()) if few.any() else 8
        layers.append((3 if shortest == 4 else 4, [(shortest, np.flatnonzero(few)), (8, np.flatnonzero(long & ~few))]))
    return [(core, [(key, which) for key, which in classes if len(which)]) for core, classes in layers]


cdef int _insert(TermTable *table, const TermList *terms, str form, const int64_t[::1] chosen, uint64_t[::1] slots) except -1:
    cdef Py_ssize_t i
    cdef bint names = form != "tokens"
    table.slots = &slots[0]
    table.mask = <uint64_t> slots.shape[0] - 1
    for i in range(chosen.shape[0]):
        insert_term(table, terms, <uint32_t> chosen[i], names, NULL, NULL)
    return 0


def _build_layers(sections, chosen, lengths, seed):
    """Add the sections of the layers that find the chosen terms."""
    cdef TermList terms
    cdef GramLayer layer
    cdef KeyClass keys
    cdef const uint8_t[::1] blob = sections["octets"]
    cdef const uint32_t[::1] offsets = sections["offsets"]
    cdef const uint32_t[::1] which
    cdef uint32_t[::1] words, buckets
    cdef uint64_t[::1] key_words
    cdef uint16_t[::1] anchors
    cdef uint8_t[::1] entries
    cdef uint32_t count
    terms.n_terms = <uint32_t> offsets.shape[0] - 1
    terms.blob, terms.offsets, terms.kinds, terms.same = &blob[0], &offsets[0], NULL, NULL
    memset(&layer, 0, sizeof(GramLayer))
    memset(&keys, 0, sizeof(KeyClass))
    layer_rows, class_rows = [], []
    for core, classes in _layers_of(lengths):
        anchored = sum([len(members) for _, members in classes])
        if not anchored:
            continue
        bits = _log2(anchored, 13, 17)
        filter_array = np.zeros(1 << bits, np.uint32)
        words = filter_array
        layer.filter.words, layer.filter.shift, layer.filter.seed = &words[0], 32 - bits, seed
        layer.filter.core = core
        for key_octets, members in classes:
            which_array = chosen[members].astype(np.uint32)
            count = <uint32_t> len(which_array)
            bits = _log2(count, 8, 24)
            key_array, bucket_array = np.zeros(1 << _log2(count // 4, 8, 22), np.uint64), np.zeros((1 << bits) + 1, np.uint32)
            anchor_array, entry_array = np.zeros(count, np.uint16), np.zeros(count, ENTRY)
            which, key_words, buckets, anchors, entries = which_array, key_array, bucket_array, anchor_array, entry_array.view(np.uint8)
            keys.filter.shift, keys.bucket_shift, keys.filter.seed = 64 - (len(key_array).bit_length() - 1), 64 - bits, (seed * 0x9E3779B97F) & 0xFFFFFFFFFFFFFFFF
            keys.filter.length, keys.filter.mask = key_octets, (1 << 8 * key_octets) - 1
            with nogil:
                choose_anchors(&terms, &which[0], count, &layer, &keys, &words[0], &key_words[0], &buckets[0], &anchors[0])
                fill_buckets(&terms, &which[0], count, &layer, &keys, &buckets[0], <GramEntry *> &entries[0], &anchors[0])
            number = len(class_rows)
            sections[f"keys{number}"], sections[f"buckets{number}"], sections[f"entries{number}"] = key_array, bucket_array, entry_array
            class_rows.append((len(layer_rows), key_octets, keys.filter.shift, keys.bucket_shift, keys.filter.seed))
        sections[f"words{len(layer_rows)}"] = filter_array
        layer_rows.append((core, layer.filter.shift, seed))
    sections["layers"], sections["classes"] = np.array(layer_rows, LAYER), np.array(class_rows, CLASS)


def _compile(list terms, whole_word, hashed, seed):
    """The image of an automaton."""
    cdef uint32_t n = <uint32_t> len(terms), i, term
    cdef const uint32_t[::1] offsets
    cdef const uint8_t[::1] blob
    cdef uint8_t[::1] kinds, state
    cdef uint32_t[::1] same, same_last
    cdef uint64_t[::1] slots
    cdef TermTable everything, table
    cdef TermList listed
    lengths = np.fromiter(map(len, terms), np.int64, n)
    if n and (lengths.min() < 1 or lengths.max() > LONGEST_TERM):
        bad = int(np.flatnonzero((lengths < 1) | (lengths > LONGEST_TERM))[0])
        raise ValueError(f"term {bad} has {lengths[bad]} bytes; a term has 1 to {LONGEST_TERM}")
    if lengths.sum() > 0xFFFFFFFF:
        raise ValueError("more than 4 GiB of terms")
    if isinstance(whole_word, (bool, int)):
        kind_array = np.full(n + 1, bool(whole_word), np.uint8)
    else:
        kind_array = np.array([*whole_word, 0], np.uint8)
        if len(kind_array) != n + 1:
            raise ValueError(f"{n} terms, but {len(kind_array) - 1} answers whether they are whole words")
    offset_array = np.zeros(n + 1, np.uint32)
    offset_array[1:] = np.cumsum(lengths)
    sections = {"octets": np.frombuffer(b"".join(terms) + bytes(8), np.uint8), "offsets": offset_array, "kinds": kind_array}
    offsets, blob, kinds = offset_array, sections["octets"], kind_array
    listed.n_terms, listed.blob, listed.offsets, listed.kinds, listed.same = n, &blob[0], &offsets[0], &kinds[0], NULL
    # terms of the same bytes: only the first goes into a form, the others hang behind it
    all_slots = _slots_for(n)
    slots = all_slots
    memset(&everything, 0, sizeof(TermTable))
    everything.slots = &slots[0]
    everything.mask = <uint64_t> slots.shape[0] - 1
    same_array, last_array = np.full(n + 1, 0xFFFFFFFF, np.uint32), np.arange(n + 1, dtype=np.uint32)
    first = np.zeros(n + 1, np.uint8)
    same, same_last, state = same_array, last_array, first
    with nogil:
        for i in range(n):
            if kinds[i] == WORDS:
                kinds[i] = kind_of(&blob[offsets[i]], offsets[i + 1] - offsets[i])
            state[i] = insert_term(&everything, &listed, i, False, &same[0], &same_last[0])
        # a probed form must suit every term of its bytes: where kinds differ, grams take them all; names are probed at dots
        for i in range(n):
            if state[i] and kinds[i] >= DOMAIN and memchr(&blob[offsets[i]], c'.', offsets[i + 1] - offsets[i]) == NULL:
                state[i] = 2
            if same[i] != ESA_NO_TERM and state[i]:
                term = same[i]
                while term != ESA_NO_TERM:
                    if kinds[term] != kinds[i]:
                        state[i] = 2
                    term = same[term]
    if not first[:n].all():
        sections["same"] = same_array
    del slots, all_slots, same_last, last_array
    by_gram = first[:n] > 0
    numbers = np.zeros(len(KINDS), TABLE)
    for row, (form, kind) in enumerate(KINDS.items()):
        chosen = np.flatnonzero((first[:n] == 1) & ((kind_array[:n] == kind) | ((kind == DOMAIN) & (kind_array[:n] == NAME))))
        if len(chosen) == 0 or not (len(chosen) >= HASHED_FROM[form] if hashed is None else hashed):
            continue
        memset(&table, 0, sizeof(TermTable))
        sections[form] = _slots_for(len(chosen))
        _insert(&table, &listed, form, chosen, sections[form])
        numbers[row] = table.n_terms, table.shortest, table.longest
        by_gram[chosen] = False
    sections["tables"] = numbers
    chosen = np.flatnonzero(by_gram)
    _build_layers(sections, chosen, lengths[chosen], seed)
    return pack(sections)


cdef class Automaton:
    """Terms, ready to be counted in texts. Read-only once built: any number of threads may share it.

    `terms` are folded (see `fold`) UTF-8, 1 to 4,096 bytes each; terms of equal bytes are counted each. `whole_word` is one answer for
    all or one per term. `hashed`: whether single whole words, addresses and domain names are probed one by one, by default where there are
    so many that it is faster; matches are the same. `seed` (0 to 2^32 - 1) decides which grams share a place. Raises ValueError for an empty
    or over-long term. `n_terms`, `nbytes` (what matching needs, without the counts of a thread) and `forms` (terms per form) describe it;
    `image` is all of it as octets, which `from_image` takes without copying them.
    """

    def __cinit__(self, terms, *, whole_word=False, hashed=None, uint32_t seed=0x2545F491):
        if terms is not _ATTACHED:
            self._attach(_compile([bytes(term) for term in terms], whole_word, hashed, seed))

    @classmethod
    def from_image(cls, image):
        """The automaton of an image, a read-only buffer (a mapped file, say) that it keeps. Raises ValueError that says what is wrong where."""
        cdef Automaton made = cls.__new__(cls, _ATTACHED)
        made._attach(image)
        return made

    @property
    def nbytes(self):
        return memoryview(self.image).nbytes

    cdef int _attach(self, image) except -1:
        """Point into an image, after having looked whether all that is followed stays in it."""
        cdef const uint8_t[::1] octets
        cdef const uint32_t[::1] numbers
        cdef uint32_t n, row
        memset(&self.matcher, 0, sizeof(Matcher))
        self.image, self.sections = image, unpack(image)
        offsets, blob = self._numbers("offsets", np.uint32), self._numbers("octets", np.uint8)
        _require(len(offsets) > 0 and offsets[0] == 0 and (np.diff(offsets.astype(np.int64)) > 0).all(), "offsets", "do not rise")
        self.n_terms = n = <uint32_t> (len(offsets) - 1)
        _require(int(offsets[n]) + 8 <= len(blob), "octets", "are fewer than the offsets say")
        numbers, octets = offsets, blob
        self.matcher.terms.n_terms = n
        self.matcher.terms.offsets, self.matcher.terms.blob = &numbers[0], &octets[0]
        kinds = self._numbers("kinds", np.uint8)
        _require(len(kinds) == n + 1, "kinds", "are not one a term")
        octets = kinds
        self.matcher.terms.kinds = &octets[0]
        if "same" in self.sections:
            same = self._numbers("same", np.uint32)
            _require(len(same) == n + 1, "same", "is not one a term")
            _require(((same == 0xFFFFFFFF) | ((same > np.arange(n + 1)) & (same < n))).all(), "same", "leads back")
            numbers = same
            self.matcher.terms.same = &numbers[0]
        self.forms = {"grams": 0, "tokens": 0, "addresses": 0, "domains": 0}
        tables = self._numbers("tables", TABLE).tolist()
        _require(len(tables) == len(KINDS), "tables", "are not three")
        self._attach_table(&self.matcher.tokens, "tokens", tables[0])
        self._attach_table(&self.matcher.addresses, "addresses", tables[1])
        self._attach_table(&self.matcher.domains, "domains", tables[2])
        layers, classes = self._numbers("layers", LAYER), self._numbers("classes", CLASS)
        _require(len(layers) <= ESA_MAX_LAYERS, "layers", "are too many")
        for row in range(<uint32_t> len(layers)):
            self._attach_layer(row, layers[row].tolist())
        self.matcher.n_layers = <uint32_t> len(layers)
        for row in range(<uint32_t> len(classes)):
            self._attach_class(row, classes[row].tolist())
        return 0

    def _numbers(self, name, kind):
        _require(name in self.sections, name, "is missing")
        octets = self.sections[name]
        _require(octets.nbytes % np.dtype(kind).itemsize == 0, name, "has a broken last entry")
        return octets.view(kind)

    cdef int _attach_table(self, TermTable *table, str form, numbers) except -1:
        cdef const uint64_t[::1] view
        if numbers[0] == 0:
            return 0
        slots = self._numbers(form, np.uint64)
        _require(len(slots) > 0 and len(slots) & (len(slots) - 1) == 0 and not slots.all(), form, "is no hash table with room")
        named = slots[slots != 0] & np.uint64(0xFFFFFFFF)
        _require(((named > 0) & (named <= self.n_terms)).all(), form, "names terms that do not exist")
        view = slots
        table.slots, table.mask = <uint64_t *> &view[0], <uint64_t> (len(slots) - 1)
        table.n_terms, table.shortest, table.longest = numbers
        self.forms[form] = int(numbers[0])
        return 0

    cdef int _attach_layer(self, uint32_t number, parameters) except -1:
        cdef GramLayer *layer = &self.matcher.layers[number]
        cdef const uint32_t[::1] words
        core, shift, seed = parameters
        _require(core <= 4 and 10 <= shift <= 31, "layers", "has unknown ones")
        array = self._numbers(f"words{number}", np.uint32)
        _require(len(array) == 1 << (32 - shift), f"words{number}", "is of another size")
        words = array
        layer.filter.words, layer.filter.shift, layer.filter.seed, layer.filter.core = &words[0], shift, seed, core
        return 0

    cdef int _attach_class(self, uint32_t number, parameters) except -1:
        cdef const uint64_t[::1] words
        cdef const uint32_t[::1] buckets
        cdef const uint8_t[::1] octets
        cdef KeyClass *keys
        cdef GramLayer *layer
        at, length, shift, bucket_shift, seed = parameters
        _require(at < self.matcher.n_layers and self.matcher.layers[at].n_classes < 2, "classes", "has one of no layer")
        _require(1 <= length <= 8 and 36 <= shift <= 63 and 33 <= bucket_shift <= 63, "classes", "has unknown ones")
        key_array, bucket_array = self._numbers(f"keys{number}", np.uint64), self._numbers(f"buckets{number}", np.uint32)
        entries = self._numbers(f"entries{number}", ENTRY)
        _require(len(key_array) == 1 << (64 - shift), f"keys{number}", "is of another size")
        _require(len(bucket_array) == (1 << (64 - bucket_shift)) + 1, f"buckets{number}", "is of another size")
        _require((np.diff(bucket_array.astype(np.int64)) >= 0).all(), f"buckets{number}", "do not rise")
        _require(int(bucket_array[len(bucket_array) - 1]) == len(entries), f"buckets{number}", "do not end with the entries")
        _require(len(entries) > 0 and int(entries["term"].max()) < self.n_terms, f"entries{number}", "names terms that do not exist")
        offset_array = self._numbers("offsets", np.uint32)
        _require((entries["length"] == np.diff(offset_array)[entries["term"]]).all(), f"entries{number}", "has terms of another length")
        _require((entries["length"] < 8).all() if length < 8 else (entries["length"] >= 8).all(), f"entries{number}", "has terms of another class")
        layer = &self.matcher.layers[<uint32_t> at]
        keys = &layer.classes[layer.n_classes]
        words, buckets, octets = key_array, bucket_array, self.sections[f"entries{number}"]
        keys.filter.words, keys.filter.shift, keys.filter.length, keys.filter.seed = &words[0], shift, length, seed
        keys.filter.mask = (1 << 8 * length) - 1
        keys.buckets, keys.bucket_shift = &buckets[0], bucket_shift
        keys.entries, keys.n_entries = <const GramEntry *> &octets[0], <uint32_t> len(entries)
        layer.n_classes += 1
        self.forms["grams"] += len(entries)
        return 0

    def counts(self, text):
        """{term: matches} of one text; terms without a match are absent. Past the cap of matches of one text the rest is not looked at."""
        _, found, counts, _ = self.scan([text])
        return dict(zip(found.tolist(), counts.tolist()))

    def find(self, text, *, bint plain=False):
        """Each match of one text: `terms` int32 [m], `starts` uint32 [m] (octets into the text), in no order; and whether the cap was reached.

        `plain`: with the code that runs on every processor.
        """
        cdef MatchSink sink
        cdef const uint8_t[::1] octets = memoryview(text).cast("B")
        cdef uint32_t n, i
        if octets.shape[0] > 0x40000000:
            raise ValueError("a text longer than 1 GiB")
        n = <uint32_t> octets.shape[0]
        if sink_init(&sink, 0) != 0:
            raise MemoryError
        try:
            sink.plain = plain
            if n:
                with nogil:
                    count_matches(&self.matcher, &octets[0], n, &sink)
            pairs = np.zeros((2, sink.n_places), np.uint32)
            for i in range(sink.n_places):
                pairs[0, i], pairs[1, i] = sink.places[i].term, sink.places[i].start
            return pairs[0].astype(np.int32), pairs[1], bool(sink.capped)
        finally:
            sink_free(&sink)

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
            if buffers == NULL or found == NULL or sink_init(&sink, max(self.matcher.terms.n_terms, <uint32_t> 1)) != 0:
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
                    sort_touched(&sink)
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


def _require(holds, section, fault):
    if not holds:
        raise ValueError(f"section {section}: {fault}")
