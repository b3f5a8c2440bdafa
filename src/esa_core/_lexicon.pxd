from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._words cimport Table

cdef enum:                       # categories: bits of Entry.mask for words and phrases, in the order of WORD_CATEGORIES
    MONEY
    FINANCE
    URGENCY
    CREDENTIAL
    PHARMA
    SEX
    ADVANCE_FEE
    HYPE
    OFFER
    GAMBLING
    HEALTH
    WORK_AT_HOME
    OUTREACH
    REMOVAL
    GUARANTEE
    CALL_TO_ACTION
    SECRECY
    PARCEL
    SECOND_PERSON
    DEAR_CUSTOMER
    ACCOUNT_THREAT
    CONGRATULATIONS
    TECHNICAL
    CONVERSATIONAL
    TRANSACTIONAL
    FOOTER
    FIRST_PERSON
    GREETING                     # not facts by themselves from here on
    ROLE
    CURRENCY
    MAGNITUDE
    COPYRIGHT
    UNSUBSCRIBE
    DICTIONARY
    N_CATEGORIES

cdef enum:                       # lists: bits of Entry.mask for domains, in the order of DOMAIN_LISTS
    FREE_MAIL
    SHORTENER
    FREE_HOSTING
    SOCIAL
    SUFFIX
    ODD_ENDING

cdef class Lexicon:
    cdef Table table
    cdef readonly tuple brands   # names, in the order of their numbers
    cdef object _kept

cdef uint64_t domain_key(const uint8_t *text, uint32_t n) noexcept nogil
