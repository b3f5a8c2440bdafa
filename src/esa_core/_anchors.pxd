"""Anchors of regular expressions: literals found with all other patterns, what must stand beside them, and the windows worth searching."""

from libc.stdint cimport uint8_t, uint32_t

cdef struct EsaStretch:          # octets that an expression may match between two literals
    uint32_t least
    uint32_t most                # UNBOUNDED: any number
    uint32_t octets              # number of the set that all of them are of

cdef struct EsaAnchor:           # of one expression; lengths count octets of the text that is searched
    uint32_t pattern
    uint32_t regions             # bits 1 << RegionKind of where it counts
    uint32_t exact               # where a literal stands tells where a match may; if not, it may be anywhere in that region
    EsaStretch before               # between one of the heads and the anchor; there are no heads: nothing is asked
    uint32_t heads               # literals,
    uint32_t heads_end
    uint32_t head_octets         # and the set of what they may end with
    EsaStretch after                # between the anchor and one of the tails
    uint32_t tails
    uint32_t tails_end
    uint32_t tail_octets         # the set of what they may begin with
    EsaStretch lead                 # from where a match may begin to the anchor
    EsaStretch trail                # from the anchor to where it may end

cdef struct Posting:             # a literal of an anchor, and what mostly decides: sets of the octets that may stand beside it
    uint32_t anchor
    uint32_t literal
    uint32_t length              # octets of the literal
    uint32_t behind              # set of the octet before it,
    uint32_t ahead               # and behind it

cdef struct AnchorTable:         # read-only once built
    uint32_t n_triggers          # texts looked for; each is a literal of one or more anchors
    uint32_t n_anchors
    const EsaAnchor *anchors
    const uint32_t *starts       # [n_triggers + 1] into
    const Posting *postings
    const uint32_t *offsets      # [n literals + 1] into
    const uint8_t *blob
    const uint8_t *sets          # 32 octets each, a bit an octet

cdef struct Wake:                # a stretch of a region in which an expression may match
    uint32_t anchor
    uint32_t region              # index of the document's regions
    uint32_t start               # octets of the region's text, as the expression reads it
    uint32_t end
    uint32_t times               # stretches of this anchor in this region before it

cdef struct WakeSink:            # one per thread
    uint32_t n_anchors
    uint32_t *latest             # [n_anchors] 1 + the latest wake of an anchor; all zero between messages
    uint32_t *tries              # [n_anchors] how often its neighbours were looked for; all zero between messages
    uint32_t *tried              # [n_anchors] anchors with tries > 0
    uint32_t n_tried
    Wake *wakes
    uint32_t n_wakes
    uint32_t cap_wakes
    uint32_t work                # octets looked at in this message
    bint capped                  # there was too much to look at, or too many stretches: any expression may match

cdef int wakes_init(WakeSink *sink, const AnchorTable *table) noexcept nogil
cdef void wakes_free(WakeSink *sink) noexcept nogil
cdef void wakes_trim(WakeSink *sink, size_t kept) noexcept nogil
cdef int wake(
    const AnchorTable *table, WakeSink *sink, uint32_t trigger, uint32_t region, uint32_t kind, const uint8_t *text, uint32_t n, uint32_t start
) noexcept nogil
cdef int wake_anchor(
    const AnchorTable *table, WakeSink *sink, uint32_t number, uint32_t region, const uint8_t *text, uint32_t n, uint32_t start, uint32_t end
) noexcept nogil
cdef bint is_spent(WakeSink *sink) noexcept nogil
cdef bint is_awake(const WakeSink *sink, uint32_t number, uint32_t region, uint32_t n) noexcept nogil
cdef void sort_wakes(WakeSink *sink) noexcept nogil
cdef int attach_anchors(AnchorTable *table, dict sections, uint32_t n_patterns) except -1
