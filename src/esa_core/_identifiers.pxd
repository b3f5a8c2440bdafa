"""Numbers with a check of their own, found in folded text."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum Identifier:            # in the order of the names of _program.KINDS that they are
    CARD_NUMBER = 0
    SOCIAL_SECURITY = 1
    ROUTING_NUMBER = 2
    SECURITY_NUMBER = 3
    ACCOUNT_NUMBER = 4
    N_IDENTIFIERS = 5

# What is called for each find; True: no more are wanted.
ctypedef bint (*Finder)(void *context, Identifier identifier, uint32_t start) noexcept nogil

cdef void find_identifiers(const uint8_t *text, uint32_t n, uint32_t wanted, Finder finder, void *context) noexcept nogil
