"""Octets in any character set of mail → UTF-8, by tables generated from Python's codecs and read as clients read them (WHATWG supersets).

What has no meaning in its character set becomes U+FFFD and sets BAD_CHARSET; unlabelled octets over 127 are UTF-8 if they are valid UTF-8,
else windows-1252. Each function appends to `out`, stops with TEXT_TRUNCATED past ESA_MAX_TEXT, and gives -1 only for no memory.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from esa_core._buffer cimport append, encode_utf8, lower, reserve
from esa_core._types cimport BAD_CHARSET, ESA_MAX_TEXT, TEXT_TRUNCATED, Buffer

cdef extern from "charset_tables.h" nogil:
    const uint32_t charset_labels_MASK
    const uint16_t *charset_labels_slots
    const uint32_t *charset_labels_starts
    const uint8_t *charset_labels_lengths
    const uint16_t *charset_labels_values
    const uint8_t *charset_labels_pool
    const uint32_t CHARSETS
    const char *const *charset_names
    const uint16_t *single_byte_tables
    const uint16_t *table_gb18030
    const uint16_t *table_big5
    const uint16_t *table_euc_kr
    const uint16_t *table_shift_jis
    const uint16_t *table_jis_x_0208
    const uint16_t *table_jis_x_0212
    const uint32_t GB18030_RANGES
    const uint16_t *gb18030_linear
    const uint16_t *gb18030_point

cdef enum:
    BLOCK = 4096                 # octets read between two looks at the capacity of the output
    REPLACEMENT = 0xFFFD


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


# ---- UTF-8 and ASCII ----

cdef bint is_ascii(const uint8_t *source, size_t length) noexcept nogil:
    cdef uint8_t together = 0
    cdef size_t at
    for at in range(length):
        together |= source[at]
    return together < 128


cdef inline size_t ascii_run(const uint8_t *source, size_t length) noexcept nogil:
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


cdef bint is_utf8(const uint8_t *source, size_t length) noexcept nogil:
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


cdef inline void put(Buffer *out, uint32_t point) noexcept nogil:
    out.length += <uint32_t>encode_utf8(out.data + out.length, point)


cdef inline int next_block(Buffer *out, size_t at, size_t length, size_t *end, uint64_t *flags) noexcept nogil:
    """Room for one more block of input; 1 go on, 0 stop, -1 no memory."""
    if at >= length:
        return 0
    if out.length > ESA_MAX_TEXT:
        flags[0] |= TEXT_TRUNCATED
        return 0
    end[0] = min(at + BLOCK, length)
    return -1 if reserve(out, 3 * BLOCK + 16) < 0 else 1


cdef int convert_utf8(const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef size_t at = 0
    cdef size_t end = 0
    cdef size_t run
    cdef int step, more
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


cdef bint is_ascii_compatible(const uint16_t *table) noexcept nogil:
    """Not so are EBCDIC and a few others (0x25 of code page 864)."""
    cdef uint16_t octet
    for octet in range(128):
        if table[octet] != octet:
            return False
    return True


cdef int convert_single(const uint16_t *table, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef size_t at = 0
    cdef size_t end = 0
    cdef size_t run
    cdef int more
    cdef bint ascii_compatible = is_ascii_compatible(table)
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            if ascii_compatible:
                run = ascii_run(source + at, end - at)
                memcpy(out.data + out.length, source + at, run)
                out.length += <uint32_t>run
                at += run
                if at == end:
                    break
            if table[source[at]] == REPLACEMENT:
                flags[0] |= BAD_CHARSET
            put(out, table[source[at]])
            at += 1


# ---- UTF-16, UTF-32, UTF-7 ----

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


# ---- East Asian double-byte sets ----

cdef inline void put_checked(Buffer *out, uint32_t point, uint64_t *flags) noexcept nogil:
    """0 and U+FFFD stand for what has no meaning."""
    if point == 0 or point == REPLACEMENT:
        point = REPLACEMENT
        flags[0] |= BAD_CHARSET
    put(out, point)


cdef inline uint32_t double_byte(const uint16_t *table, uint8_t lead, uint8_t trail) noexcept nogil:
    if lead < 0x81 or lead > 0xFE or trail < 0x40 or trail > 0xFE:
        return 0
    return table[(lead - 0x81) * 191 + (trail - 0x40)]


cdef uint32_t four_byte(const uint8_t *code) noexcept nogil:
    """GB 18030 four-byte code → code point, 0 if none."""
    cdef uint32_t linear, low, high, middle
    if not (0x81 <= code[0] <= 0xFE and 48 <= code[1] <= 57 and 0x81 <= code[2] <= 0xFE and 48 <= code[3] <= 57):
        return 0
    linear = ((<uint32_t>(code[0] - 0x81) * 10 + (code[1] - 48)) * 126 + (code[2] - 0x81)) * 10 + (code[3] - 48)
    if linear >= 189000:
        return 0x10000 + linear - 189000 if linear - 189000 < 0x100000 else 0
    if linear >= 39420:
        return 0
    low = 0
    high = GB18030_RANGES
    while high - low > 1:
        middle = (low + high) // 2
        if gb18030_linear[middle] <= linear:
            low = middle
        else:
            high = middle
    return gb18030_point[low] + linear - gb18030_linear[low] if gb18030_point[low] else 0


cdef int convert_double(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef const uint16_t *table = table_gb18030
    cdef size_t at = 0
    cdef size_t end = 0
    cdef size_t run
    cdef uint8_t lead, trail
    cdef uint32_t point
    cdef int more
    if charset == CHARSET_BIG5:
        table = table_big5
    elif charset == CHARSET_EUC_KR:
        table = table_euc_kr
    elif charset == CHARSET_SHIFT_JIS:
        table = table_shift_jis
    elif charset == CHARSET_EUC_JP:
        table = table_jis_x_0208
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            run = ascii_run(source + at, end - at)
            memcpy(out.data + out.length, source + at, run)
            out.length += <uint32_t>run
            at += run
            if at == end:
                break
            lead = source[at]
            trail = source[at + 1] if at + 1 < length else 0
            if charset == CHARSET_SHIFT_JIS and 0xA1 <= lead <= 0xDF:
                put(out, <uint32_t>0xFF61 + lead - 0xA1)
                at += 1
                continue
            if charset == CHARSET_EUC_JP and lead == 0x8E and 0xA1 <= trail <= 0xDF:
                put(out, <uint32_t>0xFF61 + trail - 0xA1)
                at += 2
                continue
            if charset == CHARSET_EUC_JP and lead == 0x8F and at + 2 < length and trail >= 0xA1 and source[at + 2] >= 0xA1:
                put_checked(out, double_byte(table_jis_x_0212, trail, source[at + 2]), flags)
                at += 3
                continue
            if charset == CHARSET_GB18030 and 48 <= trail <= 57 and at + 3 < length:
                point = four_byte(source + at)
                if point:
                    put(out, point)
                    at += 4
                    continue
            if charset == CHARSET_GB18030 and lead == 0x80:
                put(out, 0x20AC)
                at += 1
                continue
            point = double_byte(table, lead, trail)
            put_checked(out, point, flags)
            at += 2 if point or (trail >= 128 and lead > 0x80) else 1  # a bad lead must not swallow the ASCII behind it


cdef int convert_escaped(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """ISO-2022-JP, ISO-2022-KR and HZ: seven-bit, two octets a character between shifts; the end of a line shifts back (not in KR)."""
    cdef const uint16_t *table = NULL            # NULL: single octets
    cdef bint katakana = False
    cdef size_t at = 0
    cdef size_t end = 0
    cdef int more
    cdef uint8_t octet, second, third
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            octet = source[at]
            second = source[at + 1] if at + 1 < length else 0
            third = source[at + 2] if at + 2 < length else 0
            if octet == 27 and charset != CHARSET_HZ:
                katakana = False
                if second == 40:  # ESC ( x
                    table = NULL
                    katakana = third == 73
                    at += 3
                elif second == 36 and third == 40:  # ESC $ ( x
                    octet = source[at + 3] if at + 3 < length else 0
                    table = table_jis_x_0212 if octet == 68 else table_euc_kr if octet == 67 else table_jis_x_0208
                    at += 4
                elif second == 36 and third == 41:  # ESC $ ) C
                    at += 4
                elif second == 36:
                    table = table_gb18030 if third == 65 else table_jis_x_0208
                    at += 3
                else:
                    put_checked(out, REPLACEMENT, flags)
                    at += 1
                continue
            if charset == CHARSET_ISO_2022_KR and (octet == 14 or octet == 15):
                table = table_euc_kr if octet == 14 else NULL
                at += 1
                continue
            if charset == CHARSET_HZ and octet == 126 and (second == 123 or second == 125 or second == 126 or second == 10):
                if second == 126:
                    put(out, 126)
                else:
                    table = table_gb18030 if second == 123 else NULL
                at += 2
                continue
            if octet == 10 and charset != CHARSET_ISO_2022_KR:
                table = NULL
                katakana = False
            if octet >= 128:
                put_checked(out, REPLACEMENT, flags)
                at += 1
            elif table == NULL or octet < 33:
                put(out, <uint32_t>0xFF61 + octet - 0x21 if katakana and 0x21 <= octet <= 0x5F else octet)
                at += 1
            else:
                put_checked(out, double_byte(table, octet | 0x80, second | 0x80) if 33 <= second < 127 else 0, flags)
                at += 2 if 33 <= second < 127 else 1


# ---- the door ----

cdef int convert(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append `source`, which is in `charset`, to `out` as UTF-8; line ends stay as they are. 0, or -1 for no memory."""
    cdef size_t room
    if charset <= CHARSET_UNKNOWN or CHARSET_GB18030 <= charset <= CHARSET_EUC_JP:
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
        return convert_single(single_byte_tables, source, length, out, flags)
    if charset <= CHARSET_UNKNOWN:
        if charset == CHARSET_UNKNOWN:
            flags[0] |= BAD_CHARSET
        if is_utf8(source, length):
            return convert_utf8(source, length, out, flags)
        flags[0] |= BAD_CHARSET
        return convert_single(single_byte_tables, source, length, out, flags)
    if charset >= CHARSET_SINGLE:
        return convert_single(single_byte_tables + 256 * (charset - CHARSET_SINGLE + 1), source, length, out, flags)
    if charset == CHARSET_UTF7:
        return convert_utf7(source, length, out, flags)
    if charset <= CHARSET_UTF16BE:
        return convert_utf16(charset, source, length, out, flags)
    if charset <= CHARSET_UTF32BE:
        return convert_utf32(charset, source, length, out, flags)
    if charset <= CHARSET_EUC_JP:
        return convert_double(charset, source, length, out, flags)
    return convert_escaped(charset, source, length, out, flags)
