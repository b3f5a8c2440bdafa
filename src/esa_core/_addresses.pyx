"""What of many entries an address is, or is of: entries by whole addresses, by what stands before the @, by domains and by domains above.

Called by the policy, for senders and recipients of each message. A look costs a probe of a hash table for each thing that an entry may name, and no
Python object where there is nothing, which is nearly always. Tables are filled when they are built; mail only looks them up.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

import numpy as np

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object)
    const void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)

cdef extern from *:
    """
    #define ESA_LONGEST_ADDRESS 320u   /* RFC 5321 section 4.5.3.1: 64 before the @, 255 behind it; longer ones are looked up in Python */
    #define ESA_HASH_BASIS 0xcbf29ce484222325ull   /* FNV-1a */
    #define ESA_HASH_PRIME 0x100000001b3ull
    """
    const uint32_t ESA_LONGEST_ADDRESS
    const uint64_t ESA_HASH_BASIS
    const uint64_t ESA_HASH_PRIME


cdef inline uint64_t _hash(const uint8_t *text, uint32_t n) noexcept nogil:
    cdef uint64_t found = ESA_HASH_BASIS
    cdef uint32_t at
    for at in range(n):
        found = (found ^ text[at]) * ESA_HASH_PRIME
    return found ^ found >> 32


cdef class AddressIndex:
    """`keys` are texts in lower case ASCII, each once: `local@domain`, `local@`, `@domain`, or `.domain` for what is below a domain. Read-only, shared by
    threads."""

    cdef readonly Py_ssize_t n_keys
    cdef bytes blob
    cdef const char *octets
    cdef object start_memory
    cdef const uint32_t *starts        # [n_keys + 1] into blob
    cdef object slot_memory
    cdef const uint32_t *slots         # number of a key + 1; 0 is free
    cdef uint64_t mask
    cdef bint has_above

    def __cinit__(self, keys):
        cdef const uint32_t[::1] numbers
        cdef uint32_t[::1] table
        cdef uint64_t slot
        cdef bytes key
        cdef uint32_t number
        keys = [bytes(key) for key in keys]
        self.n_keys = len(keys)
        self.blob = b"".join(keys)
        self.octets = self.blob
        self.start_memory = numbers = np.concatenate([[0], np.cumsum([len(key) for key in keys])]).astype(np.uint32)
        self.starts = &numbers[0]
        size = 1 << max(3, (2 * len(keys)).bit_length())
        self.mask = <uint64_t> (size - 1)
        self.slot_memory = table = np.zeros(size, np.uint32)
        for number, key in enumerate(keys):
            slot = _hash(<const uint8_t *> <const char *> key, len(key)) & self.mask
            while table[slot]:
                slot = slot + 1 & self.mask
            table[slot] = number + 1
        self.slots = &table[0]
        self.has_above = any([key.startswith(b".") for key in keys])

    cdef Py_ssize_t _number_of(self, const uint8_t *text, uint32_t n) noexcept nogil:
        """The number of a key, -1 for none."""
        cdef uint64_t slot = _hash(text, n) & self.mask
        cdef uint32_t key
        while self.slots[slot]:
            key = self.slots[slot] - 1
            if self.starts[key + 1] - self.starts[key] == n and memcmp(self.octets + self.starts[key], text, n) == 0:
                return key
            slot = slot + 1 & self.mask
        return -1

    def finds_none(self, addresses, others):
        """Whether no key names any address of two sequences, of which empty ones are no address. False where one is not so simple, see `find`."""
        cdef str address
        for given in (addresses, others):
            for address in given:
                if not address:
                    continue
                found = self._find(address)
                if found is None or found:
                    return False
        return True

    def find(self, str address not None):
        """Numbers of the keys that an address is or is of, in no order; None for one that is not so simple: without or with several @, quoted, too long,
        or not in ASCII."""
        return self._find(address)

    cdef object _find(self, str address):
        cdef uint8_t text[320]
        cdef const uint8_t *given
        cdef const uint8_t *sign
        cdef Py_ssize_t length = PyUnicode_GET_LENGTH(address), number
        cdef uint32_t n, at, middle
        cdef list found = None
        if not PyUnicode_IS_COMPACT_ASCII(address) or length > ESA_LONGEST_ADDRESS or length == 0:
            return None
        n = <uint32_t> length
        given = <const uint8_t *> PyUnicode_DATA(address)
        sign = <const uint8_t *> memchr(given, c'@', n)
        if sign == NULL or given[0] == c'"':
            return None
        middle = <uint32_t> (sign - given)
        if memchr(sign + 1, c'@', n - middle - 1) != NULL:
            return None
        if self.n_keys == 0:
            return ()
        for at in range(n):
            text[at] = given[at] + 32 if c'A' <= given[at] <= c'Z' else given[at]
        number = self._number_of(text, n)
        if number >= 0:
            found = [number]
        number = self._number_of(text, middle + 1)
        if number >= 0:
            found = [number] if found is None else [*found, number]
        number = self._number_of(text + middle, n - middle)
        if number >= 0:
            found = [number] if found is None else [*found, number]
        if self.has_above:
            for at in range(n):
                if text[at] == c'.':
                    number = self._number_of(text + at, n - at)
                    if number >= 0:
                        found = [number] if found is None else [*found, number]
        return () if found is None else found
