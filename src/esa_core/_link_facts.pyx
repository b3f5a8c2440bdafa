"""The facts of links and images: where they lead, whose they are, what they show instead.

Called by `_facts`. Bounded: MOST_LINKS links, MOST_DOMAINS distinct domains, 256 bytes of each URL for words.
"""

from libc.math cimport log2
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memset

from esa_core._facts cimport *
from esa_core._lexicon cimport CREDENTIAL, FREE_HOSTING, FREE_MAIL, ODD_ENDING, SHORTENER, SOCIAL, UNSUBSCRIBE
from esa_core._names cimport Domain, Identity, common_share, contains, is_own_brand, names_origin, read_domain, same_organisation
from esa_core._tally cimport is_letter
from esa_core._tokens cimport ESA_BLOCK, Block, read_block
from esa_core._types cimport LINK_ANCHOR, LINK_FORM, LINK_IMAGE, LINK_TEXT, Document, Link
from esa_core._words cimport Entry, Table, esa_chain, esa_hash, esa_short_hash, is_in_filter, look_up, lower_into, word_end

cdef extern from *:
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil

cdef extern from *:
    """
    #define MOST_LINKS 512u      /* links looked at: newsletters have some hundreds; bounds the distinct-domain search */
    #define MOST_DOMAINS 48u     /* distinct registrable domains told apart; further ones count with the last */
    #include "words.h"
    /* The hash that LINK_PATHS tells targets apart by: part of the feature space, since two targets may have one. 8 octets are read at a time. */
    static inline uint64_t esa_target_mix(uint64_t h) {
        h ^= h >> 32; h *= 0x9E3779B97F4A7C15ULL; h ^= h >> 29;
        return h * 0xA0761D6478BD642FULL;
    }
    static inline uint32_t esa_target_hash(const uint8_t *p, uint32_t n) {
        uint64_t h = 0x243F6A8885A308D3ULL ^ ((uint64_t) n << 56);
        for (; n > 8; p += 8, n -= 8) h = esa_target_mix(h ^ esa_load(p));
        if (n) h = esa_target_mix(h ^ (esa_load(p) & esa_masks[n][0]));
        return (uint32_t) ((h ^ h >> 32) >> 20) & 1023;
    }
    """
    uint32_t esa_target_hash(const uint8_t *p, uint32_t n) noexcept nogil       # 0 to 1023
    const uint32_t MOST_LINKS
    const uint32_t MOST_DOMAINS

cdef struct Seen:                # a registrable domain among the links
    uint64_t hash
    uint32_t count
    uint32_t link                # index of the first link to it
    bint own
    bint odd
    bint hyphen


cdef inline float share(uint32_t part, uint32_t whole) noexcept nogil:
    return <float> part / whole if whole else 0.0


cdef inline float at_most(uint32_t value, uint32_t limit) noexcept nogil:
    return <float> (value if value < limit else limit)


cdef inline float max_of(float a, float b) noexcept nogil:
    return a if a > b else b


cdef bint read_url(const uint8_t *text, uint32_t n, Url *url) noexcept nogil:
    """Split an http or https URL (or one without scheme, //host); False for any other."""
    cdef uint32_t i = 0, end, k, colon
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
    colon = n                    # the first one of the host
    url.user = False
    url.port = False
    while end < n and text[end] not in (47, 63, 35, 92):
        if text[end] == 64:      # what stands before the last one is no host
            url.user = True
            i = end + 1
            colon = n
        elif text[end] == 58 and colon == n:
            colon = end
        end += 1
    url.path = text + end
    url.path_length = n - end
    k = colon if colon < end else end
    if i < end and text[i] == 91:
        k = i
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


cdef uint64_t words_of(const Table *lexicon, const uint8_t *text, uint32_t n, uint16_t *brand) noexcept nogil:
    """Categories of the words and phrases in a short stretch (96 bytes) of unfolded text; the first brand."""
    cdef uint8_t copy[96 + 64]   # and a block
    cdef uint32_t i = 0, at, length
    cdef uint64_t h, before = 0, mask = 0, starts, rest
    cdef Block block
    n = lower_into(copy, 96, text, n)
    memset(copy + n, 0, ESA_BLOCK)
    while i < n:
        read_block(copy + i, &block)
        block.word |= block.high & ~block.odd  # signs outside ASCII are not told from letters here
        starts = block.word & ~(block.word << 1)
        at = i + ESA_BLOCK
        while starts:
            at = count_zeros(starts)
            starts &= starts - 1
            rest = ~(block.word >> at)
            length = count_zeros(rest) if rest else ESA_BLOCK
            at += i
            if at + length >= i + ESA_BLOCK:
                length = word_end(copy, at + length, n) - at
            h = esa_short_hash(copy + at, length) if length <= 16 else esa_hash(copy + at, length)
            if is_in_filter(lexicon.telling, h):
                mask |= take_word(look_up(lexicon, h), brand)
            if before and is_in_filter(lexicon.pairs, esa_chain(before, h)):
                mask |= take_word(look_up(lexicon, esa_chain(before, h)), brand)
            before = h
            at += length
        i = at if at > i + ESA_BLOCK else i + ESA_BLOCK
    return mask


cdef inline uint64_t take_word(const Entry *entry, uint16_t *brand) noexcept nogil:
    if entry == NULL:
        return 0
    if entry.brand and brand[0] == 0:
        brand[0] = entry.brand
    return entry.mask


cdef void count_links(const Document *d, const Table *lexicon, Identity *identity, uint64_t *link_brands, uint32_t *anchors, float *facts) noexcept nogil:
    """All facts of links and images."""
    cdef Seen seen[48]
    cdef uint64_t targets[16]    # one bit per hash of a target: distinct targets, from the bits set
    cdef Domain domain, pictured, shown
    cdef Url url, shown_url
    cdef const Link *link
    cdef const uint8_t *text
    cdef uint32_t i, k, n, n_seen = 0, links = 0, own = 0, odd = 0, hyphen = 0, social = 0, top = 0
    cdef uint32_t images = 0, own_images = 0, alt = 0, distinct = 0
    cdef uint64_t mask, before_host = 0, pictured_host = 0, h
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
                h = esa_hash(url.host, url.host_length)
                if h != pictured_host:
                    read_domain(lexicon, url.host, url.host_length, &pictured)
                    pictured_host = h
                own_images += same_organisation(&pictured, &identity.origin)
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
        h = esa_target_hash(text, n if n < 120 else 120)
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
    facts[<int> LINK_PATHS] = <float> ((distinct + 3.0) / (links + 4.0))  # three of four usual links are added
    facts[<int> UNSUBSCRIBE_OWN] = unsubscribe_own and named
    facts[<int> IMAGE_ALT] = share(alt, images)
    facts[<int> IMAGE_OWN] = share(own_images, images if images < 64 else 64) if named else 0
