/* Folded text by the block of 64 octets: one bit an octet for what it is, and from these the words with their hashes and the signs among them.

   esa_block_plain says octet by octet what a block is; the vector forms of it give the same. esa_read_words is one function, compiled for every
   processor and for those with AVX2; with AVX-512 eight words are hashed and chosen at once. The octets behind the text are read (64 of them
   at most) and not looked at. */
#pragma once
#include "words.h"

#define ESA_BLOCK 64u            /* octets of a block: one bit each */
#define ESA_TOKENS 256u          /* of a batch: small enough for the first-level cache, a block holds at most 64 */

/* One bit an octet. */
typedef struct {
    uint64_t word;               /* letters and digits of ASCII, parts of letters outside ASCII */
    uint64_t digit;
    uint64_t high;               /* over 127 */
    uint64_t dot;
    uint64_t blank;              /* up to 32 */
    uint64_t odd;                /* ! ? % $ : and the first octet of a character that is no letter: C2, E2, F0 and up */
} EsaBlock;

static inline __attribute__((unused)) void esa_block_plain(const uint8_t *p, EsaBlock *b) {
    uint64_t bit = 1, skip = 0, i;
    memset(b, 0, sizeof(*b));
    for (i = 0; i < 64; i++, bit <<= 1) {
        uint8_t c = p[i];
        if ((uint8_t)(c - '0') < 10) b->digit |= bit;
        if ((uint8_t)((c | 32) - 'a') < 26 || (uint8_t)(c - '0') < 10) b->word |= bit;
        else if (c >= 0x80) {
            b->high |= bit;
            if (c >= 0xF0) { b->odd |= bit; skip |= bit << 1 | bit << 2 | bit << 3; }
            else if (c == 0xE2) { b->odd |= bit; skip |= bit << 1 | bit << 2; }
            else if (c == 0xC2) { b->odd |= bit; skip |= bit << 1; }
            else if (!(skip & bit)) b->word |= bit;
        }
        else if (c == '.') b->dot |= bit;
        else if (c <= 32) b->blank |= bit;
        else if (c == '!' || c == '?' || c == '%' || c == '$' || c == ':') b->odd |= bit;
    }
    b->word &= ~skip;
}

/* What octets over 127 change in a block, given where C2, E2, and F0 and up stand. */
ESA_INLINE void esa_block_high(EsaBlock *b, uint64_t c2, uint64_t e2, uint64_t f0) {
    uint64_t skip = c2 << 1 | e2 << 1 | e2 << 2 | f0 << 1 | f0 << 2 | f0 << 3;
    b->odd |= c2 | e2 | f0;
    b->word = (b->word | (b->high & ~(c2 | e2 | f0))) & ~skip;
}

#ifdef __SSE2__
#define ESA_MASK(x) ((uint64_t)(uint32_t)_mm_movemask_epi8(x))
#define ESA_IS(x, c) _mm_cmpeq_epi8((x), _mm_set1_epi8((char)(c)))
static inline __attribute__((unused)) void esa_block_narrow(const uint8_t *p, EsaBlock *b) {
    uint64_t c2 = 0, e2 = 0, f0 = 0;
    int i;
    memset(b, 0, sizeof(*b));
    for (i = 0; i < 64; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i letter = _mm_add_epi8(_mm_or_si128(x, _mm_set1_epi8(32)), _mm_set1_epi8((char)(0x80 - 'a')));
        __m128i digit = _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - '0'))), _mm_set1_epi8(-128 + 10));
        __m128i odd = _mm_or_si128(_mm_or_si128(ESA_IS(x, '!'), ESA_IS(x, '?')), ESA_IS(x, '%'));
        odd = _mm_or_si128(odd, _mm_or_si128(ESA_IS(x, '$'), ESA_IS(x, ':')));
        b->word |= ESA_MASK(_mm_or_si128(_mm_cmplt_epi8(letter, _mm_set1_epi8(-128 + 26)), digit)) << i;
        b->digit |= ESA_MASK(digit) << i;
        b->high |= ESA_MASK(x) << i;
        b->dot |= ESA_MASK(ESA_IS(x, '.')) << i;
        b->blank |= ESA_MASK(_mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(32)), x)) << i;
        b->odd |= ESA_MASK(odd) << i;
    }
    if (b->high) {
        for (i = 0; i < 64; i += 16) {
            __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
            c2 |= ESA_MASK(ESA_IS(x, 0xC2)) << i;
            e2 |= ESA_MASK(ESA_IS(x, 0xE2)) << i;
            f0 |= ESA_MASK(_mm_cmpeq_epi8(_mm_max_epu8(x, _mm_set1_epi8((char)0xF0)), x)) << i;
        }
        esa_block_high(b, c2, e2, f0);
    }
}
#else
#define esa_block_narrow esa_block_plain
#endif

