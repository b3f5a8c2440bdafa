"""A message as hashed sparse features: header tokens, words, and n-grams of bytes and characters, each in [0, 2^20).

A feature is there or not (value 1). Repeats are removed through one direct-mapped table without a branch: where two features share a slot
of it one of them may be named twice, deterministically, and no mail can make that slow. Called by the batch driver and `extract_features`.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from esa_core._buffer cimport lower
from esa_core._document cimport document_free, document_init, document_reset, octets_of, source_length
from esa_core._masked cimport ESA_MASKED_WINDOW, is_visible, mask_text
from esa_core._mime cimport parse_structure
from esa_core._text cimport decode_text, fold_text
from esa_core._token_class cimport esa_word_mask, esa_word_mask_plain
from esa_core._types cimport *

cdef extern from *:
    """
    #define ESA_FEATURE_BITS 20
    #define ESA_SLOT_BITS 14                /* 64 KiB of slots: they stay in the second-level cache with the rest */
    /* Bytes of the header and of the body whose 4-grams are taken, each with a window of its own: long Received chains do not hide the
       body. */
    #define ESA_HEADER_GRAM_WINDOW 3584u
    #define ESA_BODY_GRAM_WINDOW 1024u      /* more of it drowns the other features: within one corpus the error grows with the window */
    /* Bytes of all header fields, and of the body, whose words are taken: bounds a message to some 100,000 features. */
    #define ESA_WORD_WINDOW 65536u
    /* Words longer than this are no words (encoded data); shorter than two bytes they say nothing. */
    #define ESA_LONGEST_WORD 40u

    /* Odd constants of the hashes, and the seeds that keep the families apart. Part of the feature space: a model knows its weights by
       them. */
    #define ESA_MULTIPLIER 0x9E3779B97F4A7C15u
    #define ESA_FINISHER 0xD6E8FEB86659FD93u
    #define ESA_SEED_FIELD 0xA0761D6478BD642Fu
    #define ESA_SEED_BODY_WORD 0x8EBC6AF09C88C6E3u
    #define ESA_SEED_TEXT_WORD 0xE7037ED1A0B428DBu
    #define ESA_SEED_HEADER_GRAM 0x589965CCu
    #define ESA_SEED_BODY_GRAM 0x1D8E4E27u
    #define ESA_SEED_MASKED_GRAM 0xEB44ACCAB455D165u

    #include <string.h>

    /* The n (1 to 8) bytes at p as a number; `left` (>= n) bytes may be read there. */
    static inline uint64_t esa_bytes(const uint8_t *p, size_t n, size_t left) {
        uint64_t word = 0;
        size_t i;
        if (left >= 8) {
            memcpy(&word, p, 8);
            return word & (~(uint64_t)0 >> (64 - 8 * n));
        }
        for (i = 0; i < n; i++) word |= (uint64_t)p[i] << (8 * i);
        return word;
    }

    static inline uint32_t esa_four(const uint8_t *p) {
        uint32_t word;
        memcpy(&word, p, 4);
        return word;
    }
    """
    const uint32_t ESA_FEATURE_BITS
    const uint32_t ESA_SLOT_BITS
    const uint32_t ESA_HEADER_GRAM_WINDOW
    const uint32_t ESA_BODY_GRAM_WINDOW
    const uint32_t ESA_WORD_WINDOW
    const uint32_t ESA_LONGEST_WORD
    const uint64_t ESA_MULTIPLIER
    const uint64_t ESA_FINISHER
    const uint64_t ESA_SEED_FIELD
    const uint64_t ESA_SEED_BODY_WORD
    const uint64_t ESA_SEED_TEXT_WORD
    const uint64_t ESA_SEED_HEADER_GRAM
    const uint64_t ESA_SEED_BODY_GRAM
    const uint64_t ESA_SEED_MASKED_GRAM
    uint64_t esa_bytes(const uint8_t *p, size_t n, size_t left) noexcept nogil
    uint32_t esa_four(const uint8_t *p) noexcept nogil
    void prefetch "__builtin_prefetch"(const void *address) noexcept nogil
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil

N_FEATURES = 1 << 20
TOKEN_SPACE = "tokens-1"        # changes with whatever changes the feature of any message: hashes, seeds, windows, word characters


cdef int features_init(FeatureScratch *scratch) noexcept nogil:
    """0, or -1 for no memory."""
    memset(scratch, 0, sizeof(FeatureScratch))
    scratch.capacity = 4096
    scratch.indices = <int32_t *> malloc(scratch.capacity * sizeof(int32_t))
    scratch.seen = <uint32_t *> calloc(<size_t> 1 << ESA_SLOT_BITS, sizeof(uint32_t))
    scratch.masked_capacity = ESA_MASKED_WINDOW
    scratch.masked = <uint8_t *> malloc(scratch.masked_capacity + ESA_PADDING)
    if scratch.indices == NULL or scratch.seen == NULL or scratch.masked == NULL:
        features_free(scratch)
        return -1
    scratch.weights = <const float *> scratch.seen
    return 0


cdef void features_free(FeatureScratch *scratch) noexcept nogil:
    free(scratch.indices)
    free(scratch.seen)
    free(scratch.masked)
    memset(scratch, 0, sizeof(FeatureScratch))


cdef inline int _reserve(FeatureScratch *scratch, size_t n) noexcept nogil:
    cdef void *moved
    if n > scratch.capacity:
        moved = realloc(scratch.indices, 2 * n * sizeof(int32_t))
        if moved == NULL:
            return -1
        scratch.indices = <int32_t *> moved
        scratch.capacity = <uint32_t> (2 * n)
    return 0


cdef inline uint32_t _keep(FeatureScratch *scratch, uint32_t n, uint64_t h) noexcept nogil:
    """Write the feature of a hash behind n others, and keep it unless its slot holds it; the new number of features."""
    cdef uint32_t feature = <uint32_t> (h >> (64 - ESA_FEATURE_BITS))
    cdef uint32_t entry = (scratch.epoch << ESA_FEATURE_BITS) | feature
    cdef uint32_t slot = feature & ((<uint32_t> 1 << ESA_SLOT_BITS) - 1)
    scratch.indices[n] = <int32_t> feature
    prefetch(scratch.weights + (feature & scratch.prefetched))
    n += scratch.seen[slot] != entry
    scratch.seen[slot] = entry
    return n


cdef inline uint64_t _token_hash(const uint8_t *p, size_t n, size_t left, uint64_t seed) noexcept nogil:
    cdef uint64_t h = seed ^ n
    while n > 8:
        h = (h ^ esa_bytes(p, 8, left)) * ESA_MULTIPLIER
        h ^= h >> 31
        p += 8
        n -= 8
        left -= 8
    h = (h ^ esa_bytes(p, n, left)) * ESA_MULTIPLIER
    h ^= h >> 31
    return h * ESA_FINISHER


cdef Py_ssize_t _words(FeatureScratch *scratch, uint32_t n, const uint8_t *p, size_t length, size_t left, uint64_t seed) noexcept nogil:
    """Words of p[:length]; `left` bytes may be read there. -1 for no memory."""
    cdef size_t i = 0, start = 0, end
    cdef uint64_t mask, rest
    cdef bint within = False     # a word goes over the end of the block
    cdef uint8_t[64] tail
    if _reserve(scratch, n + length // 2 + 1) < 0:
        return -1
    while i < length:
        if left - i >= 64:
            mask = esa_word_mask(p + i)
        else:
            memset(tail, 0, 64)
            memcpy(tail, p + i, left - i)
            mask = esa_word_mask(tail)
        if length - i < 64:
            mask &= (<uint64_t> 1 << (length - i)) - 1
        if within:
            rest = ~mask
            if rest == 0:
                i += 64
                continue
            end = count_zeros(rest)
            if 2 <= i + end - start <= ESA_LONGEST_WORD:
                n = _keep(scratch, n, _token_hash(p + start, i + end - start, left - start, seed))
            mask &= ~<uint64_t> 0 << end
            within = False
        while mask:
            start = count_zeros(mask)
            rest = ~(mask >> start)
            end = start + count_zeros(rest) if rest else 64
            start += i
            if end >= 64:
                within = True
                break
            mask &= ~<uint64_t> 0 << end
            end += i - start
            if 2 <= end <= ESA_LONGEST_WORD:
                n = _keep(scratch, n, _token_hash(p + start, end, left - start, seed))
        i += 64
    if within and 2 <= length - start <= ESA_LONGEST_WORD:
        n = _keep(scratch, n, _token_hash(p + start, length - start, left - start, seed))
    return n


cdef Py_ssize_t _grams(FeatureScratch *scratch, uint32_t n, const uint8_t *p, size_t length, uint64_t seed) noexcept nogil:
    """4-grams of bytes of p[:length]."""
    cdef size_t i
    cdef uint64_t h
    if length < 4:
        return n
    if _reserve(scratch, n + length) < 0:
        return -1
    for i in range(length - 3):
        h = (esa_four(p + i) + seed) * ESA_MULTIPLIER
        n = _keep(scratch, n, h ^ (h << 29))
    return n


cdef Py_ssize_t _header_tokens(Document *d, FeatureScratch *scratch, Py_ssize_t n) noexcept nogil:
    """Words of every field, seeded with the field's name and whether the field is the message's own or a part's."""
    cdef uint32_t i, j, budget = ESA_WORD_WINDOW, length
    cdef const HeaderField *field
    cdef const uint8_t *raw
    cdef uint64_t seed
    for i in range(d.n_fields):
        field = &d.fields[i]
        raw = octets_of(d, &d.parts[field.part])
        seed = ESA_SEED_FIELD + (field.part != 0)
        for j in range(field.name_length):
            seed = (seed ^ lower(raw[field.name_start + j])) * ESA_MULTIPLIER
            seed ^= seed >> 32
        if _reserve(scratch, n + 1) < 0:
            return -1
        n = _keep(scratch, <uint32_t> n, seed * ESA_MULTIPLIER)          # the field is there
        length = min(field.value_length, budget)
        n = _words(scratch, <uint32_t> n, raw + field.value_start, length,
                   source_length(d, &d.parts[field.part]) - field.value_start, seed)
        budget -= length
        if n < 0 or budget == 0:
            return n
    return n


