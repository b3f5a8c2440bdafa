"""Dictionary terms by their grams: each term is anchored at a gram of it that mail rarely has, and only where a text has one is it compared.

Terms of one, two and three octets are their own gram. Of a longer one, `stride` neighbouring grams of four octets are anchors, and the text
is looked at in every `stride`-th position only, so that each occurrence is met once. What the gram lets through is tested with the key, the
gram and the octets behind it that all terms of a class have; the bucket of the key gives the terms, which are compared octet by octet. The
filters are `gram_filter.h`. Called by `_automaton`.

Hostile text cannot make this slow: a position costs at most the comparison of the anchors in one bucket, which building keeps few, and
these comparisons count against the cap of matches.
"""

from libc.math cimport exp2
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._terms cimport ESA_MAX_MATCHES, MatchSink, TermList, found_term

cdef extern from *:
    """
    /* Positions marked before they are compared: their 16 KiB stay in the first cache. */
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
    uint32_t esa_gram_at(const uint8_t *p, uint32_t left, uint32_t mask)
    uint32_t esa_gram_hash(uint32_t gram, uint32_t seed)
    uint32_t esa_gram_bits(const esa_gram_filter *filter, uint32_t hash)
    bint esa_gram_may_stand(const esa_gram_filter *filter, uint32_t hash)
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
            if entry.key == key and entry.anchor <= at:
                start = at - entry.anchor
                length = entry.length
                # a term that is no longer than its key has been compared with it
                if length <= n - start and (
                    length == keys.filter.length or esa_same(terms.blob + terms.offsets[entry.term], text + start, length, n - start)
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
    cdef uint32_t block = ESA_GRAM_BLOCK * layer.filter.stride
    cdef uint32_t start = 0, to, count, number, n_kept
    while start < n:
        to = n if n - start < block else start + block
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

cdef inline double _share(uint32_t gram) noexcept nogil:
    """The share of the positions of a text that have this gram, an estimate."""
    return exp2(-0.125 * <double> gram_rarity[(gram * <uint32_t> 0x9E3779B1u) >> 16])


cdef uint32_t _anchor(
    const uint8_t *p, uint32_t length, const GramLayer *layer, const KeyClass *keys, const uint32_t *buckets
) noexcept nogil:
    """The best place for the anchors of a term, with what the terms before it took."""
    cdef uint32_t places = length - keys.filter.length - layer.filter.stride + 2
    cdef uint32_t at, k, gram, hash, times, best = 0
    cdef uint64_t key
    cdef double cost, share, lowest = 1e300
    if layer.filter.length < 4:
        return 0
    for at in range(min(places, ESA_GRAM_REACH)):
        cost = 0.0
        for k in range(layer.filter.stride):
            gram = esa_gram_at(p + at + k, length - at - k, layer.filter.mask)
            hash = esa_gram_hash(gram, layer.filter.seed)
            key = esa_key_at(p + at + k, length - at - k, keys.filter.mask)
            times = buckets[esa_key_hash(key, keys.filter.seed) >> keys.bucket_shift]
            share = _share(gram)
            # a gram that passes already costs nothing more, but for the terms behind it
            cost += share * (0.125 if esa_gram_may_stand(&layer.filter, hash) else 1.0) + share * 0.02 * times
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
    cdef uint32_t i, k, length, hash
    cdef uint64_t key_hash
    cdef const uint8_t *p
    for i in range(count):
        p = terms.blob + terms.offsets[chosen[i]]
        length = terms.offsets[chosen[i] + 1] - terms.offsets[chosen[i]]
        anchors[i] = <uint16_t> _anchor(p, length, layer, keys, buckets)
        for k in range(anchors[i], anchors[i] + layer.filter.stride):
            hash = esa_gram_hash(esa_gram_at(p + k, length - k, layer.filter.mask), layer.filter.seed)
            key_hash = esa_key_hash(esa_key_at(p + k, length - k, keys.filter.mask), keys.filter.seed)
            words[hash >> layer.filter.shift] |= esa_gram_bits(&layer.filter, hash)
            key_words[key_hash >> keys.filter.shift] |= esa_key_bits(key_hash)
            buckets[key_hash >> keys.bucket_shift] += 1
    return 0


cdef int fill_buckets(
    const TermList *terms, const uint32_t *chosen, uint32_t count, const GramLayer *layer, const KeyClass *keys, uint32_t *buckets,
    GramEntry *entries, const uint16_t *anchors,
) noexcept nogil:
    """Put the anchors into their buckets, whose counts become where they begin."""
    cdef uint32_t n_buckets = 1u << (64 - keys.bucket_shift)
    cdef uint32_t i, k, length, place, total = 0
    cdef uint64_t key
    cdef const uint8_t *p
    for i in range(n_buckets):
        total += buckets[i]
        buckets[i] = total           # the end of each bucket; filling from behind leaves its beginning
    buckets[n_buckets] = total
    for i in range(count):
        p = terms.blob + terms.offsets[chosen[i]]
        length = terms.offsets[chosen[i] + 1] - terms.offsets[chosen[i]]
        for k in range(anchors[i], anchors[i] + layer.filter.stride):
            key = esa_key_at(p + k, length - k, keys.filter.mask)
            place = <uint32_t> (esa_key_hash(key, keys.filter.seed) >> keys.bucket_shift)
            buckets[place] -= 1
            entries[buckets[place]] = GramEntry(key, chosen[i], <uint16_t> k, <uint16_t> length)
    return 0
