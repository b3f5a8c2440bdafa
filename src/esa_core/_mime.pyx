"""Read one message into header-field and part records (RFC 5322, 2045 to 2049): offsets only.

First the tree of parts as most clients read it; then, only where a part waits for it, the other readings and the opened containers.
Lines end with LF or CRLF. Odd input sets a flag of `Document.flags` (and of the part) and is read on; -1 only says that there is no memory.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from esa_core._boundary cimport line_end
from esa_core._header cimport Header, no_header
from esa_core._reading cimport read_again, read_lone_returns
from esa_core._tree cimport add_part, read_parts
from esa_core._types cimport *


cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    /* Bits: 1 a NUL, 2 a CR without LF behind it, 4 a line that may begin with "begin" (its first and last letter are
       right, which few lines of prose have), 8 an octet over 127. Branch-free, so that the compiler makes wide
       instructions of it; the same source twice, for processors with and without AVX2. With AVX-512 a comparison looks
       only where the one before it found something. */
    static inline __attribute__((always_inline)) uint32_t odd_octets(const uint8_t *raw, size_t length) {
        uint8_t nul = 0, bare = 0, begin = 0, together = 0;
        size_t at;
        for (at = 0; at + 5 < length; at++) {
            nul |= raw[at] == 0;
            bare |= (raw[at] == 13) & (raw[at + 1] != 10);
            together |= raw[at];
            begin |= (raw[at] == 10) & (raw[at + 1] == 'b') & (raw[at + 5] == 'n');
        }
        for (; at < length; at++) {
            nul |= raw[at] == 0;
            together |= raw[at];
            bare |= raw[at] == 13 && (at + 1 == length || raw[at + 1] != 10);
        }
        return nul | bare << 1 | begin << 2 | (together & 128) >> 4;
    }
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>
    static __attribute__((target("avx2"))) uint32_t odd_octets_wide(const uint8_t *raw, size_t length) { return odd_octets(raw, length); }
    static __attribute__((target("avx512f,avx512bw"))) uint32_t odd_octets_widest(const uint8_t *raw, size_t length) {
        const __m512i cr = _mm512_set1_epi8(13), lf = _mm512_set1_epi8(10), b = _mm512_set1_epi8('b'), n = _mm512_set1_epi8('n');
        __m512i together = _mm512_setzero_si512(), least = _mm512_set1_epi8(-1);
        __mmask64 bare = 0, begin = 0;
        size_t at;
        for (at = 0; at + 69 <= length; at += 64) {
            __m512i here = _mm512_loadu_si512(raw + at), next = _mm512_loadu_si512(raw + at + 1);
            together = _mm512_or_si512(together, here);
            least = _mm512_min_epu8(least, here);
            bare |= _mm512_mask_cmpneq_epi8_mask(_mm512_cmpeq_epi8_mask(here, cr), next, lf);
            begin |= _mm512_mask_cmpeq_epi8_mask(
                _mm512_mask_cmpeq_epi8_mask(_mm512_cmpeq_epi8_mask(here, lf), next, b), _mm512_loadu_si512(raw + at + 5), n);
        }
        return odd_octets(raw + at, length - at) | (_mm512_testn_epi8_mask(least, least) != 0) | (bare != 0) << 1 | (begin != 0) << 2
            | (_mm512_movepi8_mask(together) != 0) << 3;
    }
    static uint32_t find_odd_octets(const uint8_t *raw, size_t length) {
        if (__builtin_cpu_supports("avx512bw")) return odd_octets_widest(raw, length);
        return __builtin_cpu_supports("avx2") ? odd_octets_wide(raw, length) : odd_octets(raw, length);
    }
    #else
    static uint32_t find_odd_octets(const uint8_t *raw, size_t length) { return odd_octets(raw, length); }
    #endif
    """
    uint32_t find_odd_octets(const uint8_t *raw, size_t length) noexcept nogil


cdef int parse_structure(Document *document, const uint8_t *raw, size_t length) noexcept nogil:
    """Fill fields and parts from `raw`, which is borrowed and may lack padding. 0, or -1 for no memory.

    `document` is initialised or reset. Part 0 is the message itself and always exists; a part stands behind its parent, in order of the raw
    bytes, and behind all of them what other readings and opened containers add.
    """
    cdef Header header = no_header()
    cdef uint32_t index, odd
    cdef size_t at = 0
    cdef size_t end
    cdef int found
    document.raw = raw
    if length > ESA_MAX_MESSAGE:
        document.flags |= OVERSIZED
        length = ESA_MAX_MESSAGE
    if length == 0:
        document.flags |= EMPTY
    document.raw_length = <uint32_t>length
    document.budget = length * ESA_READ_AGAIN + ESA_READ_AGAIN_ROOM
    odd = find_odd_octets(raw, length)
    document.flags |= (<uint64_t>NUL_BYTES if odd & 1 else 0) | (<uint64_t>BARE_CR if odd & 2 else 0)
    document.may_uuencode = odd & 4 != 0
    document.eight_bit = odd & 8 != 0
    if length > 5 and memcmp(raw, b"From ", 5) == 0:
        end = line_end(raw, 0, length)
        found = 5
        while <size_t>found < end and (raw[found] == 32 or raw[found] == 9):
            found += 1
        if raw[found if <size_t>found < end else 5] != 58:  # not "From : ..."
            document.flags |= MBOX_LINE
            at = end
    if add_part(document, -1, 0, at) < 0 or read_parts(document, 0, at, length, &header, NULL) < 0:
        return -1
    document.header_end = document.parts[0].body_start
    if document.parts[0].field_count == 0 and document.header_end < length:
        document.parts[0].waits |= WAIT_HEADER
        document.waiting = True
    if document.flags & BARE_CR and read_lone_returns(document) < 0:
        return -1
    if document.waiting and read_again(document) < 0:
        return -1
    for index in range(document.n_parts):
        document.flags |= document.parts[index].flags
    document.structured = True
    return 0
