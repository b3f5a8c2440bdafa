"""Decode what a reader sees of a message into the text arena (UTF-8, line ends LF) and fold it for matching.

Regions stand in this order: subject, name of the author, other names and addresses, then per part in order its file names and its text in
every reading. A multipart without parts, and a part nested too deep, is read as plain text so that nothing escapes a scan. Both functions
give 0, or -1 for no memory; odd content sets flags. Cost is linear in the decoded text.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memmove

from esa_core._buffer cimport append, append_octet
from esa_core._charset cimport CHARSET_ABSENT, CHARSET_UTF8, convert, find_charset
from esa_core._disguise cimport add_plain_form
from esa_core._document cimport give_back, lend, may_read_again, octets_of
from esa_core._field_text cimport decode_fields, decode_inner_header, decode_names
from esa_core._fold cimport fold_octets
from esa_core._html cimport add_region, find_meta_charset, read_html
from esa_core._media cimport charset_label, encoding_of
from esa_core._parameter cimport Parameter, first_parameter, is_named, next_parameter
from esa_core._reading cimport header_holder
from esa_core._text_links cimport find_text_links
from esa_core._transfer cimport decode_joined, decode_transfer, has_foreign_octets, is_joined_base64
from esa_core._types cimport *
from esa_core._utf8 cimport is_ascii, is_utf8
from esa_core._uuencode cimport find_uuencoded

cdef extern from "string.h" nogil:
    const void *memmem(const void *text, size_t length, const void *wanted, size_t wanted_length)

cdef enum:
    ALWAYS_WHOLE = 1048576       # octets: of a longer message all readings together may come near ESA_MAX_TEXT

# ---- parts ----

cdef void join_line_ends(Buffer *text, uint32_t start) noexcept nogil:
    """CRLF → LF behind `start`."""
    cdef uint8_t *base = text.data
    cdef uint32_t end = text.length
    cdef uint32_t at = start
    cdef uint32_t put = start
    cdef uint32_t run
    cdef uint8_t *found
    if end == start:
        return
    found = <uint8_t *>memchr(base + at, 13, end - at)
    if found == NULL:
        return
    at = put = <uint32_t>(found - base)
    while at < end:
        if base[at] == 13:  # one after the other, where they stand close together
            at += at + 1 < end and base[at + 1] == 10
            base[put] = base[at]
            put += 1
            at += 1
            continue
        found = <uint8_t *>memchr(base + at, 13, end - at)
        run = (<uint32_t>(found - base) if found != NULL else end) - at
        memmove(base + put, base + at, run)
        put += run
        at += run
    text.length = put


cdef int decode_plain(Document *document, uint32_t index, const uint8_t *source, size_t length, uint32_t charset,
                      uint64_t *flags) noexcept nogil:
    cdef Buffer arena = lend(document)
    cdef uint32_t start = arena.length
    cdef int outcome = convert(charset, source, length, &arena, flags)
    join_line_ends(&arena, start)
    length = arena.length - start
    give_back(document, &arena)
    document.parts[index].text = Span(start, <uint32_t>length)
    if outcome < 0 or add_region(document, index, REGION_PLAIN, start, <uint32_t>length) < 0:
        return -1
    return find_text_links(document, index, document.n_links, start, <uint32_t>length)


cdef int decode_html(Document *document, uint32_t index, const uint8_t *source, size_t length, uint32_t charset,
                     uint64_t *flags) noexcept nogil:
    # what has been seen to hold no octet over 127 need not be looked at again
    cdef bint plain = not document.eight_bit and document.raw <= source < document.raw + document.raw_length
    if charset == CHARSET_ABSENT:
        charset = find_meta_charset(source, length)
    if charset != CHARSET_UTF8 or not (plain or is_utf8(source, length)):
        if charset > CHARSET_UTF8 or not (plain or is_ascii(source, length)):
            document.characters.length = 0
            if convert(charset, source, length, &document.characters, flags) < 0:
                return -1
            source = document.characters.data
            length = document.characters.length
    return read_html(document, index, source, length)


cdef int decode_in(Document *document, uint32_t index, const uint8_t *source, size_t length, uint32_t charset) noexcept nogil:
    """Text without transfer encoding in one charset."""
    cdef uint64_t flags = 0
    cdef int outcome
    if document.n_text >= ESA_MAX_TEXT:
        document.flags |= TEXT_TRUNCATED
        return 0
    if length > ESA_MAX_TEXT:
        flags |= TEXT_TRUNCATED
        length = ESA_MAX_TEXT
    if document.parts[index].media == MEDIA_TEXT_HTML:
        outcome = decode_html(document, index, source, length, charset, &flags)
    else:
        outcome = decode_plain(document, index, source, length, charset, &flags)
    document.parts[index].flags |= flags
    document.flags |= flags
    return outcome


cdef int decode_part(Document *document, uint32_t index) noexcept nogil:
    """The text of one leaf in every reading; what is not text leaves nothing."""
    cdef Part *part = &document.parts[index]
    cdef const uint8_t *source = octets_of(document, part) + part.body_start
    cdef size_t length = part.body_end - part.body_start
    cdef uint64_t flags = 0
    cdef uint32_t encoding = part.encoding
    cdef bint is_plain = part.media == MEDIA_TEXT_PLAIN
    if length == 0 or (document.passes_html and part.media == MEDIA_TEXT_HTML):
        return 0
    if part.media == MEDIA_OTHER:
        if encoding == ENCODING_BASE64 and is_joined_base64(source, length):
            part.flags |= JOINED_BASE64 | AMBIGUOUS
            document.flags |= JOINED_BASE64 | AMBIGUOUS
        return 0
    if part.media == MEDIA_MULTIPART:
        if part.children:
            return decode_outside(document, index)
        encoding = ENCODING_IDENTITY
    elif part.media == MEDIA_MESSAGE and part.children:
        return 0
    if encoding == ENCODING_IDENTITY or encoding == ENCODING_UNKNOWN:
        if decode_in(document, index, source, length, part.charset) < 0:
            return -1
        if is_plain and document.may_uuencode and add_uuencoded(document, index, source, length, False) < 0:
            return -1
    else:
        document.octets.length = 0
        if decode_transfer(encoding, source, length, &document.octets, &flags) < 0:
            return -1
        document.flags |= flags
        part.flags |= flags
        if decode_in(document, index, document.octets.data, document.octets.length, part.charset) < 0:
            return -1
        if is_plain and (document.may_uuencode or encoding == ENCODING_BASE64):
            if add_uuencoded(document, index, document.octets.data, document.octets.length, True) < 0:
                return -1
    if document.parts[index].waits & WAIT_TEXT or flags & (JOINED_BASE64 | BAD_BASE64):
        if document.passes_html:
            document.unusual = True
            return 0
        return decode_otherwise(document, index)
    return 0


cdef int add_uuencoded(Document *document, uint32_t index, const uint8_t *text, size_t length, bint decoded) noexcept nogil:
    if not document.passes_html:
        return find_uuencoded(document, index, text, length, decoded)
    document.unusual |= memmem(text, length, b"begin ", 6) != NULL
    return 0


cdef int decode_outside(Document *document, uint32_t index) noexcept nogil:
    """Text before the first and behind the last part of a multipart: only some readers show it."""
    cdef Part *part = &document.parts[index]
    cdef uint32_t preamble_end = max(part.preamble_end, part.body_start)
    cdef uint32_t epilogue_start = part.epilogue_start if part.epilogue_start else part.body_end
    if preamble_end > part.body_start + 2:
        if add_outside(document, index, part.body_start, preamble_end, ESA_USUAL_PREAMBLE) < 0:
            return -1
    part = &document.parts[index]
    if epilogue_start < part.body_end:
        if add_outside(document, index, epilogue_start, part.body_end, 0) < 0:
            return -1
    document.flags |= document.parts[index].flags
    return 0


cdef int add_outside(Document *document, uint32_t index, uint32_t start, uint32_t end, uint32_t usual) noexcept nogil:
    """Text for matching alone; more than `usual` octets of it (UTF-8, line ends LF) make the part ambiguous."""
    cdef Part *part = &document.parts[index]
    cdef const uint8_t *raw = octets_of(document, part)
    cdef Buffer arena
    cdef uint64_t flags = 0
    cdef uint32_t first
    cdef int outcome
    while start < end and raw[start] <= 32:
        start += 1
    while end > start and raw[end - 1] <= 32:
        end -= 1
    if start == end or document.n_text >= ESA_MAX_TEXT:
        return 0
    arena = lend(document)
    first = arena.length
    outcome = convert(CHARSET_ABSENT, raw + start, end - start, &arena, &flags)
    join_line_ends(&arena, first)
    end = arena.length - first
    give_back(document, &arena)
    if end > usual:
        part.flags |= TEXT_OUTSIDE_PARTS | AMBIGUOUS
    return -1 if outcome < 0 else add_region(document, index, REGION_OUTSIDE, first, end)


# ---- other readings of a text ----

cdef int decode_otherwise(Document *document, uint32_t index) noexcept nogil:
    """The text of a part in its other transfer encodings and charsets, and base64 as other readers decode it. The part's own text stays."""
    cdef Part *part = &document.parts[index]
    cdef Span text = part.text
    cdef const uint8_t *source = octets_of(document, part) + part.body_start
    cdef size_t length = part.body_end - part.body_start
    cdef uint32_t holder = header_holder(document, index)
    cdef uint32_t encodings = 1 << part.encoding  # bit per Encoding that is to be read
    cdef uint32_t charsets[4]
    cdef uint32_t n_charsets = 0
    cdef uint32_t at, encoding
    cdef HeaderField *field
    cdef Buffer octets = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    # what is odd about text in an encoding that is not its own says nothing
    cdef uint64_t of_part = ~<uint64_t>(BAD_BASE64 | BAD_QUOTED_PRINTABLE | BAD_CHARSET) | part.flags
    cdef uint64_t of_all = ~<uint64_t>(BAD_BASE64 | BAD_QUOTED_PRINTABLE | BAD_CHARSET) | document.flags
    cdef int outcome = 0
    for at in range(document.parts[holder].field_first, document.parts[holder].field_first + document.parts[holder].field_count):
        field = &document.fields[at]
        if field.known == FIELD_CONTENT_TRANSFER_ENCODING:
            encodings |= <uint32_t>1 << encoding_of(document, field)
        elif field.known == FIELD_CONTENT_TYPE:
            find_charsets(document, field, charsets, &n_charsets)
    if encodings >> ENCODING_UNKNOWN & 1:
        encodings |= 1 << ENCODING_BASE64 | 1 << ENCODING_QUOTED_PRINTABLE
    if n_charsets == 0:
        charsets[0] = part.charset
        n_charsets = 1
    for encoding in range(ENCODING_UNKNOWN):
        if not encodings >> encoding & 1:
            continue
        for at in range(n_charsets):
            part = &document.parts[index]
            if encoding == part.encoding and charsets[at] == part.charset:
                continue
            if not may_read_again(document, length):
                break
            octets.length = 0
            outcome = decode_transfer(encoding, source, length, &octets, &flags)
            if outcome == 0:
                outcome = decode_in(document, index, octets.data, octets.length, charsets[at])
            if outcome < 0:
                break
        if outcome < 0:
            break
    if outcome == 0 and document.parts[index].encoding == ENCODING_BASE64:
        outcome = decode_base64_otherwise(document, index, source, length, &octets)
    free(octets.data)
    document.parts[index].text = text
    document.parts[index].flags &= of_part
    document.flags &= of_all
    return outcome


