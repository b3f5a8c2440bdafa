"""Compressed rich text (MS-OXRTFCP) unpacked, and its text or the HTML it wraps (MS-OXRTFEX) taken out, each in one pass.

What is shown is kept and everything else left out: font and colour tables, pictures, ignorable destinations. Nesting past MAX_GROUPS is
read as one group. -1 only says that there is no memory.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strlen

from esa_core._buffer cimport Word, append, append_octet, encode_utf8, meaning_of, reserve
from esa_core._charset cimport CHARSET_WINDOWS_1252, convert
from esa_core._types cimport BAD_CONTAINER, Buffer

cdef extern from *:
    """
    /* The dictionary that both sides begin with (MS-OXRTFCP 2.1.3.1.5). */
    static const char rtf_dictionary[] =
        "{\\\\rtf1\\\\ansi\\\\mac\\\\deff0\\\\deftab720{\\\\fonttbl;}{\\\\f0\\\\fnil \\\\froman \\\\fswiss \\\\fmodern \\\\fscript \\\\fdecor "
        "MS Sans SerifSymbolArialTimes New RomanCourier{\\\\colortbl\\\\red0\\\\green0\\\\blue0\\r\\n"
        "\\\\par \\\\pard\\\\plain\\\\f0\\\\fs20\\\\b\\\\i\\\\u\\\\tab\\\\tx";
    """
    const char *rtf_dictionary

cdef enum:
    DICTIONARY = 4096
    BEGINNING = 207              # octets of rtf_dictionary
    MAX_GROUPS = 128             # nesting of groups that is told apart
    LONGEST_WORD = 32            # of a control word (RTF 1.9.1)

cdef struct Group:
    bint silent                  # a destination that is not shown
    bint tag                     # an \htmltag group: HTML as it stands
    uint16_t fallbacks           # \uc: octets behind \u that stand for it elsewhere


cdef inline uint32_t little(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef int unpack_rtf(const uint8_t *packed, size_t length, size_t room, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append the rich text of PidTagRtfCompressed, at most `room` octets; what is damaged or too long is cut (BAD_CONTAINER)."""
    cdef uint8_t window[4096]
    cdef uint32_t put = BEGINNING
    cdef uint32_t kind, bits, source, count
    cdef int _token
    cdef size_t at = 16
    cdef size_t wanted
    if length < 16:
        flags[0] |= BAD_CONTAINER
        return 0
    kind = little(packed + 8)
    wanted = min(<size_t>little(packed + 4), room)
    if kind == 0x414C454D:  # "MELA": not compressed
        return append(out, packed + 16, min(length - 16, wanted))
    if kind != 0x75465A4C:  # "LZFu"
        flags[0] |= BAD_CONTAINER
        return 0
    memset(window, 0, DICTIONARY)
    memcpy(window, rtf_dictionary, BEGINNING)
    wanted += out.length
    while at < length and out.length < wanted:
        bits = packed[at]
        at += 1
        if reserve(out, 8 * 17) < 0:
            return -1
        for _token in range(8):
            if at >= length:
                break
            if bits & 1 == 0:
                window[put] = out.data[out.length] = packed[at]
                out.length += 1
                put = (put + 1) % DICTIONARY
                at += 1
            else:
                if at + 1 >= length:
                    at = length
                    break
                source = <uint32_t>packed[at] << 4 | packed[at + 1] >> 4
                count = (packed[at + 1] & 15) + 2
                at += 2
                if source == put:
                    return 0
                while count:
                    window[put] = out.data[out.length] = window[source]
                    out.length += 1
                    put = (put + 1) % DICTIONARY
                    source = (source + 1) % DICTIONARY
                    count -= 1
            bits >>= 1
    if out.length < wanted:
        flags[0] |= BAD_CONTAINER
    return 0


cdef bint is_word(const uint8_t *word, size_t length, const char *wanted) noexcept nogil:
    return strlen(wanted) == length and memcmp(word, wanted, length) == 0


cdef Word[10] UNSEEN  # destinations whose text is not part of the document
UNSEEN = [
    Word(b"fonttbl", 1), Word(b"colortbl", 1), Word(b"stylesheet", 1), Word(b"info", 1), Word(b"pict", 1), Word(b"objdata", 1),
    Word(b"filetbl", 1), Word(b"listtable", 1), Word(b"revtbl", 1), Word(NULL, 0),
]
cdef Word[14] CHARACTERS  # control words that stand for a character
CHARACTERS = [
    Word(b"par", 10), Word(b"line", 10), Word(b"row", 10), Word(b"sect", 10), Word(b"tab", 9), Word(b"cell", 9),
    Word(b"lquote", 0x2018), Word(b"rquote", 0x2019), Word(b"ldblquote", 0x201C), Word(b"rdblquote", 0x201D),
    Word(b"bullet", 0x2022), Word(b"endash", 0x2013), Word(b"emdash", 0x2014), Word(NULL, 0),
]


cdef int put_point(Buffer *out, uint32_t point) noexcept nogil:
    if reserve(out, 4) < 0:
        return -1
    out.length += <uint32_t>encode_utf8(out.data + out.length, point if point < 0xD800 or 0xDFFF < point < 0x110000 else 0xFFFD)
    return 0


cdef int hexadecimal(uint8_t octet) noexcept nogil:
    if 48 <= octet <= 57:
        return octet - 48
    return (octet | 32) - 87 if 97 <= (octet | 32) <= 102 else -1


