"""Dictionary terms by their grams: each term is anchored at a gram of it that mail rarely has, and only where a text has one is it compared.

Terms of one to four octets are their own gram; of a longer one, the anchor is a gram of five octets (of four where terms of four are in the same
layer). What the gram lets through is tested with the key, the gram and the octets behind it that all terms of a class have; the bucket of the key
gives the terms, which are compared octet by octet. The filters are `gram_filter.h`. Called by `_automaton`.

Hostile text cannot make this slow: a position costs at most the comparison of the anchors in one bucket, which building keeps few, and
these comparisons count against the cap of matches.
"""

from libc.math cimport exp2
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._terms cimport ESA_MAX_MATCHES, MatchSink, TermList, found_term

cdef extern from *:
    """
    /* Positions marked before they are compared: their 16 KiB stay in the first cache; a multiple of the wide kernel's step. */
    #define ESA_GRAM_BLOCK 4096u
    /* Anchors past which buckets are fetched ahead: they do not stay in the second cache. */
    #define ESA_GRAM_AHEAD 8192u
    /* Anchors of one key before another place in the term is better, even a frequent one. */
    #define ESA_GRAM_FULL 24u
    /* Positions of a term that may be its anchor: the first ones of a long term are enough. */
    #define ESA_GRAM_REACH 96u
    /* Anchors compared that weigh as much as one match against the cap. */
    #define ESA_GRAM_WORK 16u

    #define esa_prefetch_bucket(p) __builtin_prefetch(p)

    /* Whether n octets are the same; mostly some ten, for which a call of memcmp costs more than what it does. 8 octets may be read at a. */
    static inline int esa_same(const uint8_t *a, const uint8_t *b, uint32_t n, uint32_t left) {
        uint64_t x, y = 0;
        uint32_t at;
        if (n < 8) {
            memcpy(&x, a, 8);
            if (left >= 8) memcpy(&y, b, 8);
            else memcpy(&y, b, n);
            return (x ^ y) << (64 - 8 * n) == 0;
        }
        for (at = 0; at + 8 < n; at += 8) {
            memcpy(&x, a + at, 8), memcpy(&y, b + at, 8);
            if (x != y) return 0;
        }
        memcpy(&x, a + n - 8, 8), memcpy(&y, b + n - 8, 8);
        return x == y;
    }
    """
    const uint32_t ESA_GRAM_BLOCK
    const uint32_t ESA_GRAM_AHEAD
    const uint32_t ESA_GRAM_FULL
    const uint32_t ESA_GRAM_REACH
    const uint32_t ESA_GRAM_WORK
    void esa_prefetch_bucket(const void *p) noexcept nogil
    bint esa_same(const uint8_t *a, const uint8_t *b, uint32_t n, uint32_t left) noexcept nogil

cdef extern from "gram_filter.h" nogil:
    uint32_t esa_gram_at(const uint8_t *p, uint32_t left, uint32_t length)
    uint32_t esa_window_bits(const esa_gram_filter *filter, const uint8_t *p, uint32_t left, bint late, uint32_t *word)
    uint64_t esa_key_at(const uint8_t *p, uint32_t left, uint64_t mask)
    uint64_t esa_key_hash(uint64_t key, uint64_t seed)
    uint64_t esa_key_bits(uint64_t hash)
    uint32_t esa_keep_keys(const esa_key_filter *filter, const uint8_t *text, uint32_t n, const uint32_t *found, uint32_t count, uint32_t *kept)
    uint32_t esa_find_grams_plain(const esa_gram_filter *filter, const uint8_t *text, uint32_t start, uint32_t to, uint32_t n, uint32_t *found)
    uint32_t esa_find_grams_wide(const esa_gram_filter *filter, const uint8_t *text, uint32_t start, uint32_t to, uint32_t n, uint32_t *found)
    bint esa_grams_are_wide()

cdef extern from "gram_tables.h":
    const uint8_t *gram_rarity       # [2^16] by hash: the negative binary logarithm of a gram's share of all positions, in eighths

cdef bint wide = esa_grams_are_wide()

# --- matching ---------------------------------------------------------------------------------------------------------------------

