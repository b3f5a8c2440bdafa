"""The properties of a style that decide whether text is shown; every other property is passed over.

Unshown are: display: none; mso-hide: all; opacity up to 0.05; no height or width (or a maximum of that) with overflow: hidden;
visibility: hidden or collapse; a font of up to one pixel or point; the colour of the background, or a transparent one; a position, margin
or indent far off the page; a clip or scale to nothing. A later declaration takes the place of an earlier one, `!important` bars that.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._buffer cimport equals_caseless
from esa_core._colour cimport COLOUR_INHERITED, COLOUR_TRANSPARENT, COLOUR_UNKNOWN, are_alike, read_colour

cdef extern from *:
    """
    /* Past this many pixels to the left or above, nothing is on the page: spam has -9999px, menus of a page move by less. */
    #define FAR_AWAY 400000
    /* A declaration's value is looked at up to here: no value that hides text is longer. */
    #define LONGEST_VALUE 512
    """
    const int FAR_AWAY
    const size_t LONGEST_VALUE

cdef extern from *:
    """
    #include "markup.h"
    #include "html_tables.h"
    typedef struct {             /* the octets that part declarations, 64 octets at a time */
        const unsigned char *text;
        size_t length, base;
        uint64_t bits;           /* which of the 64 from `base` on are one of : ; ( ) */
    } esa_breaks;
    static inline uint64_t esa_break_bits(const unsigned char *text) {
        uint64_t bits = 0;
        int k;
    #ifdef __SSE2__
        const __m128i but_last = _mm_set1_epi8(-2), colon = _mm_set1_epi8(':'), open = _mm_set1_epi8('(');  /* each with the octet behind it */
        for (k = 0; k < 64; k += 16) {
            __m128i here = _mm_and_si128(_mm_loadu_si128((const __m128i *)(text + k)), but_last);
            here = _mm_or_si128(_mm_cmpeq_epi8(here, colon), _mm_cmpeq_epi8(here, open));
            bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(here) << k;
        }
    #else
        for (k = 0; k < 64; k++) bits |= (uint64_t)((text[k] & 254) == ':' || (text[k] & 254) == '(') << k;
    #endif
        return bits;
    }
    /* Offset of the first of these octets at or behind `at`, or the length. */
    static inline size_t esa_next_break(esa_breaks *breaks, size_t at) {
        while (at < breaks->length) {
            if (at - breaks->base < 64) {
                uint64_t bits = breaks->bits >> (at - breaks->base);
                if (bits) {
                    at += (size_t)__builtin_ctzll(bits);
                    break;
                }
                at = breaks->base + 64;
            } else {
                breaks->base = at;
                breaks->bits = esa_break_bits(breaks->text + at);
            }
        }
        return at < breaks->length ? at : breaks->length;
    }
    static inline unsigned esa_find_property(const unsigned char *p, size_t n) {
        if (n > 16 || !(property_sizes[*p] >> n & 1)) return 0;
        ESA_FIND_NAME(property, p, n)
    }
    """
    ctypedef struct esa_breaks:
        const uint8_t *text
        size_t length
        size_t base
        uint64_t bits
    size_t esa_next_break(esa_breaks *breaks, size_t at) noexcept nogil
    uint32_t find_property "esa_find_property"(const uint8_t *name, size_t length) noexcept nogil

cdef inline bint is_blank(uint8_t octet) noexcept nogil:
    return octet <= 32 and (octet == 32 or 9 <= octet <= 13)


cdef size_t skip_blank(const uint8_t *style, size_t at, size_t length) noexcept nogil:
    """Over white space and comments."""
    while at < length:
        if is_blank(style[at]):
            at += 1
        elif at + 1 < length and style[at] == 47 and style[at + 1] == 42:
            at += 3
            while at < length and not (style[at] == 47 and style[at - 1] == 42):
                at += 1
            at += 1
        else:
            break
    return min(at, length)


cdef bint cut_important(const uint8_t *value, size_t *length) noexcept nogil:
    """Cut white space and "!important" off the end of a value; whether it was there."""
    cdef size_t end = length[0]
    cdef bint important = False
    while end and is_blank(value[end - 1]):
        end -= 1
    if end > 9 and value[end - 1] | 32 == 116 and equals_caseless(value + end - 9, b"important", 9):
        end -= 9
        while end and is_blank(value[end - 1]):
            end -= 1
        important = end and value[end - 1] == 33
        end -= important
        while end and is_blank(value[end - 1]):
            end -= 1
    length[0] = end
    return important


# ---- values ----

cdef bint has_word(const uint8_t *value, size_t length, const char *word, size_t word_length) noexcept nogil:
    """Does the value begin with this word?"""
    if length < word_length or not equals_caseless(value, word, word_length):
        return False
    return length == word_length or is_blank(value[word_length]) or value[word_length] == 40 or value[word_length] == 47


cdef bint read_number(const uint8_t *value, size_t length, int *thousandths, size_t *used) noexcept nogil:
    """A number in thousandths, between -1,000,000,000 and 1,000,000,000; False if the value does not begin with one."""
    cdef size_t at = 0
    cdef int number = 0
    cdef int scale = 1000
    cdef bint found = False
    cdef bint negative = False
    if at < length and (value[0] == 45 or value[0] == 43):
        negative = value[0] == 45
        at = 1
    while at < length and 48 <= value[at] <= 57:
        number = min(number * 10 + (value[at] - 48) * 1000, 100000000)
        found = True
        at += 1
    if at < length and value[at] == 46:
        at += 1
        while at < length and 48 <= value[at] <= 57:
            scale //= 10
            number += (value[at] - 48) * scale
            found = True
            at += 1
    thousandths[0] = -number if negative else number
    used[0] = at
    return found


cdef bint read_length(const uint8_t *value, size_t length, int *thousandths, bint *relative) noexcept nogil:
    """A length in thousandths of a pixel; `relative`: in thousandths of the inherited size (em, %). False if there is none."""
    cdef size_t at
    cdef const uint8_t *unit
    cdef size_t left
    relative[0] = False
    if not read_number(value, length, thousandths, &at):
        return False
    unit = value + at
    left = length - at
    if left >= 1 and unit[0] == 37:
        relative[0] = True
        thousandths[0] //= 100
    elif left >= 3 and equals_caseless(unit, b"rem", 3):
        thousandths[0] = min(max(thousandths[0], -50000000), 50000000) * 16
    elif left >= 2 and equals_caseless(unit, b"em", 2):
        relative[0] = True
    elif left >= 2 and equals_caseless(unit, b"ex", 2):
        relative[0] = True
        thousandths[0] //= 2
    elif left >= 2 and equals_caseless(unit, b"pt", 2):
        thousandths[0] += thousandths[0] // 3
    elif left >= 2 and (unit[0] | 32) in (99, 105, 109, 118):  # cm, in, mm, vw, ...: many pixels each
        thousandths[0] = min(max(thousandths[0], -50000000), 50000000) * 10
    return True


cdef uint32_t font_size(const uint8_t *value, size_t length) noexcept nogil:
    cdef int size
    cdef bint relative
    if not read_length(value, length, &size, &relative):  # "small", "inherit", ...
        return SIZE_INHERITED if has_word(value, length, b"inherit", 7) else SIZE_USUAL
    if size < 0:
        return SIZE_INHERITED
    return min(<uint32_t>size, <uint32_t>0x3FFFFFFF) | (SIZE_RELATIVE if relative and size else 0)


cdef bint is_nothing(const uint8_t *value, size_t length) noexcept nogil:
    """A length of up to one pixel, or no share at all."""
    cdef int size
    cdef bint relative
    return read_length(value, length, &size, &relative) and size <= (0 if relative else 1000) and size >= 0


cdef bint is_far(const uint8_t *value, size_t length) noexcept nogil:
    cdef int size
    cdef bint relative
    if not read_length(value, length, &size, &relative):
        return False
    return size <= (-20000 if relative else -FAR_AWAY)


cdef bint clips_to_nothing(const uint8_t *value, size_t length, bint is_path) noexcept nogil:
    """rect(a, b, c, d) without area; inset(50 % or more), circle(0)."""
    cdef int edges[4]
    cdef int number
    cdef bint relative
    cdef size_t at = 0
    cdef int count = 0
    while at < length and value[at] != 40:
        at += 1
    if at == length:
        return False
    at += 1
    while at < length and count < 4:
        while at < length and (is_blank(value[at]) or value[at] == 44):
            at += 1
        if at == length or not read_length(value + at, length - at, &number, &relative):
            break
        edges[count] = number
        count += 1
        if is_path and has_word(value, length, b"circle", 6):
            return number <= 0
        if is_path and has_word(value, length, b"inset", 5):
            return relative and number >= 500
        while at < length and not is_blank(value[at]) and value[at] != 44 and value[at] != 41:
            at += 1
    if is_path or not has_word(value, length, b"rect", 4):
        return False
    return count == 4 and (edges[2] - edges[0] <= 1000 or edges[1] - edges[3] <= 1000)


cdef uint32_t background_colour(const uint8_t *value, size_t length) noexcept nogil:
    """Of the shorthand: its one colour, COLOUR_UNKNOWN if there is an image, COLOUR_TRANSPARENT if there is neither."""
    cdef size_t at = 0
    cdef size_t start
    cdef size_t brackets
    cdef uint32_t colour, found = COLOUR_TRANSPARENT
    while at < length:
        while at < length and is_blank(value[at]):
            at += 1
        start = at
        brackets = 0
        while at < length and (brackets or not is_blank(value[at])):
            if value[at] == 40:
                brackets += 1
            elif value[at] == 41 and brackets:
                brackets -= 1
            at += 1
        if at == start:
            break
        if value[at - 1] == 41 and not equals_caseless(value + start, b"rgb", 3) and not equals_caseless(value + start, b"hsl", 3):
            return COLOUR_UNKNOWN
        colour = read_colour(value + start, at - start)
        if colour < COLOUR_UNKNOWN or colour == COLOUR_INHERITED:
            found = colour
    return found


cdef uint32_t shorthand_size(const uint8_t *value, size_t length) noexcept nogil:
    """Of the font shorthand: the first number that has a unit or is 0; SIZE_USUAL if there is none."""
    cdef size_t at = 0
    cdef size_t used
    cdef int number
    while at < length:
        while at < length and is_blank(value[at]):
            at += 1
        if at < length and read_number(value + at, length - at, &number, &used):
            if number == 0 or (at + used < length and not is_blank(value[at + used])):
                return font_size(value + at, length - at)
        while at < length and not is_blank(value[at]):
            at += 1
    return SIZE_USUAL


# ---- the doors ----

cdef inline void put(Style *found, uint32_t name, uint32_t value, bint important) noexcept nogil:
    if found.important >> name & 1 and not important:
        return
    found.given |= <uint32_t>1 << name
    if important:
        found.important |= <uint32_t>1 << name
    found.value[name] = value


cdef void take(uint32_t name, const uint8_t *value, size_t length, Style *found) noexcept nogil:
    """One declaration; white space may stand behind its value."""
    cdef bint important = cut_important(value, &length)
    cdef uint32_t number = 0
    cdef int share = 0
    cdef size_t used
    length = min(length, LONGEST_VALUE)
    if name == P_DISPLAY:
        number = has_word(value, length, b"none", 4)
    elif name == P_VISIBILITY:
        if has_word(value, length, b"hidden", 6) or has_word(value, length, b"collapse", 8):
            number = 1
        elif not has_word(value, length, b"visible", 7):
            number = 2
    elif name == P_OPACITY:
        number = read_number(value, length, &share, &used) and share <= (50 if used == length or value[used] != 37 else 5000)
    elif name == P_SIZE:
        number = font_size(value, length)
    elif name == P_COLOUR:
        number = read_colour(value, length)
    elif name == P_BACKGROUND:
        number = read_colour(value, length)
    elif name in (P_HEIGHT, P_MAX_HEIGHT, P_WIDTH, P_MAX_WIDTH):
        number = is_nothing(value, length)
    elif name == P_OVERFLOW:
        number = has_word(value, length, b"hidden", 6) or has_word(value, length, b"clip", 4)
    elif name == P_POSITION:
        number = has_word(value, length, b"absolute", 8) or has_word(value, length, b"fixed", 5)
    elif name in (P_OFFSET, P_MARGIN, P_INDENT):
        number = is_far(value, length)
        if number == 0 and name != P_INDENT and found.given >> name & 1:  # left and top share it
            return
    elif name == P_CLIP or name == P_CLIP_PATH:
        number = clips_to_nothing(value, length, name == P_CLIP_PATH)
    elif name == P_MSO_HIDE:
        number = has_word(value, length, b"all", 3)
    elif name == P_TRANSFORM:
        number = length > 6 and equals_caseless(value, b"scale", 5) and clips_scale(value, length)
    elif name == P_FONT_SHORTHAND:
        name, number = P_SIZE, shorthand_size(value, length)
    elif name == P_BACKGROUND_SHORTHAND:
        name, number = P_BACKGROUND, background_colour(value, length)
    elif name == P_BACKGROUND_IMAGE:
        if has_word(value, length, b"none", 4):
            return
        name, number = P_BACKGROUND, COLOUR_UNKNOWN
    elif name == P_FILTER:
        if not (length > 14 and equals_caseless(value, b"alpha(opacity=", 14) and read_number(value + 14, length - 14, &share, &used)):
            return
        name, number = P_OPACITY, share <= 5000
    put(found, name, number, important)


cdef bint clips_scale(const uint8_t *value, size_t length) noexcept nogil:
    """scale(0), scaleX(0), ..."""
    cdef size_t at = 5
    cdef size_t used
    cdef int share
    while at < length and value[at] != 40:
        at += 1
    at += 1
    while at < length and is_blank(value[at]):
        at += 1
    return at < length and read_number(value + at, length - at, &share, &used) and 0 <= share <= 20


cdef void read_style(const uint8_t *style, size_t length, Style *found) noexcept nogil:
    """What the declarations say; the text of a style attribute or of the braces of a rule, with 64 octets behind it that may be read."""
    cdef esa_breaks breaks = esa_breaks(style, length, <size_t>0 - 64, 0)
    cdef size_t at = 0
    cdef size_t name, name_end, value, brackets
    cdef uint32_t number
    found.given = found.important = 0
    while at < length:
        if is_blank(style[at]):
            at += 1
            continue
        name = at if style[at] != 47 else skip_blank(style, at, length)
        at = esa_next_break(&breaks, name)
        while at < length and style[at] < 58:  # a bracket
            at = esa_next_break(&breaks, at + 1)
        if at >= length:
            return
        if style[at] == 59:
            at += 1
            continue
        name_end = at
        while name_end > name and is_blank(style[name_end - 1]):
            name_end -= 1
        at += 1
        while at < length and is_blank(style[at]):
            at += 1
        value = at if at >= length or style[at] != 47 else skip_blank(style, at, length)
        at = esa_next_break(&breaks, value)
        brackets = 0
        while at < length and (style[at] != 59 or brackets):
            if style[at] == 40:
                brackets += 1
            elif style[at] == 41 and brackets:
                brackets -= 1
            at = esa_next_break(&breaks, at + 1)
        number = find_property(style + name, name_end - name)
        if number:
            take(number, style + value, at - value, found)
        at += 1


cdef extern from *:
    int lowest_bit "__builtin_ctz"(unsigned int bits) noexcept nogil


cdef void add_style(Style *style, const Style *more) noexcept nogil:
    """Put `more`, which comes later, over `style`."""
    cdef uint32_t bits = more.given & ~(style.important & ~more.important)
    cdef uint32_t name
    style.given |= bits
    style.important |= more.important
    while bits:
        name = lowest_bit(bits)
        style.value[name] = more.value[name]
        bits &= bits - 1


cdef inline bint says(const Style *style, uint32_t name) noexcept nogil:
    return style.given >> name & 1 and style.value[name] == 1


cdef uint32_t HIDING = (  # the properties of which one or several hide an element for good
    1 << P_DISPLAY | 1 << P_MSO_HIDE | 1 << P_OPACITY | 1 << P_MARGIN | 1 << P_CLIP_PATH | 1 << P_TRANSFORM | 1 << P_POSITION | 1 << P_OVERFLOW
)


cdef void apply_style(Look *look, const Style *style) noexcept nogil:
    """`look` of the text around an element → of the text inside it."""
    cdef uint32_t value
    if style.given & HIDING and (
            says(style, P_DISPLAY) or says(style, P_MSO_HIDE) or says(style, P_OPACITY) or says(style, P_MARGIN) or says(style, P_CLIP_PATH)
            or says(style, P_TRANSFORM) or (says(style, P_POSITION) and (says(style, P_OFFSET) or says(style, P_CLIP)))
            or (says(style, P_OVERFLOW) and (says(style, P_HEIGHT) or says(style, P_MAX_HEIGHT) or says(style, P_WIDTH)
                                             or says(style, P_MAX_WIDTH)))):
        look.state |= UNSHOWN_FOR_GOOD
    if style.given >> P_VISIBILITY & 1 and style.value[P_VISIBILITY] != 2:
        look.state = look.state & ~<uint32_t>UNSHOWN_VISIBILITY | (UNSHOWN_VISIBILITY if style.value[P_VISIBILITY] else 0)
    if style.given >> P_INDENT & 1:
        look.state = look.state & ~<uint32_t>UNSHOWN_INDENT | (UNSHOWN_INDENT if style.value[P_INDENT] else 0)
    if style.given >> P_SIZE & 1:
        value = style.value[P_SIZE]
        if value & SIZE_RELATIVE:
            look.size = <uint32_t>min(<unsigned long long>look.size * (value & 0x3FFFFFFF) // 1000, <unsigned long long>0x3FFFFFFF)
        elif not value & SIZE_INHERITED:
            look.size = value
        look.state = look.state & ~<uint32_t>UNSHOWN_SIZE | (UNSHOWN_SIZE if look.size <= SIZE_UNREADABLE else 0)
    if style.given >> P_BACKGROUND & 1:
        value = style.value[P_BACKGROUND]
        if value != COLOUR_TRANSPARENT and value != COLOUR_INHERITED:
            look.background = value
    if style.given >> P_COLOUR & 1 and style.value[P_COLOUR] != COLOUR_INHERITED:
        look.colour = style.value[P_COLOUR]
    if style.given & (1 << P_COLOUR | 1 << P_BACKGROUND):
        look.state &= ~<uint32_t>UNSHOWN_COLOUR
        if are_alike(look.colour, look.background) or (look.colour == COLOUR_TRANSPARENT and look.background != COLOUR_UNKNOWN):
            look.state |= UNSHOWN_COLOUR
