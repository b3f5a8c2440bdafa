/* White space between words as one space: lines are wrapped anywhere, and a phrase is the same phrase. */
#pragma once
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ESA_MARK 64u             /* octets of source between two marks */

static inline int esa_is_space(uint8_t octet) { return octet == ' ' || (uint8_t)(octet - 9) < 5; }

/* How many octets at p are copied as they are, up to 16; 17 may be read. Stops at white space that is more or other than one space. */
static inline uint32_t esa_plain_octets(const uint8_t *p) {
#ifdef __SSE2__
    /* 9 to 13 by one comparison of signed numbers: less 9, they are the five smallest once the sign is turned */
    const __m128i space = _mm_set1_epi8(' '), turn = _mm_set1_epi8((char)(128 - 9)), five = _mm_set1_epi8((char)(-128 + 5));
    __m128i here = _mm_loadu_si128((const __m128i *)p), next = _mm_loadu_si128((const __m128i *)(p + 1));
    __m128i other = _mm_cmplt_epi8(_mm_add_epi8(here, turn), five);
    __m128i more = _mm_or_si128(_mm_cmplt_epi8(_mm_add_epi8(next, turn), five), _mm_cmpeq_epi8(next, space));
    uint32_t stops = (uint32_t)_mm_movemask_epi8(_mm_or_si128(other, _mm_and_si128(_mm_cmpeq_epi8(here, space), more)));
    return stops ? (uint32_t)__builtin_ctz(stops) : 16;
#else
    uint32_t k;
    for (k = 0; k < 16; k++)
        if ((uint8_t)(p[k] - 9) < 5 || (p[k] == ' ' && esa_is_space(p[k + 1]))) break;
    return k;
#endif
}

/* Copy text[:n] with each run of white space as one space into `out`, which has n + 16 octets; returns how many there are. marks[k] is how many
   there were before octet k * ESA_MARK; there are n / ESA_MARK + 1 of them. */
static __attribute__((unused)) uint32_t esa_join_spaces(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks) {
    uint32_t at = 0, length = 0, mark = 0, from, before;
    for (;;) {
        from = at, before = length;
        if (at + 17 <= n) {
            uint32_t plain = esa_plain_octets(text + at);
            memcpy(out + length, text + at, 16);
            at += plain, length += plain;
        } else if (at < n && !esa_is_space(text[at])) {
            out[length++] = text[at++];
        }
        if (at == from && at < n) {
            out[length++] = ' ';
            while (at < n && esa_is_space(text[at])) at++;
        }
        for (; mark * ESA_MARK < at || (at == n && mark <= n / ESA_MARK); mark++) {
            uint32_t there = before + (mark * ESA_MARK - from);
            marks[mark] = there < length ? there : length;
        }
        if (at == n) return length;
    }
}

/* Where the octet stands in text[:n] that was copied to `place`, less than the copy's length. */
static __attribute__((unused)) uint32_t esa_before_joining(const uint8_t *text, uint32_t n, const uint32_t *marks, uint32_t place) {
    uint32_t low = 0, high = n / ESA_MARK + 1, middle, at, length;
    while (high - low > 1) {
        middle = (low + high) / 2;
        if (marks[middle] <= place) low = middle;
        else high = middle;
    }
    /* the octet may stand before a mark of the same value, in or behind a run that begins there */
    while (low && marks[low] == place && marks[low - 1] == place) low--;
    for (at = low * ESA_MARK, length = marks[low]; at < n; at++) {
        if (at && esa_is_space(text[at]) && esa_is_space(text[at - 1])) continue;
        if (length == place) return at;
        length++;
    }
    return n;
}
