"""Character references (HTML Living Standard 13.2.5.72 ff.): look-ups in generated closed tables.

Every look-up is bounded by the longest name, whatever stands in the message.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy

from esa_core._buffer cimport encode_utf8

cdef extern from "html_tables.h" nogil:
    const uint32_t entity_MASK
    const uint16_t *entity_slots
    const uint32_t *entity_starts
    const uint8_t *entity_lengths
    const uint16_t *entity_values
    const uint8_t *entity_pool
    const uint16_t *entity_text_starts
    const uint8_t *entity_text_lengths
    const uint8_t *entity_legacy
    const uint8_t *entity_text

cdef extern from *:
    """
    #include "markup.h"
    #include "html_tables.h"
    static inline unsigned esa_find_element(const unsigned char *p, size_t n) { ESA_FIND_NAME(element, p, n) }
    /* What &#128; to &#159; mean (HTML Living Standard 13.2.5.84): windows-1252. */
    static const unsigned short c1_points[32] = {
        0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D, 0x017D, 0x8F,
        0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D, 0x017E, 0x0178};
    """
    const uint16_t *c1_points
    uint32_t esa_find_element(const uint8_t *name, size_t length) noexcept nogil

cdef enum:
    LONGEST_NAME = 32            # "CounterClockwiseContourIntegral" has 31
    LONGEST_LEGACY = 6           # "Aacute"


cdef uint32_t look_up(const uint8_t *name, size_t length, uint32_t mask, const uint16_t *slots, const uint32_t *starts,
                      const uint8_t *lengths, const uint8_t *pool) noexcept nogil:
    """1 + the entry of a name in a generated table, 0 if it is not there."""
    cdef uint32_t key = 2166136261u
    cdef uint32_t slot, entry
    cdef size_t at
    for at in range(length):
        key = (key ^ name[at]) * 16777619u
    slot = key & mask
    while slots[slot]:
        entry = slots[slot] - 1
        if lengths[entry] == length and memcmp(pool + starts[entry], name, length) == 0:
            return entry + 1
        slot = (slot + 1) & mask
    return 0


cdef uint32_t find_element(const uint8_t *name, size_t length) noexcept nogil:
    """TAG_* of an element name in any case, 0 if it is not known; 16 octets may be read."""
    return esa_find_element(name, length) if length else 0


cdef inline uint32_t find_entity(const uint8_t *name, size_t length) noexcept nogil:
    return look_up(name, length, entity_MASK, entity_slots, entity_starts, entity_lengths, entity_pool)


cdef size_t numeric_reference(const uint8_t *source, size_t length, uint8_t *out, uint32_t *written, bint *odd) noexcept nogil:
    """`source` is at "&#"."""
    cdef size_t at = 2
    cdef size_t first
    cdef uint32_t point = 0
    cdef uint8_t octet
    cdef bint hexadecimal = length > 2 and (source[2] == 120 or source[2] == 88)
    if hexadecimal:
        at = 3
    first = at
    while at < length:
        octet = source[at]
        if 48 <= octet <= 57:
            point = point * (16 if hexadecimal else 10) + (octet - 48)
        elif hexadecimal and 97 <= (octet | 32) <= 102:
            point = point * 16 + ((octet | 32) - 87)
        else:
            break
        if point > 0x110000:
            point = 0x110000
        at += 1
    if at == first:
        return 0
    if at < length and source[at] == 59:
        at += 1
    if 0x80 <= point < 0xA0:
        point = c1_points[point - 0x80]
    elif point == 0 or point >= 0x110000 or 0xD800 <= point < 0xE000:
        point = 0xFFFD
    odd[0] = 65 <= point <= 90 or 97 <= point <= 122
    written[0] = <uint32_t>encode_utf8(out, point)
    return at


cdef size_t decode_reference(const uint8_t *source, size_t length, bint in_attribute, uint8_t *out, uint32_t *written,
                             bint *odd) noexcept nogil:
    """`source` is at "&": write at most 6 octets of UTF-8, give how many octets the reference took; 0 if it is none.

    `odd` is set for a numeric reference to an ASCII letter. A name without ";" counts only where the standard's old list has it.
    """
    cdef size_t name = 1
    cdef size_t at
    cdef uint32_t entry = 0
    cdef uint8_t octet
    odd[0] = False
    if length < 3:
        return 0
    if length >= 6 and source[1] == 110 and memcmp(source, b"&nbsp;", 6) == 0:  # most references of real mail
        out[0], out[1] = 0xC2, 0xA0
        written[0] = 2
        return 6
    if source[1] == 35:
        return numeric_reference(source, length, out, written, odd)
    while name < length and name <= LONGEST_NAME:
        octet = source[name]
        if not (97 <= (octet | 32) <= 122 or 48 <= octet <= 57):
            break
        name += 1
    if name < length and source[name] == 59:
        entry = find_entity(source + 1, name - 1)
        at = name + 1
    if entry == 0:
        at = min(name, <size_t>(LONGEST_LEGACY + 1))
        while at > 2:
            entry = find_entity(source + 1, at - 1)
            if entry and entity_legacy[entity_values[entry - 1]]:
                break
            entry = 0
            at -= 1
        if entry == 0:
            return 0
        if in_attribute and at < length:
            octet = source[at]
            if octet == 61 or 97 <= (octet | 32) <= 122 or 48 <= octet <= 57:
                return 0
    entry = entity_values[entry - 1]
    written[0] = entity_text_lengths[entry]
    memcpy(out, entity_text + entity_text_starts[entry], written[0])
    return at


cdef size_t decode_value(const uint8_t *source, size_t length, uint8_t *out, size_t room, uint32_t *odd) noexcept nogil:
    """An attribute value with its references decoded, cut at `room` octets; gives how many were written and counts odd references."""
    cdef size_t at = 0
    cdef size_t put = 0
    cdef size_t used
    cdef uint32_t written = 0
    cdef uint8_t text[8]
    cdef bint is_odd = False
    cdef const uint8_t *found
    cdef size_t run
    while at < length and put < room:
        if source[at] != 38:
            found = <const uint8_t *>memchr(source + at, 38, length - at)
            run = min(<size_t>(found - source) - at if found != NULL else length - at, room - put)
            memcpy(out + put, source + at, run)
            put += run
            at += run
            continue
        used = decode_reference(source + at, length - at, True, text, &written, &is_odd)
        if used:
            if put + written > room:
                break
            memcpy(out + put, text, written)
            put += written
            at += used
            odd[0] += is_odd
            continue
        out[put] = source[at]
        put += 1
        at += 1
    return put