#ifdef ESA_WIDE
#define ESA_WIDE_MASK(a, b) ((uint64_t)(uint32_t)_mm256_movemask_epi8(a) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32)
#define ESA_WIDE_IS(x, c) _mm256_cmpeq_epi8((x), _mm256_set1_epi8((char)(c)))
static inline __attribute__((always_inline)) ESA_TARGET_WIDE void esa_block_of(const uint8_t *p, EsaBlock *b) {
    /* the odd octets of ASCII differ in their lower four bits, by which a shuffle looks them up */
    const __m256i odd = _mm256_setr_epi8(-1, '!', 0, 0, '$', '%', 0, 0, 0, 0, ':', 0, 0, 0, 0, '?', -1, '!', 0, 0, '$', '%', 0, 0, 0, 0, ':', 0, 0, 0, 0, '?');
    const __m256i space = _mm256_set1_epi8(32), letters = _mm256_set1_epi8(-128 + 26), digits = _mm256_set1_epi8(-128 + 10);
    const __m256i letter = _mm256_set1_epi8((char)(0x80 - 'a')), digit = _mm256_set1_epi8((char)(0x80 - '0'));
    __m256i x = _mm256_loadu_si256((const __m256i *)p), y = _mm256_loadu_si256((const __m256i *)(p + 32));
    b->digit = ESA_WIDE_MASK(_mm256_cmpgt_epi8(digits, _mm256_add_epi8(x, digit)), _mm256_cmpgt_epi8(digits, _mm256_add_epi8(y, digit)));
    b->word = b->digit | ESA_WIDE_MASK(_mm256_cmpgt_epi8(letters, _mm256_add_epi8(_mm256_or_si256(x, space), letter)),
                                       _mm256_cmpgt_epi8(letters, _mm256_add_epi8(_mm256_or_si256(y, space), letter)));
    b->high = ESA_WIDE_MASK(x, y);
    b->dot = ESA_WIDE_MASK(ESA_WIDE_IS(x, '.'), ESA_WIDE_IS(y, '.'));
    b->blank = ESA_WIDE_MASK(_mm256_cmpeq_epi8(_mm256_min_epu8(x, space), x), _mm256_cmpeq_epi8(_mm256_min_epu8(y, space), y));
    b->odd = ESA_WIDE_MASK(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(odd, x), x), _mm256_cmpeq_epi8(_mm256_shuffle_epi8(odd, y), y));
    if (b->high) {
        const __m256i f0 = _mm256_set1_epi8((char)0xF0);
        esa_block_high(b, ESA_WIDE_MASK(ESA_WIDE_IS(x, 0xC2), ESA_WIDE_IS(y, 0xC2)), ESA_WIDE_MASK(ESA_WIDE_IS(x, 0xE2), ESA_WIDE_IS(y, 0xE2)),
                       ESA_WIDE_MASK(_mm256_cmpeq_epi8(_mm256_max_epu8(x, f0), x), _mm256_cmpeq_epi8(_mm256_max_epu8(y, f0), y)));
    }
}
static ESA_TARGET_WIDE void esa_block_wide(const uint8_t *p, EsaBlock *b) { esa_block_of(p, b); }
#else
#define esa_block_wide esa_block_narrow
#endif

/* ---- words ---- */

enum { ESA_CURRENCY_SIGN = 1, ESA_COPYRIGHT_SIGN = 2 };

#define ESA_NO_WORD 1u           /* stands for the hash of the word before the first */

typedef struct {                 /* a sign that words behind it depend on */
    uint32_t kind;
    uint32_t at;                 /* offset in the text */
    uint32_t word;               /* index of the word behind it */
} EsaSign;

