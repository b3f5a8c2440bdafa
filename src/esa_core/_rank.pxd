"""Places of values by falling size. `_batch` ranks contributions with it."""

from libc.math cimport fabs
from libc.stdint cimport int32_t


cdef inline Py_ssize_t rank(const double *values, Py_ssize_t n, int32_t *order, Py_ssize_t most) noexcept nogil:
    """Put the places of the `most` largest values that are not zero into `order`, the largest first, equal ones as they stand.

    Returns how many. It is an insertion sort: there are about a hundred, and mostly a few of them are wanted.
    """
    cdef Py_ssize_t i, at, length = 0
    for i in range(n):
        if values[i] == 0.0:
            continue
        at = length
        while at > 0 and fabs(values[order[at - 1]]) < fabs(values[i]):
            if at < most:
                order[at] = order[at - 1]
            at -= 1
        if at < most:
            order[at] = <int32_t> i
            length = min(length + 1, most)
    return length
