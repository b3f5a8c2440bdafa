"""Header values → UTF-8: unfolding, encoded words (RFC 2047), mailboxes (RFC 5322 3.4, leniently), file names (RFC 2231 and its rivals).

Encoded words are decoded wherever they stand, inside words and quotes too, as clients do; neighbours in one character set are joined before
it is decoded, so that a character may be split between them. Every function passes its value once (a search that failed is not repeated),
appends to `out`, and gives -1 only for no memory.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr

from esa_core._buffer cimport equals_caseless, lower, reserve
from esa_core._charset cimport CHARSET_ABSENT, CHARSET_GB18030, CHARSET_ISO_2022_JP, CHARSET_SINGLE, CHARSET_UNKNOWN, convert, find_charset
from esa_core._document cimport octets_of
from esa_core._parameter cimport Parameter, first_parameter, hexadecimal, is_blank, next_parameter, skip_comment
from esa_core._transfer cimport decode_base64, decode_quoted_printable
from esa_core._types cimport *
from esa_core._utf8 cimport is_ascii, is_utf8

cdef enum:
    LONGEST_LABEL = 64           # of a character set in an encoded word
    PASSES = 8                   # over the parameters of a field, looking for sections in odd order
    DECLARING = 8                # parts that are asked for a charset

cdef struct Word:                # an encoded word; offsets in the value
    size_t label
    size_t label_length
    size_t text
    size_t text_length
    size_t end
    bint base64


# ---- encoded words ----

cdef bint read_word(const uint8_t *value, size_t at, size_t length, Word *word, bint *exhausted) noexcept nogil:
    """Is there an encoded word at `at` ("=?")? `exhausted`: no "?=" stands in the rest, so that it is not looked for again."""
    cdef size_t here = at + 2
    cdef size_t limit = min(length, here + LONGEST_LABEL)
    cdef const uint8_t *found
    if exhausted[0]:
        return False
    while here < limit and value[here] > 32 and value[here] != 63 and value[here] < 127:
        here += 1
    word.label = at + 2
    word.label_length = here - word.label
    if word.label_length == 0 or here + 3 > length or value[here] != 63 or value[here + 2] != 63:
        return False
    if (value[here + 1] | 32) != 98 and (value[here + 1] | 32) != 113:
        return False
    word.base64 = (value[here + 1] | 32) == 98
    here += 3
    word.text = here
    while here + 1 < length:
        found = <const uint8_t *>memchr(value + here, 63, length - here - 1)
        if found == NULL:
            break
        here = <size_t>(found - value)
        if value[here + 1] == 61:
            word.text_length = here - word.text
            word.end = here + 2
            return True
        here += 1
    exhausted[0] = True
    return False


cdef int flush_words(uint32_t charset, Buffer *octets, Buffer *out, uint64_t *flags) noexcept nogil:
    cdef uint64_t odd = 0
    cdef uint32_t start = out.length
    cdef uint32_t at
    if octets.length == 0:
        return 0
    if convert(charset, octets.data, octets.length, out, &odd) < 0:
        return -1
    octets.length = 0
    if odd:
        flags[0] |= BAD_ENCODED_WORD | odd
    for at in range(start, out.length):  # a line break hidden in an encoded word must not make a line of its own
        if out.data[at] == 10 or out.data[at] == 13:
            out.data[at] = 32
    return 0


cdef uint32_t declared_charset(const Document *document) noexcept nogil:
    """The first character set that a part of the message names and that can hold octets over 127 in a header, but UTF-8."""
    cdef uint32_t index, charset
    for index in range(min(document.n_parts, <uint32_t>DECLARING)):
        charset = document.parts[index].charset
        if charset >= CHARSET_SINGLE or CHARSET_GB18030 <= charset < CHARSET_ISO_2022_JP:
            return charset
    return CHARSET_ABSENT


cdef int put_plain(const Document *document, const uint8_t *value, size_t length, Buffer *out, uint64_t *flags) noexcept nogil:
    """Text outside encoded words, without line breaks; its octets over 127 are UTF-8, else in the charset that a part declares, else in
    windows-1252."""
    cdef uint32_t start = out.length
    cdef uint32_t at, put
    cdef uint32_t charset = CHARSET_ABSENT
    cdef uint64_t odd = 0
    if not is_ascii(value, length) and not is_utf8(value, length):
        odd = BAD_CHARSET
        charset = declared_charset(document)
    if convert(charset, value, length, out, &odd) < 0:
        return -1
    flags[0] |= odd
    if memchr(value, 10, length) != NULL or memchr(value, 13, length) != NULL:
        put = start
        for at in range(start, out.length):
            if out.data[at] != 10 and out.data[at] != 13:
                out.data[put] = out.data[at]
                put += 1
        out.length = put
    return 0


cdef int decode_words(const Document *document, const uint8_t *value, size_t length, Buffer *octets, Buffer *out,
                      uint64_t *flags) noexcept nogil:
    """Append a whole unstructured value, its outer white space left out. `octets` is working space."""
    cdef size_t at = 0
    cdef size_t plain = 0        # plain text from here to `at` is not yet written
    cdef size_t label_length
    cdef const uint8_t *found
    cdef const uint8_t *star
    cdef Word word
    cdef bint exhausted = False
    cdef bint after_word = False
    cdef uint32_t charset = CHARSET_ABSENT
    cdef uint32_t word_charset
    cdef size_t blank
    cdef int outcome
    while length and is_blank(value[0]):
        value += 1
        length -= 1
    while length and is_blank(value[length - 1]):
        length -= 1
    octets.length = 0
    while at < length:
        found = <const uint8_t *>memchr(value + at, 61, length - at)
        if found == NULL:
            break
        at = <size_t>(found - value)
        if at + 1 >= length or value[at + 1] != 63:
            at += 1
            continue
        if not read_word(value, at, length, &word, &exhausted):
            flags[0] |= BAD_ENCODED_WORD
            at += 2
            continue
        label_length = word.label_length
        star = <const uint8_t *>memchr(value + word.label, 42, label_length)  # RFC 2231 5: a language behind "*"
        if star != NULL:
            label_length = <size_t>(star - (value + word.label))
        word_charset = find_charset(value + word.label, label_length)
        if word_charset == CHARSET_UNKNOWN:
            flags[0] |= BAD_ENCODED_WORD
        blank = plain
        if after_word:  # RFC 2047 6.2: white space between encoded words is not shown
            while blank < at and is_blank(value[blank]):
                blank += 1
        if blank < at or word_charset != charset:
            if flush_words(charset, octets, out, flags) < 0:
                return -1
        if not after_word or blank < at:
            if put_plain(document, value + plain, at - plain, out, flags) < 0:
                return -1
        charset = word_charset
        if word.base64:
            outcome = decode_base64(value + word.text, word.text_length, octets, flags)
        else:
            outcome = decode_quoted_printable(value + word.text, word.text_length, True, octets, flags)
        if outcome < 0:
            return -1
        at = plain = word.end
        after_word = True
    if flush_words(charset, octets, out, flags) < 0:
        return -1
    return put_plain(document, value + plain, length - plain, out, flags) if plain < length else 0


# ---- mailboxes ----

cdef inline void trim(const uint8_t *value, size_t *start, size_t *end) noexcept nogil:
    while start[0] < end[0] and is_blank(value[start[0]]):
        start[0] += 1
    while end[0] > start[0] and is_blank(value[end[0] - 1]):
        end[0] -= 1


cdef Span trimmed(const uint8_t *value, size_t start, size_t end) noexcept nogil:
    trim(value, &start, &end)
    return Span(<uint32_t>start, <uint32_t>(end - start))


cdef size_t skip_quoted(const uint8_t *value, size_t at, size_t length) noexcept nogil:
    """`at` is at a quote: the offset behind the closing one, or `length`."""
    at += 1
    while at < length and value[at] != 34:
        at += 2 if value[at] == 92 and at + 1 < length else 1
    return min(at + 1, length)


cdef bint has_word(const uint8_t *value, size_t at, size_t end) noexcept nogil:
    """Does an encoded word begin in value[at:end]?"""
    cdef const uint8_t *found
    while at < end:
        found = <const uint8_t *>memchr(value + at, 63, end - at)
        if found == NULL:
            return False
        if found > value and (found - 1)[0] == 61:
            return True
        at = <size_t>(found - value) + 1
    return False


cdef uint32_t read_mailboxes(const uint8_t *value, size_t length, Mailbox *first) noexcept nogil:
    """Count the mailboxes of an address list and give the first. Commas in quotes, comments and encoded words do not separate.

    Without any "@" it is one mailbox. Its name is the first name, its address the first with an "@", as clients show `Name, Other <a@b>`.
    """
    cdef size_t at = 0
    cdef size_t start = 0        # of the mailbox being read
    cdef size_t end
    cdef uint32_t count = 0
    cdef Mailbox mailbox
    cdef Word word
    cdef bint exhausted = False
    cdef bint open_comments = True
    cdef bint angle = False
    cdef bint comment = False
    cdef bint any_text = False
    cdef bint is_address
    cdef bint odd = False
    cdef const uint8_t *found
    cdef uint8_t octet
    first.found = False
    mailbox.found = mailbox.odd = False
    first.name = first.address = Span(0, 0)
    mailbox.name = mailbox.address = Span(0, 0)
    while True:
        octet = value[at] if at < length else 44
        if octet == 34:
            at = skip_quoted(value, at, length)
            any_text = True
            if at < length and value[at] == 64:  # a quoted local part
                odd = True
        elif octet == 40 and open_comments:
            end = skip_comment(value, at, length)
            if end == length and value[length - 1] != 41:  # never closed: an ordinary character, and not looked for again
                open_comments = False
                at += 1
                continue
            if memchr(value + at, 64, end - at) != NULL:
                odd = True
            if not angle and not comment:
                mailbox.name = trimmed(value, at + 1, end - 1)
                comment = True
                if not any_text:  # the comment stands before the address
                    start = end
                else:
                    mailbox.address = trimmed(value, start, at)
            at = end
        elif octet == 60:
            found = <const uint8_t *>memchr(value + at, 62, length - at)
            end = <size_t>(found - value) if found != NULL else length
            if angle or memchr(value + at + 1, 60, end - at - 1) != NULL or has_word(value, at, end):
                odd = True  # several angle brackets, or an encoded word in them
            if not angle or mailbox.address.length == 0:
                mailbox.address = trimmed(value, at + 1, end)
                if any_text and not angle:
                    mailbox.name = trimmed(value, start, at)
                angle = True
            at = min(end + 1, length)
        elif octet == 61 and at + 1 < length and value[at + 1] == 63 and read_word(value, at, length, &word, &exhausted):
            at = word.end
            any_text = True
            if at < length and value[at] == 64:
                odd = True
        elif octet == 58 and not angle:  # the name of a group was read
            start = at + 1
            odd = True
            any_text = comment = False
            mailbox.name = mailbox.address = Span(0, 0)
            at += 1
        elif octet == 44 or octet == 59:
            if any_text or angle:
                if not angle and not (comment and mailbox.address.length):
                    mailbox.address = trimmed(value, start, min(at, length))
                is_address = mailbox.address.length and memchr(value + mailbox.address.start, 64, mailbox.address.length) != NULL
                count += is_address
                if not is_address and mailbox.name.length == 0:  # a name alone
                    mailbox.name = mailbox.address
                if not is_address:
                    mailbox.address.length = 0
                if not first.found:
                    first[0] = mailbox
                    first.found = True
                elif first.address.length == 0:  # an unquoted comma in a name: the address belongs to what stands before it
                    first.address = mailbox.address
            if at >= length:
                first.odd = odd
                return max(count, <uint32_t>1) if first.found else 0
            at += 1
            start = at
            angle = comment = any_text = False
            mailbox.name = mailbox.address = Span(0, 0)
        else:
            if not is_blank(octet):
                any_text = True
            at += 1


cdef int decode_phrase(const uint8_t *value, size_t length, Document *document, Buffer *out) noexcept nogil:
    """A display name: quotes, escapes and comments' brackets taken away, then encoded words decoded."""
    cdef Buffer *plain = &document.characters
    cdef size_t at
    cdef bint quoted = False
    if memchr(value, 34, length) == NULL and memchr(value, 92, length) == NULL:
        return decode_words(document, value, length, &document.octets, out, &document.flags)
    plain.length = 0
    if reserve(plain, length) < 0:
        return -1
    at = 0
    while at < length:
        if value[at] == 34:
            quoted = not quoted
        else:
            if value[at] == 92 and at + 1 < length:
                at += 1
            plain.data[plain.length] = value[at]
            plain.length += 1
        at += 1
    return decode_words(document, plain.data, plain.length, &document.octets, out, &document.flags)


