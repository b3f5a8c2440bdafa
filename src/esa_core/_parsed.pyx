"""Parsed: one message as a lazy view on the core's arrays, for people and tests; the batch driver does not need it.

The structure is read at once, texts on first access. Content never raises; MemoryError only.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._mime cimport document_free, document_init, parse_structure
from esa_core._types cimport *

FLAG_NAMES = (
    "oversized", "too_many_fields", "too_many_parts", "too_deep", "text_truncated", "too_many_links", "odd_boundary",
    "unterminated_multipart", "bad_header_line", "no_header_end", "nul_bytes", "eight_bit_header", "bad_base64", "bad_quoted_printable",
    "bad_charset", "bad_encoded_word", "several_from", "duplicate_field", "bare_cr", "mbox_line", "ambiguous", "defective_html", "empty",
)


cdef tuple flag_names(uint64_t flags):
    return tuple(name for bit, name in enumerate(FLAG_NAMES) if flags & (<uint64_t>1 << bit))


cdef class Parsed:
    def __cinit__(self, raw):
        cdef int outcome
        if document_init(&self.document) < 0:
            raise MemoryError
        PyObject_GetBuffer(raw, &self.view, PyBUF_SIMPLE)
        self.held = True
        with nogil:
            outcome = parse_structure(&self.document, <const uint8_t *>self.view.buf, <size_t>self.view.len)
        if outcome < 0:
            raise MemoryError

    def __dealloc__(self):
        document_free(&self.document)
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int decode(self) except -1:
        return 0

    cdef int fold(self) except -1:
        return 0

    @property
    def flags(self):
        return flag_names(self.document.flags)


def parse(raw):
    return Parsed(raw)
