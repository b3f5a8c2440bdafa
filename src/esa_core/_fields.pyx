"""Which of many header fields stand in a message, and which of many literals in their values: for rules of which each asks for one field.

Called by the policy's gates, once a message. The values are looked at as `Parsed.header` gives them, decoded and folded, all in one pass. A literal that
stands in the value of another field than it was given for is told too: the answer is "may stand", and whoever asks looks closer.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcpy

from esa_core._automaton cimport Automaton, count_matches
from esa_core._buffer cimport append, append_octet, equals_caseless, reserve
from esa_core._field cimport decode_words
from esa_core._fold cimport fold_octets
from esa_core._parsed cimport Parsed
from esa_core._terms cimport MatchSink, sink_free, sink_init
from esa_core._types cimport Buffer, HeaderField
from esa_core._types cimport Part as EsaPart

import numpy as np


def has_field(Parsed parsed not None, bytes name not None):
    """Whether a message's own header has a field of this name, given in lower case."""
    cdef EsaPart *part = &parsed.document.parts[0]
    cdef const char *wanted = name
    cdef Py_ssize_t length = len(name)
    cdef uint32_t at
    for at in range(part.field_first, part.field_first + part.field_count):
        if parsed.document.fields[at].name_length == length and equals_caseless(parsed.document.raw + parsed.document.fields[at].name_start, wanted, length):
            return True
    return False


cdef class FieldGate:
    """`fields` are names in lower case, each with whether its values are searched; `literals` are folded texts, not empty. Read-only, shared by threads.

    What is told has numbers: those of the fields, and behind them those of the literals.
    """

    cdef readonly Py_ssize_t n_fields
    cdef readonly Py_ssize_t n_literals
    cdef Automaton automaton
    cdef bytes blob                    # the names, one after another
    cdef const char *octets
    cdef object memory                 # [n_fields + 1] where each begins, rising in length
    cdef const uint32_t *starts
    cdef object order_memory
    cdef const uint32_t *order         # [n_fields] which field it is
    cdef object searched_memory
    cdef const uint8_t *searched       # [n_fields]
    cdef uint32_t first[66]            # of names of each length; from 64 on together

    def __cinit__(self, fields, literals):
        cdef const uint32_t[::1] numbers
        cdef const uint8_t[::1] flags
        names = [bytes(name) for name, _ in fields]
        order = sorted(range(len(names)), key=lambda number: len(names[number]))
        self.n_fields, self.n_literals = len(names), len(literals)
        self.automaton = Automaton(list(literals)) if literals else None
        self.blob = b"".join([names[number] for number in order])
        self.octets = self.blob
        self.memory = numbers = np.concatenate([[0], np.cumsum([len(names[number]) for number in order])]).astype(np.uint32)
        self.starts = &numbers[0]
        self.order_memory = numbers = np.array([*order, 0], np.uint32)
        self.order = &numbers[0]
        self.searched_memory = flags = np.array([*[bool(fields[number][1]) for number in order], False], np.uint8)
        self.searched = &flags[0]
        lengths = [min(len(names[number]), 64) for number in order]
        for length in range(66):
            self.first[<int> length] = <uint32_t> sum(one < length for one in lengths)

    cdef Py_ssize_t _place_of(self, const uint8_t *name, uint32_t length) noexcept nogil:
        """Where a name stands among the sorted ones, -1 for none."""
        cdef uint32_t group = min(length, <uint32_t> 64), at
        for at in range(self.first[group], self.first[group + 1]):
            if self.starts[at + 1] - self.starts[at] == length and equals_caseless(name, self.octets + self.starts[at], length):
                return at
        return -1

    def find(self, Parsed parsed not None, bytes more=b""):
        """Numbers of the fields that there are and of the literals that may stand in their values or in `more`, UTF-8; each once, in no order.

        None: so many literals stand there that not all were looked for. MemoryError only.
        """
        cdef Buffer values = Buffer(NULL, 0, 0), work = Buffer(NULL, 0, 0), plain = Buffer(NULL, 0, 0)
        cdef list found = []
        cdef EsaPart *part = &parsed.document.parts[0]
        cdef const uint8_t *raw = parsed.document.raw
        cdef HeaderField *field
        cdef Py_ssize_t place
        cdef uint32_t at
        try:
            if self.n_fields:
                for at in range(part.field_first, part.field_first + part.field_count):
                    field = &parsed.document.fields[at]
                    if self.first[min(<uint32_t> field.name_length, <uint32_t> 64)] == self.first[min(<uint32_t> field.name_length, <uint32_t> 64) + 1]:
                        continue
                    place = self._place_of(raw + field.name_start, field.name_length)
                    if place < 0:
                        continue
                    if self.order[place] not in found:
                        found.append(self.order[place])
                    if self.searched[place] and self.n_literals and _add_value(parsed, raw + field.value_start, field.value_length, &work, &plain, &values) < 0:
                        raise MemoryError
            if more and self.n_literals and append(&values, <const uint8_t *> <const char *> more, len(more)) < 0:
                raise MemoryError
            if values.length and not self._add_literals(&values, found):
                return None
            return found
        finally:
            free(values.data)
            free(work.data)
            free(plain.data)

    cdef bint _add_literals(self, const Buffer *values, list found) except *:
        """Whether all was looked for."""
        cdef Buffer folded = Buffer(NULL, 0, 0)
        cdef uint64_t flags = 0
        cdef bint mixed = False
        cdef MatchSink sink
        cdef uint32_t at
        if sink_init(&sink, 0) < 0:
            raise MemoryError
        try:
            if fold_octets(values.data, values.length, 0xFFFFFFFF, &folded, &flags, &mixed) < 0:
                raise MemoryError
            if folded.length:
                count_matches(&self.automaton.matcher, folded.data, folded.length, &sink)
            if sink.n_places:
                found += {self.n_fields + sink.places[at].term for at in range(sink.n_places)}
            return not sink.capped
        finally:
            sink_free(&sink)
            free(folded.data)


