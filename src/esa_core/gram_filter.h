/* Where in a text may one of many terms stand: the loops over all octets of the text, and over what is left of them.

   First, a gram of 1 to 4 octets is hashed at every position, its word of a small Bloom filter fetched and two bits of it tested; no position
   waits for another one, as the states of an automaton do. Two kernels that give the same positions: plain C, and AVX2 that looks at sixteen
   positions a step. The environment variable ESA_CORE_PLAIN=1 keeps the plain one on every processor. Second, what passed is tested with as
   many octets as all terms of a class have, up to eight. Neither loop branches on what it finds. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint32_t *words;   /* the filter, a power of two of words */
    uint32_t shift;          /* 32 - log2 of the number of words; 10 to 31 */
    uint32_t mask;           /* of the octets of a gram, little-endian: 0xff for one octet */
    uint32_t seed;
    uint32_t length;         /* octets of a gram */
    uint32_t stride;         /* 1, 2 or 4: positions that are multiples of it are looked at; 2 and 4 only with grams of 4 octets */
} esa_gram_filter;

typedef struct {
    const uint64_t *words;   /* the filter, a power of two of words */
    uint32_t shift;          /* 64 - log2 of the number of words; 36 to 63 */
    uint32_t length;         /* octets of a key, 1 to 8 */
    uint64_t mask;           /* of these octets, little-endian */
    uint64_t seed;
} esa_key_filter;

#define ESA_GRAM_MULTIPLIER 0x9E3779B1u

/* The gram at p; `left` octets may be read there, at least one. */
static inline uint32_t esa_gram_at(const uint8_t *p, uint32_t left, uint32_t mask) {
    uint32_t gram = 0;
    if (left >= 4) memcpy(&gram, p, 4);
    else memcpy(&gram, p, left);
    return gram & mask;
}

static inline uint32_t esa_gram_hash(uint32_t gram, uint32_t seed) { return (gram ^ seed) * ESA_GRAM_MULTIPLIER; }

static inline uint32_t esa_gram_bits(const esa_gram_filter *filter, uint32_t hash) {
    return 1u << (hash >> (filter->shift - 5) & 31) | 1u << (hash >> (filter->shift - 10) & 31);
}

static inline int esa_gram_may_stand(const esa_gram_filter *filter, uint32_t hash) {
    uint32_t bits = esa_gram_bits(filter, hash);
    return (filter->words[hash >> filter->shift] & bits) == bits;
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
    uint32_t i, at, n_kept = 0, fast = count;
    uint64_t key, hash, bits;
    while (fast && n - found[fast - 1] < 8) fast--; /* positions rise */
    for (i = 0; i < count; i++) {
        at = found[i];
        if (i < fast) memcpy(&key, text + at, 8), key &= filter->mask;
        else key = esa_key_at(text + at, n - at, filter->mask);
        hash = esa_key_hash(key, filter->seed), bits = esa_key_bits(hash);
        kept[n_kept] = at;
        n_kept += (filter->words[hash >> filter->shift] & bits) == bits;
    }
    return n_kept;
}

/* Positions in [from, to) that a gram may begin at, into `found` (room for as many as there are positions and 8 more); returns their number. `from` is a multiple
   of the stride; a gram stands wholly in text[:n], of which nothing behind is read. */
static __attribute__((unused)) uint32_t esa_find_grams_plain(const esa_gram_filter *filter, const uint8_t *text, uint32_t from, uint32_t to, uint32_t n, uint32_t *found) {
    uint32_t count = 0, at;
    if (n < filter->length) return 0;
    if (to > n - filter->length + 1) to = n - filter->length + 1;
    for (at = from; at < to; at += filter->stride) {
        found[count] = at;
        count += esa_gram_may_stand(filter, esa_gram_hash(esa_gram_at(text + at, n - at, filter->mask), filter->seed));
    }
    return count;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

/* For each set of lanes their numbers, one octet each, in rising order. */
static __attribute__((unused)) uint64_t esa_lanes[256];

/* Lanes whose gram may stand, one bit each. */
static inline __attribute__((always_inline, target("avx2,popcnt"))) uint32_t
esa_test_grams(const esa_gram_filter *filter, __m256i grams, __m256i mask, __m256i seed, __m128i shift, __m128i shift_a, __m128i shift_b) {
    const __m256i low = _mm256_set1_epi32(31), one = _mm256_set1_epi32(1);
    __m256i hash = _mm256_mullo_epi32(_mm256_xor_si256(_mm256_and_si256(grams, mask), seed), _mm256_set1_epi32((int)ESA_GRAM_MULTIPLIER));
    __m256i words = _mm256_i32gather_epi32((const int *)filter->words, _mm256_srl_epi32(hash, shift), 4);
    __m256i a = _mm256_srlv_epi32(words, _mm256_and_si256(_mm256_srl_epi32(hash, shift_a), low));
    __m256i b = _mm256_srlv_epi32(words, _mm256_and_si256(_mm256_srl_epi32(hash, shift_b), low));
    __m256i both = _mm256_and_si256(_mm256_and_si256(a, b), one);
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(both, 31)));
}