cdef int decode_base64_otherwise(Document *document, uint32_t index, const uint8_t *source, size_t length, Buffer *octets) noexcept nogil:
    """Streams that are joined, in two ways; and what is no base64 as the text that some readers show."""
    cdef uint32_t padded
    if document.parts[index].flags & JOINED_BASE64:
        for padded in range(2):
            if not may_read_again(document, length):
                return 0
            octets.length = 0
            if decode_joined(source, length, padded != 0, octets) < 0:
                return -1
            if decode_in(document, index, octets.data, octets.length, document.parts[index].charset) < 0:
                return -1
    if has_foreign_octets(source, length) and may_read_again(document, length):
        return add_outside(document, index, document.parts[index].body_start, document.parts[index].body_end, ESA_MAX_TEXT)
    return 0


cdef void find_charsets(const Document *document, const HeaderField *field, uint32_t *charsets, uint32_t *count) noexcept nogil:
    """Add the character sets that a Content-Type field names, four at most, each once."""
    cdef const uint8_t *raw = octets_of(document, &document.parts[field.part])
    cdef size_t end = <size_t>field.value_start + field.value_length
    cdef size_t at = first_parameter(raw, field.value_start, end)
    cdef Parameter parameter
    cdef Span label
    cdef uint32_t charset, index
    while next_parameter(raw, &at, end, &parameter) and count[0] < 4:
        if not is_named(raw, &parameter, b"charset", 7):
            continue
        label = charset_label(raw, &parameter)
        charset = find_charset(raw + label.start, label.length) if label.length else <uint32_t>CHARSET_ABSENT
        for index in range(count[0]):
            if charsets[index] == charset:
                break
        else:
            charsets[count[0]] = charset
            count[0] += 1


