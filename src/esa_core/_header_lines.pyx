"""Lines of a message's own header, found without reading the message: where it ends, and the fields of a few names as they stand.

Called by the receive route, several times a message; what may be read at leisure is read by `parse`. A line ends with a line feed; CRs are octets
like others but in the empty line that ends the header.
"""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memchr

from esa_core._buffer cimport append, equals_caseless
from esa_core._types cimport Buffer


cdef inline Py_ssize_t next_line(const uint8_t *octets, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Where the next line begins, or the size."""
    cdef const uint8_t *found = <const uint8_t *> memchr(octets + at, c'\n', <size_t> (size - at))
    return size if found == NULL else found + 1 - octets


cdef inline bint is_empty_line(const uint8_t *octets, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    return octets[at] == c'\n' or (octets[at] == c'\r' and at + 1 < size and octets[at + 1] == c'\n')


cdef inline bint is_white(uint8_t octet) noexcept nogil:
    return octet == c' ' or octet == c'\t'


def header_end(content not None):
    """Offset behind the last line of the header of what is a buffer: that of the empty line (CRLF or LF), or the size where there is none."""
    cdef Py_buffer view
    cdef Py_ssize_t at = 0
    PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
    try:
        while at < view.len and not is_empty_line(<const uint8_t *> view.buf, at, view.len):
            at = next_line(<const uint8_t *> view.buf, at, view.len)
        return at
    finally:
        PyBuffer_Release(&view)


cdef bint is_named(const uint8_t *octets, Py_ssize_t at, Py_ssize_t end, const char *name, Py_ssize_t length) noexcept nogil:
    """Whether a field of this name, in lower case, begins there: in any case, with white space before its colon or without."""
    if end - at <= length or not equals_caseless(octets + at, name, <size_t> length):
        return False
    at += length
    while at < end and is_white(octets[at]):
        at += 1
    return at < end and octets[at] == c':'


def header_fields(content not None, tuple names not None, *, Py_ssize_t end=-1, Py_ssize_t most, Py_ssize_t longest):
    """The fields called so (bytes in lower case), as they stand and in their order: the first `most` of each name, of each its first `longest` octets.

    `end`: of the header, if it is known; what is behind is not looked at. A field of the same name that is cut off ends without a line feed.
    """
    cdef Py_buffer view
    cdef Py_ssize_t at = 0, start
    cdef Py_ssize_t[8] left
    cdef Py_ssize_t number, count = len(names)
    cdef const uint8_t *octets
    cdef Buffer found = Buffer(NULL, 0, 0)
    if count > 8:
        raise ValueError(f"{count} names, and 8 are the most")
    for number in range(count):
        left[number] = most
    PyObject_GetBuffer(content, &view, PyBUF_SIMPLE)
    try:
        octets = <const uint8_t *> view.buf
        end = view.len if end < 0 or end > view.len else end
        while at < end and not is_empty_line(octets, at, end):
            start = at
            at = next_line(octets, at, end)
            for number in range(count):
                name = <bytes> names[number]
                if left[number] > 0 and is_named(octets, start, at, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
                    while at < end and is_white(octets[at]):
                        at = next_line(octets, at, end)
                    left[number] -= 1
                    if append(&found, octets + start, <size_t> min(at - start, longest)) < 0:
                        raise MemoryError
                    break
        return bytes_of(&found)
    finally:
        PyBuffer_Release(&view)
        free(found.data)


cdef bytes bytes_of(const Buffer *found):
    return (<const char *> found.data)[:found.length] if found.length else b""
