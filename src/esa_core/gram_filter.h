/* Where in a text may one of many terms stand: the loops over all octets of the text, and over what is left of them.

   First, a gram of up to 4 octets, the core, is hashed at every second position and its word of a small Bloom filter fetched. Both the window that
   begins an octet before the core and the one that begins with it are decided with that word: two bits for the octet before, two for the one behind.
   So one fetch, which is what costs, decides about two positions with a gram that is longer by one, and no position waits for another one, as the
   states of an automaton do. Two kernels that give the same positions: plain C, and AVX2 that looks at 64 positions a step. The environment variable
   ESA_CORE_PLAIN=1 keeps the plain one on every processor. Second, what passed is tested with as many octets as all terms of a class have, up to
   eight. Neither loop branches on what it finds, but for many finds close together. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint32_t *words;   /* the filter, a power of two of words */
    uint32_t shift;          /* 32 - log2 of the number of words; 15 to 22 */
    uint32_t seed;
    uint32_t core;           /* octets of the core, 0 to 4; the window has one more */
} esa_gram_filter;

typedef struct {
    const uint64_t *words;   /* the filter, a power of two of words */
    uint32_t shift;          /* 64 - log2 of the number of words; 36 to 63 */
    uint32_t length;         /* octets of a key, 1 to 8 */
    uint64_t mask;           /* of these octets, little-endian */
    uint64_t seed;
} esa_key_filter;

#define ESA_GRAM_MULTIPLIER 0x9E3779B1u
#define ESA_SIDE_MULTIPLIER 0x9E37u

/* The `length` (0 to 4) octets at p as a number, little-endian; `left` octets may be read there. */
static inline uint32_t esa_gram_at(const uint8_t *p, uint32_t left, uint32_t length) {
    uint32_t gram = 0;
    if (left >= 4) {
        memcpy(&gram, p, 4);
        return gram & (uint32_t)((1ull << 8 * length) - 1);
    }
    memcpy(&gram, p, left < length ? left : length);
    return gram;
}

static inline uint32_t esa_gram_hash(uint32_t gram, uint32_t seed) { return (gram ^ seed) * ESA_GRAM_MULTIPLIER; }

/* The bits of a core's word that say that this octet stands beside it, which are the same on either side. */
static inline uint32_t esa_side_bits(uint32_t hash, uint8_t octet) {
    uint32_t mixed = (uint16_t)(octet * ESA_SIDE_MULTIPLIER) ^ (uint16_t)(hash >> 2);
    return 1u << (mixed >> 11) | 1u << (mixed >> 6 & 31);
}

/* The word and the bits of the window at p, by the core behind its first octet (`late`) or before its last one. */
static inline uint32_t esa_window_bits(const esa_gram_filter *filter, const uint8_t *p, uint32_t left, int late, uint32_t *word) {
    uint32_t hash = esa_gram_hash(esa_gram_at(p + late, left - late, filter->core), filter->seed);
    *word = hash >> filter->shift;
    return esa_side_bits(hash, p[late ? 0 : filter->core]);
}

/* The octets at p as a number; `left` of them may be read, at least one. */
static inline uint64_t esa_key_at(const uint8_t *p, uint32_t left, uint64_t mask) {
    uint64_t key = 0;
    if (left >= 8) memcpy(&key, p, 8);
    else memcpy(&key, p, left);
    return key & mask;
}

static inline uint64_t esa_key_hash(uint64_t key, uint64_t seed) { return (key ^ seed) * 0x9E3779B97F4A7C15ull; }

static inline uint64_t esa_key_bits(uint64_t hash) { return 1ull << (hash >> 30 & 63) | 1ull << (hash >> 24 & 63); }

