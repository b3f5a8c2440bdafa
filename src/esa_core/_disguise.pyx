"""Words in which letters of one script pass for those of another, in the plain form a reader sees.

Called by _text for regions in which folding has met such a word, and by _place, which asks what stood where. A word is disguised if it
holds Latin letters and others that look like them ("pаypal" with a Cyrillic a). Only such words are changed: text in one script is itself.
Their plain forms stand with the word before and the word behind, so that phrases match; between stretches stands a line feed.
"""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._buffer cimport append, append_octet
from esa_core._fold cimport FOLD_JOINS, FOLD_LATIN, FOLD_LOOKS_LATIN, FOLD_WORD, character_kind, folded_text
from esa_core._types cimport Buffer

cdef extern from "disguise_tables.h" nogil:
    const uint32_t LOOK_ALIKES
    const uint32_t *look_alike_point
    const uint8_t *look_alike_text

cdef struct Word:
    size_t start
    size_t end
    bint disguised


cdef const uint8_t *look_alike(uint32_t point) noexcept nogil:
    """The two octets (the second may be 0) that a code point looks like, NULL if none."""
    cdef uint32_t low = 0
    cdef uint32_t high = LOOK_ALIKES
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if look_alike_point[middle] < point:
            low = middle + 1
        else:
            high = middle
    return look_alike_text + 2 * low if low < LOOK_ALIKES and look_alike_point[low] == point else NULL


cdef bint next_word(const uint8_t *source, size_t length, size_t *at, Word *word) noexcept nogil:
    cdef uint32_t kind = 0
    cdef uint32_t seen = 0
    cdef uint32_t point = 0
    cdef size_t used = 0
    while at[0] < length and not kind & FOLD_WORD:
        at[0] += used
        used = 0
        if at[0] < length:
            kind = character_kind(source + at[0], length - at[0], &point, &used)
    if not kind & FOLD_WORD:
        return False
    word.start = at[0]
    while kind & FOLD_WORD:
        seen |= kind
        at[0] += used
        kind = 0
        if at[0] < length:
            kind = character_kind(source + at[0], length - at[0], &point, &used)
    word.end = at[0]
    word.disguised = seen & FOLD_LATIN and seen & FOLD_LOOKS_LATIN
    return True


cdef int undisguise(const uint8_t *source, size_t length, Buffer *out) noexcept nogil:
    """Append a word with its look-alikes replaced and their marks left out; it is not folded yet."""
    cdef size_t at = 0
    cdef size_t used, size
    cdef uint32_t point, kind, folded
    cdef const uint8_t *text
    cdef const uint8_t *plain
    cdef bint replaced = False
    while at < length:
        kind = character_kind(source + at, length - at, &point, &used)
        if kind & FOLD_JOINS and replaced:
            at += used
            continue
        plain = NULL
        if source[at] >= 128 and kind:
            plain = look_alike(point)
            if plain == NULL:
                size = folded_text(point, &text)
                if text != NULL and size:
                    character_kind(text, size, &folded, &size)
                    plain = look_alike(folded)
        replaced = plain != NULL
        if replaced:
            if append(out, plain, 2 if plain[1] else 1) < 0:
                return -1
        elif append(out, source + at, used) < 0:
            return -1
        at += used
    return 0


cdef int add_piece(const uint8_t *source, size_t start, size_t end, bint disguised, Buffer *out, Buffer *trace) noexcept nogil:
    """Append source[start:end]; where there is a trace, note what came from where."""
    cdef Piece piece = Piece(<uint32_t>start, <uint32_t>end, out.length, disguised)
    if trace != NULL and append(trace, <const uint8_t *>&piece, sizeof(Piece)) < 0:
        return -1
    return undisguise(source + start, end - start, out) if disguised else append(out, source + start, end - start)


cdef int add_plain_form(const uint8_t *source, size_t length, Buffer *out, Buffer *trace) noexcept nogil:
    """Append the disguised words of a region in plain form, with a word of context, not yet folded. `trace`, if not NULL, gets the Pieces.
    -1 for no memory."""
    cdef Word word = Word(0, 0, False)
    cdef Word before = Word(0, 0, False)
    cdef size_t at = 0
    cdef size_t done = 0         # behind what has been written
    cdef size_t earlier = 0      # end of the word before `before`
    cdef size_t start
    cdef bint any = False
    cdef bint follows = False
    while next_word(source, length, &at, &word):
        if word.disguised:
            start = before.start if before.end else word.start
            if any and start > done and earlier != done:  # a word or more is left out
                if append_octet(out, 10) < 0:
                    return -1
                done = start
            elif not any:
                done = start
            if add_piece(source, done, word.start, False, out, trace) < 0 or add_piece(source, word.start, word.end, True, out, trace) < 0:
                return -1
            any = follows = True
            done = word.end
        elif follows:
            if add_piece(source, done, word.end, False, out, trace) < 0:
                return -1
            follows = False
            done = word.end
        earlier = before.end
        before = word
    return 0
