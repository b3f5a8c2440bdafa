"""Rules of style sheets, those that can decide whether text is shown; read once, found by a hash of what they are for.

Understood are selectors of an element, a class (two of one element), an identifier, and elements around it, in lists, with @media for a
desktop's screen. Of any other selector only this is kept: the colours of what it may be for are unknown. Bounded: MOST_RULES, MOST_SELECTORS
and LONGEST_CHAIN; what does not fit is left out, and its text counts as shown.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memset

from esa_core._buffer cimport equals_caseless, lower, reserve
from esa_core._colour cimport COLOUR_UNKNOWN
from esa_core._entity cimport find_element
from esa_core._style cimport P_BACKGROUND, P_COLOUR, Style, add_style, read_style, skip_blank

cdef extern from "html_tables.h" nogil:
    const uint32_t TAG_HTML, TAG_BODY

cdef extern from "words.h" nogil:
    uint64_t esa_load(const uint8_t *p)

cdef extern from "markup.h" nogil:
    uint64_t esa_lower_name(uint64_t octets)
    bint esa_has_octet(uint64_t octets, uint8_t octet)

cdef extern from *:
    """
    #define MOST_RULES 2048u       /* newsletters have some hundreds */
    #define MOST_SELECTORS 16384u  /* read in one page: bounds the cost of lists in which each is two octets */
    #define LONGEST_CHAIN 16u      /* rules whose names have one hash: more of them are an attack on the search */
    """
    const uint32_t MOST_RULES
    const uint32_t MOST_SELECTORS
    const uint32_t LONGEST_CHAIN

cdef struct Selector:
    uint32_t kind
    uint32_t name
    uint32_t tag
    uint32_t also
    uint16_t around[3]
    uint32_t n_around
    uint32_t weight
    bint vague                   # it asks for more than we understand


cdef inline uint64_t stir(uint64_t key, uint64_t word) noexcept nogil:
    key = (key ^ word) * <uint64_t>0x9E3779B97F4A7C15
    return key ^ key >> 32


cdef uint32_t name_hash(const uint8_t *name, size_t length) noexcept nogil:
    """Of a class or identifier, in any case; never 0; 8 octets behind it may be read. Escapes of CSS are passed over."""
    cdef uint64_t key = 0
    cdef uint64_t word
    cdef size_t at = 0
    cdef size_t left
    while at < length:
        left = length - at
        word = esa_load(name + at)
        if left < 8:
            word &= (<uint64_t>1 << 8 * left) - 1
        if esa_has_octet(word, 92):
            return escaped_hash(name, length)
        key = stir(key, esa_lower_name(word))
        at += 8
    return <uint32_t>key | 1


cdef uint32_t escaped_hash(const uint8_t *name, size_t length) noexcept nogil:
    """The same of a name in which there are escapes."""
    cdef uint64_t key = 0
    cdef uint64_t word = 0
    cdef size_t at
    cdef int filled = 0
    for at in range(length):
        if name[at] == 92:
            continue
        word |= <uint64_t>lower(name[at]) << filled
        filled += 8
        if filled == 64:
            key = stir(key, word)
            word = filled = 0
    if filled:
        key = stir(key, word)
    return <uint32_t>key | 1


cdef int add_rule(Sheet *sheet, const Selector *selector, const Style *style) noexcept nogil:
    """Put a rule over the one with the same selector, or behind the others; -1 for no memory."""
    cdef uint32_t chain = chain_of(selector.kind, selector.name)
    cdef uint32_t length = 0
    cdef uint32_t index
    cdef Rule *rule
    if sheet.n_rules == 0:
        sheet.memory.length = 0
        if reserve(sheet.memory, HEADS * sizeof(uint16_t) + 64 * sizeof(Rule)) < 0:
            return -1
        memset(sheet.memory.data, 0, HEADS * sizeof(uint16_t))
    index = chain_heads(sheet)[chain]
    while index:
        rule = &rules_of(sheet)[index - 1]
        if (rule.name == selector.name and rule.kind == selector.kind and rule.tag == selector.tag and rule.also == selector.also
                and rule.around[0] == selector.around[0] and rule.around[1] == selector.around[1]
                and rule.around[2] == selector.around[2]):
            add_style(&rule.style, style)
            rule.order = sheet.n_selectors
            return 0
        length += 1
        index = rule.next
    if length >= LONGEST_CHAIN or sheet.n_rules >= MOST_RULES:
        sheet.full = True
        return 0
    sheet.memory.length = HEADS * sizeof(uint16_t) + sheet.n_rules * sizeof(Rule)
    if reserve(sheet.memory, sizeof(Rule)) < 0:
        return -1
    rule = &rules_of(sheet)[sheet.n_rules]
    rule.name, rule.kind, rule.tag, rule.also = selector.name, <uint16_t>selector.kind, <uint16_t>selector.tag, selector.also
    rule.around[0], rule.around[1], rule.around[2] = selector.around[0], selector.around[1], selector.around[2]
    rule.weight, rule.order, rule.style = selector.weight, sheet.n_selectors, style[0]
    rule.next = chain_heads(sheet)[chain]
    sheet.n_rules += 1
    chain_heads(sheet)[chain] = <uint16_t>sheet.n_rules
    return 0


# ---- selectors ----

cdef inline bint is_name(uint8_t octet) noexcept nogil:
    return 97 <= (octet | 32) <= 122 or 48 <= octet <= 57 or octet == 45 or octet == 95 or octet == 92 or octet >= 128


cdef size_t name_end(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    while at < end and (is_name(source[at]) or (source[at - 1] == 92 and source[at] > 32)):
        at += 1
    return at


cdef bint usual_state(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """A pseudo-class that does not wait for the reader's hand."""
    return (end - at == 4 and (equals_caseless(source + at, b"link", 4) or equals_caseless(source + at, b"root", 4))) or (
        end - at == 7 and equals_caseless(source + at, b"visited", 7))


