"""Files that stand uuencoded in a text (POSIX uuencode), as clients show them: attachments of the part, whose text stays as it is.

A "begin" line counts only if a line of data or the end follows it. Each becomes a part of its own that begins at that line. One pass. -1
only says that there is no memory.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcmp

from esa_core._boundary cimport line_end
from esa_core._buffer cimport append
from esa_core._charset cimport CHARSET_ABSENT
from esa_core._document cimport add_source, may_read_again
from esa_core._tree cimport add_part, may_hold_part
from esa_core._types cimport *

cdef extern from "string.h":
    void *memmem(const void *haystack, size_t length, const void *needle, size_t needle_length) noexcept nogil


cdef size_t name_start(const uint8_t *text, size_t at, size_t length) noexcept nogil:
    """`at` is behind "begin ": where the file name stands behind the mode, or 0."""
    cdef size_t start = at
    while at < length and at - start < 5 and 48 <= text[at] <= 55:
        at += 1
    if at - start < 3 or at >= length or text[at] != 32:
        return 0
    while at < length and text[at] == 32:
        at += 1
    return at if at < length and text[at] != 10 and text[at] != 13 else 0


cdef bint is_data(const uint8_t *text, size_t at, size_t length) noexcept nogil:
    """Does a line of data, or the end, stand at `at`? Its first character tells how many octets it holds; blanks at its end may be lost."""
    cdef size_t end = line_end(text, at, length)
    cdef size_t digits
    while end > at and (text[end - 1] == 10 or text[end - 1] == 13):
        end -= 1
    if end == at:
        return False
    if end - at == 3 and memcmp(text + at, b"end", 3) == 0:
        return True
    digits = (<size_t>((text[at] - 32) & 63) + 2) // 3 * 4
    return 32 <= text[at] <= 96 and end - at <= digits + 3 and (end - at + 4 >= digits or digits == 0)


cdef int add_file(Document *document, uint32_t index, const uint8_t *text, size_t start, size_t end, size_t name, uint32_t *source,
                  size_t length) noexcept nogil:
    """Add text[start:end]; `source` is where the text stands, 0xFFFFFFFF if it must first be kept."""
    cdef Buffer kept = Buffer(NULL, 0, 0)
    cdef Part *part = &document.parts[index]
    cdef size_t last = line_end(text, name, end)
    cdef int added
    if not may_hold_part(document, index):
        document.flags |= part.flags
        return 0
    if source[0] == 0xFFFFFFFFu:
        if not may_read_again(document, length):
            return 0
        if append(&kept, text, length) < 0:
            return -1
        added = add_source(document, index, &kept)
        if added < 0:
            return -1
        source[0] = <uint32_t>added
    if not may_read_again(document, end - start):
        return 0
    part.flags |= UUENCODED
    document.flags |= UUENCODED
    if add_part(document, <int32_t>index, part.depth + 1, start) < 0:
        return -1
    part = &document.parts[document.n_parts - 1]
    part.source = source[0]
    part.body_end = <uint32_t>end
    part.media = MEDIA_OTHER
    part.encoding = ENCODING_UUENCODE
    part.attachment = 1
    while last > name and (text[last - 1] == 10 or text[last - 1] == 13 or text[last - 1] == 32):
        last -= 1
    part.given_name = Span(<uint32_t>name, <uint32_t>(last - name))
    part.given_charset = CHARSET_ABSENT
    return 0


cdef int find_uuencoded(Document *document, uint32_t index, const uint8_t *text, size_t length, bint decoded) noexcept nogil:
    """Add the files in the text of part `index`, which is its body, or (`decoded`) its body without transfer encoding."""
    cdef size_t base = 0 if decoded else document.parts[index].body_start
    cdef const uint8_t *whole = text - base
    cdef uint32_t source = 0xFFFFFFFFu if decoded else document.parts[index].source
    cdef size_t at = 0
    cdef size_t start, name, end
    cdef const uint8_t *found
    while at + 8 < length:
        if at == 0 and memcmp(text, b"begin ", 6) == 0:
            start = 0
        else:
            found = <const uint8_t *>memmem(text + at, length - at, b"\nbegin ", 7)
            if found == NULL:
                break
            start = <size_t>(found - text) + 1
        at = start + 6
        name = name_start(text, at, length)
        if name == 0:
            continue
        end = line_end(text, at, length)
        if not is_data(text, end, length):
            continue
        while end < length and is_data(text, end, length):
            at = end
            end = line_end(text, at, length)
            if text[at] == 101:  # "end"
                break
        if add_file(document, index, whole, base + start, base + end, base + name, &source, length) < 0:
            return -1
        at = end - 1 if end < length else length
    return 0
