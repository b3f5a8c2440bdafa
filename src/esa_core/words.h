/* Words of folded text: their hashes, and letters by case. What reads octets behind a text says how many.

   Where there are several kernels they give the same: one for every processor, one for those with AVX2, one for those with AVX-512;
   ESA_CORE_PLAIN=1 in the environment keeps the first. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ESA_CHAIN_MULTIPLIER 0xE7037ED1A0B428DBull
#define ESA_HASH_FIRST 0x9E3779B97F4A7C15ull
#define ESA_HASH_SECOND 0xA0761D6478BD642Full

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#define ESA_WIDE 1
#include <immintrin.h>
#define ESA_TARGET_WIDE __attribute__((unused, target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define ESA_TARGET_WIDEST __attribute__((unused, target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512dq")))
#endif
#define ESA_INLINE static inline __attribute__((always_inline, unused))

/* 0: no more than every processor has; 1: AVX2; 2: AVX-512 as well. */
static __attribute__((unused)) int esa_words_are_wide(void) {
#ifdef ESA_WIDE
    const char *plain = getenv("ESA_CORE_PLAIN");
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("popcnt")
        || (plain && *plain == '1'))
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? 2 : 1;
#else
    return 0;
#endif
}

ESA_INLINE uint64_t esa_load(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* The octets that belong to n of 16. */
#define ESA_ONES(n) ((n) >= 8 ? ~0ull : (1ull << 8 * ((n) & 7)) - 1)
#define ESA_MASKS(n) {ESA_ONES(n), (n) > 8 ? ESA_ONES((n) - 8) : 0}
static const uint64_t esa_masks[17][2] = {
    ESA_MASKS(0), ESA_MASKS(1), ESA_MASKS(2), ESA_MASKS(3), ESA_MASKS(4), ESA_MASKS(5), ESA_MASKS(6), ESA_MASKS(7), ESA_MASKS(8),
    ESA_MASKS(9), ESA_MASKS(10), ESA_MASKS(11), ESA_MASKS(12), ESA_MASKS(13), ESA_MASKS(14), ESA_MASKS(15), ESA_MASKS(16),
};

/* The hash of up to 16 octets; 16 are read. No branch, and its upper bits, which tables and filters go by, are the good ones. Odd, so never 0. */
ESA_INLINE uint64_t esa_short_hash(const uint8_t *p, uint32_t n) {
    return (n + (esa_load(p) & esa_masks[n][0]) * ESA_HASH_FIRST + (esa_load(p + 8) & esa_masks[n][1]) * ESA_HASH_SECOND) | 1;
}

/* The same of any number of octets; up to 15 behind them are read. */
static inline __attribute__((unused)) uint64_t esa_hash(const uint8_t *p, uint32_t n) {
    uint64_t h = 0;
    for (; n > 16; p += 16, n -= 16) {
        h += 16 + esa_load(p) * ESA_HASH_FIRST + esa_load(p + 8) * ESA_HASH_SECOND;
        h = (h ^ h >> 32) * ESA_CHAIN_MULTIPLIER;
    }
    return (h + esa_short_hash(p, n)) | 1;
}

/* The hash of a phrase with one more word. */
ESA_INLINE uint64_t esa_chain(uint64_t phrase, uint64_t word) { return (phrase * ESA_CHAIN_MULTIPLIER ^ word) | 1; }

/* Letters of ASCII by case; nonzero return: some octet of E2 and up is there. */
static inline __attribute__((unused)) int esa_count_case_plain(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) {
    uint32_t i, u = 0, l = 0;
    uint8_t high = 0;
    for (i = 0; i < n; i++) {
        u += (uint8_t)(p[i] - 'A') < 26;
        l += (uint8_t)(p[i] - 'a') < 26;
        high |= p[i] >= 0xE2;
    }
    *upper += u;
    *lower += l;
    return high;
}

/* Where from i on the next octet of E2 and up stands, n if nowhere; 15 octets behind the text are read. */
static inline __attribute__((unused)) uint32_t esa_next_high(const uint8_t *p, uint32_t i, uint32_t n) {
#ifdef __SSE2__
    const __m128i least = _mm_set1_epi8((char)0xE2);
    for (; i < n; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
        uint32_t found = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(x, least), x));
        if (found) {
            i += (uint32_t)__builtin_ctz(found);
            break;
        }
    }
#else
    while (i < n && p[i] < 0xE2) i++;
#endif
    return i < n ? i : n;
}

/* Which of 64 octets are c, one bit each. */
static inline __attribute__((unused)) uint64_t esa_equal_octets(const uint8_t *p, uint8_t c) {
    uint64_t found = 0;
    int i;
#ifdef __SSE2__
    for (i = 0; i < 64; i += 16)
        found |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + i)), _mm_set1_epi8((char)c))) << i;
#else
    for (i = 0; i < 64; i++) found |= (uint64_t)(p[i] == c) << i;
#endif
    return found;
}

#ifdef ESA_WIDE
/* As esa_count_case_plain; 31 octets behind the text are read. */
static ESA_TARGET_WIDE int esa_count_case_wide(const uint8_t *p, uint32_t n, uint32_t *upper, uint32_t *lower) {
    const __m256i least = _mm256_set1_epi8(-128 + 26), capital = _mm256_set1_epi8((char)(0x80 - 'A')), small = _mm256_set1_epi8((char)(0x80 - 'a'));
    __m256i high = _mm256_setzero_si256();
    uint32_t u = 0, l = 0;
    for (; n; p += 32, n -= n < 32 ? n : 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)p);
        if (n < 32) x = _mm256_and_si256(x, _mm256_cmpgt_epi8(_mm256_set1_epi8((char)n), _mm256_setr_epi8(
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)));
        high = _mm256_max_epu8(high, x);
        u += (uint32_t)__builtin_popcount((uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(least, _mm256_add_epi8(x, capital))));
        l += (uint32_t)__builtin_popcount((uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(least, _mm256_add_epi8(x, small))));
    }
    *upper += u;
    *lower += l;
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(high, _mm256_set1_epi8((char)0xE2)), high)) != 0;
}
#else
#define esa_count_case_wide esa_count_case_plain
#endif
