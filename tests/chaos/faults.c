/* A preloaded library that makes chosen system calls of one process of a gateway fail, wait, or kill it. faults.py builds, loads and arms it.
 *
 * What to do stands in a file that all processes of a test map (struct plan; faults.py writes it). A call counts if it is of a kind that is
 * armed, made by the process that is armed, on a file whose path has `path` in it (descriptors by /proc/self/fd: sockets are called
 * socket:[n]), and, of calls that send, if what is sent has `text` in it. The nth of them and the `times - 1` after it are hit.
 * Production code knows nothing of this. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, FSYNC = 4, FDATASYNC = 8, RENAME = 16, UNLINK = 32, TRUNCATE = 64, SEND = 128, RECEIVE = 256 };
enum { NOTHING, FAIL, KILL_BEFORE, KILL_AFTER, WAIT };

struct plan {
    uint32_t action, calls;
    int32_t error;
    uint32_t nth, times, microseconds;
    volatile uint32_t seen, hit;
    char process[64], path[192], text[64];
};

static struct plan *plan;
static char role[64];

__attribute__((constructor)) static void begin(void) {
    const char *place = getenv("ESA_TEST_FAULTS");
    char words[4096];
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, words, sizeof words - 1);
    if (file >= 0) close(file);
    words[size > 0 ? size : 0] = 0;
    strcpy(role, "parent");
    for (ssize_t at = 0; at < size; at += (ssize_t)strlen(words + at) + 1)
        if (!strcmp(words + at, "esa.gateway.process")) {
            at += (ssize_t)strlen(words + at) + 1;
            snprintf(role, sizeof role, "%.60s", words + at);
            break;
        }
    if (!place || (file = open(place, O_RDWR | O_CLOEXEC)) < 0) return;
    void *map = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED) plan = map;
}

static int is_ours(uint32_t kind) {
    return plan && plan->action != NOTHING && (plan->calls & kind) && !strncmp(role, plan->process, strlen(plan->process));
}

static int is_there(int descriptor, const char *path) {
    char link[64], place[512];
    if (path == NULL) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        ssize_t size = readlink(link, place, sizeof place - 1);
        if (size < 0) return 0;
        place[size] = 0;
        path = place;
    }
    return strstr(path, plan->path) != NULL;
}

/* Counts a call; what is to be done with it. */
static uint32_t count(void) {
    uint32_t number = __atomic_add_fetch(&plan->seen, 1, __ATOMIC_SEQ_CST);
    if (number < plan->nth || (plan->times && number >= plan->nth + plan->times)) return NOTHING;
    __atomic_add_fetch(&plan->hit, 1, __ATOMIC_SEQ_CST);
    uint32_t action = plan->action;
    if (action == WAIT) {
        struct timespec pause = {plan->microseconds / 1000000, (long)(plan->microseconds % 1000000) * 1000};
        nanosleep(&pause, NULL);
    } else if (action == KILL_BEFORE || action == KILL_AFTER) {
        plan->action = NOTHING; /* its successor lives */
        if (action == KILL_BEFORE) kill(getpid(), SIGKILL);
    } else if (action == FAIL)
        errno = plan->error;
    return action;
}

static uint32_t looked_at(uint32_t kind, int descriptor, const char *path) {
    int kept = errno;
    uint32_t action = is_ours(kind) && is_there(descriptor, path) ? count() : NOTHING;
    if (action != FAIL) errno = kept;
    return action;
}

/* A file system that is read-only can still be read, and one that is full lacks room for new files only. */
static uint32_t opened(const char *path, int flags) {
    int kept = errno, error = is_ours(OPEN) && plan->action == FAIL ? plan->error : 0;
    int is_harmless = (error == EROFS && !(flags & O_CREAT) && (flags & O_ACCMODE) == O_RDONLY)
                      || (error == ENOSPC && (!(flags & O_CREAT) || !access(path, F_OK)));
    errno = kept;
    return is_harmless ? NOTHING : looked_at(OPEN, -1, path);
}

static uint32_t told(int descriptor, const struct iovec *buffers, int number) {
    int kept = errno;
    uint32_t action = NOTHING;
    if (is_ours(SEND) && is_there(descriptor, NULL)) {
        size_t length = strlen(plan->text);
        for (int i = 0; i < number && action == NOTHING; i++)
            if (memmem(buffers[i].iov_base, buffers[i].iov_len, plan->text, length)) action = count();
    }
    if (action != FAIL) errno = kept;
    return action;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)
