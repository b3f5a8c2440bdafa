"""The stack of open HTML elements: scopes, implied ends, and the look that ends with an element.

An end tag finds its element through `Reader.top`, so that its cost does not depend on the depth; every element is closed once. A formatting
element that looks other than what is around it goes on behind a block that ended around it, as in a browser (13.2.4.3).
"""

from libc.stdint cimport uint16_t, uint32_t

from esa_core._link cimport end_anchor

cdef struct Reopened:
    uint16_t name
    Look inside


cdef inline bint differs(const Look *a, const Look *b) noexcept nogil:
    return a.state != b.state or a.size != b.size or a.colour != b.colour or a.background != b.background


cdef void close_down_to(Reader *reader, int index, bint reopens) noexcept nogil:
    """Close every element from the topmost down to this one, leaving a gap as each of them does; then open formatting elements again."""
    cdef Reopened again[8]
    cdef Look before
    cdef Open *element
    cdef uint32_t bits
    cdef int n_again = 0
    cdef int at
    while <int>reader.n_open > index:
        reader.n_open -= 1
        element = &reader.open[reader.n_open]
        bits = element_flags[element.name] if element.name < ELEMENTS else 0
        if bits & (BLOCK | CELL):
            leave_gap(reader, GAP_LINE if bits & BLOCK else GAP_SPACE)
        reader.top[element.name] = element.same
        reader.scope = element.scope
        if bits & SCOPE:
            n_again = 0
        elif <int>reader.n_open > index and reopens:
            if bits & FORMATTING and n_again < MOST_REOPENED and differs(&reader.look, &element.before):
                again[n_again].name = element.name
                again[n_again].inside = reader.look
                n_again += 1
        reader.look = element.before
        if bits & PREFORMATTED and reader.preformatted:
            reader.preformatted -= 1
    reader.overflow = 0
    for at in range(n_again - 1, -1, -1):
        before = reader.look
        reader.look = again[at].inside
        open_element(reader, again[at].name, FORMATTING, &before)


cdef inline void close_within(Reader *reader, uint32_t name, int scope) noexcept nogil:
    """Close the topmost element of this name if it stands above `scope`."""
    if reader.top[name] > scope and reader.top[name] >= reader.floor:
        close_down_to(reader, reader.top[name], True)


cdef void close_implied(Reader *reader, uint32_t tag, uint32_t bits) noexcept nogil:
    """What the start of `tag` ends without an end tag (13.2.6.4.7 ff.)."""
    cdef int table = reader.top[TAG_TABLE]
    if bits & CLOSES_P:
        close_within(reader, TAG_P, reader.scope)
    if tag == TAG_A:
        close_within(reader, TAG_A, reader.scope)
    elif tag == TAG_LI:
        close_within(reader, TAG_LI, max(<int>reader.scope, max(<int>reader.top[TAG_UL], <int>reader.top[TAG_OL])))
    elif tag == TAG_DD or tag == TAG_DT:
        close_within(reader, TAG_DD, reader.scope)
        close_within(reader, TAG_DT, reader.scope)
    elif tag == TAG_OPTION:
        close_within(reader, TAG_OPTION, reader.scope)
    elif tag == TAG_BUTTON:
        close_within(reader, TAG_BUTTON, reader.scope)
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
    if name == TAG_BODY or name == TAG_HTML:  # what follows still stands in the body
        leave_gap(reader, GAP_LINE)
        return
    if name == TAG_TABLE:
        scope = -1
    elif name == TAG_TD or name == TAG_TH or name == TAG_TR or name == TAG_TBODY or name == TAG_THEAD or name == TAG_TFOOT:
        scope = reader.top[TAG_TABLE]
    elif bits & SCOPE:
        scope = -1
    if reader.top[name] > scope and reader.top[name] >= reader.floor:
        close_down_to(reader, reader.top[name], not bits & SCOPE)
    elif bits & BLOCK:
        leave_gap(reader, GAP_LINE)


# ---- svg and math ----

cdef bint is_foreign(const Reader *reader) noexcept nogil:
    """Does what is read stand in svg or math, and not in text inside them?"""
    cdef int top = max(<int>reader.top[TAG_SVG], <int>reader.top[TAG_MATH])
    cdef int text
    if top < 0:
        return False
    text = max(max(<int>reader.top[TAG_FOREIGNOBJECT], <int>reader.top[TAG_DESC]), max(<int>reader.top[TAG_TITLE], <int>reader.top[TAG_MI]))
    text = max(max(text, <int>reader.top[TAG_MO]), max(<int>reader.top[TAG_MN], <int>reader.top[TAG_MS]))
    text = max(text, max(<int>reader.top[TAG_MTEXT], <int>reader.top[TAG_ANNOTATIONXML]))
    return top > text


cdef void leave_foreign(Reader *reader) noexcept nogil:
    """Close svg and math, up to the element in which they stand."""
    while is_foreign(reader) and max(<int>reader.top[TAG_SVG], <int>reader.top[TAG_MATH]) >= reader.floor:
        close_down_to(reader, max(<int>reader.top[TAG_SVG], <int>reader.top[TAG_MATH]), False)
