"""The visible text of a message with URLs, addresses and digits masked."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from esa_core._types cimport REGION_HTML_SEEN, REGION_PLAIN, REGION_SUBJECT, Document, Region

cdef extern from *:
    """
    /* Bytes of masked text whose 5-grams are taken. */
    #define ESA_MASKED_WINDOW 8192u
    """
    const uint32_t ESA_MASKED_WINDOW

cdef inline bint is_visible(const Region *region) noexcept nogil:
    return region.kind == REGION_SUBJECT or region.kind == REGION_PLAIN or region.kind == REGION_HTML_SEEN

cdef uint32_t mask_text(const Document *d, uint8_t *out, uint64_t *high) noexcept nogil
