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


cdef int emit(Reader *reader, const uint8_t *source, size_t length, bint references) noexcept nogil:
    """Append a run of text to the stream it belongs to; -1 for no memory."""
    cdef Stream *stream = current(reader)
    cdef Buffer *buffer = stream.buffer
    cdef uint8_t *put
    cdef uint8_t text[8]
    cdef uint8_t octet
    cdef size_t at = 0
    cdef size_t used
    cdef uint32_t written = 0
    cdef bint odd = False
    if length == 0:
        return 0
    if buffer.length > ESA_MAX_TEXT:
        reader.document.flags |= TEXT_TRUNCATED
        return 0
    # the longest text of a reference is 6 octets for 5 (&nGt;)
    if reserve(buffer, length + length // 4 + 16) < 0:
        return -1
    while at < length:
        octet = source[at]
        if text_class[octet] == 0:
            fill_gap(stream)
            put = buffer.data + buffer.length
            while True:
                put[0] = octet
                put += 1
                at += 1
                if at >= length:
                    break
                octet = source[at]
                if text_class[octet] and not (octet == 32 and at + 1 < length and text_class[source[at + 1]] == 0):
                    break
            buffer.length = <uint32_t>(put - buffer.data)
            continue
        if octet == 38 and references:
            used = decode_reference(source + at, length - at, False, text, &written, &odd)
            if used:
                reader.document.html.entities_odd += odd
                at += used
                if written == 1 and is_blank(text[0]):
                    stream.gap = max(stream.gap, <uint32_t>GAP_SPACE)
                    continue
                fill_gap(stream)
                memcpy(buffer.data + buffer.length, text, written)
                buffer.length += written
                continue
        if octet == 38:
            fill_gap(stream)
            buffer.data[buffer.length] = 38
            buffer.length += 1
        elif text_class[octet] == 1:
            if reader.preformatted and octet != 13:
                fill_gap(stream)
                buffer.data[buffer.length] = octet
                buffer.length += 1
            else:
                stream.gap = max(stream.gap, <uint32_t>GAP_SPACE)
        at += 1
    return 0
