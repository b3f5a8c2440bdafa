"""Header fields of one part as offsets. Called by _mime, _media, _field and _text."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from esa_core._boundary cimport Frame
from esa_core._types cimport Document, HeaderField, Part

cdef struct Header:              # where the MIME fields of the header just read stand; -1 if absent
    int32_t content_type
    int32_t encoding
    int32_t disposition
    uint32_t seen                # bit per Known field that stood there,
    uint32_t twice               # and that stood there again
    bint drops_lines             # what is no field does not end the header, it is dropped


cdef inline Header no_header() noexcept nogil:
    return Header(-1, -1, -1, 0, 0, False)


cdef bint begins_field(const uint8_t *raw, size_t at, size_t length) noexcept nogil
cdef int copy_fields(Document *document, uint32_t source, uint32_t target, Header *header) noexcept nogil
cdef HeaderField *find_field(Document *document, const Part *part, uint32_t known) noexcept nogil
cdef int read_header(Document *document, uint32_t index, size_t *position, size_t length, const Frame *frames, uint32_t n_frames,
                     Header *header) noexcept nogil
