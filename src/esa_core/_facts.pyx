"""The facts of the two hand-signed cards: what a message says (content), and how what it says of itself fits together (relation).

`extract_facts_of` reads a decoded and folded document and a lexicon and fills one row of numbers, all finite, in one pass over the folded text and one
over the links; both are bounded (ESA_FACT_WINDOW, MOST_LINKS). Received, Date and Message-ID fields are not looked at: they tell site and year.
Word lists, signs and weights come from outside. Called by `_batch` without the GIL and by `extract_facts` below.
"""

import unicodedata

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport log2, sqrt
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from esa_core._mime cimport document_free, document_init, document_reset, parse_structure
from esa_core._text cimport decode_text, fold_text
from esa_core._types cimport (
    ESA_FACT_WINDOW, LINK_ANCHOR, LINK_FORM, LINK_IMAGE, LINK_TEXT, MEDIA_TEXT_HTML, REGION_ALT, REGION_HTML_SEEN, REGION_PLAIN, Document, Link, Region, Span,
)
from esa_core._words cimport ESA_CLASS, ESA_WORD, Entry, Table, esa_chain, esa_hash, esa_count_case, esa_word, find, lower_into, word_end

cdef extern from *:
    """
    #define MOST_LINKS 512u      /* links looked at: newsletters have some hundreds; bounds the distinct-domain search */
    #define MOST_DOMAINS 48u     /* distinct registrable domains told apart; further ones count with the last */
    #define MOST_NAME 64u        /* bytes of a display name or label that are compared: bounds the longest common part */
    #define MOST_PHRASE 6u       /* words in a phrase of the lexicon */
    #define MOST_BRANDS 4u       /* brands of the first words that are remembered */
    #define FIRST_WORDS 25u      /* a greeting stands in them */
    #define OPENING_WORDS 80u    /* a brand claims to be the author in them */
    #define SIGNATURE 700u       /* bytes at the end in which an author signs, list footers included */
    """
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil
    const uint32_t MOST_LINKS
    const uint32_t MOST_DOMAINS
    const uint32_t MOST_NAME
    const uint32_t MOST_PHRASE
    const uint32_t MOST_BRANDS
    const uint32_t FIRST_WORDS
    const uint32_t OPENING_WORDS
    const uint32_t SIGNATURE

cdef enum:                       # categories: bits of Entry.mask for words and phrases, in the order of WORD_CATEGORIES
    MONEY
    FINANCE
    URGENCY
    CREDENTIAL
    PHARMA
    SEX
    ADVANCE_FEE
    HYPE
    OFFER
    GAMBLING
    HEALTH
    WORK_AT_HOME
    OUTREACH
    REMOVAL
    GUARANTEE
    CALL_TO_ACTION
    SECRECY
    PARCEL
    SECOND_PERSON
    DEAR_CUSTOMER
    ACCOUNT_THREAT
    CONGRATULATIONS
    TECHNICAL
    CONVERSATIONAL
    TRANSACTIONAL
    FOOTER
    FIRST_PERSON
    GREETING                     # not facts by themselves from here on
    ROLE
    CURRENCY
    MAGNITUDE
    COPYRIGHT
    UNSUBSCRIBE
    DICTIONARY
    N_CATEGORIES

cdef enum:                       # lists: bits of Entry.mask for domains, in the order of DOMAIN_LISTS
    FREE_MAIL
    SHORTENER
    FREE_HOSTING
    SOCIAL
    SUFFIX
    ODD_ENDING

WORD_CATEGORIES = (
    "money", "finance", "urgency", "credential", "pharma", "sex", "advance_fee", "hype", "offer", "gambling", "health", "work_at_home", "outreach",
    "removal", "guarantee", "call_to_action", "secrecy", "parcel", "second_person", "dear_customer", "account_threat", "congratulations", "technical",
    "conversational", "transactional", "footer", "first_person", "greeting", "role", "currency", "magnitude", "copyright", "unsubscribe", "dictionary",
)
DOMAIN_LISTS = ("free_mail", "shortener", "free_hosting", "social", "suffix", "odd_ending")
FACT_SPACE = "facts-1"           # changes whenever a fact's meaning changes

FACT_NAMES = tuple(Fact(number).name.lower() for number in range(N_FACTS))

cdef uint64_t DOMAIN_SEED = 0x13198A2E03707344
cdef uint64_t LURE = (
    (<uint64_t> 1 << MONEY) | (<uint64_t> 1 << FINANCE) | (<uint64_t> 1 << PHARMA) | (<uint64_t> 1 << SEX) | (<uint64_t> 1 << ADVANCE_FEE)
    | (<uint64_t> 1 << HYPE) | (<uint64_t> 1 << GAMBLING) | (<uint64_t> 1 << HEALTH) | (<uint64_t> 1 << WORK_AT_HOME)
    | (<uint64_t> 1 << CONGRATULATIONS)
)

cdef struct Domain:
    uint8_t text[272]            # the host in lower case, 8 bytes of padding behind it
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

cdef struct Tally:               # what one stretch of text holds
    uint32_t hits[34]            # per Category
    uint32_t words
    uint32_t sentences
    uint32_t exclamations
    uint32_t exclamation_runs
    uint32_t questions
    uint32_t currency
    uint32_t percent
    uint32_t signs
    uint32_t mixed_script
    uint32_t urls
    uint16_t brands[4]
    uint32_t n_brands
    uint16_t first_brand
    bint large_amount

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
    uint64_t filter              # one bit per hash of a word looked for in the text
    uint32_t name_hits
    uint32_t label_hits
    bint name_signed
    bint label_in_footer
    bint label_in_copyright
    bint greeted_by_name
    bint greeted_by_address

cdef struct Seen:                # a registrable domain among the links
    uint64_t hash
    uint32_t count
    uint32_t link                # index of the first link to it
    bint own
    bint odd
    bint hyphen


# ---------------------------------------------------------------------------------------------------------------------- small parts

cdef inline float density(uint32_t hits, uint32_t words) noexcept nogil:
    return <float> sqrt(hits / (words + 25.0))


cdef inline float share(uint32_t part, uint32_t whole) noexcept nogil:
    return <float> part / whole if whole else 0.0


cdef inline float at_most(uint32_t value, uint32_t limit) noexcept nogil:
    return <float> (value if value < limit else limit)


cdef inline uint64_t domain_key(const uint8_t *text, uint32_t n) noexcept nogil:
    return esa_chain(DOMAIN_SEED, esa_hash(text, n))


cdef uint32_t common_part(const uint8_t *a, uint32_t n, const uint8_t *b, uint32_t m) noexcept nogil:
    """Length of the longest common substring; n · m steps, both cut at MOST_NAME."""
    cdef uint32_t row[65]
    cdef uint32_t i, j, best = 0, diagonal, above
    n = n if n < MOST_NAME else MOST_NAME
    m = m if m < MOST_NAME else MOST_NAME
    memset(row, 0, sizeof(row))
    for i in range(n):
        diagonal = 0
        for j in range(m):
            above = row[j + 1]
            row[j + 1] = diagonal + 1 if a[i] == b[j] else 0
            if row[j + 1] > best:
                best = row[j + 1]
            diagonal = above
    return best


cdef inline float common_share(const uint8_t *a, uint32_t n, const uint8_t *b, uint32_t m) noexcept nogil:
    """Longest common part over the shorter of the two; parts under three bytes are chance."""
    cdef uint32_t part = common_part(a, n, b, m)
    cdef uint32_t shorter = n if n < m else m
    return <float> part / shorter if part >= 3 and shorter else 0.0


