/* Where in a text a URL may begin: the colon of ":/", or the last w of "w.". Two kernels that give the same: plain C, and AVX2, which looks at 32
   octets at once. ESA_CORE_PLAIN=1 keeps the first. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* 1: no URL goes on at this octet; 2: perhaps not, by what follows (the characters that parts_words tells begin with it). */
static const uint8_t esa_url_ends[256] = {
    [0 ... 32] = 1, ['"'] = 1, ['<'] = 1, ['>'] = 1, [127] = 1, [0xC2] = 2, [0xE2] = 2, [0xE3] = 2, [0xEF] = 2,
};

/* The first such octet from `at` on, `end` if there is none; no octet from `end` on is read. */
static __attribute__((unused)) size_t esa_next_url_sign_plain(const uint8_t *text, size_t at, size_t end) {
    for (; at + 1 < end; at++) {
        if (text[at] == ':' ? text[at + 1] == '/' : (text[at] | 32) == 'w' && text[at + 1] == '.') return at;
    }
    return end;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
static __attribute__((unused, target("avx2"))) size_t esa_next_url_sign_wide(const uint8_t *text, size_t at, size_t end) {
    const __m256i colon = _mm256_set1_epi8(':'), slash = _mm256_set1_epi8('/'), w = _mm256_set1_epi8('w'), dot = _mm256_set1_epi8('.');
    const __m256i small = _mm256_set1_epi8(32);
    for (; at + 32 < end; at += 32) {
        __m256i here = _mm256_loadu_si256((const __m256i *)(text + at));
        __m256i next = _mm256_loadu_si256((const __m256i *)(text + at + 1));
        __m256i scheme = _mm256_and_si256(_mm256_cmpeq_epi8(here, colon), _mm256_cmpeq_epi8(next, slash));
        __m256i www = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_or_si256(here, small), w), _mm256_cmpeq_epi8(next, dot));
        uint32_t found = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(scheme, www));
        if (found) return at + (uint32_t)__builtin_ctz(found);
    }
    return esa_next_url_sign_plain(text, at, end);
}

static __attribute__((unused)) int esa_url_signs_are_wide(void) {
    const char *plain = getenv("ESA_CORE_PLAIN");
    return __builtin_cpu_supports("avx2") && !(plain && *plain == '1');
}
#else
#define esa_next_url_sign_wide esa_next_url_sign_plain
static __attribute__((unused)) int esa_url_signs_are_wide(void) { return 0; }
#endif
