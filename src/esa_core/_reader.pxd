"""What the readers of one HTML part share: its state, the two streams of text, the names of elements and attributes.

Called by _html (tags), _element (the stack) and _link.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._style cimport UNSHOWN_FOR_GOOD
from esa_core._types cimport Buffer, Document

cdef extern from "html_tables.h" nogil:
    const uint32_t ELEMENTS
    const uint32_t TAG_A, TAG_AREA, TAG_AUDIO, TAG_BASE, TAG_BODY, TAG_BUTTON, TAG_DD, TAG_DT, TAG_EMBED, TAG_FORM, TAG_FRAME, TAG_IFRAME
    const uint32_t TAG_IMAGE, TAG_IMG, TAG_INPUT, TAG_LI, TAG_LINK, TAG_LISTING, TAG_META, TAG_OBJECT, TAG_OL, TAG_OPTION, TAG_P, TAG_PRE
    const uint32_t TAG_SCRIPT, TAG_SOURCE, TAG_STYLE, TAG_TABLE, TAG_TBODY, TAG_TD, TAG_TEXTAREA, TAG_TFOOT, TAG_TH, TAG_THEAD, TAG_TITLE
    const uint32_t TAG_TR, TAG_UL, TAG_VIDEO, TAG_XMP, TAG_PLAINTEXT, TAG_NOFRAMES, TAG_SELECT
    const uint32_t ATTR_HREF, ATTR_SRC, ATTR_STYLE, ATTR_HIDDEN, ATTR_ALT, ATTR_WIDTH, ATTR_HEIGHT, ATTR_ACTION, ATTR_BACKGROUND, ATTR_LANG
    const uint32_t ATTR_TYPE, ATTR_CONTENT, ATTR_HTTPEQUIV, ATTR_FORMACTION, ATTR_DATA, ATTR_POSTER, ATTR_VALUE, ATTR_XMLLANG

cdef extern from *:
    """
    /* 0 ordinary, 1 white space, 2 ampersand, 3 NUL (dropped, as browsers do) */
    static const unsigned char text_class[256] = {[0] = 3, ['\\t'] = 1, ['\\n'] = 1, ['\\f'] = 1, ['\\r'] = 1, [' '] = 1, ['&'] = 2};
    """
    const uint8_t *text_class

cdef enum:                       # element bits, as generate.py writes them
    VOID = 1
    BLOCK = 2
    CELL = 4
    RAW = 8
    HIDES = 16
    SCOPE = 32
    FORMATTING = 64
    CLOSES_P = 128

cdef enum:                       # what stands between the last text of a stream and the next
    GAP_NONE = 0
    GAP_SPACE = 1
    GAP_LINE = 2

cdef enum:
    BUCKETS = 64                 # unknown elements share this many names
    NAMES = 320                  # more than known elements and buckets
    ATTRIBUTES = 64              # more than known attributes
    HTML_DEPTH = 512             # ESA_MAX_HTML_DEPTH

cdef struct Open:                # an open element
    uint16_t name
    uint16_t before              # UNSHOWN_* bits outside it
    int16_t same                 # the next lower open element of this name, -1 if none
    int16_t scope                # the next lower scope

cdef struct Stream:
    Buffer *buffer
    uint32_t start               # where this part's text begins in it
    uint32_t gap

cdef struct Attributes:
    uint64_t present             # bit ATTR_*
    const uint8_t *value[64]
    uint32_t length[64]

cdef struct Reader:
    Document *document
    uint32_t part
    const uint8_t *source
    size_t length
    size_t at
    Stream seen
    Stream hidden
    uint32_t state               # UNSHOWN_* bits at `at`
    uint32_t preformatted        # open <pre>
    int32_t anchor               # the link whose text is being shown, -1 if none
    uint32_t anchor_start
    bint anchor_hidden
    uint32_t n_open
    uint32_t overflow            # elements opened past HTML_DEPTH
    int16_t scope
    int16_t top[320]             # per name: the topmost open element, -1 if none
    Open open[512]
    Attributes attributes


cdef inline bint is_blank(uint8_t octet) noexcept nogil:
    return text_class[octet] == 1


cdef inline Stream *current(Reader *reader) noexcept nogil:
    return &reader.hidden if reader.state else &reader.seen


cdef inline void leave_gap(Reader *reader, uint32_t gap) noexcept nogil:
    """In the stream of the current text; a box that is only invisible still takes its place among what is seen."""
    if reader.state and gap > reader.hidden.gap:
        reader.hidden.gap = gap
    if not reader.state & UNSHOWN_FOR_GOOD and gap > reader.seen.gap:
        reader.seen.gap = gap


cdef int emit(Reader *reader, const uint8_t *source, size_t length, bint references) noexcept nogil