static inline __attribute__((always_inline, target("avx2,popcnt"))) uint32_t
esa_find_grams_by(const esa_gram_filter *filter, const uint8_t *text, uint32_t from, uint32_t to, uint32_t n, uint32_t *found, uint32_t stride) {
    const __m256i mask = _mm256_set1_epi32((int)filter->mask), seed = _mm256_set1_epi32((int)filter->seed);
    const __m128i shift = _mm_cvtsi32_si128((int)filter->shift), shift_a = _mm_cvtsi32_si128((int)filter->shift - 5),
                  shift_b = _mm_cvtsi32_si128((int)filter->shift - 10);
    const __m256i every = _mm256_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6, 4, 5, 6, 7, 5, 6, 7, 8, 6, 7, 8, 9, 7, 8, 9, 10);
    const __m256i second = _mm256_setr_epi8(0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9);
    uint32_t count = 0, at = from, k;
    /* two vectors a step: 16 positions; the loads reach at most 16 + 16 * stride octets */
    while (at + 16 * stride <= to && at + 16 * stride + 16 <= n) {
        for (k = 0; k < 2; k++) {
            uint32_t lanes;
            const uint8_t *p = text + at + 8 * stride * k;
            __m256i grams;
            if (stride == 4) grams = _mm256_loadu_si256((const __m256i *)p);
            else if (stride == 2) grams = _mm256_shuffle_epi8(_mm256_loadu2_m128i((const __m128i *)(p + 8), (const __m128i *)p), second);
            else grams = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p)), every);
            lanes = esa_test_grams(filter, grams, mask, seed, shift, shift_a, shift_b);
            grams = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)esa_lanes[lanes]));
            grams = _mm256_add_epi32(_mm256_mullo_epi32(grams, _mm256_set1_epi32((int)stride)), _mm256_set1_epi32((int)(at + 8 * stride * k)));
            _mm256_storeu_si256((__m256i *)(found + count), grams); /* all eight lanes; the next ones overwrite what is too many */
            count += (uint32_t)__builtin_popcount(lanes);
        }
        at += 16 * stride;
    }
    return count + esa_find_grams_plain(filter, text, at, to, n, found + count);
}

static __attribute__((unused, target("avx2,popcnt"))) uint32_t
esa_find_grams_wide(const esa_gram_filter *filter, const uint8_t *text, uint32_t from, uint32_t to, uint32_t n, uint32_t *found) {
    if (filter->stride == 4) return esa_find_grams_by(filter, text, from, to, n, found, 4);
    if (filter->stride == 2) return esa_find_grams_by(filter, text, from, to, n, found, 2);
    return esa_find_grams_by(filter, text, from, to, n, found, 1);
}

static __attribute__((unused)) int esa_grams_are_wide(void) {
    const char *plain = getenv("ESA_CORE_PLAIN");
    uint32_t lanes, k, n;
    for (lanes = 0; lanes < 256; lanes++)
        for (k = 0, n = 0; k < 8; k++)
            if (lanes >> k & 1) esa_lanes[lanes] |= (uint64_t)k << (8 * n++);
    return __builtin_cpu_supports("avx2") && !(plain && *plain == '1');
}
#else
#define esa_find_grams_wide esa_find_grams_plain
static __attribute__((unused)) int esa_grams_are_wide(void) { return 0; }
#endif
