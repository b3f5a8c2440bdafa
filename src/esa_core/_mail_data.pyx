"""Mail data as it travels (RFC 5321 section 4.5.2), decoded: dots unstuffed, line ends mended, the true end found. `_smtp` calls it.

And encoded again, by `DataEncoder`, which the delivery client calls.

Mail data ends at CRLF.CRLF and nowhere else:

- A line ends at LF. One CR before it belongs to it; an LF without CR is a bare LF and becomes CRLF.
- A line that is just a dot ends the mail data only if it and the line before it ended in CRLF; otherwise it is dropped
  (Postfix, smtpd_forbid_bare_newline = normalize). The line before the first is the DATA command.
- Any other leading dot is taken away. A CR that no LF follows, and a NUL, become a space. All three are counted, so that the caller
  can refuse.

Octets that come by BDAT (`Decoder.chunked`, RFC 3030) have no end of their own and no stuffed dots; their line ends are mended all the same.

Invariant: what comes out holds no bare CR, bare LF or NUL, and does not depend on how the octets were cut into calls.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif
    #include <stdint.h>
    #include <string.h>

    typedef struct { uint64_t returns, feeds, dots, nuls; } esa_line_bits;

    /* Which of 64 octets are CR, LF, dot and NUL. */
    static inline void esa_find_line_bits(const uint8_t *p, esa_line_bits *b)
    {
    #if defined(__SSE2__)
        const __m128i cr = _mm_set1_epi8('\\r'), lf = _mm_set1_epi8('\\n'), dot = _mm_set1_epi8('.'), nul = _mm_setzero_si128();
        uint64_t r = 0, f = 0, d = 0, z = 0;
        for (int i = 0; i < 4; i++) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(p + 16 * i));
            r |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, cr)) << (16 * i);
            f |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, lf)) << (16 * i);
            d |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, dot)) << (16 * i);
            z |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, nul)) << (16 * i);
        }
        b->returns = r; b->feeds = f; b->dots = d; b->nuls = z;
    #else
        b->returns = b->feeds = b->dots = b->nuls = 0;
        for (int i = 0; i < 64; i++) {
            b->returns |= (uint64_t)(p[i] == '\\r') << i;
            b->feeds |= (uint64_t)(p[i] == '\\n') << i;
            b->dots |= (uint64_t)(p[i] == '.') << i;
            b->nuls |= (uint64_t)(p[i] == 0) << i;
        }
    #endif
    }

    #if defined(__GNUC__)
    #define esa_lowest_bit(x) __builtin_ctzll(x)
    #else
    static inline int esa_lowest_bit(uint64_t x) { int n = 0; while (!(x & 1)) { x >>= 1; n++; } return n; }
    #endif
    """
    ctypedef struct LineBits "esa_line_bits":
        uint64_t returns
        uint64_t feeds
        uint64_t dots
        uint64_t nuls
    void find_line_bits "esa_find_line_bits"(const uint8_t *p, LineBits *b) noexcept nogil
    int lowest_bit "esa_lowest_bit"(uint64_t x) noexcept nogil


cdef size_t decode_mail_data(Decoder *d, const uint8_t *source, size_t n, uint8_t *target, size_t *written, bint *ended) noexcept nogil:
    cdef:
        size_t i = 0, o = 0, k
        uint8_t c
        int place = d.place
        uint64_t odd, before_cr, before_lf, dots = 0 if d.chunked else ~<uint64_t> 0
        LineBits bits
    ended[0] = False
    while i < n:
        # Whole blocks without anything odd: copy. Only where no octet is held back.
        if (place == IN_TEXT or place == AT_LINE or place == AT_CR) and n - i >= 64:
            before_cr = place == AT_CR
            before_lf = place == AT_LINE
            if before_cr:
                target[o] = 13
                o += 1
            while n - i >= 64:
                find_line_bits(source + i, &bits)
                odd = (bits.feeds ^ ((bits.returns << 1) | before_cr)) | (bits.dots & dots & ((bits.feeds << 1) | before_lf)) | bits.nuls
                if odd == 0:
                    memcpy(target + o, source + i, 64)
                    if bits.feeds:
                        d.bare = False
                    before_cr = bits.returns >> 63
                    before_lf = bits.feeds >> 63
                    i += 64
                    o += 64
                    continue
                k = lowest_bit(odd)
                if k:
                    memcpy(target + o, source + i, k)
                    if bits.feeds & ((<uint64_t> 1 << k) - 1):
                        d.bare = False
                    before_cr = (bits.returns >> (k - 1)) & 1
                    before_lf = (bits.feeds >> (k - 1)) & 1
                    i += k
                    o += k
                break
            if before_cr:
                o -= 1
                place = AT_CR
            else:
                place = AT_LINE if before_lf else IN_TEXT
            if i == n:
                break
        c = source[i]
        i += 1
        if place == AT_DOT:
            if c == 13:
                place = AT_DOT_CR
                continue
            if c == 10:                      # ".<LF>": dropped
                d.bare_line_feeds += 1
                d.bare = True
                place = AT_LINE
                continue
            place = IN_TEXT
        elif place == AT_DOT_CR:
            if c == 10:
                place = AT_LINE
                if d.bare:                   # the line before ended in a bare LF: dropped
                    d.bare = False
                    continue
                ended[0] = True
                break
            place = AT_CR
        if place == AT_CR:
            if c == 10:
                target[o] = 13
                target[o + 1] = 10
                o += 2
                d.bare = False
                place = AT_LINE
                continue
            target[o] = 32
            o += 1
            d.stray_returns += 1
            place = IN_TEXT
        elif place == AT_LINE:
            if c == 46 and dots:
                place = AT_DOT
                continue
            place = IN_TEXT
        if c == 13:
            place = AT_CR
        elif c == 10:
            target[o] = 13
            target[o + 1] = 10
            o += 2
            d.bare_line_feeds += 1
            d.bare = True
            place = AT_LINE
        elif c == 0:
            target[o] = 32
            o += 1
            d.nul_octets += 1
        else:
            target[o] = c
            o += 1
    d.place = place
    written[0] = o
    return i


