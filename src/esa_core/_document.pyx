"""The memory of one Document: made once per worker, used for message after message."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from esa_core._buffer cimport grow
from esa_core._types cimport (
    ESA_MAX_READINGS, ESA_PADDING, NOT_ALL_READ, Buffer, Document, HeaderField, HtmlCounts, Link, Part, Region, Source, Span,
)


cdef extern from *:
    """
    static void *esa_exchange(void **place, void *value) { return __atomic_exchange_n(place, value, __ATOMIC_ACQ_REL); }
    """
    void *esa_exchange(void **place, void *value) noexcept nogil

cdef void *spare = NULL          # a document that was given back, NULL if none: for whoever comes next


cdef enum:
    SMALL_BLOCK = 1024           # octets
    KEPT_BUFFER = 1048576        # octets of one of the 8 buffers of a document that waits for its next message


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


cdef inline int begin_with(void **memory, uint32_t *capacity, size_t size) noexcept nogil:
    # what is this small the C library hands out from a list of the thread's own
    cdef size_t items = (SMALL_BLOCK - ESA_PADDING) // size
    memory[0] = malloc(SMALL_BLOCK)
    if memory[0] == NULL:
        return -1
    capacity[0] = <uint32_t>items
    return 0


cdef int document_begin(Document *document) noexcept nogil:
    """The same for a document that is made for one message: little memory, the rest when it is needed. Only the readers of _mime and _text may
    be called with it, and those that see whether there is text."""
    memset(document, 0, sizeof(Document))
    if begin_with(<void **>&document.fields, &document.cap_fields, sizeof(HeaderField)) < 0:
        return -1
    if begin_with(<void **>&document.parts, &document.cap_parts, sizeof(Part)) < 0:
        return -1
    if begin_with(<void **>&document.regions, &document.cap_regions, sizeof(Region)) < 0:
        return -1
    return begin_with(<void **>&document.text, &document.cap_text, 1)


cdef int document_take(Document *document) noexcept nogil:
    """As document_begin, with the memory of the last document that was given back if nobody took it before."""
    cdef Document *found = <Document *>esa_exchange(&spare, NULL)
    if found == NULL:
        return document_begin(document)
    document[0] = found[0]
    free(found)
    if document.text == NULL and begin_with(<void **>&document.text, &document.cap_text, 1) < 0:
        document_free(document)
        return -1
    return 0


cdef void document_give_back(Document *document) noexcept nogil:
    """document_free, but what memory document_reset would keep waits for document_take."""
    cdef Document *kept = <Document *>malloc(sizeof(Document)) if document.structured else NULL
    if kept == NULL:
        document_free(document)
        return
    document_reset(document)
    kept[0] = document[0]
    kept = <Document *>esa_exchange(&spare, kept)
    if kept != NULL:
        document_free(kept)
        free(kept)


cdef void free_sources(Document *document) noexcept nogil:
    cdef uint32_t index
    for index in range(1, document.n_sources):
        free(document.sources[index].data)
    document.n_sources = 0


cdef void document_free(Document *document) noexcept nogil:
    free_sources(document)
    free(document.sources)
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
    free(document.marks.data)
    free(document.rules.data)
    memset(document, 0, sizeof(Document))


cdef void shrink(uint8_t **memory, uint32_t *capacity) noexcept nogil:
    # one great message must not hold its memory for the life of a worker
    if capacity[0] > KEPT_BUFFER:
        free(memory[0])
        memory[0] = NULL
        capacity[0] = 0


cdef void document_reset(Document *document) noexcept nogil:
    """Forget the contents and keep the memory, except buffers that grew past KEPT_BUFFER."""
    shrink(&document.text, &document.cap_text)
    shrink(&document.folded, &document.cap_folded)
    shrink(&document.scratch, &document.cap_scratch)
    shrink(&document.octets.data, &document.octets.capacity)
    shrink(&document.characters.data, &document.characters.capacity)
    shrink(&document.hidden.data, &document.hidden.capacity)
    shrink(&document.targets.data, &document.targets.capacity)
    shrink(&document.alternatives.data, &document.alternatives.capacity)
    shrink(&document.marks.data, &document.marks.capacity)
    if document.n_sources:
        free_sources(document)
    document.n_readings = 0
    document.budget = 0
    document.waiting = document.may_uuencode = document.eight_bit = document.passes_html = document.unusual = False
    document.raw = NULL
    document.raw_length = document.header_end = 0
    document.flags = 0
    document.n_fields = document.n_parts = document.n_regions = document.n_links = document.n_text = document.n_folded = 0
    memset(&document.html, 0, sizeof(HtmlCounts))
    document.subject = document.from_name = document.from_address = Span(0, 0)
    document.reply_to_address = document.sender_address = document.to_name = document.to_address = Span(0, 0)
    document.n_recipients = document.n_from = 0
    document.structured = document.header_decoded = document.texts_decoded = document.decoded = document.was_folded = False


cdef int reserve_text(Document *document, size_t more) noexcept nogil:
    """Room for `more` octets behind the text arena."""
    return grow(<void **>&document.text, &document.cap_text, document.n_text + more, 1)


cdef int reserve_scratch(Document *document, size_t needed) noexcept nogil:
    """Scratch of at least `needed` octets; its contents are kept when it grows."""
    return grow(<void **>&document.scratch, &document.cap_scratch, needed, 1)


cdef bint may_read_again(Document *document, size_t length) noexcept nogil:
    """Take `length` octets from what may be read again; False, and NOT_ALL_READ, when that is used up."""
    if length > document.budget or document.n_readings >= ESA_MAX_READINGS:
        document.flags |= NOT_ALL_READ
        return False
    document.budget -= length
    document.n_readings += 1
    return True


cdef int add_source(Document *document, uint32_t part, Buffer *octets) noexcept nogil:
    """Take over the memory of `octets`, which were taken out of `part`: the number of the source, or -1 for no memory."""
    cdef uint32_t first = max(document.n_sources, 1)  # 0 stands for the raw message
    if grow(<void **>&document.sources, &document.cap_sources, <size_t>first + 1, sizeof(Source)) < 0:
        return -1
    if first == 1:
        document.sources[0] = Source(NULL, 0, 0)
    if octets.data == NULL and grow(<void **>&octets.data, &octets.capacity, 1, 1) < 0:
        return -1
    memset(octets.data + octets.length, 0, ESA_PADDING)
    document.sources[first] = Source(octets.data, octets.length, part)
    octets[0] = Buffer(NULL, 0, 0)
    document.n_sources = first + 1
    return <int>first


cdef size_t document_held(const Document *document) noexcept nogil:
    """Octets of memory it holds; sources, which are freed with each message, not counted."""
    cdef size_t tables = (
        document.cap_fields * sizeof(HeaderField) + document.cap_parts * sizeof(Part) + document.cap_regions * sizeof(Region)
        + document.cap_links * sizeof(Link) + document.cap_sources * sizeof(Source)
    )
    return (
        tables + document.cap_text + document.cap_folded + document.cap_scratch + document.octets.capacity + document.characters.capacity
        + document.hidden.capacity + document.targets.capacity + document.alternatives.capacity
    )
