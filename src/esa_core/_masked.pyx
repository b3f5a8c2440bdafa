"""Subject and visible text for n-grams of characters: what differs in each copy of a mailing (URLs, addresses, digits) becomes one octet each.

Called by `_features`. Chunks, which are what stands between white space, are found by the block of 64 octets; a chunk with nothing to mask,
as most are, is copied. The octets behind a text are read (ESA_PADDING of them at most) and not looked at.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from esa_core._token_class cimport esa_token_class

cdef extern from *:
    """
    #include <string.h>
    /* Octets that stand for what was masked; folded text holds no control characters but white space. */
    #define ESA_MASKED_URL 1
    #define ESA_MASKED_ADDRESS 2

    /* Of 64 octets: those of chunks (over 32), and which of them may need masking (digits, : and @); `high` gathers those over 127. */
    static inline uint64_t esa_chunk_mask_plain(const uint8_t *p, uint64_t *masked, uint64_t *high) {
        uint64_t inside = 0;
        int i;
        *masked = 0;
        for (i = 0; i < 64; i++) {
            inside |= (uint64_t)(p[i] > 32) << i;
            *masked |= (uint64_t)((uint8_t)(p[i] - '0') < 10 || p[i] == ':' || p[i] == '@') << i;
            *high |= (uint64_t)(p[i] > 127) << i;
        }
        return inside;
    }
    #ifdef __SSE2__
    static inline uint64_t esa_chunk_mask(const uint8_t *p, uint64_t *masked, uint64_t *high) {
        uint64_t blank = 0;
        int i;
        *masked = 0;
        for (i = 0; i < 64; i += 16) {
            __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
            __m128i digit = _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - '0'))), _mm_set1_epi8(-128 + 10));
            __m128i sign = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(':')), _mm_cmpeq_epi8(x, _mm_set1_epi8('@')));
            blank |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(32)), x)) << i;
            *masked |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(digit, sign)) << i;
            *high |= (uint64_t)(uint32_t)_mm_movemask_epi8(x) << i;
        }
        return ~blank;
    }
    #else
    static inline uint64_t esa_chunk_mask(const uint8_t *p, uint64_t *masked, uint64_t *high) { return esa_chunk_mask_plain(p, masked, high); }
    #endif

    /* n octets, 16 at a time: up to 15 more are read and written. */
    static inline void esa_copy(uint8_t *to, const uint8_t *from, size_t n) {
        size_t i;
        for (i = 0; i < n; i += 16) memcpy(to + i, from + i, 16);
    }
    """
    const uint8_t ESA_MASKED_URL
    const uint8_t ESA_MASKED_ADDRESS
    uint64_t esa_chunk_mask(const uint8_t *octets, uint64_t *masked, uint64_t *high) noexcept nogil
    uint64_t esa_chunk_mask_plain(const uint8_t *octets, uint64_t *masked, uint64_t *high) noexcept nogil
    void esa_copy(uint8_t *to, const uint8_t *source, size_t n) noexcept nogil
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil


cdef uint8_t _mask_of(const uint8_t *p, size_t n, size_t *start) noexcept nogil:
    """What the chunk p[:n] without white space holds: a URL (from `start` on), an address (all of it), or neither (0, and `start` is
    left alone)."""
    cdef size_t i
    for i in range(n):
        if p[i] == c':' and i + 2 < n and p[i + 1] == c'/' and p[i + 2] == c'/':
            while i > 0 and c'a' <= p[i - 1] <= c'z':
                i -= 1
            start[0] = i
            return ESA_MASKED_URL
        if p[i] == c'@' and 0 < i < n - 1 and esa_token_class[p[i - 1]] and esa_token_class[p[i + 1]]:
            start[0] = 0
            return ESA_MASKED_ADDRESS
    if n > 5 and memcmp(p, b"www.", 4) == 0:
        start[0] = 0
        return ESA_MASKED_URL
    return 0


cdef uint32_t _mask_digits(const uint8_t *p, size_t n, uint8_t *out) noexcept nogil:
    """Write p[:n], a run of digits as one 0; the octets written."""
    cdef size_t i
    cdef uint32_t length = 0
    for i in range(n):
        if c'0' <= p[i] <= c'9':
            length -= length > 0 and out[length - 1] == c'0'
            out[length] = c'0'
        else:
            out[length] = p[i]
        length += 1
    return length


cdef uint32_t mask_text(const Document *d, uint8_t *out, uint64_t *high) noexcept nogil:
    """Write subject and visible text, folded: white space to one space, a run of digits to one 0, URLs and addresses to one octet; its
    length, ESA_MASKED_WINDOW at most. ESA_PADDING more may be written. `high` stays 0 if all of it is ASCII."""
    cdef uint32_t r, n = 0, i, start, end, length, at
    cdef const uint8_t *p
    cdef uint64_t inside, masked, rest, odd
    cdef size_t plain               # octets of a chunk before what is masked
    cdef bint within
    cdef uint8_t mask
    for r in range(d.n_regions):
        if not is_visible(&d.regions[r]):
            continue
        p = d.folded + d.regions[r].folded.start
        length = d.regions[r].folded.length
        i = start = 0
        within = False
        odd = 0
        while i < length or within:
            # the chunks that begin in this block, and the one that began before it
            inside = 0
            masked = 0
            if i < length:
                inside = esa_chunk_mask(p + i, &masked, high)
                if length - i < 64:
                    inside &= (<uint64_t> 1 << (length - i)) - 1
            while True:
                if within:
                    rest = ~inside
                    if rest == 0:
                        odd |= masked
                        break
                    at = count_zeros(rest)
                    odd |= masked & ((<uint64_t> 1 << at) - 1)
                else:
                    if inside == 0:
                        break
                    at = count_zeros(inside)
                    start = i + at
                    rest = ~(inside >> at)
                    end = count_zeros(rest) if rest else 64
                    odd = masked & (inside ^ (inside & (inside + (<uint64_t> 1 << at))))
                    if end + at >= 64:
                        within = True
                        break
                    at += end
                end = i + at
                inside &= ~<uint64_t> 0 << at
                within = False
                plain = end - start
                mask = 0
                if odd or (plain > 5 and memcmp(p + start, b"www.", 4) == 0):
                    mask = _mask_of(p + start, end - start, &plain)
                if n + plain + 2 > ESA_MASKED_WINDOW:
                    return n
                out[n] = c' '
                n += 1
                if odd:
                    n += _mask_digits(p + start, plain, out + n)
                else:
                    esa_copy(out + n, p + start, plain)
                    n += plain
                if mask:
                    out[n] = mask
                    n += 1
            i += 64
    return n


def chunk_masks(const uint8_t[::1] octets, *, bint plain):
    """Of 64 octets one bit each: in chunks, to be masked, and over 127; as this machine finds them or octet by octet: the tests compare them.
    Raises ValueError for other lengths."""
    cdef uint64_t inside, masked, high = 0
    if octets.shape[0] != 64:
        raise ValueError(f"a block has 64 octets, not {octets.shape[0]}")
    inside = esa_chunk_mask_plain(&octets[0], &masked, &high) if plain else esa_chunk_mask(&octets[0], &masked, &high)
    return inside, masked, high