cdef bint looks_random(const uint8_t *text, uint32_t n) noexcept nogil:
    """Five consonants in a row, or letters and digits changing over three times."""
    cdef uint32_t i, run = 0, changes = 0
    cdef int kind, before = 0
    cdef uint8_t c
    for i in range(n):
        c = text[i]
        if 97 <= c <= 122:
            kind = 1
            run = 0 if c in (97, 101, 105, 111, 117, 121) else run + 1
            if run >= 5:
                return True
        else:
            kind = 2 if 48 <= c <= 57 else 0
            run = 0
        if kind and before and kind != before:
            changes += 1
        before = kind
    return changes >= 3


cdef bint made_of_words(const Table *lexicon, const uint8_t *text, uint32_t n) noexcept nogil:
    """Whether a label is two or more dictionary words joined (each of three letters or more)."""
    cdef uint8_t reached[33]     # fewest words that reach this offset, 0: not reached, 255: the start
    cdef uint8_t copy[48]
    cdef uint32_t i, j, words
    cdef const Entry *entry
    if n < 6 or n > 32:
        return False
    memset(reached, 0, sizeof(reached))
    memcpy(copy, text, n)
    for i in range(n - 2):
        if i and not reached[i]:
            continue
        if copy[i] == 45 and i:  # a hyphen joins as well
            reached[i + 1] = reached[i]
            continue
        for j in range(i + 3, n + 1):
            if j - i > 14:
                break
            if i == 0 and j == n:
                continue
            entry = find(lexicon, esa_hash(copy + i, j - i))
            if entry != NULL and (entry.mask >> DICTIONARY) & 1:
                words = (reached[i] if i else 0) + 1
                if not reached[j] or reached[j] > words:
                    reached[j] = <uint8_t> words
    return reached[n] >= 2


cdef void read_domain(const Table *lexicon, const uint8_t *host, uint32_t n, Domain *domain) noexcept nogil:
    """Split a host name: registrable domain by the lexicon's suffixes of two labels, else the last two labels."""
    cdef uint32_t i, dots = 0, last = 0, second = 0, third = 0, start
    cdef const Entry *entry
    cdef bint digits = True
    memset(domain, 0, sizeof(Domain))
    while n and host[n - 1] == 46:
        n -= 1
    domain.length = lower_into(domain.text, 256, host, n)
    n = domain.length
    if n == 0:
        return
    for i in range(n):
        if domain.text[i] == 46:
            dots += 1
            third, second, last = second, last, i + 1
        elif not (48 <= domain.text[i] <= 57):
            digits = False
    domain.numeric = digits or domain.text[0] == 91 or (n > 2 and domain.text[0] == 48 and domain.text[1] == 120)
    if dots == 0 or domain.numeric:
        domain.hash = domain_key(domain.text, n)
        domain.label_hash = 0
        domain.label = 0 if domain.numeric else n
        return
    start = second
    entry = find(lexicon, domain_key(domain.text + second, n - second))
    if dots > 1 and entry != NULL and (entry.mask >> SUFFIX) & 1:
        start = third
        dots -= 1
    domain.registrable = start
    domain.depth = dots - 1
    while start + domain.label < n and domain.text[start + domain.label] != 46:
        domain.label += 1
    domain.hash = domain_key(domain.text + start, n - start)
    domain.label_hash = esa_hash(domain.text + start, domain.label)
    entry = find(lexicon, domain.hash)
    if entry != NULL:
        domain.lists |= entry.mask
        domain.brand = entry.brand
    if start:
        entry = find(lexicon, domain_key(domain.text, n))
        if entry != NULL:
            domain.lists |= entry.mask
            if entry.brand:
                domain.brand = entry.brand
    entry = find(lexicon, domain_key(domain.text + last, n - last))
    if entry != NULL:
        domain.lists |= entry.mask & (<uint64_t> 1 << ODD_ENDING)


cdef inline bint same_organisation(const Domain *a, const Domain *b) noexcept nogil:
    """One registrable domain, one label under two endings, or two domains of one brand."""
    return a.hash != 0 and (a.hash == b.hash or (a.label_hash != 0 and a.label > 2 and a.label_hash == b.label_hash) or (a.brand != 0 and a.brand == b.brand))


cdef void read_name(const Table *lexicon, const uint8_t *text, uint32_t n, Name *name) noexcept nogil:
    """Words of a display name; `text` is folded or becomes so for ASCII here."""
    cdef uint8_t copy[264]
    cdef uint32_t i = 0, end, length
    cdef uint64_t h
    cdef const Entry *entry
    memset(name, 0, sizeof(Name))
    n = lower_into(copy, 256, text, n)
    memset(copy + n, 0, 8)
    while i < n:
        if not ESA_CLASS[copy[i]] & ESA_WORD:
            i += 1
            continue
        end = word_end(copy, i, n)
        length = end - i
        name.all_words += 1
        if name.length + length <= 72:
            memcpy(name.joined + name.length, copy + i, length)
            h = esa_hash(copy + i, length)
            entry = find(lexicon, h)
            if length >= 3 and name.n_words < 6 and (entry == NULL or not (entry.mask >> DICTIONARY) & 1):
                name.words[name.n_words] = h
                name.n_words += 1
                if length > name.longest_length:
                    name.longest, name.longest_length = name.length, length
            name.length += length
        i = end


cdef inline bint is_name_word(const Name *name, uint64_t h) noexcept nogil:
    cdef uint32_t i
    for i in range(name.n_words):
        if name.words[i] == h:
            return True
    return False


cdef inline uint64_t filter_of(const Name *name) noexcept nogil:
    cdef uint64_t bits = 0
    cdef uint32_t i
    for i in range(name.n_words):
        bits |= <uint64_t> 1 << (name.words[i] >> 58)
    return bits


cdef bint begins_joined(const uint8_t *text, uint32_t i, uint32_t n, const uint8_t *joined, uint32_t length) noexcept nogil:
    """Whether the words from i on, joined, begin with `joined` and end a word there; looks at twice its length at most."""
    cdef uint32_t k = 0, limit = i + 2 * length + 4
    if limit > n:
        limit = n
    while i < limit and k < length:
        if text[i] == joined[k]:
            k += 1
        elif ESA_CLASS[text[i]] & ESA_WORD or k == 0:
            return False
        i += 1
    return k == length and (i >= n or (not ESA_CLASS[text[i]] & ESA_WORD) or text[i] == 115)


# ---------------------------------------------------------------------------------------------------------------------- text

cdef struct Place:               # where in the whole text a region stands
    uint32_t offset              # bytes before it
    uint32_t total               # bytes of all
    bint body


