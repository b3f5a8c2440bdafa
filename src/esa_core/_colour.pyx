"""Colours: names, hexadecimal digits, rgb(), hsl() (CSS Color 4), and the rules of HTML for old attributes (2.3.6)."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from esa_core._buffer cimport equals_caseless, lower
from esa_core._entity cimport look_up

cdef extern from "html_tables.h" nogil:
    const uint32_t colour_MASK
    const uint16_t *colour_slots
    const uint32_t *colour_starts
    const uint8_t *colour_lengths
    const uint8_t *colour_pool
    const uint32_t *colour_rgb


cdef int hexadecimal(uint8_t octet) noexcept nogil:
    """A digit's value, -1 for anything else."""
    if 48 <= octet <= 57:
        return octet - 48
    octet = lower(octet)
    return octet - 87 if 97 <= octet <= 102 else -1


cdef uint32_t named_colour(const uint8_t *value, size_t length) noexcept nogil:
    cdef uint8_t name[24]
    cdef size_t at
    cdef uint32_t entry
    if length < 3 or length > 20:
        return COLOUR_UNKNOWN
    for at in range(length):
        name[at] = lower(value[at])
    entry = look_up(name, length, colour_MASK, colour_slots, colour_starts, colour_lengths, colour_pool)
    return colour_rgb[entry - 1] if entry else COLOUR_UNKNOWN


cdef extern from *:
    """
    #include "markup.h"
    /* Six hexadecimal digits as a number, -1 if they are no such digits; 8 octets at p may be read. */
    static inline int32_t esa_six_digits(const uint8_t *p) {
        const uint64_t ones = 0x0000010101010101ull;
        uint64_t v = esa_load(p) & ones * 0xff, low = v | ones * 0x20;
        uint64_t digit = (v + ones * (0x80 - '0')) & ~(v + ones * (0x80 - '9' - 1)) & ones * 0x80;
        uint64_t letter = (low + ones * (0x80 - 'a')) & ~(low + ones * (0x80 - 'f' - 1)) & ones * 0x80;
        if (v & ones * 0x80 || (digit | letter) != ones * 0x80) return -1;
        v = (v & ones * 15) + (letter >> 7) * 9;
        return (int32_t)((v & 15) << 20 | (v >> 8 & 15) << 16 | (v >> 16 & 15) << 12 | (v >> 24 & 15) << 8 | (v >> 32 & 15) << 4 | (v >> 40 & 15));
    }
    """
    int32_t esa_six_digits(const uint8_t *digits) noexcept nogil


cdef uint32_t hexadecimal_colour(const uint8_t *digits, size_t length) noexcept nogil:
    """3, 4, 6 or 8 digits; the alpha channel only tells whether there is a colour at all."""
    cdef uint32_t channels[4]
    cdef size_t width = 1 if length <= 4 else 2
    cdef size_t at
    cdef int digit
    channels[3] = 255
    if length not in (3, 4, 6, 8):
        return COLOUR_UNKNOWN
    for at in range(length):
        digit = hexadecimal(digits[at])
        if digit < 0:
            return COLOUR_UNKNOWN
        if width == 1:
            channels[at] = <uint32_t>digit * 17
        elif at & 1:
            channels[at >> 1] = channels[at >> 1] << 4 | <uint32_t>digit
        else:
            channels[at >> 1] = <uint32_t>digit
    if channels[3] <= 12:
        return COLOUR_TRANSPARENT
    return channels[0] << 16 | channels[1] << 8 | channels[2]


cdef bint next_number(const uint8_t *value, size_t *at, size_t length, double *number, bint *percent) noexcept nogil:
    """The next number inside the brackets of a colour function; False at their end or at something else."""
    cdef size_t here = at[0]
    cdef double scale = 1
    cdef bint negative = False
    cdef bint found = False
    while here < length and (value[here] <= 32 or value[here] == 44 or value[here] == 47):
        here += 1
    if here < length and (value[here] == 45 or value[here] == 43):
        negative = value[here] == 45
        here += 1
    number[0] = 0
    while here < length and 48 <= value[here] <= 57:
        number[0] = min(number[0] * 10 + (value[here] - 48), 1e9)
        found = True
        here += 1
    if here < length and value[here] == 46:
        here += 1
        while here < length and 48 <= value[here] <= 57:
            scale /= 10
            number[0] += (value[here] - 48) * scale
            found = True
            here += 1
    percent[0] = here < length and value[here] == 37
    if negative:
        number[0] = 0
    while here < length and value[here] > 32 and value[here] not in (41, 44, 47):  # a unit
        here += 1
    at[0] = here
    return found


cdef double of_hue(double p, double q, double hue) noexcept nogil:
    if hue < 0:
        hue += 1
    if hue > 1:
        hue -= 1
    if hue * 6 < 1:
        return p + (q - p) * 6 * hue
    if hue * 2 < 1:
        return q
    if hue * 3 < 2:
        return p + (q - p) * (2.0 / 3 - hue) * 6
    return p


