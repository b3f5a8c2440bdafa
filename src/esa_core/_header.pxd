"""Header fields of one part as offsets. Called by _mime, _media, _field and _text."""

from libc.stdint cimport int32_t, uint32_t

from esa_core._boundary cimport Frame
from esa_core._types cimport Document, HeaderField, Part

cdef struct Header:              # where the MIME fields of the header just read stand; -1 if absent
    int32_t content_type
    int32_t encoding
    int32_t disposition

cdef HeaderField *find_field(Document *document, const Part *part, uint32_t known) noexcept nogil
cdef int read_header(Document *document, uint32_t index, size_t *position, const Frame *frames, uint32_t n_frames, Header *header) noexcept nogil
