"""One pass over folded text: words and phrases of the lexicon, signs, and where the text speaks of those the message names.

Called by `_facts` for the subject, the display name and each region of the body. Linear: a word is hashed once and looked up once alone and once
per phrase begun (at most six).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from esa_core._lexicon cimport COPYRIGHT, CURRENCY, DICTIONARY, GREETING, MAGNITUDE
from esa_core._names cimport Identity, begins_joined, is_name_word
from esa_core._tokens cimport Block, esa_block
from esa_core._words cimport Entry, Table, esa_chain, esa_count_case, esa_hash, esa_short_hash, find, is_in_filter, word_end

cdef extern from *:
    """
    #define MOST_BRANDS 4u       /* brands of the first words that are remembered */
    #define FIRST_WORDS 25u      /* a greeting stands in them */
    #define OPENING_WORDS 80u    /* a brand claims to be the author in them */
    #define SIGNATURE 700u       /* bytes at the end in which an author signs, list footers included */
    #define TOKENS 256u          /* of a batch: small enough for the first-level cache, a block holds at most 64 */
    #define FIRST_NUMBER 100u    /* the number before that of the first word, so that 0 is none and some words before */
    """
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil
    const uint32_t MOST_BRANDS
    const uint32_t FIRST_WORDS
    const uint32_t OPENING_WORDS
    const uint32_t SIGNATURE
    const uint32_t TOKENS
    const uint32_t FIRST_NUMBER


cdef struct Token:               # a word, or a sign that words behind it depend on
    uint64_t hash                # of the word
    uint64_t pair                # of the phrase of the word before it and this one
    uint32_t at                  # offset in the text
    uint32_t length              # octets; 0: a sign
    uint32_t word                # its number in this stretch; of a sign that of the word before it
    uint32_t wanted              # 1: to be looked at whatever its hash

cdef enum Sign:                  # what stands in the place of a sign's hash
    NO_SIGN
    CURRENCY_SIGN
    COPYRIGHT_SIGN

cdef struct Reading:             # what goes on from one batch of tokens to the next
    uint64_t alive[6]            # phrases of which two words or more have been read, as hashes of these
    uint32_t n_alive
    uint64_t before              # hash of the word read last
    uint32_t word                # number of the word read last
    uint32_t first               # and of the one before this stretch
    uint32_t words               # words of the tally before this stretch
    uint32_t wanted              # 1: a currency sign stands before the next word
    uint32_t copyright_until
    uint32_t currency_word
    uint32_t amount_word
    uint32_t greeting_word
    uint32_t groups              # groups of three digits behind commas, and
    uint32_t number_word         # the number of the word that ended in them


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
    cdef uint8_t first_of_name = identity.name.joined[0] if place.body else 0
    cdef uint8_t first_of_label = identity.origin.text[identity.origin.registrable] if place.body else 0
    cdef uint8_t c
    memset(&reading, 0, sizeof(Reading))
    reading.word = reading.first = FIRST_NUMBER
    reading.words = tally.words
    while i < n:
        count = 0
        while i < n and count <= TOKENS - 64:
            i = read_block(text, i, n, tokens, &count, &reading, tally)
        n_chosen = 0
        for k in range(count):
            chosen[n_chosen] = <uint16_t> k
            c = text[tokens[k].at]
            n_chosen += (
                tokens[k].wanted | is_in_filter(lexicon.telling, tokens[k].hash) | is_in_filter(lexicon.pairs, tokens[k].pair) | ((names >> (tokens[k].hash >> 58)) & 1) | (c == first_of_name)
                | (c == first_of_label)
            ) != 0
        weigh_tokens(lexicon, text, n, tokens, count, chosen, n_chosen, &reading, tally, identity, place)
    tally.words = reading.words + reading.word - reading.first


cdef inline void add_token(
    Token *tokens, uint32_t *count, Reading *reading, uint32_t at, uint32_t length, uint64_t h, uint32_t wanted
) noexcept nogil:
    cdef Token *token = &tokens[count[0]]
    token.hash = h
    token.pair = esa_chain(reading.before, h)
    token.at = at
    token.length = length
    token.word = reading.word
    token.wanted = wanted
    count[0] += 1


cdef uint32_t read_block(
    const uint8_t *text, uint32_t i, uint32_t n, Token *tokens, uint32_t *count, Reading *reading, Tally *tally
) noexcept nogil:
    """Read 64 octets, and the word or URL that goes over their end; returns the offset behind them. At most 64 tokens are added."""
    cdef Block block
    cdef uint32_t left = n - i, stop = 64, at, end, length
    cdef uint64_t inside, starts, events, blank_next, bit, h
    cdef uint8_t c, following
    cdef Sign sign
    esa_block(text + i, &block)
    inside = (<uint64_t> 1 << left) - 1 if left < 64 else ~<uint64_t> 0
    block.word &= inside
    block.blank |= ~inside  # the end of the text ends a sentence
    blank_next = block.blank >> 1
    if left <= 64 or text[i + 64] <= 32:
        blank_next |= <uint64_t> 1 << 63
    starts = block.word & ~(block.word << 1)
    events = starts | (block.sign & inside)
    while events:
        bit = events & (~events + 1)
        events ^= bit
        at = count_zeros(bit)
        if starts & bit:
            h = ~(block.word >> at)
            length = count_zeros(h) if h else 64
            at += i
            end = at + length
            if end >= i + 64 and end < n:
                end = word_end(text, end, n)
                length = end - at
                stop = end - i
            reading.word += 1
            h = esa_short_hash(text + at, length) if length <= 8 else esa_hash(text + at, length)
            add_token(tokens, count, reading, at, length, h, reading.wanted | (48 <= text[at] <= 57))
            reading.wanted = 0
            reading.before = h
            if (block.high or stop > 64) and not 48 <= text[at] <= 57:
                tally.mixed_script += is_mixed_script(text + at, length)
            continue
        at += i
        c = text[at]
        following = text[at + 1] if at + 1 < n else 32
        if c == 58:
            if following != 47 or at + 2 >= n or text[at + 2] != 47:
                continue
            tally.urls += 1
            end = at + 3
            while end < n and text[end] > 32 and text[end] not in (34, 41, 60, 62, 93):
                end += 1
            if end - i >= 64:
                stop = end - i
                inside &= bit - 1
                break
            inside &= (bit - 1) | (~<uint64_t> 0 << (end - i))
            events &= inside
            continue
        length = 1
        sign = NO_SIGN
        if c == 36:
            sign = CURRENCY_SIGN
        elif c == 194:
            length = 2
            if following in (163, 165):
                sign = CURRENCY_SIGN
            elif following == 169:
                sign = COPYRIGHT_SIGN
        elif c == 226:
            length = 3
            if following == 130:
                sign = CURRENCY_SIGN
            elif 152 <= following <= 159 or following in (134, 135, 140, 143, 172, 173):
                tally.signs += 1
        else:
            length = 4
            tally.signs += c == 240 and following == 159
        if sign != NO_SIGN:
            add_token(tokens, count, reading, at, 0, sign, 1)
        if sign == CURRENCY_SIGN:
            tally.currency += 1
            reading.wanted = 1
        if at + length > i + stop:
            stop = at + length - i
    events = block.dot & inside & blank_next
    while events:
        tally.sentences += 1
        events &= events - 1
    events = block.mark & inside
    while events:
        at = i + count_zeros(events)
        events &= events - 1
        c = text[at]
        following = text[at + 1] if at + 1 < n else 32
        if c == 33:
            tally.exclamations += following <= 32 or following == 33
            tally.exclamation_runs += following == 33
            tally.sentences += following <= 32
        elif c == 63:
            tally.questions += following <= 32
            tally.sentences += following <= 32
        else:
            tally.percent += at > 0 and 48 <= text[at - 1] <= 57
    return i + stop


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
