"""Open opaque-signed and compressed mail: the content of CMS signed-data (RFC 5652 5, RFC 8551 3.5) and compressed-data (RFC 3274, RFC 8551
3.6), in BER or DER, definite and indefinite lengths.

Signatures are not looked at: what matters is that the content is scanned as its reader sees it. One pass, no recursion, and never more
output than input, of compressed content than there is room. Elements that reach past the end are cut there (BAD_CONTAINER). -1 only says that
there is no memory.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp

from esa_core._buffer cimport append
from esa_core._inflate cimport inflate
from esa_core._types cimport BAD_CONTAINER, ENCRYPTED, OPAQUE_SIGNED, Buffer

cdef enum:                       # identifier octets (X.690 8.1.2)
    END_OF_CONTENTS = 0x00
    OCTET_STRING = 0x04
    OBJECT_IDENTIFIER = 0x06
    OCTET_STRINGS = 0x24         # constructed
    SEQUENCE = 0x30
    EXPLICIT = 0xA0              # [0]

cdef struct Element:
    uint8_t tag
    bint indefinite              # it ends with end-of-contents octets
    size_t start                 # of its content
    size_t end                   # behind its content; of an indefinite one the end of what it stands in


cdef bint read_element(const uint8_t *ber, size_t at, size_t end, Element *element, uint64_t *flags) noexcept nogil:
    """The identifier and length at `at`; False where there is none."""
    cdef size_t length = 0
    cdef uint8_t count
    if at + 2 > end:
        return False
    element.tag = ber[at]
    if element.tag & 0x1F == 0x1F:  # CMS has no tags over 30
        return False
    count = ber[at + 1]
    at += 2
    element.indefinite = count == 0x80
    if count < 0x80:
        length = count
    elif not element.indefinite:
        count &= 0x7F
        if count > 8 or at + count > end:
            return False
        while count:
            length = length << 8 | ber[at]
            at += 1
            count -= 1
    element.start = at
    element.end = end
    if element.indefinite:
        return element.tag & 0x20 != 0  # only a constructed one may be
    if length > end - at:
        flags[0] |= BAD_CONTAINER
    else:
        element.end = at + length
    return True


cdef size_t behind(const uint8_t *ber, const Element *element, uint64_t *flags) noexcept nogil:
    """Offset behind a whole element."""
    cdef Element inner
    cdef size_t at = element.start
    cdef size_t open_ones = 1
    if not element.indefinite:
        return element.end
    while open_ones and read_element(ber, at, element.end, &inner, flags):
        at = inner.start
        if inner.indefinite:
            open_ones += 1
        elif inner.tag == END_OF_CONTENTS:
            open_ones -= 1
        else:
            at = inner.end
    return at


cdef int gather(const uint8_t *ber, const Element *strings, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append the octets of a string in one piece or in many; -1 for no memory."""
    cdef Element piece
    cdef size_t at = strings.start
    cdef size_t open_ones = 1 if strings.indefinite else 0
    if strings.tag == OCTET_STRING:
        return append(out, ber + at, strings.end - at)
    while at < strings.end:
        if not read_element(ber, at, strings.end, &piece, flags):
            flags[0] |= BAD_CONTAINER
            break
        at = piece.start
        if piece.tag == OCTET_STRING:
            if append(out, ber + at, piece.end - at) < 0:
                return -1
            at = piece.end
        elif piece.tag == OCTET_STRINGS:
            open_ones += piece.indefinite
        elif piece.tag == END_OF_CONTENTS and open_ones:
            open_ones -= 1
            if open_ones == 0 and strings.indefinite:
                break
        else:
            flags[0] |= BAD_CONTAINER
            at = piece.end
    return 0


cdef bint is_kind(const uint8_t *ber, const Element *identifier, const char *wanted, size_t length) noexcept nogil:
    return identifier.end - identifier.start == length and memcmp(ber + identifier.start, wanted, length) == 0


cdef int unpack(const uint8_t *ber, const Element *strings, size_t room, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append what the octets of a string hold compressed; -1 for no memory."""
    cdef Buffer packed = Buffer(NULL, 0, 0)
    cdef int outcome = gather(ber, strings, &packed, flags)
    if outcome == 0:
        outcome = inflate(packed.data, packed.length, room, out, flags)
    free(packed.data)
    return outcome


cdef int open_cms(const uint8_t *ber, size_t length, size_t room, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append the content, of compressed content `room` octets at most: 1; or 0 if there is none (encrypted, detached, only certificates, no CMS)."""
    cdef Element element
    cdef Element outer
    cdef uint64_t odd = BAD_CONTAINER
    cdef bint compressed
    cdef int number, _number
    # ContentInfo: SEQUENCE { OBJECT IDENTIFIER, [0] content }
    if not read_element(ber, 0, length, &element, flags) or element.tag != SEQUENCE:
        flags[0] |= odd
        return 0
    outer = element
    if not read_element(ber, outer.start, outer.end, &element, flags) or element.tag != OBJECT_IDENTIFIER:
        flags[0] |= odd
        return 0
    # 1.2.840.113549.1.7: 2 signed, 3 enveloped, 6 encrypted data; 1.2.840.113549.1.9.16.1.23 authenticated-enveloped data
    if is_kind(ber, &element, b"\x2A\x86\x48\x86\xF7\x0D\x01\x07\x03", 9) or is_kind(
            ber, &element, b"\x2A\x86\x48\x86\xF7\x0D\x01\x07\x06", 9) or is_kind(
            ber, &element, b"\x2A\x86\x48\x86\xF7\x0D\x01\x09\x10\x01\x17", 11):
        flags[0] |= ENCRYPTED
        return 0
    compressed = is_kind(ber, &element, b"\x2A\x86\x48\x86\xF7\x0D\x01\x09\x10\x01\x09", 11)
    if not compressed and not is_kind(ber, &element, b"\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02", 9):
        flags[0] |= odd
        return 0
    # SignedData: SEQUENCE { version, digestAlgorithms, encapContentInfo SEQUENCE { OBJECT IDENTIFIER, [0] OCTET STRING }, … }
    # CompressedData: SEQUENCE { version, compressionAlgorithm, encapContentInfo }
    for number in range(2):
        if not read_element(ber, element.end if number == 0 else element.start, outer.end, &element, flags) or element.tag != (
                EXPLICIT if number == 0 else SEQUENCE):
            flags[0] |= odd
            return 0
    outer = element
    element.end = outer.start
    element.indefinite = False
    for _number in range(3):
        if not read_element(ber, behind(ber, &element, flags), outer.end, &element, flags):
            flags[0] |= odd
            return 0
    outer = element
    if outer.tag != SEQUENCE or not read_element(ber, outer.start, outer.end, &element, flags) or element.tag != OBJECT_IDENTIFIER:
        flags[0] |= odd
        return 0
    if not read_element(ber, element.end, outer.end, &element, flags) or element.tag != EXPLICIT:
        return 0  # detached
    if not read_element(ber, element.start, element.end, &element, flags) or element.tag & 0xDF != OCTET_STRING:
        flags[0] |= odd
        return 0
    if compressed:
        return -1 if unpack(ber, &element, room, out, flags) < 0 else 1
    flags[0] |= OPAQUE_SIGNED
    return -1 if gather(ber, &element, out, flags) < 0 else 1
