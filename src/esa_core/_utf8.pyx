"""UTF-8: is it valid, and what stands for what is not. Called by _charset and _place.

Validity is told by a vector kernel (AVX2, chosen once at import; ESA_CORE_PLAIN=1 keeps the plain one) that looks three tables up for the
halves of each octet and of the one before: what is left in all three is an error (J. Keiser and D. Lemire, "Validating UTF-8 in less than one
instruction per byte", 2021).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport getenv
from libc.string cimport memcpy

from esa_core._buffer cimport append
from esa_core._conversion cimport REPLACEMENT, next_block, put
from esa_core._types cimport BAD_CHARSET, ESA_MAX_TEXT, Buffer

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>
    #include <string.h>
    #define UTF8_WIDE 1
    #define SHORT 1          /* a lead without its continuation */
    #define LONG 2           /* a continuation without a lead */
    #define OVERLONG_3 4
    #define LARGE 8          /* above U+10FFFF */
    #define SURROGATE 16
    #define OVERLONG_2 32
    #define LARGE_1000 64    /* F5 ... FF and 8x */
    #define OVERLONG_4 64
    #define TWO 128          /* continuations side by side: right behind a lead of three or four only */
    #define CARRY (SHORT | LONG | TWO)
    #define TWICE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)
    __attribute__((target("avx2"))) static inline __m256i utf8_errors(__m256i now, __m256i before)
    {
        const __m256i first_high = TWICE(LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, (char)TWO, (char)TWO, (char)TWO, (char)TWO,
            SHORT | OVERLONG_2, SHORT, SHORT | OVERLONG_3 | SURROGATE, SHORT | LARGE | LARGE_1000 | OVERLONG_4);
        const __m256i first_low = TWICE((char)(CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), (char)(CARRY | OVERLONG_2), (char)CARRY, (char)CARRY,
            (char)(CARRY | LARGE), (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000),
            (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000),
            (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000 | SURROGATE),
            (char)(CARRY | LARGE | LARGE_1000), (char)(CARRY | LARGE | LARGE_1000));
        const __m256i second_high = TWICE(SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT,
            (char)(LONG | OVERLONG_2 | TWO | OVERLONG_3 | LARGE_1000 | OVERLONG_4), (char)(LONG | OVERLONG_2 | TWO | OVERLONG_3 | LARGE),
            (char)(LONG | OVERLONG_2 | TWO | SURROGATE | LARGE), (char)(LONG | OVERLONG_2 | TWO | SURROGATE | LARGE),
            SHORT, SHORT, SHORT, SHORT);
        const __m256i nibble = _mm256_set1_epi8(15);
        const __m256i across = _mm256_permute2x128_si256(before, now, 0x21);
        const __m256i one = _mm256_alignr_epi8(now, across, 15);       /* the octet before each, */
        const __m256i two = _mm256_alignr_epi8(now, across, 14);       /* the one before that, and the third */
        const __m256i three = _mm256_alignr_epi8(now, across, 13);
        __m256i odd = _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(one, 4), nibble));
        odd = _mm256_and_si256(odd, _mm256_shuffle_epi8(first_low, _mm256_and_si256(one, nibble)));
        odd = _mm256_and_si256(odd, _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(now, 4), nibble)));
        __m256i due = _mm256_or_si256(_mm256_subs_epu8(two, _mm256_set1_epi8(0xE0 - 0x80)), _mm256_subs_epu8(three, _mm256_set1_epi8(0xF0 - 0x80)));
        return _mm256_xor_si256(_mm256_and_si256(due, _mm256_set1_epi8((char)0x80)), odd);
    }
    __attribute__((target("avx2"))) static int utf8_is_valid(const unsigned char *source, size_t length)
    {
        __m256i before = _mm256_setzero_si256(), errors = before, now;
        unsigned char last[32] = {0};
        size_t at = 0;
        for (; at + 32 <= length; at += 32) {
            while (at + 128 <= length) {         /* nothing but ASCII */
                const __m256i *four = (const __m256i *)(source + at);
                now = _mm256_loadu_si256(four + 3);
                if (_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(_mm256_or_si256(before, _mm256_loadu_si256(four)), now),
                                                         _mm256_or_si256(_mm256_loadu_si256(four + 1), _mm256_loadu_si256(four + 2)))))
                    break;
                before = now;
                at += 128;
            }
            if (at + 32 > length) break;
            now = _mm256_loadu_si256((const __m256i *)(source + at));
            if (_mm256_movemask_epi8(_mm256_or_si256(now, before)))
                errors = _mm256_or_si256(errors, utf8_errors(now, before));
            before = now;
        }
        memcpy(last, source + at, length - at);  /* at least one zero behind: a character that is cut off is an error there */
        now = _mm256_loadu_si256((const __m256i *)last);
        errors = _mm256_or_si256(errors, utf8_errors(now, before));
        return _mm256_testz_si256(errors, errors);
    }
    static int utf8_has_kernel(void) { return __builtin_cpu_supports("avx2") != 0; }
    #undef SHORT
    #undef LONG
    #undef LARGE
    #undef SURROGATE
    #undef TWO
    #undef CARRY
    #undef TWICE
    #else
    static int utf8_is_valid(const unsigned char *source, size_t length) { (void)source; (void)length; return 0; }
    static int utf8_has_kernel(void) { return 0; }
    #endif
    """
    bint utf8_is_valid(const uint8_t *source, size_t length) nogil
    bint utf8_has_kernel() nogil

