"""Word characters of header fields and bodies, for the features: a table, and a block of 64 octets at a time."""

from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    static const uint8_t esa_token_class[256] = {
        ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, [0x80 ... 0xff] = 1, ['$'] = 1, ['\\''] = 1, ['_'] = 1, ['-'] = 1,
    };
    static inline uint64_t esa_word_mask_plain(const uint8_t *p) {
        uint64_t mask = 0;
        int i;
        for (i = 0; i < 64; i++) mask |= (uint64_t)esa_token_class[p[i]] << i;
        return mask;
    }
    #ifdef __SSE2__
    static inline uint64_t esa_word_mask(const uint8_t *p) {
        uint64_t mask = 0;
        int i;
        for (i = 0; i < 64; i += 16) {
            __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
            __m128i letter = _mm_add_epi8(_mm_or_si128(x, _mm_set1_epi8(32)), _mm_set1_epi8((char)(0x80 - 'a')));
            __m128i digit = _mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - '0')));
            __m128i word = _mm_or_si128(_mm_cmplt_epi8(letter, _mm_set1_epi8(-128 + 26)), _mm_cmplt_epi8(digit, _mm_set1_epi8(-128 + 10)));
            __m128i sign = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('$')), _mm_cmpeq_epi8(x, _mm_set1_epi8(39)));
            sign = _mm_or_si128(sign, _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('_')), _mm_cmpeq_epi8(x, _mm_set1_epi8('-'))));
            mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(word, sign), x)) << i;
        }
        return mask;
    }
    #else
    static inline uint64_t esa_word_mask(const uint8_t *p) { return esa_word_mask_plain(p); }
    #endif
    """
    const uint8_t[256] esa_token_class                                  # 1 for letters and digits of ASCII, $ ' _ - and all over 127
    uint64_t esa_word_mask(const uint8_t *octets) noexcept nogil        # one bit an octet; reads 64 octets
    uint64_t esa_word_mask_plain(const uint8_t *octets) noexcept nogil  # the same, octet by octet
