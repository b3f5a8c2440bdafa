"""Parameters of MAIL and RCPT (RFC 1870, 3030, 3461, 4954, 6152, 6531, 6533, 8689): each once, each checked, kept as given. `_smtp` calls it.

A parameter whose extension the session does not offer is unknown (RFC 5321 section 4.1.1.11). What is kept is safe to send on: it holds no
white space, no control characters and no octets that are not UTF-8.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._smtp_numbers cimport F_BAD_PARAMETER, F_NONE, F_TOO_LARGE, F_UNKNOWN_PARAMETER

cdef enum:
    ENVELOPE_ID_LIMIT = 100          # RFC 3461 section 4.4
    ORIGINAL_RECIPIENT_LIMIT = 500   # RFC 3461 section 4.2
    AUTH_LIMIT = 500                 # RFC 4954 section 5


@cython.final
cdef class MailParameters:
    """Parameters of one MAIL command; empty strings where they were not given.

    declared_size: SIZE in octets, 0 if not given. body: 7BIT, 8BITMIME or BINARYMIME. auth: AUTH as xtext, or "<>". ret: FULL or HDRS.
    envelope_id: ENVID as xtext.
    """

    def __cinit__(
        self, *, uint64_t declared_size=0, str body="7BIT", bint smtputf8=False, str auth="", str ret="", str envelope_id="",
        bint requiretls=False
    ):
        self.declared_size = declared_size
        self.body = body
        self.smtputf8 = smtputf8
        self.auth = auth
        self.ret = ret
        self.envelope_id = envelope_id
        self.requiretls = requiretls

    @property
    def are_rare(self):
        """Some of auth, ret, envelope_id and requiretls is given."""
        return bool(self.requiretls or self.auth or self.ret or self.envelope_id)


@cython.final
cdef class RecipientParameters:
    """Parameters of one RCPT command; empty strings where they were not given.

    notify: NEVER, or some of SUCCESS, FAILURE and DELAY with commas between. original_recipient: ORCPT, as `rfc822;` and xtext.
    """

    def __cinit__(self, *, str notify="", str original_recipient=""):
        self.notify = notify
        self.original_recipient = original_recipient


cdef bint is_hex(Py_UCS4 c) noexcept:
    return 48 <= c <= 57 or 65 <= c <= 70


cdef bint is_xtext(str text, bint international) noexcept:
    """Printable ASCII in which + begins an octet in hexadecimal and = does not stand (RFC 3461 section 4)."""
    cdef Py_ssize_t i = 0, n = len(text)
    cdef Py_UCS4 c
    if n == 0:
        return False
    while i < n:
        c = text[i]
        if c == 43:
            if i + 2 >= n or not is_hex(text[i + 1]) or not is_hex(text[i + 2]):
                return False
            i += 2
        elif c == 61 or c < 33 or c == 127 or (c > 126 and not international) or 0xD800 <= c <= 0xDFFF or 128 <= c < 160:
            return False
        i += 1
    return True


cdef bint is_original_recipient(str text):
    """`type;address` (RFC 3461 section 4.2), the type an atom; with the type utf-8 the address may hold more than ASCII (RFC 6533)."""
    kind, mark, address = text.partition(";")
    if not mark or not kind.isascii() or not kind.replace("-", "").isalnum():
        return False
    return is_xtext(address, kind.lower() == "utf-8")


cdef bint is_notify(str text):
    if text == "NEVER":
        return True
    words = text.split(",")
    return len(set(words)) == len(words) and all([word in ("SUCCESS", "FAILURE", "DELAY") for word in words])


cdef tuple split_parameters(const uint8_t *p, Py_ssize_t i, Py_ssize_t n):
    if i >= n:
        return ()
    return tuple((<bytes> p[i:n]).decode("utf-8", "surrogateescape").split())


cdef int read_mail_parameters(MailParameters found, tuple given, uint32_t offers, uint64_t message_size) except -1:
    cdef set seen = set()
    cdef str keyword, value
    for parameter in given:
        keyword, equals, value = (<str> parameter).partition("=")
        keyword = keyword.upper()
        if keyword in seen or (equals and not value):
            return F_BAD_PARAMETER
        seen.add(keyword)
        if keyword == "SIZE":
            if not value.isascii() or not value.isdigit() or len(value) > 20:
                return F_BAD_PARAMETER
            found.declared_size = min(int(value), 0xFFFFFFFFFFFFFFFF)
        elif keyword == "BODY":
            found.body = value.upper()
            if found.body == "BINARYMIME":
                if offers & (OFFER_BINARYMIME | OFFER_CHUNKING) != OFFER_BINARYMIME | OFFER_CHUNKING:
                    return F_UNKNOWN_PARAMETER
            elif found.body != "7BIT" and found.body != "8BITMIME":
                return F_BAD_PARAMETER
        elif keyword == "SMTPUTF8":
            if equals:
                return F_BAD_PARAMETER
            found.smtputf8 = True
        elif keyword == "RET" and offers & OFFER_DSN:
            found.ret = value.upper()
            if found.ret != "FULL" and found.ret != "HDRS":
                return F_BAD_PARAMETER
        elif keyword == "ENVID" and offers & OFFER_DSN:
            if len(value) > ENVELOPE_ID_LIMIT or not is_xtext(value, False):
                return F_BAD_PARAMETER
            found.envelope_id = value
        elif keyword == "AUTH" and offers & OFFER_AUTH:
            if len(value) > AUTH_LIMIT or not is_xtext(value, False):
                return F_BAD_PARAMETER
            found.auth = value
        elif keyword == "REQUIRETLS" and offers & OFFER_REQUIRETLS:
            if equals:
                return F_BAD_PARAMETER
            found.requiretls = True
        else:
            return F_UNKNOWN_PARAMETER
    return F_TOO_LARGE if message_size and found.declared_size > message_size else F_NONE


cdef int read_recipient_parameters(RecipientParameters found, tuple given, uint32_t offers) except -1:
    cdef str keyword, value
    if not offers & OFFER_DSN:
        return F_UNKNOWN_PARAMETER
    for parameter in given:
        keyword, _, value = (<str> parameter).partition("=")
        keyword = keyword.upper()
        if keyword == "NOTIFY":
            value = value.upper()
            if found.notify or not is_notify(value):
                return F_BAD_PARAMETER
            found.notify = value
        elif keyword == "ORCPT":
            if found.original_recipient or len(value) > ORIGINAL_RECIPIENT_LIMIT or not is_original_recipient(value):
                return F_BAD_PARAMETER
            found.original_recipient = value
        else:
            return F_UNKNOWN_PARAMETER
    return F_NONE