cdef int decode_address(const Document *document, const uint8_t *value, size_t length, Buffer *octets, Buffer *out) noexcept nogil:
    """An addr-spec in lower ASCII case without white space, angle brackets, comments and source route (RFC 5322 4.4)."""
    cdef size_t at = 0
    cdef uint64_t flags = 0
    cdef uint32_t start = out.length
    cdef uint32_t put, index
    cdef const uint8_t *colon
    if length and value[0] == 64:  # @relay,@relay:user@host
        colon = <const uint8_t *>memchr(value, 58, length)
        if colon != NULL:
            length -= <size_t>(colon + 1 - value)
            value = colon + 1
    if decode_words(document, value, length, octets, out, &flags) < 0:  # clients decode even here, against RFC 2047 5
        return -1
    put = start
    index = start
    while index < out.length:
        if out.data[index] == 40:
            at = skip_comment(out.data, index, out.length)
            if at < out.length or out.data[out.length - 1] == 41:
                index = <uint32_t>at
                continue
        if out.data[index] > 32 and out.data[index] != 60 and out.data[index] != 62:
            out.data[put] = lower(out.data[index])
            put += 1
        index += 1
    out.length = put
    return 0


# ---- parameters ----

cdef int put_section(const uint8_t *value, size_t length, bint percent, bint quoted, Buffer *octets) noexcept nogil:
    """The octets of one parameter value: escapes or percent codes decoded, line breaks left out."""
    cdef size_t at = 0
    if reserve(octets, length) < 0:
        return -1
    while at < length:
        if percent and value[at] == 37 and at + 2 < length and hexadecimal(value[at + 1]) >= 0 and hexadecimal(value[at + 2]) >= 0:
            octets.data[octets.length] = <uint8_t>((hexadecimal(value[at + 1]) << 4) | hexadecimal(value[at + 2]))
            octets.length += 1
            at += 3
            continue
        # an escape, but not the backslash of a Windows path: those were never escaped by their writers
        if quoted and value[at] == 92 and at + 1 < length and (value[at + 1] == 34 or value[at + 1] == 92):
            at += 1
        if value[at] != 13 and value[at] != 10:
            octets.data[octets.length] = value[at]
            octets.length += 1
        at += 1
    return 0


