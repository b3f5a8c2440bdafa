"""Parameters of MAIL and RCPT, for `_smtp`."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    # what a session may offer (Machine.offers); the names are those of EHLO. SIZE, 8BITMIME and SMTPUTF8 are always known.
    OFFER_CHUNKING = 1
    OFFER_BINARYMIME = 2
    OFFER_DSN = 4
    OFFER_REQUIRETLS = 8
    OFFER_AUTH = 16
    OFFER_STARTTLS = 32
    OFFER_XCLIENT = 64

cdef class MailParameters:
    cdef:
        readonly uint64_t declared_size
        readonly str body
        readonly bint smtputf8
        readonly str auth
        readonly str ret
        readonly str envelope_id
        readonly bint requiretls

cdef class RecipientParameters:
    cdef:
        readonly str notify
        readonly str original_recipient

# The words of p[i:n], which are the parameters of a command.
cdef tuple split_parameters(const uint8_t *p, Py_ssize_t i, Py_ssize_t n)

# Read `given` into `found`; returns a fault of `_smtp_numbers`. message_size: octets allowed, 0: no limit.
cdef int read_mail_parameters(MailParameters found, tuple given, uint32_t offers, uint64_t message_size) except -1
cdef int read_recipient_parameters(RecipientParameters found, tuple given, uint32_t offers) except -1
