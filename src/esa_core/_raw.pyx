"""What stands in a page without being markup: the content of scripts, styles, titles and their like, and comments.

What is not ended reaches to the end of the source, as in a browser.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from esa_core._buffer cimport equals_caseless, lower
from esa_core._sheet cimport add_sheet, holds_for_screens
from esa_core._types cimport DEFECTIVE_HTML


cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    /* Offset of the first ">" behind a "-" or "!" from `at` on, or `end`; one octet in front and 15 behind may be read. */
    static size_t esa_find_close(const uint8_t *source, size_t at, size_t end) {
    #ifdef __SSE2__
        const __m128i greater = _mm_set1_epi8('>'), dash = _mm_set1_epi8('-'), mark = _mm_set1_epi8('!');
        for (; at < end; at += 16) {
            __m128i before = _mm_loadu_si128((const __m128i *)(source + at - 1));
            __m128i here = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(source + at)), greater);
            int found = _mm_movemask_epi8(_mm_and_si128(here, _mm_or_si128(_mm_cmpeq_epi8(before, dash), _mm_cmpeq_epi8(before, mark))));
            if (found) {
                at += (size_t)__builtin_ctz((unsigned)found);
                break;
            }
        }
    #else
        while (at < end && !(source[at] == '>' && (source[at - 1] == '-' || source[at - 1] == '!'))) at++;
    #endif
        return at < end ? at : end;
    }
    """
    size_t esa_find_close(const uint8_t *source, size_t at, size_t end) noexcept nogil


cdef bint is_end_tag(const Reader *reader, size_t at, const uint8_t *name, size_t name_length) noexcept nogil:
    """Does "name" and the end of a name stand at `at`?"""
    cdef size_t index
    cdef uint8_t octet
    if at + name_length >= reader.length:
        return False
    for index in range(name_length):
        if lower(reader.source[at + index]) != lower(name[index]):
            return False
    octet = reader.source[at + name_length]
    return octet == 62 or octet == 47 or is_blank(octet)


cdef size_t find_raw_end(const Reader *reader, const uint8_t *name, size_t name_length) noexcept nogil:
    """Offset of the end tag of a style, title, ..., or the length of the source."""
    cdef size_t at = next_less(reader, reader.at)
    while at < reader.length:
        if reader.source[at + 1] == 47 and is_end_tag(reader, at + 2, name, name_length):
            return at
        at = next_less(reader, at + 1)
    return at


