"""Words: spans, hashes, and a read-only table of words, phrases and domains that facts are looked up in.

Inline functions for `_facts`; they read folded UTF-8 that has ESA_PADDING bytes behind it. The table belongs to a `Lexicon` and never changes
after it is built, so that threads share it. Its keys are 64-bit hashes without the text: a chance hit needs about 2^64 / (words × entries) tries,
and a forged one only claims a word the sender could have written anyway. Probes are bounded by the longest run in a table at most half full.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "words.h":
    int esa_words_are_wide()
    uint64_t esa_hash(const uint8_t *p, uint32_t n) noexcept nogil              # reads up to 15 octets behind
    uint64_t esa_short_hash(const uint8_t *p, uint32_t n) noexcept nogil        # the same of up to 16 octets; reads 16
    uint64_t esa_chain(uint64_t phrase, uint64_t word) noexcept nogil           # of a phrase with one more word
    uint32_t esa_next_high(const uint8_t *p, uint32_t i, uint32_t n) noexcept nogil     # of E2 and up; reads up to 15 octets behind
    uint64_t esa_equal_octets(const uint8_t *p, uint8_t c) noexcept nogil       # one bit each of 64
    bint esa_count_case_plain(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) noexcept nogil
    bint esa_count_case_wide(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) noexcept nogil  # reads up to 31 octets behind

cdef extern from *:
    """
    /* Bits: 1 ASCII letter or digit, 2 part of a letter outside ASCII, 4 lead byte whose characters are nearly all signs (E2: U+2000-2FFF,
       C2: U+0080-00BF), 8 lead byte of U+10000 and up (emoji). Everything else separates words. */
    #define ESA_WORD 3
    static const uint8_t ESA_CLASS[256] = {
        ['0' ... '9'] = 1, ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, [0x80 ... 0xC1] = 2, [0xC2] = 4, [0xC3 ... 0xE1] = 2, [0xE2] = 4,
        [0xE3 ... 0xEF] = 2, [0xF0 ... 0xFF] = 8,
    };
    typedef struct {             /* four of them to a cache line */
        uint64_t key;            /* hash; 0: empty slot */
        uint64_t mask : 40;      /* bit per category or list */
        uint64_t brand : 16;     /* 1 + index of the brand this is a name or a domain of; 0: none */
        uint64_t longer : 8;     /* 1: a longer phrase begins with this */
    } EsaEntry;
    """
    const uint8_t ESA_CLASS[256]
    const uint8_t ESA_WORD
    ctypedef struct Entry "EsaEntry":
        uint64_t key
        uint64_t mask
        uint16_t brand
        uint16_t longer

cdef struct Table:
    Entry *entries               # [1 << (64 - shift)], found by the upper bits of their keys
    uint64_t *filter             # one bit per hash of 16 bits: most words are turned away here, in the first-level cache
    uint64_t *telling            # the same of words that alone say more than that they stand in the dictionary
    uint64_t *pairs              # the same of phrases of two words, or of the first two of a longer one
    uint32_t shift

cdef inline uint64_t is_in_filter(const uint64_t *filter, uint64_t key) noexcept nogil:
    """0 if the key is none of those the filter was made of."""
    return (filter[key >> 54] >> (key >> 48 & 63)) & 1

cdef inline const Entry *look_up(const Table *table, uint64_t key) noexcept nogil:
    """The entry of a key that some filter let through, or NULL."""
    cdef uint32_t mask = (<uint32_t> 1 << (64 - table.shift)) - 1
    cdef uint32_t slot = <uint32_t> (key >> table.shift)
    while table.entries[slot].key != 0:
        if table.entries[slot].key == key:
            return &table.entries[slot]
        slot = (slot + 1) & mask
    return NULL

cdef inline const Entry *find(const Table *table, uint64_t key) noexcept nogil:
    """The entry of a key, or NULL."""
    return look_up(table, key) if is_in_filter(table.filter, key) else NULL

cdef inline uint32_t word_end(const uint8_t *text, uint32_t i, uint32_t n) noexcept nogil:
    """The end of the word that starts at i."""
    while i < n and ESA_CLASS[text[i]] & ESA_WORD:
        i += 1
    return i

cdef inline uint32_t lower_into(uint8_t *target, uint32_t room, const uint8_t *text, uint32_t n) noexcept nogil:
    """Copy at most `room` bytes with ASCII letters in lower case; returns their number. `target` must have 16 bytes more than `room`."""
    cdef uint32_t i, m = n if n < room else room
    for i in range(m):
        target[i] = text[i] | 0x20 if 65 <= text[i] <= 90 else text[i]
    return m