cdef inline uint32_t _bucket(const KeyClass *keys, const uint8_t *text, uint32_t n, uint32_t at) noexcept nogil:
    return <uint32_t> (esa_key_hash(esa_key_at(text + at, n - at, keys.filter.mask), keys.filter.seed) >> keys.bucket_shift)


cdef bint _compare(
    const KeyClass *keys, const TermList *terms, const uint8_t *text, uint32_t n, const uint32_t *found, uint32_t count, MatchSink *sink
) noexcept nogil:
    """All terms with an anchor at one of the positions; True: the cap is reached."""
    cdef uint32_t i, at, bucket, start, length, work = 0
    cdef uint64_t key
    cdef bint whole = keys.filter.length < 8
    cdef const GramEntry *entry
    cdef const GramEntry *end
    if keys.n_entries > ESA_GRAM_AHEAD:
        for i in range(count):
            esa_prefetch_bucket(keys.buckets + _bucket(keys, text, n, found[i]))
        for i in range(count):
            esa_prefetch_bucket(keys.entries + keys.buckets[_bucket(keys, text, n, found[i])])
    for i in range(count):
        at = found[i]
        key = esa_key_at(text + at, n - at, keys.filter.mask)
        bucket = <uint32_t> (esa_key_hash(key, keys.filter.seed) >> keys.bucket_shift)
        entry = keys.entries + keys.buckets[bucket]
        end = keys.entries + keys.buckets[bucket + 1]
        work += <uint32_t> (end - entry)
        while entry < end:
            if (whole or entry.key == key) and entry.anchor <= at:
                start = at - entry.anchor
                length = entry.length
                if length <= n - start and (
                    esa_key_at(text + start, n - start, <uint64_t> 0 - 1) << (64 - 8 * length) == entry.key << (64 - 8 * length)
                    if whole else esa_same(terms.blob + terms.offsets[entry.term], text + start, length, n - start)
                ):
                    work -= 1  # counted as a match
                    if found_term(terms, entry.term, text, start, start + length, n, sink):
                        return True
            entry += 1
    sink.visited += work // ESA_GRAM_WORK
    sink.capped = sink.visited >= ESA_MAX_MATCHES
    return sink.capped


cdef void match_grams(const GramLayer *layer, const TermList *terms, const uint8_t *text, uint32_t n, MatchSink *sink) noexcept nogil:
    """Add every match of the layer's terms in text[:n] to the sink. Nothing behind text[n - 1] is read."""
    cdef uint32_t[4104] found        # ESA_GRAM_BLOCK + 8
    cdef uint32_t[4104] kept
    cdef uint32_t start = 0, to, count, number, n_kept
    while start < n:
        to = n if n - start < ESA_GRAM_BLOCK else start + ESA_GRAM_BLOCK
        if wide and not sink.plain:
            count = esa_find_grams_wide(&layer.filter, text, start, to, n, found)
        else:
            count = esa_find_grams_plain(&layer.filter, text, start, to, n, found)
        for number in range(layer.n_classes if count else 0):
            n_kept = esa_keep_keys(&layer.classes[number].filter, text, n, found, count, kept)
            if n_kept and _compare(&layer.classes[number], terms, text, n, kept, n_kept, sink):
                return
        start = to


# --- building -----------------------------------------------------------------------------------------------------------------------

cdef inline double _share(const uint8_t *p, uint32_t left, uint32_t core) noexcept nogil:
    """The share of the positions of a text where this window begins, an estimate: that of the rarer of its grams of four octets."""
    cdef uint8_t rarity = gram_rarity[(esa_gram_at(p, left, 4) * <uint32_t> 0x9E3779B1u) >> 16]
    if core == 4:
        rarity = max(rarity, gram_rarity[(esa_gram_at(p + 1, left - 1, 4) * <uint32_t> 0x9E3779B1u) >> 16])
    return exp2(-0.125 * <double> rarity)


cdef inline bint _may_stand(const esa_gram_filter *filter, const uint8_t *p, uint32_t left) noexcept nogil:
    """Whether a window passes already, wherever it begins."""
    cdef uint32_t word, bits = esa_window_bits(filter, p, left, False, &word)
    if filter.words[word] & bits != bits:
        return False
    bits = esa_window_bits(filter, p, left, True, &word)
    return filter.words[word] & bits == bits


