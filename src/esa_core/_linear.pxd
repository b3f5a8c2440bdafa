"""Scores of sparse rows against dense weights."""

from libc.stdint cimport int32_t

cdef double dot(const float *weights, const int32_t *indices, const float *values, Py_ssize_t n) noexcept nogil
cdef double mean_weight(const float *weights, const int32_t *indices, Py_ssize_t n, bint normalised) noexcept nogil

cdef class LinearModel:
    cdef object kept
    cdef const float *weights
    cdef Py_ssize_t n_weights
    cdef readonly double bias
    cdef readonly bint normalised
