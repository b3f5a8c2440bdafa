"""Style sheets of a page: their rules, found by element, class and identifier. Called by _html (style elements) and _look."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from esa_core._style cimport Style
from esa_core._types cimport Buffer

cdef extern from *:
    """
    #define HEADS 1024u
    """
    const uint32_t HEADS         # chains of rules

cdef enum:
    MOST_CLASSES = 16            # classes of one element that are looked up
    MOST_AROUND = 3              # elements that a selector may want around its own

cdef enum Kind:
    KIND_TYPE = 0
    KIND_CLASS = 1
    KIND_IDENTIFIER = 2
    KIND_ANY = 3

cdef struct Rule:
    uint32_t name                # hash of a class or identifier, TAG_* of an element
    uint16_t kind                # Kind
    uint16_t tag                 # TAG_* it holds for, 0: any
    uint32_t also                # hash of a class that the element must have too, 0: none
    uint16_t around[3]           # TAG_* that must be open, 0: none
    uint16_t next                # 1 + index of the next rule in its chain, 0: none
    uint32_t weight              # specificity
    uint32_t order               # of the last selector that said it
    Style style

cdef struct Sheet:
    Buffer *memory               # heads of chains, then rules
    uint32_t n_rules
    uint32_t n_selectors
    bint full                    # rules were left out: see the limits of _sheet.pyx


cdef inline uint16_t *chain_heads(const Sheet *sheet) noexcept nogil:
    return <uint16_t *>sheet.memory.data


cdef inline Rule *rules_of(const Sheet *sheet) noexcept nogil:
    return <Rule *>(sheet.memory.data + HEADS * sizeof(uint16_t))


cdef inline uint32_t chain_of(uint32_t kind, uint32_t name) noexcept nogil:
    return ((name ^ name >> 15) * 2654435769u >> 22 ^ kind << 3) % HEADS


cdef uint32_t name_hash(const uint8_t *name, size_t length) noexcept nogil
cdef int add_sheet(Sheet *sheet, const uint8_t *source, size_t start, size_t end) noexcept nogil
cdef bint holds_for_screens(const uint8_t *source, size_t at, size_t end) noexcept nogil
