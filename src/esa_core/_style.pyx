"""The few properties of an inline style that decide whether text is shown; every other property is passed over.

Unshown are: display: none; mso-hide: all; opacity: 0; height or max-height: 0 with overflow: hidden; visibility: hidden or collapse;
font-size: 0 (of any unit, or up to 1 px or pt). Rules of style sheets are not applied.
"""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._buffer cimport equals_caseless

cdef struct Declaration:
    const uint8_t *name
    size_t name_length
    const uint8_t *value
    size_t value_length


cdef inline bint is_blank(uint8_t octet) noexcept nogil:
    return octet == 32 or 9 <= octet <= 13


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


cdef bint next_declaration(const uint8_t *style, size_t *at, size_t length, Declaration *declaration) noexcept nogil:
    cdef size_t here = at[0]
    cdef size_t start, end
    cdef size_t brackets = 0
    while here < length:
        here = skip_blank(style, here, length)
        start = here
        while here < length and style[here] != 58 and style[here] != 59:
            here += 1
        if here >= length:
            break
        if style[here] == 59:
            here += 1
            continue
        end = here
        while end > start and is_blank(style[end - 1]):
            end -= 1
        declaration.name = style + start
        declaration.name_length = end - start
        here = skip_blank(style, here + 1, length)
        start = here
        while here < length and (style[here] != 59 or brackets):
            if style[here] == 40:
                brackets += 1
            elif style[here] == 41 and brackets:
                brackets -= 1
            here += 1
        end = here
        while end > start and is_blank(style[end - 1]):
            end -= 1
        declaration.value = style + start
        declaration.value_length = end - start
        at[0] = here + 1
        return True
    return False


cdef bint is_property(const Declaration *declaration, const char *name, size_t length) noexcept nogil:
    return declaration.name_length == length and equals_caseless(declaration.name, name, length)


cdef bint has_value(const Declaration *declaration, const char *word, size_t length) noexcept nogil:
    """Does the value begin with this word (then !important or the end)?"""
    if declaration.value_length < length or not equals_caseless(declaration.value, word, length):
        return False
    return declaration.value_length == length or is_blank(declaration.value[length]) or declaration.value[length] == 33


cdef int read_number(const Declaration *declaration, const uint8_t **unit, size_t *unit_length) noexcept nogil:
    """A non-negative number: its value in thousandths, at most 1,000,000; -1 if there is none."""
    cdef const uint8_t *value = declaration.value
    cdef size_t at = 0
    cdef int number = 0
    cdef int scale = 1000
    cdef bint found = False
    while at < declaration.value_length and 48 <= value[at] <= 57:
        number = min(number * 10 + (value[at] - 48) * 1000, 1000000)
        found = True
        at += 1
    if at < declaration.value_length and value[at] == 46:
        at += 1
        while at < declaration.value_length and 48 <= value[at] <= 57:
            scale //= 10
            number += (value[at] - 48) * scale
            found = True
            at += 1
    unit[0] = value + at
    unit_length[0] = declaration.value_length - at
    return number if found else -1


cdef bint is_nothing(const Declaration *declaration) noexcept nogil:
    cdef const uint8_t *unit
    cdef size_t unit_length
    return read_number(declaration, &unit, &unit_length) == 0


cdef uint32_t read_font_size(const Declaration *declaration, uint32_t inherited) noexcept nogil:
    cdef const uint8_t *unit
    cdef size_t unit_length
    cdef int size = read_number(declaration, &unit, &unit_length)
    cdef bint relative
    if size < 0:  # "small", "inherit", ...
        if has_value(declaration, b"inherit", 7):
            return inherited
        return inherited & ~<uint32_t>UNSHOWN_SIZE
    if size == 0:
        return inherited | UNSHOWN_SIZE
    relative = unit_length >= 1 and (unit[0] == 37 or (unit_length >= 2 and equals_caseless(unit, b"em", 2)))
    if relative:
        return inherited
    if size <= 1000 and unit_length >= 2 and (equals_caseless(unit, b"px", 2) or equals_caseless(unit, b"pt", 2)):
        return inherited | UNSHOWN_SIZE
    return inherited & ~<uint32_t>UNSHOWN_SIZE


cdef uint32_t read_style(const uint8_t *style, size_t length, uint32_t inherited) noexcept nogil:
    """The UNSHOWN_* bits of an element with this style inside one with the bits `inherited`."""
    cdef uint32_t state = inherited
    cdef size_t at = 0
    cdef Declaration declaration
    cdef bint flat = False
    cdef bint clipped = False
    while next_declaration(style, &at, length, &declaration):
        if declaration.name_length < 6 or declaration.name_length > 10:
            continue
        if is_property(&declaration, b"display", 7):
            if has_value(&declaration, b"none", 4):
                state |= UNSHOWN_FOR_GOOD
        elif is_property(&declaration, b"visibility", 10):
            if has_value(&declaration, b"hidden", 6) or has_value(&declaration, b"collapse", 8):
                state |= UNSHOWN_VISIBILITY
            elif has_value(&declaration, b"visible", 7):
                state &= ~<uint32_t>UNSHOWN_VISIBILITY
        elif is_property(&declaration, b"font-size", 9):
            state = read_font_size(&declaration, state)
        elif is_property(&declaration, b"mso-hide", 8):
            if has_value(&declaration, b"all", 3):
                state |= UNSHOWN_FOR_GOOD
        elif is_property(&declaration, b"opacity", 7):
            if is_nothing(&declaration):
                state |= UNSHOWN_FOR_GOOD
        elif is_property(&declaration, b"max-height", 10) or is_property(&declaration, b"height", 6):
            flat |= is_nothing(&declaration)
        elif is_property(&declaration, b"overflow", 8):
            clipped |= has_value(&declaration, b"hidden", 6)
    if flat and clipped:
        state |= UNSHOWN_FOR_GOOD
    return state
