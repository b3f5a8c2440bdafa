"""Dense scoring of facts by two hand-signed cards, whose weights depend on the type of mail.

logit = prior[type] + Σ weights[card][type] · clip(sign · (fact − mean) / scale, ±2). Each summand is the contribution of one fact, in
log-odds,
and the logit is their sum in the order of the facts: contributions are exact, not an explanation after the event.
Called by `_batch` without the GIL and by the class below.
"""

import numpy as np

from libc.stdint cimport uint32_t


cdef inline double _clipped(double steps) noexcept nogil:
    steps = steps if steps < 2.0 else 2.0
    return steps if steps > -2.0 else -2.0


cdef double score_cards(const CardTable *cards, const float *facts, double *contributions) noexcept nogil:
    """The logit of one message. Fills `contributions` [n_facts + 1] unless it is NULL; the last is the prior."""
    cdef uint32_t i
    cdef int kind = 0
    cdef double logit, part, steps
    cdef const double *weights
    if facts[cards.mail_type] >= 1.5:
        kind = 2
    elif facts[cards.mail_type] >= 0.5:
        kind = 1
    weights = cards.weights + kind * cards.n_facts
    logit = cards.prior[kind]
    if contributions != NULL:
        contributions[cards.n_facts] = logit
    for i in range(cards.n_facts):
        steps = (facts[i] - cards.mean[i]) * cards.step[i]
        part = 0.0 if steps != steps else weights[i] * _clipped(steps)  # not a number: says nothing
        logit += part
        if contributions != NULL:
            contributions[i] = part + 0.0  # no negative zero
    return logit


cdef class Cards:
    """The cards as plain arrays.

    `card` int8 [n] (0 content, 1 relation, −1 none), `sign` int8 [n] (+1 speaks for spam, −1 against), `mean` and `scale` float64 [n]
    (scale > 0),
    `weights` float64 [2, 3] and `prior` float64 [3] in log-odds, `mail_type` the index of the fact that holds the mail type.
    Raises ValueError for arrays of other shapes or values that are not finite. The arrays are copied.
    """

    def __cinit__(self, *, card, sign, mean, scale, weights, prior, uint32_t mail_type):
        cdef const double[::1] mean_view, step_view, prior_view
        cdef const double[::1] weights_view
        cdef int j
        cards = np.array(card, dtype=np.int8, order="C")
        means = np.array(mean, dtype=np.float64, order="C")
        scales = np.array(scale, dtype=np.float64, order="C")
        signs = np.array(sign, dtype=np.float64, order="C")
        weight_array = np.array(weights, dtype=np.float64, order="C")
        priors = np.array(prior, dtype=np.float64, order="C")
        n = len(cards)
        if not all(array.shape == (n,) for array in (cards, signs, means, scales)) or n == 0:
            raise ValueError("card, sign, mean and scale must be of one length")
        if weight_array.shape != (2, 3) or priors.shape != (3,):
            raise ValueError("weights must be [2, 3] and prior [3]")
        if mail_type >= n:
            raise ValueError("mail_type is not the index of a fact")
        if not all(np.isfinite(array).all() for array in (means, scales, weight_array, priors)) or (scales <= 0).any():
            raise ValueError("mean, weights and prior must be finite, scale above zero")
        if cards.min() < -1 or cards.max() > 1 or not np.isin(signs, (-1.0, 0.0, 1.0)).all():
            raise ValueError("card is -1, 0 or 1; sign is -1, 0 or 1")
        steps = signs / scales
        by_type = np.concatenate([np.where(cards < 0, 0.0, weight_array[:, kind][np.maximum(cards, 0)]) for kind in range(3)])
        self._kept = (means, steps, by_type)
        self.n_facts = n
        mean_view, step_view = means, steps
        weights_view, prior_view = by_type, priors
        self.table.n_facts = n
        self.table.mail_type = mail_type
        self.table.mean = &mean_view[0]
        self.table.step = &step_view[0]
        self.table.weights = &weights_view[0]
        for j in range(3):
            self.table.prior[j] = prior_view[j]

    def logits(self, facts):
        """Log-odds of spam, float64 [n], of facts float32 [n, n_facts]."""
        cdef const float[:, ::1] rows = self._rows(facts)
        result = np.empty(rows.shape[0], dtype=np.float64)
        cdef double[::1] out = result
        cdef Py_ssize_t i
        with nogil:
            for i in range(rows.shape[0]):
                out[i] = score_cards(&self.table, &rows[i, 0], NULL)
        return result

    def contributions(self, facts):
        """Log-odds per fact, float64 [n, n_facts + 1], the last column the prior; each row sums to the logit."""
        cdef const float[:, ::1] rows = self._rows(facts)
        result = np.empty((rows.shape[0], self.n_facts + 1), dtype=np.float64)
        cdef double[:, ::1] out = result
        cdef Py_ssize_t i
        with nogil:
            for i in range(rows.shape[0]):
                score_cards(&self.table, &rows[i, 0], &out[i, 0])
        return result

    def _rows(self, facts):
        rows = np.ascontiguousarray(facts, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.n_facts:
            raise ValueError(f"facts must be [n, {self.n_facts}]")
        return rows