typedef struct {                 /* which words somebody wants to look at; others that their hashes cannot be told from are given as well */
    const uint64_t *telling;     /* one bit per hash of 16 bits: words */
    const uint64_t *pairs;       /* the same of phrases of two words */
    uint64_t names;              /* two bits per hash, see esa_name_bits */
    uint8_t begin[2][2];         /* words that may begin so: two octets each, or the first alone where it is a word; 0: none */
} EsaChoice;

typedef struct {                 /* words in their order, and what goes on from one batch to the next */
    uint64_t hashes[1 + ESA_TOKENS];         /* of the word before, then of each */
    uint64_t pairs[ESA_TOKENS];              /* of the phrases of the word before each and this one */
    uint32_t at[ESA_TOKENS];                 /* offsets in the text */
    uint32_t length[ESA_TOKENS];             /* octets */
    uint64_t telling[ESA_TOKENS / 64];       /* words chosen for their own hashes, one bit each */
    uint64_t others[ESA_TOKENS / 64 + 1];    /* words chosen for any other reason */
    EsaSign signs[2 * ESA_BLOCK];
    uint32_t n_words;
    uint32_t n_signs;
    uint32_t wanted;             /* 1: a currency sign stands before the next word */
} EsaBatch;

typedef struct {                 /* what is counted on the way */
    uint32_t sentences, exclamations, exclamation_runs, questions, currency, percent, signs, mixed_script, urls;
} EsaCounts;

ESA_INLINE uint64_t esa_in_filter(const uint64_t *filter, uint64_t hash) { return filter[hash >> 54] >> (hash >> 48 & 63); }
ESA_INLINE uint64_t esa_in_names(uint64_t names, uint64_t hash) { return names >> (hash >> 48 & 63) & names >> (hash >> 42 & 63); }
ESA_INLINE uint64_t esa_name_bits(uint64_t hash) { return 1ull << (hash >> 48 & 63) | 1ull << (hash >> 42 & 63); }
ESA_INLINE uint32_t esa_first_bit(uint64_t bits) { return bits ? (uint32_t)__builtin_ctzll(bits) : 64; }
ESA_INLINE int esa_is_word_octet(uint8_t c) { return (uint8_t)((c | 32) - 'a') < 26 || (uint8_t)(c - '0') < 10 || (c >= 0x80 && c < 0xF0 && c != 0xC2 && c != 0xE2); }

/* Latin letters of ASCII beside Greek or Cyrillic ones (U+0370 to U+04FF) in one word that begins with no digit. */
static __attribute__((unused)) uint32_t esa_is_mixed_script(const uint8_t *word, uint32_t n) {
    uint32_t i, latin = 0, other = 0;
    for (i = 0; i < n; i++) {
        latin |= (uint8_t)(word[i] - 'a') < 26;
        other |= word[i] >= 205 && word[i] <= 211;
    }
    return latin & other & ((uint8_t)(word[0] - '0') >= 10);
}

/* Where in a block its first octet is the one given, and the second follows it or the word ends there. */
#ifdef __SSE2__
static inline __attribute__((unused)) uint64_t esa_begins_narrow(const uint8_t *p, uint64_t word, const uint8_t *begin) {
    uint64_t first = 0, second = 0;
    int i;
    for (i = 0; i < 64; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
        first |= ESA_MASK(ESA_IS(x, begin[0])) << i;
        second |= ESA_MASK(ESA_IS(x, begin[1])) << i;
    }
    return first & (second >> 1 | ~word >> 1 | 1ull << 63);
}
#else
static inline __attribute__((unused)) uint64_t esa_begins_narrow(const uint8_t *p, uint64_t word, const uint8_t *begin) {
    uint64_t found = 0, i;
    for (i = 0; i < 64; i++) found |= (uint64_t)(p[i] == begin[0] && (i == 63 || p[i + 1] == begin[1] || !(word >> (i + 1) & 1))) << i;
    return found;
}
#endif
#ifdef ESA_WIDE
static inline ESA_TARGET_WIDE uint64_t esa_begins_wide(const uint8_t *p, uint64_t word, const uint8_t *begin) {
    __m256i x = _mm256_loadu_si256((const __m256i *)p), y = _mm256_loadu_si256((const __m256i *)(p + 32));
    uint64_t first = ESA_WIDE_MASK(ESA_WIDE_IS(x, begin[0]), ESA_WIDE_IS(y, begin[0]));
    uint64_t second = ESA_WIDE_MASK(ESA_WIDE_IS(x, begin[1]), ESA_WIDE_IS(y, begin[1]));
    return first & (second >> 1 | ~word >> 1 | 1ull << 63);
}
#endif

