"""Counts in memory that processes share: how much of something a key has done in a sliding window, and how much of it it holds now.

Callers: `esa.gateway.rates`, from every receive worker of a node; the parent makes the memory. It knows no senders, no limits' meaning and
no clock: keys are 64-bit numbers, time is given in seconds of a clock that all processes share.

Law of this file. No lock is ever held, so a process may die anywhere and the others go on. A slot belongs to one key until all it counts is
past and nothing is held; then whoever needs it takes it over by one compare-and-swap. Each bucket of a window is one 64-bit word, a tag made
of its period and its key above and the count below, so that an old count is never mistaken for a new one and need not be cleared. A take
that would pass its limit is given back: among any number of processes exactly `limit` takes succeed, because each sees a sum of its own.

    memory   header 64 · slots (160 each) · for each process: what it holds in each slot (2 octets each)
    slot     key 8 · held 4 · spare 4 · busy until 8 (milliseconds) · buckets 16 × 8 · spare 8

A window is cut into 15 periods and looks back over 16: what happened within the window is always counted, what is older than a window and one
period never. What a process holds stands twice, in the slot and in its own part; if it dies, its successor gives back what that part says.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t esa_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
    static inline void esa_raise(uint64_t *at, uint64_t value) {
        uint64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);
        while (seen < value && !__atomic_compare_exchange_n(at, &seen, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
    }
    static inline int esa_swap(uint64_t *at, uint64_t before, uint64_t after) {
        return __atomic_compare_exchange_n(at, &before, after, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
    static inline int32_t esa_add_held(int32_t *at, int32_t amount) { return __atomic_add_fetch(at, amount, __ATOMIC_ACQ_REL); }
    static inline int32_t esa_held(const int32_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
    static inline void esa_count(uint64_t *at) { __atomic_add_fetch(at, 1, __ATOMIC_RELAXED); }
    """
    uint64_t esa_load(const uint64_t *at) noexcept nogil
    void esa_raise(uint64_t *at, uint64_t value) noexcept nogil
    int esa_swap(uint64_t *at, uint64_t before, uint64_t after) noexcept nogil
    int32_t esa_add_held(int32_t *at, int32_t amount) noexcept nogil
    int32_t esa_held(const int32_t *at) noexcept nogil
    void esa_count(uint64_t *at) noexcept nogil

cdef enum:
    BUCKETS = 16
    PERIODS = 15  # of a window; one bucket more holds the period that is running
    NEIGHBOURS = 16  # slots that a key may stand in; past them it is not counted
    GRACE = 1000  # milliseconds in which a slot that was just found is not taken over
    LARGEST = 0x7FFFFFFF  # of a count, so that sums stay far from their end

cdef const uint64_t LOW = 0xFFFFFFFF

cdef struct Header:
    uint64_t magic
    uint64_t slots  # a power of two
    uint64_t processes
    uint64_t overflows  # keys that found no slot
    uint64_t spare[4]

cdef struct Slot:
    uint64_t key  # 0: free
    int32_t held
    uint32_t spare
    uint64_t busy  # milliseconds; until then the counts matter
    uint64_t buckets[BUCKETS]  # tag above, count below
    uint64_t last

MAGIC = 0x3130455441524153
HEADER_SIZE = sizeof(Header)


def memory_size(size_t slots, size_t processes):
    """Octets of memory for this many slots (a power of two) and processes. ValueError for a number that is none."""
    if slots < NEIGHBOURS or slots & (slots - 1) or not 1 <= processes <= 4096:
        raise ValueError("slots are a power of two from 16, processes 1 to 4096")
    return sizeof(Header) + slots * sizeof(Slot) + slots * processes * sizeof(uint16_t)


def prepare(memory, size_t slots, size_t processes):
    """Write the header into zeroed memory of `memory_size` octets. ValueError if it is too small."""
    cdef Py_buffer view
    cdef Header *header
    needed = memory_size(slots, processes)
    PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
    try:
        if <size_t> view.len < needed:
            raise ValueError(f"the memory has {view.len} octets of {needed}")
        header = <Header *> view.buf
        header.slots = slots
        header.processes = processes
        header.overflows = 0
        header.magic = MAGIC
    finally:
        PyBuffer_Release(&view)


