/* White space between words as one space: lines are wrapped anywhere, and a phrase is the same phrase. Two kernels that write the same: one of
   vectors of 16 octets (or plain C), and AVX-512 where the processor can leave out octets of a vector. ESA_CORE_PLAIN=1 keeps the first. */
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ESA_MARK 64u             /* octets of source between two marks, and of a step: the bits of a word */
#define ESA_JOINED_SLACK 64u     /* octets that joining may write behind what it gives */

static inline int esa_is_space(uint8_t octet) { return octet == ' ' || (uint8_t)(octet - 9) < 5; }

/* Write 16 octets of p, white space as spaces; returns a bit for each white space. */
static inline uint32_t esa_copy_spaces(const uint8_t *p, uint8_t *out) {
#ifdef __SSE2__
    /* 9 to 13 by one comparison of signed numbers: less 9, they are the five smallest once the sign is turned */
    const __m128i space = _mm_set1_epi8(' '), turn = _mm_set1_epi8((char)(128 - 9)), five = _mm_set1_epi8((char)(-128 + 5));
    __m128i here = _mm_loadu_si128((const __m128i *)p);
    __m128i other = _mm_cmplt_epi8(_mm_add_epi8(here, turn), five);
    here = _mm_or_si128(_mm_andnot_si128(other, here), _mm_and_si128(other, space));
    _mm_storeu_si128((__m128i *)out, here);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(here, space));
#else
    uint32_t spaces = 0, k;
    for (k = 0; k < 16; k++) {
        out[k] = esa_is_space(p[k]) ? ' ' : p[k];
        spaces |= (uint32_t)(out[k] == ' ') << k;
    }
    return spaces;
#endif
}

/* Write ESA_MARK octets in the same way; returns a bit for each octet that stays: all but white space behind white space. `behind` is 1 if the octet
   before them is white space, and becomes what the last one is. */
static inline uint64_t esa_copy_step(const uint8_t *p, uint8_t *out, uint64_t *behind) {
    uint64_t spaces = 0, stay;
    uint32_t k;
    for (k = 0; k < ESA_MARK; k += 16) spaces |= (uint64_t)esa_copy_spaces(p + k, out + k) << k;
    stay = ~(spaces & (spaces << 1 | *behind));
    *behind = spaces >> 63;
    return stay;
}

/* Copy text[:n] with each run of white space as one space into `out`, which has n + ESA_JOINED_SLACK octets; returns how many there are. marks[k] is
   how many there were before octet k * ESA_MARK; there are n / ESA_MARK + 1 of them. */
static __attribute__((unused)) uint32_t esa_join_spaces_plain(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks) {
    uint8_t end[2 * ESA_MARK], *put = out;
    const uint8_t *p;
    uint32_t at = 0, size, count, k;
    uint64_t behind = 0, all = ~(uint64_t)0, stay;
    for (; at < n; at += ESA_MARK) {
        *marks++ = (uint32_t)(put - out);
        p = text + at;
        size = n - at;
        if (size < sizeof end) { /* a stretch is copied from where it begins: a step more is read */
            memset(end, 0, sizeof end);
            p = memcpy(end, p, size);
        }
        if (size < ESA_MARK) all >>= ESA_MARK - size;
        stay = esa_copy_step(p, put, &behind) & all;
        if (stay == all) {
            put += size < ESA_MARK ? size : ESA_MARK;
            continue;
        }
        while (stay) {           /* stretches of what stays; what a copy writes too much the next one overwrites */
            k = (uint32_t)__builtin_ctzll(stay);
            count = (uint32_t)__builtin_ctzll(~(stay >> k));
            stay &= stay + (1ull << k);
            for (const uint8_t *from = p + k, *to = from + count; from < to; from += 16) esa_copy_spaces(from, put + (from - p - k));
            put += count;
        }
    }
    if (n % ESA_MARK == 0) *marks = (uint32_t)(put - out);
    return (uint32_t)(put - out);
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
static __attribute__((unused, target("avx512f,avx512bw,avx512vbmi2,popcnt"))) uint32_t
esa_join_spaces_wide(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks) {
    const __m512i space = _mm512_set1_epi8(' '), first = _mm512_set1_epi8(9), five = _mm512_set1_epi8(5);
    uint8_t *put = out;
    uint32_t at = 0;
    uint64_t behind = 0, all = ~(uint64_t)0, spaces, stay;
    for (; at < n; at += ESA_MARK) {
        *marks++ = (uint32_t)(put - out);
        if (n - at < ESA_MARK) all >>= ESA_MARK - (n - at);
        __m512i here = _mm512_maskz_loadu_epi8(all, text + at);
        here = _mm512_mask_mov_epi8(here, _mm512_cmplt_epu8_mask(_mm512_sub_epi8(here, first), five), space);
        spaces = _mm512_cmpeq_epi8_mask(here, space);
        stay = ~(spaces & (spaces << 1 | behind)) & all;
        behind = spaces >> 63;
        _mm512_storeu_si512(put, _mm512_maskz_compress_epi8(stay, here));
        put += (uint32_t)__builtin_popcountll(stay);
    }
    if (n % ESA_MARK == 0) *marks = (uint32_t)(put - out);
    return (uint32_t)(put - out);
}

static __attribute__((unused)) int esa_spaces_are_wide(void) {
    const char *plain = getenv("ESA_CORE_PLAIN");
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("popcnt") && !(plain && *plain == '1');
}
#else
#define esa_join_spaces_wide esa_join_spaces_plain
static __attribute__((unused)) int esa_spaces_are_wide(void) { return 0; }
#endif

/* Where the octet stands in text[:n] that was copied to `place`, less than the copy's length. */
static __attribute__((unused)) uint32_t esa_before_joining(const uint8_t *text, uint32_t n, const uint32_t *marks, uint32_t place) {
    uint32_t low = 0, high = n / ESA_MARK + 1, middle, at;
    uint64_t behind, stay;
    uint8_t step[ESA_MARK], ignored[ESA_MARK];
    while (high - low > 1) {
        middle = (low + high) / 2;
        if (marks[middle] <= place) low = middle;
        else high = middle;
    }
    at = low * ESA_MARK;
    place -= marks[low];
    if (low < n / ESA_MARK && marks[low + 1] - marks[low] == ESA_MARK) return at + place; /* nothing was joined here */
    memset(step, 0, sizeof step);
    memcpy(step, text + at, n - at < ESA_MARK ? n - at : ESA_MARK);
    behind = at && esa_is_space(text[at - 1]);
    stay = esa_copy_step(step, ignored, &behind);
    while (place--) stay &= stay - 1;
    return at + (uint32_t)__builtin_ctzll(stay);
}
