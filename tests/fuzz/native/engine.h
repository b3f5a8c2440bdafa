/* Coverage-guided mutation of octets, in the process of what is tested. See engine.c. */

#ifndef ESA_FUZZ_ENGINE_H
#define ESA_FUZZ_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_MAP_BITS 17
#define FUZZ_MAP_SIZE (1u << FUZZ_MAP_BITS)
#define FUZZ_COMPARISONS 4096u

struct comparison {
    uint64_t seen, wanted;  /* unequal: with `wanted` in the place of `seen` the comparison goes the other way */
    uint32_t size;          /* octets */
};

/* What trace.c writes while the target runs. */
struct trace {
    int tracing, comparing;
    uint64_t allocations, last_allocation;  /* counted if the second is not 0; those behind it fail */
    uint32_t modules, previous, n_touched, n_compared;
    uint8_t hits[FUZZ_MAP_SIZE];        /* by edge, saturating */
    uint32_t touched[FUZZ_MAP_SIZE];    /* the edges whose hits are not 0 */
    struct comparison compared[FUZZ_COMPARISONS];
};

extern struct trace esa_fuzz;

/* 0: the invariant holds. Else the number of what was violated. `context` is the options'. */
typedef int (*fuzz_target)(const char *context, const uint8_t *octets, size_t length);

/* The first octets of what is shared with the parent; the octets of the input that is being run follow. */
struct fuzz_last {
    uint64_t executions, length;
};

struct octets {
    const uint8_t *data;
    size_t length;
};

struct fuzz_options {
    const char *name;
    fuzz_target target;
    const char *context;
    const char *folder;     /* a file of its own for each input that is kept; or NULL */
    const struct octets *seeds;
    size_t n_seeds;
    size_t n_resumed;       /* the last of the seeds: inputs that were kept in an earlier run */
    const struct octets *tokens;
    size_t n_tokens;
    uint64_t runs;          /* executions; 0: no bound */
    double seconds;         /* 0: no bound */
    uint64_t seed;
    size_t longest;         /* input, octets */
    uint8_t *last;          /* [sizeof(struct fuzz_last) + longest] shared with the parent; or NULL */
    int watched;            /* end the process when one input takes longer than FUZZ_PATIENCE, or on a finding */
    int leaks;              /* the target gives back all memory that it takes: check it on every input that is kept */
};

struct fuzz_result {
    uint64_t executions;
    uint32_t edges_first, edges_last;       /* different edges reached by the seeds (without resumed ones), and by all inputs */
    uint32_t features_first, features_last; /* edges times how often, in eight classes */
    uint32_t kept;                          /* inputs in the corpus */
    double seconds;                         /* of CPU */
    int violated;                           /* number of the first violated invariant of an unwatched run; its input is in `last`, */
    size_t length;                          /* of this length */
};

int fuzz_run(const struct fuzz_options *options, struct fuzz_result *result);
size_t fuzz_allocated(void);
int fuzz_is_utf8(const uint8_t *octets, size_t length);

#endif
