"""Parsed: one message as a lazy view on the core's arrays, for people and tests; the batch driver does not need it.

The structure is read at once, texts on first access. Content never raises; MemoryError only. A Parsed holds the buffer it was made of:
do not write into it meanwhile (nothing breaks but the view's sense).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr

from collections import namedtuple

from esa_core._charset cimport charset_name
from esa_core._document cimport document_give_back, document_take, octets_of
from esa_core._field cimport decode_words
from esa_core._fold cimport fold_octets
from esa_core._media cimport encoding_of, split_type
from esa_core._mime cimport parse_structure
from esa_core._place cimport Place as EsaPlace
from esa_core._place cimport find_place
from esa_core._reading cimport header_holder
from esa_core._text cimport decode_body, decode_header, decode_text, decode_texts, fold_text, is_text
from esa_core._transfer cimport decode_joined, decode_transfer, is_joined_base64
from esa_core._types cimport (
    ENCODING_BASE64, ENCODING_IDENTITY, ENCODING_QUOTED_PRINTABLE, ENCODING_UNKNOWN, FIELD_CONTENT_DISPOSITION,
    FIELD_CONTENT_TRANSFER_ENCODING, FIELD_CONTENT_TYPE, MEDIA_MESSAGE,
    MEDIA_MULTIPART, MEDIA_TEXT_HTML, MEDIA_TEXT_PLAIN, REGION_DISGUISED, REGION_FILE_NAME, REGION_HTML_HIDDEN, REGION_HTML_SEEN,
    REGION_PLAIN, WAIT_TEXT, Buffer, HeaderField, Region as EsaRegion, Span,
)
from esa_core._types cimport Link as EsaLink
from esa_core._types cimport Part as EsaPart

from esa_core._url import Link

FLAG_NAMES = (
    "oversized", "too_many_fields", "too_many_parts", "too_deep", "text_truncated", "too_many_links", "odd_boundary",
    "unterminated_multipart", "bad_header_line", "no_header_end", "nul_bytes", "eight_bit_header", "bad_base64", "bad_quoted_printable",
    "bad_charset", "bad_encoded_word", "several_from", "duplicate_field", "bare_cr", "mbox_line", "ambiguous", "defective_html", "empty",
    "too_many_matches", "text_outside_parts", "parts_after_close", "several_boundaries", "several_content_types", "several_encodings",
    "several_charsets", "several_file_names", "joined_base64", "encoded_container", "header_goes_on", "odd_from", "no_from", "other_sender",
    "partial_message", "external_body", "uuencoded", "tnef", "opaque_signed", "encrypted", "bad_container", "not_all_read", "html_script",
)
UNNAMED_TYPES = ("text/plain", "text/html", "text/plain", "multipart/mixed", "message/rfc822", "application/octet-stream")  # by Media
ENCODING_NAMES = ("identity", "quoted-printable", "base64", "x-uuencode", "unknown")
LINK_KINDS = ("anchor", "image", "form", "text", "other")
REGION_NAMES = (  # by RegionKind
    "subject", "from_name", "plain", "html_seen", "html_hidden", "alt", "file_name", "header", "outside", "disguised",
)

Place = namedtuple("Place", ("kind", "part", "start", "end", "text", "raw"))
Place.__doc__ = """Where folded text comes from. `kind` is one of REGION_NAMES, `part` the index of its part; `start` and `end` count octets of
the region's decoded text as UTF-8, and `text` is what stands there. `raw` is the same stretch as (start, end) in octets of the message, or
of what the part was taken out of (`Part.origin`); None where a transfer encoding, HTML or a header field lies between."""

Region = namedtuple("Region", ("kind", "origin", "part", "text", "folded"))
Region.__doc__ = """Decoded text of one kind (REGION_NAMES) in one part: as written and folded, UTF-8. `origin` is the number of the region itself, or
for disguised words that of the region they stand in, whose text is theirs too."""


cpdef tuple flag_names(uint64_t flags):
    return tuple([name for bit, name in enumerate(FLAG_NAMES) if flags & (<uint64_t>1 << bit)])


cdef class Part:
    """One body part, a view on its message. Offsets count octets of the raw message, or of what it was taken out of (`origin`)."""

    cdef Parsed message
    cdef readonly uint32_t index

    @property
    def parent(self):
        """Index of the part it stands in, -1 for the message itself."""
        return self.message.document.parts[self.index].parent

    @property
    def depth(self):
        return self.message.document.parts[self.index].depth

    @property
    def media_type(self):
        """Lower-case "type/subtype" as it is read: "text/plain" where none or a malformed one is written."""
        cdef EsaPart *part = &self.message.document.parts[self.index]
        cdef Span kind, subtype
        if part.media_type.length == 0:
            return UNNAMED_TYPES[part.media]
        split_type(octets_of(&self.message.document, part), part.media_type.start, part.media_type.start + part.media_type.length,
                   &kind, &subtype)
        return f"{self.message.source_text(part, kind)}/{self.message.source_text(part, subtype)}".lower()

    @property
    def another(self):
        """It stands only in another reading of the message than the usual one; its flags or its parent's tell why."""
        return self.message.document.parts[self.index].another != 0

    @property
    def origin(self):
        """Index of the part it was taken out of (base64 message, winmail.dat, signed content): its offsets count octets of that part's
        opened content. -1: they count octets of the raw message."""
        cdef uint32_t source = self.message.document.parts[self.index].source
        return <int>self.message.document.sources[source].part if source else -1

    @property
    def charset(self):
        """Name of the character set it is read in; "" without a label, "unknown" for a label nobody knows."""
        return charset_name(self.message.document.parts[self.index].charset).decode("ascii")

    @property
    def encoding(self):
        """identity, quoted-printable, base64, x-uuencode or unknown."""
        return ENCODING_NAMES[self.message.document.parts[self.index].encoding]

    @property
    def file_name(self):
        """Decoded, on one line; "" if none. Where several are given, the one that most clients show."""
        with cython.critical_section(self.message):
            self.message.read_texts()
            return self.message.arena_text(self.message.document.parts[self.index].file_name)

    @property
    def file_names(self):
        """Every name that some client may show, `file_name` first."""
        cdef EsaRegion *region
        cdef uint32_t at
        cdef list found = []
        with cython.critical_section(self.message):
            self.message.read_texts()
            for at in range(self.message.document.n_regions):
                region = &self.message.document.regions[at]
                if region.kind == REGION_FILE_NAME and region.part == self.index:
                    found.append(self.message.arena_text(region.text))
        return found

    @property
    def attachment(self):
        """Content-Disposition says attachment, or there is a file name and it does not say inline."""
        return self.message.document.parts[self.index].attachment != 0

    @property
    def start(self):
        return self.message.document.parts[self.index].header_start

    @property
    def body_start(self):
        return self.message.document.parts[self.index].body_start

    @property
    def end(self):
        return self.message.document.parts[self.index].body_end

    @property
    def flags(self):
        """Names of what was odd about it; its text is read first."""
        self.message.decode()
        return flag_names(self.message.document.parts[self.index].flags)

    @property
    def headers(self):
        """Its own header fields: name as written, raw value without folds and outer white space."""
        return self.message.header_list(self.index)

    def content(self):
        """The octets without their transfer encoding (of a multipart or message: as they stand)."""
        cdef EsaPart *part = &self.message.document.parts[self.index]
        if part.media == MEDIA_MULTIPART or part.media == MEDIA_MESSAGE:
            return self._decoded(ENCODING_IDENTITY)
        return self._decoded(part.encoding)

    cdef bytes _decoded(self, uint32_t encoding):
        cdef EsaPart *part = &self.message.document.parts[self.index]
        cdef const uint8_t *source = octets_of(&self.message.document, part) + part.body_start
        cdef size_t length = part.body_end - part.body_start
        cdef Buffer out = Buffer(NULL, 0, 0)
        cdef uint64_t flags = 0
        if encoding == ENCODING_IDENTITY or encoding == ENCODING_UNKNOWN:
            return source[:length]
        try:
            if decode_transfer(encoding, source, length, &out, &flags) < 0:
                raise MemoryError
            return out.data[:out.length] if out.length else b""
        finally:
            free(out.data)

    def contents(self):
        """The octets in every reading: `content()`, then what joined base64 streams give other readers, then the other encodings the
        header names. Each once."""
        cdef EsaPart *part = &self.message.document.parts[self.index]
        cdef const uint8_t *source = octets_of(&self.message.document, part) + part.body_start
        cdef size_t length = part.body_end - part.body_start
        cdef uint32_t holder = header_holder(&self.message.document, self.index)
        cdef uint32_t at, encoding
        cdef HeaderField *field
        cdef Buffer out = Buffer(NULL, 0, 0)
        cdef list found = [self.content()]
        if part.encoding == ENCODING_BASE64 and is_joined_base64(source, length):
            for at in range(2):
                try:
                    if decode_joined(source, length, at == 0, &out) < 0:
                        raise MemoryError
                    found.append(out.data[:out.length])
                finally:
                    free(out.data)
                    out = Buffer(NULL, 0, 0)
        if part.waits & WAIT_TEXT:
            for at in range(self.message.document.parts[holder].field_first,
                            self.message.document.parts[holder].field_first + self.message.document.parts[holder].field_count):
                field = &self.message.document.fields[at]
                if field.known == FIELD_CONTENT_TRANSFER_ENCODING:
                    encoding = encoding_of(&self.message.document, field)
                    found.append(self._decoded(encoding))
                    if encoding == ENCODING_UNKNOWN:
                        found += [self._decoded(ENCODING_BASE64), self._decoded(ENCODING_QUOTED_PRINTABLE)]
        return list(dict.fromkeys(found))

    @property
    def text(self):
        """Text as seen, line ends LF; "" for what is not text."""
        with cython.critical_section(self.message):
            if self.message.document.parts[self.index].media == MEDIA_TEXT_HTML:
                self.message.decode()
            else:
                self.message.read_texts()
            return self.message.arena_text(self.message.document.parts[self.index].text)

    @property
    def decoded(self):
        """Text as it is written, in its character set, line ends LF: of HTML with the markup; "" for what is not text."""
        cdef Buffer octets = Buffer(NULL, 0, 0)
        cdef Buffer out = Buffer(NULL, 0, 0)
        if not is_text(&self.message.document, self.index):
            return ""
        try:
            if decode_body(&self.message.document, self.index, &octets, &out) < 0:
                raise MemoryError
            return out.data[:out.length].decode("utf-8", "replace")
        finally:
            free(octets.data)
            free(out.data)

    def __repr__(self):
        return f"<Part {self.index} {self.media_type} {self.start}:{self.end}>"


