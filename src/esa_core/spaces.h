/* White space between words as one space: lines are wrapped anywhere, and a phrase is the same phrase. */
#pragma once
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ESA_MARK 64u             /* octets of source between two marks */

static inline int esa_is_space(uint8_t octet) { return octet == ' ' || (uint8_t)(octet - 9) < 5; }

/* Write 16 octets of p, white space as spaces; returns how many of them stand before the first white space that more white space follows, up to
   16. 17 octets are read. */
static inline uint32_t esa_copy_octets(const uint8_t *p, uint8_t *out) {
#ifdef __SSE2__
    /* 9 to 13 by one comparison of signed numbers: less 9, they are the five smallest once the sign is turned */
    const __m128i space = _mm_set1_epi8(' '), turn = _mm_set1_epi8((char)(128 - 9)), five = _mm_set1_epi8((char)(-128 + 5));
    __m128i here = _mm_loadu_si128((const __m128i *)p);
    __m128i other = _mm_cmplt_epi8(_mm_add_epi8(here, turn), five);
    uint32_t spaces = (uint32_t)_mm_movemask_epi8(_mm_or_si128(other, _mm_cmpeq_epi8(here, space)));
    uint32_t stops = spaces & (spaces >> 1 | (uint32_t)esa_is_space(p[16]) << 15);
    _mm_storeu_si128((__m128i *)out, _mm_or_si128(_mm_andnot_si128(other, here), _mm_and_si128(other, space)));
    return stops ? (uint32_t)__builtin_ctz(stops) : 16;
#else
    uint32_t k, stop = 16;
    for (k = 16; k-- > 0;) {
        out[k] = esa_is_space(p[k]) ? ' ' : p[k];
        if (esa_is_space(p[k]) && esa_is_space(p[k + 1])) stop = k;
    }
    return stop;
#endif
}

/* Copy text[:n] with each run of white space as one space into `out`, which has n + 16 octets; returns how many there are. marks[k] is how many
   there were before octet k * ESA_MARK; there are n / ESA_MARK + 1 of them. */
static __attribute__((unused)) uint32_t esa_join_spaces(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks) {
    uint32_t at = 0, length = 0, mark, end, count;
    for (mark = 0; mark <= n / ESA_MARK; mark++) {
        marks[mark] = length;
        end = n - mark * ESA_MARK < ESA_MARK ? n : (mark + 1) * ESA_MARK;
        while (at < end) {
            if (n - at >= 17) {
                count = esa_copy_octets(text + at, out + length);
                if (count >= end - at || count == 16) {
                    count = count < end - at ? count : end - at;
                    at += count, length += count;
                    continue;
                }
                at += count, length += count;
            } else if (!esa_is_space(text[at])) {
                out[length++] = text[at++];
                continue;
            }
            out[length++] = ' ';
            while (at < n && esa_is_space(text[at])) at++;
        }
    }
    return length;
}

/* Where the octet stands in text[:n] that was copied to `place`, less than the copy's length. */
static __attribute__((unused)) uint32_t esa_before_joining(const uint8_t *text, uint32_t n, const uint32_t *marks, uint32_t place) {
    uint32_t low = 0, high = n / ESA_MARK + 1, middle, at, length;
    while (high - low > 1) {
        middle = (low + high) / 2;
        if (marks[middle] <= place) low = middle;
        else high = middle;
    }
    if (low < n / ESA_MARK && marks[low + 1] - marks[low] == ESA_MARK) return low * ESA_MARK + (place - marks[low]); /* nothing was joined here */
    /* the octet may stand before a mark of the same value, in or behind a run that begins there */
    while (low && marks[low] == place && marks[low - 1] == place) low--;
    for (at = low * ESA_MARK, length = marks[low]; at < n; at++) {
        if (at && esa_is_space(text[at]) && esa_is_space(text[at - 1])) continue;
        if (length == place) return at;
        length++;
    }
    return n;
}
