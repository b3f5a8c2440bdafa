"""The memory of one Document: made once per worker, used for message after message."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from esa_core._buffer cimport grow
from esa_core._types cimport Document, HeaderField, HtmlCounts, Link, Part, Region, Span


cdef int document_init(Document *document) noexcept nogil:
    """Zero the document and give it small capacities; -1 for no memory (document_free is then still right)."""
    memset(document, 0, sizeof(Document))
    if grow(<void **>&document.fields, &document.cap_fields, 64, sizeof(HeaderField)) < 0:
        return -1
    if grow(<void **>&document.parts, &document.cap_parts, 16, sizeof(Part)) < 0:
        return -1
    if grow(<void **>&document.regions, &document.cap_regions, 32, sizeof(Region)) < 0:
        return -1
    if grow(<void **>&document.links, &document.cap_links, 64, sizeof(Link)) < 0:
        return -1
    if reserve_text(document, 16384) < 0:
        return -1
    if grow(<void **>&document.folded, &document.cap_folded, 16384, 1) < 0:
        return -1
    return reserve_scratch(document, 4096)


cdef void document_free(Document *document) noexcept nogil:
    free(document.fields)
    free(document.parts)
    free(document.regions)
    free(document.links)
    free(document.text)
    free(document.folded)
    free(document.scratch)
    free(document.octets.data)
    free(document.characters.data)
    free(document.hidden.data)
    free(document.targets.data)
    free(document.alternatives.data)
    memset(document, 0, sizeof(Document))


cdef void shrink(uint8_t **memory, uint32_t *capacity) noexcept nogil:
    # one great message must not hold its memory for the life of a worker
    if capacity[0] > 4194304:
        free(memory[0])
        memory[0] = NULL
        capacity[0] = 0


cdef void document_reset(Document *document) noexcept nogil:
    """Forget the contents and keep the memory, except buffers that grew past 4 MiB."""
    shrink(&document.text, &document.cap_text)
    shrink(&document.folded, &document.cap_folded)
    shrink(&document.scratch, &document.cap_scratch)
    shrink(&document.octets.data, &document.octets.capacity)
    shrink(&document.characters.data, &document.characters.capacity)
    shrink(&document.hidden.data, &document.hidden.capacity)
    shrink(&document.targets.data, &document.targets.capacity)
    shrink(&document.alternatives.data, &document.alternatives.capacity)
    document.raw = NULL
    document.raw_length = document.header_end = 0
    document.flags = 0
    document.n_fields = document.n_parts = document.n_regions = document.n_links = document.n_text = document.n_folded = 0
    memset(&document.html, 0, sizeof(HtmlCounts))
    document.subject = document.from_name = document.from_address = Span(0, 0)
    document.reply_to_address = document.sender_address = document.to_name = document.to_address = Span(0, 0)
    document.n_recipients = document.n_from = 0
    document.structured = document.decoded = document.was_folded = False


cdef int reserve_text(Document *document, size_t more) noexcept nogil:
    """Room for `more` octets behind the text arena."""
    return grow(<void **>&document.text, &document.cap_text, document.n_text + more, 1)


cdef int reserve_scratch(Document *document, size_t needed) noexcept nogil:
    """Scratch of at least `needed` octets; its contents are kept when it grows."""
    return grow(<void **>&document.scratch, &document.cap_scratch, needed, 1)
