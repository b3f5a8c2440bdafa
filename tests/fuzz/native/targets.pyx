"""The targets of `make fuzz`: one for each parser of the core, and the door to the engine that drives them (engine.c).

A target gets octets in memory of their exact length, runs one parser on them without the GIL, and gives 0, or the number of the invariant
that was violated. Each makes its document anew, so that the buffers are no larger than the parser made them; `message` also keeps one
and compares. A parser that is reached through a message gets it with the octets behind a beginning, which is the target's context. What
has no native door is called as Python calls it, by tests.fuzz.interfaces. Called by tests.fuzz.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from esa_core._charset cimport convert, find_charset
from esa_core._cms cimport open_cms
from esa_core._domain cimport registrable_start
from esa_core._document cimport document_free, document_init, document_reset, source_length
from esa_core._field cimport Mailbox, decode_address, decode_phrase, decode_words, read_mailboxes
from esa_core._fold cimport fold_octets
from esa_core._inflate cimport inflate
from esa_core._identifiers cimport N_IDENTIFIERS, Identifier, find_identifiers
from esa_core._mail_data cimport AT_LINE, Decoder, decode_mail_data, finish_mail_data
from esa_core._mime cimport parse_structure
from esa_core._place cimport Place, find_place
from esa_core._rtf cimport read_rtf, unpack_rtf
from esa_core._text cimport decode_text, fold_text
from esa_core._transfer cimport (
    decode_base64, decode_joined, decode_quoted_printable, decode_uuencode, has_foreign_octets, is_joined_base64,
)
from esa_core._types cimport (
    ESA_MAX_DEPTH, ESA_MAX_FIELDS, ESA_MAX_LINKS, ESA_MAX_PARTS, Buffer, Document, HeaderField, Link, Part, Region, Span,
)

import importlib
import traceback

cdef extern from "engine.h":
    ctypedef int (*fuzz_target)(const char *context, const uint8_t *octets, size_t length) noexcept
    struct fuzz_last:
        uint64_t executions
        uint64_t length
    struct octets:
        const uint8_t *data
        size_t length
    struct fuzz_options:
        const char *name
        fuzz_target target
        const char *context
        const char *folder
        const octets *seeds
        size_t n_seeds
        size_t n_resumed
        const octets *tokens
        size_t n_tokens
        uint64_t runs
        double seconds
        uint64_t seed
        size_t longest
        uint8_t *last
        int watched
        int leaks
    struct fuzz_result:
        uint64_t executions
        uint32_t edges_first
        uint32_t edges_last
        uint32_t features_first
        uint32_t features_last
        uint32_t kept
        double seconds
        int violated
        size_t length
    struct trace:
        int tracing
        uint64_t allocations
        uint64_t last_allocation
    trace esa_fuzz
    int fuzz_run(const fuzz_options *options, fuzz_result *result) nogil
    size_t fuzz_allocated() nogil
    bint fuzz_is_utf8(const uint8_t *octets, size_t length) nogil

cdef enum:
    MOST_UNPACKED = 65536        # octets

cdef enum:                       # what may be violated
    NOT_UTF8 = 1
    OUTSIDE = 2                  # offsets of a part or field outside of what they count in
    NOT_BEFORE = 3               # a part before its parent
    TOO_MANY = 4
    TEXT_OUTSIDE = 5             # offsets outside of the arena
    DIFFERENT = 6                # twice the same octets, two results
    RAISED = 7
    MISCOUNTED = 8
    DIRTY = 9                    # octets that must not come out


# --- what holds of every document -------------------------------------------------------------------------------------------------

cdef bint stands_in(Span span, size_t length) noexcept nogil:
    return span.length == 0 or <size_t> span.start + span.length <= length


cdef int check_parts(const Document *document) noexcept nogil:
    cdef const Part *part
    cdef const HeaderField *field
    cdef uint32_t at
    cdef size_t length
    if document.n_parts > ESA_MAX_PARTS or document.n_fields > ESA_MAX_FIELDS or document.n_links > ESA_MAX_LINKS:
        return TOO_MANY
    for at in range(document.n_parts):
        part = &document.parts[at]
        if part.source and part.source >= document.n_sources:
            return OUTSIDE
        length = source_length(document, part)
        if not part.header_start <= part.body_start <= part.body_end <= length or part.depth > ESA_MAX_DEPTH:
            return OUTSIDE
        if not (stands_in(part.media_type, length) and stands_in(part.charset_label, length) and stands_in(part.given_name, length)):
            return OUTSIDE
        if <size_t> part.field_first + part.field_count > document.n_fields:
            return OUTSIDE
        if part.parent >= <int> at:
            return NOT_BEFORE
    for at in range(document.n_fields):
        field = &document.fields[at]
        if field.part >= document.n_parts:
            return OUTSIDE
        length = source_length(document, &document.parts[field.part])
        if field.name_start + <size_t> field.name_length > length or field.value_start + <size_t> field.value_length > length:
            return OUTSIDE
    return 0


cdef int check_text(const Document *document) noexcept nogil:
    cdef const Region *region
    cdef const Link *link
    cdef uint32_t at
    cdef Span spans[7]
    for at in range(document.n_regions):
        region = &document.regions[at]
        if region.part >= document.n_parts or not stands_in(region.text, document.n_text):
            return TEXT_OUTSIDE
        if document.was_folded and not stands_in(region.folded, document.n_folded):
            return TEXT_OUTSIDE
        if not fuzz_is_utf8(document.text + region.text.start, region.text.length):
            return NOT_UTF8
    for at in range(document.n_links):
        link = &document.links[at]
        if link.part >= document.n_parts or not stands_in(link.url, document.n_text) or not stands_in(link.shown, document.n_text):
            return TEXT_OUTSIDE
        if not fuzz_is_utf8(document.text + link.url.start, link.url.length):
            return NOT_UTF8
        if not fuzz_is_utf8(document.text + link.shown.start, link.shown.length):
            return NOT_UTF8
    spans[0], spans[1], spans[2] = document.subject, document.from_name, document.from_address
    spans[3], spans[4], spans[5], spans[6] = document.reply_to_address, document.sender_address, document.to_name, document.to_address
    for at in range(7):
        if not stands_in(spans[at], document.n_text):
            return TEXT_OUTSIDE
        if not fuzz_is_utf8(document.text + spans[at].start, spans[at].length):
            return NOT_UTF8
    if document.was_folded and not fuzz_is_utf8(document.folded, document.n_folded):
        return NOT_UTF8
    return 0


cdef int read_whole(Document *document, const uint8_t *raw, size_t length) noexcept nogil:
    """Everything that a document has, checked."""
    cdef int violated
    if parse_structure(document, raw, length) < 0 or decode_text(document) < 0 or fold_text(document) < 0:
        return 0
    violated = check_parts(document)
    return violated if violated else check_text(document)


cdef uint8_t *with_beginning(const char *beginning, const uint8_t *text, size_t length, size_t *whole) noexcept nogil:
    """A message in memory of its exact size, the caller's to free; NULL for no memory."""
    cdef size_t n = strlen(beginning)
    cdef uint8_t *raw = <uint8_t *> malloc(n + length)
    if raw != NULL:
        memcpy(raw, beginning, n)
        if length:
            memcpy(raw + n, text, length)
    whole[0] = n + length
    return raw


