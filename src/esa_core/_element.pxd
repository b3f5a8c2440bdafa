"""The stack of open HTML elements. Called by _html."""

from libc.stdint cimport int16_t, uint16_t, uint32_t

from esa_core._reader cimport *
from esa_core._types cimport DEFECTIVE_HTML

cdef void close_implied(Reader *reader, uint32_t tag, uint32_t bits) noexcept nogil
cdef void close_down_to(Reader *reader, int index, bint reopens) noexcept nogil
cdef void end_element(Reader *reader, uint32_t name, uint32_t bits) noexcept nogil
cdef bint is_foreign(const Reader *reader) noexcept nogil
cdef void leave_foreign(Reader *reader) noexcept nogil


cdef inline void open_element(Reader *reader, uint32_t name, uint32_t bits, const Look *before) noexcept nogil:
    """Push an element; reader.look is that inside it."""
    cdef Open *element
    if reader.n_open >= HTML_DEPTH:
        reader.overflow += 1
        reader.look = before[0]
        reader.document.flags |= DEFECTIVE_HTML
        return
    element = &reader.open[reader.n_open]
    element.name = <uint16_t>name
    element.before = before[0]
    element.same = reader.top[name]
    element.scope = reader.scope
    reader.top[name] = <int16_t>reader.n_open
    if bits & SCOPE:
        reader.scope = <int16_t>reader.n_open
    reader.preformatted += bits & PREFORMATTED != 0
    reader.n_open += 1
