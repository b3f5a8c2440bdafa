"""The memory of one Document. Called by whoever owns one (_parsed, _batch) and by _mime and _html, which fill it."""

from libc.stdint cimport uint8_t, uint32_t

from esa_core._types cimport Buffer, Document, Part


cdef inline const uint8_t *octets_of(const Document *document, const Part *part) noexcept nogil:
    """What the offsets of a part and of its fields count in."""
    return document.raw if part.source == 0 else document.sources[part.source].data


cdef inline size_t source_length(const Document *document, const Part *part) noexcept nogil:
    return document.raw_length if part.source == 0 else document.sources[part.source].length


cdef inline Buffer lend(Document *document) noexcept nogil:
    """The text arena as a buffer; what was appended is there after give_back."""
    return Buffer(document.text, document.n_text, document.cap_text)


cdef inline void give_back(Document *document, const Buffer *arena) noexcept nogil:
    document.text = arena.data
    document.n_text = arena.length
    document.cap_text = arena.capacity


cdef int document_init(Document *document) noexcept nogil
cdef int document_take(Document *document) noexcept nogil
cdef void document_give_back(Document *document) noexcept nogil
cdef void document_free(Document *document) noexcept nogil
cdef void document_reset(Document *document) noexcept nogil
cdef int reserve_text(Document *document, size_t more) noexcept nogil
cdef int reserve_scratch(Document *document, size_t needed) noexcept nogil
cdef bint may_read_again(Document *document, size_t length) noexcept nogil
cdef int add_source(Document *document, uint32_t part, Buffer *octets) noexcept nogil
cdef size_t document_held(const Document *document) noexcept nogil
