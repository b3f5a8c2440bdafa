"""Growing memory without exceptions: every function gives 0, or -1 when there is no memory, and leaves the old contents valid."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, strlen

from esa_core._types cimport ESA_PADDING, Buffer


cdef inline int grow(void **memory, uint32_t *capacity, size_t needed, size_t size) noexcept nogil:
    """Room for at least `needed` items of `size` bytes, doubling; ESA_PADDING bytes more than that are allocated."""
    cdef size_t more = capacity[0]
    cdef void *moved
    if needed <= more:
        return 0
    if needed > 0xFFFFFFFFu:
        return -1
    more = max(needed, min(2 * more, <size_t>0xFFFFFFFFu), <size_t>64)
    moved = realloc(memory[0], more * size + ESA_PADDING)
    if moved == NULL:
        return -1
    memory[0] = moved
    capacity[0] = <uint32_t>more
    return 0


cdef inline int reserve(Buffer *buffer, size_t more) noexcept nogil:
    """Room for `more` octets behind the contents."""
    if more <= buffer.capacity - buffer.length:
        return 0
    return grow(<void **>&buffer.data, &buffer.capacity, <size_t>buffer.length + more, 1)


cdef inline int append(Buffer *buffer, const uint8_t *source, size_t length) noexcept nogil:
    if reserve(buffer, length) < 0:
        return -1
    if length:
        memcpy(buffer.data + buffer.length, source, length)
        buffer.length += <uint32_t>length
    return 0


cdef inline int append_octet(Buffer *buffer, uint8_t octet) noexcept nogil:
    if reserve(buffer, 1) < 0:
        return -1
    buffer.data[buffer.length] = octet
    buffer.length += 1
    return 0


cdef inline size_t encode_utf8(uint8_t *out, uint32_t point) noexcept nogil:
    """Write one code point (not a surrogate, at most 0x10FFFF); gives its 1 to 4 octets' count."""
    if point < 0x80:
        out[0] = <uint8_t>point
        return 1
    if point < 0x800:
        out[0] = <uint8_t>(0xC0 | (point >> 6))
        out[1] = <uint8_t>(0x80 | (point & 0x3F))
        return 2
    if point < 0x10000:
        out[0] = <uint8_t>(0xE0 | (point >> 12))
        out[1] = <uint8_t>(0x80 | ((point >> 6) & 0x3F))
        out[2] = <uint8_t>(0x80 | (point & 0x3F))
        return 3
    out[0] = <uint8_t>(0xF0 | (point >> 18))
    out[1] = <uint8_t>(0x80 | ((point >> 12) & 0x3F))
    out[2] = <uint8_t>(0x80 | ((point >> 6) & 0x3F))
    out[3] = <uint8_t>(0x80 | (point & 0x3F))
    return 4


cdef inline size_t whole_characters(const uint8_t *text, size_t length) noexcept nogil:
    """`length` of UTF-8 that was cut there, without the character that lost its end."""
    cdef size_t at = length
    while at and text[at - 1] & 0xC0 == 0x80 and length - at < 3:
        at -= 1
    if at == 0 or text[at - 1] < 0xC0:
        return length
    return length if length - at + 1 >= (2 if text[at - 1] < 0xE0 else 3 if text[at - 1] < 0xF0 else 4) else at - 1


cdef inline uint8_t lower(uint8_t octet) noexcept nogil:
    return octet | 0x20 if 65 <= octet <= 90 else octet


cdef inline bint equals_caseless(const uint8_t *octets, const char *lower_case, size_t length) noexcept nogil:
    """Are `length` octets the given lower-case ASCII word?"""
    cdef size_t at
    for at in range(length):
        if lower(octets[at]) != <uint8_t>lower_case[at]:
            return False
    return True


cdef struct Word:                # an entry of a table that ends with the text NULL
    const char *text             # ASCII in lower case
    uint32_t meaning


cdef inline uint32_t meaning_of(const Word *words, const uint8_t *text, size_t length, uint32_t otherwise) noexcept nogil:
    """What a word means by a table, in any case; `otherwise` if it does not stand there."""
    while words.text != NULL:
        if strlen(words.text) == length and equals_caseless(text, words.text, length):
            return words.meaning
        words += 1
    return otherwise
