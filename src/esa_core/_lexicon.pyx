"""Word lists as one read-only table: categories of words and phrases, lists of domains, brands with the domains that are their own.

Called by `_facts` and its rooms, which look up hashes of words as they pass over a text. The lists themselves come from outside.
"""

import unicodedata

import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._words cimport ESA_CLASS, ESA_WORD, Entry, esa_chain, esa_hash, word_end

cdef extern from *:
    """
    #define MOST_PHRASE 6u       /* words in a phrase: as many may be begun at one word of a text */
    #define DOMAIN_SEED 0x13198A2E03707344ULL   /* keeps domains apart from words in one table */
    """
    const uint32_t MOST_PHRASE
    const uint64_t DOMAIN_SEED

WORD_CATEGORIES = (
    "money", "finance", "urgency", "credential", "pharma", "sex", "advance_fee", "hype", "offer", "gambling", "health", "work_at_home", "outreach",
    "removal", "guarantee", "call_to_action", "secrecy", "parcel", "second_person", "dear_customer", "account_threat", "congratulations", "technical",
    "conversational", "transactional", "footer", "first_person", "greeting", "role", "currency", "magnitude", "copyright", "unsubscribe", "dictionary",
)
cdef uint64_t DICTIONARY_WORD = <uint64_t> 1 << DICTIONARY
DOMAIN_LISTS = ("free_mail", "shortener", "free_hosting", "social", "suffix", "odd_ending")


cdef uint64_t domain_key(const uint8_t *text, uint32_t n) noexcept nogil:
    return esa_chain(DOMAIN_SEED, esa_hash(text, n))


def _fold(str term):
    """As the core folds text: NFKC and case folding per character."""
    return "".join(unicodedata.normalize("NFKC", character) for character in term).casefold().encode("utf-8")


cdef list _phrase_keys(bytes folded):
    """Keys of a term: of its first word, of its first two, and so on; the last is the term's own."""
    cdef bytes padded = folded + bytes(16)
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


cdef _add(dict table, set words, set pairs, str term, uint64_t mask, int brand):
    keys = _phrase_keys(_fold(term))
    if not 1 <= len(keys) <= MOST_PHRASE:
        raise ValueError(f"{term!r} has {len(keys)} words, a term has one to {MOST_PHRASE}")
    for key in keys[: len(keys) - 1]:
        table.setdefault(key, [0, 0, 0])[2] = 1
    entry = table.setdefault(keys[len(keys) - 1], [0, 0, 0])
    entry[0] |= mask
    entry[1] = brand or entry[1]
    if len(keys) > 1:
        pairs.add(keys[1])
    elif brand or mask & ~DICTIONARY_WORD:
        words.add(keys[0])


cdef _fill(uint64_t *filters, set keys):
    cdef uint64_t key
    for key in keys:
        filters[key >> 54] |= <uint64_t> 1 << (key >> 48 & 63)


cdef _domain_key(str host):
    cdef bytes padded = host.lower().encode("utf-8") + bytes(16)
    cdef const uint8_t *text = padded
    return domain_key(text, <uint32_t> (len(padded) - 16))


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
        words_that_tell, pairs = set(), set()
        if unknown := set(words) - set(WORD_CATEGORIES):
            raise ValueError(f"no category is called {min(unknown)!r}")
        if unknown := set(domains) - set(DOMAIN_LISTS):
            raise ValueError(f"no list of domains is called {min(unknown)!r}")
        if len(brands) > 500:
            raise ValueError("more than 500 brands")
        for category, terms in words.items():
            for term in terms:
                _add(table, words_that_tell, pairs, term, 1 << WORD_CATEGORIES.index(category), 0)
        for name, hosts in domains.items():
            for host in hosts:
                table.setdefault(_domain_key(host), [0, 0, 0])[0] |= 1 << DOMAIN_LISTS.index(name)
        self.brands = tuple(brands)
        for number, (name, hosts) in enumerate(brands.items(), 1):
            for term in name.split("|"):
                _add(table, words_that_tell, pairs, term, 0, number)
            for host in hosts:
                table.setdefault(_domain_key(host), [0, 0, 0])[1] = number
        while (1 << bits) < 2 * len(table):
            bits += 1
        mask = (<uint32_t> 1 << bits) - 1
        stored = np.zeros((sizeof(Entry) << bits) + 3 * 8192, dtype=np.uint8)
        self._kept = stored
        entries = <Entry *> &stored[0]
        filters = <uint64_t *> &stored[sizeof(Entry) << bits]
        for key, (term_mask, brand, longer) in table.items():
            slot = <uint32_t> (key >> (64 - bits))
            while entries[slot].key != 0:
                slot = (slot + 1) & mask
            entries[slot].key, entries[slot].mask, entries[slot].brand, entries[slot].longer = key, term_mask, brand, longer
        _fill(filters, set(table))
        _fill(filters + 1024, words_that_tell)
        _fill(filters + 2048, pairs)
        self.table.entries = entries
        self.table.filter = filters
        self.table.telling = filters + 1024
        self.table.pairs = filters + 2048
        self.table.shift = 64 - bits
