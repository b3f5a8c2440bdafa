"""From a span of folded text back to the text it was folded from, and to the octets of the message where these are that text.

Called by _parsed when somebody asks; folding itself keeps no map. The region is folded again, letter by letter with the marks that combine
with it, up to the place. Cost is linear in the region.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp

from esa_core._charset cimport (
    CHARSET_ISO_2022_KR, CHARSET_UNKNOWN, CHARSET_UTF8, CHARSET_UTF16, CHARSET_UTF32BE, CHARSET_WINDOWS_1252, convert,
)
from esa_core._disguise cimport Piece, add_plain_form, undisguise
from esa_core._document cimport octets_of
from esa_core._fold cimport FOLD_JOINS, FOLD_WORD, character_kind, fold_octets, folded_text
from esa_core._types cimport (
    ENCODING_IDENTITY, ENCODING_UNKNOWN, MEDIA_MULTIPART, REGION_DISGUISED, REGION_PLAIN, Buffer, Document, Part, Region,
)
from esa_core._utf8 cimport is_utf8


# ---- from folded text to the text of a region ----

cdef size_t cluster_end(const uint8_t *source, size_t length, size_t at) noexcept nogil:
    """Behind the character at `at` and all that is folded together with it: marks, and what has no width among them."""
    cdef size_t used
    cdef uint32_t point, kind
    cdef const uint8_t *text
    if source[at] < 128 and (at + 1 == length or source[at + 1] < 128):
        return at + 1
    character_kind(source + at, length - at, &point, &used)
    at += used
    while at < length:
        kind = character_kind(source + at, length - at, &point, &used)
        if not kind & FOLD_JOINS and (kind != FOLD_WORD or folded_text(point, &text) or text == NULL):
            break
        at += used
    return at


cdef int find_in(const uint8_t *source, size_t length, bint folds, uint32_t start, uint32_t end, uint32_t *found) noexcept nogil:
    """Offsets in `source` of the characters that octets start ... end of what it becomes came from: of its folded form, or (not `folds`) of
    its plain form. -1 for no memory."""
    cdef Buffer out = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef bint mixed = False
    cdef size_t at = 0
    cdef size_t stop
    cdef uint32_t written = 0
    cdef int outcome = 0
    found[0] = found[1] = <uint32_t>length
    while at < length:
        stop = cluster_end(source, length, at)
        out.length = 0
        if stop == at + 1:
            out.length = 1
        elif folds:
            outcome = fold_octets(source + at, stop - at, 0xFFFFFFFFu, &out, &flags, &mixed)
        else:
            outcome = undisguise(source + at, stop - at, &out)
        if outcome < 0:
            break
        if written <= start < written + out.length:
            found[0] = <uint32_t>at
        written += out.length
        at = stop
        if written >= end and written > start:
            found[1] = <uint32_t>at
            break
    free(out.data)
    return outcome


cdef const Piece *piece_at(const Buffer *trace, uint32_t offset) noexcept nogil:
    """The last piece that begins at or before `offset` of the plain form."""
    cdef const Piece *pieces = <const Piece *>trace.data
    cdef uint32_t low = 0
    cdef uint32_t high = trace.length // <uint32_t>sizeof(Piece)
    cdef uint32_t middle
    while high - low > 1:
        middle = (low + high) // 2
        if pieces[middle].at <= offset:
            low = middle
        else:
            high = middle
    return pieces + low


cdef int find_behind(const uint8_t *source, const Piece *piece, uint32_t offset, uint32_t length, uint32_t *found) noexcept nogil:
    """Where `length` octets of the plain form from `offset` on, in one piece, stand in the text."""
    cdef uint32_t start = min(offset - piece.at, piece.end - piece.start)
    found[0] = start
    found[1] = start + length
    if piece.disguised and find_in(source + piece.start, piece.end - piece.start, False, offset - piece.at, offset - piece.at + length, found) < 0:
        return -1
    found[0] += piece.start
    found[1] = min(found[1] + piece.start, piece.end)
    return 0


cdef int find_disguised(const uint8_t *source, size_t length, uint32_t start, uint32_t end, uint32_t *found) noexcept nogil:
    """The same for a region of disguised words: from its folded form to its plain form, from there to the text."""
    cdef Buffer plain = Buffer(NULL, 0, 0)
    cdef Buffer trace = Buffer(NULL, 0, 0)
    cdef uint32_t inside[2]
    cdef uint32_t one[2]
    cdef int outcome = add_plain_form(source, length, &plain, &trace)
    if outcome == 0:
        outcome = find_in(plain.data, plain.length, True, start, end, inside)
    if outcome == 0:
        outcome = find_behind(source, piece_at(&trace, inside[0]), inside[0], 1, one)
        found[0] = one[0]
    if outcome == 0:             # the last octet, not the one behind it, which may be another piece's
        outcome = find_behind(source, piece_at(&trace, max(inside[1], 1) - 1), max(inside[1], 1) - 1, 1, one)
        found[1] = one[1]
    free(plain.data)
    free(trace.data)
    return outcome


# ---- from the text of a region to the octets of the message ----

cdef int octets_for(const uint8_t *line, size_t length, uint32_t charset, uint32_t column, Buffer *work, size_t *found) noexcept nogil:
    """How many octets of a line give `column` octets of UTF-8: that grows with the octets, so halve. Only half a character gives more than
    the whole (U+FFFD), so the last few are looked at one by one."""
    cdef size_t low = 0
    cdef size_t high = length
    cdef size_t middle
    cdef uint64_t flags = 0
    while low < high:
        middle = (low + high + 1) // 2
        work.length = 0
        if convert(charset, line, middle, work, &flags) < 0:
            return -1
        if work.length <= column:
            low = middle
        else:
            high = middle - 1
    found[0] = low
    for middle in range(low, min(low + 5, length + 1)):
        work.length = 0
        if convert(charset, line, middle, work, &flags) < 0:
            return -1
        if work.length == column:
            found[0] = middle
            break
    return 0


cdef int find_octets(const uint8_t *text, uint32_t offset, const uint8_t *body, size_t length, uint32_t charset, Buffer *work,
                     int64_t *found) noexcept nogil:
    """Where in `body` the text's octet `offset` comes from: lines are the same in both, and each is converted by itself."""
    cdef size_t line = 0         # begins here in the text,
    cdef size_t at = 0           # and here in the body
    cdef size_t column = 0
    cdef const uint8_t *next_line
    while True:
        next_line = <const uint8_t *>memchr(text + line, 10, offset - line)
        if next_line == NULL:
            break
        line = <size_t>(next_line - text) + 1
        next_line = <const uint8_t *>memchr(body + at, 10, length - at)
        if next_line == NULL:
            return 0
        at = <size_t>(next_line - body) + 1
    next_line = <const uint8_t *>memchr(body + at, 10, length - at)
    if octets_for(body + at, <size_t>(next_line - body) - at if next_line != NULL else length - at, charset, offset - <uint32_t>line, work,
                  &column) < 0:
        return -1
    found[0] = <int64_t>(at + column)
    return 0