cdef int read_rtf(const uint8_t *rtf, size_t length, uint32_t charset, Buffer *out, bint *is_html) noexcept nogil:
    """Append the text of a document as UTF-8, or (`is_html`) the HTML that was wrapped in it."""
    cdef Group groups[128]
    cdef Group *group = &groups[0]
    cdef uint32_t depth = 0      # of groups, also of those past MAX_GROUPS
    cdef uint32_t skip = 0       # fallback characters behind \u still to leave out
    cdef uint32_t high = 0       # a high surrogate that waits for its low one
    cdef uint32_t point
    cdef bint wrapped = False    # between \htmlrtf and \htmlrtf0: only for readers of RTF
    cdef bint ignorable = False  # behind \*
    cdef bint has_number, negative
    cdef uint8_t octet
    cdef size_t at = 0
    cdef size_t word, word_length
    cdef int64_t number
    cdef uint64_t flags = 0
    groups[0] = Group(False, False, 1)
    is_html[0] = False
    while at < length:
        octet = rtf[at]
        at += 1
        if octet == 123:  # {
            depth += 1
            if depth < MAX_GROUPS:
                groups[depth] = group[0]
                group = &groups[depth]
            ignorable = False
            continue
        if octet == 125:  # }
            if depth:
                depth -= 1
            group = &groups[min(depth, <uint32_t>MAX_GROUPS - 1)]
            continue
        if octet == 10 or octet == 13:
            continue
        if octet != 92 or at >= length:  # text
            if skip:
                skip -= 1
            elif not group.silent and (not wrapped or group.tag):
                if (append_octet(out, octet) if octet < 128 else convert(charset, &octet, 1, out, &flags)) < 0:
                    return -1
            continue
        octet = rtf[at]
        if not 97 <= (octet | 32) <= 122:  # a control symbol
            at += 1
            point = 0
            if octet == 42:
                ignorable = True
                continue
            if octet == 39 and at + 1 < length and hexadecimal(rtf[at]) >= 0 and hexadecimal(rtf[at + 1]) >= 0:
                octet = <uint8_t>(hexadecimal(rtf[at]) << 4 | hexadecimal(rtf[at + 1]))
                at += 2
                word = 1         # octets of the character
                if octet >= 128 and at + 3 < length and rtf[at] == 92 and rtf[at + 1] == 39:  # the second octet of a double-byte set
                    word = 2
                if skip:
                    skip -= 1
                elif not group.silent and not wrapped:
                    if word == 2 and charset != CHARSET_WINDOWS_1252:
                        at = put_double(rtf, at, charset, octet, out, &flags)
                        if at == 0:
                            return -1
                    elif convert(charset, &octet, 1, out, &flags) < 0:
                        return -1
                continue
            if octet == 92 or octet == 123 or octet == 125:
                point = octet
            elif octet == 126:
                point = 0xA0
            elif octet == 95:
                point = 0x2011
            elif octet == 10 or octet == 13:
                point = 10
            if skip and point:
                skip -= 1
            elif point and not group.silent and (not wrapped or group.tag) and put_point(out, point) < 0:
                return -1
            continue
        word = at
        while at < length and at - word < LONGEST_WORD and 97 <= (rtf[at] | 32) <= 122:
            at += 1
        word_length = at - word
        negative = at < length and rtf[at] == 45
        at += negative
        has_number = False
        number = 0
        while at < length and 48 <= rtf[at] <= 57:
            has_number = True
            if number < 0x7FFFFFFF:
                number = number * 10 + rtf[at] - 48
            at += 1
        if negative:
            number = -number
        if at < length and rtf[at] == 32:
            at += 1
        if is_word(rtf + word, word_length, b"bin"):
            at += <size_t>min(max(number, 0), <int64_t>(length - at))
        elif is_word(rtf + word, word_length, b"htmltag"):
            group.tag = True
            group.silent = False
        elif is_word(rtf + word, word_length, b"htmlrtf"):
            wrapped = is_html[0] and not (has_number and number == 0)
        elif is_word(rtf + word, word_length, b"fromhtml"):
            is_html[0] = True
        elif is_word(rtf + word, word_length, b"uc"):
            group.fallbacks = <uint16_t>min(max(number, 0), 16)
        elif is_word(rtf + word, word_length, b"u") and has_number:
            point = <uint32_t>(number + 65536 if number < 0 else number)
            if 0xD800 <= point < 0xDC00:
                high = point
            else:
                if 0xDC00 <= point < 0xE000 and high:
                    point = 0x10000 + ((high - 0xD800) << 10) + point - 0xDC00
                high = 0
                if not group.silent and (not wrapped or group.tag) and put_point(out, point) < 0:
                    return -1
            skip = group.fallbacks
            ignorable = False
            continue
        elif ignorable or meaning_of(UNSEEN, rtf + word, word_length, 0):
            group.silent = True
        else:
            point = meaning_of(CHARACTERS, rtf + word, word_length, 0)
            if point and not group.silent and (not wrapped or group.tag) and put_point(out, point) < 0:
                return -1
        ignorable = False
        skip = 0
    return 0


cdef size_t put_double(const uint8_t *rtf, size_t at, uint32_t charset, uint8_t first, Buffer *out, uint64_t *flags) noexcept nogil:
    """`at` is at the second \'hh of what may be a character of two octets: the offset behind what was read, or 0 for no memory."""
    cdef uint8_t octets[2]
    cdef uint64_t odd = 0
    cdef uint32_t before = out.length
    octets[0] = first
    if convert(charset, octets, 1, out, &odd) < 0:
        return 0
    if odd == 0 or hexadecimal(rtf[at + 2]) < 0 or hexadecimal(rtf[at + 3]) < 0:
        flags[0] |= odd
        return at
    out.length = before
    octets[1] = <uint8_t>(hexadecimal(rtf[at + 2]) << 4 | hexadecimal(rtf[at + 3]))
    return at + 4 if convert(charset, octets, 2, out, flags) >= 0 else 0
