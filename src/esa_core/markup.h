/* Where in an HTML text are the octets at which a reader must decide: one bit an octet, one struct for 64 octets.

   The reader then steps from mark to mark without looking at what stands between them. Four kernels that give the same marks: plain C, SSE2
   (part of every x86-64), and AVX2 or AVX-512 where the processor has it. The environment variable ESA_CORE_PLAIN=1 keeps the plain one everywhere. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "words.h"

typedef struct {
    uint64_t text;      /* what ends a run of text: "<", "&", NUL, and white space that is not one space behind something else */
    uint64_t name;      /* what ends an attribute's name: white space, "/", ">", "=" */
    uint64_t value;     /* what ends an unquoted value: white space, ">" */
    uint64_t quote;     /* double and single quotes */
    uint64_t less;      /* "<" */
    uint64_t blank;     /* white space */
} esa_marks;

#define ESA_MARKS_STRIDE (sizeof(esa_marks) / sizeof(uint64_t))

/* The first mark at or behind `at`, at most `end`. `map` is one field of the first struct but `blank`; from the source's length on all bits are set. */
static inline size_t esa_next_mark(const uint64_t *map, size_t at, size_t end) {
    const uint64_t *word = map + (at >> 6) * ESA_MARKS_STRIDE;
    uint64_t bits = *word >> (at & 63);
    if (!bits) {
        at &= ~(size_t)63;
        do { word += ESA_MARKS_STRIDE; at += 64; } while (!*word);
        bits = *word;
    }
    at += (size_t)__builtin_ctzll(bits);
    return at < end ? at : end;
}

/* The first octet at or behind `at` that is no white space, at most `end`. `map` is `blank` of the first struct: no bit is set from the source's
   length on. */
static inline size_t esa_next_other(const uint64_t *map, size_t at, size_t end) {
    const uint64_t *word = map + (at >> 6) * ESA_MARKS_STRIDE;
    uint64_t bits = ~*word >> (at & 63);
    if (!bits) {
        at &= ~(size_t)63;
        do { word += ESA_MARKS_STRIDE; at += 64; } while (!~*word && at < end);
        if (at >= end) return end;
        bits = ~*word;
    }
    at += (size_t)__builtin_ctzll(bits);
    return at < end ? at : end;
}

static inline void esa_mark_block_plain(const uint8_t *octets, esa_marks *marks, uint64_t *blank_before) {
    uint64_t blank = 0, space = 0, less = 0, greater = 0, quote = 0, other = 0, name = 0;
    int k;
    for (k = 0; k < 64; k++) {
        uint64_t bit = (uint64_t)1 << k;
        switch (octets[k]) {
        case ' ': space |= bit; /* fall through */
        case '\t': case '\n': case '\f': case '\r': blank |= bit; break;
        case '<': less |= bit; break;
        case '>': greater |= bit; break;
        case '"': case '\'': quote |= bit; break;
        case '&': case 0: other |= bit; break;
        case '/': case '=': name |= bit; break;
        }
    }
    marks->text = less | other | (blank & ~space) | (space & (blank << 1 | *blank_before));
    marks->name = blank | greater | name;
    marks->value = blank | greater;
    marks->quote = quote;
    marks->less = less;
    marks->blank = blank;
    *blank_before = blank >> 63;
}

#define ESA_MARK_ALL(block) \
    uint64_t blank_before = 1; \
    uint8_t last[64]; \
    uint64_t behind; \
    for (; length >= 64; length -= 64, source += 64, marks++) block(source, marks, &blank_before); \
    memset(last, 0, 64); \
    if (length) memcpy(last, source, length); \
    block(last, marks, &blank_before); \
    behind = ~(uint64_t)0 << length; \
    marks->text |= behind; marks->name |= behind; marks->value |= behind; marks->quote |= behind; marks->less |= behind;

/* `marks` has room for length / 64 + 1 structs. */
static __attribute__((unused)) void esa_mark_plain(const uint8_t *source, size_t length, esa_marks *marks) {
    ESA_MARK_ALL(esa_mark_block_plain)
}

#ifdef __SSE2__
#include <immintrin.h>

