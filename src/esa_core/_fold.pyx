"""UTF-8 → UTF-8 folded for matching: NFKC and full case folding without what has no width (Unicode's NFKC_Casefold), in one pass.

Code points are mapped by a generated two-stage table; where one of them combines with what stands before it, the run is composed. Runs of
more than COMPOSE_MOST code points are composed in pieces. Octets that are not valid UTF-8 are kept as they are. ASCII costs a few
vector instructions per 64 octets. On the way it is noticed whether a word mixes scripts (see _disguise).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from esa_core._buffer cimport encode_utf8, reserve
from esa_core._compose cimport COMPOSE_MOST, compose
from esa_core._types cimport TEXT_TRUNCATED, Buffer

cdef extern from "fold_tables.h" nogil:
    const uint16_t *fold_page
    const uint16_t *fold_entry
    const uint8_t *fold_kind
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

cdef enum:
    NO_POINT = 0x110000
    BACK = 30                    # marks that are taken back to be composed with more


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


cdef inline bint fold_tail(const uint8_t *source, size_t length, uint8_t *out) noexcept nogil:
    """The same of fewer octets, behind which none is read."""
    cdef uint8_t block[64]
    memset(block, 0, 64)
    memcpy(block, source, length)
    return fold_ascii(block, out)


cdef inline uint32_t read_point(const uint8_t *source, size_t length, size_t *used) noexcept nogil:
    """The code point at `source` and its length; an octet that begins none is given as NO_POINT."""
    cdef uint8_t first = source[0]
    cdef size_t needed = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    cdef uint32_t point
    cdef size_t at
    used[0] = 1
    if first < 128:
        return first
    if first < 0xC2 or first > 0xF4 or needed > length:
        return NO_POINT
    point = first & (0x7F >> needed)
    for at in range(1, needed):
        if source[at] & 0xC0 != 0x80:
            return NO_POINT
        point = (point << 6) | (source[at] & 0x3F)
    if point >= NO_POINT:
        return NO_POINT
    used[0] = needed
    return point


cdef inline uint32_t slot_of(uint32_t point) noexcept nogil:
    return (<uint32_t>fold_page[point >> 7] << 7) | (point & 127)


# ---- for those who look at single characters ----

cdef uint32_t character_kind(const uint8_t *source, size_t length, uint32_t *point, size_t *used) noexcept nogil:
    """FOLD_* bits of the character at `source`; 0 for an octet that begins none, whose `point` is more than 0x10FFFF."""
    point[0] = read_point(source, length, used)
    return fold_kind[slot_of(point[0])] if point[0] < NO_POINT else 0


cdef size_t folded_text(uint32_t point, const uint8_t **text) noexcept nogil:
    """Length of the text that a code point is mapped to; `text` is NULL if that is itself."""
    cdef uint32_t entry = fold_entry[slot_of(point)]
    text[0] = NULL
    if entry == 0:
        return 0
    text[0] = fold_text_pool + fold_start[entry - 1]
    return fold_start[entry] - fold_start[entry - 1]


# ---- sequences ----

cdef inline size_t last_point(const uint8_t *octets, size_t first, size_t end, uint32_t *point) noexcept nogil:
    """Where the code point that ends at `end` begins, `end` if none does."""
    cdef size_t at = end
    cdef size_t used
    while at > first and end - at < 4:
        at -= 1
        if octets[at] & 0xC0 != 0x80:
            point[0] = read_point(octets + at, end - at, &used)
            return at if point[0] < NO_POINT and used == end - at else end
    return end


cdef int join_marks(const uint8_t *source, size_t length, size_t *position, size_t first, Buffer *out) noexcept nogil:
    """Take back the letter at the end of `out` (not before `first`), compose it with the marks at `position`, move behind them."""
    cdef uint32_t points[4 * COMPOSE_MOST]
    cdef uint32_t taken[BACK + 1]
    cdef uint32_t n_taken = 0
    cdef uint32_t n = 0
    cdef uint32_t point, slot, entry, at
    cdef size_t end = out.length
    cdef size_t used, start, stop
    while n_taken <= BACK:
        start = last_point(out.data, first, end, &point)
        if start == end:
            break
        end = start
        taken[n_taken] = point
        n_taken += 1
        if not fold_kind[slot_of(point)] & FOLD_JOINS:
            break
    if n_taken > BACK:           # more marks than any text has: these begin a run of their own
        n_taken = 0
        end = out.length
    while n_taken:
        n_taken -= 1
        points[n] = taken[n_taken]
        n += 1
    while position[0] < length and n < COMPOSE_MOST - 3:
        point = read_point(source + position[0], length - position[0], &used)
        if point == NO_POINT:
            break
        slot = slot_of(point)
        entry = fold_entry[slot]
        if not fold_kind[slot] & FOLD_JOINS:
            if entry and fold_start[entry] == fold_start[entry - 1]:  # without width: marks behind it still stand on the letter
                position[0] += used
                continue
            break
        if entry == 0:
            points[n] = point
            n += 1
        else:                    # up to three of them
            start = fold_start[entry - 1]
            stop = fold_start[entry]
            while start < stop and n < COMPOSE_MOST:
                points[n] = read_point(fold_text_pool + start, stop - start, &used)
                start += used
                n += 1
            read_point(source + position[0], length - position[0], &used)
        position[0] += used
    n = compose(points, n)
    out.length = <uint32_t>end
    if reserve(out, 4 * n) < 0:
        return -1
    for at in range(n):
        out.length += <uint32_t>encode_utf8(out.data + out.length, points[at])
    return 0


cdef inline uint32_t word_before(const uint8_t *source, size_t length) noexcept nogil:
    """Kind of the ASCII word that ends here, so far as it stands in `source`."""
    while length and 48 <= source[length - 1] <= 57:
        length -= 1
    return fold_kind[source[length - 1]] if length else FOLD_WORD


# ---- the door ----

cdef int fold_octets(const uint8_t *source, size_t length, uint32_t limit, Buffer *out, uint64_t *flags, bint *mixed) noexcept nogil:
    """Append `source` folded. Stops with TEXT_TRUNCATED when `out` is longer than `limit`; sets `mixed` if a word mixes scripts. -1 for no
    memory."""
    cdef size_t first = out.length
    cdef size_t at = 0
    cdef size_t end, used, run
    cdef uint8_t *put
    cdef uint8_t octet
    cdef uint32_t point, slot, entry, start, size, kind
    cdef uint32_t seen = 0       # kinds of the characters of the word so far
    cdef uint32_t found = 0
    cdef bint joins
    while at < length:
        if out.length > limit:
            flags[0] |= TEXT_TRUNCATED
            break
        end = min(at + FOLD_BLOCK, length)
        # U+FDFA aside, three octets become at most 18; eleven times is the bound
        if reserve(out, 11 * (end - at) + FOLD_LONGEST + 64) < 0:
            return -1
        put = out.data + out.length
        joins = False
        while at < end and not joins:
            run = at
            while at + 64 <= end and fold_ascii(source + at, put):
                at += 64
                put += 64
            if at != run:
                seen = word_before(source + run, at - run)
            if end == length and end - at < 64 and (at == 0 or at != run) and fold_tail(source + at, end - at, put):
                put += end - at
                at = end
                break
            while at < end:
                octet = source[at]
                if octet < 128:
                    put[0] = octet + ((<uint8_t>(<uint8_t>(octet - 65) < 26)) << 5)
                    put += 1
                    at += 1
                    kind = fold_kind[octet]
                    seen = (seen & (0 - (kind >> 1 & 1))) | kind
                    found |= seen & (seen >> 1)
                    if octet == 32 and at + 64 <= end:  # perhaps plain ASCII again
                        break
                    continue
                point = read_point(source + at, length - at, &used)
                if point == NO_POINT:
                    put[0] = octet
                    put += 1
                    at += 1
                    seen = 0
                    continue
                slot = slot_of(point)
                kind = fold_kind[slot]
                seen = (seen & (0 - (kind >> 1 & 1))) | kind
                found |= seen & (seen >> 1)
                if kind & FOLD_JOINS:
                    joins = True
                    break
                entry = fold_entry[slot]
                if entry == 0:
                    memcpy(put, source + at, used)
                    put += used
                else:
                    start = fold_start[entry - 1]
                    size = fold_start[entry] - start
                    if size <= 8:  # the pool is padded
                        memcpy(put, fold_text_pool + start, 8)
                    else:
                        memcpy(put, fold_text_pool + start, size)
                    put += size
                at += used
        out.length = <uint32_t>(put - out.data)
        if joins and join_marks(source, length, &at, first, out) < 0:
            return -1
    if found & FOLD_LATIN:
        mixed[0] = True
    return 0
