"""One pass over folded text: words and phrases of the lexicon, signs, and where the text speaks of those the message names.

Called by `_facts` for the subject, the display name and each region of the body. Linear: a word is looked up once alone, once with the word before
it, and once per phrase of which two words have been read (at most four).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from esa_core._lexicon cimport COPYRIGHT, CURRENCY, DICTIONARY, GREETING, MAGNITUDE
from esa_core._names cimport Identity, begins_joined, is_name_word
from esa_core._tokens cimport ESA_CURRENCY_SIGN, Batch, Choice, Sign, begin_batch, count_letters, esa_in_names, read_words
from esa_core._words cimport Entry, Table, esa_chain, esa_next_high, find, is_in_filter, look_up

cdef extern from *:
    """
    #define MOST_BRANDS 4u       /* brands of the first words that are remembered */
    #define FIRST_WORDS 25u      /* a greeting stands in them */
    #define OPENING_WORDS 80u    /* a brand claims to be the author in them */
    #define SIGNATURE 700u       /* bytes at the end in which an author signs, list footers included */
    #define FIRST_NUMBER 100u    /* the number before that of the first word, so that 0 is none and some words before */
    """
    uint32_t count_zeros "__builtin_ctzll"(uint64_t bits) noexcept nogil
    const uint32_t MOST_BRANDS
    const uint32_t FIRST_WORDS
    const uint32_t OPENING_WORDS
    const uint32_t SIGNATURE
    const uint32_t FIRST_NUMBER

cdef uint64_t DICTIONARY_WORD = <uint64_t> 1 << DICTIONARY
cdef uint64_t IN_ORDER = <uint64_t> 1 << CURRENCY | <uint64_t> 1 << MAGNITUDE | <uint64_t> 1 << COPYRIGHT | <uint64_t> 1 << GREETING

cdef struct Reading:             # what goes on from one batch of tokens to the next
    uint64_t alive[6]            # phrases of which two words or more have been read, as hashes of these
    uint32_t n_alive
    uint32_t word                # number of the word read last
    uint32_t words               # less this: its number in the whole tally
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
    cdef Batch batch
    cdef Choice choice
    cdef Reading reading
    cdef uint32_t i = 0
    memset(&reading, 0, sizeof(Reading))
    memset(&choice, 0, sizeof(Choice))
    choice.telling, choice.pairs = lexicon.telling, lexicon.pairs
    if place.body:
        choice.names = identity.filter
        if identity.name.length >= 3:
            choice.begin[0][0], choice.begin[0][1] = identity.name.joined[0], identity.name.joined[1]
        if identity.origin.label >= 3:
            choice.begin[1][0] = identity.origin.text[identity.origin.registrable]
            choice.begin[1][1] = identity.origin.text[identity.origin.registrable + 1]
    reading.word = FIRST_NUMBER
    reading.words = FIRST_NUMBER - tally.words
    begin_batch(&batch)
    while i < n:
        i = read_words(&choice, text, i, n, &batch, &tally.counts)
        weigh_words(lexicon, &batch, tally)
        weigh_in_order(lexicon, text, n, &batch, &reading, tally, identity, place)
        reading.word += batch.n_words
    tally.words = reading.word - reading.words


cdef void weigh_words(const Table *lexicon, Batch *batch, Tally *tally) noexcept nogil:
    """Count the categories of single words; those whose place among other words says something are left for weigh_in_order."""
    cdef uint32_t group, k
    cdef uint64_t bits
    cdef const Entry *entry
    for group in range((batch.n_words + 63) >> 6):
        bits = batch.telling[group]
        while bits:
            k = count_zeros(bits)
            entry = look_up(lexicon, batch.hashes[(group << 6) + k + 1])
            if entry != NULL:
                if entry.brand or entry.mask & IN_ORDER:
                    batch.others[group] |= bits & (~bits + 1)
                else:
                    count_hits(tally, entry.mask & ~DICTIONARY_WORD)
            bits &= bits - 1


cdef inline void count_hits(Tally *tally, uint64_t categories) noexcept nogil:
    while categories:
        tally.hits[count_zeros(categories)] += 1
        categories &= categories - 1


cdef inline void read_sign(const Sign *sign, Reading *reading) noexcept nogil:
    if sign.kind == ESA_CURRENCY_SIGN:
        reading.currency_word = reading.word + sign.word + 1
    else:
        reading.copyright_until = sign.at + 100


cdef void weigh_in_order(
    const Table *lexicon, const uint8_t *text, uint32_t n, const Batch *batch, Reading *reading, Tally *tally, Identity *identity, Place place
) noexcept nogil:
    """Look up what depends on the words and signs before: phrases, amounts, names, brands; and every word behind one that begins a phrase."""
    cdef uint32_t k = 0, j, kept, sign = 0, at, word, group = 0
    cdef uint64_t h, mask, alone, phrase, bits = batch.others[0]
    cdef const Entry *entry
    while True:
        if not reading.n_alive:
            while not bits and group < 3:  # three more groups of 64 words
                group += 1
                bits = batch.others[group]
            if not bits:
                break
            k = (group << 6) + count_zeros(bits)
        if k >= batch.n_words:
            break
        while sign < batch.n_signs and batch.signs[sign].word <= k:
            read_sign(&batch.signs[sign], reading)
            sign += 1
        h = batch.hashes[k + 1]
        at = batch.at[k]
        word = reading.word + k + 1
        mask = alone = 0
        kept = 0
        for j in range(reading.n_alive):
            phrase = esa_chain(reading.alive[j], h)
            entry = find(lexicon, phrase)
            if entry != NULL:
                mask |= take_entry(tally, reading, word, entry)
                if entry.longer:
                    reading.alive[kept] = phrase
                    kept += 1
        if is_in_filter(lexicon.pairs, batch.pairs[k]):
            entry = look_up(lexicon, batch.pairs[k])
            if entry != NULL:
                mask |= take_entry(tally, reading, word, entry)
                if entry.longer:
                    reading.alive[kept] = batch.pairs[k]
                    kept += 1
        if (batch.telling[k >> 6] >> (k & 63)) & 1:
            entry = look_up(lexicon, h)
            if entry != NULL:
                if entry.brand or entry.mask & IN_ORDER:
                    mask |= take_entry(tally, reading, word, entry)
                else:
                    alone = entry.mask  # has been counted
        reading.n_alive = kept
        if mask:
            count_hits(tally, mask & ~(alone | DICTIONARY_WORD))
            if mask & IN_ORDER:
                if (mask >> CURRENCY) & 1:
                    reading.currency_word = word
                if (mask >> MAGNITUDE) & 1:
                    reading.amount_word = word
                if (mask >> COPYRIGHT) & 1:
                    reading.copyright_until = at + batch.length[k] + 100
                if (mask >> GREETING) & 1:
                    reading.greeting_word = word
        if 48 <= text[at] <= 57:
            read_number(text, at, batch.length[k], word, reading)
        if reading.amount_word and reading.currency_word:
            tally.large_amount = tally.large_amount or is_large_amount(reading, word)
        if place.body:
            find_names(text, n, at, h, word, reading, identity, place)
        k += 1
        # what is left of the bits: behind this word
        if k >> 6 != group:
            group = k >> 6
            bits = batch.others[group]
        else:
            bits = batch.others[group] & (~<uint64_t> 0 << (k & 63))
    while sign < batch.n_signs:
        read_sign(&batch.signs[sign], reading)
        sign += 1


cdef void read_number(const uint8_t *text, uint32_t i, uint32_t length, uint32_t word, Reading *reading) noexcept nogil:
    """Whether digits, perhaps in groups of three, are an amount of 100,000 or more."""
    if reading.number_word + 1 != word or length != 3 or not i or text[i - 1] != 44:
        reading.groups = 0
    if length == 3 and i and text[i - 1] == 44:
        reading.groups += 1
    reading.number_word = word
    if reading.groups >= 2 or length >= 6 or (
        reading.groups == 1 and i >= 5 and 48 <= text[i - 4] <= 57 and 48 <= text[i - 2] <= 57
    ):
        reading.amount_word = word


cdef inline bint is_large_amount(const Reading *reading, uint32_t word) noexcept nogil:
    """An amount and a currency within three words of each other."""
    cdef uint32_t amount = reading.amount_word, currency = reading.currency_word
    return amount + 3 >= currency and currency + 3 >= amount and word <= currency + 3


cdef void find_names(
    const uint8_t *text, uint32_t n, uint32_t i, uint64_t h, uint32_t word, const Reading *reading, Identity *identity, Place place
) noexcept nogil:
    """Whether a word of the body is, or begins, the name or the label of From, or greets the recipient."""
    cdef uint8_t c = text[i], first_of_label = identity.origin.text[identity.origin.registrable]
    cdef bint name, label, footer, signature
    if not (esa_in_names(identity.filter, h) & 1 or c == identity.name.joined[0] or c == first_of_label):
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
    if word - reading.words <= FIRST_WORDS:
        if is_name_word(&identity.recipient, h):
            identity.greeted_by_name = True
        elif h == identity.to_local_hash and identity.to_mailbox and reading.greeting_word and word <= reading.greeting_word + 2:
            identity.greeted_by_address = True


cdef inline uint64_t take_entry(Tally *tally, const Reading *reading, uint32_t word, const Entry *entry) noexcept nogil:
    """The categories of a word or phrase; a brand in the first words is remembered."""
    cdef uint32_t k
    if entry.brand and word - reading.words <= OPENING_WORDS:
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
    if not count_letters(text, n, &shape.upper, &shape.lower):
        return
    i = 0
    while True:
        i = esa_next_high(text, i, n)
        if i + 3 >= n:
            break
        a, b = text[i + 1], text[i + 2]
        if text[i] == 240 and ((a == 157 and 144 <= b <= 159) or (a == 159 and 132 <= b <= 134)):
            shape.styled += 1
        elif text[i] == 226 and (a == 146 and b >= 156 or a == 147 and b <= 169):
            shape.styled += 1
        elif (text[i] == 226 and a == 128 and 139 <= b <= 141) or (text[i] == 226 and a == 129 and b == 160) or (text[i] == 239 and a == 187 and b == 191):
            if i and is_letter(text[i - 1]) and is_letter(text[i + 3]):
                shape.broken += 1
        i += 3
