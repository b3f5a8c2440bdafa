"""Header fields and file names as text: decoded into the text arena, each a region, in every reading.

Of a repeated field the first is what most clients show; of Subject and From the others become regions too, and so does the whole value of a
From field that readers may read differently. -1 only says that there is no memory.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from esa_core._charset cimport convert
from esa_core._document cimport give_back, lend, octets_of
from esa_core._field cimport Mailbox, decode_address, decode_file_name, decode_phrase, decode_words, read_mailboxes
from esa_core._html cimport add_region
from esa_core._types cimport *

cdef enum:
    MAX_NAMES = 4                # readings of one field's file name: real ones have one, or two that differ in form


# ---- header fields ----

cdef int decode_value(Document *document, const HeaderField *field, Span *where) noexcept nogil:
    """A whole value, encoded words decoded."""
    cdef Buffer arena = lend(document)
    cdef const uint8_t *raw = octets_of(document, &document.parts[field.part])
    cdef int outcome = decode_words(
        document, raw + field.value_start, field.value_length, &document.octets, &arena, &document.flags)
    where[0] = Span(document.n_text, arena.length - document.n_text)
    give_back(document, &arena)
    return outcome


cdef int add_value(Document *document, const HeaderField *field, uint32_t part, uint32_t kind) noexcept nogil:
    """A whole value as a region."""
    cdef Span where = Span(0, 0)
    if decode_value(document, field, &where) < 0:
        return -1
    return add_region(document, part, kind, where.start, where.length)


cdef int decode_mailbox(Document *document, const HeaderField *field, uint32_t kind, Span *name, Span *address,
                        uint32_t *count, bint *odd) noexcept nogil:
    """Write "name <line break> address" of the first mailbox; the name is a region of `kind`, the address a header region. `odd`: see
    Mailbox, or several mailboxes."""
    cdef Buffer arena
    cdef Mailbox mailbox
    cdef const uint8_t *value = document.raw + field.value_start
    cdef uint32_t start = document.n_text
    cdef uint32_t found = read_mailboxes(value, field.value_length, &mailbox)
    count[0] += found
    if not mailbox.found:
        return 0
    odd[0] = mailbox.odd or found > 1
    arena = lend(document)
    if decode_phrase(value + mailbox.name.start, mailbox.name.length, document, &arena) < 0:
        give_back(document, &arena)
        return -1
    name[0] = Span(start, arena.length - start)
    start = arena.length
    if decode_address(document, value + mailbox.address.start, mailbox.address.length, &document.octets, &arena) < 0:
        give_back(document, &arena)
        return -1
    address[0] = Span(start, arena.length - start)
    give_back(document, &arena)
    if add_region(document, 0, kind, name.start, name.length) < 0:
        return -1
    return add_region(document, 0, REGION_HEADER, address.start, address.length)


cdef int decode_author(Document *document, const HeaderField *author) noexcept nogil:
    """The first From field; where readers may disagree whose it is, its whole value too."""
    cdef bint odd = False
    if decode_mailbox(document, author, REGION_FROM_NAME, &document.from_name, &document.from_address, &document.n_from, &odd) < 0:
        return -1
    if document.n_from > 1:
        document.flags |= SEVERAL_FROM
    elif odd:
        document.flags |= ODD_FROM | AMBIGUOUS
    elif document.from_address.length == 0:
        document.flags |= ODD_FROM
        return 0
    return add_value(document, author, 0, REGION_HEADER) if odd else 0


cdef bint is_other_domain(const Document *document, Span one, Span other) noexcept nogil:
    """Two addresses in domains of which neither is a part of the other."""
    cdef const uint8_t *a = document.text + one.start
    cdef const uint8_t *b = document.text + other.start
    cdef uint32_t n = one.length
    cdef uint32_t m = other.length
    if n == 0 or m == 0:
        return False
    while n and m and a[n - 1] == b[m - 1] and a[n - 1] != 64:
        n -= 1
        m -= 1
    return not (n and m and (a[n - 1] == 64 or b[m - 1] == 64) and (a[n - 1] == 64 or a[n - 1] == 46) and (b[m - 1] == 64 or b[m - 1] == 46))


cdef int decode_fields(Document *document) noexcept nogil:
    """Subject, From, Reply-To, Sender, To and Cc of the message itself: of a repeated field the first, and of Subject and From all."""
    cdef Part *part = &document.parts[0]
    cdef HeaderField *field
    cdef HeaderField *author = NULL
    cdef HeaderField *answer = NULL
    cdef HeaderField *sender = NULL
    cdef HeaderField *recipient = NULL
    cdef Span name = Span(0, 0)
    cdef uint32_t ignored = 0
    cdef uint32_t index
    cdef bint odd = False
    cdef bint repeated = False
    cdef Mailbox mailbox
    for index in range(part.field_first, part.field_first + part.field_count):
        field = &document.fields[index]
        if field.known == FIELD_SUBJECT:
            if document.subject.length == 0:
                if decode_value(document, field, &document.subject) < 0:
                    return -1
            else:
                repeated = True
        elif field.known == FIELD_FROM:
            if author == NULL:
                author = field
            else:
                repeated = True
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
    if author == NULL:
        document.flags |= NO_FROM
    elif decode_author(document, author) < 0:
        return -1
    if answer != NULL and decode_mailbox(document, answer, REGION_HEADER, &name, &document.reply_to_address, &ignored, &odd) < 0:
        return -1
    if sender != NULL:
        if decode_mailbox(document, sender, REGION_HEADER, &name, &document.sender_address, &ignored, &odd) < 0:
            return -1
        if is_other_domain(document, document.sender_address, document.from_address):
            document.flags |= OTHER_SENDER
    if recipient != NULL and decode_mailbox(
            document, recipient, REGION_HEADER, &document.to_name, &document.to_address, &document.n_recipients, &odd) < 0:
        return -1
    return decode_repeated(document, author) if repeated else 0


cdef int decode_repeated(Document *document, const HeaderField *author) noexcept nogil:
    """The second and later Subject and From fields: other readers show those."""
    cdef Part *part = &document.parts[0]
    cdef HeaderField *field
    cdef uint32_t index
    cdef bint first = True       # subject
    for index in range(part.field_first, part.field_first + part.field_count):
        field = &document.fields[index]
        if field.known == FIELD_SUBJECT:
            if not first and add_value(document, field, 0, REGION_SUBJECT) < 0:
                return -1
            first = False
        elif field.known == FIELD_FROM and field != author and add_value(document, field, 0, REGION_HEADER) < 0:
            return -1
    return 0


# ---- names ----

cdef int decode_given_name(Document *document, uint32_t index) noexcept nogil:
    """The name that a container gave to a part."""
    cdef Part *part = &document.parts[index]
    cdef Buffer arena = lend(document)
    cdef uint32_t start = arena.length
    cdef uint32_t at
    cdef uint64_t flags = 0
    cdef int outcome = convert(
        part.given_charset, octets_of(document, part) + part.given_name.start, part.given_name.length, &arena, &flags)
    for at in range(start, arena.length):
        if arena.data[at] < 32:
            arena.data[at] = 32
    give_back(document, &arena)
    part.file_name = Span(start, document.n_text - start)
    return -1 if outcome < 0 else add_region(document, index, REGION_FILE_NAME, start, document.n_text - start)


cdef int decode_names_in(Document *document, uint32_t index, const HeaderField *field) noexcept nogil:
    """Every name that a field gives a part: the first of all is its file name, each other one a region and SEVERAL_FILE_NAMES."""
    cdef Buffer arena
    cdef Span *first = &document.parts[index].file_name
    cdef uint32_t which = 0
    cdef uint32_t start, length
    cdef bint more = True
    cdef int found
    while more and which < MAX_NAMES:
        arena = lend(document)
        start = arena.length
        more = False
        found = decode_file_name(document, field, which, &arena, &more)
        which += 1
        give_back(document, &arena)
        length = document.n_text - start
        if found < 0:
            return -1
        if found == 0 or length == 0:
            document.n_text = start
            continue
        if first.length == 0:
            first[0] = Span(start, length)
        elif length == first.length and memcmp(document.text + start, document.text + first.start, length) == 0:
            document.n_text = start
            continue
        else:
            document.parts[index].flags |= SEVERAL_FILE_NAMES | AMBIGUOUS
            document.flags |= SEVERAL_FILE_NAMES | AMBIGUOUS
        if add_region(document, index, REGION_FILE_NAME, start, length) < 0:
            return -1
    return 0


cdef int decode_names_of(Document *document, uint32_t index, uint32_t known) noexcept nogil:
    """The file names in all fields of one kind."""
    cdef uint32_t first = document.parts[index].field_first
    cdef uint32_t at
    for at in range(first, first + document.parts[index].field_count):
        if document.fields[at].known == known and decode_names_in(document, index, &document.fields[at]) < 0:
            return -1
    return 0


cdef int decode_names(Document *document, uint32_t index) noexcept nogil:
    """The file names of a part: Content-Disposition's first, then Content-Type's."""
    if document.parts[index].given_name.length:
        return decode_given_name(document, index)
    if decode_names_of(document, index, FIELD_CONTENT_DISPOSITION) < 0:
        return -1
    return decode_names_of(document, index, FIELD_CONTENT_TYPE)


cdef int decode_inner_header(Document *document, uint32_t index) noexcept nogil:
    """Subject and author of a message inside the message, or of another reading of it."""
    cdef Part *part = &document.parts[index]
    cdef uint32_t first = part.field_first
    cdef uint32_t end = part.field_first + part.field_count
    cdef uint32_t at
    for at in range(first, end):
        if document.fields[at].known == FIELD_SUBJECT or (document.parts[index].another and document.fields[at].known == FIELD_FROM):
            if add_value(document, &document.fields[at], index, REGION_HEADER) < 0:
                return -1
    return 0
