"""One pass over folded text: words and phrases of the lexicon, signs, and where the text speaks of those the message names.

Called by `_facts` for the subject, the display name and each region of the body. Linear: a word is hashed once and looked up once alone and once
per phrase begun (at most six).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from esa_core._lexicon cimport COPYRIGHT, CURRENCY, DICTIONARY, GREETING, MAGNITUDE
from esa_core._names cimport Identity, begins_joined, is_name_word
from esa_core._words cimport ESA_CLASS, ESA_WORD, Entry, Table, esa_chain, esa_count_case, esa_word, find

cdef extern from *:
    """
    #define MOST_PHRASE 6u       /* words in a phrase of the lexicon */
    #define MOST_BRANDS 4u       /* brands of the first words that are remembered */
    #define FIRST_WORDS 25u      /* a greeting stands in them */
    #define OPENING_WORDS 80u    /* a brand claims to be the author in them */
    #define SIGNATURE 700u       /* bytes at the end in which an author signs, list footers included */
    """
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil
    const uint32_t MOST_PHRASE
    const uint32_t MOST_BRANDS
    const uint32_t FIRST_WORDS
    const uint32_t OPENING_WORDS
    const uint32_t SIGNATURE


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
                    elif h == identity.to_local_hash and identity.to_mailbox and greeting_word and word <= greeting_word + 2:
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
