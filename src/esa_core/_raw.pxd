"""Elements without markup in them, and comments. Called by _html."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._reader cimport *

cdef int read_raw(Reader *reader, uint32_t tag, uint32_t bits, const uint8_t *name, size_t name_length) noexcept nogil
cdef void skip_to_greater(Reader *reader) noexcept nogil
cdef size_t comment_end(Reader *reader, size_t start) noexcept nogil
cdef int emit_comment(Reader *reader, size_t start, size_t end) noexcept nogil