cdef size_t finish_mail_data(Decoder *d, uint8_t *target) noexcept nogil:
    cdef size_t o = 0
    if d.place == AT_LINE:
        return 0
    if d.place == AT_CR:
        target[o] = 32
        o += 1
        d.stray_returns += 1
    target[o] = 13
    target[o + 1] = 10
    d.place = AT_LINE
    return o + 2


cdef size_t clean_octets(const uint8_t *source, size_t n, bint after_feed) noexcept nogil:
    """Octets that go as they are: each CR with its LF, each LF with its CR, no dot behind one. Begins behind no CR, and ends behind none."""
    cdef:
        size_t i = 0
        uint64_t odd = 0, before_cr = 0, before_lf = after_feed
        uint8_t last
        LineBits bits
    while n - i >= 64:
        find_line_bits(source + i, &bits)
        odd = (bits.feeds ^ ((bits.returns << 1) | before_cr)) | (bits.dots & ((bits.feeds << 1) | before_lf))
        if odd:
            i += lowest_bit(odd)
            break
        before_cr = bits.returns >> 63
        before_lf = bits.feeds >> 63
        i += 64
    if not odd:
        last = 13 if before_cr else 10 if before_lf else 0
        while i < n:
            if (last == 13) != (source[i] == 10) or (last == 10 and source[i] == 46):
                break
            last = source[i]
            i += 1
    if i and source[i - 1] == 13:
        i -= 1
    return i


cdef size_t encode_mail_data(int *where, bint stuffs, const uint8_t *source, size_t n, uint8_t *target) noexcept nogil:
    """Encode source[0:n] to target (room for 2 * n + 2 octets). Returns octets written. A CR at the end is held back."""
    cdef:
        size_t i = 0, o = 0, k
        uint8_t c
        int place = where[0]
    while i < n:
        if place != AT_CR and n - i >= 64:
            k = clean_octets(source + i, n - i, place == AT_LINE)
            if k:
                memcpy(target + o, source + i, k)
                i += k
                o += k
                place = AT_LINE if source[i - 1] == 10 else IN_TEXT
                if i == n:
                    break
        c = source[i]
        i += 1
        if place == AT_CR:
            target[o] = 13
            target[o + 1] = 10
            o += 2
            place = AT_LINE
            if c == 10:
                continue
        if c == 13:
            place = AT_CR
        elif c == 10:
            target[o] = 13
            target[o + 1] = 10
            o += 2
            place = AT_LINE
        else:
            if c == 46 and place == AT_LINE and stuffs:
                target[o] = 46
                o += 1
            target[o] = c
            o += 1
            place = IN_TEXT
    where[0] = place
    return o


@cython.final
cdef class DataEncoder:
    """Mail data as it goes over the wire: CRLF line ends only, dots stuffed, `CRLF.CRLF` at the end (RFC 5321 section 4.5.2).

    Bare CR and bare LF become CRLF, whatever the content holds and however it is cut into chunks.

    `stuffs=False`: for chunks (RFC 3030), whose length is told: no dots are stuffed, and the end is that of the last line.
    """

    cdef int place
    cdef bint stuffs

    def __cinit__(self, *, bint stuffs=True):
        self.place = AT_LINE
        self.stuffs = stuffs

    def encode(self, bytes chunk not None):
        """The next octets; the chunk itself where nothing is to be changed. MemoryError only."""
        cdef:
            size_t n = <size_t> PyBytes_GET_SIZE(chunk)
            const uint8_t *source = <const uint8_t *> PyBytes_AS_STRING(chunk)
            uint8_t *target
            size_t written
            bytes result
        if self.place != AT_CR and n and clean_octets(source, n, self.place == AT_LINE) == n:
            self.place = AT_LINE if source[n - 1] == 10 else IN_TEXT
            return chunk
        target = <uint8_t *> malloc(2 * n + 2)
        if target == NULL:
            raise MemoryError()
        try:
            written = encode_mail_data(&self.place, self.stuffs, source, n, target)
            result = PyBytes_FromStringAndSize(<char *> target, <Py_ssize_t> written)
        finally:
            free(target)
        return result

    def finish(self):
        """What comes behind the last octet."""
        end = b".\r\n" if self.stuffs else b""
        return end if self.place == AT_LINE else b"\r\n" + end
