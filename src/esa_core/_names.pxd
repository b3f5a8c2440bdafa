"""Whom From and To name, and how names and domains are compared. Offsets and lengths are bytes; texts are folded or lowered ASCII."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._lexicon cimport FREE_MAIL
from esa_core._tokens cimport esa_name_bits
from esa_core._words cimport Table

cdef struct Domain:
    uint8_t text[272]            # the host in lower case, 16 bytes of padding behind it
    uint32_t length
    uint32_t registrable         # offset of the registrable domain
    uint32_t label               # length of its first label
    uint32_t depth               # labels in front of it
    uint64_t hash                # of the registrable domain; 0: none
    uint64_t label_hash
    uint64_t lists               # bits of DomainList, of the registrable domain or the host
    uint16_t brand
    bint numeric                 # an address instead of a name

cdef struct Name:                # a display name in words
    uint8_t joined[80]           # its words without what stands between them, folded to ASCII lower case
    uint32_t length
    uint64_t words[6]            # hashes of words of three and more bytes that are no dictionary words
    uint32_t n_words
    uint32_t longest             # offset and length in `joined` of the longest such word
    uint32_t longest_length
    uint32_t all_words

cdef struct Identity:            # whom From and To name, and where the text speaks of them
    Domain origin
    Domain reply
    Name name
    uint8_t local[80]
    uint32_t local_length
    Name recipient
    uint8_t to_local[80]
    uint32_t to_local_length
    uint64_t to_local_hash
    uint64_t filter              # two bits per hash of a word looked for in the text
    uint32_t name_hits
    uint32_t label_hits
    bint name_signed
    bint label_in_footer
    bint label_in_copyright
    bint to_mailbox              # the local part of To is a role or holds a digit: no name of a person
    bint greeted_by_name
    bint greeted_by_address

cdef void read_domain(const Table *lexicon, const uint8_t *host, uint32_t n, Domain *domain) noexcept nogil
cdef void read_name(const Table *lexicon, const uint8_t *text, uint32_t n, Name *name) noexcept nogil
cdef bint made_of_words(const Table *lexicon, const uint8_t *text, uint32_t n) noexcept nogil
cdef bint looks_random(const uint8_t *text, uint32_t n) noexcept nogil
cdef bint begins_joined(const uint8_t *text, uint32_t i, uint32_t n, const uint8_t *joined, uint32_t length) noexcept nogil
cdef bint names_origin(const Identity *identity, const uint8_t *text, uint32_t n) noexcept nogil
cdef bint names_origin_joined(const Identity *identity, const uint8_t *text, uint32_t n) noexcept nogil
cdef bint contains(const uint8_t *text, uint32_t n, const uint8_t *word, uint32_t m) noexcept nogil
cdef bint has_recipient(const Identity *identity, const uint8_t *text, uint32_t n) noexcept nogil
cdef uint32_t common_part(const uint8_t *a, uint32_t n, const uint8_t *b, uint32_t m) noexcept nogil

cdef inline bint is_name_word(const Name *name, uint64_t h) noexcept nogil:
    cdef uint32_t i
    for i in range(name.n_words):
        if name.words[i] == h:
            return True
    return False

cdef inline bint same_organisation(const Domain *a, const Domain *b) noexcept nogil:
    """One registrable domain, one label under two endings, or two domains of one brand."""
    return a.hash != 0 and (a.hash == b.hash or (a.label_hash != 0 and a.label > 2 and a.label_hash == b.label_hash) or (a.brand != 0 and a.brand == b.brand))

cdef inline uint64_t filter_of(const Name *name) noexcept nogil:
    cdef uint64_t bits = 0
    cdef uint32_t i
    for i in range(name.n_words):
        bits |= esa_name_bits(name.words[i])
    return bits

cdef inline bint is_own_brand(const Identity *identity) noexcept nogil:
    return identity.origin.brand != 0 and not (identity.origin.lists >> FREE_MAIL) & 1

cdef inline float common_share(const uint8_t *a, uint32_t n, const uint8_t *b, uint32_t m) noexcept nogil:
    """Longest common part over the shorter of the two; parts under three bytes are chance."""
    cdef uint32_t part = common_part(a, n, b, m)
    cdef uint32_t shorter = n if n < m else m
    return <float> part / shorter if part >= 3 and shorter else 0.0
