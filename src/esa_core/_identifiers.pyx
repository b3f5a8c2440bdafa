"""Payment card, US social security, ABA routing, CUSIP and IBAN numbers in folded text: only what passes the number's own check.

A number stands between characters that are no ASCII letters or digits. Card numbers are looked for from every group of digits on, so that one
that overlaps other groups is found; groups may be parted by one space, hyphen or full stop. Each position costs a bounded number of steps.
Called by `_program`.
"""

from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Digits of the longest card number (ISO/IEC 7812-1), and the groups people write one in; single digits may stand apart, too. */
    #define ESA_CARD_DIGITS 19u
    #define ESA_CARD_GROUPS 6u
    /* The longest IBAN (ISO 13616) and its spaces. */
    #define ESA_IBAN_LENGTH 34u

    /* 1: digit, 2: lower-case letter */
    static const uint8_t esa_alnum[256] = { ['0' ... '9'] = 1, ['a' ... 'z'] = 2 };

    /* Octets of an IBAN by country (SWIFT IBAN Registry). */
    static const char esa_iban_countries[] =
        "ad24ae23al28at20az28ba20be16bg22bh22bi27br29by28ch21cr22cy28cz24de22dj27dk18do28ee20eg29es24fi18fk18fo18fr27gb22ge22gi23gl18gr27gt28"
        "hn28hr21hu28ie22il23iq23is26it27jo30kw30kz20lb28lc32li21lt20lu20lv21ly25mc27md24me22mk19mn20mr27mt31mu30ni28nl18no15om23pk24pl28ps29"
        "pt25qa29ro24rs22ru33sa24sc31sd18se24si19sk24sm27so23st25sv28tl23tn24tr26ua29va22vg24xk20ye30";

    static uint32_t esa_iban_length(const uint8_t *country) {
        const char *at;
        for (at = esa_iban_countries; *at; at += 4)
            if (at[0] == country[0] && at[1] == country[1]) return (uint32_t)((at[2] - '0') * 10 + at[3] - '0');
        return 0;
    }

    /* Where the next digit stands, or n. */
    static uint32_t esa_next_digit(const uint8_t *text, uint32_t at, uint32_t n) {
        uint32_t k;
        while (at + 32 <= n) {
            uint8_t any = 0;
            for (k = 0; k < 32; k++) any |= (uint8_t)(text[at + k] - '0') < 10;
            if (any) break;
            at += 32;
        }
        while (at < n && (uint8_t)(text[at] - '0') >= 10) at++;
        return at;
    }
    """
    const uint32_t ESA_CARD_DIGITS
    const uint32_t ESA_CARD_GROUPS
    const uint32_t ESA_IBAN_LENGTH
    const uint8_t *esa_alnum
    uint32_t esa_iban_length(const uint8_t *country) noexcept nogil
    uint32_t esa_next_digit(const uint8_t *text, uint32_t at, uint32_t n) noexcept nogil


cdef inline bint _is_digit(uint8_t octet) noexcept nogil:
    return <uint8_t>(octet - 48) < 10


cdef inline uint32_t _group_end(const uint8_t *text, uint32_t at, uint32_t n) noexcept nogil:
    """Where the run of letters and digits that `at` stands in ends."""
    while at < n and esa_alnum[text[at]]:
        at += 1
    return at


cdef bint _is_issued(const uint8_t *digits, uint32_t n) noexcept nogil:
    """Whether a card network issues numbers that begin so, of this length."""
    cdef uint32_t two = (digits[0] - 48u) * 10 + digits[1] - 48u
    cdef uint32_t four = two * 100 + (digits[2] - 48u) * 10 + digits[3] - 48u
    if digits[0] == 52:                                          # Visa
        return n == 16 or n == 13 or n == 19
    if 51 <= two <= 55 or 2221 <= four <= 2720:                  # Mastercard
        return n == 16
    if two == 34 or two == 37:                                   # American Express
        return n == 15
    if two == 36 or two == 38 or two == 39 or 3000 <= four <= 3059 or four == 3095:    # Diners Club
        return n >= 14
    if 3528 <= four <= 3589:                                     # JCB
        return n >= 16
    if two == 62 or two == 65 or four == 6011 or 6440 <= four <= 6499:    # UnionPay, Discover
        return n >= 16
    # Maestro
    return four == 5018 or four == 5020 or four == 5038 or four == 5893 or four == 6304 or four == 6759 or 6761 <= four <= 6763


cdef bint _passes_luhn(const uint8_t *digits, uint32_t n) noexcept nogil:
    """ISO/IEC 7812-1 annex B."""
    cdef uint32_t total = 0, value, k
    for k in range(n):
        value = digits[n - 1 - k] - 48u
        if k & 1:
            value = 2 * value - 9 if value > 4 else 2 * value
        total += value
    return total % 10 == 0


cdef bint _is_card(const uint8_t *text, uint32_t start, uint32_t n) noexcept nogil:
    """Whether a card number begins with the group of digits at `start`."""
    cdef uint8_t[19] digits          # ESA_CARD_DIGITS
    cdef uint32_t at = start, end, count = 0, groups = 0, singles = 0, k
    while at < n and _is_digit(text[at]):
        end = _group_end(text, at, n)
        if count + (end - at) > ESA_CARD_DIGITS:
            return False
        groups += 1
        singles += end - at == 1
        for k in range(at, end):
            if not _is_digit(text[k]):
                return False
            digits[count] = text[k]
            count += 1
        if count >= 13 and (groups <= ESA_CARD_GROUPS or singles == groups) and _is_issued(digits, count) and _passes_luhn(digits, count):
            return True
        if end + 1 >= n or not (text[end] == c' ' or text[end] == c'-' or text[end] == c'.'):
            return False
        at = end + 1
    return False


cdef bint _is_social_security(const uint8_t *text, uint32_t start, uint32_t end, uint32_t n) noexcept nogil:
    """123-45-6789, with hyphens, full stops or spaces, within what is issued (20 CFR 422.103; area 9xx are taxpayer numbers)."""
    cdef const uint8_t *p = text + start
    cdef uint32_t k
    if end - start != 3 or n - start < 11 or p[3] != p[6] or not (p[3] == c'-' or p[3] == c'.' or p[3] == c' '):
        return False
    for k in range(11):
        if k != 3 and k != 6 and not _is_digit(p[k]):
            return False
    if n - start > 11 and esa_alnum[p[11]]:
        return False
    if p[3] != c' ' and ((n - start > 12 and p[11] == p[3] and _is_digit(p[12])) or (start > 1 and text[start - 1] == p[3] and _is_digit(text[start - 2]))):
        return False                 # a longer number
    if p[0] == c'9' or (p[0] == c'0' and p[1] == c'0' and p[2] == c'0') or (p[0] == c'6' and p[1] == c'6' and p[2] == c'6'):
        return False
    return not (p[4] == c'0' and p[5] == c'0') and not (p[7] == c'0' and p[8] == c'0' and p[9] == c'0' and p[10] == c'0')


cdef bint _is_routing(const uint8_t *p) noexcept nogil:
    """Nine digits: the Federal Reserve's ranges of the first two, and the weighted sum of all."""
    cdef uint32_t first = (p[0] - 48u) * 10 + p[1] - 48u
    cdef uint32_t total = (
        3 * (p[0] + p[3] + p[6] - 144u) + 7 * (p[1] + p[4] + p[7] - 144u) + (p[2] + p[5] + p[8] - 144u)
    )
    return total % 10 == 0 and total > 0 and (first <= 12 or 21 <= first <= 32 or 61 <= first <= 72 or first == 80)


