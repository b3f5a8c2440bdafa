"""What is read again after the tree of parts: the other readings of an ambiguous part, and what containers hold.

Every reading is a child of the part it reads, marked `another` where the usual reading shows it differently; it has no header of its own
unless another header is what it reads. Opened content stands in a source of its own. All of it together is bounded by ESA_READ_AGAIN and
ESA_MAX_READINGS (the rest: NOT_ALL_READ) and by ESA_MAX_DEPTH. -1 only says that there is no memory.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp

from esa_core._boundary cimport Frame, line_end
from esa_core._buffer cimport append, equals_caseless
from esa_core._cms cimport open_cms
from esa_core._document cimport add_source, may_read_again, octets_of
from esa_core._header cimport Header, begins_field, copy_fields, find_field, no_header
from esa_core._media cimport encoding_of, read_content_type
from esa_core._tnef cimport open_tnef
from esa_core._transfer cimport decode_transfer
from esa_core._tree cimport add_part, may_hold_part, read_parts
from esa_core._types cimport *


cdef int add_reading(Document *document, uint32_t index, size_t at, size_t length, bint another) noexcept nogil:
    """A part inside part `index` that reads `length` octets again from `at`; 1, or 0 if it may not be read, or -1 for no memory."""
    cdef Part *part = &document.parts[index]
    if not may_hold_part(document, index) or not may_read_again(document, length):
        return 0
    if not another:
        part.children += 1
    if add_part(document, <int32_t>index, part.depth + 1, at) < 0:
        return -1
    if another:
        document.parts[document.n_parts - 1].another = 1
    return 1


cdef uint32_t header_holder(const Document *document, uint32_t index) noexcept nogil:
    """The part whose header speaks for part `index`: itself, or what it is another reading of."""
    while document.parts[index].field_count == 0 and document.parts[index].another and document.parts[index].parent >= 0:
        index = <uint32_t>document.parts[index].parent
    return index


# ---- headers ----

cdef int read_on(Document *document, uint32_t index) noexcept nogil:
    """The header as if the line that ended it, or the empty line before it, were not there."""
    cdef const uint8_t *raw = octets_of(document, &document.parts[index])
    cdef size_t at = document.parts[index].body_start
    cdef size_t end = document.parts[index].body_end
    cdef Header header = no_header()
    cdef uint32_t other
    cdef int outcome
    while at < end and not begins_field(raw, at, end):
        if raw[at] == 10 or (raw[at] == 13 and at + 1 < end and raw[at + 1] == 10):
            return 0
        at = line_end(raw, at, end)
    if at >= end:
        return 0
    outcome = add_reading(document, index, at, end - at, True)
    if outcome <= 0:
        return outcome
    other = document.n_parts - 1
    document.parts[index].flags |= HEADER_GOES_ON | AMBIGUOUS
    if copy_fields(document, index, other, &header) < 0:
        return -1
    header.drops_lines = True
    return read_parts(document, other, at, end, &header, NULL)


# ---- lines ----

cdef bint breaks_structure(const uint8_t *raw, size_t at, size_t length, size_t header_end) noexcept nogil:
    """Would a line that begins at `at`, behind a lone carriage return, change header or parts?"""
    if at >= length:
        return False
    if at <= header_end:
        return True
    if raw[at] == 45:
        return at + 1 < length and raw[at + 1] == 45
    return length - at > 8 and equals_caseless(raw + at, b"content-", 8)


cdef int read_lone_returns(Document *document) noexcept nogil:
    """The message as readers see it for whom a lone carriage return ends a line (RFC 5322 2.3 forbids it), where that makes a difference."""
    cdef const uint8_t *raw = document.raw
    cdef size_t length = document.raw_length
    cdef size_t at = 0
    cdef const uint8_t *found
    cdef Buffer octets = Buffer(NULL, 0, 0)
    cdef Header header = no_header()
    cdef bint differs = False
    cdef int outcome, source
    while at < length and not differs:
        if raw[at] != 13:
            found = <const uint8_t *>memchr(raw + at, 13, length - at)
            if found == NULL:
                break
            at = <size_t>(found - raw)
        at += 1
        differs = (at == length or raw[at] != 10) and breaks_structure(raw, at, length, document.header_end)
    if not differs:
        return 0
    outcome = add_reading(document, 0, document.parts[0].header_start, length, True)
    if outcome <= 0:
        return outcome
    document.parts[0].flags |= AMBIGUOUS
    at = document.n_parts - 1
    if append(&octets, raw, length) < 0:
        return -1
    for length in range(octets.length):
        if octets.data[length] == 13 and (length + 1 == octets.length or octets.data[length + 1] != 10):
            octets.data[length] = 10
    length = octets.length
    source = add_source(document, 0, &octets)
    if source < 0:
        free(octets.data)
        return -1
    document.parts[at].source = <uint32_t>source
    return read_parts(document, <uint32_t>at, document.parts[0].header_start, length, &header, NULL)


# ---- types and boundaries ----

cdef int read_as(Document *document, uint32_t index, const HeaderField *field, uint32_t skip, uint32_t *given) noexcept nogil:
    """The content of part `index` under another Content-Type field, or under another boundary of it."""
    cdef Part *part = &document.parts[index]
    cdef Part *other
    cdef Header header = no_header()
    cdef Frame frame
    cdef size_t start = part.body_start
    cdef size_t end = part.body_end
    cdef int outcome = add_reading(document, index, start, end - start, True)
    if outcome <= 0:
        given[0] = 0
        return outcome
    part = &document.parts[index]
    other = &document.parts[document.n_parts - 1]
    frame.part = document.n_parts - 1
    frame.start = frame.length = frame.given = 0
    frame.cut = False
    other.encoding = part.encoding
    other.attachment = part.attachment
    other.body_end = <uint32_t>end
    if read_content_type(document, other, field, &frame, skip) < 0:
        return -1
    given[0] = frame.given
    other.waits &= ~(<uint32_t>WAIT_TYPE)
    if other.media == MEDIA_MULTIPART and other.depth >= ESA_MAX_DEPTH:
        other.flags |= TOO_DEEP
        return 0
    if other.media == MEDIA_MULTIPART and frame.length:
        return read_parts(document, frame.part, start, end, &header, &frame)
    if other.media == MEDIA_MESSAGE:
        outcome = add_reading(document, frame.part, start, end - start, True)
        return read_parts(document, document.n_parts - 1, start, end, &header, NULL) if outcome > 0 else outcome
    if other.media == part.media and other.charset == part.charset:  # no other reading after all
        document.n_parts -= 1
    return 0


cdef int read_other_types(Document *document, uint32_t index) noexcept nogil:
    cdef uint32_t first = document.parts[index].field_first
    cdef uint32_t count = document.parts[index].field_count
    cdef uint32_t at, skip, given
    cdef bint usual = True       # the first boundary of the first field has been read already
    for at in range(first, first + count):
        if document.fields[at].known != FIELD_CONTENT_TYPE:
            continue
        skip = 1 if usual else 0
        given = skip + 1 if not usual or document.parts[index].flags & SEVERAL_BOUNDARIES else 0
        while skip < given:  # read_as tells how many there are
            if read_as(document, index, &document.fields[at], skip, &given) < 0:
                return -1
            skip += 1
        usual = False
    return 0


# ---- containers ----

cdef int decode_content(Document *document, uint32_t index, uint32_t encoding, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef Part *part = &document.parts[index]
    return decode_transfer(encoding, octets_of(document, part) + part.body_start, part.body_end - part.body_start, out, flags)


cdef int read_decoded_as(Document *document, uint32_t index, uint32_t encoding) noexcept nogil:
    """A message or multipart without the transfer encoding it should not have."""
    cdef Part *part = &document.parts[index]
    cdef Buffer octets = Buffer(NULL, 0, 0)
    cdef HeaderField *field
    cdef Header header = no_header()
    cdef Frame frame
    cdef size_t length
    cdef bint another = part.children > 0
    cdef int source
    cdef int outcome = add_reading(document, index, 0, part.body_end - part.body_start, another)
    if outcome <= 0:
        return outcome
    frame.part = document.n_parts - 1
    frame.start = frame.length = frame.given = 0
    frame.cut = False
    if decode_content(document, index, encoding, &octets, &document.parts[index].flags) < 0:
        free(octets.data)
        return -1
    length = octets.length
    part = &document.parts[index]
    if another and length and length == part.body_end - part.body_start and memcmp(
            octets.data, octets_of(document, part) + part.body_start, length) == 0:  # nothing was encoded
        document.n_parts -= 1
        free(octets.data)
        return 0
    source = add_source(document, index, &octets)
    if source < 0:
        free(octets.data)
        return -1
    part = &document.parts[frame.part]
    part.source = <uint32_t>source
    part.body_end = <uint32_t>length
    if document.parts[index].media == MEDIA_MESSAGE:
        return read_parts(document, frame.part, 0, length, &header, NULL)
    field = find_field(document, &document.parts[header_holder(document, index)], FIELD_CONTENT_TYPE)
    if field == NULL:
        return 0
    if read_content_type(document, part, field, &frame, 0) < 0:
        return -1
    part.waits = 0
    part.media_type = part.charset_label = part.boundary = Span(0, 0)  # they stand in another source
    if part.depth >= ESA_MAX_DEPTH:
        part.flags |= TOO_DEEP
    elif part.media == MEDIA_MULTIPART and frame.length:
        return read_parts(document, frame.part, 0, length, &header, &frame)
    return 0


cdef int read_decoded(Document *document, uint32_t index) noexcept nogil:
    cdef Part *part = &document.parts[index]
    cdef Header header = no_header()
    cdef size_t start = part.body_start
    cdef size_t end = part.body_end
    cdef uint32_t holder = header_holder(document, index)
    cdef uint32_t first = document.parts[holder].field_first
    cdef uint32_t count = document.parts[holder].field_count
    cdef uint32_t seen = 0
    cdef uint32_t at, encoding
    cdef int outcome
    for at in range(first, first + count):
        if document.fields[at].known != FIELD_CONTENT_TRANSFER_ENCODING:
            continue
        encoding = encoding_of(document, &document.fields[at])
        if encoding == ENCODING_UNKNOWN:
            encoding = ENCODING_BASE64  # of what nobody knows this can be told from text
        if encoding == ENCODING_IDENTITY or seen & (<uint32_t>1 << encoding):
            continue
        seen |= <uint32_t>1 << encoding
        if read_decoded_as(document, index, encoding) < 0:
            return -1
    part = &document.parts[index]
    if part.media == MEDIA_MESSAGE and part.encoding != ENCODING_IDENTITY and part.encoding != ENCODING_UNKNOWN:
        if begins_field(octets_of(document, part), start, end):  # not encoded at all
            outcome = add_reading(document, index, start, end - start, True)
            return read_parts(document, document.n_parts - 1, start, end, &header, NULL) if outcome > 0 else outcome
    return 0


cdef int open_container(Document *document, uint32_t index, uint32_t kind) noexcept nogil:
    """The content of CMS signed-data or compressed-data, or what a winmail.dat holds."""
    cdef Part *part = &document.parts[index]
    cdef Buffer octets = Buffer(NULL, 0, 0)
    cdef Buffer content = Buffer(NULL, 0, 0)
    cdef Header header = no_header()
    cdef uint64_t flags = 0
    cdef size_t length
    cdef int source
    cdef int outcome
    if not may_read_again(document, part.body_end - part.body_start):
        return 0
    if part.depth >= ESA_MAX_DEPTH:
        part.flags |= TOO_DEEP
        return 0
    outcome = decode_content(document, index, part.encoding, &octets, &flags)
    if outcome == 0 and kind == WAIT_TNEF:
        outcome = open_tnef(document, index, &octets, &flags)
    elif outcome == 0:
        outcome = open_cms(octets.data, octets.length, min(document.budget, <size_t>ESA_MAX_MESSAGE), &content, &flags)
        if outcome > 0:
            length = content.length
            outcome = add_reading(document, index, 0, length, False)
            if outcome > 0:
                source = add_source(document, index, &content)
                outcome = source
                if source > 0:
                    document.parts[document.n_parts - 1].source = <uint32_t>source
                    outcome = read_parts(document, document.n_parts - 1, 0, length, &header, NULL)
    document.parts[index].flags |= flags
    free(octets.data)
    free(content.data)
    return outcome


cdef int read_again(Document *document) noexcept nogil:
    """All that parts wait for; what is added waits in its turn. 0, or -1 for no memory."""
    cdef uint32_t index = 0
    cdef uint32_t waits
    while index < document.n_parts:
        waits = document.parts[index].waits
        document.parts[index].waits &= WAIT_TEXT
        if waits & WAIT_HEADER and read_on(document, index) < 0:
            return -1
        if waits & WAIT_TYPE and read_other_types(document, index) < 0:
            return -1
        if waits & WAIT_DECODED and read_decoded(document, index) < 0:
            return -1
        if waits & WAIT_TNEF:
            if open_container(document, index, WAIT_TNEF) < 0:
                return -1
        elif waits & WAIT_CMS and open_container(document, index, WAIT_CMS) < 0:
            return -1
        index += 1
    return 0