cdef size_t split_charset(const uint8_t *value, size_t length, uint32_t *charset) noexcept nogil:
    """RFC 2231 4: charset'language'text. Gives the offset of the text."""
    cdef const uint8_t *first = <const uint8_t *>memchr(value, 39, length)
    cdef const uint8_t *second
    if first == NULL:
        return 0
    second = <const uint8_t *>memchr(first + 1, 39, length - <size_t>(first + 1 - value))
    if second == NULL:
        return 0
    charset[0] = find_charset(value, <size_t>(first - value)) if first > value else <uint32_t>CHARSET_ABSENT
    return <size_t>(second + 1 - value)


cdef int section_number(const uint8_t *name, uint32_t length, uint32_t stem, bint *percent) noexcept nogil:
    """Of "name*3*" the 3 and percent; -1 for "name" alone, -2 for anything else; "name*" is section 0."""
    cdef uint32_t at = stem + 1
    cdef int number = 0
    percent[0] = False
    if length == stem:
        return -1
    if name[stem] != 42:
        return -2
    if at == length:
        percent[0] = True
        return 0
    while at < length and 48 <= name[at] <= 57 and number < 1000:
        number = number * 10 + name[at] - 48
        at += 1
    if at < length and name[at] == 42:
        percent[0] = True
        at += 1
    return number if at == length else -2


