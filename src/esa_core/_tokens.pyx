"""Folded text by the block of 64 octets: its words as tokens with their hashes, and the signs among them.

Called by `_tally`, which looks the tokens up. The octets behind the text are read (ESA_PADDING of them at most) and not looked at.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._tally cimport Tally
from esa_core._words cimport esa_chain, esa_count_case, esa_count_case_plain, esa_hash, esa_short_hash, word_end

cdef extern from *:
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil


cdef inline void add_token(
    Token *tokens, uint32_t *count, Reading *reading, uint32_t at, uint32_t length, uint64_t h, uint32_t wanted
) noexcept nogil:
    cdef Token *token = &tokens[count[0]]
    token.hash = h
    token.pair = esa_chain(reading.before, h)
    token.at = at
    token.length = length
    token.word = reading.word
    token.wanted = wanted
    count[0] += 1


cdef inline uint32_t may_be_amount(const uint8_t *text, uint32_t at, uint32_t length) noexcept nogil:
    """0 unless digits begin it, six octets or more, or three behind a comma."""
    return (<uint8_t> (text[at] - 48) < 10) & ((length >= 6) | ((length == 3) & (at > 0 and text[at - 1] == 44)))


cdef uint32_t read_block(
    const uint8_t *text, uint32_t i, uint32_t n, Token *tokens, uint32_t *count, Reading *reading, Tally *tally
) noexcept nogil:
    """Read 64 octets, and the word or URL that goes over their end; returns the offset behind them. At most 64 tokens are added."""
    cdef Block block
    cdef uint32_t left = n - i, stop = 64, at, end, length
    cdef uint64_t inside, starts, events, blank_next, bit, h
    cdef uint8_t c, following
    cdef Sign sign
    esa_block(text + i, &block)
    inside = (<uint64_t> 1 << left) - 1 if left < 64 else ~<uint64_t> 0
    block.word &= inside
    block.blank |= ~inside  # the end of the text ends a sentence
    blank_next = block.blank >> 1
    if left <= 64 or text[i + 64] <= 32:
        blank_next |= <uint64_t> 1 << 63
    starts = block.word & ~(block.word << 1)
    events = starts | (block.sign & inside)
    while events:
        bit = events & (~events + 1)
        events ^= bit
        at = count_zeros(bit)
        if starts & bit:
            h = ~(block.word >> at)
            length = count_zeros(h) if h else 64
            at += i
            end = at + length
            if end >= i + 64 and end < n:
                end = word_end(text, end, n)
                length = end - at
                stop = end - i
            reading.word += 1
            h = esa_short_hash(text + at, length) if length <= 8 else esa_hash(text + at, length)
            add_token(tokens, count, reading, at, length, h, reading.wanted | may_be_amount(text, at, length))
            reading.wanted = 0
            reading.before = h
            if (block.high or stop > 64) and not 48 <= text[at] <= 57:
                tally.mixed_script += is_mixed_script(text + at, length)
            continue
        at += i
        c = text[at]
        following = text[at + 1] if at + 1 < n else 32
        if c == 58:
            if following != 47 or at + 2 >= n or text[at + 2] != 47:
                continue
            tally.urls += 1
            end = at + 3
            while end < n and text[end] > 32 and text[end] not in (34, 41, 60, 62, 93):
                end += 1
            if end - i >= 64:
                stop = end - i
                inside &= bit - 1
                break
            inside &= (bit - 1) | (~<uint64_t> 0 << (end - i))
            events &= inside
            continue
        length = 1
        sign = NO_SIGN
        if c == 36:
            sign = CURRENCY_SIGN
        elif c == 194:
            length = 2
            if following in (163, 165):
                sign = CURRENCY_SIGN
            elif following == 169:
                sign = COPYRIGHT_SIGN
        elif c == 226:
            length = 3
            if following == 130:
                sign = CURRENCY_SIGN
            elif 152 <= following <= 159 or following in (134, 135, 140, 143, 172, 173):
                tally.signs += 1
        else:
            length = 4
            tally.signs += c == 240 and following == 159
        if sign != NO_SIGN:
            add_token(tokens, count, reading, at, 0, sign, 1)
        if sign == CURRENCY_SIGN:
            tally.currency += 1
            reading.wanted = 1
        if at + length > i + stop:
            stop = at + length - i
    events = block.dot & inside & blank_next
    while events:
        tally.sentences += 1
        events &= events - 1
    events = block.mark & inside
    while events:
        at = i + count_zeros(events)
        events &= events - 1
        c = text[at]
        following = text[at + 1] if at + 1 < n else 32
        if c == 33:
            tally.exclamations += following <= 32 or following == 33
            tally.exclamation_runs += following == 33
            tally.sentences += following <= 32
        elif c == 63:
            tally.questions += following <= 32
            tally.sentences += following <= 32
        else:
            tally.percent += at > 0 and 48 <= text[at - 1] <= 57
    return i + stop


cdef bint is_mixed_script(const uint8_t *word, uint32_t n) noexcept nogil:
    """Latin letters of ASCII beside Greek or Cyrillic ones (U+0370 to U+04FF) in one word."""
    cdef uint32_t i
    cdef bint latin = False, other = False
    for i in range(n):
        if 97 <= word[i] <= 122:
            latin = True
        elif 205 <= word[i] <= 211:
            other = True
    return latin and other


def block_masks(const uint8_t[::1] octets, *, bint plain):
    """The masks of a block of 64 octets, as this machine reads it or octet by octet: the tests compare them. Raises ValueError for other lengths."""
    cdef Block block
    if octets.shape[0] != ESA_BLOCK:
        raise ValueError(f"a block has {ESA_BLOCK} octets, not {octets.shape[0]}")
    if plain:
        esa_block_plain(&octets[0], &block)
    else:
        esa_block(&octets[0], &block)
    return block.word, block.high, block.dot, block.blank, block.mark, block.sign


def count_case(const uint8_t[::1] octets, *, bint plain):
    """Capitals and small letters of ASCII, and whether an octet of E2 or more is there; as this machine counts or octet by octet."""
    cdef uint32_t upper = 0, lower = 0
    cdef bint high = False
    if octets.shape[0]:
        if plain:
            high = esa_count_case_plain(&octets[0], <uint32_t> octets.shape[0], &upper, &lower)
        else:
            high = esa_count_case(&octets[0], <uint32_t> octets.shape[0], &upper, &lower)
    return upper, lower, high
