"""C structs of the native core, each field's meaning beside it, and the limits against hostile mail with their reasons.

Everything that passes between the rooms of the core stands here: `_mime` fills fields and parts, `_text` fills the text arena, regions
and links, `_facts` and `_features` read them, `_automaton` reads the folded text. Offsets are uint32: the size limit is checked at the
door.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    /* Bytes behind every buffer we own that may be read, so that a wide load never leaves it. */
    #define ESA_PADDING 64u
    /* Largest message: offsets are uint32 and decoding may expand; past it only the first bytes are read and OVERSIZED is flagged. */
    #define ESA_MAX_MESSAGE 1073741824u
    /* Header fields kept in all parts together: real mail has under 200; 10,000 is an attack, but still read. The rest: TOO_MANY_FIELDS. */
    #define ESA_MAX_FIELDS 16384u
    /* Body parts: the largest real digests have some hundreds. The rest stays unread text of its parent: TOO_MANY_PARTS. */
    #define ESA_MAX_PARTS 4096u
    /* Nesting of multiparts and message/rfc822 (Postfix: 100). Bounds the cost depth x size of boundary search: TOO_DEEP. */
    #define ESA_MAX_DEPTH 64u
    /* Boundary delimiter: RFC 2046 allows 70 characters, Postfix reads 2,048. Longer ones are cut: ODD_BOUNDARY. */
    #define ESA_MAX_BOUNDARY 1024u
    /* Decoded text (UTF-8) kept in one message, in bytes. Bounds memory; more is flagged TEXT_TRUNCATED (not fully scanned). */
    #define ESA_MAX_TEXT 33554432u
    /* Links kept in one message: newsletters have some hundreds. The rest: TOO_MANY_LINKS. */
    #define ESA_MAX_LINKS 4096u
    /* HTML element nesting followed for visibility; deeper elements inherit the deepest known state. */
    #define ESA_MAX_HTML_DEPTH 512u
    /* Folded text looked at by the facts and n-grams, in bytes; the automaton reads all of it. Bounds facts to some 100 us. */
    #define ESA_FACT_WINDOW 131072u
    /* One link target, in bytes (browsers take 2,083 to 65,536; data: URLs carry whole pictures). The rest of it is cut. */
    #define ESA_MAX_TARGET 4096u
    /* Sections of one RFC 2231 parameter: real ones have under ten. */
    #define ESA_MAX_SECTIONS 64u
    """
    const uint32_t ESA_PADDING
    const uint32_t ESA_MAX_MESSAGE
    const uint32_t ESA_MAX_FIELDS
    const uint32_t ESA_MAX_PARTS
    const uint32_t ESA_MAX_DEPTH
    const uint32_t ESA_MAX_BOUNDARY
    const uint32_t ESA_MAX_TEXT
    const uint32_t ESA_MAX_LINKS
    const uint32_t ESA_MAX_HTML_DEPTH
    const uint32_t ESA_FACT_WINDOW
    const uint32_t ESA_MAX_TARGET
    const uint32_t ESA_MAX_SECTIONS

# What was odd about a message (bits of Document.flags); the names are public, in lower case, in `Parsed.flags` and reports.
cdef enum Flag:
    OVERSIZED = 1 << 0           # longer than ESA_MAX_MESSAGE: the rest was not read
    TOO_MANY_FIELDS = 1 << 1
    TOO_MANY_PARTS = 1 << 2
    TOO_DEEP = 1 << 3
    TEXT_TRUNCATED = 1 << 4      # more decoded text than ESA_MAX_TEXT
    TOO_MANY_LINKS = 1 << 5
    ODD_BOUNDARY = 1 << 6        # missing, empty, over-long, or repeated boundary parameter
    UNTERMINATED_MULTIPART = 1 << 7   # no close delimiter
    BAD_HEADER_LINE = 1 << 8     # a line of the header that is neither field nor continuation
    NO_HEADER_END = 1 << 9       # no empty line
    NUL_BYTES = 1 << 10
    EIGHT_BIT_HEADER = 1 << 11   # octets over 127 in a header field
    BAD_BASE64 = 1 << 12
    BAD_QUOTED_PRINTABLE = 1 << 13
    BAD_CHARSET = 1 << 14        # unknown label, or text that is not valid in it
    BAD_ENCODED_WORD = 1 << 15
    SEVERAL_FROM = 1 << 16       # several From fields or several mailboxes in it
    DUPLICATE_FIELD = 1 << 17    # a field that may stand once stands twice (Subject, Content-Type, ...)
    BARE_CR = 1 << 18
    MBOX_LINE = 1 << 19          # a leading mbox "From " line was skipped
    AMBIGUOUS = 1 << 20          # clients may read this message differently
    DEFECTIVE_HTML = 1 << 21     # nesting or attributes past the limits
    EMPTY = 1 << 22              # no bytes at all
    TOO_MANY_MATCHES = 1 << 23   # more matches of dictionary terms than are counted: the rest was not matched