cdef Py_ssize_t _masked_grams(const Document *d, FeatureScratch *scratch, uint32_t n) noexcept nogil:
    """5-grams of characters (not bytes) of the masked text, by a rolling hash."""
    cdef uint64_t high = 0
    cdef uint32_t length = mask_text(d, scratch.masked, &high), i = 0, seen = 0
    cdef uint32_t[8] last            # the last five characters, in a ring
    cdef uint64_t h = 0, power = <uint64_t> ESA_MULTIPLIER * ESA_MULTIPLIER * ESA_MULTIPLIER * ESA_MULTIPLIER
    cdef uint32_t c, more
    cdef const uint8_t *p = scratch.masked
    if _reserve(scratch, n + length) < 0:
        return -1
    if high == 0 and length >= 5:
        for i in range(4):
            h = h * ESA_MULTIPLIER + p[i]
        for i in range(4, length):
            h = h * ESA_MULTIPLIER + p[i]
            n = _keep(scratch, n, ((h ^ (h >> 32)) + ESA_SEED_MASKED_GRAM) * ESA_FINISHER)
            h -= p[i - 4] * power
        return n
    while i < length:
        c = p[i]
        more = 0 if c < 0xC0 else 1 if c < 0xE0 else 2 if c < 0xF0 else 3
        i += 1
        while more and i < length:
            c = (c << 6) ^ p[i]
            i += 1
            more -= 1
        if seen >= 5:
            h -= last[(seen - 5) & 7] * power
        h = h * ESA_MULTIPLIER + c
        last[seen & 7] = c
        seen += 1
        if seen >= 5:
            n = _keep(scratch, n, ((h ^ (h >> 32)) + ESA_SEED_MASKED_GRAM) * ESA_FINISHER)
    return n