cdef void count_words(
    const Table *lexicon, const uint8_t *text, uint32_t n, Tally *tally, Identity *identity, Place place
) noexcept nogil:
    """One pass over a stretch of folded text: words and phrases of the lexicon, signs, and in the body the names that the message gives itself."""
    cdef uint64_t alive[6]       # phrases begun, as hashes of their words so far
    cdef uint32_t n_alive = 0, kept, i = 0, k, end, length, copyright_until = 0
    cdef uint32_t currency_word = 0, amount_word = 0, greeting_word = 0, groups = 0, word = 100
    cdef uint64_t h, mask, bits, phrase
    cdef const Entry *entry
    cdef uint8_t c, following, kinds
    cdef bint label, name, footer, signature
    cdef uint8_t first_of_name = identity.name.joined[0], first_of_label = identity.origin.text[identity.origin.registrable]
    while i < n:
        c = text[i]
        if c == 32 or c == 10:
            i += 1
            continue
        if ESA_CLASS[c] & ESA_WORD:
            end = esa_word(text, i, n, &h, &kinds)
            length = end - i
            tally.words += 1
            word += 1
            mask = 0
            kept = 0
            for k in range(n_alive):
                phrase = esa_chain(alive[k], h)
                entry = find(lexicon, phrase)
                if entry != NULL:
                    mask |= entry.mask
                    if entry.brand:
                        note_brand(tally, entry.brand)
                    if entry.longer and kept < MOST_PHRASE - 1:
                        alive[kept] = phrase
                        kept += 1
            entry = find(lexicon, h)
            if entry != NULL:
                mask |= entry.mask
                if entry.brand:
                    note_brand(tally, entry.brand)
                if entry.longer and kept < MOST_PHRASE:
                    alive[kept] = h
                    kept += 1
            n_alive = kept
            if mask:
                bits = mask & ~(<uint64_t> 1 << DICTIONARY)
                while bits:
                    k = count_zeros(bits)
                    tally.hits[k] += 1
                    bits &= bits - 1
                if (mask >> CURRENCY) & 1:
                    currency_word = word
                if (mask >> MAGNITUDE) & 1:
                    amount_word = word
                if (mask >> COPYRIGHT) & 1:
                    copyright_until = end + 100
                if (mask >> GREETING) & 1:
                    greeting_word = word
            if 48 <= c <= 57:
                groups = groups + 1 if length == 3 and i and text[i - 1] == 44 else 0
                if groups >= 2 or (groups == 1 and length == 3 and i >= 5 and 48 <= text[i - 4] <= 57 and 48 <= text[i - 2] <= 57) or length >= 6:
                    amount_word = word
            else:
                groups = 0
                if kinds == 3:
                    tally.mixed_script += is_mixed_script(text + i, length)
            if amount_word and currency_word and amount_word + 3 >= currency_word and currency_word + 3 >= amount_word and word <= currency_word + 3:
                tally.large_amount = True
            if place.body and ((identity.filter >> (h >> 58)) & 1 or c == first_of_name or c == first_of_label):
                name = is_name_word(&identity.name, h) or (
                    identity.name.length >= 3 and c == first_of_name
                    and begins_joined(text, i, n, identity.name.joined, identity.name.length))
                label = identity.origin.label >= 3 and c == first_of_label and begins_joined(
                    text, i, n, identity.origin.text + identity.origin.registrable, identity.origin.label)
                if name or label:
                    signature = place.offset + i + SIGNATURE >= place.total
                    footer = signature or place.offset + i >= place.total - place.total / 4
                    identity.name_hits += name
                    identity.label_hits += label
                    if name and signature:
                        identity.name_signed = True
                    if label and footer:
                        identity.label_in_footer = True
                    if i < copyright_until:
                        identity.label_in_copyright = True
                if tally.words <= FIRST_WORDS:
                    if is_name_word(&identity.recipient, h):
                        identity.greeted_by_name = True
                    elif h == identity.to_local_hash and greeting_word and word <= greeting_word + 2:
                        identity.greeted_by_address = True
            i = end
            continue
        following = text[i + 1] if i + 1 < n else 32
        if c == 33:
            tally.exclamations += following <= 32 or following == 33
            tally.exclamation_runs += following == 33
            tally.sentences += following <= 32
        elif c == 46:
            tally.sentences += following <= 32
        elif c == 63:
            tally.questions += following <= 32
            tally.sentences += following <= 32
        elif c == 36:
            tally.currency += 1
            currency_word = word + 1
        elif c == 37:
            tally.percent += i > 0 and 48 <= text[i - 1] <= 57
        elif c == 58 and following == 47 and i + 2 < n and text[i + 2] == 47:
            tally.urls += 1
            i += 3
            while i < n and text[i] > 32 and text[i] not in (34, 41, 60, 62, 93):
                i += 1
            continue
        elif c == 194:
            if following in (163, 165):
                tally.currency += 1
                currency_word = word + 1
            elif following == 169:
                copyright_until = i + 100
            i += 1
        elif c == 226:
            if following == 130:
                tally.currency += 1
                currency_word = word + 1
            elif 152 <= following <= 159 or following in (134, 135, 140, 143, 172, 173):
                tally.signs += 1
            i += 2
        elif ESA_CLASS[c] == 8:
            tally.signs += c == 240 and following == 159
            i += 3
        i += 1


cdef inline void note_brand(Tally *tally, uint16_t brand) noexcept nogil:
    cdef uint32_t k
    if tally.words > OPENING_WORDS:
        return
    for k in range(tally.n_brands):
        if tally.brands[k] == brand:
            return
    if tally.n_brands < MOST_BRANDS:
        tally.brands[tally.n_brands] = brand
        tally.n_brands += 1


cdef bint is_mixed_script(const uint8_t *word, uint32_t n) noexcept nogil:
    """Latin letters of ASCII beside Greek or Cyrillic ones (U+0370 to U+04FF) in one word."""
    cdef uint32_t i
    cdef bint latin = False, other = False
    for i in range(n):
        if 97 <= word[i] <= 122:
            latin = True
        elif 205 <= word[i] <= 211:
            other = True
    return latin and other


cdef struct Shape:               # characters of text as written
    uint32_t upper
    uint32_t lower
    uint32_t styled
    uint32_t broken


cdef void measure_shape(const uint8_t *text, uint32_t n, Shape *shape) noexcept nogil:
    """Letters by case, and characters that only disguise: styled alphabets, invisible characters inside words."""
    cdef uint32_t i
    cdef uint8_t a, b
    if not esa_count_case(text, n, &shape.upper, &shape.lower):
        return
    i = 0
    while i + 3 < n:
        if text[i] < 226:
            i += 1
            continue
        a, b = text[i + 1], text[i + 2]
        if text[i] == 240 and ((a == 157 and 144 <= b <= 159) or (a == 159 and 132 <= b <= 134)):
            shape.styled += 1
        elif text[i] == 226 and (a == 146 and b >= 156 or a == 147 and b <= 169):
            shape.styled += 1
        elif (text[i] == 226 and a == 128 and 139 <= b <= 141) or (text[i] == 226 and a == 129 and b == 160) or (text[i] == 239 and a == 187 and b == 191):
            if i and is_letter(text[i - 1]) and is_letter(text[i + 3]):
                shape.broken += 1
        i += 3


cdef inline bint is_letter(uint8_t c) noexcept nogil:
    return 97 <= (c | 32) <= 122


cdef bint has_text(const Document *d, const Region *region) noexcept nogil:
    """Whether a region belongs to the text as seen: HTML, and plain text that is not the twin of an HTML part in a multipart/alternative."""
    cdef uint32_t i, parent
    cdef const uint8_t *kind
    if region.kind == REGION_HTML_SEEN:
        return True
    if region.kind != REGION_PLAIN:
        return False
    if d.html.seen_bytes < 20 or d.parts[region.part].parent < 0:
        return True
    parent = <uint32_t> d.parts[region.part].parent
    kind = d.raw + d.parts[parent].media_type.start
    for i in range(d.parts[parent].media_type.length):
        if kind[i] == 47:
            return not (d.parts[parent].media_type.length - i > 11 and (kind[i + 1] | 32) == 97 and (kind[i + 2] | 32) == 108)
    return True