# Header fields that the core itself reads; every other name is FIELD_OTHER.
cdef enum Known:
    FIELD_OTHER = 0
    FIELD_FROM = 1
    FIELD_TO = 2
    FIELD_CC = 3
    FIELD_REPLY_TO = 4
    FIELD_SENDER = 5
    FIELD_SUBJECT = 6
    FIELD_DATE = 7
    FIELD_MESSAGE_ID = 8
    FIELD_CONTENT_TYPE = 9
    FIELD_CONTENT_TRANSFER_ENCODING = 10
    FIELD_CONTENT_DISPOSITION = 11
    FIELD_CONTENT_ID = 12
    FIELD_MIME_VERSION = 13
    FIELD_RECEIVED = 14
    FIELD_RETURN_PATH = 15
    FIELD_LIST_UNSUBSCRIBE = 16
    FIELD_BCC = 17
    FIELD_IN_REPLY_TO = 18
    FIELD_REFERENCES = 19
    FIELD_CONTENT_LANGUAGE = 20

cdef enum Media:
    MEDIA_TEXT_PLAIN = 0
    MEDIA_TEXT_HTML = 1
    MEDIA_TEXT_OTHER = 2         # text/* that is shown as text (calendar, enriched, css are not decoded as HTML)
    MEDIA_MULTIPART = 3
    MEDIA_MESSAGE = 4            # message/rfc822, message/global: its content is the next part
    MEDIA_OTHER = 5              # everything else: images, applications, delivery-status, unknown

cdef enum Encoding:
    ENCODING_IDENTITY = 0        # 7bit, 8bit, binary, absent
    ENCODING_QUOTED_PRINTABLE = 1
    ENCODING_BASE64 = 2
    ENCODING_UUENCODE = 3
    ENCODING_UNKNOWN = 4         # read as identity

cdef enum RegionKind:
    REGION_SUBJECT = 0
    REGION_FROM_NAME = 1         # display name of the first From mailbox
    REGION_PLAIN = 2             # text/plain and other text as shown
    REGION_HTML_SEEN = 3         # text of an HTML part as a client shows it
    REGION_HTML_HIDDEN = 4       # text of an HTML part that is written but not shown
    REGION_ALT = 5               # alt texts of images
    REGION_FILE_NAME = 6         # attachment names
    REGION_HEADER = 7            # any other decoded header value that matching should see (To, Reply-To ... names)

cdef enum LinkKind:
    LINK_ANCHOR = 0              # <a href>, <area href>
    LINK_IMAGE = 1               # <img src>, background
    LINK_FORM = 2                # <form action>
    LINK_TEXT = 3                # a bare URL in text
    LINK_OTHER = 4               # <link>, <iframe>, <script src>, meta refresh, ...

cdef struct Buffer:              # growable octets; memory is ESA_PADDING larger than `capacity`
    uint8_t *data
    uint32_t length
    uint32_t capacity

cdef struct Span:
    uint32_t start
    uint32_t length

cdef struct HeaderField:
    uint32_t name_start          # offset in raw
    uint32_t value_start         # offset in raw: first byte behind the colon
    uint32_t value_length        # up to, not including, the line break that ends the field; inner folds are still in it
    uint16_t name_length
    uint16_t known               # Known
    uint32_t part                # index of the part whose header it stands in

