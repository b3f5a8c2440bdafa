"""Room for mail data while it arrives: one bytes object that grows in place and is handed out without a copy. `_smtp` calls it.

Nobody else sees the object before `take`, so it may be written to. MemoryError only, and then what was held is gone.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport uint8_t

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **object, Py_ssize_t size) except -1
    PyObject *PyBytes_FromStringAndSize_new "PyBytes_FromStringAndSize"(const char *start, Py_ssize_t size) except NULL

cdef enum:
    FIRST_ROOM = 20480               # for a small message and the worst case of one slice


@cython.final
cdef class Content:
    def __dealloc__(self):
        Py_XDECREF(self.octets)

    cdef int make_room(self, Py_ssize_t more, Py_ssize_t to_come) except -1:
        """Room for `more` octets; grows by doubling, at first to what is at hand."""
        cdef Py_ssize_t room
        if self.room - self.length >= more:
            return 0
        room = max(self.room * 2, self.length + to_come + more, FIRST_ROOM)
        self.room = 0                    # should there be no memory, the object is gone
        if self.octets == NULL:
            self.length = 0
            self.octets = PyBytes_FromStringAndSize_new(NULL, room)
        else:
            _PyBytes_Resize(&self.octets, room)
        self.room = room
        return 0

    cdef uint8_t *end(self) noexcept:
        """Where the next octet goes."""
        return <uint8_t *> PyBytes_AS_STRING(<bytes> self.octets) + self.length

    cdef object take(self):
        """All that is held, as bytes; it is held no more."""
        cdef PyObject *octets = self.octets
        cdef Py_ssize_t length = self.length
        if octets == NULL or length == 0:
            self.drop()
            return b""
        self.octets = NULL
        self.length = 0
        self.room = 0
        if length != len(<bytes> octets):
            _PyBytes_Resize(&octets, length)
        result = <bytes> octets
        Py_XDECREF(octets)
        return result

    cdef void drop(self) noexcept:
        Py_XDECREF(self.octets)
        self.octets = NULL
        self.length = 0
        self.room = 0
