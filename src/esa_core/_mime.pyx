"""Read one buffer into header-field and part records (RFC 5322, 2045 to 2049): offsets only, nothing is copied or decoded.

One pass. The open multiparts stand on a stack of at most ESA_MAX_DEPTH; each line that begins with "--" is compared with their boundaries,
the outermost first (as a reader that hands lines inwards does), and no byte is looked at again for an inner part. There is no recursion.
Lines end with LF or CRLF. A header ends with an empty line, with a delimiter line, or before a line that is no field (as in Postfix).
Odd input sets a flag of `Document.flags` (and of the part) and is read on; -1 only says that there is no memory.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memset

from esa_core._buffer cimport equals_caseless, grow
from esa_core._charset cimport CHARSET_ABSENT, find_charset
from esa_core._parameter cimport (
    Parameter, behind_charset, first_parameter, hexadecimal, is_blank, is_named, is_section, next_parameter, skip_blank,
)
from esa_core._types cimport *


cdef struct Frame:               # an open multipart
    uint32_t part
    uint32_t start               # its boundary, without the leading hyphens: scratch[start : start + length]
    uint32_t length
    bint cut                     # longer than ESA_MAX_BOUNDARY: only the beginning is compared

cdef struct Header:              # where the MIME fields of the header just read stand; -1 if absent
    int32_t content_type
    int32_t encoding
    int32_t disposition


# ---- octets and lines ----

cdef uint64_t find_odd_octets(const uint8_t *raw, size_t length) noexcept nogil:
    """NUL_BYTES and BARE_CR. Branch-free, so that the compiler makes wide instructions of it."""
    cdef uint8_t nul = 0
    cdef uint8_t bare = 0
    cdef size_t at
    if length == 0:
        return 0
    for at in range(length - 1):
        nul |= <uint8_t>(raw[at] == 0)
        bare |= <uint8_t>(raw[at] == 13) & <uint8_t>(raw[at + 1] != 10)
    nul |= <uint8_t>(raw[length - 1] == 0)
    bare |= <uint8_t>(raw[length - 1] == 13)
    return (<uint64_t>NUL_BYTES if nul else 0) | (<uint64_t>BARE_CR if bare else 0)


cdef bint has_eight_bit(const uint8_t *raw, size_t length) noexcept nogil:
    cdef uint8_t together = 0
    cdef size_t at
    for at in range(length):
        together |= raw[at]
    return together > 127


cdef inline size_t line_end(const uint8_t *raw, size_t at, size_t length) noexcept nogil:
    """Offset just behind the line feed that ends the line at `at`, or `length`."""
    cdef const uint8_t *feed = <const uint8_t *>memchr(raw + at, 10, length - at)
    return <size_t>(feed - raw) + 1 if feed != NULL else length


cdef inline size_t before_break(const uint8_t *raw, size_t start, size_t end) noexcept nogil:
    """`end` without the one line break before it, not below `start`."""
    if end > start and raw[end - 1] == 10:
        end -= 1
        if end > start and raw[end - 1] == 13:
            end -= 1
    return end


# ---- names ----

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


# ---- what the MIME fields of a part say ----

cdef int read_boundary(Document *document, Part *part, const Parameter *parameter, Frame *frame) noexcept nogil:
    """Append the boundary, without quotes, escapes and folds, to the frame's; -1 for no memory."""
    cdef Span where = behind_charset(document.raw, parameter)
    cdef const uint8_t *value = document.raw + where.start
    cdef bint percent = document.raw[parameter.name.start + parameter.name.length - 1] == 42
    cdef uint32_t at = 0
    cdef uint32_t put = frame.length
    cdef uint8_t octet
    cdef uint8_t *out
    if reserve_scratch(document, <size_t>frame.start + ESA_MAX_BOUNDARY) < 0:
        return -1
    out = document.scratch + frame.start
    if part.boundary.length == 0:
        part.boundary = where
    while at < where.length and put < ESA_MAX_BOUNDARY:
        if value[at] == 92 and parameter.quoted and at + 1 < where.length:
            at += 1
        octet = value[at]
        if percent and octet == 37 and at + 2 < where.length and hexadecimal(value[at + 1]) >= 0 and hexadecimal(value[at + 2]) >= 0:
            octet = <uint8_t>((hexadecimal(value[at + 1]) << 4) | hexadecimal(value[at + 2]))
            at += 2
        at += 1
        if octet != 13 and octet != 10:
            out[put] = octet
            put += 1
    frame.cut = at < where.length
    while put and (out[put - 1] == 32 or out[put - 1] == 9):  # RFC 2046 5.1.1: no boundary ends with white space
        put -= 1
    frame.length = put
    if frame.cut:
        part.flags |= ODD_BOUNDARY
    return 0


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


# ---- headers and parts ----

