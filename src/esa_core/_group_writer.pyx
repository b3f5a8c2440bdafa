"""Buffers into a file and to disk, on a thread that never asks for the interpreter's lock while it works.

Caller: `esa.gateway.commit`, one writer for each receive worker. The same as os.pwritev and os.fdatasync on a thread of Python's, which is
what `esa.store.spool` does elsewhere; but there each call gives the lock away and has to wait for it again, and makes the event loop wait in
turn: two switches between threads for each, several times for every group of messages.

Law of this file. One group at a time: begin() hands it over, the descriptor that fileno() names becomes readable when it is done, finish()
tells how it went. Between the two the buffers belong to the writer. A group is done only if all of it was written and then flushed; what
is not all written is not flushed.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EINTR, EIO, errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from "<sys/types.h>" nogil:
    ctypedef long off_t

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t pwritev(int descriptor, const iovec *buffers, int count, off_t offset)

cdef extern from "<unistd.h>" nogil:
    int fdatasync(int descriptor)
    ssize_t read(int descriptor, void *to, size_t size)
    ssize_t write(int descriptor, const void *source, size_t size)
    int close(int descriptor)

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int value, int flags)
    int EFD_CLOEXEC
    int EFD_NONBLOCK

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *semaphore, int shared, unsigned int value)
    int sem_post(sem_t *semaphore)
    int sem_wait(sem_t *semaphore)
    int sem_destroy(sem_t *semaphore)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *time)
    int CLOCK_MONOTONIC

cdef enum:
    IOV_LIMIT = 1024  # buffers that the kernel takes in one call (IOV_MAX)

WROTE, FLUSHED = "write", "flush"


cdef int64_t nanoseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef int write_all(int descriptor, iovec *buffers, Py_ssize_t count, off_t offset) noexcept nogil:
    """All of the buffers one after the other at `offset`, whatever the kernel takes at a time. 0, or the error number."""
    cdef ssize_t written
    cdef Py_ssize_t before
    while count:
        before = count
        written = pwritev(descriptor, buffers, <int> min(count, IOV_LIMIT), offset)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        offset += written
        while count and <size_t> written >= buffers.iov_len:
            written -= <ssize_t> buffers.iov_len
            buffers += 1
            count -= 1
        if not written and count == before:
            return EIO  # nothing more is taken, and nobody says why
        if written:
            buffers.iov_base = <char *> buffers.iov_base + written
            buffers.iov_len -= written
    return 0


@cython.final
cdef class GroupWriter:
    """`run` is the body of a thread that the caller starts; all else is called on one other thread."""

    cdef:
        sem_t wanted
        int ready
        bint stopped
        bint is_working           # between begin() and finish()
        list buffers
        iovec *vector
        Py_ssize_t count
        int descriptor
        off_t offset
        int write_error
        int flush_error
        int64_t took

    def __cinit__(self):
        self.ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.ready < 0:
            raise OSError(errno, "no descriptor for a writer")
        sem_init(&self.wanted, 0, 0)

    def __dealloc__(self):
        if self.ready >= 0:
            close(self.ready)
            sem_destroy(&self.wanted)
        free(self.vector)

    def fileno(self):
        """The descriptor that is readable while a group is done and finish() has not been called."""
        return self.ready

    def run(self):
        """Write groups until stop()."""
        with nogil:
            while self.work():
                pass

    def begin(self, int descriptor, list buffers, off_t offset):
        """Write `buffers`, which are bytes, to `descriptor` at `offset`, and flush. RuntimeError: the group before is not finished."""
        cdef Py_ssize_t i, count = len(buffers)
        cdef bytes one
        if self.is_working or self.stopped:
            raise RuntimeError("a writer writes one group at a time")
        free(self.vector)
        self.vector = <iovec *> malloc(max(count, 1) * sizeof(iovec))
        if self.vector == NULL:
            raise MemoryError()
        for i in range(count):
            one = buffers[i]
            self.vector[i].iov_base = PyBytes_AS_STRING(one)
            self.vector[i].iov_len = PyBytes_GET_SIZE(one)
        self.buffers = buffers.copy()  # they live as long as they are written, whatever becomes of the list
        self.count, self.descriptor, self.offset = count, descriptor, offset
        self.is_working = True
        sem_post(&self.wanted)

    def finish(self):
        """Of the group that is done: what failed (WROTE, FLUSHED, or None), the error number, microseconds. None: it is not done."""
        cdef uint64_t signals = 0
        if read(self.ready, &signals, sizeof(signals)) != sizeof(signals):
            return None
        self.buffers = None
        self.is_working = False
        if self.write_error:
            return WROTE, self.write_error, self.took / 1000.0
        return (FLUSHED if self.flush_error else None), self.flush_error, self.took / 1000.0

    def stop(self):
        """Let run() return, after the group that it works on."""
        self.stopped = True
        sem_post(&self.wanted)

    cdef bint work(self) noexcept nogil:
        cdef int64_t began
        cdef uint64_t one = 1
        while sem_wait(&self.wanted):
            pass
        if not self.count and self.stopped:
            return False
        began = nanoseconds()
        self.flush_error = 0
        self.write_error = write_all(self.descriptor, self.vector, self.count, self.offset)
        if not self.write_error and fdatasync(self.descriptor):
            self.flush_error = errno if errno else EIO
        self.took = nanoseconds() - began
        self.count = 0
        write(self.ready, &one, sizeof(one))
        return True
