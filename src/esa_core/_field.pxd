"""Values of header fields → UTF-8: encoded words, mailboxes, file names. Called by _text and _parsed."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport Buffer, Document, HeaderField, Span

cdef struct Mailbox:             # offsets in the value that was read
    Span name                    # the display name, or the comment that stands for it; quotes and escapes still in it
    Span address                 # addr-spec, without angle brackets
    bint found
    bint odd                     # of the whole list: groups, several angle brackets, addresses in comments or encoded words, quoted local parts

cdef int decode_words(const Document *document, const uint8_t *value, size_t length, Buffer *octets, Buffer *out,
                      uint64_t *flags) noexcept nogil
cdef uint32_t read_mailboxes(const uint8_t *value, size_t length, Mailbox *first) noexcept nogil
cdef int decode_phrase(const uint8_t *value, size_t length, Document *document, Buffer *out) noexcept nogil
cdef int decode_address(const Document *document, const uint8_t *value, size_t length, Buffer *octets, Buffer *out) noexcept nogil
cdef int decode_file_name(Document *document, const HeaderField *field, uint32_t which, Buffer *out, bint *more) noexcept nogil
