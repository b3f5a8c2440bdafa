"""Open TNEF (MS-OXTNEF; winmail.dat): its attachments, its body text and the messages attached to it become parts.

A part is a slice of the decoded stream, which becomes a source of the document; rich text alone is unpacked into a source of its own. What
reaches past its end is cut and flagged BAD_CONTAINER. One pass over the attributes and one over the properties in them; a message inside
waits for its own turn, so there is no recursion. -1 only says that there is no memory.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from esa_core._charset cimport CHARSET_ABSENT, CHARSET_UNKNOWN, CHARSET_UTF8, CHARSET_UTF16LE, CHARSET_WINDOWS_1252, find_charset
from esa_core._document cimport add_source, may_read_again
from esa_core._rtf cimport read_rtf, unpack_rtf
from esa_core._tree cimport add_part, may_hold_part
from esa_core._types cimport *

cdef enum:                       # attributes: type << 16 | identifier (MS-OXTNEF 2.1.3.2)
    ATTACHMENT_BEGINS = 0x00069002
    ATTACHMENT_TITLE = 0x00018010
    ATTACHMENT_DATA = 0x0006800F
    ATTACHMENT_PROPERTIES = 0x00069005
    MESSAGE_PROPERTIES = 0x00069003
    MESSAGE_BODY = 0x0002800C
    CODE_PAGE = 0x00069007

cdef enum:                       # properties (MS-OXPROPS) and their types (MS-OXCDATA 2.11.1)
    LONG_FILE_NAME = 0x3707
    SHORT_FILE_NAME = 0x3704
    ATTACHED_OBJECT = 0x3701
    BODY = 0x1000
    BODY_HTML = 0x1013
    RICH_TEXT = 0x1009
    TYPE_OBJECT = 0x000D
    TYPE_STRING8 = 0x001E
    TYPE_UNICODE = 0x001F
    TYPE_BINARY = 0x0102
    SEVERAL_VALUES = 0x1000

cdef struct Opened:              # the winmail.dat being read
    Document *document
    uint32_t index               # its part
    uint32_t source              # its decoded octets
    uint32_t charset             # of its 8-bit strings
    uint64_t *flags
    uint32_t attachment          # the part of the attachment being read, 0 if none
    Span name
    uint32_t name_charset


cdef inline uint32_t little(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef uint32_t charset_of(uint32_t page) noexcept nogil:
    """The character set of a Windows code page."""
    cdef uint8_t label[16]
    cdef uint8_t digits[10]
    cdef uint32_t count = 0
    cdef uint32_t at
    cdef uint32_t found
    cdef const char *stem = b"windows"
    if page == 65001:
        return CHARSET_UTF8
    if page == 1200:
        return CHARSET_UTF16LE
    while page and count < 6:
        digits[count] = <uint8_t>(48 + page % 10)
        page //= 10
        count += 1
    for at in range(7):
        label[at] = <uint8_t>stem[at]
    for at in range(count):
        label[7 + at] = digits[count - 1 - at]
    found = find_charset(label, 7 + count)
    if found == CHARSET_UNKNOWN:  # 874 and the like are known as cp874
        label[5] = 99
        label[6] = 112
        found = find_charset(label + 5, 2 + count)
    return <uint32_t>CHARSET_WINDOWS_1252 if found == CHARSET_UNKNOWN else found


cdef Part *add_opened(Opened *tnef, uint32_t source, size_t start, size_t end, uint32_t media, uint32_t charset) noexcept nogil:
    """A part that is source[start:end]; NULL for no memory, or past the limits (then `index` is 0)."""
    cdef Document *document = tnef.document
    cdef Part *part = &document.parts[tnef.index]
    if not may_hold_part(document, tnef.index):
        return NULL
    part.children += 1
    if add_part(document, <int32_t>tnef.index, part.depth + 1, start) < 0:
        tnef.index = 0xFFFFFFFFu
        return NULL
    part = &document.parts[document.n_parts - 1]
    part.source = source
    part.body_end = <uint32_t>end
    part.media = <uint16_t>media
    part.charset = <uint16_t>charset
    return part


cdef void end_attachment(Opened *tnef) noexcept nogil:
    """Give the attachment that was read its name."""
    cdef Part *part
    if tnef.attachment:
        part = &tnef.document.parts[tnef.attachment]
        part.given_name = tnef.name
        part.given_charset = tnef.name_charset
    tnef.attachment = 0
    tnef.name = Span(0, 0)


cdef void read_name(Opened *tnef, const uint8_t *octets, size_t start, size_t end, uint32_t charset) noexcept nogil:
    while end > start and octets[end - 1] == 0 and (charset != CHARSET_UTF16LE or (end - start >= 2 and octets[end - 2] == 0)):
        end -= 2 if charset == CHARSET_UTF16LE else 1
    if end > start:
        tnef.name = Span(<uint32_t>start, <uint32_t>(end - start))
        tnef.name_charset = charset


cdef int read_rich_text(Opened *tnef, const uint8_t *octets, size_t start, size_t end) noexcept nogil:
    """Unpack, and add the text or the HTML in it as a part."""
    cdef Document *document = tnef.document
    cdef Buffer rich = Buffer(NULL, 0, 0)
    cdef Buffer text = Buffer(NULL, 0, 0)
    cdef bint is_html = False
    cdef size_t wanted
    cdef uint32_t length
    cdef int source = 0
    if end - start < 16:
        return 0
    wanted = min(<size_t>little(octets + start + 4), 9 * (end - start))  # 17 octets of 17 bits are the most there can be
    if not may_read_again(document, wanted):
        return 0
    if unpack_rtf(octets + start, end - start, wanted, &rich, tnef.flags) < 0 or read_rtf(
            rich.data, rich.length, tnef.charset, &text, &is_html) < 0:
        source = -1
    length = text.length
    if source == 0 and length:
        source = add_source(document, tnef.index, &text)
        if source > 0 and add_opened(
                tnef, <uint32_t>source, 0, length, MEDIA_TEXT_HTML if is_html else MEDIA_TEXT_PLAIN, CHARSET_UTF8) == NULL:
            source = -1 if tnef.index == 0xFFFFFFFFu else 0
    free(rich.data)
    free(text.data)
    return -1 if source < 0 else 0


cdef int read_property(Opened *tnef, const uint8_t *octets, uint32_t property, uint32_t kind, size_t start, size_t end,
                       bint of_message) noexcept nogil:
    """One value of variable length; those that nobody sees are passed over."""
    cdef uint32_t charset = CHARSET_UTF16LE if kind == TYPE_UNICODE else tnef.charset
    cdef Part *part
    if not of_message and property == LONG_FILE_NAME and (kind == TYPE_UNICODE or kind == TYPE_STRING8):
        read_name(tnef, octets, start, end, charset)
    elif not of_message and property == SHORT_FILE_NAME and tnef.name.length == 0 and (kind == TYPE_UNICODE or kind == TYPE_STRING8):
        read_name(tnef, octets, start, end, charset)
    elif not of_message and property == ATTACHED_OBJECT and end - start > 20:
        part = add_opened(tnef, tnef.source, start + 16, end, MEDIA_OTHER, CHARSET_ABSENT)  # behind an interface identifier
        if part != NULL:
            part.attachment = 1
            tnef.attachment = tnef.document.n_parts - 1
            if little(octets + start + 16) == 0x223E9F78:  # a message, again as TNEF
                part.waits = WAIT_TNEF
    elif of_message and property == BODY and (kind == TYPE_UNICODE or kind == TYPE_STRING8):
        add_opened(tnef, tnef.source, start, trimmed(octets, start, end, charset), MEDIA_TEXT_PLAIN, charset)
    elif of_message and property == BODY_HTML:
        add_opened(tnef, tnef.source, start, trimmed(octets, start, end, charset), MEDIA_TEXT_HTML,
                   charset if kind == TYPE_UNICODE else CHARSET_ABSENT)
    elif of_message and property == RICH_TEXT and kind == TYPE_BINARY:
        return read_rich_text(tnef, octets, start, end)
    return -1 if tnef.index == 0xFFFFFFFFu else 0


cdef size_t trimmed(const uint8_t *octets, size_t start, size_t end, uint32_t charset) noexcept nogil:
    """`end` without the terminating NUL of a string."""
    if charset == CHARSET_UTF16LE:
        return end - 2 if end - start >= 2 and octets[end - 1] == 0 and octets[end - 2] == 0 else end
    return end - 1 if end > start and octets[end - 1] == 0 else end


cdef uint32_t width_of(uint32_t kind) noexcept nogil:
    """Octets of a value of fixed width as it is stored, 0 if its width varies."""
    if kind == 0x0002 or kind == 0x0003 or kind == 0x0004 or kind == 0x000A or kind == 0x000B:
        return 4
    if kind == 0x0005 or kind == 0x0006 or kind == 0x0007 or kind == 0x0014 or kind == 0x0040:
        return 8
    return 16 if kind == 0x0048 else 0


cdef int read_properties(Opened *tnef, const uint8_t *octets, size_t at, size_t end, bint of_message) noexcept nogil:
    """MsgPropertyList (MS-OXTNEF 2.1.3.4): a count, then type, identifier, perhaps a name, and values padded to four octets."""
    cdef uint32_t left, kind, property, width, length
    cdef uint64_t values
    if end - at < 4:
        tnef.flags[0] |= BAD_CONTAINER
        return 0
    left = little(octets + at)
    at += 4
    while left and end - at >= 4:
        left -= 1
        kind = little(octets + at) & 0xFFFF
        property = little(octets + at) >> 16
        at += 4
        if property >= 0x8000:  # named: GUID, then a number or a string
            if end - at < 24:
                tnef.flags[0] |= BAD_CONTAINER
                return 0
            length = little(octets + at + 20)
            at += 24
            if little(octets + at - 8) == 1:
                if length > end - at:
                    tnef.flags[0] |= BAD_CONTAINER
                    return 0
                at += min((<size_t>length + 3) & ~<size_t>3, end - at)
        width = width_of(kind & ~<uint32_t>SEVERAL_VALUES)
        values = 1
        if kind & SEVERAL_VALUES or width == 0:
            if end - at < 4:
                tnef.flags[0] |= BAD_CONTAINER
                return 0
            values = little(octets + at)
            at += 4
        if width:
            if values * width > end - at:
                tnef.flags[0] |= BAD_CONTAINER
                return 0
            at += <size_t>(values * width)
            continue
        while values:
            values -= 1
            if end - at < 4:
                tnef.flags[0] |= BAD_CONTAINER
                return 0
            length = little(octets + at)
            at += 4
            if length > end - at:
                tnef.flags[0] |= BAD_CONTAINER
                length = <uint32_t>(end - at)
            if read_property(tnef, octets, property, kind, at, at + length, of_message) < 0:
                return -1
            at += min((<size_t>length + 3) & ~<size_t>3, end - at)
    return 0


cdef int open_tnef(Document *document, uint32_t index, Buffer *octets, uint64_t *flags) noexcept nogil:
    """Take over `octets`, the decoded content of part `index`, and add what it holds as its children. 0, or -1 for no memory."""
    cdef Opened tnef
    cdef Part *part
    cdef const uint8_t *data
    cdef size_t length = octets.length
    cdef size_t at = 6           # behind signature and key
    cdef size_t end
    cdef uint32_t attribute
    cdef int source
    cdef int outcome = 0
    if length < 6 or little(octets.data) != 0x223E9F78:
        flags[0] |= BAD_CONTAINER
        return 0
    flags[0] |= TNEF
    source = add_source(document, index, octets)
    if source < 0:
        return -1
    data = document.sources[source].data
    tnef = Opened(document, index, <uint32_t>source, CHARSET_WINDOWS_1252, flags, 0, Span(0, 0), CHARSET_WINDOWS_1252)
    while length - at >= 9:      # level, identifier, length; then the data and a checksum
        attribute = little(data + at + 1)
        end = at + 9 + little(data + at + 5)
        at += 9
        if end > length:
            flags[0] |= BAD_CONTAINER
            end = length
        if attribute == CODE_PAGE and end - at >= 4:
            tnef.charset = charset_of(little(data + at))
        elif attribute == ATTACHMENT_BEGINS:
            end_attachment(&tnef)
        elif attribute == ATTACHMENT_TITLE and tnef.name.length == 0:
            read_name(&tnef, data, at, end, tnef.charset)
        elif attribute == ATTACHMENT_DATA:
            part = add_opened(&tnef, tnef.source, at, end, MEDIA_OTHER, CHARSET_ABSENT)
            if part != NULL:
                part.attachment = 1
                tnef.attachment = document.n_parts - 1
        elif attribute == ATTACHMENT_PROPERTIES:
            outcome = read_properties(&tnef, data, at, end, False)
        elif attribute == MESSAGE_PROPERTIES:
            outcome = read_properties(&tnef, data, at, end, True)
        elif attribute == MESSAGE_BODY:
            add_opened(&tnef, tnef.source, at, trimmed(data, at, end, tnef.charset), MEDIA_TEXT_PLAIN, tnef.charset)
        if outcome < 0 or tnef.index == 0xFFFFFFFFu:
            return -1
        at = min(end + 2, length)
    if at < length:
        flags[0] |= BAD_CONTAINER
    end_attachment(&tnef)
    return 0