cdef bint _is_plain(const uint8_t *value, uint32_t length) noexcept nogil:
    """Whether a value is ASCII without encoded words, so that it is its own decoded text."""
    cdef uint32_t at = 0
    cdef uint64_t word, high = 0
    cdef const uint8_t *sign = value
    while length - at >= 8:
        memcpy(&word, value + at, 8)
        high |= word
        at += 8
    while at < length:
        high |= value[at]
        at += 1
    if high & <uint64_t> 0x8080808080808080:
        return False
    while length:
        sign = <const uint8_t *> memchr(sign, c'=', value + length - sign)
        if sign == NULL:
            return True
        if sign + 1 < value + length and sign[1] == c'?':
            return False
        sign += 1
        if sign == value + length:
            return True
    return True


cdef int _add_unfolded(const uint8_t *value, uint32_t length, Buffer *out) noexcept nogil:
    """Append a value without its line breaks. 0, or -1 for no memory."""
    cdef const uint8_t *end = value + length
    cdef const uint8_t *stop
    cdef const uint8_t *returned
    cdef uint8_t *put
    cdef size_t kept
    if reserve(out, length) < 0:
        return -1
    put = out.data + out.length
    while value < end:
        stop = <const uint8_t *> memchr(value, 10, end - value)
        if stop == NULL:
            stop = end
        returned = <const uint8_t *> memchr(value, 13, stop - value)
        if returned == NULL or returned == stop - 1:         # of a line end, as nearly all are
            kept = (stop if returned == NULL else returned) - value
            memcpy(put, value, kept)
            put += kept
        else:
            while value < stop:
                if value[0] != 13:
                    put[0] = value[0]
                    put += 1
                value += 1
        value = stop + 1
    out.length = <uint32_t> (put - out.data)
    return 0


cdef int _add_value(
    Parsed parsed, const uint8_t *value, uint32_t length, Buffer *work, Buffer *plain, Buffer *out
) noexcept nogil:
    """Append the decoded value of a field, and a line feed. 0, or -1 for no memory."""
    cdef uint64_t flags = 0
    if _is_plain(value, length):
        if _add_unfolded(value, length, out) < 0:
            return -1
        return append_octet(out, 10)
    if memchr(value, 10, length) != NULL or memchr(value, 13, length) != NULL:
        plain.length = 0
        if _add_unfolded(value, length, plain) < 0:
            return -1
        value, length = plain.data, plain.length
    if length and decode_words(&parsed.document, value, length, work, out, &flags) < 0:
        return -1
    return append_octet(out, 10)
