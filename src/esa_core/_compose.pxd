"""Canonical composition. Called by _fold."""

from libc.stdint cimport uint32_t

cdef enum:
    COMPOSE_MOST = 64            # code points of one run: a letter and the 30 marks that Unicode grants any text (UAX 15, 13), twice

cdef uint32_t compose(uint32_t *points, uint32_t count) noexcept nogil