# ---- the doors ----

cdef int decode_header(Document *document) noexcept nogil:
    """Only the decoded fields of the message itself, with their regions. Does nothing the second time."""
    if document.header_decoded:
        return 0
    if decode_fields(document) < 0:
        return -1
    document.n_header_text = document.n_text
    document.n_header_regions = document.n_regions
    document.header_decoded = True
    return 0


cdef int decode_texts(Document *document) noexcept nogil:
    """All that decode_text reads but HTML: each other part's text and names are the same as after it, while regions, links, counts and flags are
    not complete. A message in which texts depend on each other (other readings, uuencoded files, near the limits) is read wholly at once."""
    cdef int outcome
    if document.decoded or document.texts_decoded:
        return 0
    if document.waiting or document.raw_length > ALWAYS_WHOLE:
        return decode_text(document)
    if decode_header(document) < 0:
        return -1
    document.passes_html = True
    outcome = decode_parts(document)
    document.passes_html = False
    if outcome < 0:
        return -1
    document.texts_decoded = True
    return decode_text(document) if document.unusual else 0


cdef int decode_text(Document *document) noexcept nogil:
    """Fill the text arena, regions, links, HTML counts and the decoded fields. Does nothing the second time."""
    if document.decoded:
        return 0
    if decode_header(document) < 0:
        return -1
    document.n_text = document.n_header_text  # without what decode_texts added
    document.n_regions = document.n_header_regions
    document.n_links = 0
    if decode_parts(document) < 0:
        return -1
    if document.html.scripts:
        document.flags |= HTML_SCRIPT
    document.decoded = document.texts_decoded = True
    return 0


