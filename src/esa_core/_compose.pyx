"""Canonical composition of a short run of code points (NFC): decomposed, put in order of combining class, composed.

Called by _fold where something that combines stands behind a letter; what it is given has been mapped code point by code point.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "compose_tables.h" nogil:
    const uint32_t DECOMPOSED_MASK
    const uint32_t PAIRS_MASK
    const uint16_t *decomposed_slots
    const uint32_t *decomposed_point
    const uint16_t *decomposed_start
    const uint32_t *decomposed_pool
    const uint32_t *pair_first
    const uint32_t *pair_second
    const uint32_t *pair_composite
    const uint8_t *mark_page
    const uint8_t *mark_class

cdef enum:
    SYLLABLES = 0xAC00           # Hangul, by arithmetic (Unicode Standard 3.12)
    N_SYLLABLES = 11172
    LEADS = 0x1100
    N_LEADS = 19
    VOWELS = 0x1161
    N_VOWELS = 21
    TRAILS = 0x11A7
    N_TRAILS = 28


cdef inline uint8_t combining_class(uint32_t point) noexcept nogil:
    return mark_class[(<uint32_t>mark_page[point >> 7] << 7) | (point & 127)]


cdef uint32_t decompose(uint32_t point, uint32_t *out) noexcept nogil:
    """Write the full canonical decomposition, four code points at most; gives their number."""
    cdef uint32_t slot, entry, at
    if SYLLABLES <= point < SYLLABLES + N_SYLLABLES:
        point -= SYLLABLES
        out[0] = LEADS + point // (N_VOWELS * N_TRAILS)
        out[1] = VOWELS + point % (N_VOWELS * N_TRAILS) // N_TRAILS
        out[2] = TRAILS + point % N_TRAILS
        return 3 if point % N_TRAILS else 2
    slot = point * 31 & DECOMPOSED_MASK
    while decomposed_slots[slot]:
        entry = decomposed_slots[slot] - 1
        if decomposed_point[entry] == point:
            for at in range(decomposed_start[entry], decomposed_start[entry + 1]):
                out[at - decomposed_start[entry]] = decomposed_pool[at]
            return decomposed_start[entry + 1] - decomposed_start[entry]
        slot = (slot + 1) & DECOMPOSED_MASK
    out[0] = point
    return 1


cdef uint32_t composite(uint32_t first, uint32_t second) noexcept nogil:
    """What two code points compose to, 0 for nothing."""
    cdef uint32_t slot = (first * 31 + second) & PAIRS_MASK
    if LEADS <= first < LEADS + N_LEADS and VOWELS <= second < VOWELS + N_VOWELS:
        return SYLLABLES + ((first - LEADS) * N_VOWELS + second - VOWELS) * N_TRAILS
    if SYLLABLES <= first < SYLLABLES + N_SYLLABLES and (first - SYLLABLES) % N_TRAILS == 0 and TRAILS < second < TRAILS + N_TRAILS:
        return first + second - TRAILS
    while pair_composite[slot]:
        if pair_first[slot] == first and pair_second[slot] == second:
            return pair_composite[slot]
        slot = (slot + 1) & PAIRS_MASK
    return 0


cdef uint32_t compose(uint32_t *points, uint32_t count) noexcept nogil:
    """Bring up to COMPOSE_MOST code points into NFC in place; gives how many are left, at most four times as many."""
    cdef uint32_t parts[4 * COMPOSE_MOST]
    cdef uint8_t classes[4 * COMPOSE_MOST]
    cdef uint32_t n = 0
    cdef uint32_t at, put, more, point, starter
    cdef uint8_t order
    cdef uint8_t last = 0
    point = points[0]
    for at in range(1, count):   # usual: each mark composes with what is there, which is then equivalent, and composed
        point = composite(point, points[at])
        if point == 0:
            break
    if point:
        points[0] = point
        return 1
    for at in range(count):
        more = decompose(points[at], parts + n)
        for put in range(n, n + more):
            point = parts[put]
            order = combining_class(point)
            while order and put > 0 and classes[put - 1] > order:
                parts[put] = parts[put - 1]
                classes[put] = classes[put - 1]
                put -= 1
            parts[put] = point
            classes[put] = order
        n += more
    put = 0
    starter = n                  # none yet
    for at in range(n):
        order = classes[at]
        if starter < n and (last == 0 or last < order):
            point = composite(points[starter], parts[at])
            if point:
                points[starter] = point
                continue
        last = order
        if order == 0:
            starter = put
        points[put] = parts[at]
        put += 1
    return put