cdef Py_ssize_t _text_words(const Document *d, FeatureScratch *scratch, Py_ssize_t n) noexcept nogil:
    """Words of the subject and the visible text, folded."""
    cdef uint32_t r, budget = ESA_WORD_WINDOW, length
    for r in range(d.n_regions):
        if is_visible(&d.regions[r]):
            length = min(d.regions[r].folded.length, budget)
            n = _words(scratch, <uint32_t> n, d.folded + d.regions[r].folded.start, length, length, ESA_SEED_TEXT_WORD)
            budget -= length
            if n < 0 or budget == 0:
                break
    return n


cdef Py_ssize_t _family(Document *document, uint32_t family, FeatureScratch *scratch, Py_ssize_t n) noexcept nogil:
    """Write the features of one family behind n others; the new number of features, or -1 for no memory."""
    cdef size_t body = document.raw_length - document.header_end
    cdef const uint8_t *raw = document.raw
    if family == HEADER_TOKENS:
        return _header_tokens(document, scratch, n)
    if family == BODY_WORDS:
        return _words(scratch, <uint32_t> n, raw + document.header_end, min(body, ESA_WORD_WINDOW), body, ESA_SEED_BODY_WORD)
    if family == HEADER_GRAMS:
        return _grams(scratch, <uint32_t> n, raw, min(document.header_end, ESA_HEADER_GRAM_WINDOW), ESA_SEED_HEADER_GRAM)
    if family == BODY_GRAMS:
        return _grams(scratch, <uint32_t> n, raw + document.header_end, min(body, ESA_BODY_GRAM_WINDOW), ESA_SEED_BODY_GRAM)
    if (not document.decoded and decode_text(document) < 0) or (not document.was_folded and fold_text(document) < 0):
        return -1
    if family == MASKED_GRAMS:
        return _masked_grams(document, scratch, <uint32_t> n)
    return _text_words(document, scratch, n)