cdef uint32_t _anchor(
    const uint8_t *p, uint32_t length, const GramLayer *layer, const KeyClass *keys, const uint32_t *buckets
) noexcept nogil:
    """The best place for the anchor of a term, with what the terms before it took."""
    cdef uint32_t places = length - max(keys.filter.length, layer.filter.core + 1) + 1
    cdef uint32_t at, times, best = 0
    cdef uint64_t key
    cdef double cost, share, lowest = 1e300
    if layer.filter.core < 3:
        return 0
    for at in range(min(places, ESA_GRAM_REACH)):
        key = esa_key_at(p + at, length - at, keys.filter.mask)
        times = buckets[esa_key_hash(key, keys.filter.seed) >> keys.bucket_shift]
        share = _share(p + at, length - at, layer.filter.core)
        # a gram that passes already costs nothing more, but for the terms behind it
        cost = share * (0.125 if _may_stand(&layer.filter, p + at, length - at) else 1.0) + share * 0.02 * times
        if times >= ESA_GRAM_FULL:
            cost += 1e-6 * times
        if cost < lowest:
            lowest = cost
            best = at
    return best


cdef int choose_anchors(
    const TermList *terms, const uint32_t *chosen, uint32_t count, const GramLayer *layer, const KeyClass *keys, uint32_t *words,
    uint64_t *key_words, uint32_t *buckets, uint16_t *anchors,
) noexcept nogil:
    """Anchor the chosen terms one after another: set bits in the filters' words, and count the anchors in each bucket (all zeros before)."""
    cdef uint32_t i, left, word, bits
    cdef uint64_t key_hash
    cdef const uint8_t *p
    cdef bint late
    for i in range(count):
        p = terms.blob + terms.offsets[chosen[i]]
        left = terms.offsets[chosen[i] + 1] - terms.offsets[chosen[i]]
        anchors[i] = <uint16_t> _anchor(p, left, layer, keys, buckets)
        p += anchors[i]
        left -= anchors[i]
        for late in range(2):
            bits = esa_window_bits(&layer.filter, p, left, late, &word)
            words[word] |= bits
        key_hash = esa_key_hash(esa_key_at(p, left, keys.filter.mask), keys.filter.seed)
        key_words[key_hash >> keys.filter.shift] |= esa_key_bits(key_hash)
        buckets[key_hash >> keys.bucket_shift] += 1
    return 0


cdef int fill_buckets(
    const TermList *terms, const uint32_t *chosen, uint32_t count, const GramLayer *layer, const KeyClass *keys, uint32_t *buckets,
    GramEntry *entries, const uint16_t *anchors,
) noexcept nogil:
    """Put the anchors into their buckets, whose counts become where they begin."""
    cdef uint32_t n_buckets = 1u << (64 - keys.bucket_shift)
    cdef uint32_t i, length, place, total = 0
    cdef uint64_t key
    cdef const uint8_t *p
    for i in range(n_buckets):
        total += buckets[i]
        buckets[i] = total           # the end of each bucket; filling from behind leaves its beginning
    buckets[n_buckets] = total
    for i in range(count):
        p = terms.blob + terms.offsets[chosen[i]]
        length = terms.offsets[chosen[i] + 1] - terms.offsets[chosen[i]]
        key = esa_key_at(p + anchors[i], length - anchors[i], keys.filter.mask)
        place = <uint32_t> (esa_key_hash(key, keys.filter.seed) >> keys.bucket_shift)
        buckets[place] -= 1
        if keys.filter.length < 8:
            key = esa_key_at(p, length, <uint64_t> 0 - 1)
        entries[buckets[place]] = GramEntry(key, chosen[i], anchors[i], <uint16_t> length)
    return 0


def rarity(bytes text):
    """How rare a text of three octets or more is, in bits: the negative binary logarithm of the share of positions where it begins, an estimate.

    That of its rarest gram of four octets, in the text that the table was counted in; a text of three octets is as rare as its letters let it be.
    """
    cdef const uint8_t *p = text
    cdef uint32_t n = <uint32_t> len(text), at
    cdef uint8_t most = 0
    if n < 4:
        return 9.0
    for at in range(n - 3):
        most = max(most, gram_rarity[(esa_gram_at(p + at, n - at, 4) * <uint32_t> 0x9E3779B1u) >> 16])
    return 0.125 * most + 0.25 * (n - 4)