/* Choose words of a block whatever their hashes: those whose first octets are in `extra`. */
static inline __attribute__((unused)) void esa_choose(uint64_t starts, uint64_t extra, EsaBatch *batch) {
    uint32_t k;
    for (extra &= starts; extra; extra &= extra - 1) {
        k = batch->n_words + (uint32_t)__builtin_popcountll(starts & ((extra & (0 - extra)) - 1));
        batch->others[k >> 6] |= 1ull << (k & 63);
    }
}

/* Add the words of a block, none of which goes over its end. */
typedef void (*esa_add_words)(uint32_t i, uint64_t word, uint64_t extra, EsaBatch *batch);

static __attribute__((unused)) void esa_add_words_plain(uint32_t i, uint64_t word, uint64_t extra, EsaBatch *batch) {
    uint64_t starts = word & ~(word << 1), ends = ~word & word << 1;
    uint32_t k = batch->n_words;
    esa_choose(starts, extra, batch);
    for (; starts; k++, starts &= starts - 1, ends &= ends - 1) {
        batch->at[k] = i + (uint32_t)__builtin_ctzll(starts);
        batch->length[k] = (uint32_t)(__builtin_ctzll(ends) - __builtin_ctzll(starts));
    }
    batch->n_words = k;
}

#ifdef ESA_WIDE
/* Some words more than there are at most times are written at once: how often to go round cannot be foreseen. */
static inline ESA_TARGET_WIDE void esa_add_words_wide(uint32_t i, uint64_t word, uint64_t extra, EsaBatch *batch) {
    uint64_t starts = word & ~(word << 1), ends = ~word & word << 1;
    uint32_t *at = batch->at + batch->n_words, *length = batch->length + batch->n_words, k, first;
    if (extra & starts) esa_choose(starts, extra, batch);
    batch->n_words += (uint32_t)_mm_popcnt_u64(starts);
    do {
        for (k = 0; k < 12; k++) {
            first = (uint32_t)_tzcnt_u64(starts);
            at[k] = i + first;
            length[k] = (uint32_t)_tzcnt_u64(ends) - first;
            starts = _blsr_u64(starts);
            ends = _blsr_u64(ends);
        }
        at += 12, length += 12;
    } while (starts);
}
#endif

/* The hashes of all words, and which of them are chosen. */
ESA_INLINE void esa_choose_words(const EsaChoice *choice, const uint8_t *text, EsaBatch *batch) {
    const uint64_t *telling = choice->telling, *pairs = choice->pairs, names = choice->names;
    uint64_t *hashes = batch->hashes;
    uint32_t n = batch->n_words, k, length, end;
    for (k = 0; k < n; k++) {
        length = batch->length[k];
        hashes[k + 1] = length <= 16 ? esa_short_hash(text + batch->at[k], length) : esa_hash(text + batch->at[k], length);
    }
    for (k = 0; k < n;) {
        uint64_t tell = 0, other = batch->others[k >> 6];
        for (end = k + 64 < n ? k + 64 : n; k < end; k++) {
            uint64_t hash = hashes[k + 1], pair = esa_chain(hashes[k], hash);
            batch->pairs[k] = pair;
            tell |= (esa_in_filter(telling, hash) & 1) << (k & 63);
            other |= ((esa_in_filter(pairs, pair) | esa_in_names(names, hash)) & 1) << (k & 63);
        }
        batch->telling[(k - 1) >> 6] = tell;
        batch->others[(k - 1) >> 6] = other;
    }
}

#ifdef ESA_WIDE
/* One bit for each of eight hashes that may be in the filter. */
static inline ESA_TARGET_WIDEST __mmask8 esa_in_filter_widest(const uint64_t *filter, __m512i hash) {
    __m512i words = _mm512_i64gather_epi64(_mm512_srli_epi64(hash, 54), filter, 8);
    __m512i bit = _mm512_and_si512(_mm512_srli_epi64(hash, 48), _mm512_set1_epi64(63));
    return _mm512_test_epi64_mask(_mm512_srlv_epi64(words, bit), _mm512_set1_epi64(1));
}

