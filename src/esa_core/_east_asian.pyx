"""East Asian character sets → UTF-8, by rows of generated tables. Called by _charset; see there for what all conversions promise.

A set of two octets is a row for each lead and a cell for each trail. JIS X 0208 and both planes of JIS X 0213 are found in the rows of
Shift_JIS, where the same characters stand in another order. A lead whose trail makes no sense does not swallow an ASCII octet behind it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from esa_core._buffer cimport encode_utf8
from esa_core._charset cimport (
    CHARSET_BIG5, CHARSET_EUC_JIS_2004, CHARSET_EUC_JP, CHARSET_EUC_KR, CHARSET_GB18030, CHARSET_HZ, CHARSET_ISO_2022_KR, CHARSET_JOHAB,
    CHARSET_SHIFT_JIS, CHARSET_SHIFT_JIS_2004,
)
from esa_core._conversion cimport REPLACEMENT, next_block, put, put_checked
from esa_core._types cimport Buffer

cdef extern from "east_asian_tables.h" nogil:
    ctypedef struct RowSet:
        const uint32_t *rows
        uint8_t first_lead
        uint8_t last_lead
        uint8_t first_trail
        uint8_t last_trail
    const uint16_t *row_cells
    const RowSet set_gb18030
    const RowSet set_big5
    const RowSet set_euc_kr
    const RowSet set_shift_jis
    const RowSet set_shift_jis_2004
    const RowSet set_jis_x_0212
    const RowSet set_johab
    const uint32_t *wide_first
    const uint16_t *wide_second
    const uint32_t GB18030_RANGES
    const uint16_t *gb18030_linear
    const uint16_t *gb18030_point

cdef enum Designated:            # what seven-bit octets mean between escapes
    OF_ASCII
    OF_ROMAN                     # ISO 646-JP: a yen sign and an overline
    OF_KATAKANA
    OF_JIS_X_0208
    OF_JIS_X_0212
    OF_JIS_X_0213                # its first plane
    OF_JIS_X_0213_2
    OF_GB_2312
    OF_KS_X_1001

cdef enum:
    SURROGATES = 0xD800          # a cell of such a value is an index of wide_first


# ---- rows and cells ----

cdef inline uint32_t cell_of(const RowSet *rows, uint8_t lead, uint8_t trail) noexcept nogil:
    if lead < rows.first_lead or lead > rows.last_lead or trail < rows.first_trail or trail > rows.last_trail:
        return 0
    return row_cells[rows.rows[lead - rows.first_lead] + trail - rows.first_trail]


cdef inline uint32_t jis_cell(const RowSet *rows, uint8_t lead, uint8_t trail) noexcept nogil:
    """The cell of a code of JIS (0x21 ... 0x7E twice) in the rows of a Shift_JIS."""
    cdef uint8_t row = lead - 0x21
    cdef uint8_t column = trail - 0x21
    if row > 93 or column > 93:
        return 0
    return cell_of(rows, (row >> 1) + (0x81 if row < 62 else 0xC1), column + (0x9F if row & 1 else 0x40 if column < 63 else 0x41))


cdef uint32_t second_plane_cell(uint8_t lead, uint8_t trail) noexcept nogil:
    """The second plane of JIS X 0213: rows 1, 3-5, 8, 12-15 and 78-94 stand in leads 0xF0 ... 0xFC."""
    cdef uint8_t row = lead - 0x20
    cdef uint8_t column = trail - 0x21
    cdef uint8_t pair            # index of the half lead
    if column > 93 or row > 94:
        return 0
    if row >= 78:
        pair = row - 78 + 9
    elif row == 1:
        pair = 0
    elif row == 8:
        pair = 1
    elif 3 <= row <= 5:
        pair = row - 1
    elif 12 <= row <= 15:
        pair = row - 7
    else:
        return 0
    return cell_of(&set_shift_jis_2004, 0xF0 + (pair >> 1), column + (0x9F if pair & 1 else 0x40 if column < 63 else 0x41))


cdef uint32_t first_plane_cell(uint8_t lead, uint8_t trail) noexcept nogil:
    """The first plane of JIS X 0213, whose backslash and tilde are wide ones outside Shift_JIS."""
    cdef uint32_t cell = jis_cell(&set_shift_jis_2004, lead, trail)
    return 0xFF3C if cell == 0x5C else 0xFF5E if cell == 0x7E else cell


cdef void put_cell(Buffer *out, uint32_t cell, uint64_t *flags) noexcept nogil:
    """The character or the two characters of a cell; U+FFFD for 0."""
    if SURROGATES <= cell < 0xE000:
        put(out, wide_first[cell - SURROGATES])
        if wide_second[cell - SURROGATES]:
            put(out, wide_second[cell - SURROGATES])
    else:
        put_checked(out, cell, flags)


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


# ---- sets of one, two, three and four octets ----

cdef size_t put_other(uint32_t charset, const uint8_t *source, size_t length, uint32_t cell, Buffer *out, uint64_t *flags) noexcept nogil:
    """A character that is not two octets with a place in the basic plane; gives how many octets it has."""
    cdef uint8_t lead = source[0]
    cdef uint8_t trail = source[1] if length > 1 else 0
    cdef uint8_t third = source[2] if length > 2 else 0
    cdef uint32_t point = 0
    if charset == CHARSET_SHIFT_JIS or charset == CHARSET_SHIFT_JIS_2004:
        if 0xA1 <= lead <= 0xDF:
            point = 0xFF61 + lead - 0xA1
        elif charset == CHARSET_SHIFT_JIS and lead == 0x80:
            point = 0x80
        elif charset == CHARSET_SHIFT_JIS and lead == 0xA0:
            point = 0xF8F0
        elif charset == CHARSET_SHIFT_JIS and lead >= 0xFD:
            point = 0xF8F1 + lead - 0xFD
    elif charset == CHARSET_EUC_JP or charset == CHARSET_EUC_JIS_2004:
        if lead == 0x8E and 0xA1 <= trail <= 0xDF:
            put(out, 0xFF61 + trail - 0xA1)
            return 2
        if lead == 0x8F and trail >= 0xA1 and third >= 0xA1:
            cell = second_plane_cell(trail & 0x7F, third & 0x7F) if charset == CHARSET_EUC_JIS_2004 else 0
            put_cell(out, cell if cell else cell_of(&set_jis_x_0212, trail, third), flags)
            return 3
    elif charset == CHARSET_GB18030:
        if lead == 0x80:
            point = 0x20AC
        elif length >= 4 and 48 <= trail <= 57:
            point = four_byte(source)
            if point:
                put(out, point)
                return 4
    if point:
        put(out, point)
        return 1
    put_cell(out, cell, flags)
    return 2 if cell or (trail >= 128 and lead > 0x80) else 1


cdef int convert_rows(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """GB 18030, Big5, EUC and Shift_JIS: ASCII and characters of up to four octets that begin with one over 127."""
    cdef const RowSet *rows = &set_gb18030
    cdef bint is_jis = charset == CHARSET_EUC_JP or charset == CHARSET_EUC_JIS_2004
    cdef size_t at = 0
    cdef size_t end = 0
    cdef uint8_t *write
    cdef uint64_t eight
    cdef uint8_t lead, trail
    cdef uint32_t cell
    cdef int more
    if charset == CHARSET_BIG5:
        rows = &set_big5
    elif charset == CHARSET_EUC_KR:
        rows = &set_euc_kr
    elif charset == CHARSET_SHIFT_JIS or charset == CHARSET_EUC_JP:
        rows = &set_shift_jis
    elif charset == CHARSET_SHIFT_JIS_2004 or charset == CHARSET_EUC_JIS_2004:
        rows = &set_shift_jis_2004
    elif charset == CHARSET_JOHAB:
        rows = &set_johab
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        write = out.data + out.length
        while at < end:
            lead = source[at]
            if lead < 128:
                if at + 8 <= end:
                    memcpy(&eight, source + at, 8)
                    if not eight & <uint64_t>0x8080808080808080:
                        memcpy(write, &eight, 8)
                        write += 8
                        at += 8
                        continue
                write[0] = lead
                write += 1
                at += 1
                continue
            trail = source[at + 1] if at + 1 < length else 0
            if not is_jis:
                cell = cell_of(rows, lead, trail)
            elif charset == CHARSET_EUC_JP:
                cell = jis_cell(rows, lead ^ 0x80, trail ^ 0x80)
            else:
                cell = first_plane_cell(lead ^ 0x80, trail ^ 0x80)
            if 0x800 <= cell and (cell < SURROGATES or cell >= 0xE000):
                write[0] = <uint8_t>(0xE0 | (cell >> 12))
                write[1] = <uint8_t>(0x80 | ((cell >> 6) & 0x3F))
                write[2] = <uint8_t>(0x80 | (cell & 0x3F))
                write += 3
                at += 2
            elif 0 < cell < 0x800:
                write += encode_utf8(write, cell)
                at += 2
            else:
                out.length = <uint32_t>(write - out.data)
                at += put_other(charset, source + at, length - at, cell, out, flags)
                write = out.data + out.length
        out.length = <uint32_t>(write - out.data)


# ---- escapes ----

cdef size_t designate(const uint8_t *source, size_t length, uint32_t *inside, uint32_t *shifted) noexcept nogil:
    """Read an escape sequence of ISO 2022; gives its length, 0 if it is none that is known. `shifted` is the set of single shift 2."""
    cdef uint8_t second = source[1] if length > 1 else 0
    cdef uint8_t third = source[2] if length > 2 else 0
    cdef uint8_t fourth = source[3] if length > 3 else 0
    if second == 40:             # ( one octet
        if third == 66:
            inside[0] = OF_ASCII
        elif third == 74 or third == 72:
            inside[0] = OF_ROMAN
        elif third == 73:
            inside[0] = OF_KATAKANA
        else:
            return 0
        return 3
    if second == 46 and (third == 65 or third == 70):  # . the upper half of ISO 8859-1 or -7
        shifted[0] = third
        return 3
    if second != 36:             # $ two octets
        return 0
    if third == 64 or third == 66:
        inside[0] = OF_JIS_X_0208
        return 3
    if third == 65:
        inside[0] = OF_GB_2312
        return 3
    if third != 40:
        return 0
    if fourth == 67:
        inside[0] = OF_KS_X_1001
    elif fourth == 68:
        inside[0] = OF_JIS_X_0212
    elif fourth == 79 or fourth == 81:
        inside[0] = OF_JIS_X_0213
    elif fourth == 80:
        inside[0] = OF_JIS_X_0213_2
    elif fourth == 66 or fourth == 64:
        inside[0] = OF_JIS_X_0208
    else:
        return 0
    return 4


cdef uint32_t designated_cell(uint32_t inside, uint8_t lead, uint8_t trail) noexcept nogil:
    if inside == OF_JIS_X_0208:
        return jis_cell(&set_shift_jis, lead, trail)
    if inside == OF_JIS_X_0212:
        return cell_of(&set_jis_x_0212, lead | 0x80, trail | 0x80)
    if inside == OF_JIS_X_0213:
        return first_plane_cell(lead, trail)
    if inside == OF_JIS_X_0213_2:
        return second_plane_cell(lead, trail)
    return cell_of(&set_gb18030 if inside == OF_GB_2312 else &set_euc_kr, lead | 0x80, trail | 0x80)


cdef uint32_t greek(uint8_t octet) noexcept nogil:
    """ISO 8859-7 over 0xA0, of 1987: 0 for what it lacks."""
    if octet == 0xA1 or octet == 0xA2:
        return 0x2018 + octet - 0xA1
    if octet == 0xAF:
        return 0x2015
    if octet == 0xA4 or octet == 0xA5 or octet == 0xAA or octet == 0xAE or octet == 0xD2 or octet == 0xFF:
        return 0
    return octet + 0x2D0 if octet >= 0xB4 and octet != 0xB7 and octet != 0xBB and octet != 0xBD else octet


cdef int convert_escaped(uint32_t charset, const uint8_t *source, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """ISO-2022-JP with all its extensions, ISO-2022-KR and HZ: seven-bit, two octets a character between shifts. The end of a line shifts
    back in KR and HZ."""
    cdef uint32_t inside = OF_ASCII
    cdef uint32_t shifted = 0
    cdef uint32_t cell
    cdef size_t at = 0
    cdef size_t end = 0
    cdef size_t used
    cdef int more
    cdef uint8_t octet, second
    while True:
        more = next_block(out, at, length, &end, flags)
        if more <= 0:
            return more
        while at < end:
            octet = source[at]
            second = source[at + 1] if at + 1 < length else 0
            if inside == OF_JIS_X_0208:
                cell = jis_cell(&set_shift_jis, octet, second)
                if cell >= 0x800:    # the basic plane alone stands in this set
                    out.length += <uint32_t>encode_utf8(out.data + out.length, cell)
                    at += 2
                    continue
            if octet == 27 and charset != CHARSET_HZ:
                if second == 78 and shifted and at + 2 < length:  # single shift 2
                    octet = source[at + 2] | 0x80
                    put_checked(out, octet if shifted == 65 else greek(octet), flags)
                    at += 3
                    continue
                if charset == CHARSET_ISO_2022_KR and second == 36 and at + 3 < length and source[at + 2] == 41:  # says what SO means
                    at += 4
                    continue
                used = designate(source + at, length - at, &inside, &shifted)
                if used == 0:
                    put_checked(out, REPLACEMENT, flags)
                    used = 1
                at += used
                continue
            if octet == 14 or octet == 15:  # SO, SI
                if charset == CHARSET_ISO_2022_KR:
                    inside = OF_KS_X_1001 if octet == 14 else OF_ASCII
                    at += 1
                    continue
            if charset == CHARSET_HZ and octet == 126 and (second == 123 or second == 125 or second == 126 or second == 10):
                if second == 126:
                    put(out, 126)
                else:
                    inside = OF_GB_2312 if second == 123 else OF_ASCII if second == 125 else inside
                at += 2
                continue
            if octet == 10 and (charset == CHARSET_ISO_2022_KR or charset == CHARSET_HZ):
                inside = OF_ASCII
            if octet >= 128:
                put_checked(out, REPLACEMENT, flags)
                at += 1
            elif inside == OF_ASCII or octet < 33 or octet == 127:
                put(out, octet)
                at += 1
            elif inside == OF_ROMAN:
                put(out, 0xA5 if octet == 0x5C else 0x203E if octet == 0x7E else octet)
                at += 1
            elif inside == OF_KATAKANA:
                put_checked(out, 0xFF61 + octet - 0x21 if octet <= 0x5F else 0, flags)
                at += 1
            else:
                put_cell(out, designated_cell(inside, octet, second) if 33 <= second < 127 else 0, flags)
                at += 2 if 33 <= second < 127 else 1
