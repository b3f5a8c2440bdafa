"""The stack of open HTML elements. Called by _html."""

from libc.stdint cimport uint32_t

from esa_core._reader cimport Reader

cdef void open_element(Reader *reader, uint32_t name, uint32_t bits, uint32_t before) noexcept nogil
cdef void close_implied(Reader *reader, uint32_t tag, uint32_t bits) noexcept nogil
cdef void end_element(Reader *reader, uint32_t name, uint32_t bits) noexcept nogil