cdef struct Part:
    int32_t parent               # part index, -1 for the message itself (part 0)
    uint32_t depth
    uint32_t field_first         # its header fields: fields[field_first : field_first + field_count]
    uint32_t field_count
    uint32_t header_start        # offsets in raw
    uint32_t body_start
    uint32_t body_end            # exclusive; the line break before a delimiter belongs to the delimiter (RFC 2046 5.1.1)
    uint16_t media               # Media
    uint16_t encoding            # Encoding
    uint16_t charset             # index of the character table, CHARSET_* in _charset.pxd
    uint16_t attachment          # 1: Content-Disposition attachment, or a file name on a part that is not shown inline
    Span media_type              # offsets in raw: "type/subtype" as written, length 0 if absent
    Span charset_label           # offsets in raw: the charset parameter as written, length 0 if absent
    Span boundary                # offsets in raw, quotes removed where there are no escapes; length 0 if none
    Span file_name               # offsets in the text arena, UTF-8; length 0 if none
    Span text                    # offsets in the text arena: decoded text as seen (leaf text parts)
    uint64_t flags               # Flag bits of this part

cdef struct Region:
    Span text                    # offsets in the text arena (UTF-8)
    Span folded                  # offsets in the folded buffer
    uint32_t part
    uint32_t kind                # RegionKind

cdef struct Link:
    Span url                     # text arena: the target, entities decoded, white space at the ends and tabs/newlines inside removed
    Span shown                   # text arena: the text shown for it (anchor), alt (image); length 0 if none
    uint32_t part
    uint16_t kind                # LinkKind
    uint16_t hidden              # 1: stands in text that is not shown

cdef struct HtmlCounts:          # summed over all HTML parts
    uint32_t parts
    uint32_t tags
    uint32_t anchors
    uint32_t images
    uint32_t tiny_images         # width or height of 0 or 1
    uint32_t forms
    uint32_t inputs
    uint32_t tables
    uint32_t scripts
    uint32_t styles
    uint32_t comments
    uint32_t hidden_bytes        # bytes of text written but not shown
    uint32_t seen_bytes
    uint32_t lang_attributes
    uint32_t data_urls
    uint32_t unknown_tags
    uint32_t entities_odd        # numeric entities for plain ASCII letters

cdef struct Document:
    # the raw message is borrowed: whoever fills `raw` keeps it alive; no padding may be assumed behind it
    const uint8_t *raw
    uint32_t raw_length
    uint32_t header_end          # offset of the body of the message itself
    uint64_t flags               # Flag bits
    HeaderField *fields
    uint32_t n_fields
    uint32_t cap_fields
    Part *parts
    uint32_t n_parts
    uint32_t cap_parts
    Region *regions
    uint32_t n_regions
    uint32_t cap_regions
    Link *links
    uint32_t n_links
    uint32_t cap_links
    uint8_t *text                # the text arena: decoded UTF-8, padded
    uint32_t n_text
    uint32_t cap_text
    uint8_t *folded              # regions folded one after another, a line feed between them, padded
    uint32_t n_folded
    uint32_t cap_folded
    uint8_t *scratch             # for any step; contents mean nothing between calls
    uint32_t cap_scratch
    Buffer octets                # work buffers of the decoding steps: content without its transfer encoding,
    Buffer characters            # the same in UTF-8,
    Buffer hidden                # HTML text that is not shown,
    Buffer targets               # link targets,
    Buffer alternatives          # alt texts
    HtmlCounts html
    # decoded fields of the message itself, offsets in the text arena; length 0 if absent
    Span subject
    Span from_name
    Span from_address            # addr-spec of the first mailbox, lower case, angle brackets removed
    Span reply_to_address
    Span sender_address
    Span to_name                 # display name of the first To mailbox
    Span to_address
    uint32_t n_recipients        # mailboxes in To and Cc
    uint32_t n_from              # mailboxes in all From fields
    bint structured              # parse_structure has run
    bint decoded                 # decode_text has run
    bint was_folded              # fold_text has run
