"""Decode what a reader sees of a message into the text arena (UTF-8, line ends LF) and fold it for matching.

Regions stand in this order: subject, name of the author, other names and addresses, then per part in order its file name and its text.
A multipart without parts, and a part nested too deep, is read as plain text so that nothing escapes a scan. Both functions give 0, or
-1 for no memory; odd content sets flags. Cost is linear in the decoded text.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memmove

from esa_core._buffer cimport append_octet, equals_caseless
from esa_core._charset cimport CHARSET_ABSENT, CHARSET_UTF8, convert, is_ascii
from esa_core._field cimport Mailbox, decode_address, decode_file_name, decode_phrase, decode_words, read_mailboxes
from esa_core._fold cimport fold_octets
from esa_core._html cimport add_region, find_meta_charset, read_html
from esa_core._link cimport add_link
from esa_core._header cimport find_field
from esa_core._transfer cimport decode_transfer
from esa_core._types cimport *


# ---- the arena as a buffer ----

cdef inline Buffer lend(Document *document) noexcept nogil:
    return Buffer(document.text, document.n_text, document.cap_text)


cdef inline void give_back(Document *document, const Buffer *arena) noexcept nogil:
    document.text = arena.data
    document.n_text = arena.length
    document.cap_text = arena.capacity


# ---- header fields ----

cdef int decode_subject(Document *document, const HeaderField *field, Span *where) noexcept nogil:
    cdef Buffer arena = lend(document)
    cdef int outcome = decode_words(document.raw + field.value_start, field.value_length, &document.octets, &arena, &document.flags)
    where[0] = Span(document.n_text, arena.length - document.n_text)
    give_back(document, &arena)
    return outcome


cdef int decode_mailbox(Document *document, const HeaderField *field, uint32_t kind, Span *name, Span *address,
                        uint32_t *count) noexcept nogil:
    """Write "name <line break> address" of the first mailbox; the name is a region of `kind`, the address a header region."""
    cdef Buffer arena
    cdef Mailbox mailbox
    cdef const uint8_t *value = document.raw + field.value_start
    cdef uint32_t start = document.n_text
    count[0] += read_mailboxes(value, field.value_length, &mailbox)
    if not mailbox.found:
        return 0
    arena = lend(document)
    if decode_phrase(value + mailbox.name.start, mailbox.name.length, document, &arena) < 0:
        give_back(document, &arena)
        return -1
    name[0] = Span(start, arena.length - start)
    start = arena.length
    if decode_address(value + mailbox.address.start, mailbox.address.length, &document.octets, &arena) < 0:
        give_back(document, &arena)
        return -1
    address[0] = Span(start, arena.length - start)
    give_back(document, &arena)
    if add_region(document, 0, kind, name.start, name.length) < 0:
        return -1
    return add_region(document, 0, REGION_HEADER, address.start, address.length)


cdef int decode_fields(Document *document) noexcept nogil:
    """Subject, From, Reply-To, Sender, To and Cc of the message itself; of a repeated field the first."""
    cdef Part *part = &document.parts[0]
    cdef HeaderField *field
    cdef HeaderField *author = NULL
    cdef HeaderField *answer = NULL
    cdef HeaderField *sender = NULL
    cdef HeaderField *recipient = NULL
    cdef Span name = Span(0, 0)
    cdef uint32_t ignored = 0
    cdef uint32_t index
    cdef Mailbox mailbox
    for index in range(part.field_first, part.field_first + part.field_count):
        field = &document.fields[index]
        if field.known == FIELD_SUBJECT:
            if document.subject.length == 0:
                if decode_subject(document, field, &document.subject) < 0:
                    return -1
        elif field.known == FIELD_FROM:
            if author == NULL:
                author = field
            else:
                document.n_from += read_mailboxes(document.raw + field.value_start, field.value_length, &mailbox)
        elif field.known == FIELD_REPLY_TO:
            if answer == NULL:
                answer = field
        elif field.known == FIELD_SENDER:
            if sender == NULL:
                sender = field
        elif field.known == FIELD_TO and recipient == NULL:
            recipient = field
        elif field.known == FIELD_TO or field.known == FIELD_CC:
            document.n_recipients += read_mailboxes(document.raw + field.value_start, field.value_length, &mailbox)
    if add_region(document, 0, REGION_SUBJECT, document.subject.start, document.subject.length) < 0:
        return -1
    if author != NULL:
        if decode_mailbox(document, author, REGION_FROM_NAME, &document.from_name, &document.from_address, &document.n_from) < 0:
            return -1
    if document.n_from > 1:
        document.flags |= SEVERAL_FROM
    if answer != NULL and decode_mailbox(document, answer, REGION_HEADER, &name, &document.reply_to_address, &ignored) < 0:
        return -1
    if sender != NULL and decode_mailbox(document, sender, REGION_HEADER, &name, &document.sender_address, &ignored) < 0:
        return -1
    if recipient != NULL:
        return decode_mailbox(document, recipient, REGION_HEADER, &document.to_name, &document.to_address, &document.n_recipients)
    return 0


# ---- bare URLs ----

cdef inline bint ends_url(uint8_t octet) noexcept nogil:
    return octet <= 32 or octet == 34 or octet == 60 or octet == 62 or octet == 127


cdef bint closes_sentence(uint8_t octet) noexcept nogil:
    """Punctuation that a client leaves outside a link it makes of text."""
    return octet in (46, 44, 59, 58, 33, 63, 39, 41, 93)


cdef size_t scheme_start(const uint8_t *text, size_t colon, size_t floor) noexcept nogil:
    """Where the scheme before "://" begins, `colon` if there is none of http, https, ftp (or hxxp, as defanged)."""
    if colon >= floor + 5 and (equals_caseless(text + colon - 5, b"https", 5) or equals_caseless(text + colon - 5, b"hxxps", 5)):
        return colon - 5
    if colon >= floor + 4 and (equals_caseless(text + colon - 4, b"http", 4) or equals_caseless(text + colon - 4, b"hxxp", 4)):
        return colon - 4
    if colon >= floor + 3 and equals_caseless(text + colon - 3, b"ftp", 3):
        return colon - 3
    return colon


cdef int add_text_link(Document *document, uint32_t part, size_t start, size_t end) noexcept nogil:
    cdef int index
    while end > start and closes_sentence(document.text[end - 1]):
        end -= 1
    index = add_link(document, part, LINK_TEXT, False)
    if index >= 0:
        document.links[index].url = Span(<uint32_t>start, <uint32_t>min(end - start, <size_t>ESA_MAX_TARGET))
    return -1 if index == -1 else 0


cdef int find_text_links(Document *document, uint32_t part, uint32_t start, uint32_t length) noexcept nogil:
    """URLs in plain text: what begins with a scheme or with "www."; a link's url is a span of the text itself."""
    cdef const uint8_t *text = document.text
    cdef size_t at = start
    cdef size_t floor = start    # behind the last link
    cdef size_t end = <size_t>start + length
    cdef size_t begin, host
    # both searches advance in step, so that no byte is looked at twice by either
    cdef size_t next_colon = find_scheme(text, at, end)
    cdef size_t next_www = find_www(text, at, end, floor)
    while next_colon < end or next_www < end:
        if next_colon <= next_www:
            begin = scheme_start(text, next_colon, floor)
            host = next_colon + 3
            if begin == next_colon:
                next_colon = find_scheme(text, next_colon + 1, end)
                continue
        else:
            begin = next_www
            host = next_www + 4
        at = host
        while at < end and not ends_url(text[at]):
            at += 1
        if at > host and add_text_link(document, part, begin, at) < 0:
            return -1
        if document.flags & TOO_MANY_LINKS:  # said by add_link at the first that found no room
            return 0
        floor = at
        if next_colon < at:
            next_colon = find_scheme(text, at, end)
        if next_www < at:
            next_www = find_www(text, at, end, floor)
    return 0