# ---------------------------------------------------------------------------------------------------------------------- links

cdef struct Url:
    const uint8_t *host
    uint32_t host_length
    const uint8_t *path
    uint32_t path_length
    bint user
    bint port


cdef bint read_url(const uint8_t *text, uint32_t n, Url *url) noexcept nogil:
    """Split an http or https URL (or one without scheme, //host); False for any other."""
    cdef uint32_t i = 0, end, k
    if n >= 7 and (text[0] | 32) == 104 and (text[1] | 32) == 116 and (text[2] | 32) == 116 and (text[3] | 32) == 112:
        i = 4 + ((text[4] | 32) == 115)
        if text[i] != 58:
            return False
        i += 1
    elif n < 4 or text[0] != 47 or text[1] != 47:
        return False
    k = i
    while i < n and i < k + 4 and text[i] in (47, 92):
        i += 1
    if i == k:
        return False
    end = i
    while end < n and text[end] not in (47, 63, 35, 92):
        end += 1
    url.path = text + end
    url.path_length = n - end
    url.user = False
    url.port = False
    k = end
    while k > i:
        k -= 1
        if text[k] == 64:
            url.user = True
            i = k + 1
            break
    k = i
    if k < end and text[k] == 91:
        while k < end and text[k] != 93:
            k += 1
    while k < end and text[k] != 58:
        k += 1
    if k < end:
        url.port = not (end - k <= 1 or (end - k == 3 and text[k + 1] == 56 and text[k + 2] == 48) or (end - k == 4 and memcmp(text + k + 1, b"443", 3) == 0))
        end = k
    url.host = text + i
    url.host_length = end - i
    return end > i


cdef uint64_t words_of(const Table *lexicon, const uint8_t *text, uint32_t n, uint16_t *brand) noexcept nogil:
    """Categories of the words and phrases in a short stretch (96 bytes) of unfolded text; the first brand."""
    cdef uint8_t copy[104]
    cdef uint32_t i = 0, end
    cdef uint64_t h, before = 0, mask = 0
    cdef const Entry *entry
    n = lower_into(copy, 96, text, n)
    while i < n:
        if not ESA_CLASS[copy[i]] & ESA_WORD:
            i += 1
            continue
        end = word_end(copy, i, n)
        h = esa_hash(copy + i, end - i)
        entry = find(lexicon, h)
        if entry != NULL:
            mask |= entry.mask
            if entry.brand and brand[0] == 0:
                brand[0] = entry.brand
        if before:
            entry = find(lexicon, esa_chain(before, h))
            if entry != NULL:
                mask |= entry.mask
                if entry.brand and brand[0] == 0:
                    brand[0] = entry.brand
        before = h
        i = end
    return mask


cdef bint contains(const uint8_t *text, uint32_t n, const uint8_t *word, uint32_t m) noexcept nogil:
    """Whether `word`, in lower case, stands in `text` (at most 256 bytes looked at), regardless of ASCII case."""
    cdef uint32_t i, k
    if n > 256:
        n = 256
    if m == 0 or n < m:
        return False
    for i in range(n - m + 1):
        if (text[i] | 32 if 65 <= text[i] <= 90 else text[i]) == word[0]:
            k = 1
            while k < m and (text[i + k] | 32 if 65 <= text[i + k] <= 90 else text[i + k]) == word[k]:
                k += 1
            if k == m:
                return True
    return False


cdef uint32_t shown_host(const uint8_t *text, uint32_t n, Url *url) noexcept nogil:
    """The host name that the shown text of a link looks like, if it is nothing else; its length or 0."""
    cdef uint32_t i, dots = 0, last = 0
    while n and text[0] <= 32:
        text += 1
        n -= 1
    while n and text[n - 1] <= 32:
        n -= 1
    if n < 4 or n > 200:
        return 0
    if read_url(text, n, url):
        return url.host_length
    for i in range(n):
        if text[i] <= 32 or text[i] == 64 or text[i] > 127:
            return 0
        if text[i] in (47, 63):
            n = i
            break
        if text[i] == 46:
            dots += 1
            last = i
        elif not (is_letter(text[i]) or 48 <= text[i] <= 57 or text[i] == 45):
            return 0
    if not dots or n - last < 3 or n - last > 7 or not is_letter(text[last + 1]) or (dots == 1 and last < 3):
        return 0
    url.host, url.host_length = text, n
    return n