cdef const char *_asked = getenv(b"ESA_CORE_PLAIN")
cdef bint WIDE = utf8_has_kernel() and (_asked == NULL or _asked[0] != 49)  # written at import only


cdef bint is_ascii(const uint8_t *source, size_t length) noexcept nogil:
    cdef uint8_t together = 0
    cdef size_t at
    for at in range(length):
        together |= source[at]
    return together < 128


cdef size_t ascii_run(const uint8_t *source, size_t length) noexcept nogil:
    """How many octets from the first are ASCII."""
    cdef size_t at = 0
    cdef uint64_t word
    while at + 8 <= length:
        memcpy(&word, source + at, 8)
        if word & <uint64_t>0x8080808080808080:
            break
        at += 8
    while at < length and source[at] < 128:
        at += 1
    return at


cdef inline int utf8_step(const uint8_t *source, size_t length) noexcept nogil:
    """Length of the valid multi-octet sequence at `source`, or minus the length of the invalid one (its maximal subpart)."""
    cdef uint8_t first = source[0]
    cdef uint8_t low = 0x80
    cdef uint8_t high = 0xBF
    cdef int needed, at
    if first < 0xC2 or first > 0xF4:
        return -1
    if first < 0xE0:
        needed = 2
    elif first < 0xF0:
        needed = 3
        if first == 0xE0:
            low = 0xA0
        elif first == 0xED:
            high = 0x9F
    else:
        needed = 4
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F
    for at in range(1, needed):
        if <size_t>at >= length or source[at] < low or source[at] > high:
            return -at
        low = 0x80
        high = 0xBF
    return needed


cdef bint is_utf8_plain(const uint8_t *source, size_t length) noexcept nogil:
    cdef size_t at = 0
    cdef int step
    while at < length:
        at += ascii_run(source + at, length - at)
        if at < length:
            step = utf8_step(source + at, length - at)
            if step < 0:
                return False
            at += step
    return True


cdef bint is_utf8(const uint8_t *source, size_t length) noexcept nogil:
    if WIDE and length >= 32:
        return utf8_is_valid(source, length)
    return is_utf8_plain(source, length)


cdef int convert_utf8(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef size_t at = 0
    cdef size_t end = 0
    cdef size_t run
    cdef int step, more
    if out.length + length <= ESA_MAX_TEXT and is_utf8(source, length):
        return append(out, source, length)
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            run = ascii_run(source + at, end - at)
            memcpy(out.data + out.length, source + at, run)
            out.length += <uint32_t>run
            at += run
            while at < end and source[at] >= 128:
                step = utf8_step(source + at, length - at)
                if step > 0:
                    memcpy(out.data + out.length, source + at, step)
                    out.length += step
                    at += step
                else:
                    put(out, REPLACEMENT)
                    flags[0] |= BAD_CHARSET
                    at -= step