cdef void add_class(Selector *selector, uint32_t name) noexcept nogil:
    if selector.kind == KIND_IDENTIFIER or selector.kind == KIND_CLASS:
        selector.vague |= selector.also != 0
        selector.also = name
    else:
        selector.kind, selector.name = KIND_CLASS, name
    selector.weight += 0x100


cdef bint read_compound(const uint8_t *source, size_t *at, size_t end, Selector *selector) noexcept nogil:
    """One element's conditions; False if it is never for an element at rest."""
    cdef size_t start = at[0]
    cdef size_t here = start
    cdef uint8_t octet
    selector.kind, selector.name, selector.tag, selector.also = KIND_ANY, 0, 0, 0
    while here < end:
        octet = source[here]
        start = here + 1
        if octet == 42:
            here += 1
        elif octet == 46 or octet == 35:
            here = name_end(source, start, end)
            if octet == 46:
                add_class(selector, name_hash(source + start, here - start))
            else:
                if selector.kind == KIND_CLASS:
                    selector.vague |= selector.also != 0
                    selector.also = selector.name
                selector.kind, selector.name = KIND_IDENTIFIER, name_hash(source + start, here - start)
                selector.weight += 0x10000
        elif octet == 58:
            here = name_end(source, start, end)
            if here == start or not usual_state(source, start, here) or (here < end and source[here] == 40):
                return False
            selector.weight += 0x100
        elif octet == 91:
            while here < end and source[here] != 93:
                here += 1
            if not (here - start > 6 and equals_caseless(source + start, b"class", 5)):
                return False
            start += 5
            while start < here and not is_name(source[start]):
                start += 1
            add_class(selector, name_hash(source + start, name_end(source, start, here) - start))
            here += 1
        elif is_name(octet):
            start = here
            here = name_end(source, start + 1, end)
            selector.tag = find_element(source + start, here - start)
            if selector.tag == 0:
                return False
            selector.weight += 1
            if selector.kind == KIND_ANY:
                selector.kind, selector.name = KIND_TYPE, selector.tag
        else:
            break
    if here == at[0]:
        return False
    if selector.kind == KIND_TYPE:
        selector.tag = 0
    at[0] = here
    return True


cdef bint read_selector(const uint8_t *source, size_t at, size_t end, Selector *selector) noexcept nogil:
    """False if it can be left out."""
    cdef bint sibling
    selector.weight = selector.n_around = 0
    selector.around[0] = selector.around[1] = selector.around[2] = 0
    selector.vague = False
    at = skip_blank(source, at, end)
    while True:
        if not read_compound(source, &at, end, selector):
            return False
        sibling = False
        at = skip_blank(source, at, end)
        while at < end and source[at] in (62, 43, 126):
            sibling |= source[at] != 62
            at = skip_blank(source, at + 1, end)
        if at >= end:
            return True
        if sibling or selector.kind == KIND_CLASS or selector.kind == KIND_IDENTIFIER:
            selector.vague = True
        elif selector.kind == KIND_TYPE and selector.name != TAG_HTML and selector.name != TAG_BODY:
            if selector.n_around == MOST_AROUND:
                selector.vague = True
            else:
                selector.around[selector.n_around] = <uint16_t>selector.name
                selector.n_around += 1


cdef int add_selectors(Sheet *sheet, const uint8_t *source, size_t at, size_t end, const Style *style) noexcept nogil:
    """The same declarations for every selector of a list."""
    cdef Style colours
    cdef Selector selector
    cdef const uint8_t *comma
    cdef size_t stop
    while at < end:
        comma = <const uint8_t *>memchr(source + at, 44, end - at)
        stop = <size_t>(comma - source) if comma != NULL else end
        if sheet.n_selectors >= MOST_SELECTORS:
            sheet.full = True
            return 0
        sheet.n_selectors += 1
        if read_selector(source, at, stop, &selector):
            if not selector.vague:
                if add_rule(sheet, &selector, style) < 0:
                    return -1
            elif style.given & (<uint32_t>1 << P_COLOUR | <uint32_t>1 << P_BACKGROUND):
                colours.given = style.given & (<uint32_t>1 << P_COLOUR | <uint32_t>1 << P_BACKGROUND)
                colours.important = style.important & colours.given
                colours.value[P_COLOUR] = colours.value[P_BACKGROUND] = COLOUR_UNKNOWN
                selector.around[0] = selector.around[1] = selector.around[2] = 0
                if add_rule(sheet, &selector, &colours) < 0:
                    return -1
        at = stop + 1
    return 0


