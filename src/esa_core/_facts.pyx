"""The facts of the two hand-signed cards: what a message says (content), and how what it says of itself fits together (relation).

`extract_facts_of` reads a decoded and folded document and a lexicon and fills one row of numbers, all finite, in one pass over the folded text and one
over the links; both are bounded (ESA_FACT_WINDOW, MOST_LINKS). Received, Date and Message-ID fields are not looked at: they tell site and year.
Word lists, signs and weights come from outside. Called by `_batch` without the GIL and by `extract_facts` below.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport log2, sqrt
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memset

from esa_core._lexicon cimport *
from esa_core._link_facts cimport Url, count_links, shown_host
from esa_core._document cimport document_free, document_init, document_reset, octets_of
from esa_core._mime cimport parse_structure
from esa_core._names cimport (
    Domain, Identity, Name, common_share, contains, filter_of, has_recipient, is_name_word, is_own_brand, looks_random, made_of_words,
    names_origin_joined, read_domain, read_name, same_organisation,
)
from esa_core._tally cimport Place, Shape, Tally, count_words, is_letter, measure_shape
from esa_core._text cimport decode_text, fold_text
from esa_core._types cimport (
    ESA_FACT_WINDOW, MEDIA_TEXT_HTML, REGION_ALT, REGION_HTML_SEEN, REGION_PLAIN, Document, Region, Span,
)
from esa_core._tokens cimport esa_name_bits
from esa_core._words cimport Entry, Table, esa_hash, find, lower_into

cdef extern from *:
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil

FACT_SPACE = "facts-4"           # changes whenever a fact's meaning changes
FACT_NAMES = tuple(Fact(number).name.lower() for number in range(N_FACTS))

cdef uint64_t LURE = (
    (<uint64_t> 1 << MONEY) | (<uint64_t> 1 << FINANCE) | (<uint64_t> 1 << PHARMA) | (<uint64_t> 1 << SEX) | (<uint64_t> 1 << ADVANCE_FEE)
    | (<uint64_t> 1 << HYPE) | (<uint64_t> 1 << GAMBLING) | (<uint64_t> 1 << HEALTH) | (<uint64_t> 1 << WORK_AT_HOME)
    | (<uint64_t> 1 << CONGRATULATIONS)
)


cdef inline float density(uint32_t hits, uint32_t words) noexcept nogil:
    return <float> sqrt(hits / (words + 25.0))


cdef inline float usual_density(uint32_t hits, uint32_t words, double rate) noexcept nogil:
    """Density of what most text holds at about `rate` a word: 25 usual words are added, so that its absence in three words says nothing."""
    return <float> sqrt((hits + 25.0 * rate) / (words + 25.0))


cdef inline float share(uint32_t part, uint32_t whole) noexcept nogil:
    return <float> part / whole if whole else 0.0


cdef inline float at_most(uint32_t value, uint32_t limit) noexcept nogil:
    return <float> (value if value < limit else limit)


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
    cdef const Entry *entry
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
        entry = find(lexicon, who.to_local_hash)
        who.to_mailbox = entry != NULL and (entry.mask >> ROLE) & 1
        for i in range(who.to_local_length):
            who.to_mailbox = who.to_mailbox or 48 <= who.to_local[i] <= 57
    who.filter = filter_of(&who.name) | filter_of(&who.recipient)
    if who.to_local_hash:
        who.filter |= esa_name_bits(who.to_local_hash)
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
    facts[<int> SUBJECT_EXCLAMATIONS] = at_most(tally.counts.exclamations, 3)
    facts[<int> SUBJECT_QUESTIONS] = at_most(tally.counts.questions, 1)
    facts[<int> SUBJECT_CURRENCY] = at_most(tally.counts.currency + tally.hits[CURRENCY], 2)
    facts[<int> SUBJECT_PERCENT] = at_most(tally.counts.percent, 1)
    facts[<int> SUBJECT_SIGNS] = at_most(tally.counts.signs, 3)
    facts[<int> SUBJECT_STYLED] = shape.styled > 1
    facts[<int> SUBJECT_MIXED_SCRIPT] = tally.counts.mixed_script > 0 or shape.broken > 0
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
    facts[<int> NAME_SIGNS] = at_most(tally.counts.signs + digits + tally.counts.exclamations + tally.counts.currency + shape.styled + tally.counts.mixed_script, 3)
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
    kind = octets_of(d, &d.parts[parent]) + d.parts[parent].media_type.start
    for i in range(d.parts[parent].media_type.length):
        if kind[i] == 47:
            return not (d.parts[parent].media_type.length - i > 11 and (kind[i + 1] | 32) == 97 and (kind[i + 2] | 32) == 108)
    return True


cdef void fill_text(const Tally *tally, const Shape *shape, uint32_t anchors, float *facts) noexcept nogil:
    cdef uint32_t k
    cdef double length
    for k in range(TEXT_MONEY, TEXT_FIRST_PERSON + 1):
        facts[k] = density(tally.hits[k - TEXT_MONEY], tally.words)
    if shape.upper + shape.lower >= 20:
        facts[<int> TEXT_CAPITALS] = share(shape.upper, shape.upper + shape.lower)
    facts[<int> TEXT_EXCLAMATIONS] = density(tally.counts.exclamations, tally.words)
    facts[<int> TEXT_EXCLAMATION_RUNS] = tally.counts.exclamation_runs > 0
    facts[<int> TEXT_CURRENCY] = density(tally.counts.currency, tally.words)
    facts[<int> TEXT_PERCENT] = density(tally.counts.percent, tally.words)
    facts[<int> TEXT_LARGE_AMOUNT] = tally.large_amount
    facts[<int> TEXT_STYLED] = density(shape.styled, tally.words)
    facts[<int> TEXT_MIXED_SCRIPT] = density(tally.counts.mixed_script, tally.words)
    facts[<int> TEXT_BROKEN_WORDS] = shape.broken > 0
    facts[<int> TEXT_TECHNICAL] = usual_density(tally.hits[TECHNICAL], tally.words, 0.03)
    facts[<int> TEXT_CONVERSATIONAL] = usual_density(tally.hits[CONVERSATIONAL], tally.words, 0.02)
    facts[<int> TEXT_FIRST_PERSON] = usual_density(tally.hits[FIRST_PERSON], tally.words, 0.01)
    facts[<int> TEXT_SECOND_PERSON] = usual_density(tally.hits[SECOND_PERSON], tally.words, 0.01)
    facts[<int> TEXT_QUESTIONS] = usual_density(tally.counts.questions, tally.words, 0.002)
    length = log2((tally.words + 60.0) / (tally.counts.sentences + 4.0))  # three usual sentences of twenty words are added
    facts[<int> TEXT_SENTENCE_LENGTH] = <float> (length if length < 6 else 6)
    facts[<int> TEXT_BARE_LINK] = tally.words < 20 and (anchors > 0 or tally.counts.urls > 0)


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


def extract_facts(messages, Lexicon lexicon not None):
    """The facts of each raw message (a buffer), float32 [n, N_FACTS] in the order of FACT_NAMES; all finite. MemoryError only."""
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
            PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
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