cdef void count_links(const Document *d, const Table *lexicon, Identity *identity, uint64_t *link_brands, uint32_t *anchors, float *facts) noexcept nogil:
    """All facts of links and images."""
    cdef Seen seen[48]
    cdef uint64_t targets[16]    # one bit per hash of a target: distinct targets, from the bits set
    cdef Domain domain, shown
    cdef Url url, shown_url
    cdef const Link *link
    cdef const uint8_t *text
    cdef uint32_t i, k, n, n_seen = 0, links = 0, own = 0, odd = 0, hyphen = 0, social = 0, top = 0
    cdef uint32_t images = 0, own_images = 0, alt = 0, distinct = 0
    cdef uint64_t mask, before_host = 0, h
    cdef uint16_t brand
    cdef bint unsubscribe_own = False, is_own, visited, named
    memset(targets, 0, sizeof(targets))
    for i in range(d.n_links if d.n_links < MOST_LINKS else MOST_LINKS):
        link = &d.links[i]
        text = d.text + link.url.start
        n = link.url.length
        if link.kind == LINK_IMAGE:
            images += 1
            alt += link.shown.length > 0
            if identity.origin.hash and images <= 64 and read_url(text, n, &url):
                read_domain(lexicon, url.host, url.host_length, &domain)
                own_images += same_organisation(&domain, &identity.origin)
            continue
        if link.kind == LINK_FORM:
            facts[<int> FORM] = 1
        elif link.kind != LINK_ANCHOR and link.kind != LINK_TEXT:
            continue
        if not read_url(text, n, &url):
            continue
        links += 1
        anchors[0] += link.kind == LINK_ANCHOR
        facts[<int> LINK_USER] = facts[<int> LINK_USER] or url.user
        facts[<int> LINK_PORT] = facts[<int> LINK_PORT] or url.port
        h = esa_hash(url.host, url.host_length)
        visited = h == before_host
        if not visited:
            read_domain(lexicon, url.host, url.host_length, &domain)
            before_host = h
        is_own = same_organisation(&domain, &identity.origin)
        own += is_own
        if domain.numeric:
            facts[<int> LINK_ADDRESS] = 1
        h = esa_hash(text, n if n < 120 else 120) >> 20 & 1023
        distinct += not (targets[h >> 6] >> (h & 63)) & 1
        targets[h >> 6] |= <uint64_t> 1 << (h & 63)
        for k in range(n_seen):
            if seen[k].hash == domain.hash:
                break
        else:
            k = n_seen
            if n_seen < MOST_DOMAINS:
                n_seen += 1
            else:
                k = MOST_DOMAINS - 1
            memset(&seen[k], 0, sizeof(Seen))
            seen[k].hash = domain.hash
            seen[k].link = i
            seen[k].own = is_own
            seen[k].odd = (domain.lists >> ODD_ENDING) & 1
            seen[k].hyphen = memchr(domain.text + domain.registrable, 45, domain.label) != NULL
            if (domain.lists >> SHORTENER) & 1:
                facts[<int> LINK_SHORTENER] = 1
            if (domain.lists >> FREE_HOSTING) & 1:
                facts[<int> LINK_FREE_HOSTING] = 1
            if domain.brand and domain.brand < 512:
                link_brands[domain.brand >> 6] |= <uint64_t> 1 << (domain.brand & 63)
        seen[k].count += 1
        odd += seen[k].odd
        hyphen += seen[k].hyphen
        if (domain.lists >> SOCIAL) & 1:
            social += 1
            if names_origin(identity, url.path, url.path_length):
                facts[<int> SOCIAL_OWN] = 1
        if not visited:
            brand = 0
            if (words_of(lexicon, domain.text, domain.length, &brand) >> CREDENTIAL) & 1 and not is_own:
                facts[<int> LINK_CREDENTIAL] = 1
            if brand and domain.brand != brand and not (domain.lists >> FREE_MAIL) & 1:
                facts[<int> LINK_BRAND_FOREIGN] = 1
            if contains(domain.text, domain.length, b"xn--", 4):
                facts[<int> LINK_PUNYCODE] = 1
            if identity.name.longest_length >= 3 and (
                contains(domain.text, domain.length, identity.name.joined + identity.name.longest, identity.name.longest_length)
                or contains(domain.text, domain.length, identity.name.joined, identity.name.length)
            ):
                facts[<int> NAME_IN_LINKS] = 1
        mask = 0
        if links <= 64:
            brand = 0
            mask = words_of(lexicon, url.path, url.path_length, &brand)
            mask |= words_of(lexicon, d.text + link.shown.start, link.shown.length, &brand)
        if (mask >> UNSUBSCRIBE) & 1:
            unsubscribe_own = unsubscribe_own or is_own
        if link.shown.length and links <= 128 and shown_host(d.text + link.shown.start, link.shown.length, &shown_url):
            read_domain(lexicon, shown_url.host, shown_url.host_length, &shown)
            if not same_organisation(&shown, &domain) and not same_organisation(&shown, &identity.origin):
                facts[<int> LINK_SHOWN_ELSEWHERE] = 1
    named = identity.label_hits > 0 or facts[<int> NAME_DOMAIN_COMMON] > 0 or is_own_brand(identity)
    for k in range(1, n_seen):
        if seen[k].count > seen[top].count:
            top = k
    if links:
        facts[<int> LINK_OWN_SHARE] = share(own, links)
        facts[<int> LINK_OWN] = own > 0
        facts[<int> LINK_ODD_ENDING] = share(odd, links)
        facts[<int> LINK_HYPHENS] = share(hyphen, links)
        facts[<int> LINK_PATHS] = share(distinct, links)
        facts[<int> LINK_SOCIAL] = at_most(social, 4)
        text = d.text + d.links[seen[top].link].url.start
        read_url(text, d.links[seen[top].link].url.length, &url)
        read_domain(lexicon, url.host, url.host_length, &domain)
        facts[<int> LINK_TOP_OWN] = seen[top].own
        if not seen[top].own:
            facts[<int> LINK_TOP_SHARE_FOREIGN] = share(seen[top].count, links)
        facts[<int> LINK_TOP_LABEL_COMMON] = max_of(
            common_share(domain.text + domain.registrable, domain.label, identity.origin.text + identity.origin.registrable, identity.origin.label),
            common_share(domain.text + domain.registrable, domain.label, identity.name.joined, identity.name.length))
    if not named:
        facts[<int> LINK_OWN_SHARE] = 0
        facts[<int> LINK_OWN] = 0
        facts[<int> LINK_TOP_OWN] = 0
        facts[<int> LINK_TOP_LABEL_COMMON] = 0
    facts[<int> LINK_DOMAINS] = <float> log2(1.0 + n_seen)
    facts[<int> UNSUBSCRIBE_OWN] = unsubscribe_own and named
    facts[<int> IMAGE_ALT] = share(alt, images)
    facts[<int> IMAGE_OWN] = share(own_images, images if images < 64 else 64) if named else 0


cdef inline float max_of(float a, float b) noexcept nogil:
    return a if a > b else b


cdef bint names_origin(const Identity *identity, const uint8_t *text, uint32_t n) noexcept nogil:
    """Whether the label of From's domain or the joined display name stands in a short stretch of text."""
    cdef const Domain *origin = &identity.origin
    return (origin.label >= 4 and contains(text, n, origin.text + origin.registrable, origin.label)) or (
        identity.name.length >= 4 and identity.name.length <= 72 and contains(text, n, identity.name.joined, identity.name.length))


cdef bint names_origin_joined(const Identity *identity, const uint8_t *text, uint32_t n) noexcept nogil:
    """As names_origin, in folded words: what stands between them is passed over. The first 256 bytes."""
    cdef uint32_t i = 0
    if n > 256:
        n = 256
    while i < n:
        if not ESA_CLASS[text[i]] & ESA_WORD:
            i += 1
            continue
        if identity.origin.label >= 3 and begins_joined(text, i, n, identity.origin.text + identity.origin.registrable, identity.origin.label):
            return True
        if 3 <= identity.name.length <= 72 and begins_joined(text, i, n, identity.name.joined, identity.name.length):
            return True
        i = word_end(text, i, n)
    return False


cdef inline bint is_own_brand(const Identity *identity) noexcept nogil:
    return identity.origin.brand != 0 and not (identity.origin.lists >> FREE_MAIL) & 1


cdef bint has_recipient(const Identity *identity, const uint8_t *text, uint32_t n) noexcept nogil:
    """The local part of To before an at sign, plain or escaped, in the first 256 bytes."""
    cdef uint8_t wanted[88]
    cdef uint32_t m = identity.to_local_length
    memcpy(wanted, identity.to_local, m)
    wanted[m] = 64
    if contains(text, n, wanted, m + 1):
        return True
    wanted[m], wanted[m + 1], wanted[m + 2] = 37, 52, 48
    return contains(text, n, wanted, m + 3)


# ---------------------------------------------------------------------------------------------------------------------- the message

cdef void split_address(const Table *lexicon, const Document *d, Span address, uint8_t *local, uint32_t *local_length, Domain *domain) noexcept nogil:
    cdef const uint8_t *text = d.text + address.start
    cdef uint32_t at = address.length
    local_length[0] = 0
    memset(domain, 0, sizeof(Domain))
    while at > 0:
        at -= 1
        if text[at] == 64:
            local_length[0] = lower_into(local, 64, text, at)
            read_domain(lexicon, text + at + 1, address.length - at - 1, domain)
            return


