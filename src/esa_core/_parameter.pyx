"""Parameters of Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2231), leniently, as offsets into the raw message.

A value without quotes reaches to the next ";", as clients read `filename=a b.txt`. Every function passes its field once.
"""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._buffer cimport equals_caseless
from esa_core._types cimport Span


cdef size_t skip_comment(const uint8_t *raw, size_t at, size_t end) noexcept nogil:
    """`at` is at "(": the offset behind its matching ")", or `end`."""
    cdef size_t depth = 0
    while at < end:
        if raw[at] == 92:  # backslash
            at += 1
        elif raw[at] == 40:
            depth += 1
        elif raw[at] == 41:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return end


cdef size_t skip_blank(const uint8_t *raw, size_t at, size_t end) noexcept nogil:
    """Over white space, folds and comments."""
    while at < end:
        if is_blank(raw[at]):
            at += 1
        elif raw[at] == 40:
            at = skip_comment(raw, at, end)
        else:
            break
    return at


cdef size_t first_parameter(const uint8_t *raw, size_t at, size_t end) noexcept nogil:
    """Offset of the ";" behind the main value of a structured field, or `end`."""
    while at < end and raw[at] != 59:
        if raw[at] == 40:
            at = skip_comment(raw, at, end)
        else:
            at += 1
    return at


cdef bint next_parameter(const uint8_t *raw, size_t *at, size_t end, Parameter *parameter) noexcept nogil:
    """Read the parameter at or behind `at` and move on; False at the end. A value without quotes reaches to the next ";"."""
    cdef size_t here = at[0]
    cdef size_t start
    while here < end:
        if raw[here] == 59:
            here += 1
            continue
        here = skip_blank(raw, here, end)
        if here < end and raw[here] == 59:
            continue
        start = here
        while here < end and raw[here] != 61 and raw[here] != 59 and not is_blank(raw[here]):
            here += 1
        parameter.name = Span(<uint32_t>start, <uint32_t>(here - start))
        here = skip_blank(raw, here, end)
        if here >= end or raw[here] != 61:  # a word without "=": not a parameter
            if here == start and here < end:
                here += 1
            continue
        here = skip_blank(raw, here + 1, end)
        parameter.quoted = here < end and raw[here] == 34
        if parameter.quoted:
            here += 1
            start = here
            while here < end and raw[here] != 34:
                here += 2 if raw[here] == 92 and here + 1 < end else 1
            parameter.value = Span(<uint32_t>start, <uint32_t>(here - start))
            while here < end and raw[here] != 59:
                here += 1
        else:
            start = here
            while here < end and raw[here] != 59:
                here += 1
            at[0] = here
            while here > start and is_blank(raw[here - 1]):
                here -= 1
            parameter.value = Span(<uint32_t>start, <uint32_t>(here - start))
            return True
        at[0] = here
        return True
    at[0] = end
    return False


cdef bint is_named(const uint8_t *raw, const Parameter *parameter, const char *name, uint32_t length) noexcept nogil:
    """Is it this parameter, or (RFC 2231) the first section or extended form of it?"""
    cdef const uint8_t *written = raw + parameter.name.start
    cdef uint32_t more
    if parameter.name.length < length or not equals_caseless(written, name, length):
        return False
    more = parameter.name.length - length
    written += length
    return (
        more == 0
        or (more == 1 and written[0] == 42)
        or (more == 2 and written[0] == 42 and written[1] == 48)
        or (more == 3 and written[0] == 42 and written[1] == 48 and written[2] == 42)
    )


cdef Span behind_charset(const uint8_t *raw, const Parameter *parameter) noexcept nogil:
    """The value without RFC 2231's charset'language' if it is in the extended form (a name that ends with "*")."""
    cdef Span value = parameter.value
    cdef uint32_t quotes = 0
    cdef uint32_t at
    if raw[parameter.name.start + parameter.name.length - 1] != 42:
        return value
    for at in range(value.length):
        if raw[value.start + at] == 39:
            quotes += 1
            if quotes == 2:
                return Span(value.start + at + 1, value.length - at - 1)
    return value


cdef int hexadecimal(uint8_t octet) noexcept nogil:
    if 48 <= octet <= 57:
        return octet - 48
    return (octet | 32) - 87 if 97 <= (octet | 32) <= 102 else -1


cdef bint is_section(const uint8_t *raw, const Parameter *parameter, uint32_t stem, uint32_t wanted) noexcept nogil:
    """Is the name's RFC 2231 suffix *wanted or *wanted*?"""
    cdef uint32_t at = stem + 1
    cdef uint32_t number = 0
    if parameter.name.length < stem + 2 or raw[parameter.name.start + stem] != 42:
        return False
    while at < parameter.name.length and 48 <= raw[parameter.name.start + at] <= 57 and number < 1000:
        number = number * 10 + raw[parameter.name.start + at] - 48
        at += 1
    return number == wanted and (at == parameter.name.length or (at + 1 == parameter.name.length and raw[parameter.name.start + at] == 42))
