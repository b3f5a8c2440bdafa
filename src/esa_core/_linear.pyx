"""Linear models over sparse rows: scores and contributions in batches, and the learners that make the weights.

A row is a message's features (see `_features`); a normalised row has length 1. Learners are a linear support vector machine (dual
coordinate descent, as liblinear's), logistic regression that learns on error or near the margin (TONE), and counts for naive Bayes. All
are deterministic and release the GIL.
"""

import numpy as np

from libc.math cimport exp, fabs, sqrt
from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t, uint64_t


cdef double dot(const float *weights, const int32_t *indices, const float *values, Py_ssize_t n) noexcept nogil:
    """The sum of weight x value; all indices must be valid."""
    cdef double a = 0.0, b = 0.0
    cdef Py_ssize_t i = 0
    while i + 1 < n:
        a += <double> weights[indices[i]] * values[i]
        b += <double> weights[indices[i + 1]] * values[i + 1]
        i += 2
    if i < n:
        a += <double> weights[indices[i]] * values[i]
    return a + b


cdef double mean_weight(const float *weights, const int32_t *indices, Py_ssize_t n, bint normalised) noexcept nogil:
    """As `dot`, every value 1 or, normalised, 1 / sqrt(n)."""
    cdef double a = 0.0, b = 0.0
    cdef Py_ssize_t i = 0
    while i + 1 < n:
        a += weights[indices[i]]
        b += weights[indices[i + 1]]
        i += 2
    if i < n:
        a += weights[indices[i]]
    return (a + b) / sqrt(<double> n) if normalised and n else a + b


cdef inline double _length(const float *values, Py_ssize_t n) noexcept nogil:
    """Euclidean length of a row; 1 for an empty one."""
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        total += <double> values[i] * values[i]
    return sqrt(total) if total > 0.0 else 1.0


cdef inline float _unit(Py_ssize_t n) noexcept nogil:
    """Each value of a row of n equal values that has length 1."""
    return <float> (1.0 / sqrt(<double> n)) if n else 1.0


cdef inline double _sigmoid(double x) noexcept nogil:
    return 1.0 / (1.0 + exp(-x)) if x >= 0.0 else exp(x) / (1.0 + exp(x))


cdef inline uint64_t _random(uint64_t *state) noexcept nogil:
    """splitmix64."""
    cdef uint64_t z
    state[0] += <uint64_t> 0x9E3779B97F4A7C15
    z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t> 0x94D049BB133111EB
    return z ^ (z >> 31)


def _checked(indptr, indices, values, n_weights):
    """CSR arrays of the types the kernels read; ValueError if they do not hang together. Values that are None become none at all."""
    indptr = np.ascontiguousarray(indptr, np.int64)
    indices = np.ascontiguousarray(indices, np.int32)
    fits = values is None or len(values) == len(indices)
    values = np.ascontiguousarray(() if values is None else values, np.float32)
    if not fits or len(indptr) < 1 or indptr[0] != 0 or indptr[len(indptr) - 1] != len(indices) or (np.diff(indptr) < 0).any():
        raise ValueError("indptr, indices and values are not the arrays of one sparse matrix")
    if len(indices) and (indices.min() < 0 or indices.max() >= n_weights):
        raise ValueError(f"an index is outside 0 ... {n_weights - 1}")
    return indptr, indices, values


def _signs(labels, n):
    labels = np.ascontiguousarray(labels, np.bool_)
    if labels.shape != (n,):
        raise ValueError(f"{n} rows, but labels of shape {labels.shape}")
    return np.where(labels, 1, -1).astype(np.int8)


cdef class LinearModel:
    """Weights float32 [n_weights] and a bias in log-odds; `normalised`: rows are scaled to length 1 before they meet the weights."""

    def __cinit__(self, weights, double bias=0.0, *, bint normalised=False):
        cdef const float[::1] view
        self.kept = np.ascontiguousarray(weights, np.float32).reshape(-1)
        if len(self.kept) == 0 or not np.isfinite(self.kept).all():
            raise ValueError("weights must be finite numbers, at least one")
        view = self.kept
        self.weights = &view[0]
        self.n_weights = len(self.kept)
        self.bias = bias
        self.normalised = normalised

    def logits(self, indptr, indices, values):
        """Log-odds float64 [n] of the rows of a CSR matrix. ValueError if its arrays do not fit."""
        indptr, indices, values = _checked(indptr, indices, values, self.n_weights)
        cdef const int64_t[::1] starts = indptr
        cdef const int32_t *columns = NULL
        cdef const float *data = NULL
        cdef const int32_t[::1] index_view = indices
        cdef const float[::1] value_view = values
        cdef Py_ssize_t n = len(indptr) - 1, i, a, k
        cdef double[::1] out
        cdef double total
        result = np.empty(n, np.float64)
        out = result
        if len(indices):
            columns = &index_view[0]
            data = &value_view[0]
        with nogil:
            for i in range(n):
                a = starts[i]
                k = starts[i + 1] - a
                total = dot(self.weights, columns + a, data + a, k)
                out[i] = self.bias + (total / _length(data + a, k) if self.normalised else total)
        return result

    def contributions(self, indptr, indices, values):
        """Log-odds float64 [nnz] that each entry of the matrix adds; with the bias those of a row sum to its logit."""
        indptr, indices, values = _checked(indptr, indices, values, self.n_weights)
        added = self.kept[indices].astype(np.float64) * values
        if self.normalised:
            added /= _length_of_row(indptr, values)
        return added


