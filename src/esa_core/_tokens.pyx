"""Folded text by the block of 64 octets: its words as tokens with their hashes, and the signs among them.

Called by `_tally`, which looks the tokens up. The octets behind the text are read (ESA_PADDING of them at most) and not looked at.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from esa_core._words cimport esa_count_case_plain, esa_count_case_wide, esa_words_are_wide

cdef int WIDE = esa_words_are_wide()


cdef void begin_batch(Batch *batch) noexcept nogil:
    """Before the first word of a stretch."""
    batch.n_words = 0
    batch.hashes[0] = ESA_NO_WORD
    batch.wanted = 0


cdef uint32_t read_words(const Choice *choice, const uint8_t *text, uint32_t i, uint32_t n, Batch *batch, Counts *counts) noexcept nogil:
    """Read text from offset i on until the batch may be full or the text ends at n; returns how far."""
    if WIDE == 2:
        return esa_read_words_widest(choice, text, i, n, batch, counts)
    if WIDE:
        return esa_read_words_wide(choice, text, i, n, batch, counts)
    return esa_read_words_plain(choice, text, i, n, batch, counts)


cdef bint count_letters(const uint8_t *text, uint32_t n, uint32_t *upper, uint32_t *lower) noexcept nogil:
    """Add the letters of ASCII by case; whether some octet of E2 and up is there."""
    if WIDE:
        return esa_count_case_wide(text, n, upper, lower)
    return esa_count_case_plain(text, n, upper, lower)


cdef void read_block(const uint8_t *text, Block *block) noexcept nogil:
    """What each of 64 octets is."""
    if WIDE:
        esa_block_wide(text, block)
    else:
        esa_block_narrow(text, block)


# --- for the tests ----------------------------------------------------------------------------------------------------------------

def block_masks(const uint8_t[::1] octets, *, str kernel):
    """The masks of a block of 64 octets, by the kernel "plain" (octet by octet), "narrow" or "wide" (as "narrow" where it cannot run).

    Raises ValueError for other lengths.
    """
    cdef Block block
    if octets.shape[0] != ESA_BLOCK:
        raise ValueError(f"a block has {ESA_BLOCK} octets, not {octets.shape[0]}")
    if kernel == "plain":
        esa_block_plain(&octets[0], &block)
    elif kernel == "wide" and WIDE:
        esa_block_wide(&octets[0], &block)
    else:
        esa_block_narrow(&octets[0], &block)
    return block.word, block.digit, block.high, block.dot, block.blank, block.odd


def count_case(bytes octets, *, bint plain):
    """Capitals and small letters of ASCII, and whether an octet of E2 or more is there; octet by octet or as this machine counts."""
    cdef uint32_t upper = 0, lower = 0, n = <uint32_t> len(octets)
    cdef bytes padded = octets + bytes(ESA_BLOCK)
    cdef bint high
    if plain:
        high = esa_count_case_plain(<const uint8_t *> padded, n, &upper, &lower)
    else:
        high = count_letters(<const uint8_t *> padded, n, &upper, &lower)
    return upper, lower, high


def words_of_text(bytes text, uint64_t names, bytes begin, *, str kernel):
    """The words (hash, pair, offset, length, whether chosen) and signs (kind, offset, words before it) of folded text, and what is counted, by
    the kernel "plain", "wide" or "widest" (the widest there is, where that cannot run). `begin` are two octets that a chosen word may begin
    with; `names` see esa_name_bits.
    """
    cdef bytes padded = text + bytes(2 * ESA_BLOCK)
    cdef uint64_t nothing[1024]
    cdef Choice choice
    cdef Batch batch
    cdef Counts counts
    cdef uint32_t i = 0, n = <uint32_t> len(text), k
    memset(nothing, 0, sizeof(nothing))
    memset(&counts, 0, sizeof(Counts))
    memset(&choice, 0, sizeof(Choice))
    choice.telling = choice.pairs = nothing
    choice.names = names
    choice.begin[0][0], choice.begin[0][1] = begin[0], begin[1]
    begin_batch(&batch)
    words, signs = [], []
    while i < n:
        if kernel == "plain":
            i = esa_read_words_plain(&choice, <const uint8_t *> padded, i, n, &batch, &counts)
        elif kernel == "wide" and WIDE:
            i = esa_read_words_wide(&choice, <const uint8_t *> padded, i, n, &batch, &counts)
        else:
            i = read_words(&choice, <const uint8_t *> padded, i, n, &batch, &counts)
        signs += [(batch.signs[k].kind, batch.signs[k].at, len(words) + batch.signs[k].word) for k in range(batch.n_signs)]
        for k in range(batch.n_words):
            chosen = (batch.telling[k >> 6] | batch.others[k >> 6]) >> (k & 63) & 1 != 0
            words.append((batch.hashes[k + 1], batch.pairs[k], batch.at[k], batch.length[k], chosen))
    return words, signs, counts
