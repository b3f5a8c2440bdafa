"""Base64, quoted-printable and uuencode → octets, leniently and in one pass.

Each function appends to `out` and gives -1 only for no memory. What breaks the encoding's rules sets BAD_BASE64 or BAD_QUOTED_PRINTABLE
and is skipped (base64) or kept as it stands (quoted-printable). Output is never longer than input.
"""

from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from esa_core._buffer cimport append, reserve
from esa_core._types cimport (
    AMBIGUOUS, BAD_BASE64, BAD_QUOTED_PRINTABLE, ENCODING_BASE64, ENCODING_QUOTED_PRINTABLE, ENCODING_UUENCODE, JOINED_BASE64,
    Buffer,
)

cdef extern from *:
    """
    #define X (-1)   /* not of the alphabet */
    #define S (-2)   /* white space: skipped silently */
    #define P (-3)   /* padding */
    static const signed char base64_value[256] = {
        X,X,X,X,X,X,X,X,X,S,S,X,X,S,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
        S,X,X,X,X,X,X,X,X,X,X,62,X,X,X,63,52,53,54,55,56,57,58,59,60,61,X,X,X,P,X,X,
        X,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,X,X,X,X,X,
        X,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,X,X,X,X,X,
        X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
        X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X
    };
    static const signed char hexadecimal_value[256] = {
        X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,0,1,2,3,4,5,6,7,8,9,X,X,X,X,X,X,
        X,10,11,12,13,14,15,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,10,11,12,13,14,15,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
        X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
        X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X
    };
    #undef X
    #undef S
    #undef P
    """
    const int8_t *base64_value
    const int8_t *hexadecimal_value


