"""What the readers of one HTML part share: its state, the two streams of text, the names of elements and attributes.

Called by _html (tags), _element (the stack), _look and _link.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._sheet cimport Sheet
from esa_core._style cimport UNSHOWN_FOR_GOOD, UNSHOWN_TEMPLATE, Look, Style
from esa_core._types cimport Buffer, Document

cdef extern from "html_tables.h" nogil:
    const uint32_t ELEMENTS
    const uint16_t *element_flags
    const uint64_t LOOK_ATTRIBUTES
    ctypedef struct esa_end_tag:
        uint64_t octets          # which octets belong to it
        uint64_t text            # name and ">"; no octets at p are equal to it where elements are not ended by this alone
        uint64_t letters         # the bit that makes a letter small
        size_t length
    const esa_end_tag *element_ends
    const uint32_t TAG_A, TAG_ANNOTATIONXML, TAG_AREA, TAG_AUDIO, TAG_BASE, TAG_BODY, TAG_BUTTON, TAG_DD, TAG_DESC, TAG_DT, TAG_EMBED
    const uint32_t TAG_FONT, TAG_FOREIGNOBJECT, TAG_FORM, TAG_FRAME, TAG_HTML, TAG_IFRAME, TAG_IMAGE, TAG_IMG, TAG_INPUT, TAG_LI, TAG_LINK
    const uint32_t TAG_LISTING, TAG_MATH, TAG_META, TAG_MI, TAG_MN, TAG_MO, TAG_MS, TAG_MTEXT, TAG_NOFRAMES, TAG_OBJECT, TAG_OL, TAG_OPTION
    const uint32_t TAG_P, TAG_PLAINTEXT, TAG_PRE, TAG_SCRIPT, TAG_SELECT, TAG_SOURCE, TAG_STYLE, TAG_SVG, TAG_TABLE, TAG_TBODY, TAG_TD
    const uint32_t TAG_TEXTAREA, TAG_TFOOT, TAG_TH, TAG_THEAD, TAG_TITLE, TAG_TR, TAG_UL, TAG_VIDEO, TAG_XMP
    const uint32_t ATTR_HREF, ATTR_SRC, ATTR_STYLE, ATTR_HIDDEN, ATTR_ALT, ATTR_WIDTH, ATTR_HEIGHT, ATTR_ACTION, ATTR_BACKGROUND, ATTR_LANG
    const uint32_t ATTR_TYPE, ATTR_CONTENT, ATTR_HTTPEQUIV, ATTR_FORMACTION, ATTR_DATA, ATTR_POSTER, ATTR_VALUE, ATTR_XMLLANG
    const uint32_t ATTR_CLASS, ATTR_ID, ATTR_COLOR, ATTR_BGCOLOR, ATTR_TEXT, ATTR_LINK, ATTR_MEDIA, ATTR_XLINKHREF, ATTR_SRCDOC

cdef extern from "words.h" nogil:
    uint64_t esa_load(const uint8_t *p)

cdef extern from "markup.h" nogil:
    ctypedef struct esa_marks:
        uint64_t text
        uint64_t name
        uint64_t value
        uint64_t quote
        uint64_t less
        uint64_t blank
    size_t esa_next_mark(const uint64_t *map, size_t at, size_t end)
    size_t esa_next_other(const uint64_t *map, size_t at, size_t end)
    void esa_copy_over(uint8_t *to, const uint8_t *source, size_t n)
    int esa_marks_are_wide()
    void esa_mark(int wide, const uint8_t *source, size_t length, esa_marks *marks)
    void esa_mark_plain(const uint8_t *source, size_t length, esa_marks *marks)

cdef extern from *:
    """
    #include "markup.h"
    #include "html_tables.h"
    /* 0 ordinary, 1 white space, 2 ampersand, 3 NUL (dropped, as browsers do) */
    static const unsigned char text_class[256] = {[0] = 3, ['\\t'] = 1, ['\\n'] = 1, ['\\f'] = 1, ['\\r'] = 1, [' '] = 1, ['&'] = 2};
    static inline unsigned esa_find_element(const unsigned char *p, size_t n) { ESA_FIND_NAME(element, p, n) }
    static inline unsigned esa_find_attribute(const unsigned char *p, size_t n) {
        if (n > 16 || !(attribute_sizes[*p] >> n & 1)) return 0;
        ESA_FIND_NAME(attribute, p, n)
    }
    """
    const uint8_t *text_class
    # 1 to 16 octets in any case, 16 may be read: TAG_* or ATTR_*, 0 if it is not known
    uint32_t tag_of "esa_find_element"(const uint8_t *name, size_t length) noexcept nogil
    uint32_t attribute_of "esa_find_attribute"(const uint8_t *name, size_t length) noexcept nogil

cdef enum:                       # element bits, as tables/markup.py writes them
    VOID = 1
    BLOCK = 2
    CELL = 4
    RAW = 8
    HIDES = 16
    SCOPE = 32
    FORMATTING = 64
    CLOSES_P = 128
    ENDS = 256                   # its start tag ends other elements
    LINKS = 512                  # _link has something to do
    BREAKS_OUT = 1024            # its start tag ends svg and math
    REFERENCES = 2048            # there are references in its raw text
    IN_HEAD = 4096               # stands in the head of a page, where nothing is shown
    FOREIGN = 8192               # svg, math
    PREFORMATTED = 16384         # white space in it is shown as it is

cdef enum:                       # what stands between the last text of a stream and the next
    GAP_NONE = 0
    GAP_SPACE = 1
    GAP_LINE = 2

cdef enum:
    BUCKETS = 64                 # unknown elements share this many names
    NAMES = 320                  # more than known elements and buckets
    ATTRIBUTES = 64              # more than known attributes
    HTML_DEPTH = 512             # ESA_MAX_HTML_DEPTH
    REMEMBERED = 32              # style attributes
    MOST_INNER = 8               # pages in attributes of one page that are read
    MOST_REOPENED = 8            # formatting elements that go on behind a block that ended around them

cdef struct Open:                # an open element
    uint16_t name
    int16_t same                 # the next lower open element of this name, -1 if none
    int16_t scope                # the next lower scope
    Look before                  # outside it

cdef struct Stream:
    Buffer *buffer
    uint32_t start               # where this part's text begins in it
    uint32_t gap

cdef struct Attributes:
    uint64_t present             # bit ATTR_*
    const uint8_t *value[64]
    uint32_t length[64]

cdef struct Remembered:          # a style attribute that was read
    const uint8_t *text
    uint32_t length
    Style style

cdef struct Inner:               # an attribute that holds a page
    const uint8_t *value
    uint32_t length
    bint is_url                  # data: URL, else srcdoc

cdef struct Reader:
    Document *document
    uint32_t part
    int depth                    # 0: the page itself, more: a page in an attribute of it
    const uint8_t *source        # ESA_PADDING octets behind it may be read
    size_t length
    size_t at
    const esa_marks *marks       # of the source
    Stream seen
    Stream hidden
    Look look                    # of text at `at`
    uint32_t link_colour
    uint32_t preformatted        # open <pre>
    int32_t anchor               # the link whose text is being shown, -1 if none
    uint32_t anchor_start
    bint anchor_hidden
    uint32_t base                # 1 + index of the link of the first <base href>, 0: none
    bint foreign                 # svg or math may be open
    bint in_comment              # reading what stands in a conditional comment
    bint begun                   # an element was opened that rules of a sheet may be for
    int floor                    # open elements below this one stay open
    bint sheets_read             # second reading: all style elements were read in the first
    bint read_again              # a style sheet came behind text that it may hide
    uint32_t n_open
    uint32_t overflow            # elements opened past HTML_DEPTH
    int16_t scope
    int16_t top[320]             # per name: the topmost open element, -1 if none
    Open open[512]
    Attributes attributes
    Sheet sheet
    uint32_t n_inner
    Inner inner[8]
    Remembered remembered[32]
    Style decoded


cdef inline bint is_blank(uint8_t octet) noexcept nogil:
    return text_class[octet] == 1


cdef inline bint is_letter(uint8_t octet) noexcept nogil:
    return <uint8_t>((octet | 32) - 97) < 26


cdef inline size_t next_less(const Reader *reader, size_t at) noexcept nogil:
    """Offset of the next "<", or the length of the source."""
    return esa_next_mark(&reader.marks.less, at, reader.length)


cdef inline size_t next_other(const Reader *reader, size_t at, size_t end) noexcept nogil:
    """Offset of the next octet that is no white space, at most `end`."""
    return esa_next_other(&reader.marks.blank, at, end)


cdef inline Stream *current(Reader *reader) noexcept nogil:
    return &reader.hidden if reader.look.state else &reader.seen


cdef inline void leave_gap(Reader *reader, uint32_t gap) noexcept nogil:
    """In the stream of the current text; a box that is only invisible still takes its place among what is seen."""
    if reader.look.state and gap > reader.hidden.gap:
        reader.hidden.gap = gap
    if not reader.look.state & UNSHOWN_FOR_GOOD and gap > reader.seen.gap:
        reader.seen.gap = gap


cdef int emit(Reader *reader, const uint8_t *source, size_t length, bint references) noexcept nogil
cdef int read_text(Reader *reader, size_t end, bint markup) noexcept nogil
