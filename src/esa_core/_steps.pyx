"""The first steps of the pipeline by themselves, over a batch: what the benchmarks time, and nothing that the program calls."""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from esa_core._document cimport document_free, document_init, document_reset
from esa_core._mime cimport parse_structure
from esa_core._text cimport decode_body, decode_text, decode_texts, fold_text, is_text
from esa_core._types cimport MEDIA_MESSAGE, MEDIA_MULTIPART, MEDIA_TEXT_HTML, Buffer, Document

STEPS = ("structure", "bodies", "decode", "fold")


cdef int decode_bodies(Document *document, Buffer *octets, Buffer *out) noexcept nogil:
    """Every text in UTF-8, HTML with its markup, and the octets of every attachment; with the names of the header and of files."""
    cdef uint32_t index
    if decode_texts(document) < 0:
        return -1
    for index in range(document.n_parts):
        if document.parts[index].media == MEDIA_TEXT_HTML or not (
                is_text(document, index) or document.parts[index].media == MEDIA_MULTIPART or document.parts[index].media == MEDIA_MESSAGE):
            if decode_body(document, index, octets, out) < 0:
                return -1
    return 0


def run(messages, *, step):
    """Take every message up to a step: its structure in all readings; its bodies decoded, HTML as it is written; its text as seen and links; or
    that folded too.

    Returns the parts and the octets of text of all messages, for `bodies` with those of attachments. One workspace serves them all, and the
    GIL is released, as in `Engine.scan`. Raises ValueError for another step, and MemoryError.
    """
    cdef Py_ssize_t n = len(messages), i, held = 0, parts = 0, octets = 0
    cdef int last = STEPS.index(step) if step in STEPS else -1, failed = 0
    cdef Document document
    cdef Buffer work = Buffer(NULL, 0, 0), out = Buffer(NULL, 0, 0)
    cdef Py_buffer *buffers = <Py_buffer *> calloc(n + 1, sizeof(Py_buffer))
    memset(&document, 0, sizeof(Document))
    if last < 0:
        free(buffers)
        raise ValueError(f"{step!r} is none of the steps {STEPS}")
    try:
        if buffers == NULL or document_init(&document) < 0:
            raise MemoryError
        for i in range(n):
            PyObject_GetBuffer(messages[i], &buffers[i], PyBUF_SIMPLE)
            held += 1
        with nogil:
            for i in range(n):
                failed = parse_structure(&document, <const uint8_t *> buffers[i].buf, <size_t> buffers[i].len)
                if failed == 0 and last == 1:
                    out.length = 0
                    failed = decode_bodies(&document, &work, &out)
                if failed == 0 and last > 1:
                    failed = decode_text(&document)
                if failed == 0 and last > 2:
                    failed = fold_text(&document)
                if failed < 0:
                    break
                parts += document.n_parts
                octets += document.n_text + out.length
                document_reset(&document)
        if failed < 0:
            raise MemoryError
        return parts, octets
    finally:
        document_free(&document)
        free(work.data)
        free(out.data)
        for i in range(held):
            PyBuffer_Release(&buffers[i])
        free(buffers)