cdef int decode_stream(const uint8_t *source, size_t *position, size_t length, bint padded, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append from `position` up to complete padding (not `padded`: up to the end, padding passed over) and move behind it."""
    cdef size_t at = position[0]
    cdef uint8_t *put
    cdef int a, b, c, d, value
    cdef uint32_t bits = 0
    cdef uint32_t digits = 0
    cdef uint32_t padding = 0
    if reserve(out, length - at) < 0:
        return -1
    put = out.data + out.length
    while at < length:
        if digits == 0:
            while at + 4 <= length:
                a = base64_value[source[at]]
                b = base64_value[source[at + 1]]
                c = base64_value[source[at + 2]]
                d = base64_value[source[at + 3]]
                if (a | b | c | d) < 0:
                    break
                put[0] = <uint8_t>((a << 2) | (b >> 4))
                put[1] = <uint8_t>((b << 4) | (c >> 2))
                put[2] = <uint8_t>((c << 6) | d)
                put += 3
                at += 4
            if at >= length:
                break
        value = base64_value[source[at]]
        at += 1
        if value >= 0:
            bits = (bits << 6) | <uint32_t>value
            digits += 1
            padding = 0
            if digits == 4:
                put[0] = <uint8_t>(bits >> 16)
                put[1] = <uint8_t>(bits >> 8)
                put[2] = <uint8_t>bits
                put += 3
                digits = 0
        elif value == -1:
            flags[0] |= BAD_BASE64
        elif value == -3 and padded:
            padding += 1
            if digits >= 2 and digits + padding >= 4:
                break
            if digits < 2:
                flags[0] |= BAD_BASE64
    if digits == 3:
        put[0] = <uint8_t>(bits >> 10)
        put[1] = <uint8_t>(bits >> 2)
        put += 2
    elif digits == 2:
        put[0] = <uint8_t>(bits >> 4)
        put += 1
    if digits == 1 or (digits and digits + padding < 4):
        flags[0] |= BAD_BASE64
    out.length = <uint32_t>(put - out.data)
    position[0] = at
    return 0


cdef int decode_base64(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """Ends at complete padding, as Python and most clients do; more behind it is JOINED_BASE64 (others read on)."""
    cdef size_t at = 0
    if decode_stream(source, &at, length, True, out, flags) < 0:
        return -1
    while at < length:
        if base64_value[source[at]] >= 0:
            flags[0] |= BAD_BASE64 | JOINED_BASE64 | AMBIGUOUS
            break
        at += 1
    return 0


cdef bint is_joined_base64(const uint8_t *source, size_t length) noexcept nogil:
    """Are there digits behind the first padding? Looks for it only."""
    cdef const uint8_t *found = <const uint8_t *>memchr(source, 61, length)
    cdef size_t at = <size_t>(found - source) if found != NULL else length
    while at < length:
        if base64_value[source[at]] >= 0:
            return True
        at += 1
    return False


cdef bint has_foreign_octets(const uint8_t *source, size_t length) noexcept nogil:
    """Is there anything but digits, padding and white space?"""
    cdef size_t at
    for at in range(length):
        if base64_value[source[at]] == -1:
            return True
    return False


cdef int decode_joined(const uint8_t *source, size_t length, bint padded, Buffer *out) noexcept nogil:
    """Append base64 streams that stand one behind the other; not `padded`: as one stream whose padding means nothing."""
    cdef size_t at = 0
    cdef uint64_t flags = 0
    while at < length:
        if decode_stream(source, &at, length, padded, out, &flags) < 0:
            return -1
    return 0


cdef int decode_quoted_printable(const uint8_t *source, size_t length, bint word, Buffer *out, uint64_t *flags) noexcept nogil:
    """With `word`, the Q encoding of RFC 2047: "_" is a space."""
    cdef size_t at = 0
    cdef size_t run, end
    cdef const uint8_t *found
    cdef uint8_t *put
    cdef int high, low
    if reserve(out, length) < 0:
        return -1
    put = out.data + out.length
    while at < length:
        while at + 2 < length and source[at] == 61:  # often many side by side
            high = hexadecimal_value[source[at + 1]]
            low = hexadecimal_value[source[at + 2]]
            if (high | low) < 0:
                break
            put[0] = <uint8_t>((high << 4) | low)
            put += 1
            at += 3
        found = <const uint8_t *>memchr(source + at, 61, length - at)
        run = <size_t>(found - source) - at if found != NULL else length - at
        memcpy(put, source + at, run)
        if word:
            for end in range(run):
                if put[end] == 95:
                    put[end] = 32
        put += run
        at += run
        if found == NULL:
            break
        if at + 2 < length and (hexadecimal_value[source[at + 1]] | hexadecimal_value[source[at + 2]]) >= 0:
            continue
        end = at + 1
        while end < length and (source[end] == 32 or source[end] == 9):
            end += 1
        if end < length and source[end] == 13:
            end += 1
        if end >= length or source[end] == 10:  # a soft line break
            at = end + 1
            continue
        flags[0] |= BAD_QUOTED_PRINTABLE
        put[0] = 61
        put += 1
        at += 1
    out.length = <uint32_t>(put - out.data)
    return 0


cdef int decode_uuencode(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """The lines between "begin" and "end"; without a "begin" line the content is kept as it stands."""
    cdef size_t at = 0
    cdef size_t end, left
    cdef bint inside = False
    cdef const uint8_t *found
    cdef uint8_t *put
    cdef uint32_t bits, index
    if reserve(out, length + 3) < 0:
        return -1
    put = out.data + out.length
    while at < length:
        found = <const uint8_t *>memchr(source + at, 10, length - at)
        end = <size_t>(found - source) if found != NULL else length
        if not inside:
            inside = end - at > 6 and memcmp(source + at, b"begin ", 6) == 0
        elif end - at >= 3 and memcmp(source + at, b"end", 3) == 0:
            out.length = <uint32_t>(put - out.data)
            return 0
        elif source[at] > 32 and source[at] != 96:
            left = (source[at] - 32) & 63
            at += 1
            while left and at < end:
                bits = 0
                for index in range(4):
                    bits = (bits << 6) | ((<uint32_t>(source[at + index] if at + index < end else 32) - 32) & 63)
                at += 4
                for index in range(3):
                    if left:
                        put[0] = <uint8_t>(bits >> (16 - 8 * index))
                        put += 1
                        left -= 1
        at = end + 1
    out.length = <uint32_t>(put - out.data)
    if not inside:
        return append(out, source, length)
    return 0


cdef int decode_transfer(uint32_t encoding, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append the octets of `source` in any Encoding."""
    if encoding == ENCODING_BASE64:
        return decode_base64(source, length, out, flags)
    if encoding == ENCODING_QUOTED_PRINTABLE:
        return decode_quoted_printable(source, length, False, out, flags)
    if encoding == ENCODING_UUENCODE:
        return decode_uuencode(source, length, out, flags)
    return append(out, source, length)