cdef int decode_parts(Document *document) noexcept nogil:
    cdef uint32_t index = 0
    cdef Part *part
    while index < document.n_parts:  # a text may add parts
        part = &document.parts[index]
        part.file_name = Span(0, 0)
        if part.parent >= 0 and part.field_count and (document.parts[part.parent].media == MEDIA_MESSAGE or part.another):
            if decode_inner_header(document, index) < 0:
                return -1
        if part.media != MEDIA_MULTIPART and decode_names(document, index) < 0:
            return -1
        if decode_part(document, index) < 0:
            return -1
        index += 1
    return 0


cdef bint is_text(const Document *document, uint32_t index) noexcept nogil:
    """Does decode_part read it as text?"""
    cdef const Part *part = &document.parts[index]
    return part.media != MEDIA_OTHER and not (part.children and (part.media == MEDIA_MULTIPART or part.media == MEDIA_MESSAGE))


cdef int decode_body(const Document *document, uint32_t index, Buffer *octets, Buffer *out) noexcept nogil:
    """Append the content of one part as it is written: of a text in UTF-8, line ends LF, HTML with its markup; else the octets. `octets` is
    working space. The document stays as it is. -1 for no memory."""
    cdef const Part *part = &document.parts[index]
    cdef const uint8_t *source = octets_of(document, part) + part.body_start
    cdef size_t length = part.body_end - part.body_start
    cdef uint32_t charset = part.charset
    cdef uint32_t start = out.length
    cdef uint64_t flags = 0
    if part.media != MEDIA_MULTIPART and part.encoding != ENCODING_IDENTITY and part.encoding != ENCODING_UNKNOWN:
        if not is_text(document, index):
            return decode_transfer(part.encoding, source, length, out, &flags)
        octets.length = 0
        if decode_transfer(part.encoding, source, length, octets, &flags) < 0:
            return -1
        source = octets.data
        length = octets.length
    elif not is_text(document, index):
        return append(out, source, length)
    if charset == CHARSET_ABSENT and part.media == MEDIA_TEXT_HTML:
        charset = find_meta_charset(source, length)
    if convert(charset, source, min(length, <size_t>ESA_MAX_TEXT), out, &flags) < 0:
        return -1
    join_line_ends(out, start)
    return 0