/* As esa_choose_words, eight words a step. */
static ESA_TARGET_WIDEST void esa_choose_words_widest(const EsaChoice *choice, const uint8_t *text, EsaBatch *batch) {
    const __m512i one = _mm512_set1_epi64(1), ones = _mm512_set1_epi64(-1), low = _mm512_set1_epi64(63), zero = _mm512_setzero_si512();
    const __m512i first = _mm512_set1_epi64((long long)ESA_HASH_FIRST), second = _mm512_set1_epi64((long long)ESA_HASH_SECOND);
    const __m512i chain = _mm512_set1_epi64((long long)ESA_CHAIN_MULTIPLIER), names = _mm512_set1_epi64((long long)choice->names);
    __m512i before = _mm512_set1_epi64((long long)batch->hashes[0]);
    uint32_t n = batch->n_words, k, j;
    memset(batch->telling, 0, sizeof(batch->telling));
    for (k = 0; k < n; k += 8) {
        __mmask8 inside = n - k < 8 ? (__mmask8)((1u << (n - k)) - 1) : (__mmask8)0xFF, tell, other, great;
        __m256i at = _mm256_loadu_si256((const __m256i *)(batch->at + k));
        __m512i length = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)(batch->length + k)));
        __m512i bits = _mm512_slli_epi64(length, 3), hash, pair, c, a, b;
        a = _mm512_mask_i32gather_epi64(zero, inside, at, text, 1);
        b = _mm512_mask_i32gather_epi64(zero, inside, at, text + 8, 1);
        a = _mm512_andnot_si512(_mm512_sllv_epi64(ones, bits), a); /* all octets of a word of eight or more */
        b = _mm512_andnot_si512(_mm512_sllv_epi64(ones, _mm512_max_epi64(_mm512_sub_epi64(bits, _mm512_set1_epi64(64)), zero)), b);
        hash = _mm512_add_epi64(_mm512_mullo_epi64(a, first), _mm512_mullo_epi64(b, second));
        hash = _mm512_or_si512(_mm512_add_epi64(hash, length), one);
        great = _mm512_mask_cmpgt_epu64_mask(inside, length, _mm512_set1_epi64(16));
        if (great) {
            uint64_t hashes[8];
            _mm512_storeu_si512(hashes, hash);
            for (j = 0; j < 8; j++)
                if (great >> j & 1) hashes[j] = esa_hash(text + batch->at[k + j], batch->length[k + j]);
            hash = _mm512_loadu_si512(hashes);
        }
        pair = _mm512_xor_si512(_mm512_mullo_epi64(_mm512_alignr_epi64(hash, before, 7), chain), hash);
        pair = _mm512_or_si512(pair, one);
        before = hash;
        _mm512_mask_storeu_epi64(batch->hashes + k + 1, inside, hash);
        _mm512_mask_storeu_epi64(batch->pairs + k, inside, pair);
        tell = esa_in_filter_widest(choice->telling, hash);
        other = esa_in_filter_widest(choice->pairs, pair);
        c = _mm512_and_si512(_mm512_srli_epi64(hash, 48), low);
        a = _mm512_and_si512(_mm512_srli_epi64(hash, 42), low);
        other |= _mm512_test_epi64_mask(_mm512_and_si512(_mm512_srlv_epi64(names, c), _mm512_srlv_epi64(names, a)), one);
        batch->telling[k >> 6] |= (uint64_t)(tell & inside) << (k & 63);
        batch->others[k >> 6] |= (uint64_t)(other & inside) << (k & 63);
    }
}
#endif

/* Where the URL ends whose path or host begins at `at`. */
static inline __attribute__((unused)) uint32_t esa_url_end(const uint8_t *text, uint32_t at, uint32_t n) {
    while (at < n && text[at] > 32 && text[at] != '"' && text[at] != ')' && text[at] != '<' && text[at] != '>' && text[at] != ']') at++;
    return at;
}

#ifdef ESA_WIDE
/* The same; 31 octets behind the text are read. */
static ESA_TARGET_WIDE uint32_t esa_url_end_wide(const uint8_t *text, uint32_t at, uint32_t n) {
    /* what ends a URL differs in its lower four bits, by which a shuffle looks it up */
    const __m256i ends = _mm256_setr_epi8(-1, 0, '"', 0, 0, 0, 0, 0, 0, ')', 0, 0, '<', ']', '>', 0, -1, 0, '"', 0, 0, 0, 0, 0, 0, ')', 0, 0, '<', ']', '>', 0);
    const __m256i space = _mm256_set1_epi8(32);
    for (; at < n; at += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(text + at));
        __m256i end = _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_min_epu8(x, space), x), _mm256_cmpeq_epi8(_mm256_shuffle_epi8(ends, x), x));
        uint32_t found = (uint32_t)_mm256_movemask_epi8(end);
        if (found) {
            at += (uint32_t)__builtin_ctz(found);
            break;
        }
    }
    return at < n ? at : n;
}
#endif

