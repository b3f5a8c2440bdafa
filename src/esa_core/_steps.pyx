"""The first steps of the pipeline by themselves, over a batch: what the benchmarks time, and nothing that the program calls."""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from esa_core._document cimport document_free, document_init, document_reset
from esa_core._mime cimport parse_structure
from esa_core._text cimport decode_text, fold_text
from esa_core._types cimport Document

STEPS = ("structure", "decode", "fold")


def run(messages, *, step):
    """Take every message up to a step: its structure in all readings, its text and links decoded, or that folded too.

    Returns the parts and the octets of text of all messages. One workspace serves them all, and the GIL is released, as in `Engine.scan`.
    Raises ValueError for another step, and MemoryError.
    """
    cdef Py_ssize_t n = len(messages), i, held = 0, parts = 0, octets = 0
    cdef int last = STEPS.index(step) if step in STEPS else -1, failed = 0
    cdef Document document
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
                if failed == 0 and last > 0:
                    failed = decode_text(&document)
                if failed == 0 and last > 1:
                    failed = fold_text(&document)
                if failed < 0:
                    break
                parts += document.n_parts
                octets += document.n_text
                document_reset(&document)
        if failed < 0:
            raise MemoryError
        return parts, octets
    finally:
        document_free(&document)
        for i in range(held):
            PyBuffer_Release(&buffers[i])
        free(buffers)