static inline void esa_mark_block_narrow(const uint8_t *octets, esa_marks *marks, uint64_t *blank_before) {
    uint64_t blank = 0, space = 0, less = 0, greater = 0, quote = 0, other = 0, name = 0;
    int k;
    for (k = 0; k < 64; k += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(octets + k));
        __m128i sp = _mm_cmpeq_epi8(x, _mm_set1_epi8(' '));
        /* \t \n are 9 and 10, \f \r 12 and 13: 9 to 13 without 11 */
        __m128i low = _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8(8)), _mm_cmplt_epi8(x, _mm_set1_epi8(14)));
        __m128i gt = _mm_cmpeq_epi8(x, _mm_set1_epi8('>'));
        __m128i lt = _mm_cmpeq_epi8(x, _mm_set1_epi8('<'));
        __m128i nm = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('=')), _mm_cmpeq_epi8(x, _mm_set1_epi8('/')));
        __m128i qu = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\'')));
        __m128i ot = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('&')), _mm_cmpeq_epi8(x, _mm_setzero_si128()));
        low = _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(11)), low);
        blank |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(sp, low)) << k;
        space |= (uint64_t)(uint32_t)_mm_movemask_epi8(sp) << k;
        greater |= (uint64_t)(uint32_t)_mm_movemask_epi8(gt) << k;
        less |= (uint64_t)(uint32_t)_mm_movemask_epi8(lt) << k;
        name |= (uint64_t)(uint32_t)_mm_movemask_epi8(nm) << k;
        quote |= (uint64_t)(uint32_t)_mm_movemask_epi8(qu) << k;
        other |= (uint64_t)(uint32_t)_mm_movemask_epi8(ot) << k;
    }
    marks->text = less | other | (blank & ~space) | (space & (blank << 1 | *blank_before));
    marks->name = blank | greater | name;
    marks->value = blank | greater;
    marks->quote = quote;
    marks->less = less;
    marks->blank = blank;
    *blank_before = blank >> 63;
}

static __attribute__((unused)) void esa_mark_narrow(const uint8_t *source, size_t length, esa_marks *marks) {
    ESA_MARK_ALL(esa_mark_block_narrow)
}

static inline __attribute__((target("avx2"), always_inline)) uint64_t esa_mask_of(__m256i low, __m256i high) {
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

static inline __attribute__((target("avx2"), always_inline)) uint64_t esa_mask_equal(__m256i low, __m256i high, char octet) {
    __m256i wanted = _mm256_set1_epi8(octet);
    return esa_mask_of(_mm256_cmpeq_epi8(low, wanted), _mm256_cmpeq_epi8(high, wanted));
}

static inline __attribute__((target("avx2"), always_inline)) void
esa_mark_block_wide(const uint8_t *octets, esa_marks *marks, uint64_t *blank_before) {
    __m256i a = _mm256_loadu_si256((const __m256i *)octets), b = _mm256_loadu_si256((const __m256i *)(octets + 32));
    /* A shuffle by the low four bits gives the one octet with them that is looked for; what is over 127 gives 0, and is not equal to it. */
    const __m256i blanks = _mm256_setr_epi8(' ', -1, -1, -1, -1, -1, -1, -1, -1, '\t', '\n', -1, '\f', '\r', -1, -1,
                                            ' ', -1, -1, -1, -1, -1, -1, -1, -1, '\t', '\n', -1, '\f', '\r', -1, -1);
    const __m256i quotes = _mm256_setr_epi8(-1, -1, '"', -1, -1, -1, -1, '\'', -1, -1, -1, -1, -1, -1, -1, -1,
                                            -1, -1, '"', -1, -1, -1, -1, '\'', -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i names = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, '=', -1, '/',
                                           -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, '=', -1, '/');
    const __m256i others = _mm256_setr_epi8(0, -1, -1, -1, -1, -1, '&', -1, -1, -1, -1, -1, '<', -1, -1, -1,
                                            0, -1, -1, -1, -1, -1, '&', -1, -1, -1, -1, -1, '<', -1, -1, -1);
#define ESA_ONE_OF(table) esa_mask_of(_mm256_cmpeq_epi8(a, _mm256_shuffle_epi8(table, a)), _mm256_cmpeq_epi8(b, _mm256_shuffle_epi8(table, b)))
    uint64_t blank = ESA_ONE_OF(blanks), space = esa_mask_equal(a, b, ' '), greater = esa_mask_equal(a, b, '>');
    marks->less = esa_mask_equal(a, b, '<');
    marks->quote = ESA_ONE_OF(quotes);
    marks->blank = blank;
    marks->value = blank | greater;
    marks->name = marks->value | ESA_ONE_OF(names);
    marks->text = ESA_ONE_OF(others) | (blank & ~space) | (space & (blank << 1 | *blank_before));
    *blank_before = blank >> 63;
#undef ESA_ONE_OF
}

static __attribute__((unused, target("avx2"))) void esa_mark_wide(const uint8_t *source, size_t length, esa_marks *marks) {
    ESA_MARK_ALL(esa_mark_block_wide)
}

/* As the one before: a mask of 64 octets is one comparison. */
static inline __attribute__((target("avx512f,avx512bw"), always_inline)) void
esa_mark_block_widest(const uint8_t *octets, esa_marks *marks, uint64_t *blank_before) {
    const __m512i x = _mm512_loadu_si512((const void *)octets);
    const __m128i blanks = _mm_setr_epi8(' ', -1, -1, -1, -1, -1, -1, -1, -1, '\t', '\n', -1, '\f', '\r', -1, -1);
    const __m128i quotes = _mm_setr_epi8(-1, -1, '"', -1, -1, -1, -1, '\'', -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i names = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, '=', -1, '/');
    const __m128i others = _mm_setr_epi8(0, -1, -1, -1, -1, -1, '&', -1, -1, -1, -1, -1, '<', -1, -1, -1);
#define ESA_ONE_OF(table) _mm512_cmpeq_epi8_mask(x, _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), x))
    uint64_t blank = ESA_ONE_OF(blanks), space = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8(' '));
    marks->less = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('<'));
    marks->quote = ESA_ONE_OF(quotes);
    marks->blank = blank;
    marks->value = blank | _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('>'));
    marks->name = marks->value | ESA_ONE_OF(names);
    marks->text = ESA_ONE_OF(others) | (blank & ~space) | (space & (blank << 1 | *blank_before));
    *blank_before = blank >> 63;