/* Of `count` positions those that a key may begin at, into `kept`; returns their number. */
static __attribute__((unused)) uint32_t esa_keep_keys(const esa_key_filter *filter, const uint8_t *text, uint32_t n, const uint32_t *found, uint32_t count, uint32_t *kept) {
    const uint64_t *words = filter->words, mask = filter->mask, seed = filter->seed;
    const uint32_t shift = filter->shift;
    uint32_t i, at, n_kept = 0, fast = count;
    uint64_t key, hash, word;
    while (fast && n - found[fast - 1] < 8) fast--; /* positions rise */
    for (i = 0; i < count; i++) {
        at = found[i];
        if (i < fast) memcpy(&key, text + at, 8), key &= mask;
        else key = esa_key_at(text + at, n - at, mask);
        hash = esa_key_hash(key, seed), word = words[hash >> shift];
        kept[n_kept] = at;
        n_kept += (uint32_t)(word >> (hash >> 30 & 63) & word >> (hash >> 24 & 63) & 1);
    }
    return n_kept;
}

/* Positions in [from, to) that a window may begin at, into `found` (room for as many as there are positions and 8 more); returns their number. `from`
   is even; a window stands wholly in text[:n], of which nothing behind is read. */
static __attribute__((unused)) uint32_t esa_find_grams_plain(const esa_gram_filter *filter, const uint8_t *text, uint32_t from, uint32_t to, uint32_t n, uint32_t *found) {
    uint32_t count = 0, at, hash, word, bits;
    if (n <= filter->core) return 0;
    if (to > n - filter->core) to = n - filter->core;
    for (at = from; at < to; at += 2) {
        hash = esa_gram_hash(esa_gram_at(text + at + 1, n - at - 1, filter->core), filter->seed);
        word = filter->words[hash >> filter->shift];
        bits = esa_side_bits(hash, text[at]);
        found[count] = at;
        count += (word & bits) == bits;
        if (at + 1 < to) {
            bits = esa_side_bits(hash, text[at + 1 + filter->core]);
            found[count] = at + 1;
            count += (word & bits) == bits;
        }
    }
    return count;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define ESA_GRAM_WIDE __attribute__((target("avx2,bmi,popcnt")))
#define ESA_GRAM_STEP 64u        /* positions of one step of the wide kernel, */
#define ESA_GRAM_LOADED 72u      /* which reads so many octets */

/* Of the 16 windows that begin in the first 16 of 24 octets, bit 0 of each of 16 numbers of 16 bits: whether it may stand. */
static inline __attribute__((always_inline)) ESA_GRAM_WIDE __m256i
esa_test_windows(const esa_gram_filter *filter, const uint8_t *p, __m256i cores, __m256i sides) {
    const __m256i low = _mm256_set1_epi32(31);
    __m256i octets = _mm256_loadu2_m128i((const __m128i *)(p + 8), (const __m128i *)p);
    __m256i hash = _mm256_mullo_epi32(
        _mm256_xor_si256(_mm256_shuffle_epi8(octets, cores), _mm256_set1_epi32((int)filter->seed)), _mm256_set1_epi32((int)ESA_GRAM_MULTIPLIER)
    );
    __m256i words = _mm256_i32gather_epi32((const int *)filter->words, _mm256_srl_epi32(hash, _mm_cvtsi32_si128((int)filter->shift)), 4);
    /* in the lower half the octet before, in the upper half the one behind; both with the same bits of the hash */
    __m256i twice = _mm256_blend_epi16(_mm256_srli_epi32(hash, 2), _mm256_slli_epi32(hash, 14), 0xAA);
    __m256i mixed = _mm256_xor_si256(_mm256_mullo_epi16(_mm256_shuffle_epi8(octets, sides), _mm256_set1_epi16((short)ESA_SIDE_MULTIPLIER)), twice);
    __m256i before = _mm256_and_si256(
        _mm256_srlv_epi32(words, _mm256_and_si256(_mm256_srli_epi32(mixed, 11), low)), _mm256_srlv_epi32(words, _mm256_and_si256(_mm256_srli_epi32(mixed, 6), low))
    );
    __m256i behind = _mm256_and_si256(
        _mm256_srlv_epi32(words, _mm256_srli_epi32(mixed, 27)), _mm256_srlv_epi32(words, _mm256_and_si256(_mm256_srli_epi32(mixed, 22), low))
    );
    return _mm256_blend_epi16(before, _mm256_slli_epi32(behind, 16), 0xAA);
}

/* One bit for each of 64 positions. */
static inline __attribute__((always_inline)) ESA_GRAM_WIDE uint64_t
esa_test_step(const esa_gram_filter *filter, const uint8_t *p, __m256i cores, __m256i sides) {
    uint64_t all = 0;
    uint32_t k;
    for (k = 0; k < 2; k++) {
        __m256i a = _mm256_slli_epi16(esa_test_windows(filter, p + 32 * k, cores, sides), 15);
        __m256i b = _mm256_slli_epi16(esa_test_windows(filter, p + 32 * k + 16, cores, sides), 15);
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xD8);
        all |= (uint64_t)(uint32_t)_mm256_movemask_epi8(both) << (32 * k);
    }
    return all;
}