cdef int add_part(Document *document, int32_t parent, uint32_t depth, size_t at) noexcept nogil:
    """Append an empty text/plain part that begins at `at`; -1 for no memory."""
    cdef Part *part
    if grow(<void **>&document.parts, &document.cap_parts, document.n_parts + 1, sizeof(Part)) < 0:
        return -1
    part = &document.parts[document.n_parts]
    document.n_parts += 1
    memset(part, 0, sizeof(Part))
    part.parent = parent
    part.depth = depth
    part.field_first = document.n_fields
    part.header_start = part.body_start = part.body_end = <uint32_t>at
    part.charset = CHARSET_ABSENT
    return 0


cdef int add_field(Document *document, uint32_t index, size_t name, size_t name_length, size_t value, Header *header,
                   uint32_t *seen) noexcept nogil:
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
    field.known = known_field(document.raw + name, name_length)
    field.part = index
    if field.known != FIELD_OTHER:
        if seen[0] & (<uint32_t>1 << field.known):
            if may_stand_once(field.known):
                part.flags |= DUPLICATE_FIELD
                if field.known == FIELD_FROM:
                    part.flags |= SEVERAL_FROM | AMBIGUOUS
                elif FIELD_CONTENT_TYPE <= field.known <= FIELD_CONTENT_TRANSFER_ENCODING:
                    part.flags |= AMBIGUOUS
        else:
            seen[0] |= <uint32_t>1 << field.known
            if field.known == FIELD_CONTENT_TYPE:
                header.content_type = <int32_t>document.n_fields
            elif field.known == FIELD_CONTENT_TRANSFER_ENCODING:
                header.encoding = <int32_t>document.n_fields
            elif field.known == FIELD_CONTENT_DISPOSITION:
                header.disposition = <int32_t>document.n_fields
    document.n_fields += 1
    part.field_count += 1
    return 1


cdef int find_delimiter(Document *document, const Frame *frames, uint32_t n_frames, size_t at, size_t end,
                        bint *closes) noexcept nogil:
    """`at` is at "--": the frame whose delimiter the line at[:end] is, outermost first, or -1; the whole line must be it (RFC 2046 5.1)."""
    cdef const uint8_t *line = document.raw + at + 2
    cdef size_t length = end - at - 2
    cdef const Frame *frame
    cdef const uint8_t *boundary
    cdef uint32_t index
    while length and is_blank(line[length - 1]):
        length -= 1
    for index in range(n_frames):
        frame = &frames[index]
        boundary = document.scratch + frame.start
        if frame.cut:
            if length >= frame.length and memcmp(line, boundary, frame.length) == 0:
                closes[0] = length >= frame.length + 2 and line[length - 1] == 45 and line[length - 2] == 45
                return <int>index
        elif length == frame.length:
            if memcmp(line, boundary, length) == 0:
                closes[0] = False
                return <int>index
        elif length == frame.length + 2 and line[length - 1] == 45 and line[length - 2] == 45:
            if memcmp(line, boundary, frame.length) == 0:
                closes[0] = True
                return <int>index
    return -1


cdef inline bint begins_delimiter(const uint8_t *raw, size_t at, size_t length) noexcept nogil:
    return at + 1 < length and raw[at] == 45 and raw[at + 1] == 45


cdef int read_header(Document *document, uint32_t index, size_t *position, const Frame *frames, uint32_t n_frames,
                     Header *header) noexcept nogil:
    """Read the fields of part `index` from `position` and move it to the body; -1 for no memory."""
    cdef const uint8_t *raw = document.raw
    cdef size_t length = document.raw_length
    cdef size_t at = position[0]
    cdef size_t start = at
    cdef size_t end, name, colon
    cdef uint32_t seen = 0
    cdef int added = 0
    cdef bint ended = False
    cdef bint closes = False
    cdef HeaderField *field
    cdef uint64_t flags = 0
    header.content_type = header.encoding = header.disposition = -1
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
        while name < end and 33 <= raw[name] <= 126 and raw[name] != 58:
            name += 1
        colon = name
        while colon < end and (raw[colon] == 32 or raw[colon] == 9):  # RFC 5322 4.5: obsolete white space before the colon
            colon += 1
        if colon < end and raw[colon] == 58 and name > at and not (
            n_frames and begins_delimiter(raw, at, length) and find_delimiter(document, frames, n_frames, at, end, &closes) >= 0
        ):
            added = add_field(document, index, at, name - at, colon + 1, header, &seen)
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
        if n_frames and begins_delimiter(raw, at, length) and find_delimiter(document, frames, n_frames, at, end, &closes) >= 0:
            end = at
            break
        flags |= BAD_HEADER_LINE
        if raw[at] == 58 or (end - at > 5 and memcmp(raw + at, b"From ", 5) == 0):  # a nameless field, an mbox line: skipped
            added = 0
            at = end
            continue
        flags |= AMBIGUOUS  # the header ends here, or the line is dropped: readers differ
        end = at
        break
    else:
        end = length
    if not ended:
        flags |= NO_HEADER_END
    if has_eight_bit(raw + start, at - start):
        flags |= EIGHT_BIT_HEADER
    document.parts[index].flags |= flags
    document.parts[index].body_start = <uint32_t>end
    position[0] = end
    return 0


