"""The header of a message or part (RFC 5322 2.2, 4.5): fields as offsets, names known or other, what is odd as flags.

A header ends with an empty line, with a delimiter line of an open multipart, or before a line that is no field (as in Postfix). Nothing
here can raise; -1 only says that there is no memory.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from esa_core._boundary cimport Frame, before_break, begins_delimiter, find_delimiter, line_end
from esa_core._buffer cimport equals_caseless, grow
from esa_core._document cimport octets_of
from esa_core._types cimport *

cdef extern from *:
    """
    static const uint8_t name_octet[256] = { ['!' ... '9'] = 1, [';' ... '~'] = 1 };  /* ftext (RFC 5322 2.2) */
    """
    const uint8_t *name_octet


cdef bint has_eight_bit(const uint8_t *raw, size_t length) noexcept nogil:
    cdef uint8_t together = 0
    cdef size_t at
    for at in range(length):
        together |= raw[at]
    return together > 127


cdef uint16_t known_field(const uint8_t *name, size_t length) noexcept nogil:
    """The Known number of a field name, in any case."""
    if length == 2:
        if equals_caseless(name, b"to", 2):
            return FIELD_TO
        if equals_caseless(name, b"cc", 2):
            return FIELD_CC
    elif length == 3:
        if equals_caseless(name, b"bcc", 3):
            return FIELD_BCC
    elif length == 4:
        if equals_caseless(name, b"from", 4):
            return FIELD_FROM
        if equals_caseless(name, b"date", 4):
            return FIELD_DATE
    elif length == 6:
        if equals_caseless(name, b"sender", 6):
            return FIELD_SENDER
    elif length == 7:
        if equals_caseless(name, b"subject", 7):
            return FIELD_SUBJECT
    elif length == 8:
        if equals_caseless(name, b"received", 8):
            return FIELD_RECEIVED
        if equals_caseless(name, b"reply-to", 8):
            return FIELD_REPLY_TO
    elif length == 10:
        if equals_caseless(name, b"message-id", 10):
            return FIELD_MESSAGE_ID
        if equals_caseless(name, b"content-id", 10):
            return FIELD_CONTENT_ID
        if equals_caseless(name, b"references", 10):
            return FIELD_REFERENCES
    elif length == 11:
        if equals_caseless(name, b"return-path", 11):
            return FIELD_RETURN_PATH
        if equals_caseless(name, b"in-reply-to", 11):
            return FIELD_IN_REPLY_TO
    elif length == 12:
        if equals_caseless(name, b"content-type", 12):
            return FIELD_CONTENT_TYPE
        if equals_caseless(name, b"mime-version", 12):
            return FIELD_MIME_VERSION
    elif length == 16:
        if equals_caseless(name, b"list-unsubscribe", 16):
            return FIELD_LIST_UNSUBSCRIBE
        if equals_caseless(name, b"content-language", 16):
            return FIELD_CONTENT_LANGUAGE
    elif length == 19:
        if equals_caseless(name, b"content-disposition", 19):
            return FIELD_CONTENT_DISPOSITION
    elif length == 25:
        if equals_caseless(name, b"content-transfer-encoding", 25):
            return FIELD_CONTENT_TRANSFER_ENCODING
    return FIELD_OTHER


cdef bint may_stand_once(uint16_t known) noexcept nogil:
    """RFC 5322 3.6 and RFC 2045: fields of which a second one is an error (From is SEVERAL_FROM besides)."""
    return FIELD_FROM <= known <= FIELD_MIME_VERSION or known == FIELD_BCC or known == FIELD_IN_REPLY_TO or known == FIELD_REFERENCES


cdef HeaderField *find_field(Document *document, const Part *part, uint32_t known) noexcept nogil:
    """The first field of this kind in the part's own header, or NULL."""
    cdef uint32_t index
    for index in range(part.field_first, part.field_first + part.field_count):
        if document.fields[index].known == known:
            return &document.fields[index]
    return NULL


cdef void note_field(Part *part, const HeaderField *field, uint32_t index, Header *header) noexcept nogil:
    """Where the MIME fields stand, and what stands twice."""
    cdef uint32_t bit = <uint32_t>1 << field.known
    if header.seen & bit == 0:
        header.seen |= bit
        if field.known == FIELD_CONTENT_TYPE:
            header.content_type = <int32_t>index
        elif field.known == FIELD_CONTENT_TRANSFER_ENCODING:
            header.encoding = <int32_t>index
        elif field.known == FIELD_CONTENT_DISPOSITION:
            header.disposition = <int32_t>index
    elif may_stand_once(field.known):
        part.flags |= DUPLICATE_FIELD
        header.twice |= bit
        if field.known == FIELD_FROM:
            part.flags |= SEVERAL_FROM | AMBIGUOUS
        elif FIELD_CONTENT_TYPE <= field.known <= FIELD_CONTENT_TRANSFER_ENCODING:
            part.flags |= AMBIGUOUS