cdef void count_identity(const Document *d, const Table *lexicon, Identity *who, float *facts) noexcept nogil:
    """From, Reply-To and To by themselves and against each other."""
    cdef Domain to_domain
    cdef uint8_t reply_local[80]
    cdef uint32_t reply_length = 0, i, digits = 0, letters = 0
    cdef const uint8_t *label
    cdef Span span
    cdef Name address
    memset(who, 0, sizeof(Identity))
    split_address(lexicon, d, d.from_address, who.local, &who.local_length, &who.origin)
    split_address(lexicon, d, d.to_address, who.to_local, &who.to_local_length, &to_domain)
    split_address(lexicon, d, d.reply_to_address, reply_local, &reply_length, &who.reply)
    read_name(lexicon, d.text + d.from_name.start, d.from_name.length, &who.name)
    if d.to_name.length and not memchr(d.text + d.to_name.start, 64, d.to_name.length):
        read_name(lexicon, d.text + d.to_name.start, d.to_name.length, &who.recipient)
    if who.to_local_length >= 3:
        who.to_local_hash = esa_hash(who.to_local, who.to_local_length)
    who.filter = filter_of(&who.name) | filter_of(&who.recipient)
    if who.to_local_hash:
        who.filter |= <uint64_t> 1 << (who.to_local_hash >> 58)
    label = who.origin.text + who.origin.registrable
    facts[<int> FROM_MISSING] = who.origin.hash == 0
    facts[<int> FROM_FREE_MAIL] = (who.origin.lists >> FREE_MAIL) & 1
    facts[<int> FROM_ODD_ENDING] = (who.origin.lists >> ODD_ENDING) & 1
    facts[<int> FROM_FREE_HOSTING] = (who.origin.lists >> FREE_HOSTING) & 1
    if who.origin.hash:
        for i in range(who.local_length):
            digits += 48 <= who.local[i] <= 57
        for i in range(who.origin.label):
            digits += 48 <= label[i] <= 57
            facts[<int> FROM_HYPHENS] += label[i] == 45
        facts[<int> FROM_HYPHENS] = at_most(<uint32_t> facts[<int> FROM_HYPHENS], 2)
        facts[<int> FROM_DIGITS] = share(digits, who.local_length + who.origin.label)
        facts[<int> FROM_RANDOM] = looks_random(who.local, who.local_length) or looks_random(label, who.origin.label)
        facts[<int> FROM_LABEL_WORDS] = made_of_words(lexicon, label, who.origin.label)
        if who.reply.hash and not same_organisation(&who.reply, &who.origin):
            facts[<int> REPLY_ELSEWHERE] = 1
            facts[<int> REPLY_FREE_MAIL] = (who.reply.lists >> FREE_MAIL) & 1
        elif who.reply.hash and (who.reply.lists >> FREE_MAIL) & 1 and (
            reply_length != who.local_length or memcmp(reply_local, who.local, reply_length) != 0
        ):
            facts[<int> REPLY_FREE_MAIL] = 1
    span = d.from_name
    facts[<int> NAME_MISSING] = span.length == 0
    if span.length:
        if span.length == d.from_address.length and contains(d.text + span.start, span.length, d.text + d.from_address.start, span.length):
            facts[<int> NAME_IS_ADDRESS] = 1
        else:
            facts[<int> NAME_ADDRESS] = name_holds_address(lexicon, d, who)
        facts[<int> NAME_LONG] = at_most(who.name.all_words - 3, 3) if who.name.all_words > 3 else 0
        for i in range(span.length):
            letters += is_letter(d.text[span.start + i])
    facts[<int> NAME_DOMAIN_COMMON] = common_share(who.name.joined, who.name.length, label, who.origin.label)
    facts[<int> NAME_LOCAL_COMMON] = common_share(who.name.joined, who.name.length, who.local, who.local_length)
    facts[<int> TO_MISSING] = d.to_address.length == 0
    if d.to_address.length:
        facts[<int> TO_NAME] = who.recipient.length > 1
        facts[<int> TO_IS_FROM] = d.to_address.length == d.from_address.length and memcmp(
            d.text + d.to_address.start, d.text + d.from_address.start, d.to_address.length) == 0
    if who.to_local_length >= 3 and d.subject.length:
        read_name(lexicon, d.text + d.subject.start, d.subject.length, &address)
        facts[<int> SUBJECT_ADDRESS] = is_name_word(&address, who.to_local_hash) or has_recipient(who, d.text + d.subject.start, d.subject.length)


cdef bint name_holds_address(const Table *lexicon, const Document *d, const Identity *who) noexcept nogil:
    """An address or a host name inside the display name that is not From's."""
    cdef const uint8_t *text = d.text + d.from_name.start
    cdef uint32_t i = 0, start, n = d.from_name.length
    cdef Url url
    cdef Domain domain
    while i < n and i < 256:
        while i < n and (text[i] <= 32 or text[i] in (34, 39, 40, 41, 60, 62, 64, 91, 93)):
            i += 1
        start = i
        while i < n and not (text[i] <= 32 or text[i] in (34, 39, 40, 41, 60, 62, 64, 91, 93)):
            i += 1
        if i > start and shown_host(text + start, i - start, &url):
            read_domain(lexicon, url.host, url.host_length, &domain)
            if not same_organisation(&domain, &who.origin):
                return True
    return False


cdef void count_subject(const Document *d, const Table *lexicon, const Tally *tally, float *facts) noexcept nogil:
    cdef Shape shape
    cdef const uint8_t *text = d.text + d.subject.start
    cdef uint32_t n = d.subject.length if d.subject.length < 1000 else 1000, end, i, digits = 0, letters = 0
    memset(&shape, 0, sizeof(shape))
    measure_shape(text, n, &shape)
    facts[<int> SUBJECT_LURE] = at_most(lures(tally), 3)
    facts[<int> SUBJECT_URGENCY] = at_most(tally.hits[URGENCY] + tally.hits[ACCOUNT_THREAT] + tally.hits[CALL_TO_ACTION], 2)
    facts[<int> SUBJECT_CREDENTIAL] = at_most(tally.hits[CREDENTIAL], 2)
    facts[<int> SUBJECT_OFFER] = at_most(tally.hits[OFFER] + tally.hits[OUTREACH] + tally.hits[GUARANTEE], 2)
    facts[<int> SUBJECT_PARCEL] = at_most(tally.hits[PARCEL], 2)
    facts[<int> SUBJECT_SECOND_PERSON] = at_most(tally.hits[SECOND_PERSON], 2)
    facts[<int> SUBJECT_TECHNICAL] = at_most(tally.hits[TECHNICAL], 2)
    facts[<int> SUBJECT_CONVERSATIONAL] = at_most(tally.hits[CONVERSATIONAL], 2)
    facts[<int> SUBJECT_TRANSACTIONAL] = at_most(tally.hits[TRANSACTIONAL], 2)
    if shape.upper + shape.lower >= 4:
        facts[<int> SUBJECT_CAPITALS] = share(shape.upper, shape.upper + shape.lower)
    facts[<int> SUBJECT_SHOUTED] = shape.upper >= 6 and shape.lower * 8 < shape.upper
    facts[<int> SUBJECT_EXCLAMATIONS] = at_most(tally.exclamations, 3)
    facts[<int> SUBJECT_QUESTIONS] = at_most(tally.questions, 1)
    facts[<int> SUBJECT_CURRENCY] = at_most(tally.currency + tally.hits[CURRENCY], 2)
    facts[<int> SUBJECT_PERCENT] = at_most(tally.percent, 1)
    facts[<int> SUBJECT_SIGNS] = at_most(tally.signs, 3)
    facts[<int> SUBJECT_STYLED] = shape.styled > 1
    facts[<int> SUBJECT_MIXED_SCRIPT] = tally.mixed_script > 0 or shape.broken > 0
    facts[<int> SUBJECT_EMPTY] = tally.words == 0
    end = n
    while end and (text[end - 1] <= 32 or text[end - 1] in (41, 46, 93, 33, 35)):
        end -= 1
    i = end
    while i and (is_letter(text[i - 1]) or 48 <= text[i - 1] <= 57):
        i -= 1
        digits += 48 <= text[i] <= 57
        letters += is_letter(text[i])
    facts[<int> SUBJECT_CODE] = (digits >= 5 and letters == 0) or (digits >= 3 and letters >= 2) or (letters >= 6 and i < end and looks_random(text + i, end - i))