# --- whole messages ---------------------------------------------------------------------------------------------------------------

cdef int behind(const char *beginning, const uint8_t *text, size_t length) noexcept nogil:
    """A message of the target's beginning and the octets, read whole."""
    cdef Document document
    cdef size_t whole = 0
    cdef uint8_t *raw = with_beginning(beginning, text, length, &whole)
    cdef int violated = 0
    if raw == NULL:
        return 0
    if document_init(&document) == 0:
        violated = read_whole(&document, raw, whole)
    document_free(&document)
    free(raw)
    return violated


cdef int structure(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    cdef Document document
    cdef int violated = 0
    if document_init(&document) == 0 and parse_structure(&document, text, length) == 0:
        violated = check_parts(&document)
    document_free(&document)
    return violated


cdef Document used               # of message after message; the engine calls from one thread
cdef bint is_used = False


cdef int message(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """Also: a document that has been used before reads the same."""
    global is_used
    cdef Document fresh
    cdef int violated
    if not is_used:
        if document_init(&used) < 0:
            return 0
        is_used = True
    if document_init(&fresh) < 0:
        document_free(&fresh)
        return 0
    violated = read_whole(&fresh, text, length)
    document_reset(&used)
    if not violated:
        violated = read_whole(&used, text, length)
    if not violated and esa_fuzz.last_allocation == 0 and (  # one may have had memory where the other had none
        fresh.flags != used.flags or fresh.n_parts != used.n_parts or fresh.n_fields != used.n_fields or fresh.n_links != used.n_links
        or fresh.n_text != used.n_text or fresh.n_folded != used.n_folded
        or (fresh.n_text and memcmp(fresh.text, used.text, fresh.n_text))
        or (fresh.n_folded and memcmp(fresh.folded, used.folded, fresh.n_folded))
    ):
        violated = DIFFERENT
    document_reset(&used)
    document_free(&fresh)
    return violated


# --- octets into octets -----------------------------------------------------------------------------------------------------------

cdef int transfer(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """Each of the transfer encodings; `word` is the quoted-printable of encoded words."""
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef int kind
    for kind in range(6):
        out.length = 0
        if kind == 0:
            decode_base64(text, length, &out, &flags)
        elif kind < 3:
            decode_quoted_printable(text, length, kind == 2, &out, &flags)
        elif kind == 3:
            decode_uuencode(text, length, &out, &flags)
        elif is_joined_base64(text, length) or has_foreign_octets(text, length):
            decode_joined(text, length, kind == 4, &out)
        if out.length > length + 4:
            free(out.data)
            return MISCOUNTED
    free(out.data)
    return 0


cdef int charset(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """A label up to the first line feed, then octets in it."""
    cdef size_t label = 0
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef uint8_t *exact
    cdef bint good
    while label < length and text[label] != 10:
        label += 1
    if label == length:
        return 0
    exact = <uint8_t *> malloc(length - label)  # one more than the octets: there may be none
    if exact == NULL:
        return 0
    memcpy(exact, text + label + 1, length - label - 1)
    convert(find_charset(text, label), exact, length - label - 1, &out, &flags)
    good = out.length == 0 or fuzz_is_utf8(out.data, out.length)
    free(out.data)
    free(exact)
    return 0 if good else NOT_UTF8


cdef int fold(const char *beginning, const uint8_t *text, size_t length) noexcept nogil:
    """Also: where folded text of a message comes from stands in its region, and in the message."""
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef Document document
    cdef Place place
    cdef bint good, mixed = False
    cdef size_t whole = 0
    cdef uint8_t *raw
    cdef uint32_t start, at
    cdef int violated = 0
    fold_octets(text, length, 0xFFFFFFFF, &out, &flags, &mixed)
    good = out.length == 0 or not fuzz_is_utf8(text, length) or fuzz_is_utf8(out.data, out.length)
    free(out.data)
    if not good:
        return NOT_UTF8
    raw = with_beginning(beginning, text, length, &whole)
    if raw == NULL:
        return 0
    if document_init(&document) == 0 and parse_structure(&document, raw, whole) == 0 and decode_text(&document) == 0:
        if fold_text(&document) == 0:
            for at in range(5):
                start = document.n_folded // 5 * at
                if find_place(&document, start, start % 7, &place) == 1:
                    if not place.start <= place.end <= document.regions[place.region].text.length:
                        violated = TEXT_OUTSIDE
                    if place.raw_start >= 0 and not <size_t> place.raw_start <= <size_t> place.raw_end <= whole:
                        violated = OUTSIDE
    document_free(&document)
    free(raw)
    return violated


cdef int encoded_words(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    cdef Document document
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef bint good
    if document_init(&document) < 0:
        document_free(&document)
        return 0
    decode_words(&document, text, length, &document.octets, &out, &flags)
    good = out.length == 0 or fuzz_is_utf8(out.data, out.length)
    document_free(&document)
    free(out.data)
    return 0 if good else NOT_UTF8


cdef int mailboxes(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    cdef Mailbox first
    cdef Document document
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef int violated = 0
    memset(&first, 0, sizeof(Mailbox))
    read_mailboxes(text, length, &first)
    if first.found:
        if not stands_in(first.name, length) or not stands_in(first.address, length):
            return OUTSIDE
        if document_init(&document) == 0:
            decode_phrase(text + first.name.start, first.name.length, &document, &out)
            if out.length and not fuzz_is_utf8(out.data, out.length):
                violated = NOT_UTF8
            out.length = 0
            decode_address(&document, text + first.address.start, first.address.length, &document.octets, &out)
            if out.length and not fuzz_is_utf8(out.data, out.length):
                violated = NOT_UTF8
        document_free(&document)
        free(out.data)
    return violated


# --- numbers and names ------------------------------------------------------------------------------------------------------------

cdef struct Finds:
    const uint8_t *text
    size_t length
    uint64_t told[5]             # of each kind: a digest of where it was found
    uint32_t behind[5]           # the last one
    int violated


cdef bint is_alphanumeric(uint8_t octet) noexcept nogil:
    return 48 <= octet <= 57 or 97 <= octet <= 122


cdef bint note_find(void *context, Identifier identifier, uint32_t start) noexcept nogil:
    cdef Finds *finds = <Finds *> context
    if start >= finds.length or not is_alphanumeric(finds.text[start]):
        finds.violated = OUTSIDE
    elif start < finds.behind[<int> identifier] or (start and is_alphanumeric(finds.text[start - 1])):
        finds.violated = NOT_BEFORE
    finds.behind[<int> identifier] = start + 1
    finds.told[<int> identifier] = (finds.told[<int> identifier] + start + 1) * 0x9E3779B97F4A7C15u
    return False


cdef int identifiers(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """Numbers stand between borders, each kind in rising order, and whether other kinds are wanted makes no difference."""
    cdef Finds together, alone
    cdef int kind
    memset(&together, 0, sizeof(Finds))
    together.text, together.length = text, length
    find_identifiers(text, <uint32_t> length, (1u << <uint32_t> N_IDENTIFIERS) - 1, note_find, &together)
    for kind in range(<int> N_IDENTIFIERS):
        memset(&alone, 0, sizeof(Finds))
        alone.text, alone.length = text, length
        find_identifiers(text, <uint32_t> length, 1u << kind, note_find, &alone)
        if alone.told[kind] != together.told[kind]:
            return DIFFERENT
        together.violated |= alone.violated
    return together.violated


cdef int registrable(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """The registrable domain begins with a label, and is its own."""
    cdef size_t start = registrable_start(text, length)
    if start > length or (start and start < length and text[start - 1] != 46):
        return OUTSIDE
    return DIFFERENT if start < length and registrable_start(text + start, length - start) else 0


# --- containers -------------------------------------------------------------------------------------------------------------------

cdef int cms(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    open_cms(text, length, MOST_UNPACKED, &out, &flags)
    free(out.data)
    return MISCOUNTED if out.length > max(length, MOST_UNPACKED) else 0


cdef int zlib(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """Octets in zlib's frame; with less room, the beginning of the same comes out."""
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef Buffer less = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef int violated = 0
    inflate(text, length, MOST_UNPACKED, &out, &flags)
    inflate(text, length, out.length // 2, &less, &flags)
    if out.length > MOST_UNPACKED:
        violated = MISCOUNTED
    elif esa_fuzz.last_allocation == 0 and (less.length != out.length // 2 or (less.length and memcmp(out.data, less.data, less.length))):
        violated = DIFFERENT
    free(out.data)
    free(less.data)
    return violated


cdef int rtf(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """As a document, and as one that is compressed."""
    cdef Buffer packed = Buffer(NULL, 0, 0)
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef bint is_html = False, good
    read_rtf(text, length, 3, &out, &is_html)
    good = out.length == 0 or fuzz_is_utf8(out.data, out.length)
    out.length = 0
    if good and unpack_rtf(text, length, 65536, &packed, &flags) == 0 and packed.length:
        read_rtf(packed.data, packed.length, 3, &out, &is_html)
        good = out.length == 0 or fuzz_is_utf8(out.data, out.length)
    free(packed.data)
    free(out.data)
    return 0 if good else NOT_UTF8


# --- SMTP -------------------------------------------------------------------------------------------------------------------------

cdef size_t decode_in_calls(
    const uint8_t *text, size_t length, size_t step, bint chunked, uint8_t *target, Decoder *decoder, bint *ended
) noexcept nogil:
    """Octets written. A stream that is cut off is finished only where octets come in chunks: there its end is known."""
    cdef size_t at = 0, all_written = 0, written, read, n
    memset(decoder, 0, sizeof(Decoder))
    decoder.place = AT_LINE
    decoder.chunked = chunked
    ended[0] = False
    while at < length and not ended[0]:
        n = min(step, length - at)
        written = 0
        read = decode_mail_data(decoder, text + at, n, target + all_written, &written, ended)
        all_written += written
        at += read
        if read < n and not ended[0]:
            break
    return all_written + finish_mail_data(decoder, target + all_written) if chunked else all_written


cdef int mail_data(const char *_context, const uint8_t *text, size_t length) noexcept nogil:
    """What comes out is clean, and does not depend on how the octets were cut into calls."""
    cdef uint8_t *whole = <uint8_t *> malloc(2 * length + 8)
    cdef uint8_t *pieces = <uint8_t *> malloc(2 * length + 8)
    cdef Decoder decoders[2]
    cdef bint ended[2]
    cdef bint chunked
    cdef size_t n, i
    cdef int violated = 0
    if whole == NULL or pieces == NULL:
        free(whole)
        free(pieces)
        return 0
    for chunked in range(2):
        n = decode_in_calls(text, length, length, chunked, whole, &decoders[0], &ended[0])
        i = decode_in_calls(text, length, 1 + (text[0] & 15 if length else 0), chunked, pieces, &decoders[1], &ended[1])
        if n != i or ended[0] != ended[1] or memcmp(whole, pieces, n) or memcmp(&decoders[0], &decoders[1], sizeof(Decoder)):
            violated = DIFFERENT
        for i in range(n):
            if whole[i] == 0 or (whole[i] == 10 and (i == 0 or whole[i - 1] != 13)) or (i and whole[i - 1] == 13 and whole[i] != 10):
                violated = DIRTY
    free(whole)
    free(pieces)
    return violated


# --- images of patterns ------------------------------------------------------------------------------------------------------------

cdef uint64_t checksum(const uint8_t *octets, size_t length) noexcept nogil:
    """The plain twin of what an image is guarded with."""
    cdef uint64_t[4] lanes
    cdef uint64_t word, total = length
    cdef size_t at = 0, lane
    for lane in range(4):
        lanes[lane] = lane + 1
    while at + 32 <= length:
        for lane in range(4):
            memcpy(&word, octets + at + 8 * lane, 8)
            lanes[lane] = (lanes[lane] ^ word) * 0x9E3779B97F4A7C15u
            lanes[lane] ^= lanes[lane] >> 29
        at += 32
    while at < length:
        lanes[at & 3] = ((lanes[at & 3] ^ octets[at]) * 0x9E3779B97F4A7C15u) ^ at
        at += 1
    for lane in range(4):
        total = (total ^ lanes[lane] ^ (lanes[lane] >> 32)) * 0xD6E8FEB86659FD93u
    return total ^ (total >> 32)


def seal(uint8_t[::1] image not None):
    """Make the checksum of an image right again."""
    cdef uint64_t total = checksum(&image[0], 24) * 31 + checksum(&image[32], image.shape[0] - 32)
    memcpy(&image[24], &total, 8)


# --- as Python calls them ---------------------------------------------------------------------------------------------------------

cdef int interface(const char *context, const uint8_t *text, size_t length) noexcept with gil:
    """The function of tests.fuzz.interfaces that has the target's name."""
    try:
        getattr(importlib.import_module("tests.fuzz.interfaces"), context.decode())(text[:length])
    except MemoryError:
        return 0
    except Exception:
        traceback.print_exc()
        return RAISED
    return 0


# --- front door -------------------------------------------------------------------------------------------------------------------

cdef struct Target:
    const char *name
    fuzz_target run
    const char *context
    bint native                  # no Python object is made: memory is counted

cdef Target[33] TARGETS
TARGETS = [
    Target(b"structure", structure, NULL, True),
    Target(b"message", message, NULL, False),  # keeps a document
    Target(b"parameters", behind, b"Content-Type: text/plain; charset=utf-8; ", True),
    Target(b"file_names", behind, b"Content-Disposition: attachment; ", True),
    Target(b"encoded_words", encoded_words, NULL, True),
    Target(b"mailboxes", mailboxes, NULL, True),
    Target(b"transfer", transfer, NULL, True),
    Target(b"charset", charset, NULL, True),
    Target(b"html", behind, b"Content-Type: text/html; charset=utf-8\n\n", True),
    Target(b"style", behind, b"Content-Type: text/html; charset=utf-8\n\nx<p style=\"", True),
    Target(b"sheet", behind, b"Content-Type: text/html; charset=utf-8\n\n<p class=a id=b>x</p><style>", True),
    Target(b"url", behind, b"Content-Type: text/html; charset=utf-8\n\n<a href='//", True),
    Target(b"bare_url", behind, b"Content-Type: text/plain; charset=utf-8\n\nhttp://", True),
    Target(b"fold", fold, b"Content-Type: text/plain; charset=utf-8\n\n", True),
    Target(b"identifiers", identifiers, NULL, True),
    Target(b"registrable", registrable, NULL, True),
    Target(b"rtf", rtf, NULL, True),
    Target(b"tnef", behind, b"Content-Type: application/ms-tnef\n\n\x78\x9f\x3e\x22", True),
    Target(b"uuencode", behind, b"Content-Type: text/plain\n\nbegin 644 ", True),
    Target(b"zlib", zlib, NULL, True),
    Target(b"cms", cms, NULL, True),
    Target(b"mail_data", mail_data, NULL, True),
    Target(b"smtp", interface, b"smtp", False),
    Target(b"parsed", interface, b"parsed", False),
    Target(b"scan", interface, b"scan", False),
    Target(b"terms", interface, b"terms", False),
    Target(b"image", interface, b"image", False),
    Target(b"program", interface, b"program", False),
    Target(b"raw_image", interface, b"raw_image", False),
    Target(b"domain", interface, b"domain", False),
    Target(b"normal_url", interface, b"normal_url", False),
    Target(b"fields", interface, b"fields", False),
    Target(b"arrays", interface, b"arrays", False),
]

NAMES = tuple([TARGETS[i].name.decode() for i in range(sizeof(TARGETS) // sizeof(Target))])
LAST = sizeof(fuzz_last)         # octets in front of the input in the memory shared with the parent


def set_tracing(bint tracing):
    """Whether edges count from now on; gives what was."""
    cdef bint before = esa_fuzz.tracing
    esa_fuzz.tracing = tracing
    return before


cdef octets *_point_to(list pieces) except NULL:
    cdef octets *found = <octets *> calloc(len(pieces) + 1, sizeof(octets))
    cdef Py_ssize_t i
    if found == NULL:
        raise MemoryError
    for i in range(len(pieces)):
        found[i].data = <const uint8_t *> PyBytes_AS_STRING(pieces[i])
        found[i].length = PyBytes_GET_SIZE(pieces[i])
    return found


def check(str name not None, bytes data not None):
    """Run one target once: 0, or the number of the violated invariant."""
    cdef Py_ssize_t length = len(data), at = NAMES.index(name)
    cdef uint8_t *exact = <uint8_t *> malloc(length or 1)
    cdef int violated
    if exact == NULL:
        raise MemoryError
    memcpy(exact, PyBytes_AS_STRING(data), length)
    violated = TARGETS[at].run(TARGETS[at].context, exact, length)
    free(exact)
    return violated


def exhaust(str name not None, bytes data not None):
    """Run one target again and again, each time with memory for one more of the core's own allocations, until it has what it wants.

    Returns how often memory ended: 0 where the core is built without that (see trace.c). Raises AssertionError for a violated invariant.
    """
    cdef uint64_t ended = 0
    cdef int violated
    cdef bint native = TARGETS[NAMES.index(name)].native
    cdef size_t before
    while True:
        before = fuzz_allocated()
        esa_fuzz.allocations = 0
        esa_fuzz.last_allocation = ended + 1
        try:
            violated = check(name, data)
        finally:
            esa_fuzz.last_allocation = 0
        if violated:
            raise AssertionError(f"invariant {violated} of {name} with memory for {ended + 1} allocations")
        if native and fuzz_allocated() > before:
            raise AssertionError(f"{name} keeps {fuzz_allocated() - before} octets with memory for {ended + 1} allocations")
        if esa_fuzz.allocations <= ended + 1:
            return ended
        ended += 1


def run(str name not None, list seeds not None, list tokens not None, *, uint64_t runs, double seconds, uint64_t seed, size_t longest,
        list resumed=None, bytes folder=None, uint8_t[::1] last=None, bint watched=False):
    """Drive one target from the seeds and what earlier runs kept in `folder`; what this one keeps is written there.

    A finding ends the process if it is watched, and else the run; `last` has LAST octets (executions, length) and the input that was run
    last. Returns what fuzz_result says, as a dict. Raises ValueError, MemoryError.
    """
    cdef fuzz_options options
    cdef fuzz_result result
    cdef int outcome
    cdef Target *target = &TARGETS[NAMES.index(name)]
    cdef octets *all_seeds = NULL
    cdef octets *all_tokens = NULL
    if last is not None and last.shape[0] < <Py_ssize_t> (longest + sizeof(fuzz_last)):
        raise ValueError("no room for the longest input")
    memset(&options, 0, sizeof(options))
    given = seeds + (resumed or [])
    try:
        all_seeds = _point_to(given)
        all_tokens = _point_to(tokens)
        options.name, options.target, options.context, options.leaks = target.name, target.run, target.context, target.native
        options.folder = NULL if folder is None else PyBytes_AS_STRING(folder)
        options.seeds, options.n_seeds, options.n_resumed = all_seeds, len(given), len(given) - len(seeds)
        options.tokens, options.n_tokens = all_tokens, len(tokens)
        options.runs, options.seconds, options.seed, options.longest = runs, seconds, seed, longest
        options.last = NULL if last is None else &last[0]
        options.watched = watched
        with nogil:
            outcome = fuzz_run(&options, &result)
        if outcome < 0:
            raise MemoryError
        return result
    finally:
        free(all_seeds)
        free(all_tokens)
