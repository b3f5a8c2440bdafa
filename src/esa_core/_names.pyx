"""Domains, display names, and what they have in common.

Called by `_facts` and its rooms. Every comparison is bounded: names and labels at MOST_NAME bytes, searches at 256.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from esa_core._lexicon cimport DICTIONARY, ODD_ENDING, SUFFIX, domain_key
from esa_core._words cimport ESA_CLASS, ESA_WORD, Entry, Table, esa_equal_octets, esa_hash, find, lower_into, word_end

cdef extern from *:
    """
    #define MOST_NAME 64u        /* bytes of a display name or label that are compared: bounds the longest common part */
    """
    const uint32_t MOST_NAME


cdef uint32_t common_part(const uint8_t *a, uint32_t n, const uint8_t *b, uint32_t m) noexcept nogil:
    """Length of the longest common substring; n · length steps, both cut at MOST_NAME."""
    cdef uint64_t equal[64]      # MOST_NAME; where in b each octet of a stands, one bit each
    cdef uint64_t run[64]        # where in b the runs end that are common so far, by where they end in a
    cdef uint64_t there, inside
    cdef uint8_t copy[64]
    cdef uint32_t i, best = 0
    n = n if n < MOST_NAME else MOST_NAME
    m = m if m < MOST_NAME else MOST_NAME
    if n == 0 or m == 0:
        return 0
    memset(copy, 0, 64)
    memcpy(copy, b, m)
    inside = ~<uint64_t> 0 >> (64 - m)
    there = 0
    for i in range(n):
        equal[i] = run[i] = esa_equal_octets(copy, a[i]) & inside
        there |= run[i]
    while there:
        best += 1
        there = 0
        for i in range(n - 1, 0, -1):
            run[i] = equal[i] & (run[i - 1] << 1)
            there |= run[i]
        run[0] = 0
    return best


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


cdef void read_name(const Table *lexicon, const uint8_t *text, uint32_t n, Name *name) noexcept nogil:
    """Words of a display name; `text` is folded or becomes so for ASCII here."""
    cdef uint8_t copy[272]
    cdef uint32_t i = 0, end, length
    cdef uint64_t h
    cdef const Entry *entry
    memset(name, 0, sizeof(Name))
    n = lower_into(copy, 256, text, n)
    memset(copy + n, 0, 16)
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
