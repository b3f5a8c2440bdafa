"""Content-Type, Content-Transfer-Encoding and Content-Disposition of a part (RFC 2045, 2183, 2231), leniently.

What is malformed is read as the RFC's default and flagged. Nothing here can raise; -1 only says that there is no memory.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp

from esa_core._boundary cimport Frame, read_boundary
from esa_core._buffer cimport equals_caseless
from esa_core._charset cimport find_charset
from esa_core._header cimport Header
from esa_core._parameter cimport Parameter, behind_charset, first_parameter, is_blank, is_named, is_section, next_parameter, skip_blank
from esa_core._types cimport *


cdef void read_media_type(const uint8_t *raw, size_t at, size_t end, Part *part) noexcept nogil:
    """Set media and media_type of "type/subtype"; anything else is text/plain (RFC 2045 5.2)."""
    cdef size_t start = skip_blank(raw, at, end)
    cdef size_t slash = 0
    cdef uint32_t length
    cdef const uint8_t *written
    at = start
    while at < end and not is_blank(raw[at]) and raw[at] != 59 and raw[at] != 40:
        if raw[at] == 47:
            if slash:
                part.flags |= AMBIGUOUS
                return
            slash = at
        at += 1
    if slash == 0 or slash == start or slash + 1 == at:
        if at > start:
            part.flags |= AMBIGUOUS
        return
    written = raw + start
    length = <uint32_t>(at - start)
    part.media_type = Span(<uint32_t>start, length)
    part.media = MEDIA_OTHER
    if equals_caseless(written, b"text/", min(length, 5)):
        part.media = MEDIA_TEXT_OTHER
        if length == 10 and equals_caseless(written, b"text/plain", 10):
            part.media = MEDIA_TEXT_PLAIN
        elif length == 9 and equals_caseless(written, b"text/html", 9):
            part.media = MEDIA_TEXT_HTML
    elif length > 10 and equals_caseless(written, b"multipart/", 10):
        part.media = MEDIA_MULTIPART
    elif length == 14 and equals_caseless(written, b"message/rfc822", 14):
        part.media = MEDIA_MESSAGE
    elif length == 14 and equals_caseless(written, b"message/global", 14):
        part.media = MEDIA_MESSAGE
    elif length == 12 and equals_caseless(written, b"message/news", 12):
        part.media = MEDIA_MESSAGE
    elif length == 21 and equals_caseless(written, b"application/xhtml+xml", 21):
        part.media = MEDIA_TEXT_HTML


cdef int read_content_type(Document *document, Part *part, const HeaderField *field, Frame *frame) noexcept nogil:
    """Media type, charset, boundary (frame.length stays 0 without one) and whether there is a name; -1 for no memory."""
    cdef const uint8_t *raw = document.raw
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t at = first_parameter(raw, field.value_start, end)
    cdef Parameter parameter
    cdef uint32_t length
    cdef uint32_t section = 0    # of a boundary in RFC 2231 sections: the one that is wanted next, 0 if it has none
    read_media_type(raw, field.value_start, end, part)
    while next_parameter(raw, &at, end, &parameter):
        if is_named(raw, &parameter, b"charset", 7):
            if part.charset_label.length == 0:
                part.charset_label = behind_charset(raw, &parameter)
                for length in range(part.charset_label.length):  # charset=us-ascii (plain text)
                    if is_blank(raw[part.charset_label.start + length]) or raw[part.charset_label.start + length] == 40:
                        part.charset_label.length = length
                        break
            elif not same_octets(raw, part.charset_label, behind_charset(raw, &parameter)):
                part.flags |= AMBIGUOUS
        elif is_named(raw, &parameter, b"boundary", 8) and part.media == MEDIA_MULTIPART:
            if part.boundary.length == 0:
                section = 1 if is_section(raw, &parameter, 8, 0) else 0
                if read_boundary(document, part, &parameter, frame) < 0:
                    return -1
            else:
                part.flags |= ODD_BOUNDARY | AMBIGUOUS
        elif section and parameter.name.length > 8 and equals_caseless(raw + parameter.name.start, b"boundary", 8) and is_section(
                raw, &parameter, 8, section):
            section += 1
            if read_boundary(document, part, &parameter, frame) < 0:
                return -1
        elif is_named(raw, &parameter, b"name", 4):
            part.attachment = 1
    if part.charset_label.length:
        part.charset = <uint16_t>find_charset(raw + part.charset_label.start, part.charset_label.length)
    if part.media == MEDIA_MULTIPART and frame.length == 0:
        part.flags |= ODD_BOUNDARY
    return 0


cdef bint same_octets(const uint8_t *raw, Span one, Span other) noexcept nogil:
    return one.length == other.length and memcmp(raw + one.start, raw + other.start, one.length) == 0


cdef void read_encoding(Document *document, Part *part, const HeaderField *field) noexcept nogil:
    cdef const uint8_t *raw = document.raw
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t start = skip_blank(raw, field.value_start, end)
    cdef size_t at = start
    cdef size_t length
    while at < end and not is_blank(raw[at]) and raw[at] != 59 and raw[at] != 40:
        at += 1
    length = at - start
    part.encoding = ENCODING_UNKNOWN
    if length == 0 or (length == 4 and (equals_caseless(raw + start, b"7bit", 4) or equals_caseless(raw + start, b"8bit", 4))):
        part.encoding = ENCODING_IDENTITY
    elif length == 6 and equals_caseless(raw + start, b"binary", 6):
        part.encoding = ENCODING_IDENTITY
    elif length == 6 and equals_caseless(raw + start, b"base64", 6):
        part.encoding = ENCODING_BASE64
    elif length == 16 and equals_caseless(raw + start, b"quoted-printable", 16):
        part.encoding = ENCODING_QUOTED_PRINTABLE
    elif length == 3 and equals_caseless(raw + start, b"uue", 3):
        part.encoding = ENCODING_UUENCODE
    elif length == 8 and equals_caseless(raw + start, b"uuencode", 8):
        part.encoding = ENCODING_UUENCODE
    elif length == 10 and equals_caseless(raw + start, b"x-uuencode", 10):
        part.encoding = ENCODING_UUENCODE
    elif length == 5 and equals_caseless(raw + start, b"x-uue", 5):
        part.encoding = ENCODING_UUENCODE


cdef void read_disposition(Document *document, Part *part, const HeaderField *field) noexcept nogil:
    cdef const uint8_t *raw = document.raw
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t start = skip_blank(raw, field.value_start, end)
    cdef size_t at = first_parameter(raw, start, end)
    cdef Parameter parameter
    if at - start >= 10 and equals_caseless(raw + start, b"attachment", 10):
        part.attachment = 1
    elif at - start >= 6 and equals_caseless(raw + start, b"inline", 6):
        part.attachment = 0
    else:
        while next_parameter(raw, &at, end, &parameter):
            if is_named(raw, &parameter, b"filename", 8):
                part.attachment = 1


cdef int read_mime_fields(Document *document, uint32_t index, const Header *header, bint digest, Frame *frame) noexcept nogil:
    cdef Part *part = &document.parts[index]
    if digest:  # RFC 2046 5.1.5: the default inside a digest
        part.media = MEDIA_MESSAGE
    if header.content_type >= 0:
        if read_content_type(document, part, &document.fields[header.content_type], frame) < 0:
            return -1
    if header.encoding >= 0:
        read_encoding(document, part, &document.fields[header.encoding])
    if header.disposition >= 0:
        read_disposition(document, part, &document.fields[header.disposition])
    if part.media == MEDIA_MULTIPART or part.media == MEDIA_MESSAGE:
        if part.encoding != ENCODING_IDENTITY:  # RFC 2045 6.4 forbids it; some clients decode, others do not
            part.flags |= AMBIGUOUS
    return 0
