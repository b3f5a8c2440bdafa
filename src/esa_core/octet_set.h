/* The next octet of a text that is one of a set. Two kernels that give the same: plain C, and AVX2, which looks at 32 octets at once. ESA_CORE_PLAIN=1
   keeps the first. */
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t member[256];         /* 1 for each octet of the set */
    uint8_t low[16], high[16];   /* by the lower half of an octet: bit n is set if the octet with n as its upper half is one, from 0x80 on less 8 */
} EsaOctetSet;

static __attribute__((unused)) void esa_octet_set_fill(EsaOctetSet *set, const uint8_t *member) {
    uint32_t octet;
    memset(set, 0, sizeof *set);
    for (octet = 0; octet < 256; octet++) {
        set->member[octet] = member[octet] != 0;
        if (member[octet]) (octet < 0x80 ? set->low : set->high)[octet & 15] |= (uint8_t)(1u << (octet >> 4 & 7));
    }
}

/* The first place from `at` on whose octet is of the set; n if there is none. */
static __attribute__((unused)) uint32_t esa_next_of_plain(const EsaOctetSet *set, const uint8_t *text, uint32_t at, uint32_t n) {
    while (at < n && !set->member[text[at]]) at++;
    return at;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
static __attribute__((unused, target("avx2"))) uint32_t esa_next_of_wide(const EsaOctetSet *set, const uint8_t *text, uint32_t at, uint32_t n) {
    const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)set->low));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)set->high));
    const __m256i bits = _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128));
    const __m256i top = _mm256_set1_epi8(-128), seven = _mm256_set1_epi8(7), zero = _mm256_setzero_si256();
    for (; n - at >= 32; at += 32) {
        __m256i here = _mm256_loadu_si256((const __m256i *)(text + at));
        /* looking up gives 0 where the highest bit is set: each octet is found in one of the two */
        __m256i column = _mm256_or_si256(_mm256_shuffle_epi8(low, here), _mm256_shuffle_epi8(high, _mm256_xor_si256(here, top)));
        __m256i row = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(here, 4), seven));
        uint32_t found = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(column, row), zero));
        if (found) return at + (uint32_t)__builtin_ctz(found);
    }
    return esa_next_of_plain(set, text, at, n);
}

static __attribute__((unused)) int esa_octet_sets_are_wide(void) {
    const char *plain = getenv("ESA_CORE_PLAIN");
    return __builtin_cpu_supports("avx2") && !(plain && *plain == '1');
}
#else
#define esa_next_of_wide esa_next_of_plain
static __attribute__((unused)) int esa_octet_sets_are_wide(void) { return 0; }
#endif
