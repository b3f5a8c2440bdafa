"""Read one buffer into header-field and part records (RFC 5322, 2045 to 2049): offsets only, nothing is copied or decoded.

One pass. The open multiparts stand on a stack of at most ESA_MAX_DEPTH; each line that begins with "--" is compared with their boundaries,
the outermost first (as a reader that hands lines inwards does), and no byte is looked at again for an inner part. There is no recursion.
Lines end with LF or CRLF. A header ends with an empty line, with a delimiter line, or before a line that is no field (as in Postfix).
Odd input sets a flag of `Document.flags` (and of the part) and is read on; -1 only says that there is no memory.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from esa_core._boundary cimport Frame, before_break, begins_delimiter, find_delimiter, line_end
from esa_core._buffer cimport equals_caseless, grow
from esa_core._charset cimport CHARSET_ABSENT
from esa_core._header cimport Header, read_header
from esa_core._media cimport read_mime_fields
from esa_core._types cimport *


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
