"""UTF-16, UTF-32 and UTF-7 → UTF-8. Called by _charset; see there for what all conversions promise."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._charset cimport CHARSET_UTF16, CHARSET_UTF16BE, CHARSET_UTF32, CHARSET_UTF32BE
from esa_core._conversion cimport REPLACEMENT, next_block, put, put_checked
from esa_core._types cimport BAD_CHARSET, Buffer


cdef uint32_t pair(uint32_t high, uint32_t low) noexcept nogil:
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)


cdef int convert_utf16(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef size_t at = 0
    cdef size_t end = 0
    cdef int more
    cdef int big = charset == CHARSET_UTF16BE
    cdef uint32_t unit, low
    if length >= 2 and source[0] == 0xFE and source[1] == 0xFF:
        big = 1
        at = 2
    elif length >= 2 and source[0] == 0xFF and source[1] == 0xFE:
        big = 0
        at = 2
    elif charset == CHARSET_UTF16 and length >= 2:
        big = source[0] == 0
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            if at + 2 > length:
                unit = REPLACEMENT
                flags[0] |= BAD_CHARSET
                at += 1
            else:
                unit = (<uint32_t>source[at + 1 - big] << 8) | source[at + big]
                at += 2
                if 0xD800 <= unit < 0xE000:
                    low = (<uint32_t>source[at + 1 - big] << 8) | source[at + big] if at + 2 <= length else 0
                    if unit < 0xDC00 and 0xDC00 <= low < 0xE000:
                        unit = pair(unit, low)
                        at += 2
                    else:
                        unit = REPLACEMENT
                        flags[0] |= BAD_CHARSET
            put(out, unit)


cdef int convert_utf32(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef size_t at = 0
    cdef size_t end = 0
    cdef int more
    cdef bint big = charset == CHARSET_UTF32BE
    cdef uint32_t point, index
    if length >= 4 and source[0] == 0 and source[1] == 0 and source[2] == 0xFE and source[3] == 0xFF:
        big = True
        at = 4
    elif length >= 4 and source[0] == 0xFF and source[1] == 0xFE and source[2] == 0 and source[3] == 0:
        big = False
        at = 4
    elif charset == CHARSET_UTF32 and length >= 4:
        big = source[0] == 0
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            point = REPLACEMENT
            if at + 4 <= length:
                point = 0
                for index in range(4):
                    point = (point << 8) | source[at + (index if big else 3 - index)]
            at += 4
            if point > 0x10FFFF or 0xD800 <= point < 0xE000 or point == REPLACEMENT:
                point = REPLACEMENT
                flags[0] |= BAD_CHARSET
            put(out, point)


cdef int base64_digit(uint8_t octet) noexcept nogil:
    if 65 <= octet <= 90:
        return octet - 65
    if 97 <= octet <= 122:
        return octet - 71
    if 48 <= octet <= 57:
        return octet + 4
    if octet == 43:
        return 62
    return 63 if octet == 47 else -1


cdef int convert_utf7(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """RFC 2152. A "+" begins base64 of UTF-16; any other octet ends it, "-" is swallowed."""
    cdef size_t at = 0
    cdef size_t end = 0
    cdef int more, digit
    cdef bint shifted = False
    cdef uint32_t bits = 0
    cdef uint32_t n_bits = 0
    cdef uint32_t unit
    cdef uint32_t high = 0
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            if more == 0 and high:
                put_checked(out, REPLACEMENT, flags)
            return more
        while at < end:
            if not shifted:
                if source[at] == 43:
                    if at + 1 < length and source[at + 1] == 45:
                        put(out, 43)
                        at += 2
                        continue
                    shifted = True
                    bits = n_bits = 0
                elif source[at] < 128:
                    put(out, source[at])
                else:
                    put_checked(out, REPLACEMENT, flags)
                at += 1
                continue
            digit = base64_digit(source[at])
            if digit < 0:
                shifted = False
                if high:
                    put_checked(out, REPLACEMENT, flags)
                    high = 0
                if source[at] == 45:
                    at += 1
                continue
            at += 1
            bits = (bits << 6) | <uint32_t>digit
            n_bits += 6
            if n_bits >= 16:
                n_bits -= 16
                unit = (bits >> n_bits) & 0xFFFF
                if high and 0xDC00 <= unit < 0xE000:
                    put(out, pair(high, unit))
                    high = 0
                    continue
                if high:
                    put_checked(out, REPLACEMENT, flags)
                    high = 0
                if 0xD800 <= unit < 0xDC00:
                    high = unit
                elif 0xDC00 <= unit < 0xE000:
                    put_checked(out, REPLACEMENT, flags)
                else:
                    put(out, unit)
