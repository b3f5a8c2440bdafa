"""CSS declarations that decide whether text is shown. Called by _sheet (rules) and _look (elements)."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:                       # bits of Look.state
    UNSHOWN_FOR_GOOD = 1         # display: none and its like: nothing inside can be seen
    UNSHOWN_VISIBILITY = 2       # visibility: hidden; an element inside may be visible again
    UNSHOWN_SIZE = 4             # font-size: 0; an element inside may have a size again
    UNSHOWN_COLOUR = 8           # the colour of its background, or none
    UNSHOWN_INDENT = 16          # text-indent far to the left
    UNSHOWN_TEMPLATE = 32        # in an element that is never shown: beside UNSHOWN_FOR_GOOD

cdef extern from "html_tables.h" nogil:
    const uint32_t P_DISPLAY     # value 1: none
    const uint32_t P_VISIBILITY  # 1: hidden, 0: visible, 2: inherit
    const uint32_t P_OPACITY     # 1: cannot be seen
    const uint32_t P_SIZE        # font size, see SIZE_*
    const uint32_t P_COLOUR      # as read_colour gives it
    const uint32_t P_BACKGROUND
    const uint32_t P_HEIGHT      # 1: nothing; the same of the next three
    const uint32_t P_MAX_HEIGHT
    const uint32_t P_WIDTH
    const uint32_t P_MAX_WIDTH
    const uint32_t P_OVERFLOW    # 1: hidden
    const uint32_t P_POSITION    # 1: absolute or fixed
    const uint32_t P_OFFSET      # 1: far off the page; the same of the next two
    const uint32_t P_MARGIN
    const uint32_t P_INDENT
    const uint32_t P_CLIP        # 1: to nothing, where the position is absolute
    const uint32_t P_CLIP_PATH   # 1: to nothing
    const uint32_t P_MSO_HIDE    # 1: all
    const uint32_t P_TRANSFORM   # 1: to nothing
    const uint32_t P_FONT_SHORTHAND, P_BACKGROUND_SHORTHAND, P_BACKGROUND_IMAGE, P_FILTER  # of declarations only

cdef enum:
    PROPERTIES = 32              # more than there are

cdef enum:                       # P_SIZE: thousandths of a pixel, or
    SIZE_RELATIVE = 0x40000000   # | thousandths of the inherited size
    SIZE_INHERITED = 0x80000000
    SIZE_USUAL = 16000           # of text without a size
    SIZE_UNREADABLE = 1500       # one pixel, one point

cdef struct Style:
    uint32_t given               # bit per P_*
    uint32_t important
    uint32_t value[32]

cdef struct Look:                # of the text inside an element
    uint32_t state               # UNSHOWN_* bits
    uint32_t size                # thousandths of a pixel
    uint32_t colour
    uint32_t background

cdef void read_style(const uint8_t *style, size_t length, Style *found) noexcept nogil
cdef void add_style(Style *style, const Style *more) noexcept nogil
cdef void apply_style(Look *look, const Style *style) noexcept nogil
cdef size_t skip_blank(const uint8_t *style, size_t at, size_t length) noexcept nogil
