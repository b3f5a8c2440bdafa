"""Attributes of objects as lines of JSON, gathered in one buffer until somebody writes them to a file.

Caller: the recorder, once a message on the receive route. A line is made in one walk from the objects to octets; nothing in between is built.

Law of this file. A line is a JSON array of what its columns name, then of what is given beside; it ends with a line feed and holds no other. Texts keep
every code point: lone surrogates are written as escapes. A float is written as its shortest decimal if that has at most three places, else as an array of one
integer, the bits of its IEEE 754 double: to print seventeen digits takes longer than all the rest of a line. Octets are base64 (RFC 4648 section 5).
Whatever raises while a line is made leaves the lines before as they were.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from esa_core._buffer cimport append, append_octet, encode_utf8, reserve
from esa_core._types cimport Buffer

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    uint32_t PyUnicode_READ(int kind, const void *data, Py_ssize_t at)
    int64_t PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef enum:
    DEEPEST = 16                 # arrays in arrays; what a recorder keeps has five
    THOUSANDTHS = 1000

cdef char *PAIRS = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849" \
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
cdef char *HEX = "0123456789abcdef"
cdef char *SIXTY_FOUR = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


cdef inline uint64_t zero_octets(uint64_t eight) noexcept nogil:
    """Not 0 if one of eight octets, all under 128, is 0."""
    return (eight - 0x0101010101010101u) & 0x8080808080808080u


cdef uint8_t *ascii_of(uint8_t *to, const uint8_t *octets, size_t length) noexcept nogil:
    """Write ASCII, eight octets at a time where none of them needs an escape."""
    cdef size_t at = 0, stop
    cdef uint64_t eight
    while at < length:
        if at + 8 <= length:
            memcpy(&eight, octets + at, 8)
            if not (zero_octets(eight & 0xE0E0E0E0E0E0E0E0u) | zero_octets(eight ^ 0x2222222222222222u) | zero_octets(eight ^ 0x5C5C5C5C5C5C5C5Cu)):
                memcpy(to, &eight, 8)
                to += 8
                at += 8
                continue
        stop = min(at + 8, length)
        while at < stop:
            if octets[at] < 0x20 or octets[at] == c'"' or octets[at] == c'\\':
                to = escaped(to, octets[at])
            else:
                to[0] = octets[at]
                to += 1
            at += 1
    return to


cdef int text_of(Buffer *out, object text) except -1:
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), at
    cdef int kind = PyUnicode_KIND(text)
    cdef const void *data = PyUnicode_DATA(text)
    cdef const uint8_t *octets = <const uint8_t *> data
    cdef uint8_t *to
    cdef uint32_t point
    if length > 0x10000000 or reserve(out, 6 * <size_t> length + 2) < 0:  # no code point takes more than an escape of six octets
        raise MemoryError
    to = out.data + out.length
    to[0] = c'"'
    to += 1
    if PyUnicode_IS_ASCII(text):
        to = ascii_of(to, octets, <size_t> length)
    else:
        for at in range(length):
            point = PyUnicode_READ(kind, data, at)
            if point < 0x20 or point == c'"' or point == c'\\' or 0xD800 <= point < 0xE000:
                to = escaped(to, point)
            else:
                to += encode_utf8(to, point)
    to[0] = c'"'
    out.length = <uint32_t> (to + 1 - out.data)
    return 0


cdef uint8_t *escaped(uint8_t *to, uint32_t point) noexcept nogil:
    to[0] = c'\\'
    if point == c'"' or point == c'\\':
        to[1] = <uint8_t> point
        return to + 2
    to[1] = c'u'
    to[2] = HEX[point >> 12 & 15]
    to[3] = HEX[point >> 8 & 15]
    to[4] = HEX[point >> 4 & 15]
    to[5] = HEX[point & 15]
    return to + 6


cdef int base64_of(Buffer *out, const uint8_t *octets, size_t length) except -1:
    cdef size_t at = 0
    cdef uint32_t three
    cdef uint8_t *to
    if length > 0x10000000 or reserve(out, 4 * ((length + 2) // 3) + 2) < 0:
        raise MemoryError
    to = out.data + out.length
    to[0] = c'"'
    to += 1
    while at < length:
        three = <uint32_t> octets[at] << 16
        if at + 1 < length:
            three |= <uint32_t> octets[at + 1] << 8
        if at + 2 < length:
            three |= octets[at + 2]
        to[0] = SIXTY_FOUR[three >> 18]
        to[1] = SIXTY_FOUR[three >> 12 & 63]
        to[2] = SIXTY_FOUR[three >> 6 & 63] if at + 1 < length else c'='
        to[3] = SIXTY_FOUR[three & 63] if at + 2 < length else c'='
        to += 4
        at += 3
    to[0] = c'"'
    out.length = <uint32_t> (to + 1 - out.data)
    return 0


cdef int unsigned_of(Buffer *out, uint64_t number) except -1:
    cdef uint8_t[20] digits
    cdef int at = 20
    cdef uint32_t pair
    while number >= 100:
        pair = <uint32_t> (number % 100)
        number //= 100
        at -= 2
        memcpy(digits + at, PAIRS + 2 * pair, 2)
    if number >= 10:
        at -= 2
        memcpy(digits + at, PAIRS + 2 * number, 2)
    else:
        at -= 1
        digits[at] = <uint8_t> (c'0' + number)
    return put(out, digits + at, 20 - at)


cdef int float_of(Buffer *out, double number) except -1:
    cdef double scaled = number * THOUSANDTHS
    cdef int64_t whole
    cdef uint64_t bits
    cdef uint8_t[4] places
    if -1e15 < scaled < 1e15:
        whole = <int64_t> (scaled + 0.5) if scaled >= 0 else <int64_t> (scaled - 0.5)
        if <double> whole / THOUSANDTHS == number and not (whole == 0 and scaled != 0) and not is_minus_zero(number):
            if whole < 0:
                octet(out, c'-')
                whole = -whole
            unsigned_of(out, <uint64_t> whole // THOUSANDTHS)
            whole %= THOUSANDTHS
            places[0] = c'.'
            places[1] = <uint8_t> (c'0' + whole // 100)
            places[2] = <uint8_t> (c'0' + whole // 10 % 10)
            places[3] = <uint8_t> (c'0' + whole % 10)
            return put(out, places, 4)
    memcpy(&bits, &number, sizeof(double))
    octet(out, c'[')
    unsigned_of(out, bits)
    return octet(out, c']')


cdef inline bint is_minus_zero(double number) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &number, sizeof(double))
    return bits == <uint64_t> 1 << 63


cdef inline int octet(Buffer *out, uint8_t value) except -1:
    if append_octet(out, value) < 0:
        raise MemoryError
    return 0


cdef inline int put(Buffer *out, const uint8_t *octets, size_t length) except -1:
    if append(out, octets, length) < 0:
        raise MemoryError
    return 0


cdef int value_of(Buffer *out, object value, int depth) except -1:
    cdef int overflow = 0
    cdef int64_t whole
    cdef bint is_first = True
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if value is None:
        return put(out, <const uint8_t *> b"null", 4)
    if isinstance(value, str):
        return text_of(out, value)
    if value is True:
        return put(out, <const uint8_t *> b"true", 4)
    if value is False:
        return put(out, <const uint8_t *> b"false", 5)
    if isinstance(value, float):
        return float_of(out, value)
    if isinstance(value, int):
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            raise OverflowError("an integer of more than 64 bits")
        if whole < 0:
            octet(out, c'-')
        return unsigned_of(out, <uint64_t> whole if whole >= 0 else -<uint64_t> whole)
    if isinstance(value, bytes):
        return base64_of(out, <const uint8_t *> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if isinstance(value, dict):
        octet(out, c'{')
        for key, item in (<dict> value).items():
            if not isinstance(key, str):
                raise TypeError(f"a key is {type(key).__name__}")
            if not is_first:
                octet(out, c',')
            is_first = False
            text_of(out, key)
            octet(out, c':')
            value_of(out, item, depth + 1)
        return octet(out, c'}')
    if isinstance(value, (tuple, list, set, frozenset)):
        octet(out, c'[')
        for item in value:
            if not is_first:
                octet(out, c',')
            is_first = False
            value_of(out, item, depth + 1)
        return octet(out, c']')
    raise TypeError(f"{type(value).__name__} is no value of JSON")


cdef class _Column:
    """What one place of a line holds: where a path of attributes leads, and of the object there perhaps its own columns."""

    cdef tuple names
    cdef list columns            # None: the value itself
    cdef bint is_each            # the columns of each object in a sequence

    def __init__(self, column):
        path, columns = (column, None) if isinstance(column, str) else column
        self.is_each = path.endswith("[]")
        path = path.removesuffix("[]")
        self.names = tuple(path.split(".")) if path else ()  # an empty path is the object itself
        self.columns = None if columns is None else [_Column(one) for one in columns]
        if self.is_each and columns is None:
            raise ValueError(f"{path}[]: no columns are said")


cdef int column_of(Buffer *out, object source, _Column column, int depth) except -1:
    cdef bint is_first = True
    for name in column.names:
        if source is None:
            break
        source = getattr(source, name)
    if column.columns is None:
        return value_of(out, source, depth)
    if source is None:
        return put(out, <const uint8_t *> b"null", 4)
    if not column.is_each:
        return columns_of(out, source, column.columns, depth)
    octet(out, c'[')
    for item in source:
        if not is_first:
            octet(out, c',')
        is_first = False
        columns_of(out, item, column.columns, depth + 1)
    return octet(out, c']')


cdef int columns_of(Buffer *out, object source, list columns, int depth) except -1:
    cdef bint is_first = True
    octet(out, c'[')
    for column in columns:
        if not is_first:
            octet(out, c',')
        is_first = False
        column_of(out, source, <_Column> column, depth)
    return octet(out, c']')


cdef class JsonLines:
    """Lines that wait, in one buffer that stays. Not for two threads at once.

    `columns`: what of an object makes a line. Each is a path of attribute names, `session.helo`, whose value is written: None, a bool, text, a number,
    octets, or sequences, sets and dicts of these; where the path meets None it is null. Or a pair of a path and columns: an array of those
    of the object there (an empty path: of the same object), or, if the path ends with `[]`, of each object in the sequence there. A str that is
    more (an enumeration's) is written as text.

    A line of more than `longest` octets is not taken, nor one that makes all of them more than `most`.
    """

    cdef list columns
    cdef Buffer buffer
    cdef Buffer ends             # uint32 [count]: where each line ends
    cdef Py_ssize_t count
    cdef readonly Py_ssize_t longest
    cdef readonly Py_ssize_t most

    def __cinit__(self, columns, *, Py_ssize_t longest, Py_ssize_t most):
        if not 0 < longest <= most <= 1 << 30:
            raise ValueError(f"a line of {longest} octets at most, and {most} in all")
        self.columns = [_Column(one) for one in columns]
        self.longest, self.most = longest, most

    def __dealloc__(self):
        free(self.buffer.data)
        free(self.ends.data)

    def __len__(self):
        return self.count

    @property
    def octets(self):
        """Of all lines."""
        return self.buffer.length

    def add(self, source, tuple beside not None=(), *, Py_ssize_t room=-1):
        """Take a line: the columns of `source`, then what stands `beside`. The octets of the line, negative if it is not taken.

        `room`: octets that all lines may have, if that is less than `most`. Raises what an attribute raises, TypeError for what JSON has not, and
        OverflowError, ValueError and MemoryError.
        """
        cdef uint32_t start = self.buffer.length, end
        cdef Py_ssize_t length
        cdef bint is_first = not self.columns
        try:
            columns_of(&self.buffer, source, self.columns, 1)
            self.buffer.length -= 1
            for value in beside:
                if not is_first:
                    octet(&self.buffer, c',')
                is_first = False
                value_of(&self.buffer, value, 2)
            put(&self.buffer, <const uint8_t *> b"]\n", 2)
            length = self.buffer.length - start
            if length > self.longest or self.buffer.length > (self.most if room < 0 else min(room, self.most)):
                self.buffer.length = start
                return -length
            end = self.buffer.length
            put(&self.ends, <const uint8_t *> &end, sizeof(uint32_t))
        except BaseException:
            self.buffer.length = start
            raise
        self.count += 1
        return length

    def end(self, Py_ssize_t number):
        """Where a line ends, and the next begins. Raises IndexError."""
        if not 0 <= number < self.count:
            raise IndexError(f"line {number} of {self.count}")
        return (<uint32_t *> self.ends.data)[number]

    def piece(self, Py_ssize_t start, Py_ssize_t stop):
        """The octets of the lines [start, stop)."""
        cdef uint32_t first, last
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"lines {start} to {stop} of {self.count}")
        first = (<uint32_t *> self.ends.data)[start - 1] if start else 0
        last = (<uint32_t *> self.ends.data)[stop - 1] if stop else 0
        return (<char *> self.buffer.data)[first:last] if last > first else b""

    def clear(self):
        """Begin anew in the same memory."""
        self.buffer.length = self.ends.length = 0
        self.count = 0