@cython.final
cdef class Rates:
    """The counts in `memory`, as process number `process` of those it was prepared for sees them. ValueError for memory that is none.

    Keys are whole numbers of 64 bits; choose them by a keyed hash, so that nobody can aim at a slot. 0 and 1 are one key. A count ends at
    2^31 - 1. All methods may be called from several processes at once, and from one thread of each.
    """

    cdef Py_buffer _view
    cdef bint _open
    cdef Slot *_slots
    cdef uint16_t *_own
    cdef Header *_header
    cdef uint64_t _mask

    def __cinit__(self, memory, size_t process):
        PyObject_GetBuffer(memory, &self._view, PyBUF_WRITABLE)
        self._open = True
        cdef Header *header = <Header *> self._view.buf
        if <size_t> self._view.len < sizeof(Header) or header.magic != MAGIC:
            raise ValueError("this memory holds no counts")
        if <size_t> self._view.len < memory_size(header.slots, header.processes) or process >= header.processes:
            raise ValueError("this memory is too small, or made for fewer processes")
        self._header = header
        self._mask = header.slots - 1
        self._slots = <Slot *> (<char *> self._view.buf + sizeof(Header))
        self._own = <uint16_t *> (<char *> self._slots + header.slots * sizeof(Slot)) + header.slots * process

    def __dealloc__(self):
        if self._open:
            PyBuffer_Release(&self._view)

    @property
    def overflows(self):
        """How often a key found no slot and was not counted, in all processes."""
        return esa_load(&self._header.overflows)

    def take(self, uint64_t key, int64_t amount, int64_t limit, double now, double window):
        """Count `amount` for `key` unless its sum in the window would pass `limit` (below 0: no limit).

        Returns the sum with it; or, where it was not counted, the sum without it as a negative number, less 1. A key for which there is no
        room is not counted and is always allowed: 0. `now` and `window` in seconds; a key has one window for good. ValueError for an amount
        outside 1 to 2^31 - 1, a window under 15 ms, or a time below 0.
        """
        if not 1 <= amount <= LARGEST or window < 0.015 or now < 0:
            raise ValueError("amount, window or time is out of range")
        cdef uint64_t period = <uint64_t> (now / (window / PERIODS))
        cdef uint64_t until = <uint64_t> ((now + window + window / PERIODS) * 1000)
        cdef Slot *slot
        cdef uint64_t *bucket
        cdef uint64_t seen, count
        cdef uint64_t tag
        cdef int64_t sum
        key = key if key else 1
        slot = self._claim(key, <uint64_t> (now * 1000))
        if slot == NULL:
            return 0
        esa_raise(&slot.busy, until)
        bucket = &slot.buckets[period % BUCKETS]
        tag = _tag(key, period)
        while True:
            seen = esa_load(bucket)
            count = (seen & LOW) if seen >> 32 == tag else 0
            count = min(count + <uint64_t> amount, <uint64_t> LARGEST)
            if esa_swap(bucket, seen, tag << 32 | count):
                break
        sum = <int64_t> count + _sum_before(slot, key, period)
        if limit < 0 or sum <= limit:
            return sum
        while True:
            seen = esa_load(bucket)
            if seen >> 32 != tag:
                break
            count = seen & LOW
            if esa_swap(bucket, seen, tag << 32 | (count - min(count, <uint64_t> amount))):
                break
        return -(sum - amount) - 1

    def total(self, uint64_t key, double now, double window):
        """The sum of a key in the window; 0 for one that is not counted."""
        cdef Slot *slot
        cdef uint64_t period, seen
        key = key if key else 1
        slot = self._find(key)
        if slot == NULL or window < 0.015 or now < 0:
            return 0
        period = <uint64_t> (now / (window / PERIODS))
        seen = esa_load(&slot.buckets[period % BUCKETS])
        return _sum_before(slot, key, period) + <int64_t> ((seen & LOW) if seen >> 32 == _tag(key, period) else 0)

    def hold(self, uint64_t key, int64_t limit, double now):
        """Hold one more of `key` unless `limit` are held (below 0: no limit).

        Returns a number to give to `release`, once; 0 if it is not held. A key for which there is no room is not counted and may always
        hold: -1.
        """
        cdef Slot *slot = self._claim(key if key else 1, <uint64_t> (now * 1000))
        cdef size_t place
        if slot == NULL:
            return -1
        place = slot - self._slots
        if self._own[place] == 0xFFFF:
            return 0
        self._own[place] += 1
        if esa_add_held(&slot.held, 1) > limit >= 0:
            esa_add_held(&slot.held, -1)
            self._own[place] -= 1
            return 0
        return place + 1

    def release(self, int64_t ticket):
        """Give back what `hold` gave this number for."""
        cdef uint64_t place = <uint64_t> (ticket - 1)
        if 0 < ticket <= <int64_t> self._mask + 1 and self._own[place]:
            esa_add_held(&self._slots[place].held, -1)
            self._own[place] -= 1

    def held(self, uint64_t key):
        """How many of `key` all processes hold now."""
        cdef Slot *slot = self._find(key if key else 1)
        return 0 if slot == NULL else max(0, esa_held(&slot.held))

    def recover(self):
        """Give back all that a former process of this number held when it died."""
        cdef size_t place
        for place in range(self._mask + 1):
            if self._own[place]:
                esa_add_held(&self._slots[place].held, -<int32_t> self._own[place])
                self._own[place] = 0

    cdef Slot *_find(self, uint64_t key) noexcept:
        """The slot of a key, or NULL."""
        cdef uint64_t step
        cdef Slot *slot
        for step in range(<uint64_t> NEIGHBOURS):
            slot = &self._slots[(key + step) & self._mask]
            if esa_load(&slot.key) == key:
                return slot
        return NULL

    cdef Slot *_claim(self, uint64_t key, uint64_t now) noexcept:
        """The slot of a key, which is taken over if it has none; NULL if all that it may have are busy."""
        cdef Slot *slot = self._find(key)
        cdef uint64_t step, owner
        if slot != NULL:
            esa_raise(&slot.busy, now + GRACE)
            return slot
        for step in range(<uint64_t> NEIGHBOURS):
            slot = &self._slots[(key + step) & self._mask]
            owner = esa_load(&slot.key)
            if owner == 0 or (esa_load(&slot.busy) < now and esa_held(&slot.held) <= 0):
                if esa_swap(&slot.key, owner, key) or esa_load(&slot.key) == key:
                    esa_raise(&slot.busy, now + GRACE)
                    return slot
        esa_count(&self._header.overflows)
        return NULL


cdef inline uint64_t _tag(uint64_t key, uint64_t period) noexcept nogil:
    """32 bits that tell a period of a key from other periods of it, and from other keys' with one chance in 2^32 to err."""
    return (period ^ key >> 32) & LOW


cdef int64_t _sum_before(Slot *slot, uint64_t key, uint64_t period) noexcept nogil:
    """The counts of the 15 periods before this one."""
    cdef int64_t sum = 0
    cdef uint64_t back, seen
    for back in range(1, <uint64_t> BUCKETS):
        if back > period:
            break
        seen = esa_load(&slot.buckets[(period - back) % BUCKETS])
        if seen >> 32 == _tag(key, period - back):
            sum += <int64_t> (seen & LOW)
    return sum
