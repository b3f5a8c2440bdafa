"""Octets in any character set of mail → UTF-8, by tables generated from Python's codecs and read as clients read them (WHATWG supersets).

What has no meaning in its character set becomes U+FFFD and sets BAD_CHARSET; unlabelled octets over 127 are UTF-8 if they are valid UTF-8,
else windows-1252. Each conversion appends to `out`, stops with TEXT_TRUNCATED past ESA_MAX_TEXT, and gives -1 only for no memory.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from esa_core._buffer cimport append, encode_utf8, lower
from esa_core._conversion cimport REPLACEMENT, next_block
from esa_core._east_asian cimport convert_escaped, convert_rows
from esa_core._types cimport BAD_CHARSET, ESA_MAX_TEXT, TEXT_TRUNCATED, Buffer
from esa_core._unicode_forms cimport convert_utf7, convert_utf16, convert_utf32
from esa_core._utf8 cimport convert_utf8, is_ascii, is_utf8

cdef extern from "charset_tables.h" nogil:
    const uint32_t charset_labels_MASK
    const uint16_t *charset_labels_slots
    const uint32_t *charset_labels_starts
    const uint8_t *charset_labels_lengths
    const uint16_t *charset_labels_values
    const uint8_t *charset_labels_pool
    const uint32_t CHARSETS
    const char *const *charset_names
    const uint16_t *single_byte_halves
    const uint16_t *single_byte_points

cdef enum:
    TABULATED = 256              # octets from which on a single-byte set is written out first


# ---- labels ----

cdef uint32_t look_up(const uint8_t *label, size_t length) noexcept nogil:
    cdef uint32_t key = 2166136261u
    cdef uint32_t slot, entry
    cdef size_t at
    for at in range(length):
        key = (key ^ label[at]) * 16777619u
    slot = key & charset_labels_MASK
    while charset_labels_slots[slot]:
        entry = charset_labels_slots[slot] - 1
        if charset_labels_lengths[entry] == length and memcmp(charset_labels_pool + charset_labels_starts[entry], label, length) == 0:
            return charset_labels_values[entry]
        slot = (slot + 1) & charset_labels_MASK
    return CHARSET_UNKNOWN


cdef uint32_t find_charset(const uint8_t *label, size_t length) noexcept nogil:
    """The number of a label, compared by its letters and digits only ("ISO_8859-1" is "iso88591"); CHARSET_UNKNOWN if there is none."""
    cdef uint8_t plain[40]
    cdef size_t put = 0
    cdef size_t at
    cdef uint8_t octet
    cdef uint32_t found
    plain[0] = 0                 # of a label without a letter or digit nothing else is written
    for at in range(length):
        octet = lower(label[at])
        if 97 <= octet <= 122 or 48 <= octet <= 57:
            if put == 40:
                return CHARSET_UNKNOWN
            plain[put] = octet
            put += 1
    found = look_up(plain, put)
    if found == CHARSET_UNKNOWN and put > 1 and plain[0] == 120:  # x-...
        found = look_up(plain + 1, put - 1)
    return found


cdef const char *charset_name(uint32_t charset) noexcept nogil:
    return charset_names[charset if charset < CHARSETS else CHARSET_UNKNOWN]


# ---- single-byte sets ----

cdef inline uint32_t single_point(uint32_t table, uint8_t octet) noexcept nogil:
    return single_byte_points[single_byte_halves[2 * table + (octet >> 7)] + (octet & 127)]


cdef bint is_ascii_compatible(uint32_t table) noexcept nogil:
    """Not so are EBCDIC and a few others (0x25 of code page 864)."""
    cdef uint8_t octet
    for octet in range(128):
        if single_point(table, octet) != octet:
            return False
    return True


cdef int convert_single(uint32_t table, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef uint8_t texts[256][4]   # UTF-8 of each octet, of which as many count as `sizes` says
    cdef uint8_t sizes[256]
    cdef uint8_t odd[256]        # 1: the octet has no meaning
    cdef uint8_t found = 0
    cdef uint8_t octet
    cdef size_t at = 0
    cdef size_t end = 0
    cdef uint32_t point
    cdef uint64_t eight
    cdef uint8_t *write
    cdef int index, more
    cdef bint ascii_compatible = is_ascii_compatible(table)
    cdef bint tabulated = length >= TABULATED
    if tabulated:
        for index in range(256):
            point = single_point(table, <uint8_t>index)
            sizes[index] = <uint8_t>encode_utf8(texts[index], point)
            odd[index] = point == REPLACEMENT
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            break
        write = out.data + out.length
        while at < end:
            octet = source[at]
            if octet < 128 and ascii_compatible:
                if at + 8 <= end:
                    memcpy(&eight, source + at, 8)
                    if not eight & <uint64_t>0x8080808080808080:
                        memcpy(write, &eight, 8)
                        write += 8
                        at += 8
                        continue
                write[0] = octet
                write += 1
            elif tabulated:
                memcpy(write, texts[octet], 4)
                write += sizes[octet]
                found |= odd[octet]
            else:
                point = single_point(table, octet)
                write += encode_utf8(write, point)
                found |= point == REPLACEMENT
            at += 1
        out.length = <uint32_t>(write - out.data)
    if found:
        flags[0] |= BAD_CHARSET
    return more


# ---- the door ----

cdef int convert(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append `source`, which is in `charset`, to `out` as UTF-8; line ends stay as they are. 0, or -1 for no memory."""
    cdef size_t room
    if charset <= CHARSET_UNKNOWN or CHARSET_GB18030 <= charset <= CHARSET_EUC_JIS_2004:
        if is_ascii(source, length):
            room = ESA_MAX_TEXT - out.length if out.length < ESA_MAX_TEXT else 0
            if length > room:
                flags[0] |= TEXT_TRUNCATED
                length = room
            if charset == CHARSET_UNKNOWN:
                flags[0] |= BAD_CHARSET
            return append(out, source, length)
    if charset == CHARSET_UTF8:
        return convert_utf8(source, length, out, flags)
    if charset == CHARSET_WINDOWS_1252:
        return convert_single(0, source, length, out, flags)
    if charset <= CHARSET_UNKNOWN:
        if charset == CHARSET_UNKNOWN:
            flags[0] |= BAD_CHARSET
        if is_utf8(source, length):
            return convert_utf8(source, length, out, flags)
        flags[0] |= BAD_CHARSET
        return convert_single(0, source, length, out, flags)
    if charset >= CHARSET_SINGLE:
        return convert_single(charset - CHARSET_SINGLE + 1, source, length, out, flags)
    if charset == CHARSET_UTF7:
        return convert_utf7(source, length, out, flags)
    if charset <= CHARSET_UTF16BE:
        return convert_utf16(charset, source, length, out, flags)
    if charset <= CHARSET_UTF32BE:
        return convert_utf32(charset, source, length, out, flags)
    if charset <= CHARSET_EUC_JIS_2004:
        return convert_rows(charset, source, length, out, flags)
    return convert_escaped(charset, source, length, out, flags)
