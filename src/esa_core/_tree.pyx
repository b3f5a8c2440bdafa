"""The tree of parts in one buffer (RFC 2046 5.1, 5.2.1): header after header, delimiter after delimiter.

One pass. The open multiparts stand on a stack of at most ESA_MAX_DEPTH; each line that begins with "--" is compared with their boundaries,
the outermost first (as a reader that hands lines inwards does), and no byte is looked at again for an inner part. There is no recursion.
A boundary that was closed is remembered until the next part begins: parts behind it are read too, as another reading.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memset

from esa_core._boundary cimport Frame, before_break, begins_delimiter, find_delimiter, line_end
from esa_core._buffer cimport equals_caseless, grow
from esa_core._charset cimport CHARSET_ABSENT
from esa_core._document cimport octets_of
from esa_core._header cimport Header, no_header, read_header
from esa_core._media cimport read_mime_fields
from esa_core._types cimport *


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
    if parent >= 0:
        part.source = document.parts[parent].source
        part.another = document.parts[parent].another
    part.field_first = document.n_fields
    part.header_start = part.body_start = part.body_end = <uint32_t>at
    part.charset = CHARSET_ABSENT
    return 0


cdef bint may_hold_part(Document *document, uint32_t index) noexcept nogil:
    """Whether a part inside part `index` is within the limits; else it is flagged with the one that it would break."""
    cdef Part *part = &document.parts[index]
    if part.depth >= ESA_MAX_DEPTH:
        part.flags |= TOO_DEEP
        return False
    if document.n_parts >= ESA_MAX_PARTS:
        part.flags |= TOO_MANY_PARTS
        return False
    return True


cdef bint is_digest(Document *document, const Part *part) noexcept nogil:
    return part.media_type.length == 16 and equals_caseless(octets_of(document, part) + part.media_type.start, b"multipart/digest", 16)


cdef void close_parts(Document *document, uint32_t current, uint32_t upto, size_t end) noexcept nogil:
    """End every open part from `current` up to, not including, its ancestor `upto` at `end`."""
    cdef Part *part
    while current != upto:
        part = &document.parts[current]
        part.body_end = <uint32_t>max(end, part.body_start)
        current = <uint32_t>part.parent


cdef int read_parts(Document *document, uint32_t root, size_t at, size_t length, Header *begun, const Frame *given) noexcept nogil:
    """Read the part `root`, whose header begins at `at` in its source and which ends at `length`, and all in it. 0, or -1 for no memory.

    `begun` is what was read of its header before, mostly nothing. With `given` it is a multipart whose body begins at `at`. Cost is linear in
    the octets, times at most ESA_MAX_DEPTH for lines that begin with "--".
    """
    cdef Frame frames[65]        # ESA_MAX_DEPTH, and one that is read but cannot be opened
    cdef Frame *frame
    cdef Header header = begun[0]
    cdef Part *part
    cdef const uint8_t *raw = octets_of(document, &document.parts[root])
    cdef uint32_t n_frames = 0
    cdef uint32_t n_closed = 0   # frames behind the open ones whose close delimiter has been read
    cdef uint32_t current = root
    cdef uint32_t index
    cdef size_t end
    cdef bint closes = False
    cdef bint digest = False
    cdef bint unread
    cdef bint headless = given != NULL
    cdef int found
    if headless:
        frames[0] = given[0]
        n_frames = 1
    while True:
        if not headless:  # the header of `current` begins at `at`
            if read_header(document, current, &at, length, frames, n_frames, &header) < 0:
                return -1
            frame = &frames[n_frames]
            frame.part = current
            frame.start = frames[n_frames - 1].start + frames[n_frames - 1].length if n_frames else 0
            frame.length = frame.given = 0
            frame.cut = False
            n_closed = 0
            if read_mime_fields(document, current, &header, digest, frame) < 0:
                return -1
            header = no_header()
            digest = False
            part = &document.parts[current]
            if part.media == MEDIA_MESSAGE and (part.encoding == ENCODING_IDENTITY or part.encoding == ENCODING_UNKNOWN):
                if may_hold_part(document, current):
                    part.children = 1
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
        headless = False
        # look for the delimiter that begins the next part
        unread = True
        while unread and n_frames + n_closed and at < length:
            end = line_end(raw, at, length)
            if not begins_delimiter(raw, at, length):
                at = end
                continue
            found = find_delimiter(document, raw, frames, n_frames + n_closed, at, end, &closes)
            if found < 0 or (closes and <uint32_t>found >= n_frames):
                at = end
                continue
            part = &document.parts[frames[found].part]
            if <uint32_t>found >= n_frames:  # `current` is closed: frames[found].part or what it stands in
                part.flags |= PARTS_AFTER_CLOSE | AMBIGUOUS
            else:
                for index in range(<uint32_t>found + 1, n_frames):
                    document.parts[frames[index].part].flags |= UNTERMINATED_MULTIPART
                close_parts(document, current, frames[found].part, before_break(raw, document.parts[current].body_start, at))
            current = frames[found].part
            if part.preamble_end == 0:
                part.preamble_end = <uint32_t>before_break(raw, part.body_start, at)
            at = end
            if closes:
                if part.epilogue_start == 0:
                    part.epilogue_start = <uint32_t>end
                n_closed = n_frames + n_closed - <uint32_t>found
                n_frames = <uint32_t>found
                continue
            n_frames = <uint32_t>found + 1
            if document.n_parts >= ESA_MAX_PARTS:
                part.flags |= TOO_MANY_PARTS
                continue
            unread = False
        if unread:
            break
        while begins_delimiter(raw, at, length):  # the same delimiter again at once makes no empty part
            end = line_end(raw, at, length)
            if find_delimiter(document, raw, &frames[n_frames - 1], 1, at, end, &closes) < 0 or closes:
                break
            at = end
        part = &document.parts[current]
        digest = is_digest(document, part)
        index = part.depth + 1
        if part.flags & PARTS_AFTER_CLOSE == 0:
            part.children += 1
        if add_part(document, <int32_t>current, index, at) < 0:
            return -1
        if document.parts[current].flags & PARTS_AFTER_CLOSE:
            document.parts[document.n_parts - 1].another = 1
        current = document.n_parts - 1
    close_parts(document, current, root, length)
    document.parts[root].body_end = <uint32_t>length
    for index in range(n_frames):
        document.parts[frames[index].part].flags |= UNTERMINATED_MULTIPART
    return 0
