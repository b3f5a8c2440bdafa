"""Content-Type, Content-Transfer-Encoding and Content-Disposition of a part (RFC 2045, 2183, 2231), leniently.

What is malformed is read as the RFC's default and flagged. Nothing here can raise; -1 only says that there is no memory.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from esa_core._boundary cimport Frame, read_boundary
from esa_core._buffer cimport Word, equals_caseless, meaning_of
from esa_core._charset cimport find_charset
from esa_core._document cimport octets_of, source_length
from esa_core._header cimport Header
from esa_core._parameter cimport Parameter, behind_charset, first_parameter, is_blank, is_named, is_section, next_parameter, skip_blank
from esa_core._types cimport *


cdef enum:
    LONGEST_TYPE = 40            # that means something here


cdef inline size_t token_end(const uint8_t *raw, size_t at, size_t end) noexcept nogil:
    while at < end and not is_blank(raw[at]) and raw[at] != 59 and raw[at] != 40 and raw[at] != 47:
        at += 1
    return at


cdef bint split_type(const uint8_t *raw, size_t at, size_t end, Span *kind, Span *subtype) noexcept nogil:
    """The two tokens of "type/subtype"; False if they are not there, or more than they. `kind` begins where anything is written.

    White space and comments about the slash are allowed by the grammar (RFC 822 3.1.4), but not every reader knows.
    """
    cdef size_t start = skip_blank(raw, at, end)
    cdef size_t stop = token_end(raw, start, end)
    kind[0] = Span(<uint32_t>start, <uint32_t>(stop - start))
    at = skip_blank(raw, stop, end)
    subtype[0] = Span(<uint32_t>at, 0)
    if at == end or raw[at] != 47 or stop == start:
        return False
    start = skip_blank(raw, at + 1, end)
    stop = token_end(raw, start, end)
    subtype[0] = Span(<uint32_t>start, <uint32_t>(stop - start))
    return stop > start and (stop == end or raw[stop] != 47)


cdef void read_media_type(const uint8_t *raw, size_t at, size_t end, Part *part) noexcept nogil:
    """Set media and media_type of "type/subtype"; anything else is text/plain (RFC 2045 5.2)."""
    cdef Span kind, subtype
    cdef uint8_t written[LONGEST_TYPE]
    cdef uint32_t length
    if not split_type(raw, at, end, &kind, &subtype):
        if kind.start < end and raw[kind.start] != 59:
            part.flags |= AMBIGUOUS
        return
    if subtype.start != kind.start + kind.length + 1:
        part.flags |= AMBIGUOUS
    part.media_type = Span(kind.start, subtype.start + subtype.length - kind.start)
    part.media = MEDIA_OTHER
    length = kind.length + 1 + subtype.length
    if length > LONGEST_TYPE:
        return
    memcpy(written, raw + kind.start, kind.length)
    written[kind.length] = 47
    memcpy(written + kind.length + 1, raw + subtype.start, subtype.length)
    if equals_caseless(written, b"text/", min(length, 5)):
        part.media = MEDIA_TEXT_OTHER
        if length == 10 and equals_caseless(written, b"text/plain", 10):
            part.media = MEDIA_TEXT_PLAIN
        elif length == 9 and equals_caseless(written, b"text/html", 9):
            part.media = MEDIA_TEXT_HTML
    elif length > 10 and equals_caseless(written, b"multipart/", 10):
        part.media = MEDIA_MULTIPART
        if length == 19 and equals_caseless(written, b"multipart/encrypted", 19):
            part.flags |= ENCRYPTED
    elif length == 14 and equals_caseless(written, b"message/rfc822", 14):
        part.media = MEDIA_MESSAGE
    elif length == 14 and equals_caseless(written, b"message/global", 14):
        part.media = MEDIA_MESSAGE
    elif length == 12 and equals_caseless(written, b"message/news", 12):
        part.media = MEDIA_MESSAGE
    elif length == 15 and equals_caseless(written, b"message/partial", 15):
        part.media = MEDIA_MESSAGE
        part.flags |= PARTIAL_MESSAGE
    elif length == 21 and equals_caseless(written, b"message/external-body", 21):
        part.media = MEDIA_MESSAGE
        part.flags |= EXTERNAL_BODY
    elif length == 19 and equals_caseless(written, b"application/ms-tnef", 19):
        part.waits |= WAIT_TNEF
    elif length == 23 and equals_caseless(written, b"application/vnd.ms-tnef", 23):
        part.waits |= WAIT_TNEF
    elif length == 22 and equals_caseless(written, b"application/pkcs7-mime", 22):
        part.waits |= WAIT_CMS
    elif length == 24 and equals_caseless(written, b"application/x-pkcs7-mime", 24):
        part.waits |= WAIT_CMS
    elif length == 21 and equals_caseless(written, b"application/xhtml+xml", 21):
        part.media = MEDIA_TEXT_HTML


cdef uint32_t names_container(const uint8_t *raw, Span name) noexcept nogil:
    """WAIT_TNEF of "winmail.dat", WAIT_CMS of "*.p7m" and "*.p7z", else 0."""
    if name.length == 11 and equals_caseless(raw + name.start, b"winmail.dat", 11):
        return WAIT_TNEF
    if name.length > 4 and (equals_caseless(raw + name.start + name.length - 4, b".p7m", 4)
                            or equals_caseless(raw + name.start + name.length - 4, b".p7z", 4)):
        return WAIT_CMS
    return 0


cdef int read_content_type(Document *document, Part *part, const HeaderField *field, Frame *frame, uint32_t skip) noexcept nogil:
    """Media type, charset, boundary (frame.length stays 0 without one) and whether there is a name; -1 for no memory.

    `skip` boundary parameters are passed over: another reading of the field. frame.given is how many there are.
    """
    cdef const uint8_t *raw = octets_of(document, &document.parts[field.part])
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t at = first_parameter(raw, field.value_start, end)
    cdef Parameter parameter
    cdef uint32_t section = 0    # of a boundary in RFC 2231 sections: the one that is wanted next, 0 if it has none
    read_media_type(raw, field.value_start, end, part)
    while next_parameter(raw, &at, end, &parameter):
        if is_named(raw, &parameter, b"charset", 7):
            if part.charset_label.length == 0:
                part.charset_label = charset_label(raw, &parameter)
            elif not same_octets(raw, part.charset_label, charset_label(raw, &parameter)):
                part.flags |= SEVERAL_CHARSETS | AMBIGUOUS
                part.waits |= WAIT_TEXT
        elif is_named(raw, &parameter, b"boundary", 8) and part.media == MEDIA_MULTIPART:
            frame.given += 1
            if frame.given == skip + 1:
                section = 1 if is_section(raw, &parameter, 8, 0) else 0
                if read_boundary(document, raw, part, &parameter, frame) < 0:
                    return -1
        elif section and parameter.name.length > 8 and equals_caseless(raw + parameter.name.start, b"boundary", 8) and is_section(
                raw, &parameter, 8, section):
            section += 1
            if read_boundary(document, raw, part, &parameter, frame) < 0:
                return -1
        elif is_named(raw, &parameter, b"name", 4):
            part.attachment = 1
            if part.media == MEDIA_OTHER:
                part.waits |= names_container(raw, parameter.value)
    if part.charset_label.length:
        part.charset = <uint16_t>find_charset(raw + part.charset_label.start, part.charset_label.length)
    if part.media == MEDIA_MULTIPART:
        if frame.length == 0:
            part.flags |= ODD_BOUNDARY
        if frame.given > 1:
            part.flags |= ODD_BOUNDARY | SEVERAL_BOUNDARIES | AMBIGUOUS
            part.waits |= WAIT_TYPE
    return 0


cdef Span charset_label(const uint8_t *raw, const Parameter *parameter) noexcept nogil:
    """Up to a blank or comment: charset=us-ascii (plain text)."""
    cdef Span label = behind_charset(raw, parameter)
    cdef uint32_t length
    for length in range(label.length):
        if is_blank(raw[label.start + length]) or raw[label.start + length] == 40:
            label.length = length
            break
    return label


cdef bint same_octets(const uint8_t *raw, Span one, Span other) noexcept nogil:
    return one.length == other.length and memcmp(raw + one.start, raw + other.start, one.length) == 0


cdef Word[10] ENCODINGS
ENCODINGS = [
    Word(b"7bit", ENCODING_IDENTITY), Word(b"8bit", ENCODING_IDENTITY), Word(b"binary", ENCODING_IDENTITY),
    Word(b"base64", ENCODING_BASE64), Word(b"quoted-printable", ENCODING_QUOTED_PRINTABLE),
    Word(b"x-uuencode", ENCODING_UUENCODE), Word(b"uuencode", ENCODING_UUENCODE), Word(b"x-uue", ENCODING_UUENCODE),
    Word(b"uue", ENCODING_UUENCODE), Word(NULL, 0),
]


cdef uint32_t encoding_of(const Document *document, const HeaderField *field) noexcept nogil:
    """The Encoding that a Content-Transfer-Encoding field names."""
    cdef const uint8_t *raw = octets_of(document, &document.parts[field.part])
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t start = skip_blank(raw, field.value_start, end)
    cdef size_t at = start
    cdef size_t length
    while at < end and not is_blank(raw[at]) and raw[at] != 59 and raw[at] != 40:
        at += 1
    length = at - start
    raw += start
    if length == 0:
        return ENCODING_IDENTITY
    return meaning_of(ENCODINGS, raw, length, ENCODING_UNKNOWN)


cdef void read_disposition(Document *document, Part *part, const HeaderField *field) noexcept nogil:
    cdef const uint8_t *raw = octets_of(document, &document.parts[field.part])
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t start = skip_blank(raw, field.value_start, end)
    cdef size_t at = first_parameter(raw, start, end)
    cdef Parameter parameter
    cdef bint told = True
    if at - start >= 10 and equals_caseless(raw + start, b"attachment", 10):
        part.attachment = 1
    elif at - start >= 6 and equals_caseless(raw + start, b"inline", 6):
        part.attachment = 0
    else:
        told = False
    if told and part.media != MEDIA_OTHER:
        return
    while next_parameter(raw, &at, end, &parameter):
        if is_named(raw, &parameter, b"filename", 8):
            if not told:
                part.attachment = 1
            if part.media == MEDIA_OTHER:
                part.waits |= names_container(raw, parameter.value)


cdef int read_mime_fields(Document *document, uint32_t index, const Header *header, bint digest, Frame *frame) noexcept nogil:
    """What a header said of its part; waits for what cannot be told yet. -1 for no memory."""
    cdef Part *part = &document.parts[index]
    if digest:  # RFC 2046 5.1.5: the default inside a digest
        part.media = MEDIA_MESSAGE
    if header.content_type >= 0:
        if read_content_type(document, part, &document.fields[header.content_type], frame, 0) < 0:
            return -1
        if header.twice & (<uint32_t>1 << FIELD_CONTENT_TYPE):
            part.flags |= SEVERAL_CONTENT_TYPES | AMBIGUOUS
            part.waits |= WAIT_TYPE
    if header.encoding >= 0:
        part.encoding = <uint16_t>encoding_of(document, &document.fields[header.encoding])
        if part.encoding == ENCODING_UNKNOWN or header.twice & (<uint32_t>1 << FIELD_CONTENT_TRANSFER_ENCODING):
            part.flags |= SEVERAL_ENCODINGS | AMBIGUOUS
            part.waits |= WAIT_TEXT
    if header.disposition >= 0:
        read_disposition(document, part, &document.fields[header.disposition])
    if part.media == MEDIA_MULTIPART or part.media == MEDIA_MESSAGE:
        if part.encoding != ENCODING_IDENTITY or part.waits & WAIT_TEXT:  # RFC 2045 6.4 forbids it; some clients decode, others do not
            part.flags |= ENCODED_CONTAINER | AMBIGUOUS
            part.waits |= WAIT_DECODED
    elif part.media == MEDIA_OTHER and part.encoding == ENCODING_BASE64 and begins_tnef(document, part):
        part.waits |= WAIT_TNEF
    if part.waits:
        document.waiting = True
    return 0


cdef bint begins_tnef(const Document *document, const Part *part) noexcept nogil:
    """Whatever it is called: TNEF begins with 0x223E9F78 (MS-OXTNEF 2.1.3.1), in base64 "eJ8+Ig"."""
    return part.body_start + 6 <= source_length(document, part) and memcmp(octets_of(document, part) + part.body_start, b"eJ8+Ig", 6) == 0