# ---- sheets ----

cdef uint32_t pixels(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """The number behind the colon of a media feature."""
    cdef uint32_t number = 0
    while at < end and not 48 <= source[at] <= 57:
        at += 1
    while at < end and 48 <= source[at] <= 57 and number < 1000000:
        number = number * 10 + (source[at] - 48)
        at += 1
    return number


cdef bint feature_holds(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """Of a window 1,000 pixels wide with a light theme."""
    if end - at > 9 and equals_caseless(source + at, b"min-width", 9) or end - at > 16 and equals_caseless(source + at, b"min-device-width", 16):
        return pixels(source, at, end) <= 1000
    if end - at > 9 and equals_caseless(source + at, b"max-width", 9) or end - at > 16 and equals_caseless(source + at, b"max-device-width", 16):
        return pixels(source, at, end) >= 1000
    return end - at > 25 and equals_caseless(source + at, b"prefers-color-scheme", 20) and source[end - 1] | 32 == 116  # light


cdef bint holds_for_screens(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """Does a media query list take in a desktop's screen?"""
    cdef size_t start
    cdef bint holds = True
    while at < end:
        if source[at] == 44:
            if holds:
                return True
            holds = True
            at += 1
        elif source[at] == 40:
            start = skip_blank(source, at + 1, end)
            at = start
            while at < end and source[at] != 41:
                at += 1
            holds = holds and feature_holds(source, start, at)
            at += 1
        elif is_name(source[at]):
            start = at
            at = name_end(source, at + 1, end)
            holds = holds and ((at - start == 6 and equals_caseless(source + start, b"screen", 6)) or at - start == 3 and (
                equals_caseless(source + start, b"all", 3) or equals_caseless(source + start, b"and", 3)) or (
                at - start == 4 and equals_caseless(source + start, b"only", 4)))
        else:
            at += 1
    return holds


cdef size_t block_end(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """Behind the brace that ends the block begun before `at`."""
    cdef const uint8_t *opened = NULL
    cdef const uint8_t *closed
    cdef size_t depth = 1
    while at < end:
        closed = <const uint8_t *>memchr(source + at, 125, end - at)
        if closed == NULL:
            return end
        while True:  # the blocks that begin in front of it
            if opened == NULL or opened < source + at:
                opened = <const uint8_t *>memchr(source + at, 123, end - at)
                if opened == NULL:
                    opened = source + end
            if opened > closed:
                break
            depth += 1
            at = <size_t>(opened - source) + 1
        depth -= 1
        at = <size_t>(closed - source) + 1
        if depth == 0:
            return at
    return end


cdef size_t skip_at_rule(const uint8_t *source, size_t at, size_t end) noexcept nogil:
    """Behind an at-rule, or behind the brace of @media if what stands in it holds."""
    cdef size_t start = at
    while at < end and source[at] != 59 and source[at] != 123:
        at += 1
    if at >= end or source[at] == 59:
        return at + 1
    if at - start > 6 and equals_caseless(source + start, b"@media", 6) and holds_for_screens(source, start + 6, at):
        return at + 1
    return block_end(source, at + 1, end)


cdef int add_sheet(Sheet *sheet, const uint8_t *source, size_t start, size_t end) noexcept nogil:
    """Read the content of a style element; -1 for no memory."""
    cdef size_t at = start
    cdef size_t brace, stop
    cdef const uint8_t *found
    cdef Style style
    while True:
        at = skip_blank(source, at, end)
        if at >= end:
            return 0
        if source[at] == 64:
            at = skip_at_rule(source, at, end)
            continue
        if source[at] in (125, 59) or (end - at >= 3 and equals_caseless(source + at, b"-->", 3)):
            at += 3 if source[at] == 45 else 1
            continue
        if end - at >= 4 and equals_caseless(source + at, b"<!--", 4):
            at += 4
            continue
        found = <const uint8_t *>memchr(source + at, 123, end - at)
        if found == NULL:
            return 0
        brace = <size_t>(found - source)
        found = <const uint8_t *>memchr(source + brace, 125, end - brace)
        stop = <size_t>(found - source) if found != NULL else end
        read_style(source + brace + 1, stop - brace - 1, &style)
        if style.given and add_selectors(sheet, source, at, brace, &style) < 0:
            return -1
        at = stop + 1
