"""UTF-8 → folded UTF-8 by a generated two-stage table: NFKC and full case folding per code point, without what has no width.

Per code point: sequences are not composed or reordered. Octets that are not valid UTF-8 are kept as they are.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from esa_core._buffer cimport reserve
from esa_core._types cimport TEXT_TRUNCATED, Buffer

cdef extern from "fold_tables.h" nogil:
    const uint16_t *fold_page
    const uint16_t *fold_entry
    const uint32_t *fold_start
    const uint8_t *fold_text_pool

cdef extern from *:
    """
    /* The longest folded text of one code point is U+FDFA's 33 octets for 3. */
    #define FOLD_BLOCK 1024
    #define FOLD_LONGEST 40
    """
    const size_t FOLD_BLOCK
    const size_t FOLD_LONGEST


cdef inline bint fold_ascii(const uint8_t *source, uint8_t *out) noexcept nogil:
    """Lower 64 octets; False, with nothing to be believed in `out`, if one of them is not ASCII."""
    cdef uint8_t together = 0
    cdef uint8_t octet
    cdef int at
    for at in range(64):
        octet = source[at]
        together |= octet
        out[at] = octet + ((<uint8_t>(<uint8_t>(octet - 65) < 26)) << 5)
    return together < 128


cdef inline uint32_t read_point(const uint8_t *source, size_t length, size_t *used) noexcept nogil:
    """The code point at `source` and its length; octets that are none are given as 0x110000."""
    cdef uint8_t first = source[0]
    cdef size_t needed = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    cdef uint32_t point
    cdef size_t at
    used[0] = 1
    if first < 0xC2 or first > 0xF4 or needed > length:
        return 0x110000
    point = first & (0x7F >> needed)
    for at in range(1, needed):
        if source[at] & 0xC0 != 0x80:
            return 0x110000
        point = (point << 6) | (source[at] & 0x3F)
    used[0] = needed
    return point if point < 0x110000 else 0x110000


cdef int fold_octets(const uint8_t *source, size_t length, uint32_t limit, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append `source` folded. Stops with TEXT_TRUNCATED when `out` is longer than `limit`; -1 for no memory."""
    cdef size_t at = 0
    cdef size_t end, used
    cdef uint8_t *put
    cdef uint8_t octet
    cdef uint32_t point, entry, start, size
    while at < length:
        if out.length > limit:
            flags[0] |= TEXT_TRUNCATED
            return 0
        end = min(at + FOLD_BLOCK, length)
        # U+FDFA aside, three octets become at most 18; eleven times is the bound
        if reserve(out, 11 * (end - at) + FOLD_LONGEST + 64) < 0:
            return -1
        put = out.data + out.length
        while at < end:
            while at + 64 <= end and fold_ascii(source + at, put):
                at += 64
                put += 64
            while at < end:
                octet = source[at]
                if octet < 128:
                    put[0] = octet + ((<uint8_t>(<uint8_t>(octet - 65) < 26)) << 5)
                    put += 1
                    at += 1
                    if octet == 32 and at + 64 <= end:  # perhaps plain ASCII again
                        break
                    continue
                point = read_point(source + at, length - at, &used)
                entry = fold_entry[(<uint32_t>fold_page[point >> 7] << 7) | (point & 127)] if point < 0x110000 else 0
                if entry == 0:
                    memcpy(put, source + at, used)
                    put += used
                else:
                    start = fold_start[entry - 1]
                    size = fold_start[entry] - start
                    memcpy(put, fold_text_pool + start, size)
                    put += size
                at += used
        out.length = <uint32_t>(put - out.data)
    return 0