cdef inline uint32_t channel(double value) noexcept nogil:
    return 255 if value >= 255 else 0 if value <= 0 else <uint32_t>(value + 0.5)


cdef uint32_t function_colour(const uint8_t *value, size_t length, bint hsl) noexcept nogil:
    """What stands behind "rgb(" or "hsl("."""
    cdef double numbers[4]
    cdef double p, q
    cdef bint percent = False
    cdef size_t at = 0
    cdef int index
    numbers[3] = 1
    for index in range(4):
        if not next_number(value, &at, length, &numbers[index], &percent):
            if index < 3:
                return COLOUR_UNKNOWN
            numbers[3] = 1
            break
        if percent:
            numbers[index] = numbers[index] * (255.0 / 100 if index < 3 and not hsl else 1.0 / 100)
        elif hsl and 0 < index < 3:
            numbers[index] /= 100
    if numbers[3] <= 0.05:
        return COLOUR_TRANSPARENT
    if not hsl:
        return channel(numbers[0]) << 16 | channel(numbers[1]) << 8 | channel(numbers[2])
    numbers[0] = numbers[0] / 360 - <double><long>(numbers[0] / 360)
    numbers[1] = min(numbers[1], 1.0)
    numbers[2] = min(numbers[2], 1.0)
    q = numbers[2] * (1 + numbers[1]) if numbers[2] < 0.5 else numbers[2] + numbers[1] - numbers[2] * numbers[1]
    p = 2 * numbers[2] - q
    return (channel(255 * of_hue(p, q, numbers[0] + 1.0 / 3)) << 16 | channel(255 * of_hue(p, q, numbers[0])) << 8
            | channel(255 * of_hue(p, q, numbers[0] - 1.0 / 3)))


cdef uint32_t read_colour(const uint8_t *value, size_t length) noexcept nogil:
    """A colour of CSS, 0xRRGGBB or COLOUR_*."""
    cdef size_t start
    if length and value[0] == 35:
        if length == 7 and esa_six_digits(value + 1) >= 0:
            return <uint32_t>esa_six_digits(value + 1)
        return hexadecimal_colour(value + 1, length - 1)
    if length > 4 and (equals_caseless(value, b"rgb", 3) or equals_caseless(value, b"hsl", 3)):
        start = 5 if lower(value[3]) == 97 and length > 5 else 4
        if value[start - 1] == 40:
            return function_colour(value + start, length - start, lower(value[0]) == 104)
    if length == 11 and equals_caseless(value, b"transparent", 11):
        return COLOUR_TRANSPARENT
    if (length == 7 and equals_caseless(value, b"inherit", 7)) or (length == 12 and equals_caseless(value, b"currentcolor", 12)):
        return COLOUR_INHERITED
    if (length == 10 and equals_caseless(value, b"windowtext", 10)) or (length == 7 and equals_caseless(value, b"initial", 7)):
        return 0
    if length == 6 and equals_caseless(value, b"window", 6):
        return 0xFFFFFF
    return named_colour(value, length)


cdef uint32_t read_legacy_colour(const uint8_t *value, size_t length) noexcept nogil:
    """The colour of an attribute: a browser makes one of any text."""
    cdef uint8_t digits[130]
    cdef size_t count = 0
    cdef size_t width, start, skip
    cdef uint32_t found, colour
    cdef int index
    while length and value[0] <= 32:
        value += 1
        length -= 1
    while length and value[length - 1] <= 32:
        length -= 1
    if length == 0 or (length == 11 and equals_caseless(value, b"transparent", 11)):
        return COLOUR_UNKNOWN
    if value[0] == 35 and length == 7 and esa_six_digits(value + 1) >= 0:
        return <uint32_t>esa_six_digits(value + 1)
    found = named_colour(value, length)
    if found != COLOUR_UNKNOWN:
        return found
    if length == 4 and value[0] == 35 and hexadecimal_colour(value + 1, 3) != COLOUR_UNKNOWN:
        return hexadecimal_colour(value + 1, 3)
    length = min(length, <size_t>128)
    for start in range(1 if value[0] == 35 else 0, length):
        digits[count] = value[start] if hexadecimal(value[start]) >= 0 else 48
        count += 1
    while count == 0 or count % 3:
        digits[count] = 48
        count += 1
    width = count // 3
    skip = width - 8 if width > 8 else 0
    while width - skip > 2 and digits[skip] == 48 and digits[width + skip] == 48 and digits[2 * width + skip] == 48:
        skip += 1
    colour = 0
    for index in range(3):
        start = index * width + skip
        found = <uint32_t>hexadecimal(digits[start])
        if width - skip > 1:
            found = found << 4 | <uint32_t>hexadecimal(digits[start + 1])
        colour = colour << 8 | found
    return colour
