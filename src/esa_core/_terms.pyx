"""Terms as whole words, and terms by hash: what the automaton asks at each match, and what replaces it where there are too many for it.

A term matches as a substring or as whole words. Whole words: the characters beside the match are not word characters where the term's own
outer character is one. Two shapes of whole-word terms are read as what they are: an address (one @) matches that address, not the end of
a longer one; a domain name matches itself and its subdomains, not the beginning or middle of another name. Scripts written without spaces
have no word boundaries, so their characters never count as word characters.

Tables are filled when they are built; mail only looks them up, so no text can make a probe longer. Called by `_automaton`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memset

cdef extern from *:
    """
    /* Places of matches that a workspace keeps room for between messages; one that had more gives it back. */
    #define ESA_KEPT_PLACES 16384u
    /* Tokens hashed ahead of their probes, so that the cache misses of the probes overlap. */
    #define ESA_PROBE_BLOCK 64u

    #define esa_prefetch(p) __builtin_prefetch(p)

    /* 1: ASCII word characters; 2: bytes of longer characters, to be decoded. */
    static const uint8_t esa_word_classes[256] = {
        ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['_'] = 1, ['a' ... 'z'] = 1, [0x80 ... 0xff] = 2,
    };
    #define esa_word_class(b) esa_word_classes[b]

    /* The n (1 to 8) bytes at p as a number; `left` bytes may be read there. */
    static inline uint64_t esa_load(const uint8_t *p, uint32_t n, uint32_t left) {
        uint64_t word = 0;
        if (left >= 8) {
            memcpy(&word, p, 8);
            return word & (~(uint64_t)0 >> (64 - 8 * n));
        }
        for (uint32_t i = 0; i < n; i++) word |= (uint64_t)p[i] << (8 * i);
        return word;
    }

    /* Characters over U+007F that are no word characters: punctuation, symbols, and scripts written without spaces. Sorted, inclusive. */
    static const uint32_t esa_non_word[][2] = {
        {0x0080, 0x00A9}, {0x00AB, 0x00B4}, {0x00B6, 0x00B9}, {0x00BB, 0x00BF}, {0x00D7, 0x00D7}, {0x00F7, 0x00F7}, {0x02C2, 0x02C5},
        {0x02D2, 0x02DF}, {0x037E, 0x037E}, {0x0387, 0x0387}, {0x055A, 0x055F}, {0x0589, 0x058F}, {0x05BE, 0x05BE}, {0x05C0, 0x05C0},
        {0x05C3, 0x05C3}, {0x05F3, 0x05F4}, {0x0600, 0x060F}, {0x061B, 0x061F}, {0x066A, 0x066D}, {0x06D4, 0x06D4}, {0x0964, 0x0965},
        {0x0E00, 0x0FFF}, {0x1000, 0x109F}, {0x1361, 0x1368}, {0x1680, 0x1680}, {0x1780, 0x17FF}, {0x1800, 0x180E}, {0x2000, 0x206F},
        {0x207A, 0x207E}, {0x208A, 0x208E}, {0x20A0, 0x20CF}, {0x2100, 0x2101}, {0x2116, 0x2117}, {0x2120, 0x2123}, {0x2190, 0x245F},
        {0x249C, 0x24E9}, {0x2500, 0x2BFF}, {0x2CF9, 0x2CFF}, {0x2E00, 0x31EF}, {0x31F0, 0x9FFF}, {0xA4FE, 0xA4FF}, {0xD800, 0xFAFF},
        {0xFD3E, 0xFD3F}, {0xFE00, 0xFE6F}, {0xFEFF, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF3E}, {0xFF40, 0xFF40}, {0xFF5B, 0xFFFF},
        {0x1B000, 0x1B2FF}, {0x1D100, 0x1D1FF}, {0x1F000, 0x10FFFF},
    };

    static int esa_is_word(uint32_t c) {
        int low = 0, high = (int)(sizeof esa_non_word / sizeof esa_non_word[0]) - 1;
        if (c < 0x80) return esa_word_class((uint8_t)c);
        while (low <= high) {
            int middle = (low + high) / 2;
            if (c < esa_non_word[middle][0]) high = middle - 1;
            else if (c > esa_non_word[middle][1]) low = middle + 1;
            else return 0;
        }
        return 1;
    }

    /* The character that begins at p (p < end); its length in *length. What is not UTF-8 is one byte and no word character (U+FFFF). */
    static uint32_t esa_character(const uint8_t *p, const uint8_t *end, uint32_t *length) {
        uint32_t b = p[0], n = b < 0x80 ? 1 : b < 0xC2 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 0, i, c;
        *length = 1;
        if (n == 1) return b;
        if (n == 0 || (size_t)(end - p) < n) return 0xFFFF;
        c = b & (0x7Fu >> n);
        for (i = 1; i < n; i++) {
            if ((p[i] & 0xC0) != 0x80) return 0xFFFF;
            c = c << 6 | (p[i] & 0x3F);
        }
        *length = n;
        return c;
    }
    """
    const uint32_t ESA_KEPT_PLACES
    const uint32_t ESA_PROBE_BLOCK
    void esa_prefetch(const void *p) noexcept nogil
    uint8_t esa_word_class(uint8_t b) noexcept nogil
    uint64_t esa_load(const uint8_t *p, uint32_t n, uint32_t left) noexcept nogil
    int esa_is_word(uint32_t c) noexcept nogil
    uint32_t esa_character(const uint8_t *p, const uint8_t *end, uint32_t *length) noexcept nogil

# --- boundaries -------------------------------------------------------------------------------------------------------------------

cdef inline bint _word_at(const uint8_t *text, uint32_t position, uint32_t n) noexcept nogil:
    """Whether a word character begins at `position` (< n)."""
    cdef uint32_t length
    if text[position] < 0x80:
        return esa_word_class(text[position])
    return esa_is_word(esa_character(text + position, text + n, &length))


cdef inline uint32_t _before(const uint8_t *text, uint32_t position) noexcept nogil:
    """Where the character that ends at `position` (> 0) begins."""
    cdef uint32_t start = position - 1
    cdef uint32_t lowest = position - 4 if position >= 4 else 0
    cdef uint32_t length = 1
    if text[start] < 0x80:
        return start
    while start > lowest and (text[start] & 0xC0) == 0x80:
        start -= 1
    esa_character(text + start, text + position, &length)
    return start if start + length == position else position - 1


cdef inline bint _word_before(const uint8_t *text, uint32_t position, uint32_t n) noexcept nogil:
    return position > 0 and _word_at(text, _before(text, position), n)


cdef bint _name_ends(const uint8_t *text, uint32_t end, uint32_t n) noexcept nogil:
    """Whether an address or domain name ends here: no more labels follow (a full stop that ends a sentence is none)."""
    while end < n and (text[end] == c'.' or text[end] == c'-'):
        end += 1
    return end >= n or not _word_at(text, end, n)


cdef bint stands_alone(uint8_t kind, const uint8_t *text, uint32_t start, uint32_t end, uint32_t n) noexcept nogil:
    """Whether text[start:end], a term of this kind, has its boundaries."""
    cdef uint32_t at = start
    if kind == WORDS or kind == TOKEN:
        if start > 0 and _word_at(text, start, n) and _word_before(text, start, n):
            return False
        return end >= n or not (_word_at(text, end, n) and _word_before(text, end, n))
    if not _name_ends(text, end, n):
        return False
    if kind != ADDRESS and memchr(text + start, c'.', end - start) == NULL and not (start > 0 and (text[start - 1] == c'.' or text[start - 1] == c'@')):
        return False                 # a single label is no name in itself
    if kind == ADDRESS:
        while at > 0 and (text[at - 1] == c'.' or text[at - 1] == c'-' or text[at - 1] == c'+'):
            at -= 1
    elif kind == NAME or (at > 0 and text[at - 1] == c'-'):
        while at > 0 and (text[at - 1] == c'.' or text[at - 1] == c'-'):
            at -= 1
    return not _word_before(text, at, n)


# --- what was found ---------------------------------------------------------------------------------------------------------------

cdef int sink_init(MatchSink *sink, uint32_t n_terms) noexcept nogil:
    """To count so many terms; none: to note places instead. 0, or -1 for no memory."""
    memset(sink, 0, sizeof(MatchSink))
    sink.with_places = n_terms == 0
    sink.n_terms = n_terms
    sink.counts = <uint32_t *> calloc(n_terms + 1, sizeof(uint32_t))
    sink.touched = <uint32_t *> malloc((n_terms + 1) * sizeof(uint32_t))
    if sink.counts == NULL or sink.touched == NULL:
        sink_free(sink)
        return -1
    return 0


cdef void sink_free(MatchSink *sink) noexcept nogil:
    free(sink.counts)
    free(sink.touched)
    free(sink.places)
    memset(sink, 0, sizeof(MatchSink))


cdef void sink_reset(MatchSink *sink) noexcept nogil:
    cdef uint32_t i
    for i in range(sink.n_touched):
        sink.counts[sink.touched[i]] = 0
    sink.n_touched = 0
    sink.n_places = 0
    if sink.cap_places > ESA_KEPT_PLACES:
        free(sink.places)
        sink.places = NULL
        sink.cap_places = 0
    sink.visited = 0
    sink.capped = False


cdef void sort_touched(MatchSink *sink) noexcept nogil:
    """Shell sort in place: mostly a handful of terms, at most as many as there are."""
    cdef uint32_t n = sink.n_touched, gap = 1, i, j, value
    cdef uint32_t *values = sink.touched
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            value = values[i]
            j = i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap = gap // 3


cdef bint _note_place(MatchSink *sink, uint32_t term, uint32_t start) noexcept nogil:
    """False: no memory."""
    cdef uint32_t capacity
    cdef Place *moved
    if sink.n_places == sink.cap_places:
        capacity = max(2 * sink.cap_places, <uint32_t> 64)
        moved = <Place *> realloc(sink.places, capacity * sizeof(Place))
        if moved == NULL:
            return False
        sink.places = moved
        sink.cap_places = capacity
    sink.places[sink.n_places] = Place(term, start)
    sink.n_places += 1
    return True


cdef bint found_term(
    const TermList *terms, uint32_t term, const uint8_t *text, uint32_t start, uint32_t end, uint32_t n, MatchSink *sink
) noexcept nogil:
    """Count the term, and others of the same bytes, where its boundaries hold; True: the cap is reached."""
    while term != ESA_NO_TERM:
        sink.visited += 1
        if terms.kinds[term] == SUBSTRING or stands_alone(terms.kinds[term], text, start, end, n):
            if sink.with_places:
                if not _note_place(sink, term, start):
                    sink.visited = ESA_MAX_MATCHES
            else:
                if sink.counts[term] == 0:
                    sink.touched[sink.n_touched] = term
                    sink.n_touched += 1
                if sink.counts[term] < ESA_MAX_COUNT:
                    sink.counts[term] += 1
        if sink.visited >= ESA_MAX_MATCHES:
            sink.capped = True
            return True
        term = terms.same[term] if terms.same != NULL else ESA_NO_TERM
    return False


# --- terms by hash ------------------------------------------------------------------------------------------------------------------

cdef inline uint64_t _hash_name(const uint8_t *p, uint32_t n) noexcept nogil:
    """Read backwards, so that the hashes of all label suffixes of a domain come out of one pass (`_mix` ends each)."""
    cdef uint64_t h = 0
    while n:
        n -= 1
        h = (h + p[n] + 1) * <uint64_t> 0x9E3779B97F4A7C15
        h ^= h >> 29
    return h


cdef inline uint64_t _hash_token(const uint8_t *p, uint32_t n, uint32_t left) noexcept nogil:
    """Eight bytes at a time; `left` bytes (>= n) may be read at p."""
    cdef uint64_t h = n
    while n > 8:
        h = (h ^ esa_load(p, 8, left)) * <uint64_t> 0x9E3779B97F4A7C15
        h ^= h >> 29
        p += 8
        n -= 8
        left -= 8
    return (h ^ esa_load(p, n, left)) * <uint64_t> 0x9E3779B97F4A7C15


cdef inline uint64_t _mix(uint64_t h) noexcept nogil:
    h ^= h >> 32
    h *= <uint64_t> 0xD6E8FEB86659FD93
    return h ^ (h >> 32)


cdef inline uint32_t _lookup(const TermList *terms, const TermTable *table, uint64_t h, const uint8_t *p, uint32_t n) noexcept nogil:
    """The first term of these bytes, or ESA_NO_TERM."""
    cdef uint64_t i = h & table.mask, slot
    cdef uint32_t term
    while True:
        slot = table.slots[i]
        if slot == 0:
            return ESA_NO_TERM
        if (slot >> 32) == (h >> 32):
            term = <uint32_t> (slot & 0xFFFFFFFFu) - 1
            if terms.offsets[term + 1] - terms.offsets[term] == n and memcmp(terms.blob + terms.offsets[term], p, n) == 0:
                return term
        i = (i + 1) & table.mask


cdef bint _probe_tokens(
    const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, const uint32_t *starts, const uint32_t *lengths,
    uint64_t *hashes, uint32_t count, MatchSink *sink
) noexcept nogil:
    cdef uint32_t i, term
    for i in range(count):
        hashes[i] = _mix(_hash_token(text + starts[i], lengths[i], n - starts[i]))
        esa_prefetch(&table.slots[hashes[i] & table.mask])
    for i in range(count):
        term = _lookup(terms, table, hashes[i], text + starts[i], lengths[i])
        if term != ESA_NO_TERM and found_term(terms, term, text, starts[i], starts[i] + lengths[i], n, sink):
            return True
    return False


cdef void match_tokens(const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    """Every maximal run of word characters, looked up whole."""
    cdef uint32_t[64] starts         # ESA_PROBE_BLOCK
    cdef uint32_t[64] lengths
    cdef uint64_t[64] hashes
    cdef uint32_t count = 0, i = 0, start, length
    cdef uint8_t c
    while i < n:
        c = esa_word_class(text[i])
        if c == 0:
            i += 1
            continue
        if c == 2 and not esa_is_word(esa_character(text + i, text + n, &length)):
            i += length
            continue
        start = i
        while i < n:
            c = esa_word_class(text[i])
            if c == 1:
                i += 1
            elif c == 2 and esa_is_word(esa_character(text + i, text + n, &length)):
                i += length
            else:
                break
        if table.shortest <= i - start <= table.longest:
            starts[count] = start
            lengths[count] = i - start
            count += 1
            if count == ESA_PROBE_BLOCK:
                if _probe_tokens(terms, table, text, n, starts, lengths, hashes, count, sink):
                    return
                count = 0
    _probe_tokens(terms, table, text, n, starts, lengths, hashes, count, sink)


cdef inline bint _in_name(const uint8_t *text, uint32_t i, uint32_t n, bint local) noexcept nogil:
    return text[i] == c'.' or text[i] == c'-' or (local and text[i] == c'+') or _word_at(text, i, n)


cdef inline uint32_t _width(const uint8_t *text, uint32_t i, uint32_t n) noexcept nogil:
    cdef uint32_t length = 1
    if text[i] >= 0x80:
        esa_character(text + i, text + n, &length)
    return length


cdef uint32_t _name_end(const uint8_t *text, uint32_t i, uint32_t n) noexcept nogil:
    """Where the run of labels that begins at i ends, dots and hyphens at its end left out."""
    cdef uint32_t start = i
    while i < n and _in_name(text, i, n, False):
        i += _width(text, i, n)
    while i > start and (text[i - 1] == c'.' or text[i - 1] == c'-'):
        i -= 1
    return i


cdef void match_addresses(const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    """One probe for each @: the whole address around it."""
    cdef const uint8_t *at = <const uint8_t *> memchr(text, c'@', n)
    cdef uint32_t here, start, before, end, term
    while at != NULL:
        here = <uint32_t> (at - text)
        start = here
        while start > 0:
            before = _before(text, start)
            if not _in_name(text, before, n, True):
                break
            start = before
        while start < here and (text[start] == c'.' or text[start] == c'-' or text[start] == c'+'):
            start += 1
        end = _name_end(text, here + 1, n)
        if table.shortest <= end - start <= table.longest:
            term = _lookup(terms, table, _mix(_hash_name(text + start, end - start)), text + start, end - start)
            if term != ESA_NO_TERM and found_term(terms, term, text, start, end, n, sink):
                return
        at = <const uint8_t *> memchr(at + 1, c'@', n - here - 1) if here + 1 < n else NULL


cdef void match_domains(const TermList *terms, const TermTable *table, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    """For each run of labels one probe per label: the name from there to the end of the run."""
    cdef const uint8_t *dot = <const uint8_t *> memchr(text, c'.', n)
    cdef uint32_t here, start, before, end, i, term
    cdef uint64_t h
    while dot != NULL:
        here = <uint32_t> (dot - text)
        start = here
        while start > 0:
            before = _before(text, start)
            if not _in_name(text, before, n, False):
                break
            start = before
        while start < here and (text[start] == c'.' or text[start] == c'-'):
            start += 1
        end = _name_end(text, here, n)
        i = end
        h = 0
        while i > start and end - i < table.longest:
            i -= 1
            h = (h + text[i] + 1) * <uint64_t> 0x9E3779B97F4A7C15
            h ^= h >> 29
            if (i == start or text[i - 1] == c'.') and end - i >= table.shortest:
                term = _lookup(terms, table, _mix(h), text + i, end - i)
                if term != ESA_NO_TERM and found_term(terms, term, text, i, end, n, sink):
                    return
        if end <= here:
            end = here + 1
        while end < n and _in_name(text, end, n, False):  # the whole run is done: no byte is read again for its other dots
            end += _width(text, end, n)
        dot = <const uint8_t *> memchr(text + end, c'.', n - end) if end < n else NULL


# --- building -----------------------------------------------------------------------------------------------------------------------

cdef uint8_t kind_of(const uint8_t *p, uint32_t n) noexcept nogil:
    """How a whole-word term is matched (TermKind)."""
    cdef uint32_t i = 0, length, ats = 0, dots = 0, others = 0, label = 0
    cdef bint edge = True, alphabetic = False
    while i < n:
        length = 1
        if _word_at(p, i, n):
            length = _width(p, i, n)
            if label == 0:
                alphabetic = not c'0' <= p[i] <= c'9'
            label += length
            edge = False
        elif edge:
            return WORDS             # begins with, or has two together, of other characters
        elif p[i] == c'@':
            ats += 1
            dots = 0
            label = 0
            edge = True
        elif p[i] == c'.':
            dots += 1
            label = 0
            edge = True
        elif p[i] == c'-':
            label += 1
        elif p[i] == c'+' and ats == 0:
            others += 1
            label = 0
            edge = True
        else:
            return WORDS
        i += length
    if n == 0 or not _word_before(p, n, n) or not _word_at(p, 0, n):
        return WORDS
    if ats == 1:
        return ADDRESS
    if ats == 0 and others == 0 and dots and label >= 2 and alphabetic:
        return DOMAIN
    i = 0
    while i < n:
        if not _word_at(p, i, n):
            return WORDS
        i += _width(p, i, n)
    return TOKEN


cdef bint insert_term(
    TermTable *table, const TermList *terms, uint32_t term, bint names, uint32_t *same, uint32_t *same_last
) noexcept nogil:
    """True if the term is new; else it is chained behind the first of its bytes."""
    cdef const uint8_t *p = terms.blob + terms.offsets[term]
    cdef uint32_t n = terms.offsets[term + 1] - terms.offsets[term], first
    cdef uint64_t h = _mix(_hash_name(p, n) if names else _hash_token(p, n, n)), i
    if same != NULL:
        first = _lookup(terms, table, h, p, n)
        if first != ESA_NO_TERM:
            same[same_last[first]] = term
            same_last[first] = term
            return False
    i = h & table.mask
    while table.slots[i] != 0:
        i = (i + 1) & table.mask
    table.slots[i] = ((h >> 32) << 32) | (<uint64_t> term + 1)
    table.n_terms += 1
    if n < table.shortest or table.shortest == 0:
        table.shortest = n
    if n > table.longest:
        table.longest = n
    return True