cdef Py_ssize_t hash_features(Document *document, uint32_t families, FeatureScratch *scratch) noexcept nogil:
    """Features of a parsed message, in `scratch.indices`; their number, or -1 for no memory. What is not yet decoded or folded is, where
    needed."""
    scratch.epoch += 1
    if scratch.epoch >> (32 - ESA_FEATURE_BITS):
        memset(scratch.seen, 0, sizeof(uint32_t) << ESA_SLOT_BITS)
        scratch.epoch = 1
    memset(scratch.ends, 0, sizeof(scratch.ends))
    return hash_more(document, families, scratch)


cdef Py_ssize_t hash_more(Document *document, uint32_t families, FeatureScratch *scratch) noexcept nogil:
    """Further features of the message that `hash_features` read last, behind those: together they are what it would have found at once.

    The families must all have higher bits than those already there.
    """
    cdef Py_ssize_t n = <Py_ssize_t> scratch.ends[<int> N_FAMILIES - 1]
    cdef int family, later
    for family in range(<int> N_FAMILIES):
        if not families >> family & 1:
            continue
        n = _family(document, <uint32_t> 1 << family, scratch, n)
        if n < 0:
            return -1
        for later in range(family, <int> N_FAMILIES):
            scratch.ends[later] = <uint32_t> n
    return n


def word_mask(const uint8_t[::1] octets, *, bint plain):
    """Which of 64 octets are word characters, one bit each, as this machine finds it or octet by octet: the tests compare them. Raises
    ValueError for other lengths."""
    if octets.shape[0] != 64:
        raise ValueError(f"a block has 64 octets, not {octets.shape[0]}")
    return esa_word_mask_plain(&octets[0]) if plain else esa_word_mask(&octets[0])


def extract_features(messages, *, families):
    """Hash messages (bytes or other buffers) into sparse features.

    Returns CSR arrays: `indptr` int64 [n + 1], `indices` int32 [nnz] in [0, 2^20), `values` float32 [nnz], all 1. Order of messages is
    kept; a feature may, rarely, stand twice in a row. Raises nothing for content; MemoryError only. Releases the GIL.
    """
    cdef Py_ssize_t n = len(messages), i, held = 0, total = 0, room = 1 << 16, found
    cdef uint32_t wanted = families
    cdef Document document
    cdef FeatureScratch scratch
    cdef Py_buffer *buffers = <Py_buffer *> calloc(n + 1, sizeof(Py_buffer))
    cdef int32_t *collected = <int32_t *> malloc(room * sizeof(int32_t))
    cdef void *moved
    cdef bint failed = False
    indptr_array = np.zeros(n + 1, np.int64)
    cdef int64_t[::1] indptr = indptr_array
    memset(&scratch, 0, sizeof(FeatureScratch))
    memset(&document, 0, sizeof(Document))
    try:
        if buffers == NULL or collected == NULL or document_init(&document) < 0 or features_init(&scratch) < 0:
            raise MemoryError
        for i in range(n):
            PyObject_GetBuffer(messages[i], &buffers[i], PyBUF_SIMPLE)
            held += 1
        with nogil:
            for i in range(n):
                document_reset(&document)
                found = -1
                if parse_structure(&document, <const uint8_t *> buffers[i].buf, <size_t> buffers[i].len) == 0:
                    found = hash_features(&document, wanted, &scratch)
                if found < 0:
                    failed = True
                    break
                if total + found > room:
                    room = 2 * (total + found)
                    moved = realloc(collected, room * sizeof(int32_t))
                    if moved == NULL:
                        failed = True
                        break
                    collected = <int32_t *> moved
                memcpy(collected + total, scratch.indices, found * sizeof(int32_t))
                total += found
                indptr[i + 1] = total
        if failed:
            raise MemoryError
        indices = np.empty(total, np.int32)
        if total:
            indices[:] = <int32_t[:total]> collected
        return indptr_array, indices, np.ones(total, np.float32)
    finally:
        features_free(&scratch)
        document_free(&document)
        free(collected)
        for i in range(held):
            PyBuffer_Release(&buffers[i])
        free(buffers)
