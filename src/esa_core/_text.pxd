"""Decoding and folding of a whole document; its structure has been parsed. Called by _parsed and _batch."""

from esa_core._types cimport Document

cdef int decode_text(Document *document) noexcept nogil
cdef int fold_text(Document *document) noexcept nogil