/* Read a block, and the word or URL that goes over its end; returns the offset behind. A word that would go over the end is left for the next
   block, unless it is longer than one. */
ESA_INLINE uint32_t esa_read_block(
    const uint8_t *text, uint32_t i, uint32_t n, EsaBatch *batch, EsaCounts *counts, const EsaBlock *b, uint64_t extra, esa_add_words add_words,
    uint32_t (*url_end)(const uint8_t *, uint32_t, uint32_t)
) {
    const uint8_t *p = text + i;
    uint32_t left = n - i, at, length, end, stop = 64, kind;
    uint64_t inside = left < 64 ? (1ull << left) - 1 : ~0ull, word = b->word & inside, events = b->odd & inside, bit, cut;
    /* the end of the text ends a sentence */
    uint64_t blank_next = (b->blank | ~inside) >> 1 | (uint64_t)(left <= 64 || p[64] <= 32) << 63;
    if (word == ~0ull) {
        for (end = i + 64; end < n && esa_is_word_octet(text[end]);) end++;
        counts->mixed_script += esa_is_mixed_script(p, end - i);
        esa_choose(1, 1, batch);
        batch->at[batch->n_words] = i;
        batch->length[batch->n_words++] = end - i;
        batch->wanted = 0;
        return end;
    }
    /* digits that may be part of a large amount: six octets or more, or three behind a comma */
    for (cut = b->digit & word & ~(word << 1) & word >> 1 & word >> 2; cut; cut &= cut - 1) {
        at = (uint32_t)__builtin_ctzll(cut);
        length = esa_first_bit(~(word >> at));
        extra |= (uint64_t)(length >= 6 || at + length >= 64 || (length == 3 && i + at > 0 && p[(int32_t)at - 1] == ',')) << at;
    }
    while (events) {
        bit = events & (0 - events);
        events ^= bit;
        at = i + (uint32_t)__builtin_ctzll(bit);
        uint8_t c = text[at], following = at + 1 < n ? text[at + 1] : 32;
        if (c == ':') {
            if (following != '/' || at + 2 >= n || text[at + 2] != '/') continue;
            counts->urls++;
            end = url_end(text, at + 3, n);
            if (end - i >= 64) {
                stop = end - i;
                inside &= bit - 1;
                break;
            }
            inside &= (bit - 1) | ~0ull << (end - i);
            events &= inside;
            continue;
        }
        if (c == '!') {
            counts->exclamations += following <= 32 || following == '!';
            counts->exclamation_runs += following == '!';
            counts->sentences += following <= 32;
            continue;
        }
        if (c == '?') {
            counts->questions += following <= 32;
            counts->sentences += following <= 32;
            continue;
        }
        if (c == '%') {
            counts->percent += at > 0 && (uint8_t)(text[at - 1] - '0') < 10;
            continue;
        }
        length = 1;
        kind = 0;
        if (c == '$') kind = ESA_CURRENCY_SIGN;
        else if (c == 0xC2) {
            length = 2;
            if (following == 0xA3 || following == 0xA5) kind = ESA_CURRENCY_SIGN;
            else if (following == 0xA9) kind = ESA_COPYRIGHT_SIGN;
        } else if (c == 0xE2) {
            length = 3;
            if (following == 0x82) kind = ESA_CURRENCY_SIGN;
            else counts->signs += (following >= 0x98 && following <= 0x9F) || following == 0x86 || following == 0x87 || following == 0x8C || following == 0x8F
                                  || following == 0xAC || following == 0xAD;
        } else {
            length = 4;
            counts->signs += c == 0xF0 && following == 0x9F;
        }
        if (at + length > i + stop) stop = at + length - i;
        if (!kind) continue;
        word &= inside;
        if (batch->wanted && (cut = word & (bit - 1))) {
            extra |= cut & (0 - cut);
            batch->wanted = 0;
        }
        add_words(i, word & (bit - 1), extra, batch);
        word &= ~(bit - 1);
        batch->signs[batch->n_signs].kind = kind;
        batch->signs[batch->n_signs].at = at;
        batch->signs[batch->n_signs++].word = batch->n_words;
        if (kind == ESA_CURRENCY_SIGN) {
            counts->currency++;
            batch->wanted = 1;
        }
    }
    word &= inside;
    if (word >> 63) { /* from where the last word begins, which is no sign and no URL */
        stop = 64 - (uint32_t)__builtin_clzll(~word);
        word &= (1ull << stop) - 1;
    }
    if (batch->wanted && word) {
        extra |= word & (0 - word);
        batch->wanted = 0;
    }
    add_words(i, word, extra, batch);
    counts->sentences += (uint32_t)__builtin_popcountll(b->dot & inside & blank_next);
    if (b->high) {
        word = b->word & inside & (stop < 64 ? (1ull << stop) - 1 : ~0ull);
        for (cut = word & ~(word << 1) & ~b->digit; cut; cut &= cut - 1) {
            at = (uint32_t)__builtin_ctzll(cut);
            counts->mixed_script += esa_is_mixed_script(p + at, esa_first_bit(~(word >> at)));
        }
    }
    return i + stop;
}