cdef int copy_fields(Document *document, uint32_t source, uint32_t target, Header *header) noexcept nogil:
    """Give the fields of part `source` to part `target`, the last one, too. -1 for no memory."""
    cdef uint32_t first = document.parts[source].field_first
    cdef uint32_t count = min(document.parts[source].field_count, ESA_MAX_FIELDS - min(document.n_fields, ESA_MAX_FIELDS))
    cdef uint32_t index
    if grow(<void **>&document.fields, &document.cap_fields, <size_t>document.n_fields + count, sizeof(HeaderField)) < 0:
        return -1
    for index in range(count):
        document.fields[document.n_fields] = document.fields[first + index]
        if document.fields[first + index].known != FIELD_OTHER:
            note_field(&document.parts[target], &document.fields[first + index], document.n_fields, header)
        document.n_fields += 1
    document.parts[target].field_count = count
    return 0


cdef bint begins_field(const uint8_t *raw, size_t at, size_t length) noexcept nogil:
    """Does a line that looks like a header field begin at `at`?"""
    cdef size_t start = at
    while at < length and name_octet[raw[at]]:
        at += 1
    return at > start and at < length and raw[at] == 58


cdef int add_field(Document *document, const uint8_t *raw, uint32_t index, size_t name, size_t name_length, size_t value,
                   Header *header) noexcept nogil:
    """Record a field whose value begins at `value` and is still open; notes the MIME fields and repeated ones. -1 for no memory."""
    cdef HeaderField *field
    cdef Part *part = &document.parts[index]
    if document.n_fields >= ESA_MAX_FIELDS:
        document.flags |= TOO_MANY_FIELDS
        return 0
    if grow(<void **>&document.fields, &document.cap_fields, document.n_fields + 1, sizeof(HeaderField)) < 0:
        return -1
    field = &document.fields[document.n_fields]
    field.name_start = <uint32_t>name
    field.name_length = <uint16_t>min(name_length, <size_t>65535)
    field.value_start = <uint32_t>value
    field.value_length = 0
    field.known = known_field(raw + name, name_length)
    field.part = index
    if field.known != FIELD_OTHER:
        note_field(part, field, document.n_fields, header)
    document.n_fields += 1
    part.field_count += 1
    return 1


cdef int read_header(Document *document, uint32_t index, size_t *position, size_t length, const Frame *frames, uint32_t n_frames,
                     Header *header) noexcept nogil:
    """Read the fields of part `index` from `position` and move it to the body, at most to `length`; -1 for no memory.

    `header` begins as no_header(), or as what stood before.
    """
    cdef const uint8_t *raw = octets_of(document, &document.parts[index])
    cdef size_t at = position[0]
    cdef size_t start = at
    cdef size_t end, name, colon
    cdef int added = 0
    cdef bint ended = False
    cdef bint closes = False
    cdef HeaderField *field
    cdef uint64_t flags = 0
    while at < length:
        end = line_end(raw, at, length)
        if raw[at] == 32 or raw[at] == 9:  # a continuation of the field before
            if added == 1:
                field = &document.fields[document.n_fields - 1]
                field.value_length = <uint32_t>(before_break(raw, at, end) - field.value_start)
            elif at == start:
                flags |= BAD_HEADER_LINE
            at = end
            continue
        name = at
        while name < end and name_octet[raw[name]]:
            name += 1
        colon = name
        while colon < end and (raw[colon] == 32 or raw[colon] == 9):  # RFC 5322 4.5: obsolete white space before the colon
            colon += 1
        if colon < end and raw[colon] == 58 and name > at and not (
            n_frames and begins_delimiter(raw, at, length) and find_delimiter(document, raw, frames, n_frames, at, end, &closes) >= 0
        ):
            added = add_field(document, raw, index, at, name - at, colon + 1, header)
            if added < 0:
                return -1
            if added:
                field = &document.fields[document.n_fields - 1]
                field.value_length = <uint32_t>(before_break(raw, colon + 1, end) - field.value_start)
                if colon > name and field.known != FIELD_OTHER:  # other readers do not take it for a field
                    flags |= AMBIGUOUS
            at = end
            continue
        while name < end and raw[name] == 13:
            name += 1
        if name < end and raw[name] == 10 and (name == at or raw[at] == 13):
            ended = True
            break
        if n_frames and begins_delimiter(raw, at, length) and find_delimiter(document, raw, frames, n_frames, at, end, &closes) >= 0:
            end = at
            break
        flags |= BAD_HEADER_LINE
        if header.drops_lines or raw[at] == 58 or (end - at > 5 and memcmp(raw + at, b"From ", 5) == 0):  # a nameless field, an mbox line
            added = 0
            at = end
            continue
        flags |= AMBIGUOUS  # the header ends here, or the line is dropped: readers differ
        document.parts[index].waits |= WAIT_HEADER
        end = at
        break
    else:
        end = length
    if not ended:
        flags |= NO_HEADER_END
    if (document.eight_bit or document.parts[index].source) and has_eight_bit(raw + start, at - start):
        flags |= EIGHT_BIT_HEADER
    document.parts[index].flags |= flags
    document.parts[index].body_start = <uint32_t>end
    position[0] = end
    return 0
