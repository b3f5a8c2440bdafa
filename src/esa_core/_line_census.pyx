"""What delivery must know of mail data before it goes over the wire: whether all its lines end with CR LF, and whether one begins with a dot.

One pass that compilers make vectors of. What is to be mended is mended by the caller, who knows the rules (RFC 5321 section 4.5.2); most mail needs
nothing, and then goes out as it is, uncopied.
"""

from libc.stdint cimport uint8_t

cdef extern from *:
    """
    #define ESA_CENSUS_BLOCK 240   /* octets that are counted in one octet for each kind: no more than 255 can be seen */
    """
    const Py_ssize_t ESA_CENSUS_BLOCK

cdef struct Census:
    Py_ssize_t returns   # CR
    Py_ssize_t feeds     # LF
    Py_ssize_t pairs     # CR LF
    Py_ssize_t dots      # LF and a dot behind it


cdef void _count(const uint8_t *text, Py_ssize_t n, Census *found) noexcept nogil:
    """`n` at least 1. The last octet has none behind it."""
    cdef Py_ssize_t start = 0, end, at
    cdef uint8_t returns, feeds, pairs, dots, this, following
    while start < n - 1:
        end = min(start + ESA_CENSUS_BLOCK, n - 1)
        returns = feeds = pairs = dots = 0
        for at in range(start, end):
            this = text[at]
            following = text[at + 1]
            returns += this == 13
            feeds += this == 10
            pairs += (this == 13) & (following == 10)
            dots += (this == 10) & (following == 46)
        found.returns += returns
        found.feeds += feeds
        found.pairs += pairs
        found.dots += dots
        start = end
    found.returns += text[n - 1] == 13
    found.feeds += text[n - 1] == 10


def line_census(const uint8_t[::1] text not None):
    """(CR, LF, CR LF, LF and a dot) in contiguous octets: how often each stands there, in one tuple. Releases the GIL."""
    cdef Census found = Census(0, 0, 0, 0)
    cdef Py_ssize_t n = text.shape[0]
    if n:
        with nogil:
            _count(&text[0], n, &found)
    return found.returns, found.feeds, found.pairs, found.dots
