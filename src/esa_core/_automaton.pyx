"""Aho-Corasick over folded text: thousands of terms in one pass, without the GIL, counted per term.

Built with pyahocorasick and flattened to a table of byte classes, read in four interleaved streams (the load of the next state is the whole
cost, so four of them are kept in flight). Past DENSE_BUDGET single words, addresses and domains move to hash tables that are probed once per token
of the text, and what remains becomes an automaton whose shallow states have rows and whose deep states are chains with failure links; that
one is built here, because the dump of a million terms would take gigabytes. Every form finds the same matches.

A term matches as a substring or as whole words. Whole words: the characters beside the match are not word characters where the term's own
outer character is one. Two shapes of whole-word terms are read as what they are: an address (one @) matches that address, not the end of a longer
one; a domain name matches itself and its subdomains, not the beginning or middle of another name. Scripts written without spaces have no word
boundaries, so their characters never count as word characters.
"""

import ahocorasick
import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memchr, memcmp, memset

cdef extern from *:
    """
    /* Matches looked at in one message, boundaries not yet tested: some milliseconds. A list of common words against a long text; the message is flagged. */
    #define ESA_MAX_MATCHES 1048576u
    #define ESA_NO_TERM 0xffffffffu
    #define ESA_HAS_OUTPUT 0x80000000u
    #define ESA_LABEL_OUTPUT 0x8000u
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
    const uint32_t ESA_MAX_MATCHES
    const uint32_t ESA_NO_TERM
    const uint32_t ESA_HAS_OUTPUT
    const uint16_t ESA_LABEL_OUTPUT
    const uint32_t ESA_PROBE_BLOCK
    void esa_prefetch(const void *p) noexcept nogil
    uint8_t esa_word_class(uint8_t b) noexcept nogil
    uint64_t esa_load(const uint8_t *p, uint32_t n, uint32_t left) noexcept nogil
    int esa_is_word(uint32_t c) noexcept nogil
    uint32_t esa_character(const uint8_t *p, const uint8_t *end, uint32_t *length) noexcept nogil

DENSE_BUDGET = 64 << 20          # bytes of the table; ten thousand mixed terms take some 24 MB
ROWS_BUDGET = 32 << 20           # bytes of the rows of the shallow states, once the whole table is past DENSE_BUDGET
LONGEST_TERM = 4096              # bytes; a longer one is no dictionary term

cdef enum TermKind:
    SUBSTRING = 0
    WORDS = 1                    # whole words, more than one token or with other characters
    TOKEN = 2                    # one token
    ADDRESS = 3
    DOMAIN = 4


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


cdef bint _stands_alone(uint8_t kind, const uint8_t *text, uint32_t start, uint32_t end, uint32_t n) noexcept nogil:
    """Whether text[start:end], a term of this kind, has its boundaries."""
    cdef uint32_t at = start
    if kind == WORDS or kind == TOKEN:
        if start > 0 and _word_at(text, start, n) and _word_before(text, start, n):
            return False
        return end >= n or not (_word_at(text, end, n) and _word_before(text, end, n))
    if not _name_ends(text, end, n):
        return False
    if kind == ADDRESS:
        while at > 0 and (text[at - 1] == c'.' or text[at - 1] == c'-' or text[at - 1] == c'+'):
            at -= 1
    elif at > 0 and text[at - 1] == c'-':
        while at > 0 and (text[at - 1] == c'.' or text[at - 1] == c'-'):
            at -= 1
    return not _word_before(text, at, n)


# --- what was found ---------------------------------------------------------------------------------------------------------------

cdef int sink_init(MatchSink *sink, uint32_t n_terms) noexcept nogil:
    """0, or -1 for no memory."""
    memset(sink, 0, sizeof(MatchSink))
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
    memset(sink, 0, sizeof(MatchSink))


cdef void sink_reset(MatchSink *sink) noexcept nogil:
    cdef uint32_t i
    for i in range(sink.n_touched):
        sink.counts[sink.touched[i]] = 0
    sink.n_touched = 0
    sink.visited = 0
    sink.capped = False


cdef int _by_number(const void *a, const void *b) noexcept nogil:
    cdef uint32_t x = (<const uint32_t *> a)[0], y = (<const uint32_t *> b)[0]
    return (x > y) - (x < y)


cdef inline bint _found(const Matcher *m, uint32_t term, const uint8_t *text, uint32_t start, uint32_t end, uint32_t n, MatchSink *sink) noexcept nogil:
    """Count the term, and others of the same bytes, where its boundaries hold; True: the cap is reached."""
    while term != ESA_NO_TERM:
        sink.visited += 1
        if m.kinds[term] == SUBSTRING or _stands_alone(m.kinds[term], text, start, end, n):
            if sink.counts[term] == 0:
                sink.touched[sink.n_touched] = term
                sink.n_touched += 1
            sink.counts[term] += 1
        if sink.visited >= ESA_MAX_MATCHES:
            sink.capped = True
            return True
        term = m.same[term] if m.same != NULL else ESA_NO_TERM
    return False


cdef bint _emit(const Matcher *m, uint32_t state, const uint8_t *text, uint32_t end, uint32_t n, MatchSink *sink) noexcept nogil:
    """All terms that end at `end`, longest first."""
    cdef uint32_t term = m.own[state]
    if term == ESA_NO_TERM:
        state = m.link[state]
    while state != ESA_NO_TERM:
        term = m.own[state]
        if _found(m, term, text, end - (m.offsets[term + 1] - m.offsets[term]), end, n, sink):
            return True
        state = m.link[state]
    return False


# --- automaton, every state has a row -----------------------------------------------------------------------------------------------

cdef void _match_rows(const Matcher *m, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    cdef const uint32_t *rows = m.dense
    cdef const uint8_t *classes = m.classes
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


cdef inline uint32_t _lookup(const Matcher *m, const TermTable *table, uint64_t h, const uint8_t *p, uint32_t n) noexcept nogil:
    """The first term of these bytes, or ESA_NO_TERM."""
    cdef uint64_t i = h & table.mask, slot
    cdef uint32_t term
    while True:
        slot = table.slots[i]
        if slot == 0:
            return ESA_NO_TERM
        if (slot >> 32) == (h >> 32):
            term = <uint32_t> (slot & 0xFFFFFFFFu) - 1
            if m.offsets[term + 1] - m.offsets[term] == n and memcmp(m.blob + m.offsets[term], p, n) == 0:
                return term
        i = (i + 1) & table.mask


cdef bint _probe_tokens(
    const Matcher *m, const uint8_t *text, uint32_t n, const uint32_t *starts, const uint32_t *lengths, uint64_t *hashes, uint32_t count, MatchSink *sink
) noexcept nogil:
    cdef uint32_t i, term
    for i in range(count):
        hashes[i] = _mix(_hash_token(text + starts[i], lengths[i], n - starts[i]))
        esa_prefetch(&m.tokens.slots[hashes[i] & m.tokens.mask])
    for i in range(count):
        term = _lookup(m, &m.tokens, hashes[i], text + starts[i], lengths[i])
        if term != ESA_NO_TERM and _found(m, term, text, starts[i], starts[i] + lengths[i], n, sink):
            return True
    return False


cdef void _match_tokens(const Matcher *m, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
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
        if m.tokens.shortest <= i - start <= m.tokens.longest:
            starts[count] = start
            lengths[count] = i - start
            count += 1
            if count == ESA_PROBE_BLOCK:
                if _probe_tokens(m, text, n, starts, lengths, hashes, count, sink):
                    return
                count = 0
    _probe_tokens(m, text, n, starts, lengths, hashes, count, sink)


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


cdef void _match_addresses(const Matcher *m, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
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
        if m.addresses.shortest <= end - start <= m.addresses.longest:
            term = _lookup(m, &m.addresses, _mix(_hash_name(text + start, end - start)), text + start, end - start)
            if term != ESA_NO_TERM and _found(m, term, text, start, end, n, sink):
                return
        at = <const uint8_t *> memchr(at + 1, c'@', n - here - 1) if here + 1 < n else NULL


cdef void _match_domains(const Matcher *m, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
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
        while i > start and end - i < m.domains.longest:
            i -= 1
            h = (h + text[i] + 1) * <uint64_t> 0x9E3779B97F4A7C15
            h ^= h >> 29
            if (i == start or text[i - 1] == c'.') and end - i >= m.domains.shortest:
                term = _lookup(m, &m.domains, _mix(h), text + i, end - i)
                if term != ESA_NO_TERM and _found(m, term, text, i, end, n, sink):
                    return
        if end <= here:
            end = here + 1
        while end < n and _in_name(text, end, n, False):  # the whole run is done: no byte is read again for its other dots
            end += _width(text, end, n)
        dot = <const uint8_t *> memchr(text + end, c'.', n - end) if end < n else NULL


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
        _match_tokens(matcher, text, n, sink)
    if matcher.addresses.n_terms and not sink.capped:
        _match_addresses(matcher, text, n, sink)
    if matcher.domains.n_terms and not sink.capped:
        _match_domains(matcher, text, n, sink)


# --- building -----------------------------------------------------------------------------------------------------------------------

cdef uint8_t _kind_of(const uint8_t *p, uint32_t n) noexcept nogil:
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


cdef bint _insert(TermTable *table, const Matcher *m, uint32_t term, bint names, uint32_t *same, uint32_t *same_last) noexcept nogil:
    """True if the term is new; else it is chained behind the first of its bytes."""
    cdef const uint8_t *p = m.blob + m.offsets[term]
    cdef uint32_t n = m.offsets[term + 1] - m.offsets[term], first
    cdef uint64_t h = _mix(_hash_name(p, n) if names else _hash_token(p, n, n)), i
    if same != NULL:
        first = _lookup(m, table, h, p, n)
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

    `terms` are folded (see `fold`) UTF-8, 1 to 4,096 bytes each; terms of equal bytes are counted each. `whole_word` is one answer for all or one
    per term. `budget` is the size in bytes past which the table of the automaton gives way to the compressed forms. Raises ValueError for an empty or
    over-long term. `n_terms`, `nbytes` (what matching needs, without the counts of a thread) and `forms` (terms per form, states) describe it.
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
        self.matcher.n_terms = n
        self.matcher.blob = &blob[0]
        self.matcher.offsets = &offsets[0]
        self.matcher.kinds = &kinds[0]
        for i in range(n):
            if kinds[i]:
                kinds[i] = _kind_of(&blob[offsets[i]], offsets[i + 1] - offsets[i])
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
            is_first[i] = _insert(&everything, &self.matcher, i, False, &same[0], &same_last[0])
        if not first.all():
            self.matcher.same = &same[0]
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
            _insert(table, &self.matcher, term, form != "tokens", NULL, NULL)
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
            for j in range(self.matcher.offsets[term], self.matcher.offsets[term + 1]):
                state = rows[state * width + self.matcher.classes[self.matcher.blob[j]]]
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
        link_final = np.where(link_array == 0xFFFFFFFF, np.uint32(0xFFFFFFFF), number[np.minimum(link_array, n - 1)])[final].astype(np.uint32)
        own_final = own_array[final]
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
            self.matcher.longest = max(self.matcher.longest, self.matcher.offsets[term + 1] - self.matcher.offsets[term])
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
                if a < b and m.offsets[ordered[a] + 1] - m.offsets[ordered[a]] == depth:
                    own[level_start + s] = ordered[a]
                    a += 1
                while a < b:
                    byte = m.blob[m.offsets[ordered[a]] + depth]
                    low_next[j] = a
                    while a < b and m.blob[m.offsets[ordered[a]] + depth] == byte:
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

        Returns `indptr` int64 [n + 1], `terms` int32 [m] (rising within a text), `counts` int32 [m], `capped` bool [n] (True: ESA_MAX_MATCHES was reached).
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
            if buffers == NULL or found == NULL or sink_init(&sink, self.matcher.n_terms) != 0:
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