cdef inline uint32_t lures(const Tally *tally) noexcept nogil:
    cdef uint64_t bits = LURE
    cdef uint32_t total = 0
    while bits:
        total += tally.hits[count_zeros(bits)]
        bits &= bits - 1
    return total


cdef void count_name(const Document *d, const Tally *tally, const Identity *who, float *facts) noexcept nogil:
    cdef const uint8_t *text = d.text + d.from_name.start
    cdef uint32_t n = d.from_name.length if d.from_name.length < 256 else 256, i, digits = 0
    cdef Shape shape
    memset(&shape, 0, sizeof(shape))
    measure_shape(text, n, &shape)
    for i in range(n):
        digits += 48 <= text[i] <= 57
    facts[<int> NAME_LURE] = at_most(lures(tally) + tally.hits[URGENCY] + tally.hits[CREDENTIAL] + tally.hits[OFFER] + tally.hits[ACCOUNT_THREAT], 3)
    facts[<int> NAME_SIGNS] = at_most(tally.signs + digits + tally.exclamations + tally.currency + shape.styled + tally.mixed_script, 3)
    facts[<int> NAME_CAPITALS] = shape.upper > 3 and shape.lower == 0
    facts[<int> NAME_LOWER] = shape.upper == 0 and shape.lower > 3 and tally.words > 1
    facts[<int> NAME_WORDS] = who.name.all_words > 0 and who.name.n_words == 0 and facts[<int> NAME_DOMAIN_COMMON] == 0
    facts[<int> NAME_ROLE] = tally.hits[ROLE] > 0 and facts[<int> NAME_DOMAIN_COMMON] == 0
    facts[<int> NAME_BRAND_FOREIGN] = foreign_brand(tally, &who.origin, NULL)


cdef bint foreign_brand(const Tally *tally, const Domain *origin, const uint64_t *link_brands) noexcept nogil:
    """A brand is named that is neither From's nor (if asked) that of any link."""
    cdef uint32_t k
    cdef uint16_t brand
    for k in range(tally.n_brands):
        brand = tally.brands[k]
        if brand == origin.brand:
            return False
        if link_brands != NULL and brand < 512 and (link_brands[brand >> 6] >> (brand & 63)) & 1:
            return False
    return tally.n_brands > 0


cdef void fill_text(const Tally *tally, const Shape *shape, uint32_t anchors, float *facts) noexcept nogil:
    cdef uint32_t k
    cdef double length
    for k in range(TEXT_MONEY, TEXT_FIRST_PERSON + 1):
        facts[k] = density(tally.hits[k - TEXT_MONEY], tally.words)
    if shape.upper + shape.lower >= 20:
        facts[<int> TEXT_CAPITALS] = share(shape.upper, shape.upper + shape.lower)
    facts[<int> TEXT_EXCLAMATIONS] = density(tally.exclamations, tally.words)
    facts[<int> TEXT_EXCLAMATION_RUNS] = tally.exclamation_runs > 0
    facts[<int> TEXT_CURRENCY] = density(tally.currency, tally.words)
    facts[<int> TEXT_PERCENT] = density(tally.percent, tally.words)
    facts[<int> TEXT_LARGE_AMOUNT] = tally.large_amount
    facts[<int> TEXT_STYLED] = density(shape.styled, tally.words)
    facts[<int> TEXT_MIXED_SCRIPT] = density(tally.mixed_script, tally.words)
    facts[<int> TEXT_BROKEN_WORDS] = shape.broken > 0
    facts[<int> TEXT_QUESTIONS] = density(tally.questions, tally.words)
    if tally.words:
        length = log2(1.0 + <double> tally.words / (tally.sentences + 1))
        facts[<int> TEXT_SENTENCE_LENGTH] = <float> (length if length < 6 else 6)
    facts[<int> TEXT_BARE_LINK] = tally.words < 20 and (anchors > 0 or tally.urls > 0)


cdef int extract_facts_of(const Document *d, const Table *lexicon, float *facts) noexcept nogil:
    """Fill one row [N_FACTS] from a decoded and folded document. Always 0."""
    cdef Identity who
    cdef Tally body, subject, name
    cdef Shape shape
    cdef Place place, elsewhere
    cdef uint64_t link_brands[8]
    cdef const Region *region
    cdef uint32_t i, n, room = ESA_FACT_WINDOW, total = 0, anchors = 0, written
    memset(facts, 0, N_FACTS * sizeof(float))
    memset(&body, 0, sizeof(Tally))
    memset(&subject, 0, sizeof(Tally))
    memset(&name, 0, sizeof(Tally))
    memset(&shape, 0, sizeof(Shape))
    memset(link_brands, 0, sizeof(link_brands))
    memset(&elsewhere, 0, sizeof(Place))
    count_identity(d, lexicon, &who, facts)
    for i in range(d.n_regions):
        region = &d.regions[i]
        if has_text(d, region):
            total += region.folded.length
    place.body = True
    place.offset = 0
    place.total = total if total < room else room
    for i in range(d.n_regions):
        region = &d.regions[i]
        if region.kind == 0:
            count_words(lexicon, d.folded + region.folded.start, region.folded.length if region.folded.length < 1000 else 1000, &subject, &who, elsewhere)
        elif region.kind == 1:
            count_words(lexicon, d.folded + region.folded.start, region.folded.length if region.folded.length < 256 else 256, &name, &who, elsewhere)
        elif region.kind == REGION_ALT:
            if not facts[<int> NAME_IN_ALT]:
                facts[<int> NAME_IN_ALT] = names_origin_joined(&who, d.folded + region.folded.start, region.folded.length)
        elif room and has_text(d, region):
            n = region.folded.length if region.folded.length < room else room
            written = region.text.length if region.text.length < room else room
            count_words(lexicon, d.folded + region.folded.start, n, &body, &who, place)
            measure_shape(d.text + region.text.start, written, &shape)
            place.offset += n
            room -= n
    count_subject(d, lexicon, &subject, facts)
    count_name(d, &name, &who, facts)
    count_links(d, lexicon, &who, link_brands, &anchors, facts)
    fill_text(&body, &shape, anchors, facts)
    facts[<int> SUBJECT_BRAND_FOREIGN] = foreign_brand(&subject, &who.origin, NULL)
    facts[<int> TEXT_BRAND_FOREIGN] = foreign_brand(&body, &who.origin, link_brands)
    facts[<int> BRAND_OWN] = is_own_brand(&who) and not facts[<int> REPLY_ELSEWHERE]
    facts[<int> GREETED_BY_NAME] = who.greeted_by_name
    facts[<int> GREETED_BY_ADDRESS] = who.greeted_by_address
    facts[<int> NAME_IN_TEXT] = who.name_hits > 0
    facts[<int> NAME_SIGNED] = who.name_signed
    facts[<int> LABEL_IN_TEXT] = who.label_hits > 0
    facts[<int> LABEL_IN_FOOTER] = who.label_in_footer
    facts[<int> LABEL_IN_COPYRIGHT] = who.label_in_copyright
    facts[<int> NAME_IN_SUBJECT] = facts[<int> NAME_DOMAIN_COMMON] == 0 and named_in(d, lexicon, &who)
    facts[<int> IMAGE_TEXTLESS] = d.html.images > 0 and body.words < 20
    facts[<int> HTML_LANGUAGE] = d.html.lang_attributes > 0
    count_attachments(d, facts)
    if d.html.parts:
        facts[<int> MAIL_TYPE] = 2 if anchors >= 5 else 1
    if facts[<int> MAIL_TYPE] == 2:
        facts[<int> NAME_LOCAL_COMMON] = 0
    facts[<int> FROM_FREE_MAIL_BULK] = facts[<int> MAIL_TYPE] == 2 and facts[<int> FROM_FREE_MAIL]
    return 0