cdef int fold_region(Document *document, uint32_t index, Buffer *out, bint *mixed) noexcept nogil:
    """Fold one region behind a line feed."""
    cdef Region *region = &document.regions[index]
    cdef const uint8_t *text = document.text + region.text.start
    cdef size_t length = region.text.length
    if out.length and out.length < ESA_MAX_TEXT and append_octet(out, 10) < 0:
        return -1
    region.folded.start = out.length
    if region.kind == REGION_DISGUISED:
        document.characters.length = 0
        if add_plain_form(text, region.text.length, &document.characters, NULL) < 0:
            return -1
        text = document.characters.data
        length = document.characters.length
    if fold_octets(text, length, ESA_MAX_TEXT, out, &document.flags, mixed) < 0:
        return -1
    region.folded.length = out.length - region.folded.start
    return 0


cdef int fold_text(Document *document) noexcept nogil:
    """Fold every region into `folded`, a line feed between them, then once more those with disguised words. Does nothing the second time."""
    cdef Buffer out = Buffer(document.folded, document.n_folded, document.cap_folded)
    cdef uint32_t n_regions = document.n_regions
    cdef uint32_t index
    cdef uint32_t start
    cdef Region *region
    cdef int outcome = 0
    cdef bint mixed = False
    if document.was_folded:
        return 0
    for index in range(n_regions):
        outcome = fold_region(document, index, &out, &mixed)
        if outcome < 0:
            break
    if mixed and outcome == 0:
        for index in range(n_regions):
            start = out.length
            region = &document.regions[index]
            outcome = add_region(document, region.part, REGION_DISGUISED, region.text.start, region.text.length)
            if outcome == 0:
                outcome = fold_region(document, document.n_regions - 1, &out, &mixed)
            if outcome < 0:
                break
            if document.regions[document.n_regions - 1].folded.length == 0:
                document.n_regions -= 1
                out.length = start
    document.folded = out.data
    document.n_folded = out.length
    document.cap_folded = out.capacity
    document.was_folded = outcome == 0
    return outcome