cdef class Parsed:
    """One message; made by `parse`."""

    def __cinit__(self, raw):
        cdef int outcome
        if document_take(&self.document) < 0:
            raise MemoryError
        PyObject_GetBuffer(raw, &self.view, PyBUF_SIMPLE)
        self.held = True
        with nogil:
            outcome = parse_structure(&self.document, <const uint8_t *>self.view.buf, <size_t>self.view.len)
        if outcome < 0:
            raise MemoryError

    def __dealloc__(self):
        document_give_back(&self.document)
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int decode(self) except -1:
        """Texts, links and decoded fields are there afterwards. The GIL is kept: another thread may hold the same object."""
        cdef int outcome
        with cython.critical_section(self):
            outcome = decode_text(&self.document)
        if outcome < 0:
            raise MemoryError
        return 0

    cdef int read_texts(self) except -1:
        """All but what HTML needs; `decode` may put it elsewhere, so that who reads it holds the critical section."""
        cdef int outcome
        with cython.critical_section(self):
            outcome = decode_texts(&self.document)
        if outcome < 0:
            raise MemoryError
        return 0

    cdef str header_text(self, const Span *where):
        """One of the decoded fields of the header."""
        cdef int outcome
        with cython.critical_section(self):
            outcome = decode_header(&self.document)
            if outcome == 0:
                return self.arena_text(where[0])
        raise MemoryError

    cdef int fold(self) except -1:
        cdef int outcome
        self.decode()
        with cython.critical_section(self):
            outcome = fold_text(&self.document)
        if outcome < 0:
            raise MemoryError
        return 0

    cdef str arena_text(self, Span where):
        return self.document.text[where.start:where.start + where.length].decode("utf-8", "replace")

    cdef str source_text(self, const EsaPart *part, Span where):
        return octets_of(&self.document, part)[where.start:where.start + where.length].decode("latin-1")

    cdef bytes field_value(self, const HeaderField *field):
        """The raw value of a field without folds and outer white space."""
        cdef const uint8_t *raw = octets_of(&self.document, &self.document.parts[field.part])
        cdef size_t start = field.value_start
        cdef size_t end = start + field.value_length
        cdef bytes value
        while start < end and (raw[start] == 32 or raw[start] == 9):
            start += 1
        while start < end and (raw[end - 1] == 32 or raw[end - 1] == 9):
            end -= 1
        value = raw[start:end]
        if memchr(raw + start, 10, end - start) != NULL or memchr(raw + start, 13, end - start) != NULL:
            value = value.replace(b"\r", b"").replace(b"\n", b"").strip(b" \t")
        return value

    cdef bytes field_name(self, const HeaderField *field):
        cdef const uint8_t *raw = octets_of(&self.document, &self.document.parts[field.part])
        return raw[field.name_start:field.name_start + field.name_length]

    cdef list header_list(self, uint32_t index):
        cdef EsaPart *part = &self.document.parts[index]
        cdef uint32_t at
        cdef list found = []
        for at in range(part.field_first, part.field_first + part.field_count):
            found.append((self.field_name(&self.document.fields[at]).decode("latin-1"), self.field_value(&self.document.fields[at])))
        return found

    @property
    def flags(self):
        """Names of what was odd, so far as it has been read: text is read first."""
        self.decode()
        return flag_names(self.document.flags)

    @property
    def headers(self):
        """The message's own header fields in order: name as written, raw value without folds and outer white space."""
        return self.header_list(0)

    def fields(self, set names):
        """The message's own header fields whose name in lower case, as octets, is one of `names`: that name and the value as in `headers`, in
        order. Costs little where there are none, however long the header."""
        cdef EsaPart *part = &self.document.parts[0]
        cdef uint32_t at
        cdef uint64_t lengths = 0  # of the names, modulo 64: most fields are passed by for theirs
        cdef list found = []
        cdef bytes name
        for name in names:
            lengths |= <uint64_t> 1 << (len(name) & 63)
        for at in range(part.field_first, part.field_first + part.field_count):
            if not lengths >> (self.document.fields[at].name_length & 63) & 1:
                continue
            name = self.field_name(&self.document.fields[at]).lower()
            if name in names:
                found.append((name, self.field_value(&self.document.fields[at])))
        return found

    def header(self, str name):
        """Decoded values of every field of this name in the message's own header, in order."""
        cdef Buffer work = Buffer(NULL, 0, 0)
        cdef Buffer out = Buffer(NULL, 0, 0)
        cdef uint64_t flags = 0
        cdef bytes value
        cdef list found = []
        try:
            for _, value in self.fields({name.lower().encode("latin-1", "replace")}):
                out.length = 0
                if decode_words(&self.document, <const uint8_t *><const char *>value, len(value), &work, &out, &flags) < 0:
                    raise MemoryError
                found.append(out.data[:out.length].decode("utf-8", "replace") if out.length else "")
            return found
        finally:
            free(work.data)
            free(out.data)

    @property
    def subject(self):
        return self.header_text(&self.document.subject)

    @property
    def from_name(self):
        """Display name of the first mailbox in From."""
        return self.header_text(&self.document.from_name)

    @property
    def from_address(self):
        """Addr-spec of the first mailbox in From, lower case."""
        return self.header_text(&self.document.from_address)

    @property
    def reply_to_address(self):
        return self.header_text(&self.document.reply_to_address)

    @property
    def sender_address(self):
        return self.header_text(&self.document.sender_address)

    @property
    def to_name(self):
        return self.header_text(&self.document.to_name)

    @property
    def to_address(self):
        return self.header_text(&self.document.to_address)

    @property
    def recipients(self):
        """How many mailboxes stand in To and Cc."""
        self.header_text(&self.document.subject)
        return self.document.n_recipients

    @property
    def parts(self):
        """All parts: as most clients read the raw message, the message itself first, each before its children; then what other readings
        and opened containers add (`another`, `origin`)."""
        cdef list found = []
        cdef Part part
        cdef uint32_t index
        self.read_named()
        for index in range(self.document.n_parts):
            part = Part.__new__(Part)
            part.message = self
            part.index = index
            found.append(part)
        return found

    @property
    def attachments(self):
        """The parts that are attachments and no text of the message itself: said to be so, or named, or of another type; no containers of other parts,
        and no other readings."""
        cdef EsaPart *part
        cdef list found = []
        cdef Part one
        cdef uint32_t index
        self.read_named()
        for index in range(self.document.n_parts):
            part = &self.document.parts[index]
            if part.media == MEDIA_MULTIPART or part.another:
                continue
            if (part.media == MEDIA_TEXT_PLAIN or part.media == MEDIA_TEXT_HTML) and part.attachment == 0 and not self.may_be_named(part):
                continue
            one = Part.__new__(Part)
            one.message = self
            one.index = index
            if part.attachment or one.file_name or not one.media_type.startswith(("text/", "message/")):
                found.append(one)
        return found

    cdef bint may_be_named(self, const EsaPart *part) noexcept:
        """Whether a text that is no attachment may have a file name: then it has a Content-Disposition, or is taken out of something."""
        cdef uint32_t at, types = 0
        if part.source or part.given_name.length:
            return True
        for at in range(part.field_first, part.field_first + part.field_count):
            if self.document.fields[at].known == FIELD_CONTENT_DISPOSITION:
                return True
            types += self.document.fields[at].known == FIELD_CONTENT_TYPE
        return types > 1

    cdef int read_named(self) except -1:
        """Files uuencoded in a text are parts afterwards."""
        cdef uint32_t index
        with cython.critical_section(self):
            for index in range(self.document.n_parts):
                if self.document.parts[index].media == MEDIA_TEXT_PLAIN and (
                        self.document.may_uuencode or self.document.parts[index].encoding == ENCODING_BASE64):
                    self.read_texts()
                    break
        return 0

    cdef str region_text(self, uint32_t kinds):
        """`kinds`: bit per RegionKind."""
        cdef EsaRegion *region
        cdef uint32_t index
        cdef list found = []
        self.decode()
        for index in range(self.document.n_regions):
            region = &self.document.regions[index]
            if kinds >> region.kind & 1:
                found.append(self.arena_text(region.text))
        return "\n".join(found)

    @property
    def text(self):
        """Text of every text part as a client shows it, a line feed between parts; the subject is not in it."""
        return self.region_text(1 << REGION_PLAIN | 1 << REGION_HTML_SEEN)

    @property
    def written(self):
        """Text that stands in HTML parts and is not shown."""
        return self.region_text(1 << REGION_HTML_HIDDEN)

    @property
    def links(self):
        cdef EsaLink *link
        cdef uint32_t index
        cdef list found = []
        self.decode()
        for index in range(self.document.n_links):
            link = &self.document.links[index]
            base = self.arena_text(self.document.links[link.base - 1].url) if link.base else ""
            found.append(Link(
                self.arena_text(link.url), self.arena_text(link.shown), LINK_KINDS[link.kind], link.part, link.hidden != 0, base,
            ))
        return found

    @property
    def html(self):
        """Counts over all HTML parts by name (see HtmlCounts in _types.pxd)."""
        self.decode()
        return self.document.html

    @property
    def folded(self):
        """All regions folded for matching, a line feed between them; last, words that mix scripts in their plain form."""
        self.fold()
        return self.document.folded[:self.document.n_folded]

    @property
    def regions(self):
        """Each stretch of decoded text of one kind, in the order of the folded text, as a Region."""
        cdef EsaRegion *region
        cdef uint32_t index, origin, at = 0
        cdef list found = []
        self.fold()
        for index in range(self.document.n_regions):
            region = &self.document.regions[index]
            if region.kind == REGION_DISGUISED:
                while at < index and (
                    self.document.regions[at].text.start != region.text.start or self.document.regions[at].part != region.part
                ):
                    at += 1
                origin = at
            else:
                origin = index
            found.append(Region(
                REGION_NAMES[region.kind], origin, region.part,
                self.document.text[region.text.start:region.text.start + region.text.length],
                self.document.folded[region.folded.start:region.folded.start + region.folded.length],
            ))
        return found

    def locate(self, uint32_t start, uint32_t length):
        """Where folded[start:start + length] comes from, a Place; None if no region holds `start`. Ends with the region where the span goes
        on behind it, and widens to whole characters."""
        cdef EsaPlace found
        cdef EsaRegion *region
        cdef int outcome
        self.fold()
        with cython.critical_section(self):
            outcome = find_place(&self.document, start, length, &found)
        if outcome < 0:
            raise MemoryError
        if outcome == 0:
            return None
        region = &self.document.regions[found.region]
        return Place(REGION_NAMES[region.kind], region.part, found.start, found.end,
                     self.arena_text(Span(region.text.start + found.start, found.end - found.start)),
                     (found.raw_start, found.raw_end) if found.raw_start >= 0 else None)

    def __repr__(self):
        return f"<Parsed {self.document.raw_length} octets, {self.document.n_parts} parts>"


def parse(raw):
    """Read one message from anything with a buffer. Raises MemoryError only (TypeError for what has no buffer)."""
    return Parsed(raw)


def fold(const uint8_t[::1] text not None):
    """UTF-8 folded for matching: NFKC and full case folding, what has no width removed. Terms are folded with it too."""
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef bint mixed = False
    cdef int outcome = 0
    cdef size_t length = text.shape[0]
    if length == 0:
        return b""
    try:
        with nogil:
            outcome = fold_octets(&text[0], length, 0xFFFFFFFF, &out, &flags, &mixed)
        if outcome < 0:
            raise MemoryError
        return out.data[:out.length]
    finally:
        free(out.data)
