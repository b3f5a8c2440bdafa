"""One parsed message as a Python object; _batch and _facts take its document."""

from cpython.buffer cimport Py_buffer

from libc.stdint cimport uint32_t

from esa_core._types cimport Document, HeaderField, Span
from esa_core._types cimport Part as EsaPart

cdef class Parsed:
    cdef Document document
    cdef Py_buffer view
    cdef bint held
    cdef int decode(self) except -1
    cdef int read_texts(self) except -1
    cdef str header_text(self, const Span *where)
    cdef int fold(self) except -1
    cdef bint may_be_named(self, const EsaPart *part) noexcept
    cdef int read_named(self) except -1
    cdef str arena_text(self, Span where)
    cdef str source_text(self, const EsaPart *part, Span where)
    cdef bytes field_name(self, const HeaderField *field)
    cdef bytes field_value(self, const HeaderField *field)
    cdef list header_list(self, uint32_t index)
    cdef str region_text(self, uint32_t kinds)