cdef int find_raw(const Document *document, const Region *region, Place *place) noexcept nogil:
    """Octets of the part, where its text is what stands there in its character set; what is found is checked by decoding it again."""
    cdef const Part *part = &document.parts[region.part]
    cdef const uint8_t *text = document.text + region.text.start
    cdef const uint8_t *body = octets_of(document, part) + part.body_start
    cdef size_t length = part.body_end - part.body_start
    cdef uint32_t charset = part.charset
    cdef Buffer work = Buffer(NULL, 0, 0)
    cdef uint64_t flags = 0
    cdef int64_t start = -1
    cdef int64_t end = -1
    cdef uint32_t at, put
    cdef int outcome
    if part.media == MEDIA_MULTIPART or region.text.start != part.text.start or CHARSET_UTF16 <= charset <= CHARSET_UTF32BE:
        return 0
    if part.encoding != ENCODING_IDENTITY and part.encoding != ENCODING_UNKNOWN or charset == CHARSET_ISO_2022_KR:
        return 0
    if charset <= CHARSET_UNKNOWN and charset != CHARSET_WINDOWS_1252:
        charset = CHARSET_UTF8 if charset == CHARSET_UTF8 or is_utf8(body, length) else CHARSET_WINDOWS_1252
    outcome = find_octets(text, place.start, body, length, charset, &work, &start)
    if outcome == 0:
        outcome = find_octets(text, place.end, body, length, charset, &work, &end)
    if outcome == 0 and 0 <= start <= end:
        work.length = 0
        outcome = convert(charset, body + start, <size_t>(end - start), &work, &flags)
        put = 0
        for at in range(work.length):
            if work.data[at] == 13 and at + 1 < work.length and work.data[at + 1] == 10:
                continue
            work.data[put] = work.data[at]
            put += 1
        if outcome == 0 and put == place.end - place.start and (put == 0 or memcmp(work.data, text + place.start, put) == 0):
            place.raw_start = part.body_start + start
            place.raw_end = part.body_start + end
    free(work.data)
    return outcome


# ---- the door ----

cdef int find_place(Document *document, uint32_t start, uint32_t length, Place *place) noexcept nogil:
    """Where folded[start : start + length] comes from; what goes past the end of a region is cut there. 1, 0 if no region holds `start`, -1
    for no memory. The document is folded."""
    cdef const Region *region = NULL
    cdef uint32_t index, end
    cdef uint32_t[2] found
    cdef int outcome
    found[0] = found[1] = 0
    for index in range(document.n_regions):
        region = &document.regions[index]
        if region.folded.start <= start < region.folded.start + region.folded.length:
            break
    else:
        return 0
    end = min(start + length, region.folded.start + region.folded.length) - region.folded.start
    start -= region.folded.start
    if region.kind == REGION_DISGUISED:
        outcome = find_disguised(document.text + region.text.start, region.text.length, start, end, found)
    else:
        outcome = find_in(document.text + region.text.start, region.text.length, True, start, end, found)
    place.region = index
    place.start = found[0]
    place.end = found[1] if length else found[0]
    place.raw_start = place.raw_end = -1
    if outcome == 0 and (region.kind == REGION_PLAIN or region.kind == REGION_DISGUISED):
        outcome = find_raw(document, region, place)
    return -1 if outcome < 0 else 1
