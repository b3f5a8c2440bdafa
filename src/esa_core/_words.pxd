"""Words: spans, hashes, and a read-only table of words, phrases and domains that facts are looked up in.

Inline functions for `_facts`; they read folded UTF-8 that has ESA_PADDING bytes behind it. The table belongs to a `Lexicon` and never changes
after it is built, so that threads share it. Its keys are 64-bit hashes without the text: a chance hit needs about 2^64 / (words × entries) tries,
and a forged one only claims a word the sender could have written anyway. Probes are bounded by the longest run in a table at most half full.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <string.h>
    /* Bits: 1 ASCII letter or digit, 2 part of a letter outside ASCII, 4 lead byte whose characters are nearly all signs (E2: U+2000-2FFF,
       C2: U+0080-00BF), 8 lead byte of U+10000 and up (emoji). Everything else separates words. */
    #define ESA_WORD 3
    static const uint8_t ESA_CLASS[256] = {
        ['0' ... '9'] = 1, ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, [0x80 ... 0xC1] = 2, [0xC2] = 4, [0xC3 ... 0xE1] = 2, [0xE2] = 4,
        [0xE3 ... 0xEF] = 2, [0xF0 ... 0xFF] = 8,
    };
    static inline uint64_t esa_load(const uint8_t *p) {
        uint64_t v; memcpy(&v, p, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        v = __builtin_bswap64(v);
    #endif
        return v;
    }
    static inline uint64_t esa_load_tail(const uint8_t *p, uint32_t n) {   /* 1..8 bytes; reads 8 */
        return esa_load(p) & (~0ULL >> (64 - 8 * n));
    }
    static inline uint64_t esa_mix(uint64_t h) { h ^= h >> 32; h *= 0x9E3779B97F4A7C15ULL; h ^= h >> 29; return h; }
    static inline uint64_t esa_hash(const uint8_t *p, uint32_t n) {
        uint64_t h = 0x243F6A8885A308D3ULL ^ ((uint64_t) n << 56);
        while (n > 8) { h = esa_mix(h ^ esa_load(p)) * 0xA0761D6478BD642FULL; p += 8; n -= 8; }
        if (n) h = esa_mix(h ^ esa_load_tail(p, n)) * 0xA0761D6478BD642FULL;
        return (h ^ h >> 32) | 1;
    }
    static inline uint64_t esa_short_hash(const uint8_t *p, uint32_t n) {   /* the same of 1..8 bytes, without a loop; reads 8 */
        uint64_t h = esa_mix(0x243F6A8885A308D3ULL ^ ((uint64_t) n << 56) ^ esa_load_tail(p, n)) * 0xA0761D6478BD642FULL;
        return (h ^ h >> 32) | 1;
    }
    /* Letters of ASCII by case; nonzero return: some byte of E2 and up is there. */
    static inline int esa_count_case_plain(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) {
        uint32_t i, u = 0, l = 0; uint8_t high = 0;
        for (i = 0; i < n; i++) {
            u += (uint8_t) (p[i] - 'A') < 26;
            l += (uint8_t) (p[i] - 'a') < 26;
            high |= p[i] >= 0xE2;
        }
        *upper += u; *lower += l;
        return high;
    }
    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline int esa_count_case(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) {
        __m128i zero = _mm_setzero_si128(), high = zero;
        uint32_t step;
        while (n >= 16) {
            __m128i u = zero, l = zero;   /* counts of octets: 255 steps at most */
            for (step = 0; step < 255 && n >= 16; step++, p += 16, n -= 16) {
                __m128i x = _mm_loadu_si128((const __m128i *) p);
                u = _mm_sub_epi8(u, _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char) (0x80 - 'A'))), _mm_set1_epi8(-128 + 26)));
                l = _mm_sub_epi8(l, _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char) (0x80 - 'a'))), _mm_set1_epi8(-128 + 26)));
                high = _mm_max_epu8(high, x);
            }
            u = _mm_sad_epu8(u, zero);
            l = _mm_sad_epu8(l, zero);
            *upper += (uint32_t) (_mm_cvtsi128_si32(u) + _mm_extract_epi16(u, 4));
            *lower += (uint32_t) (_mm_cvtsi128_si32(l) + _mm_extract_epi16(l, 4));
        }
        high = _mm_cmpeq_epi8(_mm_max_epu8(high, _mm_set1_epi8((char) 0xE2)), high);
        return esa_count_case_plain(p, n, upper, lower) | (_mm_movemask_epi8(high) != 0);
    }
    #else
    static inline int esa_count_case(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) {
        return esa_count_case_plain(p, n, upper, lower);
    }
    #endif
    static inline uint64_t esa_chain(uint64_t phrase, uint64_t word) {   /* hash of a phrase with one more word */
        return esa_mix(((phrase << 13) | (phrase >> 51)) * 0xE7037ED1A0B428DBULL ^ word) | 1;
    }
    """
    const uint8_t ESA_CLASS[256]
    const uint8_t ESA_WORD
    bint esa_count_case_plain(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) noexcept nogil
    bint esa_count_case(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) noexcept nogil
    uint64_t esa_hash(const uint8_t *p, uint32_t n) noexcept nogil
    uint64_t esa_short_hash(const uint8_t *p, uint32_t n) noexcept nogil
    uint64_t esa_chain(uint64_t phrase, uint64_t word) noexcept nogil

cdef struct Entry:
    uint64_t key                 # hash | 1; 0: empty slot
    uint64_t mask                # bit per category or list
    uint16_t brand               # 1 + index of the brand this is a name or a domain of; 0: none
    uint16_t longer              # 1: a longer phrase begins with this

cdef struct Table:
    Entry *entries               # [1 << bits]
    uint64_t *filter             # one bit per hash of 16 bits: most words are turned away here, in the first-level cache
    uint64_t *telling            # the same of words that alone say more than that they stand in the dictionary
    uint64_t *pairs              # the same of phrases of two words, or of the first two of a longer one
    uint32_t bits

cdef inline uint64_t is_in_filter(const uint64_t *filter, uint64_t key) noexcept nogil:
    """0 if the key is none of those the filter was made of."""
    return (filter[(key >> 40 & 0xFFFF) >> 6] >> (key >> 40 & 63)) & 1

cdef inline const Entry *find(const Table *table, uint64_t key) noexcept nogil:
    """The entry of a key, or NULL."""
    cdef uint32_t mask = (<uint32_t> 1 << table.bits) - 1
    cdef uint32_t slot = <uint32_t> (key >> 8) & mask
    if not is_in_filter(table.filter, key):
        return NULL
    while table.entries[slot].key != 0:
        if table.entries[slot].key == key:
            return &table.entries[slot]
        slot = (slot + 1) & mask
    return NULL

cdef inline uint32_t word_end(const uint8_t *text, uint32_t i, uint32_t n) noexcept nogil:
    """The end of the word that starts at i."""
    while i < n and ESA_CLASS[text[i]] & ESA_WORD:
        i += 1
    return i

cdef inline uint32_t lower_into(uint8_t *target, uint32_t room, const uint8_t *text, uint32_t n) noexcept nogil:
    """Copy at most `room` bytes with ASCII letters in lower case; returns their number. `target` must have 8 bytes more than `room`."""
    cdef uint32_t i, m = n if n < room else room
    for i in range(m):
        target[i] = text[i] | 0x20 if 65 <= text[i] <= 90 else text[i]
    return m