cdef size_t find_scheme(const uint8_t *text, size_t at, size_t end) noexcept nogil:
    """Offset of the next "://", or `end`."""
    cdef const uint8_t *found
    while at + 2 < end:
        found = <const uint8_t *>memchr(text + at, 58, end - at - 2)
        if found == NULL:
            return end
        at = <size_t>(found - text)
        if text[at + 1] == 47 and text[at + 2] == 47:
            return at
        at += 1
    return end


cdef size_t find_www(const uint8_t *text, size_t at, size_t end, size_t floor) noexcept nogil:
    """Offset of the next "www." that begins a word and does not follow "//", or `end`."""
    cdef const uint8_t *found
    cdef uint8_t before
    cdef size_t begin
    at += 3
    while at < end:
        found = <const uint8_t *>memchr(text + at, 46, end - at)
        if found == NULL:
            return end
        at = <size_t>(found - text)
        if equals_caseless(text + at - 3, b"www", 3):
            begin = at - 3
            before = text[begin - 1] if begin > floor else 32
            if not (97 <= (before | 32) <= 122 or 48 <= before <= 57 or before == 47 or before == 46 or before == 64 or before >= 128):
                return begin
        at += 1
    return end


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
        if base[at] == 13 and at + 1 < end and base[at + 1] == 10:
            at += 1
        found = <uint8_t *>memchr(base + at + 1, 13, end - at - 1)
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
    return find_text_links(document, index, start, <uint32_t>length)


