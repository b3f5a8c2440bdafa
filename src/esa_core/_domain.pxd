"""Domain names: the public suffix list. Called by _url."""

from libc.stdint cimport uint8_t

cdef size_t registrable_start(const uint8_t *host, size_t length) noexcept nogil
