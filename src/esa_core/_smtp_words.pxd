"""Words and paths of SMTP commands as octets (RFC 5321 section 4.1), for `_smtp`: inline, so there is no module behind this file."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    # RFC 5321 section 4.5.3.1; a HELO name is a domain.
    LOCAL_PART_LIMIT = 64
    DOMAIN_LIMIT = 255
    PATH_LIMIT = 256

cdef extern from *:
    """
    #include <stdint.h>
    /* Letters and digits; and with them the octets of an atom without the dot (RFC 5322 section 3.2.3): one bit an octet. */
    static const uint64_t esa_name_octets[4] = {0x03FF000000000000u, 0x07FFFFFE07FFFFFEu, 0, 0};
    static const uint64_t esa_atom_octets[4] = {0xA3FFACFA00000000u, 0x7FFFFFFFC7FFFFFEu, 0, 0};
    """
    const unsigned long long[4] NAME_OCTETS "esa_name_octets"
    const unsigned long long[4] ATOM_OCTETS "esa_atom_octets"


cdef inline bint is_name(uint8_t c) noexcept nogil:
    """A letter or a digit."""
    return (NAME_OCTETS[c >> 6] >> (c & 63)) & 1


cdef inline bint is_atom(uint8_t c) noexcept nogil:
    return (ATOM_OCTETS[c >> 6] >> (c & 63)) & 1


cdef inline uint8_t lower(uint8_t c) noexcept nogil:
    return <uint8_t> (c + 32) if 65 <= c <= 90 else c


cdef inline uint32_t verb_of(const uint8_t *p) noexcept nogil:
    """Four letters in upper case as one number."""
    return ((<uint32_t> (p[0] & 0xDF)) << 24) | ((<uint32_t> (p[1] & 0xDF)) << 16) | ((<uint32_t> (p[2] & 0xDF)) << 8) | (p[3] & 0xDF)


cdef inline bint is_blank(uint8_t c) noexcept nogil:
    return c == 32 or c == 9


cdef inline Py_ssize_t skip_path(const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """Length of the path p[0:] from its `<` to its `>`, which may not stand in a quoted string; -1 if it does not end."""
    cdef Py_ssize_t i = 1
    cdef bint quoted = False
    while i < n:
        if quoted:
            if p[i] == 92:
                i += 1
            elif p[i] == 34:
                quoted = False
        elif p[i] == 34:
            quoted = True
        elif p[i] == 62:
            return i + 1
        i += 1
    return -1


cdef inline Py_ssize_t common_form(const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """Place of the @ if p[0:n] is `dot-string@domain` within all limits, else -1 (which says nothing: the whole grammar decides)."""
    cdef Py_ssize_t i = 0, at, label
    if n + 2 > PATH_LIMIT:
        return -1
    while True:
        if i >= n or not is_atom(p[i]):
            return -1
        while i < n and is_atom(p[i]):
            i += 1
        if i >= n:
            return -1
        if p[i] == 64:
            break
        if p[i] != 46:
            return -1
        i += 1
    at = i
    if at > LOCAL_PART_LIMIT or n - at - 1 > DOMAIN_LIMIT:
        return -1
    i += 1
    while True:
        label = i
        while i < n and (is_name(p[i]) or p[i] == 45):
            i += 1
        if i == label or i - label > 63 or p[label] == 45 or p[i - 1] == 45:
            return -1
        if i == n:
            return at
        if p[i] != 46:
            return -1
        i += 1


cdef inline bint has_keyword(const uint8_t *p, Py_ssize_t i, Py_ssize_t n, const char *keyword, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t k
    if n - i < length:
        return False
    for k in range(length):
        if p[i + k] != <uint8_t> keyword[k] and p[i + k] != lower(<uint8_t> keyword[k]):
            return False
    return True


cdef inline bint is_hello_name(const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """Printable ASCII without white space and without what ends a comment or a string in a Received field; names in use are that odd."""
    cdef Py_ssize_t i
    if n > DOMAIN_LIMIT:
        return False
    for i in range(n):
        if p[i] <= 32 or p[i] > 126 or p[i] in (34, 40, 41, 44, 59, 60, 62, 92):
            return False
    return True


cdef inline bint is_word(const uint8_t *p, Py_ssize_t n, const char *word, Py_ssize_t length) noexcept nogil:
    return n == length and has_keyword(p, 0, n, word, length)


cdef inline bint is_web_method(const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """A browser or a script was lured here."""
    return (
        is_word(p, n, b"GET", 3) or is_word(p, n, b"PUT", 3) or is_word(p, n, b"POST", 4) or is_word(p, n, b"HEAD", 4)
        or is_word(p, n, b"PATCH", 5) or is_word(p, n, b"DELETE", 6) or is_word(p, n, b"CONNECT", 7) or is_word(p, n, b"OPTIONS", 7)
    )


cdef inline bint is_foreign(const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """A first line that no mail client sends: not a letter, or a web method."""
    cdef Py_ssize_t i = 0
    while i < n and not is_blank(p[i]):
        i += 1
    return n == 0 or not is_name(p[0]) or p[0] < 65 or is_web_method(p, i)


cdef inline str text_of(const uint8_t *p, Py_ssize_t n):
    """Surrogates stand for octets that are not UTF-8."""
    return (<bytes> p[:n]).decode("utf-8", "surrogateescape") if n > 0 else ""
