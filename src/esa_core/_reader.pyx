"""Runs of HTML text → the stream they belong to: white space collapsed, character references decoded."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from esa_core._buffer cimport reserve
from esa_core._entity cimport decode_reference
from esa_core._types cimport ESA_MAX_TEXT, TEXT_TRUNCATED, Buffer


cdef inline void fill_gap(Stream *stream) noexcept nogil:
    """Write the gap before the next text; there is room for one octet."""
    cdef Buffer *buffer = stream.buffer
    if stream.gap != GAP_NONE:
        if buffer.length > stream.start:
            if stream.gap == GAP_LINE:
                buffer.data[buffer.length] = 10
                buffer.length += 1
            elif buffer.data[buffer.length - 1] != 10:
                buffer.data[buffer.length] = 32
                buffer.length += 1
        stream.gap = GAP_NONE


cdef inline void ask_gap(Stream *stream) noexcept nogil:
    if stream.gap == GAP_NONE:
        stream.gap = GAP_SPACE


cdef size_t take_reference(Reader *reader, Stream *stream, const uint8_t *source, size_t length) noexcept nogil:
    """Write what the reference at `source` means; gives its length, 0 if it is none. There is room for 7 octets."""
    cdef uint8_t text[8]
    cdef uint32_t written = 0
    cdef bint odd = False
    cdef size_t used = decode_reference(source, length, False, text, &written, &odd)
    if used:
        reader.document.html.entities_odd += odd
        if written == 1 and is_blank(text[0]):
            ask_gap(stream)
            return used
        fill_gap(stream)
        memcpy(stream.buffer.data + stream.buffer.length, text, written)
        stream.buffer.length += written
    return used


cdef int read_text(Reader *reader, size_t end, bint markup) noexcept nogil:
    """Append the text from reader.at on: up to the next "<" if there is markup, else to `end` without references; -1 for no memory."""
    cdef Stream *stream = current(reader)
    cdef Buffer *buffer = stream.buffer
    cdef const uint8_t *source = reader.source
    cdef size_t at = reader.at
    cdef size_t stop, used
    cdef uint8_t octet
    if reader.preformatted or not markup:
        stop = next_less(reader, at) if markup else end
        reader.at = stop
        return emit(reader, source + at, stop - at, markup)
    while at < end:
        octet = source[at]
        if octet == 60:
            break
        if text_class[octet] == 1:
            ask_gap(stream)
            at += 1
            if is_blank(source[at]):
                at = next_other(reader, at, end)
            continue
        if buffer.length > ESA_MAX_TEXT:
            reader.document.flags |= TEXT_TRUNCATED
            at = next_less(reader, at)
            break
        if octet == 38:
            if reserve(buffer, 64) < 0:
                return -1
            used = take_reference(reader, stream, source + at, end - at)
            if used:
                at += used
                continue
            stop = esa_next_mark(&reader.marks.text, at + 1, end)
        elif octet == 0:
            at += 1
            continue
        else:
            stop = esa_next_mark(&reader.marks.text, at, end)
        if reserve(buffer, stop - at + 64) < 0:
            return -1
        fill_gap(stream)
        esa_copy_over(buffer.data + buffer.length, source + at, stop - at)
        buffer.length += <uint32_t>(stop - at)
        if source[stop - 1] == 32:
            buffer.length -= 1
            stream.gap = GAP_SPACE
        at = stop
    reader.at = at
    return 0


cdef int emit(Reader *reader, const uint8_t *source, size_t length, bint references) noexcept nogil:
    """Append a piece of text, octet by octet; without references NUL is U+FFFD. -1 for no memory."""
    cdef Stream *stream = current(reader)
    cdef Buffer *buffer = stream.buffer
    cdef uint8_t octet
    cdef size_t at = 0
    cdef size_t used
    if length == 0:
        return 0
    while at < length:
        if buffer.length > ESA_MAX_TEXT:
            reader.document.flags |= TEXT_TRUNCATED
            return 0
        used = at
        while used < length and text_class[source[used]] == 0:
            used += 1
        if reserve(buffer, used - at + 64) < 0:
            return -1
        if used > at:
            fill_gap(stream)
            memcpy(buffer.data + buffer.length, source + at, used - at)
            buffer.length += <uint32_t>(used - at)
            at = used
            if at == length:
                return 0
        octet = source[at]
        if octet == 38 and references:
            used = take_reference(reader, stream, source + at, length - at)
            if used:
                at += used
                continue
        at += 1
        if text_class[octet] == 1 and not (reader.preformatted and octet != 13):
            ask_gap(stream)
            continue
        if octet == 0 and references:
            continue
        fill_gap(stream)
        if octet == 0:
            memcpy(buffer.data + buffer.length, b"\xef\xbf\xbd", 3)
            buffer.length += 3
            continue
        buffer.data[buffer.length] = octet
        buffer.length += 1
    return 0