cdef int read_sections(Document *document, const HeaderField *field, const char *name, uint32_t stem, uint32_t which, Buffer *out,
                       bint *more) noexcept nogil:
    """A reading of one parameter: with all its RFC 2231 sections, or (RFC 2047 in quotes, against its rules but common) in its plain form.

    1: found; 0: not there; -1: no memory. The sectioned form comes first, as in browsers, then the plain ones in their order; `which` is
    the number of the one wanted, `more` whether there are others behind it.
    """
    cdef const uint8_t *raw = octets_of(document, &document.parts[field.part])
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t begin = first_parameter(raw, field.value_start, end)
    cdef size_t at, skip
    cdef Buffer *octets = &document.characters
    cdef Parameter parameter
    cdef Parameter plain
    cdef uint32_t charset = CHARSET_ABSENT
    cdef uint32_t plains = 0     # plain forms seen
    cdef bint sectioned
    cdef int wanted = 0
    cdef int number, before, round_number
    cdef bint percent = False
    plain.name = plain.value = Span(0, 0)
    plain.quoted = False
    octets.length = 0
    for round_number in range(PASSES):
        before = wanted
        at = begin
        while next_parameter(raw, &at, end, &parameter):
            if parameter.name.length < stem or not equals_caseless(raw + parameter.name.start, name, stem):
                continue
            number = section_number(raw + parameter.name.start, parameter.name.length, stem, &percent)
            if number == -1:
                if round_number == 0:
                    plains += 1
            elif number == wanted and wanted < <int>ESA_MAX_SECTIONS:
                skip = 0
                if number == 0 and percent:
                    skip = split_charset(raw + parameter.value.start, parameter.value.length, &charset)
                if which == 0 and put_section(
                        raw + parameter.value.start + skip, parameter.value.length - skip, percent, parameter.quoted, octets) < 0:
                    return -1
                wanted += 1
        if wanted == before or wanted == 0:
            break
    sectioned = wanted > 0
    more[0] = which + 1 < plains + sectioned
    if sectioned and which == 0:
        return -1 if convert(charset, octets.data, octets.length, out, &document.flags) < 0 else 1
    if which >= plains + sectioned:
        return 0
    plains = which - sectioned   # before the one that is wanted
    at = begin
    while next_parameter(raw, &at, end, &parameter):
        if parameter.name.length == stem and equals_caseless(raw + parameter.name.start, name, stem):
            plain = parameter
            if plains == 0:
                break
            plains -= 1
    if put_section(raw + plain.value.start, plain.value.length, False, plain.quoted, octets) < 0:
        return -1
    return -1 if decode_words(document, octets.data, octets.length, &document.octets, out, &document.flags) < 0 else 1


cdef int decode_file_name(Document *document, const HeaderField *field, uint32_t which, Buffer *out, bint *more) noexcept nogil:
    """Append a reading of the file name in a Content-Disposition or Content-Type field; 1, 0 if there is none, -1 for no memory.

    `which` counts the readings from 0, `more` tells whether there are others.
    """
    cdef uint32_t start = out.length
    cdef uint32_t at
    cdef int found
    if field.known == FIELD_CONTENT_DISPOSITION:
        found = read_sections(document, field, b"filename", 8, which, out, more)
    else:
        found = read_sections(document, field, b"name", 4, which, out, more)
    for at in range(start, out.length):
        if out.data[at] < 32:  # a name is one line
            out.data[at] = 32
    return found
