"""One pass over folded text: words and phrases of the lexicon, signs, and where the text speaks of those the message names.

Called by `_facts` for the subject, the display name and each region of the body. Linear: a word is looked up once alone, once with the word before
it, and once per phrase of which two words have been read (at most four).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from esa_core._lexicon cimport COPYRIGHT, CURRENCY, DICTIONARY, GREETING, MAGNITUDE
from esa_core._names cimport Identity, begins_joined, is_name_word
from esa_core._tokens cimport CURRENCY_SIGN, ESA_BLOCK, FIRST_NUMBER, TOKENS, Reading, Token, read_block
from esa_core._words cimport Entry, Table, esa_chain, esa_count_case, find, is_in_filter

cdef extern from *:
    """
    #define MOST_BRANDS 4u       /* brands of the first words that are remembered */
    #define FIRST_WORDS 25u      /* a greeting stands in them */
    #define OPENING_WORDS 80u    /* a brand claims to be the author in them */
    #define SIGNATURE 700u       /* bytes at the end in which an author signs, list footers included */
    """
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil
    const uint32_t MOST_BRANDS
    const uint32_t FIRST_WORDS
    const uint32_t OPENING_WORDS
    const uint32_t SIGNATURE


cdef void count_words(
    const Table *lexicon, const uint8_t *text, uint32_t n, Tally *tally, Identity *identity, Place place
) noexcept nogil:
    """One pass over a stretch of folded text: words and phrases of the lexicon, signs, and in the body the names that the message gives itself.

    Words are read by the batch first, and most of them are turned away by one bit of their hash, without a branch that could be guessed wrong.
    """
    cdef Token tokens[256]       # TOKENS
    cdef uint16_t chosen[256]
    cdef Reading reading
    cdef uint32_t i = 0, count, k, n_chosen
    cdef uint64_t names = identity.filter if place.body else 0
    cdef const uint8_t *name = &identity.name.joined[0]
    cdef const uint8_t *label = &identity.origin.text[identity.origin.registrable]
    cdef uint32_t body = place.body
    memset(&reading, 0, sizeof(Reading))
    reading.word = reading.first = FIRST_NUMBER
    reading.words = tally.words
    while i < n:
        count = 0
        while i < n and count <= TOKENS - ESA_BLOCK:
            i = read_block(text, i, n, tokens, &count, &reading, tally)
        n_chosen = 0
        for k in range(count):
            chosen[n_chosen] = <uint16_t> k
            n_chosen += (
                tokens[k].wanted | is_in_filter(lexicon.telling, tokens[k].hash) | is_in_filter(lexicon.pairs, tokens[k].pair)
                | (names >> (tokens[k].hash >> 58) & 1) | (body & (begins(text, &tokens[k], name) | begins(text, &tokens[k], label)))
            ) != 0
        weigh_tokens(lexicon, text, n, tokens, count, chosen, n_chosen, &reading, tally, identity, place)
    tally.words = reading.words + reading.word - reading.first


cdef inline uint32_t begins(const uint8_t *text, const Token *token, const uint8_t *joined) noexcept nogil:
    """0 if the word cannot begin what is joined of words; two octets are looked at."""
    return (text[token.at] == joined[0]) & ((text[token.at + 1] == joined[1]) | (token.length == 1))


cdef void weigh_tokens(
    const Table *lexicon, const uint8_t *text, uint32_t n, const Token *tokens, uint32_t count, const uint16_t *chosen, uint32_t n_chosen,
    Reading *reading, Tally *tally, Identity *identity, Place place,
) noexcept nogil:
    """Look the chosen tokens up, and every word behind one that begins a phrase."""
    cdef uint32_t next_chosen = 0, k = 0, j, kept
    cdef uint64_t h, mask, bits, phrase
    cdef const Token *token
    cdef const Entry *entry
    while True:
        if not reading.n_alive:
            while next_chosen < n_chosen and chosen[next_chosen] < k:
                next_chosen += 1
            if next_chosen == n_chosen:
                return
            k = chosen[next_chosen]
        if k == count:
            return
        token = &tokens[k]
        k += 1
        h = token.hash
        if token.length == 0:
            if h == CURRENCY_SIGN:
                reading.currency_word = token.word + 1
            else:
                reading.copyright_until = token.at + 100
            continue
        mask = 0
        kept = 0
        for j in range(reading.n_alive):
            phrase = esa_chain(reading.alive[j], h)
            entry = find(lexicon, phrase)
            if entry != NULL:
                mask |= take_entry(tally, reading, token, entry)
                if entry.longer:
                    reading.alive[kept] = phrase
                    kept += 1
        if is_in_filter(lexicon.pairs, token.pair):
            entry = find(lexicon, token.pair)
            if entry != NULL:
                mask |= take_entry(tally, reading, token, entry)
                if entry.longer:
                    reading.alive[kept] = token.pair
                    kept += 1
        if is_in_filter(lexicon.telling, h):
            entry = find(lexicon, h)
            if entry != NULL:
                mask |= take_entry(tally, reading, token, entry)
        reading.n_alive = kept
        if mask:
            bits = mask & ~(<uint64_t> 1 << DICTIONARY)
            while bits:
                j = count_zeros(bits)
                tally.hits[j] += 1
                bits &= bits - 1
            if (mask >> CURRENCY) & 1:
                reading.currency_word = token.word
            if (mask >> MAGNITUDE) & 1:
                reading.amount_word = token.word
            if (mask >> COPYRIGHT) & 1:
                reading.copyright_until = token.at + token.length + 100
            if (mask >> GREETING) & 1:
                reading.greeting_word = token.word
        if 48 <= text[token.at] <= 57:
            read_number(text, token, reading)
        tally.large_amount = tally.large_amount or is_large_amount(reading, token.word)
        if place.body:
            find_names(text, n, token, reading, identity, place)


cdef void read_number(const uint8_t *text, const Token *token, Reading *reading) noexcept nogil:
    """Whether digits, perhaps in groups of three, are an amount of 100,000 or more."""
    cdef uint32_t i = token.at
    if reading.number_word + 1 != token.word or token.length != 3 or not i or text[i - 1] != 44:
        reading.groups = 0
    if token.length == 3 and i and text[i - 1] == 44:
        reading.groups += 1
    reading.number_word = token.word
    if reading.groups >= 2 or token.length >= 6 or (
        reading.groups == 1 and i >= 5 and 48 <= text[i - 4] <= 57 and 48 <= text[i - 2] <= 57
    ):
        reading.amount_word = token.word


cdef inline bint is_large_amount(const Reading *reading, uint32_t word) noexcept nogil:
    """An amount and a currency within three words of each other."""
    cdef uint32_t amount = reading.amount_word, currency = reading.currency_word
    return amount and currency and amount + 3 >= currency and currency + 3 >= amount and word <= currency + 3


cdef void find_names(
    const uint8_t *text, uint32_t n, const Token *token, const Reading *reading, Identity *identity, Place place
) noexcept nogil:
    """Whether a word of the body is, or begins, the name or the label of From, or greets the recipient."""
    cdef uint32_t i = token.at, words
    cdef uint64_t h = token.hash
    cdef uint8_t c = text[i], first_of_label = identity.origin.text[identity.origin.registrable]
    cdef bint name, label, footer, signature
    if not ((identity.filter >> (h >> 58)) & 1 or c == identity.name.joined[0] or c == first_of_label):
        return
    name = is_name_word(&identity.name, h) or (
        identity.name.length >= 3 and c == identity.name.joined[0] and begins_joined(text, i, n, identity.name.joined, identity.name.length))
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
        if i < reading.copyright_until:
            identity.label_in_copyright = True
    words = reading.words + token.word - reading.first
    if words <= FIRST_WORDS:
        if is_name_word(&identity.recipient, h):
            identity.greeted_by_name = True
        elif h == identity.to_local_hash and identity.to_mailbox and reading.greeting_word and token.word <= reading.greeting_word + 2:
            identity.greeted_by_address = True


cdef inline uint64_t take_entry(Tally *tally, const Reading *reading, const Token *token, const Entry *entry) noexcept nogil:
    """The categories of a word or phrase; a brand in the first words is remembered."""
    cdef uint32_t k
    if entry.brand and reading.words + token.word - reading.first <= OPENING_WORDS:
        for k in range(tally.n_brands):
            if tally.brands[k] == entry.brand:
                return entry.mask
        if tally.n_brands < MOST_BRANDS:
            tally.brands[tally.n_brands] = entry.brand
            tally.n_brands += 1
    return entry.mask


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