cdef bint named_in(const Document *d, const Table *lexicon, const Identity *who) noexcept nogil:
    cdef Name subject
    cdef uint32_t i
    if d.subject.length == 0 or who.name.length < 3:
        return False
    read_name(lexicon, d.text + d.subject.start, d.subject.length, &subject)
    for i in range(subject.n_words):
        if is_name_word(&who.name, subject.words[i]):
            return True
    return contains(subject.joined, subject.length, who.name.joined, who.name.length)


cdef void count_attachments(const Document *d, float *facts) noexcept nogil:
    cdef uint32_t i, k, n, word = 0
    cdef const uint8_t *text
    cdef bint page
    for i in range(d.n_parts):
        text = d.text + d.parts[i].file_name.start
        n = d.parts[i].file_name.length
        if n < 3 or not d.parts[i].attachment:
            continue
        k = n
        while k > 1 and text[k - 1] != 46 and n - k < 8:
            k -= 1
        if text[k - 1] != 46:
            continue
        word = 0
        while k < n:
            word = word << 8 | (text[k] | 32)
            k += 1
        # "htm", "html" (the last four letters), "shtm", "svg"
        page = word in (0x68746d, 0x68746d6c, 0x7368746d, 0x737667)
        if page or d.parts[i].media == MEDIA_TEXT_HTML:
            facts[<int> ATTACHED_PAGE] = 1
        # exe scr com bat cmd pif vbs js jse wsf hta jar lnk iso img msi ps1 vbe cpl
        if word in (0x657865, 0x736372, 0x636f6d, 0x626174, 0x636d64, 0x706966, 0x766273, 0x6a73, 0x6a7365, 0x777366, 0x687461, 0x6a6172, 0x6c6e6b,
                    0x69736f, 0x696d67, 0x6d7369, 0x707331, 0x766265, 0x63706c):
            facts[<int> ATTACHED_PROGRAM] = 1


# ---------------------------------------------------------------------------------------------------------------------- for Python

def _fold(str term):
    """As the core folds text: NFKC and case folding per character."""
    return "".join(unicodedata.normalize("NFKC", character) for character in term).casefold().encode("utf-8")


cdef list _phrase_keys(bytes folded):
    """Keys of a term: of its first word, of its first two, and so on; the last is the term's own."""
    cdef bytes padded = folded + bytes(8)
    cdef const uint8_t *text = padded
    cdef uint32_t i = 0, n = <uint32_t> len(folded), end
    cdef uint64_t h, phrase = 0
    keys = []
    while i < n:
        if not ESA_CLASS[text[i]] & ESA_WORD:
            i += 1
            continue
        end = word_end(text, i, n)
        h = esa_hash(text + i, end - i)
        phrase = esa_chain(phrase, h) if keys else h
        keys.append(phrase)
        i = end
    return keys


cdef class Lexicon:
    """Word lists as one read-only table.

    `words`: category (of WORD_CATEGORIES) → words or phrases of at most six words. `domains`: list (of DOMAIN_LISTS) → domain names; "suffix" holds
    public suffixes of two labels, "odd_ending" top-level domains. `brands`: a brand's name as people write it → its own registrable domains
    (at most 500 brands; several names of one brand are separated by "|"). Unknown categories, empty and over-long terms raise ValueError.
    """

    def __cinit__(self, *, words, domains, brands):
        cdef uint32_t bits = 8, slot, mask
        cdef uint64_t key
        cdef Entry *entries
        cdef uint64_t *filters
        cdef uint8_t[::1] stored
        table = {}               # key → [mask, brand, longer]
        if unknown := set(words) - set(WORD_CATEGORIES):
            raise ValueError(f"no category is called {min(unknown)!r}")
        if unknown := set(domains) - set(DOMAIN_LISTS):
            raise ValueError(f"no list of domains is called {min(unknown)!r}")
        if len(brands) > 500:
            raise ValueError("more than 500 brands")
        for category, terms in words.items():
            for term in terms:
                self._add(table, term, 1 << WORD_CATEGORIES.index(category), 0)
        for name, hosts in domains.items():
            for host in hosts:
                table.setdefault(self._domain_key(host), [0, 0, 0])[0] |= 1 << DOMAIN_LISTS.index(name)
        self.brands = tuple(brands)
        for number, (name, hosts) in enumerate(brands.items(), 1):
            for term in name.split("|"):
                self._add(table, term, 0, number)
            for host in hosts:
                table.setdefault(self._domain_key(host), [0, 0, 0])[1] = number
        while (1 << bits) < 2 * len(table):
            bits += 1
        mask = (<uint32_t> 1 << bits) - 1
        stored = np.zeros((sizeof(Entry) << bits) + 8192, dtype=np.uint8)
        self._kept = stored
        entries = <Entry *> &stored[0]
        filters = <uint64_t *> &stored[sizeof(Entry) << bits]
        for key, (term_mask, brand, longer) in table.items():
            slot = <uint32_t> (key >> 8) & mask
            while entries[slot].key != 0:
                slot = (slot + 1) & mask
            entries[slot].key, entries[slot].mask, entries[slot].brand, entries[slot].longer = key, term_mask, brand, longer
            filters[(key >> 40 & 0xFFFF) >> 6] |= <uint64_t> 1 << (key >> 40 & 63)
        self.table.entries = entries
        self.table.filter = filters
        self.table.bits = bits

    @staticmethod
    def _add(dict table, str term, uint64_t mask, int brand):
        keys = _phrase_keys(_fold(term))
        if not 1 <= len(keys) <= MOST_PHRASE:
            raise ValueError(f"{term!r} has {len(keys)} words, a term has one to {MOST_PHRASE}")
        for key in keys[: len(keys) - 1]:
            table.setdefault(key, [0, 0, 0])[2] = 1
        entry = table.setdefault(keys[len(keys) - 1], [0, 0, 0])
        entry[0] |= mask
        entry[1] = brand or entry[1]

    @staticmethod
    def _domain_key(str host):
        cdef bytes padded = host.lower().encode("utf-8") + bytes(8)
        cdef const uint8_t *text = padded
        return domain_key(text, <uint32_t> (len(padded) - 8))


def extract_facts(messages, Lexicon lexicon not None):
    """The facts of each raw message (a buffer, or anything with `raw`), float32 [n, N_FACTS] in the order of FACT_NAMES; all finite. MemoryError only."""
    cdef Document document
    cdef Py_buffer view
    cdef int failed
    cdef Py_ssize_t i
    rows = np.zeros((len(messages), N_FACTS), dtype=np.float32)
    cdef float[:, ::1] out = rows
    if document_init(&document) != 0:
        raise MemoryError
    try:
        for i, message in enumerate(messages):
            PyObject_GetBuffer(getattr(message, "raw", message), &view, PyBUF_SIMPLE)
            try:
                with nogil:
                    document_reset(&document)
                    failed = parse_structure(&document, <const uint8_t *> view.buf, view.len) or decode_text(&document) or fold_text(&document)
                    if not failed:
                        extract_facts_of(&document, &lexicon.table, &out[i, 0])
            finally:
                PyBuffer_Release(&view)
            if failed:
                raise MemoryError
    finally:
        document_free(&document)
    return rows
