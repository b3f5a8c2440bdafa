"""Hashed sparse features of one message, for models of tokens."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from esa_core._types cimport Document

cdef enum Family:                # bits
    HEADER_TOKENS = 1 << 0       # words of header fields, seeded with the field's name
    BODY_WORDS = 1 << 1          # words of the body as it was sent
    HEADER_GRAMS = 1 << 2        # 4-grams of the first bytes of the header
    BODY_GRAMS = 1 << 3          # 4-grams of the first bytes of the body
    MASKED_GRAMS = 1 << 4        # 5-grams of characters of the subject and the visible text, URLs, addresses and digits masked
    TEXT_WORDS = 1 << 5          # words of the decoded text
    N_FAMILIES = 6

cdef struct FeatureScratch:      # one per thread
    int32_t *indices             # features of one message, repeats of one feature are rare
    uint32_t capacity
    uint32_t ends[6]             # [N_FAMILIES] where the features of each family end in `indices`, in the order of the bits
    const float *weights         # those of each feature are prefetched: `weights + (feature & prefetched)`
    uint32_t prefetched          # 0: there are none, `weights` is other memory
    uint32_t *seen               # direct-mapped: (epoch << 20) | feature
    uint32_t epoch
    uint8_t *masked              # text with URLs, addresses and digits masked
    uint32_t masked_capacity

cdef int features_init(FeatureScratch *scratch) noexcept nogil
cdef void features_free(FeatureScratch *scratch) noexcept nogil
cdef Py_ssize_t hash_features(Document *document, uint32_t families, FeatureScratch *scratch) noexcept nogil
cdef Py_ssize_t hash_more(Document *document, uint32_t families, FeatureScratch *scratch) noexcept nogil
