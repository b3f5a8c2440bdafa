"""Room for mail data while it arrives, for `_smtp`."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

cdef class Content:
    cdef:
        PyObject *octets             # a bytes object that only we hold, filled up to length
        Py_ssize_t length
        Py_ssize_t room              # octets of memory

    cdef int make_room(self, Py_ssize_t more, Py_ssize_t to_come) except -1
    cdef uint8_t *end(self) noexcept
    cdef object take(self)
    cdef void drop(self) noexcept
