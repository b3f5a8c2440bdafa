"""The stack of open HTML elements: scopes, implied ends, and the visibility that ends with an element.

An end tag finds its element through `Reader.top`, so that its cost does not depend on the depth; every element is closed once.
"""

from libc.stdint cimport int16_t, uint16_t, uint32_t

from esa_core._entity cimport element_bits
from esa_core._link cimport end_anchor
from esa_core._reader cimport *
from esa_core._types cimport DEFECTIVE_HTML


cdef void open_element(Reader *reader, uint32_t name, uint32_t bits, uint32_t before) noexcept nogil:
    cdef Open *element
    if reader.n_open >= HTML_DEPTH:
        reader.overflow += 1
        reader.state = before
        reader.document.flags |= DEFECTIVE_HTML
        return
    element = &reader.open[reader.n_open]
    element.name = <uint16_t>name
    element.before = <uint16_t>before
    element.same = reader.top[name]
    element.scope = reader.scope
    reader.top[name] = <int16_t>reader.n_open
    if bits & SCOPE:
        reader.scope = <int16_t>reader.n_open
    if name == TAG_PRE or name == TAG_LISTING:
        reader.preformatted += 1
    reader.n_open += 1


cdef void close_down_to(Reader *reader, int index) noexcept nogil:
    """Close every element from the topmost down to this one, leaving a gap as each of them does."""
    cdef Open *element
    cdef uint32_t bits
    while <int>reader.n_open > index:
        reader.n_open -= 1
        element = &reader.open[reader.n_open]
        bits = element_bits(element.name) if element.name < ELEMENTS else 0
        if bits & (BLOCK | CELL):
            leave_gap(reader, GAP_LINE if bits & BLOCK else GAP_SPACE)
        reader.top[element.name] = element.same
        reader.scope = element.scope
        reader.state = element.before
        if (element.name == TAG_PRE or element.name == TAG_LISTING) and reader.preformatted:
            reader.preformatted -= 1
    reader.overflow = 0


cdef inline void close_within(Reader *reader, uint32_t name, int scope) noexcept nogil:
    """Close the topmost element of this name if it stands above `scope`."""
    if reader.top[name] > scope:
        close_down_to(reader, reader.top[name])


cdef void close_implied(Reader *reader, uint32_t tag, uint32_t bits) noexcept nogil:
    """What the start of `tag` ends without an end tag (13.2.6.4.7 ff.)."""
    cdef int table = reader.top[TAG_TABLE]
    if bits & CLOSES_P or tag == TAG_P:
        close_within(reader, TAG_P, reader.scope)
    if tag == TAG_LI:
        close_within(reader, TAG_LI, max(<int>reader.scope, max(<int>reader.top[TAG_UL], <int>reader.top[TAG_OL])))
    elif tag == TAG_DD or tag == TAG_DT:
        close_within(reader, TAG_DD, reader.scope)
        close_within(reader, TAG_DT, reader.scope)
    elif tag == TAG_OPTION:
        close_within(reader, TAG_OPTION, reader.scope)
    elif tag == TAG_TD or tag == TAG_TH:
        close_within(reader, TAG_TD, table)
        close_within(reader, TAG_TH, table)
    elif tag == TAG_TR:
        close_within(reader, TAG_TR, table)
    elif tag == TAG_TBODY or tag == TAG_THEAD or tag == TAG_TFOOT:
        close_within(reader, TAG_TR, table)
        close_within(reader, TAG_TBODY, table)
        close_within(reader, TAG_THEAD, table)
        close_within(reader, TAG_TFOOT, table)


cdef void end_element(Reader *reader, uint32_t name, uint32_t bits) noexcept nogil:
    cdef int scope = reader.scope
    if name == TAG_A:
        end_anchor(reader)
    if reader.overflow:
        reader.overflow -= 1
        return
    if name == TAG_TABLE:
        scope = -1
    elif name == TAG_TD or name == TAG_TH or name == TAG_TR or name == TAG_TBODY or name == TAG_THEAD or name == TAG_TFOOT:
        scope = reader.top[TAG_TABLE]
    elif bits & SCOPE:
        scope = -1
    if reader.top[name] > scope:
        close_down_to(reader, reader.top[name])
    elif bits & BLOCK:
        leave_gap(reader, GAP_LINE)