cdef int decode_html(Document *document, uint32_t index, const uint8_t *source, size_t length, uint32_t charset,
                     uint64_t *flags) noexcept nogil:
    if charset == CHARSET_ABSENT:
        charset = find_meta_charset(source, length)
    if not (charset <= CHARSET_UTF8 and is_ascii(source, length)):
        document.characters.length = 0
        if convert(charset, source, length, &document.characters, flags) < 0:
            return -1
        source = document.characters.data
        length = document.characters.length
    return read_html(document, index, source, length)


cdef bint has_parts(Document *document, uint32_t index) noexcept nogil:
    """A part's first child stands directly behind it."""
    return index + 1 < document.n_parts and document.parts[index + 1].parent == <int>index


cdef int decode_part(Document *document, uint32_t index) noexcept nogil:
    """The text of one leaf; what is not text leaves nothing."""
    cdef Part *part = &document.parts[index]
    cdef const uint8_t *source = document.raw + part.body_start
    cdef size_t length = part.body_end - part.body_start
    cdef uint64_t flags = 0
    cdef uint32_t encoding = part.encoding
    cdef int outcome
    if part.media == MEDIA_OTHER or has_parts(document, index) or length == 0:
        return 0
    if document.n_text >= ESA_MAX_TEXT:
        document.flags |= TEXT_TRUNCATED
        return 0
    if part.media == MEDIA_MULTIPART:
        encoding = ENCODING_IDENTITY
    if encoding != ENCODING_IDENTITY and encoding != ENCODING_UNKNOWN:
        document.octets.length = 0
        if decode_transfer(encoding, source, length, &document.octets, &flags) < 0:
            return -1
        source = document.octets.data
        length = document.octets.length
    if length > ESA_MAX_TEXT:
        flags |= TEXT_TRUNCATED
        length = ESA_MAX_TEXT
    if part.media == MEDIA_TEXT_HTML:
        outcome = decode_html(document, index, source, length, part.charset, &flags)
    else:
        outcome = decode_plain(document, index, source, length, part.charset, &flags)
    document.parts[index].flags |= flags
    document.flags |= flags
    return outcome


cdef int decode_name(Document *document, uint32_t index) noexcept nogil:
    """The file name of a part, if it has one."""
    cdef Buffer arena = lend(document)
    cdef uint32_t start = arena.length
    cdef int outcome = decode_file_name(document, &document.parts[index], &arena)
    give_back(document, &arena)
    document.parts[index].file_name = Span(start, document.n_text - start)
    if outcome < 0:
        return -1
    return add_region(document, index, REGION_FILE_NAME, start, document.n_text - start)


cdef int decode_nested_subject(Document *document, uint32_t index) noexcept nogil:
    """The subject of a message inside the message."""
    cdef HeaderField *field = find_field(document, &document.parts[index], FIELD_SUBJECT)
    cdef Span where = Span(0, 0)
    if field == NULL:
        return 0
    if decode_subject(document, field, &where) < 0:
        return -1
    return add_region(document, index, REGION_HEADER, where.start, where.length)


# ---- the doors ----

cdef int decode_text(Document *document) noexcept nogil:
    """Fill the text arena, regions, links, HTML counts and the decoded fields. Does nothing the second time."""
    cdef uint32_t index
    cdef Part *part
    if document.decoded:
        return 0
    if decode_fields(document) < 0:
        return -1
    for index in range(document.n_parts):
        part = &document.parts[index]
        if part.parent >= 0 and document.parts[part.parent].media == MEDIA_MESSAGE:
            if decode_nested_subject(document, index) < 0:
                return -1
        if part.media != MEDIA_MULTIPART:
            if decode_name(document, index) < 0:
                return -1
        if decode_part(document, index) < 0:
            return -1
    document.decoded = True
    return 0


cdef int fold_text(Document *document) noexcept nogil:
    """Fold every region into `folded`, a line feed between them. Does nothing the second time."""
    cdef Buffer out = Buffer(document.folded, document.n_folded, document.cap_folded)
    cdef Region *region
    cdef uint32_t index
    cdef int outcome = 0
    if document.was_folded:
        return 0
    for index in range(document.n_regions):
        region = &document.regions[index]
        if out.length and out.length < ESA_MAX_TEXT:
            outcome = append_octet(&out, 10)
        region.folded.start = out.length
        if outcome == 0:
            outcome = fold_octets(document.text + region.text.start, region.text.length, ESA_MAX_TEXT, &out, &document.flags)
        region.folded.length = out.length - region.folded.start
        if outcome < 0:
            break
    document.folded = out.data
    document.n_folded = out.length
    document.cap_folded = out.capacity
    document.was_folded = outcome == 0
    return outcome
