"""The targets of `make fuzz`: one for each parser of the core, and the door to the engine that drives them (engine.c).

A target gets octets in memory of their exact length, runs one parser on them without the GIL, and gives 0, or the number of the invariant
that was violated. Each makes its document anew, so that the buffers are no larger than the parser made them; `message` also keeps one
and compares. What has no native door is called as Python calls it. Called by tests.fuzz.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from esa_core._charset cimport convert, find_charset
from esa_core._cms cimport open_signed
from esa_core._document cimport document_free, document_init, document_reset, source_length
from esa_core._field cimport Mailbox, decode_address, decode_phrase, decode_words, read_mailboxes
from esa_core._fold cimport fold_octets
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

import traceback

import numpy

import esa_core
from esa_core import _image, _smtp

cdef extern from "engine.h":
    ctypedef int (*fuzz_target)(const uint8_t *octets, size_t length) noexcept
    struct octets:
        const uint8_t *data
        size_t length
    struct fuzz_options:
        const char *name
        fuzz_target target
        const octets *seeds
        size_t n_seeds
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


cdef int read_behind(const char *prefix, const uint8_t *text, size_t length) noexcept nogil:
    """A message of `prefix` and the octets, read whole, in memory of its exact size."""
    cdef Document document
    cdef size_t n_prefix = strlen(prefix)
    cdef uint8_t *raw = <uint8_t *> malloc(n_prefix + length)
    cdef int violated = 0
    if raw == NULL:
        return 0
    memcpy(raw, prefix, n_prefix)
    if length:
        memcpy(raw + n_prefix, text, length)
    if document_init(&document) == 0:
        violated = read_whole(&document, raw, n_prefix + length)
    document_free(&document)
    free(raw)
    return violated


# --- whole messages ---------------------------------------------------------------------------------------------------------------

cdef int structure(const uint8_t *text, size_t length) noexcept nogil:
    cdef Document document
    cdef int violated = 0
    if document_init(&document) == 0 and parse_structure(&document, text, length) == 0:
        violated = check_parts(&document)
    document_free(&document)
    return violated


cdef Document used               # of message after message; the engine calls from one thread
cdef bint is_used = False


cdef int message(const uint8_t *text, size_t length) noexcept nogil:
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


cdef int parameters(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/plain; charset=utf-8; ", text, length)


cdef int file_names(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Disposition: attachment; ", text, length)


cdef int html(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/html; charset=utf-8\n\n", text, length)


cdef int style(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/html; charset=utf-8\n\nx<p style=\"", text, length)


cdef int sheet(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/html; charset=utf-8\n\n<p class=a id=b>x</p><style>", text, length)


cdef int url(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/html; charset=utf-8\n\n<a href='//", text, length)


cdef int bare_url(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/plain; charset=utf-8\n\nhttp://", text, length)


cdef int tnef(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: application/ms-tnef\n\n\x78\x9f\x3e\x22", text, length)


cdef int uuencode(const uint8_t *text, size_t length) noexcept nogil:
    return read_behind(b"Content-Type: text/plain\n\nbegin 644 ", text, length)


# --- octets into octets -----------------------------------------------------------------------------------------------------------

cdef int transfer(const uint8_t *text, size_t length) noexcept nogil:
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


cdef int charset(const uint8_t *text, size_t length) noexcept nogil:
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


cdef int fold(const uint8_t *text, size_t length) noexcept nogil:
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef bint good, mixed = False
    fold_octets(text, length, 0xFFFFFFFF, &out, &flags, &mixed)
    good = out.length == 0 or not fuzz_is_utf8(text, length) or fuzz_is_utf8(out.data, out.length)
    free(out.data)
    return places(text, length) if good else NOT_UTF8


cdef int places(const uint8_t *text, size_t length) noexcept nogil:
    """Where folded text of a message comes from stands in its region, and in the message."""
    cdef Document document
    cdef Place place
    cdef const char *prefix = b"Content-Type: text/plain; charset=utf-8\n\n"
    cdef size_t n_prefix = strlen(prefix)
    cdef uint8_t *raw = <uint8_t *> malloc(n_prefix + length)
    cdef int violated = 0
    cdef uint32_t start, at
    if raw == NULL:
        return 0
    memcpy(raw, prefix, n_prefix)
    if length:
        memcpy(raw + n_prefix, text, length)
    if document_init(&document) == 0 and parse_structure(&document, raw, n_prefix + length) == 0 and decode_text(&document) == 0:
        if fold_text(&document) == 0:
            for at in range(5):
                start = document.n_folded // 5 * at
                if find_place(&document, start, start % 7, &place) == 1:
                    if not place.start <= place.end <= document.regions[place.region].text.length:
                        violated = TEXT_OUTSIDE
                    if place.raw_start >= 0 and not <size_t> place.raw_start <= <size_t> place.raw_end <= n_prefix + length:
                        violated = OUTSIDE
    document_free(&document)
    free(raw)
    return violated


cdef int encoded_words(const uint8_t *text, size_t length) noexcept nogil:
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


cdef int mailboxes(const uint8_t *text, size_t length) noexcept nogil:
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


# --- containers -------------------------------------------------------------------------------------------------------------------

cdef int cms(const uint8_t *text, size_t length) noexcept nogil:
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    open_signed(text, length, &out, &flags)
    free(out.data)
    return MISCOUNTED if out.length > length else 0


cdef int rtf(const uint8_t *text, size_t length) noexcept nogil:
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


cdef int mail_data(const uint8_t *text, size_t length) noexcept nogil:
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


def _values(machine, str event):
    """What an event says; attributes of other events may still hold what was before."""
    if event == "FAULT":
        return machine.fault
    if event in ("HELLO", "NOOP", "VERIFY", "EXPAND", "HELP", "AUTH", "RESPONSE", "XCLIENT"):
        return machine.verb if event == "HELLO" else "", machine.argument
    if event == "CHUNK":
        return machine.chunk, machine.last
    if event == "MAIL":
        mail = machine.mail
        return (machine.path, machine.raw_path, machine.parameters, mail.declared_size, mail.body, mail.smtputf8, mail.auth, mail.ret,
                mail.envelope_id, mail.requiretls)
    if event == "RECIPIENT":
        recipient = machine.recipient
        return machine.path, machine.raw_path, (recipient.notify, recipient.original_recipient) if recipient else ("", "")
    if event == "MESSAGE":
        return machine.size, machine.oddities, machine.oversized
    return None


def _dialogue(bytes text, Py_ssize_t step):
    """The events of a session fed in pieces of `step` octets, most commands accepted; mail data is joined."""
    machine = _smtp.Machine()
    machine.message_size = 300
    machine.reject_bare = len(text) % 2 == 1
    machine.offers = 0 if len(text) % 4 == 0 else 127
    told, content, at = [], b"", 0
    while at < len(text) and _smtp.STATES[machine.state] != "ENDED":
        stop = min(at + step, len(text))
        while True:
            name = _smtp.EVENTS[machine.feed(text, at, stop)]
            at = machine.position
            if name == "NEED_INPUT":
                break
            values = _values(machine, name)
            if name in ("SPILL", "MESSAGE"):
                content += machine.take_content()
            if name == "SPILL":
                continue
            told.append((name, machine.state, values, content))
            content = b""
            if name in ("AUTH", "RESPONSE") and len(told) % 3 == 0:
                machine.challenge()
            elif name in ("CHUNK", "CHUNK_END") and len(told) % 5 == 0:
                machine.refuse()
            elif name == "MESSAGE" or len(told) % 7:
                machine.accept()
                if name in ("STARTTLS", "XCLIENT"):
                    machine.restart(secure=name == "STARTTLS")
        if at < stop and _smtp.STATES[machine.state] != "ENDED":
            raise AssertionError("octets were not read")
    return told


cdef int smtp(const uint8_t *text, size_t length) noexcept with gil:
    """However the octets are cut into reads, the same events with the same values come out."""
    cdef bytes octets
    try:
        octets = text[:length]
        if _dialogue(octets, 1 + (octets[0] & 31 if length else 0)) != _dialogue(octets, length + 1):
            return DIFFERENT
    except MemoryError:
        return 0
    except Exception:
        traceback.print_exc()
        return RAISED
    return 0


# --- terms, scores, arrays: as Python calls them ----------------------------------------------------------------------------------

def _occurrences(bytes text, bytes term):
    """The plain twin: every place where the term begins."""
    cdef Py_ssize_t n = 0, at = text.find(term)
    while at >= 0:
        n += 1
        at = text.find(term, at + 1)
    return n


_built = {}


def _automata(bytes first):
    """The terms of a line and what was built of them, kept: building takes a hundred times as long as a scan."""
    cdef int tracing = esa_fuzz.tracing
    found = _built.get(first)
    if found is None:
        esa_fuzz.tracing = 0  # what is built is kept: its edges would be another input's
        if len(_built) >= 500:
            _built.pop(next(iter(_built)))
        wanted = list(dict.fromkeys(folded for term in first.split(b"\t") if (folded := esa_core.fold(term[:64]))))[:20]
        found = (wanted, esa_core.Automaton(wanted), esa_core.Automaton(wanted, whole_word=True)) if wanted else None
        _built[first] = found
        esa_fuzz.tracing = tracing
    return found


cdef int terms(const uint8_t *text, size_t length) noexcept with gil:
    """Terms on the first line, a tab between them; all their occurrences in the rest are counted."""
    cdef bytes first, rest
    try:
        first, _, rest = text[:length].partition(b"\n")
        built = _automata(first)
        if built is None:
            return 0
        wanted, anywhere, whole_words = built
        rest = esa_core.fold(rest)
        found = anywhere.counts(rest)
        if found != {at: n for at, term in enumerate(wanted) if (n := _occurrences(rest, term))}:
            return MISCOUNTED
        whole = whole_words.counts(rest)
        if any(n > found.get(at, 0) for at, n in whole.items()):
            return MISCOUNTED
    except MemoryError:
        return 0
    except Exception:
        traceback.print_exc()
        return RAISED
    return 0


_base = {}


def _base_sections():
    """Sections of two images with terms of every form."""
    if not _base:
        terms = [b"free money", b"viagra", b"a", b"ab", b"abcdefgh", b"ann@example.org", b"example.org", b"\xc3\xa9t\xc3\xa9", b"viagra"]
        words = [True, True, False, False, False, True, True, True, False]
        for hashed in (False, True):
            made = esa_core.Automaton(terms, whole_word=words, hashed=hashed)
            _base[hashed] = {name: numpy.array(section) for name, section in _image.unpack(made.image).items()}
    return _base


cdef int image(const uint8_t *text, size_t length) noexcept with gil:
    """An image whose sections are damaged and whose checksum is right: it is refused, or what is found with it stays in bounds."""
    cdef bytes data = text[:length]
    cdef Py_ssize_t at
    cdef int tracing = esa_fuzz.tracing
    if length < 4:
        return 0
    try:
        esa_fuzz.tracing = 0
        sections = {name: section.copy() for name, section in _base_sections()[bool(data[0] & 1)].items()}
        names = list(sections)
        if data[0] & 2:
            del sections[names[data[1] % len(names)]]
        for at in range(1, length - 3, 4):  # section, place (or what is cut off), value
            name = names[data[at] % len(names)]
            section = sections.get(name)
            if section is None or not len(section):
                continue
            if data[at] & 128:
                sections[name] = section[:len(section) - data[at + 1] % len(section)]
            else:
                section[(data[at + 1] * 257 + data[at + 3]) % len(section)] = data[at + 2]
        packed = _image.pack(sections)
        esa_fuzz.tracing = tracing
        try:
            made = esa_core.Automaton.from_image(packed)
        except ValueError:
            return 0
        made.counts(b"free money of ann@example.org at www.example.org abcdefghab viagra " + data)
    except MemoryError:
        return 0
    except Exception:
        traceback.print_exc()
        return RAISED
    return 0


_engine = None


cdef int scan(const uint8_t *text, size_t length) noexcept with gil:
    """The whole pipeline with facts, features, score and terms; the contributions sum to the logit."""
    global _engine
    try:
        if _engine is None:
            _engine = _make_engine()
        batch = _engine.scan([text[:length]])
        summed = float(batch.contributions(0).sum())
        if not abs(summed - float(batch.logits[0])) <= 1e-6:
            return MISCOUNTED
    except MemoryError:
        return 0
    except Exception:
        traceback.print_exc()
        return RAISED
    return 0


def _make_program():
    """Patterns of every kind, some where case counts."""
    kinds = list(esa_core.PATTERN_KINDS)
    texts = [b"free", b"account", b"verify your", b"FREE", b"example.org", b"ann@example.org", b"a b"]
    given = [(text, "text") for text in texts] + [(text, kind) for kind in kinds for text in _texts_of(kind)]
    return esa_core.Program([text for text, _ in given], [kind for _, kind in given], cased=[text.isupper() for text, _ in given])


def _texts_of(str kind):
    """Texts that a kind of pattern takes: identifiers take none."""
    for text in (b"", b"verify", b"example.org", b"ann@example.org"):
        try:
            esa_core.Program([text], kind)
        except ValueError:
            continue
        yield text


def _make_engine():
    n = len(esa_core.FACT_NAMES)
    lexicon = esa_core.Lexicon(
        words={category: ["free", "winner", "account", "verify"] for category in esa_core.WORD_CATEGORIES},
        domains={name: ["example.com", "example.org"] for name in esa_core.DOMAIN_LISTS},
        brands={"paypal": ["paypal.com"], "bank": ["bank.example"]},
    )
    wave = numpy.sin(numpy.arange(2 * n, dtype=numpy.float64)).reshape(2, n)
    cards = esa_core.Cards(
        card=(numpy.arange(n) % 2), sign=numpy.ones(n), mean=wave[0], scale=numpy.abs(wave[1]) + 0.5,
        weights=numpy.ones((2, 3)), prior=numpy.zeros(3), mail_type=0,
    )
    weights = numpy.sin(numpy.arange(esa_core.N_FEATURES, dtype=numpy.float32))
    return esa_core.Engine(
        lexicon=lexicon, cards=cards, program=_make_program(),
        linear=esa_core.LinearModel(weights, 0.5, normalised=True), families=(1 << len(esa_core.FAMILY_NAMES)) - 1,
    )


cdef int arrays(const uint8_t *text, size_t length) noexcept with gil:
    """A sparse matrix of any octets: a logit comes out, or ValueError; contributions sum to it."""
    cdef bytes data = text[:length]
    cdef Py_ssize_t rows, n
    if length < 8:
        return 0
    rows = data[0] & 15
    n = (length - 1) // 16
    try:
        starts = numpy.frombuffer(data, dtype=numpy.int8, count=min(rows + 1, length - 1), offset=1).astype(numpy.int64)
        indices = numpy.resize(numpy.frombuffer(data, dtype=numpy.int8), n).astype(numpy.int32)
        values = numpy.resize(numpy.frombuffer(data, dtype=numpy.int8), n + (data[1] & 1)).astype(numpy.float32)
        model = esa_core.LinearModel(numpy.arange(64, dtype=numpy.float32), 0.25, normalised=bool(data[2] & 1))
        try:
            logits = model.logits(starts, indices, values)
        except (ValueError, IndexError):
            return 0
        if len(logits) != len(starts) - 1:
            return MISCOUNTED
        esa_core.normalise(starts, indices, values)
        added = model.contributions(starts, indices, values)
        for row in range(len(starts) - 1):
            if not abs(added[starts[row]:starts[row + 1]].sum() + 0.25 - logits[row]) <= 1e-6:
                return MISCOUNTED
    except (ValueError, IndexError):
        return 0
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
    bint native                  # no Python object is made: memory is counted

cdef Target[24] TARGETS
TARGETS[0] = Target(b"structure", structure, True)
TARGETS[1] = Target(b"message", message, False)  # keeps a document
TARGETS[2] = Target(b"parameters", parameters, True)
TARGETS[3] = Target(b"file_names", file_names, True)
TARGETS[4] = Target(b"encoded_words", encoded_words, True)
TARGETS[5] = Target(b"mailboxes", mailboxes, True)
TARGETS[6] = Target(b"transfer", transfer, True)
TARGETS[7] = Target(b"charset", charset, True)
TARGETS[8] = Target(b"html", html, True)
TARGETS[9] = Target(b"style", style, True)
TARGETS[10] = Target(b"url", url, True)
TARGETS[11] = Target(b"bare_url", bare_url, True)
TARGETS[12] = Target(b"fold", fold, True)
TARGETS[13] = Target(b"cms", cms, True)
TARGETS[14] = Target(b"rtf", rtf, True)
TARGETS[15] = Target(b"tnef", tnef, True)
TARGETS[16] = Target(b"uuencode", uuencode, True)
TARGETS[17] = Target(b"mail_data", mail_data, True)
TARGETS[18] = Target(b"smtp", smtp, False)
TARGETS[19] = Target(b"terms", terms, False)
TARGETS[20] = Target(b"scan", scan, False)
TARGETS[21] = Target(b"arrays", arrays, False)
TARGETS[22] = Target(b"image", image, False)
TARGETS[23] = Target(b"sheet", sheet, True)

NAMES = tuple([TARGETS[i].name.decode() for i in range(24)])


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
    violated = TARGETS[at].run(exact, length)
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
        uint8_t[::1] last=None, bint watched=False):
    """Drive one target; a finding ends the process if it is watched, and else the run. Returns what fuzz_result says, as a dict. Raises ValueError, MemoryError."""
    cdef fuzz_options options
    cdef fuzz_result result
    cdef int outcome
    cdef bytes written = name.encode()
    cdef octets *all_seeds = NULL
    cdef octets *all_tokens = NULL
    if last is not None and last.shape[0] < <Py_ssize_t> longest + 8:
        raise ValueError("no room for the longest input")
    memset(&options, 0, sizeof(options))
    try:
        all_seeds = _point_to(seeds)
        all_tokens = _point_to(tokens)
        options.name = written
        options.target = TARGETS[NAMES.index(name)].run
        options.leaks = TARGETS[NAMES.index(name)].native
        options.seeds, options.n_seeds = all_seeds, len(seeds)
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