def normalise(indptr, indices, values):
    """A copy of `values` in which every row has length 1, except rows of nothing but zeros."""
    return (values / _length_of_row(np.ascontiguousarray(indptr, np.int64), values)).astype(np.float32)


def _length_of_row(indptr, values):
    """For each value the length of its row; 1 in a row of zeros."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    lengths = np.sqrt(np.bincount(rows, np.asarray(values, np.float64) ** 2, len(indptr) - 1))
    lengths[lengths == 0.0] = 1.0
    return lengths[rows]


def fit_svm(
    indptr, indices, values, labels, *, n_weights, rows=None, double cost=100.0, int epochs=300, double tolerance=1e-3, uint64_t seed=0
):
    """Weights float64 [n_weights] and bias of a linear support vector machine with squared hinge loss.

    Dual coordinate descent (Hsieh et al. 2008) without shrinking, over rows as they are given; the bias is the weight of a constant 1.
    `values` None: every entry of a row of k entries is 1 / sqrt(k), so that rows of ones need no memory for their values. `labels` are
    true for spam. `rows`: learn from these rows only (int64; the rows themselves are not copied). Stops when no projected gradient of
    an epoch exceeds `tolerance`, or after `epochs`. Same input, same output.
    """
    cdef bint given = values is not None
    indptr, indices, values = _checked(indptr, indices, values, n_weights)
    cdef const int64_t[::1] starts = indptr
    cdef const int32_t[::1] columns = indices
    cdef const float[::1] data = values
    cdef Py_ssize_t n = len(indptr) - 1, i, j, k, swap, n_rows
    cdef const int8_t[::1] y = _signs(labels, n)
    weights = np.zeros(n_weights, np.float64)
    cdef double[::1] w = weights
    cdef double[::1] alpha = np.zeros(n, np.float64)
    cdef double[::1] curvature = np.empty(n, np.float64)
    order_array = np.arange(n, dtype=np.int64) if rows is None else np.array(rows, np.int64)
    if len(order_array) and (order_array.min() < 0 or order_array.max() >= n):
        raise ValueError(f"a row is outside 0 ... {n - 1}")
    cdef int64_t[::1] order = order_array
    n_rows = len(order_array)
    cdef double bias = 0.0, diagonal = 0.5 / cost, gradient, projected, worst, step, old, total
    cdef float value
    cdef uint64_t state = seed
    cdef int _epoch
    with nogil:
        for i in range(n):
            curvature[i] = diagonal + 1.0
            if given:
                for j in range(starts[i], starts[i + 1]):
                    curvature[i] += <double> data[j] * data[j]
            else:
                value = _unit(starts[i + 1] - starts[i])
                curvature[i] += <double> value * value * (starts[i + 1] - starts[i])
        for _epoch in range(epochs):
            for i in range(n_rows - 1, 0, -1):
                j = <Py_ssize_t> (_random(&state) % <uint64_t> (i + 1))
                swap = order[i]
                order[i] = order[j]
                order[j] = swap
            worst = 0.0
            for k in range(n_rows):
                i = order[k]
                total = 0.0
                value = 1.0
                if given:
                    for j in range(starts[i], starts[i + 1]):
                        total += w[columns[j]] * data[j]
                else:
                    for j in range(starts[i], starts[i + 1]):
                        total += w[columns[j]]
                    value = _unit(starts[i + 1] - starts[i])
                gradient = y[i] * (bias + total * value) - 1.0 + alpha[i] * diagonal
                projected = gradient if alpha[i] > 0.0 or gradient < 0.0 else 0.0
                worst = max(worst, fabs(projected))
                if projected == 0.0:
                    continue
                old = alpha[i]
                alpha[i] = max(old - gradient / curvature[i], 0.0)
                step = (alpha[i] - old) * y[i]
                bias += step
                step *= value
                if given:
                    for j in range(starts[i], starts[i + 1]):
                        w[columns[j]] += step * data[j]
                else:
                    for j in range(starts[i], starts[i + 1]):
                        w[columns[j]] += step
            if worst < tolerance:
                break
    return weights, bias


def fit_platt(scores, labels):
    """(slope, intercept) so that 1 / (1 + exp(-(slope * score + intercept))) is the probability of spam (Platt 1999, targets as there).

    `scores` float64 [n] of messages the scoring model was not trained on; both classes must be present. Newton's method with step halving.
    """
    scores = np.ascontiguousarray(scores, np.float64)
    spam = np.ascontiguousarray(labels, np.bool_)
    n_spam, n_ham = int(spam.sum()), int((~spam).sum())
    if not n_spam or not n_ham:
        raise ValueError("both classes are needed to calibrate")
    target = np.where(spam, (n_spam + 1.0) / (n_spam + 2.0), 1.0 / (n_ham + 2.0))

    def loss(a, b):
        z = a * scores + b
        return float((np.logaddexp(0.0, z) - target * z).sum())

    slope, intercept = 0.0, float(np.log((n_spam + 1.0) / (n_ham + 1.0)))
    now = loss(slope, intercept)
    for _ in range(100):
        z = slope * scores + intercept
        p = np.exp(-np.logaddexp(0.0, -z))
        g = p - target
        h = p * (1.0 - p)
        g_a, g_b = float((g * scores).sum()), float(g.sum())
        if abs(g_a) < 1e-7 and abs(g_b) < 1e-7:
            break
        h_aa, h_ab, h_bb = float((h * scores * scores).sum()) + 1e-10, float((h * scores).sum()), float(h.sum()) + 1e-10
        det = h_aa * h_bb - h_ab * h_ab
        step_a, step_b = -(h_bb * g_a - h_ab * g_b) / det, -(h_aa * g_b - h_ab * g_a) / det
        size = 1.0
        while size > 1e-10:
            then = loss(slope + size * step_a, intercept + size * step_b)
            if then < now + 1e-4 * size * (g_a * step_a + g_b * step_b):
                break
            size /= 2.0
        else:
            break
        slope, intercept, now = slope + size * step_a, intercept + size * step_b, then
    return slope, intercept


def learn_on_error(weights, bias, indptr, indices, values, labels, *, double rate=4.0, double margin=0.49):
    """Logistic regression message by message: predict, then learn only where the prediction was wrong or nearer to one half than `margin`.

    `weights` float64 [n_weights] are changed in place; the rows should have length 1. Returns the probabilities float64 [n] predicted
    before each message was learned, and the new bias.
    """
    if not (isinstance(weights, np.ndarray) and weights.dtype == np.float64 and weights.flags.c_contiguous):
        raise ValueError("weights must be a contiguous float64 array")
    indptr, indices, values = _checked(indptr, indices, values, len(weights))
    cdef const int64_t[::1] starts = indptr
    cdef const int32_t[::1] columns = indices
    cdef const float[::1] data = values
    cdef Py_ssize_t n = len(indptr) - 1, i, j
    cdef const int8_t[::1] y = _signs(labels, n)
    cdef double[::1] w = weights
    cdef double constant = bias, logit, p, step
    predicted = np.empty(n, np.float64)
    cdef double[::1] out = predicted
    with nogil:
        for i in range(n):
            logit = constant
            for j in range(starts[i], starts[i + 1]):
                logit += w[columns[j]] * data[j]
            p = _sigmoid(logit)
            out[i] = p
            if fabs(p - 0.5) < margin or (p > 0.5) != (y[i] > 0):
                step = rate * ((1.0 if y[i] > 0 else 0.0) - p)
                for j in range(starts[i], starts[i + 1]):
                    w[columns[j]] += step * data[j]
                constant += step * 0.01      # the constant is in every message: it moves a hundredth as fast
    return predicted, constant


def count_presence(counts, indptr, indices, labels):
    """Add to `counts` uint32 [2, n_weights] (ham, spam), in place, in how many rows each feature stands; once however often in a row."""
    if not (isinstance(counts, np.ndarray) and counts.dtype == np.uint32 and counts.flags.c_contiguous and counts.shape[:1] == (2,)):
        raise ValueError("counts must be a contiguous uint32 array of two rows")
    indptr, indices, _ = _checked(indptr, indices, np.empty(len(indices), np.float32), counts.shape[1])
    cdef const int64_t[::1] starts = indptr
    cdef const int32_t[::1] columns = indices
    cdef Py_ssize_t n = len(indptr) - 1, i, j
    cdef const int8_t[::1] y = _signs(labels, n)
    cdef uint32_t[:, ::1] total = counts
    cdef int64_t[::1] last = np.full(counts.shape[1], -1, np.int64)
    with nogil:
        for i in range(n):
            for j in range(starts[i], starts[i + 1]):
                if last[columns[j]] != i:
                    last[columns[j]] = i
                    total[y[i] > 0, columns[j]] += 1


def log_odds(counts, n_ham, n_spam, *, double smoothing=0.5):
    """Naive-Bayes weights float64 [n_weights] of `count_presence`'s counts; a feature never seen weighs nothing."""
    prior = smoothing / (n_ham + n_spam)
    return np.log((counts[1] / max(n_spam, 1) + prior) / (counts[0] / max(n_ham, 1) + prior))