cdef size_t find_dashes(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """Offset of "-->" that begins before `end`, or `end`; two octets behind it may be read."""
    cdef const uint8_t *found
    while at < end:
        found = <const uint8_t *>memchr(source + at, 45, end - at)
        if found == NULL:
            return end
        at = <size_t>(found - source)
        if source[at + 1] == 45 and source[at + 2] == 62:
            return at
        at += 1
    return end


cdef size_t find_script_end(const Reader *reader) noexcept nogil:
    """The same of a script, which may hold "<!--" and, in it, tags of scripts (13.2.5.20 ff.)."""
    cdef const uint8_t *source = reader.source
    cdef size_t at = reader.at
    cdef size_t less, dashes
    cdef bint escaped = False
    cdef bint twice = False
    while True:
        less = next_less(reader, at)
        if escaped:
            dashes = find_dashes(source, at, less)
            if dashes < less:
                escaped = twice = False
                at = dashes + 3
                continue
        if less >= reader.length:
            return reader.length
        at = less + 1
        if source[at] == 47 and is_end_tag(reader, at + 1, b"script", 6):
            if not twice:
                return less
            twice = False
        elif not escaped and less + 3 < reader.length and memcmp(source + at, b"!--", 3) == 0:
            escaped = True
            at += 1
        elif escaped and not twice and is_end_tag(reader, at, b"script", 6):
            twice = True


cdef bint more_styles(const Reader *reader) noexcept nogil:
    """May a style element begin behind reader.at?"""
    cdef size_t at = next_less(reader, reader.at)
    while at < reader.length:
        if (esa_load(reader.source + at + 1) | <uint64_t>0x2020202020) & <uint64_t>0xFFFFFFFFFF == <uint64_t>0x656C797473:  # "style"
            return True
        at = next_less(reader, at + 1)
    return False


cdef int read_style_element(Reader *reader, size_t start, size_t end) noexcept nogil:
    cdef const uint8_t *value = reader.attributes.value[ATTR_MEDIA]
    cdef uint32_t before = reader.sheet.n_selectors
    if reader.sheets_read or reader.in_comment or reader.look.state & UNSHOWN_TEMPLATE:
        return 0
    if reader.attributes.present >> ATTR_TYPE & 1 and reader.attributes.length[ATTR_TYPE] != 0 and not (
            reader.attributes.length[ATTR_TYPE] == 8 and equals_caseless(reader.attributes.value[ATTR_TYPE], b"text/css", 8)):
        return 0
    if reader.attributes.present >> ATTR_MEDIA & 1 and not holds_for_screens(value, 0, reader.attributes.length[ATTR_MEDIA]):
        return 0
    if add_sheet(&reader.sheet, reader.source, start, end) < 0:
        return -1
    if reader.sheet.full:
        reader.document.flags |= DEFECTIVE_HTML
    if reader.sheet.n_rules and reader.sheet.n_selectors > before and (reader.begun or reader.seen.buffer.length > reader.seen.start):
        reader.read_again = True
    return 0


cdef int read_raw(Reader *reader, uint32_t tag, uint32_t bits, const uint8_t *name, size_t name_length) noexcept nogil:
    """The content of an element in which there are no tags."""
    cdef size_t start = reader.at
    cdef size_t end
    cdef int outcome
    if tag == TAG_SCRIPT:
        end = find_script_end(reader)
    elif tag == TAG_PLAINTEXT:
        end = reader.length
    else:
        end = find_raw_end(reader, name, name_length)
    reader.at = end
    if tag == TAG_STYLE:
        if read_style_element(reader, start, end) < 0:
            return -1
        if reader.read_again and not reader.sheets_read and not reader.in_comment and not more_styles(reader):
            reader.at = reader.length  # what this reading would still find the next one finds
        return 0
    if tag == TAG_SCRIPT or tag == TAG_IFRAME:
        return 0
    if bits & HIDES:
        reader.look.state |= UNSHOWN_FOR_GOOD
    leave_gap(reader, GAP_LINE)
    if bits & REFERENCES:
        outcome = emit_references(reader, start, end)
    else:
        outcome = emit(reader, reader.source + start, end - start, False)
    leave_gap(reader, GAP_LINE)
    return outcome


cdef int emit_references(Reader *reader, size_t at, size_t end) noexcept nogil:
    """Text of a title or textarea: with references, and NUL is not dropped."""
    cdef const uint8_t *found
    cdef size_t stop
    while at < end:
        found = <const uint8_t *>memchr(reader.source + at, 0, end - at)
        stop = <size_t>(found - reader.source) if found != NULL else end
        if emit(reader, reader.source + at, stop - at, True) < 0:
            return -1
        if found != NULL and emit(reader, found, 1, False) < 0:
            return -1
        at = stop + 1
    return 0


# ---- comments ----

cdef inline void note_unended(Reader *reader) noexcept nogil:
    """The source ends before what began at reader.at does. The end of a conditional comment, "<![endif]", ends whatever stands in it."""
    if not reader.in_comment:
        reader.document.flags |= DEFECTIVE_HTML


cdef void skip_to_greater(Reader *reader) noexcept nogil:
    cdef const uint8_t *found = <const uint8_t *>memchr(reader.source + reader.at, 62, reader.length - reader.at)
    reader.at = <size_t>(found - reader.source) + 1 if found != NULL else reader.length
    if found == NULL:
        note_unended(reader)


cdef size_t comment_end(Reader *reader, size_t start) noexcept nogil:
    """reader.at behind the comment whose text begins at `start`; gives where that text ends."""
    cdef const uint8_t *source = reader.source
    cdef size_t end = esa_find_close(source, start, reader.length)
    while end < reader.length:
        reader.at = end + 1
        if source[end - 1] == 45 and source[end - 2] == 45:
            return max(end - 2, start)
        if end >= start + 3 and source[end - 1] == 33 and source[end - 2] == 45 and source[end - 3] == 45:
            return end - 3
        end = esa_find_close(source, end + 1, reader.length)
    reader.at = reader.length
    note_unended(reader)
    return reader.length


cdef int emit_comment(Reader *reader, size_t start, size_t end) noexcept nogil:
    """Its text without markup that was commented out."""
    cdef size_t at = start
    cdef size_t stop
    cdef const uint8_t *found
    while at < end:
        stop = min(next_less(reader, at), end)
        if emit(reader, reader.source + at, stop - at, False) < 0:
            return -1
        if stop >= end:
            break
        at = stop + 1
        if is_letter(reader.source[at]) or reader.source[at] == 47 or reader.source[at] == 33:
            found = <const uint8_t *>memchr(reader.source + at, 62, end - at)
            if found == NULL:
                break
            at = <size_t>(found - reader.source) + 1
            leave_gap(reader, GAP_SPACE)
    return 0