ESA_INLINE void esa_begin_batch(EsaBatch *batch) {
    batch->hashes[0] = batch->hashes[batch->n_words]; /* at first it is there */
    memset(batch->others, 0, sizeof(batch->others));
    batch->n_words = batch->n_signs = 0;
}

ESA_INLINE int esa_batch_is_full(const EsaBatch *batch) { return batch->n_words > ESA_TOKENS - ESA_BLOCK || batch->n_signs > ESA_BLOCK; }

/* Read text from offset i on until the batch may be full or the text ends at n; returns how far. */
static __attribute__((unused)) uint32_t esa_read_words_plain(const EsaChoice *choice, const uint8_t *text, uint32_t i, uint32_t n, EsaBatch *batch, EsaCounts *counts) {
    EsaBlock b;
    uint64_t extra;
    for (esa_begin_batch(batch); i < n && !esa_batch_is_full(batch);) {
        esa_block_narrow(text + i, &b);
        extra = choice->begin[0][0] ? esa_begins_narrow(text + i, b.word, choice->begin[0]) : 0;
        extra |= choice->begin[1][0] ? esa_begins_narrow(text + i, b.word, choice->begin[1]) : 0;
        i = esa_read_block(text, i, n, batch, counts, &b, extra, esa_add_words_plain, esa_url_end);
    }
    esa_choose_words(choice, text, batch);
    return i;
}

#ifdef ESA_WIDE
static ESA_TARGET_WIDE uint32_t esa_read_blocks_wide(const EsaChoice *choice, const uint8_t *text, uint32_t i, uint32_t n, EsaBatch *batch, EsaCounts *counts) {
    EsaBlock b;
    uint64_t extra;
    for (esa_begin_batch(batch); i < n && !esa_batch_is_full(batch);) {
        esa_block_of(text + i, &b);
        extra = choice->begin[0][0] ? esa_begins_wide(text + i, b.word, choice->begin[0]) : 0;
        extra |= choice->begin[1][0] ? esa_begins_wide(text + i, b.word, choice->begin[1]) : 0;
        i = esa_read_block(text, i, n, batch, counts, &b, extra, esa_add_words_wide, esa_url_end_wide);
    }
    return i;
}

static ESA_TARGET_WIDE uint32_t esa_read_words_wide(const EsaChoice *choice, const uint8_t *text, uint32_t i, uint32_t n, EsaBatch *batch, EsaCounts *counts) {
    i = esa_read_blocks_wide(choice, text, i, n, batch, counts);
    esa_choose_words(choice, text, batch);
    return i;
}

static __attribute__((unused)) uint32_t esa_read_words_widest(const EsaChoice *choice, const uint8_t *text, uint32_t i, uint32_t n, EsaBatch *batch, EsaCounts *counts) {
    i = esa_read_blocks_wide(choice, text, i, n, batch, counts);
    esa_choose_words_widest(choice, text, batch);
    return i;
}
#else
#define esa_read_words_wide esa_read_words_plain
#define esa_read_words_widest esa_read_words_plain
#endif
