"""Unpack DEFLATE (RFC 1951) in zlib's frame (RFC 1950), up to a bound, without state between calls.

A code of at most FAST bits is looked up, a longer one is compared with the ends of the lengths of codes, which are canonical (RFC 1951 3.2.2).
What was unpacked before damage or the bound is kept. -1 only says that there is no memory.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from esa_core._buffer cimport append, reserve
from esa_core._types cimport BAD_CONTAINER, ESA_MAX_CODES, NOT_ALL_READ, Buffer

cdef enum:
    FAST = 9                     # bits
    LONGEST_CODE = 15
    LITERALS = 288               # symbols of literals, lengths and the end of a block
    DISTANCES = 32
    LONGEST_COPY = 258

cdef enum Outcome:
    GOOD = 0
    DAMAGED = 1
    FULL = 2                     # the bound is reached
    NO_MEMORY = 3

cdef extern from *:
    """
    /* RFC 1951 3.2.5: of each symbol the least it stands for, and the bits that are added. */
    static const uint16_t inflate_length_base[29] = {
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t inflate_length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t inflate_distance_base[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
        2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    static const uint8_t inflate_distance_bits[30] = {
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
    /* RFC 1951 3.2.7: the order in which lengths of the code of code lengths are given. */
    static const uint8_t inflate_order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    """
    const uint16_t *inflate_length_base
    const uint8_t *inflate_length_bits
    const uint16_t *inflate_distance_base
    const uint8_t *inflate_distance_bits
    const uint8_t *inflate_order

cdef struct Codes:
    uint16_t[512] fast           # by the next FAST bits: symbol << 4 | length of its code; 0: a longer one, or none
    uint32_t[17] end             # by length: behind its last code, as if it had 16 bits
    int[16] shift                # by length: what leads from a code to its place in `symbols`
    uint16_t[288] symbols        # in the order of their codes

cdef struct Bits:
    const uint8_t *packed
    size_t at                    # may pass the length: see is_over
    size_t length
    uint64_t held                # the next bits, the first one lowest
    uint32_t count


cdef inline void fill(Bits *bits) noexcept nogil:
    """At least 48 bits, zeros behind the end."""
    while bits.count <= 48:
        if bits.at < bits.length:
            bits.held |= <uint64_t> bits.packed[bits.at] << bits.count
        bits.at += 1
        bits.count += 8


cdef inline uint32_t take(Bits *bits, uint32_t n) noexcept nogil:
    """The next n bits, at most 16; they must be held."""
    cdef uint32_t value = <uint32_t> (bits.held & ((<uint64_t> 1 << n) - 1))
    bits.held >>= n
    bits.count -= n
    return value


cdef inline bint is_over(const Bits *bits) noexcept nogil:
    """Whether bits behind the end were taken."""
    return bits.at > bits.length and 8 * (bits.at - bits.length) > bits.count


cdef inline uint32_t reversed_bits(uint32_t value, uint32_t n) noexcept nogil:
    """The lowest n of 16 bits, the first one last."""
    value = (value & 0xAAAA) >> 1 | (value & 0x5555) << 1
    value = (value & 0xCCCC) >> 2 | (value & 0x3333) << 2
    value = (value & 0xF0F0) >> 4 | (value & 0x0F0F) << 4
    value = (value & 0xFF00) >> 8 | (value & 0x00FF) << 8
    return value >> (16 - n)


cdef bint make_codes(Codes *codes, const uint8_t *lengths, uint32_t n) noexcept nogil:
    """The canonical codes of n symbols of given lengths (0: none); False if there are more codes than bits tell apart."""
    cdef uint32_t[16] counts, next_code, next_place
    cdef uint32_t length, symbol, code = 0, place = 0, at
    memset(counts, 0, sizeof(counts))
    memset(codes.fast, 0, sizeof(codes.fast))
    for symbol in range(n):
        counts[lengths[symbol]] += 1
    for length in range(1, LONGEST_CODE + 1):
        next_code[length], next_place[length] = code, place
        codes.shift[length] = <int> place - <int> code
        code += counts[length]
        place += counts[length]
        if code > <uint32_t> 1 << length:
            return False
        codes.end[length] = code << (16 - length)
        code <<= 1
    codes.end[16] = 0x10000
    for symbol in range(n):
        length = lengths[symbol]
        if length == 0:
            continue
        codes.symbols[next_place[length]] = <uint16_t> symbol
        if length <= FAST:
            at = reversed_bits(next_code[length], length)
            while at < 1 << FAST:
                codes.fast[at] = <uint16_t> (symbol << 4 | length)
                at += <uint32_t> 1 << length
        next_code[length] += 1
        next_place[length] += 1
    return True


cdef inline int next_symbol(Bits *bits, const Codes *codes) noexcept nogil:
    """The symbol of the next code, whose bits must be held; -1 if there is none."""
    cdef uint32_t entry = codes.fast[bits.held & ((1 << FAST) - 1)]
    cdef uint32_t code, length
    if entry:
        take(bits, entry & 15)
        return <int> (entry >> 4)
    code = reversed_bits(<uint32_t> (bits.held & 0xFFFF), 16)
    length = 1
    while code >= codes.end[length]:
        length += 1
    if length > LONGEST_CODE:
        return -1
    take(bits, length)
    return codes.symbols[<int> (code >> (16 - length)) + codes.shift[length]]


cdef bint read_codes(Bits *bits, Codes *literals, Codes *distances) noexcept nogil:
    """The codes of a block that brings its own (RFC 1951 3.2.7); False if they are damaged."""
    cdef uint8_t[320] lengths    # LITERALS + DISTANCES
    cdef uint32_t n_literals, n_distances, n_lengths, n = 0, count
    cdef uint8_t value
    cdef int symbol
    fill(bits)
    n_literals, n_distances, n_lengths = 257 + take(bits, 5), 1 + take(bits, 5), 4 + take(bits, 4)
    if n_literals > LITERALS:
        return False
    memset(lengths, 0, sizeof(lengths))
    for n in range(n_lengths):
        fill(bits)
        lengths[inflate_order[n]] = <uint8_t> take(bits, 3)
    if not make_codes(literals, lengths, 19):
        return False
    memset(lengths, 0, 19)
    n = 0
    while n < n_literals + n_distances:
        fill(bits)
        symbol = next_symbol(bits, literals)
        if symbol < 0 or is_over(bits):
            return False
        if symbol < 16:
            lengths[n] = <uint8_t> symbol
            n += 1
            continue
        if symbol == 16:
            if n == 0:
                return False
            value, count = lengths[n - 1], 3 + take(bits, 2)
        else:
            value, count = 0, 3 + take(bits, 3) if symbol == 17 else 11 + take(bits, 7)
        if n + count > n_literals + n_distances:
            return False
        memset(lengths + n, value, count)
        n += count
    return make_codes(literals, lengths, n_literals) and make_codes(distances, lengths + n_literals, n_distances)


cdef void usual_codes(Codes *literals, Codes *distances) noexcept nogil:
    """RFC 1951 3.2.6."""
    cdef uint8_t[288] lengths    # LITERALS
    memset(lengths, 8, 144)
    memset(lengths + 144, 9, 112)
    memset(lengths + 256, 7, 24)
    memset(lengths + 280, 8, 8)
    make_codes(literals, lengths, LITERALS)
    memset(lengths, 5, DISTANCES)
    make_codes(distances, lengths, DISTANCES)


cdef Outcome read_block(Bits *bits, const Codes *literals, const Codes *distances, size_t start, size_t room, Buffer *out) noexcept nogil:
    """Literals and copies up to the end of a block."""
    cdef int symbol
    cdef uint32_t count, distance
    cdef size_t left, at
    cdef uint8_t *put
    while True:
        if out.capacity - out.length < LONGEST_COPY and reserve(out, LONGEST_COPY) < 0:
            return NO_MEMORY
        fill(bits)
        symbol = next_symbol(bits, literals)
        if symbol < 0 or is_over(bits):
            return DAMAGED
        if symbol == 256:
            return GOOD
        if out.length - start >= room:
            return FULL
        if symbol < 256:
            out.data[out.length] = <uint8_t> symbol
            out.length += 1
            continue
        if symbol > 285:
            return DAMAGED
        count = inflate_length_base[symbol - 257] + take(bits, inflate_length_bits[symbol - 257])
        symbol = next_symbol(bits, distances)
        if symbol < 0 or symbol > 29:
            return DAMAGED
        fill(bits)
        distance = inflate_distance_base[symbol] + take(bits, inflate_distance_bits[symbol])
        if distance > out.length - start or is_over(bits):
            return DAMAGED
        left = min(<size_t> count, room - (out.length - start))
        put = out.data + out.length
        if distance >= left:
            memcpy(put, put - distance, left)
        else:
            for at in range(left):
                put[at] = (put - distance)[at]
        out.length += <uint32_t> left
        if left < count:
            return FULL


cdef Outcome copy_stored(Bits *bits, size_t start, size_t room, Buffer *out) noexcept nogil:
    """A block that is not compressed (RFC 1951 3.2.4)."""
    cdef size_t at, count, left
    if is_over(bits):
        return DAMAGED
    at = bits.at - bits.count // 8       # whole octets are given back
    if bits.length < 4 or at > bits.length - 4:
        return DAMAGED
    count = bits.packed[at] | <size_t> bits.packed[at + 1] << 8
    if count != <size_t> ((bits.packed[at + 2] | <uint32_t> bits.packed[at + 3] << 8) ^ 0xFFFF):
        return DAMAGED
    at += 4
    left = min(min(count, bits.length - at), room - (out.length - start))
    if append(out, bits.packed + at, left) < 0:
        return NO_MEMORY
    bits.at, bits.held, bits.count = at + left, 0, 0
    if left < count:
        return FULL if out.length - start == room else DAMAGED
    return GOOD


cdef Outcome read_blocks(Bits *bits, size_t room, Buffer *out) noexcept nogil:
    cdef Codes literals, distances
    cdef size_t start = out.length
    cdef size_t may_bring = ESA_MAX_CODES + bits.length // ESA_MAX_CODES
    cdef uint32_t last = 0, kind
    cdef Outcome outcome = GOOD
    while outcome == GOOD and not last:
        fill(bits)
        last, kind = take(bits, 1), take(bits, 2)
        if kind == 0:
            outcome = copy_stored(bits, start, room, out)
            continue
        if kind == 3 or is_over(bits):
            return DAMAGED
        if may_bring == 0:
            return FULL
        may_bring -= 1
        if kind == 1:
            usual_codes(&literals, &distances)
        elif not read_codes(bits, &literals, &distances):
            return DAMAGED
        outcome = read_block(bits, &literals, &distances, start, room, out)
    return outcome


cdef uint32_t checksum(const uint8_t *octets, size_t length) noexcept nogil:
    """Adler-32 (RFC 1950 8.2)."""
    cdef uint32_t low = 1, high = 0
    cdef size_t at = 0, stop
    while at < length:
        stop = min(at + 5552, length)    # as many as 32 bits can sum
        while at < stop:
            low += octets[at]
            high += low
            at += 1
        low %= 65521
        high %= 65521
    return high << 16 | low


cdef int inflate(const uint8_t *packed, size_t length, size_t room, Buffer *out, uint64_t *flags) noexcept nogil:
    """Append what a zlib stream holds, at most `room` octets (of more: NOT_ALL_READ); damage ends it (BAD_CONTAINER). 0, or -1 for no memory."""
    cdef Bits bits
    cdef size_t start = out.length, at
    cdef Outcome outcome
    if length < 2 or packed[0] & 15 != 8 or (packed[0] << 8 | packed[1]) % 31 or packed[1] & 32:     # no DEFLATE, or a dictionary of its own
        flags[0] |= BAD_CONTAINER
        return 0
    memset(&bits, 0, sizeof(Bits))
    bits.packed, bits.at, bits.length = packed, 2, length
    outcome = read_blocks(&bits, room, out)
    if outcome == NO_MEMORY:
        return -1
    if outcome == FULL:
        flags[0] |= NOT_ALL_READ
        return 0
    at = bits.at - bits.count // 8
    if outcome == DAMAGED or at + 4 > length or checksum(out.data + start, out.length - start) != (
            <uint32_t> packed[at] << 24 | <uint32_t> packed[at + 1] << 16 | <uint32_t> packed[at + 2] << 8 | packed[at + 3]):
        flags[0] |= BAD_CONTAINER
    return 0
