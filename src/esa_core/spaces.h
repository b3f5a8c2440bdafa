/* White space between words as one space: lines are wrapped anywhere, and a phrase is the same phrase. */
#pragma once
#include <stdint.h>
#include <string.h>

#define ESA_MARK 512u            /* octets of source between two marks; a power of two and a multiple of 32 */

static inline int esa_is_space(uint8_t octet) { return octet == ' ' || (uint8_t)(octet - 9) < 5; }

/* Copy text[:n] with each run of white space as one space into `out`, which has n + 32 octets; returns how many there are. marks[k] is how many
   there were before octet k * ESA_MARK; there are n / ESA_MARK + 1 of them. */
static __attribute__((unused)) uint32_t esa_join_spaces(const uint8_t *text, uint32_t n, uint8_t *out, uint32_t *marks) {
    uint32_t at = 0, length = 0, k;
    uint8_t before = 0; /* whether the octet before is white space */
    for (;;) {
        if (at % ESA_MARK == 0) marks[at / ESA_MARK] = length;
        if (at + 33 <= n) {
            uint8_t odd = before & esa_is_space(text[at]);
            for (k = 0; k < 32; k++) odd |= ((uint8_t)(text[at + k] - 9) < 5) | ((text[at + k] == ' ') & (text[at + k + 1] == ' '));
            if (!odd) {
                memcpy(out + length, text + at, 32);
                at += 32, length += 32;
                before = text[at - 1] == ' ';
                continue;
            }
        }
        for (k = 0; k < 32 && at < n; k++, at++) {
            uint8_t space = (uint8_t)esa_is_space(text[at]);
            out[length] = space ? ' ' : text[at];
            length += !(space & before);
            before = space;
        }
        if (at == n) break;
    }
    if (n && n % ESA_MARK == 0) marks[n / ESA_MARK] = length;
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
    /* marks of one value stand in one run: its first space is the one that was copied */
    while (low && marks[low - 1] == marks[low] && marks[low] == place) low--;
    for (at = low * ESA_MARK, length = marks[low]; at < n; at++) {
        if (at && esa_is_space(text[at]) && esa_is_space(text[at - 1])) continue;
        if (length == place) return at;
        length++;
    }
    return n;
}