cdef bint _is_cusip(const uint8_t *p) noexcept nogil:
    """Nine letters and digits (ANSI X9.6): issuer, mostly digits, issue, check digit."""
    cdef uint32_t total = 0, value, k, digits = 0
    if not _is_digit(p[8]):
        return False
    for k in range(8):
        if _is_digit(p[k]):
            value = p[k] - 48u
            digits += k < 5
        else:
            value = p[k] - 97u + 10
        if k & 1:
            value *= 2
        total += value // 10 + value % 10
    return digits >= 3 and (10 - total % 10) % 10 == p[8] - 48u


cdef bint _is_iban(const uint8_t *text, uint32_t start, uint32_t n) noexcept nogil:
    """ISO 13616: country, two check digits, the country's length, one space or hyphen between groups; 1 modulo 97 (ISO 7064)."""
    cdef uint8_t[34] read            # ESA_IBAN_LENGTH
    cdef uint32_t length, count = 0, at = start, remainder = 0, k, value
    if n - start < 15 or esa_alnum[text[start]] != 2 or esa_alnum[text[start + 1]] != 2:
        return False
    if not _is_digit(text[start + 2]) or not _is_digit(text[start + 3]):
        return False
    length = esa_iban_length(text + start)
    if length == 0 or length > ESA_IBAN_LENGTH:
        return False
    while count < length:
        if at < n and esa_alnum[text[at]]:
            read[count] = text[at]
            count += 1
        elif at + 1 < n and (text[at] == c' ' or text[at] == c'-') and esa_alnum[text[at + 1]]:
            pass
        else:
            return False
        at += 1
    if at < n and esa_alnum[text[at]]:
        return False
    for k in range(length):
        value = read[(k + 4) % length]
        remainder = (remainder * 10 + value - 48) % 97 if _is_digit(<uint8_t> value) else (remainder * 100 + value - 97 + 10) % 97
    return remainder == 1


cdef void find_identifiers(const uint8_t *text, uint32_t n, uint32_t wanted, Finder finder, void *context) noexcept nogil:
    """Call the finder with every number of the wanted kinds (bits 1 << Identifier) in text[:n], each kind in rising order of offsets."""
    cdef uint32_t at = 0, start, end, k
    cdef bint all_digits
    while True:
        at = esa_next_digit(text, at, n)
        if at >= n:
            return
        start = at
        while start > 0 and esa_alnum[text[start - 1]]:
            start -= 1
        end = _group_end(text, at, n)
        all_digits = start == at
        for k in range(at, end):
            if not _is_digit(text[k]):
                all_digits = False
                break
        if all_digits:
            if wanted >> <uint32_t> CARD_NUMBER & 1 and end - start <= ESA_CARD_DIGITS and _is_card(text, start, n) and finder(context, CARD_NUMBER, start):
                return
            if wanted >> <uint32_t> SOCIAL_SECURITY & 1 and _is_social_security(text, start, end, n) and finder(context, SOCIAL_SECURITY, start):
                return
            if wanted >> <uint32_t> ROUTING_NUMBER & 1 and end - start == 9 and _is_routing(text + start) and finder(context, ROUTING_NUMBER, start):
                return
        elif wanted >> <uint32_t> ACCOUNT_NUMBER & 1 and at == start + 2 and _is_iban(text, start, n) and finder(context, ACCOUNT_NUMBER, start):
            return
        if wanted >> <uint32_t> SECURITY_NUMBER & 1 and end - start == 9 and _is_cusip(text + start) and finder(context, SECURITY_NUMBER, start):
            return
        at = end