#define ENDED(action, value) \
    __typeof__(value) ended = (value); \
    if ((action) == KILL_AFTER) kill(getpid(), SIGKILL); \
    return ended

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        uint32_t action = opened(path, flags); \
        if (action == FAIL) return -1; \
        ENDED(action, real(path, flags, mode)); \
    }
#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        uint32_t action = opened(path, flags); \
        if (action == FAIL) return -1; \
        ENDED(action, real(folder, path, flags, mode)); \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

#define ON_FILE(kind, result, name, parameters, arguments) \
    result name parameters { \
        REAL(name); \
        uint32_t action = looked_at(kind, descriptor, NULL); \
        if (action == FAIL) return -1; \
        ENDED(action, real arguments); \
    }
#define ON_PATH(kind, name, parameters, arguments, place) \
    int name parameters { \
        REAL(name); \
        uint32_t action = looked_at(kind, -1, place); \
        if (action == FAIL) return -1; \
        ENDED(action, real arguments); \
    }
ON_FILE(WRITE, ssize_t, pwrite, (int descriptor, const void *data, size_t size, off_t offset), (descriptor, data, size, offset))
ON_FILE(WRITE, ssize_t, pwrite64, (int descriptor, const void *data, size_t size, off64_t offset), (descriptor, data, size, offset))
ON_FILE(WRITE, ssize_t, pwritev, (int descriptor, const struct iovec *data, int size, off_t offset), (descriptor, data, size, offset))
ON_FILE(WRITE, ssize_t, pwritev64, (int descriptor, const struct iovec *data, int size, off64_t offset), (descriptor, data, size, offset))
ON_FILE(WRITE, ssize_t, pwritev2, (int descriptor, const struct iovec *data, int size, off_t offset, int flags), (descriptor, data, size, offset, flags))
ON_FILE(WRITE, ssize_t, pwritev64v2, (int descriptor, const struct iovec *data, int size, off64_t offset, int flags), (descriptor, data, size, offset, flags))
ON_FILE(FSYNC, int, fsync, (int descriptor), (descriptor))
ON_FILE(FDATASYNC, int, fdatasync, (int descriptor), (descriptor))
ON_FILE(TRUNCATE, int, ftruncate, (int descriptor, off_t size), (descriptor, size))
ON_FILE(TRUNCATE, int, ftruncate64, (int descriptor, off64_t size), (descriptor, size))
ON_FILE(RECEIVE, ssize_t, recv, (int descriptor, void *data, size_t size, int flags), (descriptor, data, size, flags))
ON_FILE(RECEIVE, ssize_t, recvmsg, (int descriptor, struct msghdr *message, int flags), (descriptor, message, flags))
ON_FILE(RECEIVE, ssize_t, read, (int descriptor, void *data, size_t size), (descriptor, data, size))
ON_PATH(RENAME, rename, (const char *from, const char *to), (from, to), to)
ON_PATH(UNLINK, unlink, (const char *path), (path), path)
ON_PATH(UNLINK, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), path)

/* write and writev are for files and for sockets. */
ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    struct iovec one = {(void *)data, size};
    uint32_t action = looked_at(WRITE, descriptor, NULL);
    if (action == NOTHING) action = told(descriptor, &one, 1);
    if (action == FAIL) return -1;
    ENDED(action, real(descriptor, data, size));
}

ssize_t writev(int descriptor, const struct iovec *data, int number) {
    REAL(writev);
    uint32_t action = looked_at(WRITE, descriptor, NULL);
    if (action == NOTHING) action = told(descriptor, data, number);
    if (action == FAIL) return -1;
    ENDED(action, real(descriptor, data, number));
}

ssize_t send(int descriptor, const void *data, size_t size, int flags) {
    REAL(send);
    struct iovec one = {(void *)data, size};
    uint32_t action = told(descriptor, &one, 1);
    if (action == FAIL) return -1;
    ENDED(action, real(descriptor, data, size, flags));
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    uint32_t action = told(descriptor, message->msg_iov, (int)message->msg_iovlen);
    if (action == FAIL) return -1;
    ENDED(action, real(descriptor, message, flags));
}