/* Append the positions of the bits; four always, the next ones overwrite what is too many. */
static inline __attribute__((always_inline)) ESA_GRAM_WIDE uint32_t esa_put_positions(uint64_t bits, uint32_t at, uint32_t *found, uint32_t count) {
    uint32_t end = count + (uint32_t)__builtin_popcountll(bits), k;
    do {
        for (k = 0; k < 4; k++) {
            found[count + k] = at + (uint32_t)_tzcnt_u64(bits);
            bits = _blsr_u64(bits);
        }
        count += 4;
    } while (count < end);
    return end;
}

static __attribute__((unused)) ESA_GRAM_WIDE uint32_t
esa_find_grams_wide(const esa_gram_filter *filter, const uint8_t *text, uint32_t from, uint32_t to, uint32_t n, uint32_t *found) {
    uint8_t control[2][16], rest[2 * ESA_GRAM_STEP + 16];
    uint32_t count = 0, at = from, k, octets;
    uint64_t bits;
    __m256i cores, sides;
    if (n <= filter->core) return 0;
    if (to > n - filter->core) to = n - filter->core;
    memset(control, 0x80, sizeof control);
    for (k = 0; k < 4; k++) {
        for (octets = 0; octets < filter->core; octets++) control[0][4 * k + octets] = (uint8_t)(2 * k + 1 + octets);
        control[1][4 * k] = (uint8_t)(2 * k), control[1][4 * k + 2] = (uint8_t)(2 * k + 1 + filter->core);
    }
    cores = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)control[0]));
    sides = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)control[1]));
    for (; at + ESA_GRAM_STEP <= to && at + ESA_GRAM_LOADED <= n; at += ESA_GRAM_STEP)
        count = esa_put_positions(esa_test_step(filter, text + at, cores, sides), at, found, count);
    if (at < to) {               /* the end of the text, at most ESA_GRAM_LOADED octets of it, with zeros behind */
        octets = n - at < sizeof rest ? n - at : (uint32_t)sizeof rest;
        memset(rest, 0, sizeof rest);
        memcpy(rest, text + at, octets);
        for (k = 0; at + k < to; k += ESA_GRAM_STEP) {
            bits = esa_test_step(filter, rest + k, cores, sides);
            if (to - at - k < ESA_GRAM_STEP) bits &= (1ull << (to - at - k)) - 1;
            count = esa_put_positions(bits, at + k, found, count);
        }
    }
    return count;
}

static __attribute__((unused)) int esa_grams_are_wide(void) {
    const char *plain = getenv("ESA_CORE_PLAIN");
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt") && !(plain && *plain == '1');
}
#else
#define esa_find_grams_wide esa_find_grams_plain
static __attribute__((unused)) int esa_grams_are_wide(void) { return 0; }
#endif