#undef ESA_ONE_OF
}

static __attribute__((unused, target("avx512f,avx512bw"))) void esa_mark_widest(const uint8_t *source, size_t length, esa_marks *marks) {
    ESA_MARK_ALL(esa_mark_block_widest)
}

static __attribute__((unused)) int esa_marks_are_wide(void) {
    const char *plain = getenv("ESA_CORE_PLAIN");
    return plain && *plain == '1' ? -1 : __builtin_cpu_supports("avx512bw") ? 2 : __builtin_cpu_supports("avx2") != 0;
}
#else
#define esa_mark_narrow esa_mark_plain
#define esa_mark_wide esa_mark_plain
#define esa_mark_widest esa_mark_plain
static __attribute__((unused)) int esa_marks_are_wide(void) { return 0; }
#endif

static inline void esa_mark(int wide, const uint8_t *source, size_t length, esa_marks *marks) {
    if (wide > 1) esa_mark_widest(source, length, marks);
    else if (wide > 0) esa_mark_wide(source, length, marks);
    else if (wide == 0) esa_mark_narrow(source, length, marks);
    else esa_mark_plain(source, length, marks);
}

/* ---- names ---- */


/* Lower ASCII letters of eight octets at once. */
static inline uint64_t esa_lower_name(uint64_t v) {
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t seven = v & (ones * 0x7f);
    uint64_t upper = (seven + ones * (0x80 - 'A')) & ~(seven + ones * (0x80 - 'Z' - 1)) & ~v & (ones * 0x80);
    return v | upper >> 2;
}

static inline int esa_has_octet(uint64_t v, uint8_t octet) {
    const uint64_t ones = 0x0101010101010101ull;
    v ^= ones * octet;
    return ((v - ones) & ~v & (ones * 0x80)) != 0;
}

/* The number of a name of 1 to 16 octets in any case, 0 if the table does not have it; 16 octets at p may be read. All octets are looked up as if they
   were letters; what is found is compared with only those changed that are. */
#define ESA_FIND_NAME(table, p, n) \
    const uint64_t lower = 0x2020202020202020ull; \
    uint64_t low, high = 0, key; \
    unsigned entry; \
    if (n <= 8) { \
        low = esa_load(p) & (~(uint64_t)0 >> (64 - 8 * n)); \
        key = low | lower; \
    } else if (n > 16) return 0; \
    else { \
        low = esa_load(p); \
        high = esa_load(p + 8) & (~(uint64_t)0 >> (128 - 8 * n)); \
        key = (low | lower) + (high | lower) * 31; \
    } \
    entry = table##_slots[key * table##_MULTIPLIER >> table##_SHIFT]; \
    low = (low | table##_names[entry].low_letters) ^ table##_names[entry].low; \
    if (n > 8) low |= (high | table##_names[entry].high_letters) ^ table##_names[entry].high; \
    else low |= table##_names[entry].high; \
    return low ? 0 : table##_names[entry].value;

/* Copy; up to 31 octets more than n are read and written. */
static inline void esa_copy_over(uint8_t *to, const uint8_t *from, size_t n) {
    size_t at = 0;
    do {
        memcpy(to + at, from + at, 16);
        memcpy(to + at + 16, from + at + 16, 16);
        at += 32;
    } while (at < n);
}
