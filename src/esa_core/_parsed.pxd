"""One parsed message as a Python object; _batch and _facts take its document."""

from cpython.buffer cimport Py_buffer

from esa_core._types cimport Document

cdef class Parsed:
    cdef Document document
    cdef Py_buffer view
    cdef bint held
    cdef int decode(self) except -1
    cdef int fold(self) except -1