cdef size_t close_parts(Document *document, uint32_t current, uint32_t upto, size_t end) noexcept nogil:
    """End every open part from `current` up to, not including, its ancestor `upto` at `end`."""
    cdef Part *part
    while current != upto:
        part = &document.parts[current]
        part.body_end = <uint32_t>max(end, part.body_start)
        current = <uint32_t>part.parent
    return end


cdef int parse_structure(Document *document, const uint8_t *raw, size_t length) noexcept nogil:
    """Fill fields and parts from `raw`, which is borrowed and may lack padding. 0, or -1 for no memory.

    `document` is initialised or reset. Part 0 is the message itself and always exists; a part stands behind its parent, in order of the raw
    bytes. Cost is linear in `length`, times at most ESA_MAX_DEPTH for lines that begin with "--".
    """
    cdef Frame frames[65]        # ESA_MAX_DEPTH, and one that is read but cannot be opened
    cdef Frame *frame
    cdef Header header
    cdef Part *part
    cdef uint32_t n_frames = 0
    cdef uint32_t current = 0
    cdef uint32_t index
    cdef size_t at = 0
    cdef size_t end
    cdef bint closes = False
    cdef bint digest = False
    cdef bint unread
    cdef int found
    document.raw = raw
    if length > ESA_MAX_MESSAGE:
        document.flags |= OVERSIZED
        length = ESA_MAX_MESSAGE
    if length == 0:
        document.flags |= EMPTY
    document.raw_length = <uint32_t>length
    document.flags |= find_odd_octets(raw, length)
    if length > 5 and memcmp(raw, b"From ", 5) == 0:
        end = line_end(raw, 0, length)
        found = 5
        while <size_t>found < end and (raw[found] == 32 or raw[found] == 9):
            found += 1
        if raw[found if <size_t>found < end else 5] != 58:  # not "From : ..."
            document.flags |= MBOX_LINE
            at = end
    if add_part(document, -1, 0, at) < 0:
        return -1
    while True:
        # the header of `current` begins at `at`
        if read_header(document, current, &at, frames, n_frames, &header) < 0:
            return -1
        frame = &frames[n_frames]
        frame.part = current
        frame.start = frames[n_frames - 1].start + frames[n_frames - 1].length if n_frames else 0
        frame.length = 0
        frame.cut = False
        if read_mime_fields(document, current, &header, digest, frame) < 0:
            return -1
        digest = False
        part = &document.parts[current]
        if part.media == MEDIA_MESSAGE and part.encoding == ENCODING_IDENTITY:
            if part.depth >= ESA_MAX_DEPTH:
                part.flags |= TOO_DEEP
            elif document.n_parts >= ESA_MAX_PARTS:
                part.flags |= TOO_MANY_PARTS
            else:
                index = part.depth + 1
                if add_part(document, <int32_t>current, index, at) < 0:
                    return -1
                current = document.n_parts - 1
                continue
        elif part.media == MEDIA_MULTIPART and frame.length:
            if part.depth >= ESA_MAX_DEPTH:
                part.flags |= TOO_DEEP
            else:
                n_frames += 1
        # look for the delimiter that begins the next part
        unread = True
        while unread and n_frames and at < length:
            end = line_end(raw, at, length)
            if not begins_delimiter(raw, at, length):
                at = end
                continue
            found = find_delimiter(document, frames, n_frames, at, end, &closes)
            if found < 0:
                at = end
                continue
            for index in range(<uint32_t>found + 1, n_frames):
                document.parts[frames[index].part].flags |= UNTERMINATED_MULTIPART
            close_parts(document, current, frames[found].part, before_break(raw, document.parts[current].body_start, at))
            current = frames[found].part
            n_frames = <uint32_t>found + (0 if closes else 1)
            at = end
            if closes:
                continue
            if document.n_parts >= ESA_MAX_PARTS:
                document.parts[current].flags |= TOO_MANY_PARTS
                continue
            unread = False
        if unread:
            break
        while begins_delimiter(raw, at, length):  # the same delimiter again at once makes no empty part
            end = line_end(raw, at, length)
            if find_delimiter(document, &frames[n_frames - 1], 1, at, end, &closes) < 0 or closes:
                break
            at = end
        digest = is_digest(document, &document.parts[current])
        index = document.parts[current].depth + 1
        if add_part(document, <int32_t>current, index, at) < 0:
            return -1
        current = document.n_parts - 1
    close_parts(document, current, 0, length)
    document.parts[0].body_end = <uint32_t>length
    document.header_end = document.parts[0].body_start
    for index in range(n_frames):
        document.parts[frames[index].part].flags |= UNTERMINATED_MULTIPART
    for index in range(document.n_parts):
        document.flags |= document.parts[index].flags
    document.structured = True
    return 0


cdef bint is_digest(Document *document, const Part *part) noexcept nogil:
    return part.media_type.length == 16 and equals_caseless(document.raw + part.media_type.start, b"multipart/digest", 16)
