"""Words of folded text by the block: which of 64 octets are in words, and the words and signs among them in order.

Called by `_tally`. A block is read with SSE2, which every x86-64 has, or octet by octet (`esa_block_plain`, its specification).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._tally cimport Tally

cdef extern from *:
    """
    #define ESA_BLOCK 64u        /* octets of a block: one bit each */
    #define TOKENS 256u          /* of a batch: small enough for the first-level cache, a block holds at most 64 */
    #define FIRST_NUMBER 100u    /* the number before that of the first word, so that 0 is none and some words before */
    #include <stdint.h>
    #include <string.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    /* One bit an octet. `odd` are the octets of which somebody wants to know more: ! ? % and what `sign` holds. */
    typedef struct {
        uint64_t word;               /* letters and digits of ASCII, parts of letters outside ASCII */
        uint64_t high;               /* over 127 */
        uint64_t dot;
        uint64_t blank;              /* up to 32 */
        uint64_t mark;               /* ! ? % */
        uint64_t sign;               /* $ : and the first octet of a character that is no letter: C2, E2, F0 and up */
    } EsaBlock;
    static inline void esa_block_plain(const uint8_t *p, EsaBlock *b) {
        uint64_t bit = 1, skip = 0, i;
        memset(b, 0, sizeof(*b));
        for (i = 0; i < 64; i++, bit <<= 1) {
            uint8_t c = p[i];
            if ((uint8_t)((c | 32) - 'a') < 26 || (uint8_t)(c - '0') < 10) b->word |= bit;
            else if (c >= 0x80) {
                b->high |= bit;
                if (c >= 0xF0) { b->sign |= bit; skip |= bit << 1 | bit << 2 | bit << 3; }
                else if (c == 0xE2) { b->sign |= bit; skip |= bit << 1 | bit << 2; }
                else if (c == 0xC2) { b->sign |= bit; skip |= bit << 1; }
                else if (!(skip & bit)) b->word |= bit;
            }
            else if (c == '.') b->dot |= bit;
            else if (c <= 32) b->blank |= bit;
            else if (c == '!' || c == '?' || c == '%') b->mark |= bit;
            else if (c == '$' || c == ':') b->sign |= bit;
        }
        b->word &= ~skip;
    }
    #ifdef __SSE2__
    #define ESA_MASK(x) ((uint64_t)(uint32_t)_mm_movemask_epi8(x))
    #define ESA_IS(x, c) _mm_cmpeq_epi8((x), _mm_set1_epi8((char)(c)))
    static inline void esa_block(const uint8_t *p, EsaBlock *b) {
        uint64_t c2 = 0, e2 = 0, f0 = 0, skip;
        int i;
        memset(b, 0, sizeof(*b));
        for (i = 0; i < 64; i += 16) {
            __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
            __m128i letter = _mm_add_epi8(_mm_or_si128(x, _mm_set1_epi8(32)), _mm_set1_epi8((char)(0x80 - 'a')));
            __m128i digit = _mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - '0')));
            __m128i word = _mm_or_si128(_mm_cmplt_epi8(letter, _mm_set1_epi8(-128 + 26)), _mm_cmplt_epi8(digit, _mm_set1_epi8(-128 + 10)));
            __m128i blank = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(32)), x);
            b->word |= ESA_MASK(word) << i;
            b->high |= ESA_MASK(x) << i;
            b->dot |= ESA_MASK(ESA_IS(x, '.')) << i;
            b->blank |= ESA_MASK(blank) << i;
            b->mark |= ESA_MASK(_mm_or_si128(_mm_or_si128(ESA_IS(x, '!'), ESA_IS(x, '?')), ESA_IS(x, '%'))) << i;
            b->sign |= ESA_MASK(_mm_or_si128(ESA_IS(x, '$'), ESA_IS(x, ':'))) << i;
        }
        if (b->high) {
            for (i = 0; i < 64; i += 16) {
                __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
                c2 |= ESA_MASK(ESA_IS(x, 0xC2)) << i;
                e2 |= ESA_MASK(ESA_IS(x, 0xE2)) << i;
                f0 |= ESA_MASK(_mm_cmpeq_epi8(_mm_max_epu8(x, _mm_set1_epi8((char)0xF0)), x)) << i;
            }
            skip = c2 << 1 | e2 << 1 | e2 << 2 | f0 << 1 | f0 << 2 | f0 << 3;
            b->sign |= c2 | e2 | f0;
            b->word = (b->word | (b->high & ~(c2 | e2 | f0))) & ~skip;
        }
    }
    #else
    static inline void esa_block(const uint8_t *p, EsaBlock *b) { esa_block_plain(p, b); }
    #endif
    """
    const uint32_t ESA_BLOCK
    const uint32_t TOKENS
    const uint32_t FIRST_NUMBER
    ctypedef struct Block "EsaBlock":
        uint64_t word
        uint64_t high
        uint64_t dot
        uint64_t blank
        uint64_t mark
        uint64_t sign
    void esa_block(const uint8_t *octets, Block *block) noexcept nogil          # reads 64 octets
    void esa_block_plain(const uint8_t *octets, Block *block) noexcept nogil    # the same, octet by octet

cdef struct Token:               # a word, or a sign that words behind it depend on
    uint64_t hash                # of the word
    uint64_t pair                # of the phrase of the word before it and this one
    uint32_t at                  # offset in the text
    uint32_t length              # octets; 0: a sign
    uint32_t word                # its number in this stretch; of a sign that of the word before it
    uint32_t wanted              # 1: to be looked at whatever its hash

cdef enum Sign:                  # what stands in the place of a sign's hash
    NO_SIGN
    CURRENCY_SIGN
    COPYRIGHT_SIGN

cdef struct Reading:             # what goes on from one batch of tokens to the next
    uint64_t alive[6]            # phrases of which two words or more have been read, as hashes of these
    uint32_t n_alive
    uint64_t before              # hash of the word read last
    uint32_t word                # number of the word read last
    uint32_t first               # and of the one before this stretch
    uint32_t words               # words of the tally before this stretch
    uint32_t wanted              # 1: a currency sign stands before the next word
    uint32_t copyright_until
    uint32_t currency_word
    uint32_t amount_word
    uint32_t greeting_word
    uint32_t groups              # groups of three digits behind commas, and
    uint32_t number_word         # the number of the word that ended in them

cdef uint32_t read_block(
    const uint8_t *text, uint32_t i, uint32_t n, Token *tokens, uint32_t *count, Reading *reading, Tally *tally
) noexcept nogil
