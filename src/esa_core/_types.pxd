"""C structs of the native core, each field's meaning beside it, and the limits against hostile mail with their reasons.

Everything that passes between the rooms of the core stands here: `_mime` fills fields and parts, `_text` fills the text arena, regions
and links, `_facts` and `_features` read them, `_program` looks for patterns in it. Offsets are uint32: the size limit is checked at the
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
    /* Folded text looked at by the facts and n-grams, in bytes; patterns are looked for in all of it. Bounds facts to some 100 us. */
    #define ESA_FACT_WINDOW 131072u
    /* One link target, in bytes (browsers take 2,083 to 65,536; data: URLs carry whole pictures). The rest of it is cut. */
    #define ESA_MAX_TARGET 4096u
    /* Sections of one RFC 2231 parameter: real ones have under ten. */
    #define ESA_MAX_SECTIONS 64u
    /* Octets that all other readings and opened containers of one message may cost together: this many times its own, and room for a short
       one. Nested signatures open nearly the same octets again at each level; this keeps the whole linear. More: NOT_ALL_READ. */
    #define ESA_READ_AGAIN 4u
    #define ESA_READ_AGAIN_ROOM 65536u
    /* Other readings and opened containers of one message: an attack has many, a broken mailer one or two. More: NOT_ALL_READ. */
    #define ESA_MAX_READINGS 256u
    /* Codes that a compressed content may bring, and one more for so many octets: packers make one for some thousands, an attack one for
       seven, and each costs a microsecond. More: NOT_ALL_READ. */
    #define ESA_MAX_CODES 64u
    /* Text before the first or behind the last part: what mailers write there for readers without MIME is shorter. */
    #define ESA_USUAL_PREAMBLE 256u
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
    const uint32_t ESA_READ_AGAIN
    const uint32_t ESA_READ_AGAIN_ROOM
    const uint32_t ESA_MAX_READINGS
    const uint32_t ESA_MAX_CODES
    const uint32_t ESA_USUAL_PREAMBLE

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
    DEFECTIVE_HTML = 1 << 21     # HTML past the limits, or a tag or comment that the page ends in
    EMPTY = 1 << 22              # no bytes at all
    TOO_MANY_MATCHES = 1 << 23   # more matches of dictionary terms than are counted: the rest was not matched

# The flags past 24 bits, as macros: an enumerator is an int. The first of them are the reasons of AMBIGUOUS: every reading was scanned.
cdef extern from *:
    """
    #define TEXT_OUTSIDE_PARTS (1ull << 24)     /* much text before the first part of a multipart, or any behind the last */
    #define PARTS_AFTER_CLOSE (1ull << 25)      /* parts behind the close delimiter: some readers show them */
    #define SEVERAL_BOUNDARIES (1ull << 26)
    #define SEVERAL_CONTENT_TYPES (1ull << 27)
    #define SEVERAL_ENCODINGS (1ull << 28)      /* several transfer encodings, or one that nobody knows */
    #define SEVERAL_CHARSETS (1ull << 29)
    #define SEVERAL_FILE_NAMES (1ull << 30)     /* different names for one attachment */
    #define JOINED_BASE64 (1ull << 31)          /* base64 that goes on behind its padding */
    #define ENCODED_CONTAINER (1ull << 32)      /* a message or multipart in base64 or quoted-printable (RFC 2045 6.4 forbids it) */
    #define HEADER_GOES_ON (1ull << 33)         /* fields behind the line that ended the header */
    #define ODD_FROM (1ull << 34)               /* group, several angle brackets, address in a comment or encoded word, quoted, no domain */
    #define NO_FROM (1ull << 35)                /* and these are not ambiguous, but someone may want to know */
    #define OTHER_SENDER (1ull << 36)           /* Sender in another domain than From */
    #define PARTIAL_MESSAGE (1ull << 37)        /* message/partial: the rest is elsewhere */
    #define EXTERNAL_BODY (1ull << 38)          /* message/external-body: the content is elsewhere */
    #define UUENCODED (1ull << 39)              /* uuencoded files in the text */
    #define TNEF (1ull << 40)                   /* winmail.dat */
    #define OPAQUE_SIGNED (1ull << 41)          /* CMS signed-data that holds its content */
    #define ENCRYPTED (1ull << 42)              /* content that only its reader can open */
    #define BAD_CONTAINER (1ull << 43)          /* TNEF or CMS that is damaged: what could be read was */
    #define NOT_ALL_READ (1ull << 44)           /* more readings or containers than ESA_READ_AGAIN or ESA_MAX_READINGS allow */
    #define HTML_SCRIPT (1ull << 45)            /* a script in HTML: it may make what a reader sees, or a file */
    """
    const uint64_t TEXT_OUTSIDE_PARTS
    const uint64_t PARTS_AFTER_CLOSE
    const uint64_t SEVERAL_BOUNDARIES
    const uint64_t SEVERAL_CONTENT_TYPES
    const uint64_t SEVERAL_ENCODINGS
    const uint64_t SEVERAL_CHARSETS
    const uint64_t SEVERAL_FILE_NAMES
    const uint64_t JOINED_BASE64
    const uint64_t ENCODED_CONTAINER
    const uint64_t HEADER_GOES_ON
    const uint64_t ODD_FROM
    const uint64_t NO_FROM
    const uint64_t OTHER_SENDER
    const uint64_t PARTIAL_MESSAGE
    const uint64_t EXTERNAL_BODY
    const uint64_t UUENCODED
    const uint64_t TNEF
    const uint64_t OPAQUE_SIGNED
    const uint64_t ENCRYPTED
    const uint64_t BAD_CONTAINER
    const uint64_t NOT_ALL_READ
    const uint64_t HTML_SCRIPT

# What a part waits for once the structure is read (bits of Part.waits); ordinary parts wait for nothing.
cdef enum Wait:
    WAIT_TYPE = 1 << 0           # several Content-Type fields or boundaries: other readings of its structure
    WAIT_TEXT = 1 << 1           # several transfer encodings or charsets: other readings of its text
    WAIT_DECODED = 1 << 2        # a message or multipart under a transfer encoding
    WAIT_HEADER = 1 << 3         # fields behind the line that ended the header
    WAIT_TNEF = 1 << 4
    WAIT_CMS = 1 << 5

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
    REGION_OUTSIDE = 8           # text before the first and behind the last part of a multipart
    REGION_DISGUISED = 9         # plain form of words that mix scripts, with a word of context; its `text` is that of the region they stand in

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

cdef struct Source:              # octets that parts stand in: 0 is the raw message, the others were taken out of parts
    uint8_t *data                # padded, and owned by the document; NULL for 0
    uint32_t length
    uint32_t part                # the part it was taken out of

cdef struct HeaderField:
    uint32_t name_start          # offset in the source of its part
    uint32_t value_start         # the same: first byte behind the colon
    uint32_t value_length        # up to, not including, the line break that ends the field; inner folds are still in it
    uint16_t name_length
    uint16_t known               # Known
    uint32_t part                # index of the part whose header it stands in

cdef struct Part:
    int32_t parent               # part index, -1 for the message itself (part 0)
    uint32_t depth
    uint32_t source              # what its offsets count in: 0 the raw message, else an index of sources
    uint32_t children            # parts directly in it, other readings not counted
    uint32_t field_first         # its header fields: fields[field_first : field_first + field_count]
    uint32_t field_count
    uint32_t header_start        # offsets in its source
    uint32_t body_start
    uint32_t body_end            # exclusive; the line break before a delimiter belongs to the delimiter (RFC 2046 5.1.1)
    uint32_t preamble_end        # of a multipart: where the first delimiter begins, and
    uint32_t epilogue_start      # behind its first close delimiter; 0 if there is none
    uint16_t another             # 1: stands only in another reading of the message than the usual one
    uint16_t waits               # Wait bits
    uint16_t media               # Media
    uint16_t encoding            # Encoding
    uint16_t charset             # index of the character table, CHARSET_* in _charset.pxd
    uint16_t attachment          # 1: Content-Disposition attachment, or a file name on a part that is not shown inline
    Span media_type              # offsets in its source: "type/subtype" as written, length 0 if absent
    Span charset_label           # the same: the charset parameter as written, length 0 if absent
    Span boundary                # the same, quotes removed where there are no escapes; length 0 if none
    Span given_name              # offsets in its source: the name a container gives it, in given_charset; length 0 if none
    uint32_t given_charset
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
    uint32_t base                # 1 + index of the link that is its page's base, 0: none

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
    Source *sources
    uint32_t n_sources
    uint32_t cap_sources
    uint32_t n_readings          # of ESA_MAX_READINGS
    size_t budget                # octets that may still be read again
    bint waiting                 # a part has Wait bits
    bint may_uuencode            # a line may begin with "begin"
    bint eight_bit               # an octet over 127 stands somewhere in the raw message
    bint passes_html             # decode_texts runs: HTML is passed over,
    bint unusual                 # and something was met that only decode_text may read
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
    Buffer alternatives          # alt texts,
    Buffer marks                 # of HTML, see markup.h,
    Buffer rules                 # and of its style sheets
    HtmlCounts html
    # decoded fields of the message itself, offsets in the text arena; length 0 if absent
    uint32_t n_header_text       # what decode_header left in the text arena,
    uint32_t n_header_regions    # and how many regions
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
    bint header_decoded          # decode_header has run
    bint texts_decoded           # decode_texts has run and read all but HTML
    bint decoded                 # decode_text has run
    bint was_folded              # fold_text has run
