/* What gcc's -fsanitize-coverage=trace-pc,trace-cmp calls, linked into every module of the core that is built under sanitizers.
 *
 * The functions are hidden: each module has its own, so that nothing can take their place (libasan has empty ones) and a call costs no
 * detour. What they see goes to engine.c. A place in the code is its offset in its module, so that edges are the same in every process. */

#include "engine.h"

extern const char __ehdr_start __attribute__((visibility("hidden")));  /* where this module begins */

#define HIDDEN __attribute__((visibility("hidden"), used))

HIDDEN void __sanitizer_cov_trace_pc(void)
{
    if (!esa_fuzz.tracing)
        return;
    const uint32_t offset = (uint32_t)((uintptr_t)__builtin_return_address(0) - (uintptr_t)&__ehdr_start);
    static uint32_t module;  /* tells equal offsets of two modules apart */
    if (module == 0)
        module = esa_fuzz.modules += 0x9E3779B1u;
    const uint32_t here = (offset ^ module) * 0x85EBCA6Bu;
    const uint32_t edge = (here ^ esa_fuzz.previous) >> (32 - FUZZ_MAP_BITS);
    esa_fuzz.previous = (here >> 1) * 3;
    if (esa_fuzz.hits[edge] == 0 && esa_fuzz.n_touched < FUZZ_MAP_SIZE)
        esa_fuzz.touched[esa_fuzz.n_touched++] = edge;
    if (esa_fuzz.hits[edge] < 255)
        esa_fuzz.hits[edge]++;
}

static inline void compare(uint64_t one, uint64_t other, uint32_t size)
{
    if (!esa_fuzz.comparing || one == other || esa_fuzz.n_compared >= FUZZ_COMPARISONS)
        return;
    esa_fuzz.compared[esa_fuzz.n_compared++] = (struct comparison){one, other, size};
}

HIDDEN void __sanitizer_cov_trace_cmp1(uint8_t one, uint8_t other) { compare(one, other, 1); }
HIDDEN void __sanitizer_cov_trace_cmp2(uint16_t one, uint16_t other) { compare(one, other, 2); }
HIDDEN void __sanitizer_cov_trace_cmp4(uint32_t one, uint32_t other) { compare(one, other, 4); }
HIDDEN void __sanitizer_cov_trace_cmp8(uint64_t one, uint64_t other) { compare(one, other, 8); }
HIDDEN void __sanitizer_cov_trace_const_cmp1(uint8_t one, uint8_t other) { compare(other, one, 1); }  /* the constant stands first */
HIDDEN void __sanitizer_cov_trace_const_cmp2(uint16_t one, uint16_t other) { compare(other, one, 2); }
HIDDEN void __sanitizer_cov_trace_const_cmp4(uint32_t one, uint32_t other) { compare(other, one, 4); }
HIDDEN void __sanitizer_cov_trace_const_cmp8(uint64_t one, uint64_t other) { compare(other, one, 8); }
HIDDEN void __sanitizer_cov_trace_cmpf(float one, float other) { (void)one, (void)other; }
HIDDEN void __sanitizer_cov_trace_cmpd(double one, double other) { (void)one, (void)other; }

HIDDEN void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    if (!esa_fuzz.comparing)
        return;
    for (uint64_t i = 0; i < cases[0]; i++)
        compare(value, cases[2 + i], (uint32_t)(cases[1] / 8));
}

/* --- memory that ends: modules are linked with --wrap, so that from the allocation of that number on every one fails ------------------ */

static int may_allocate(void)
{
    return esa_fuzz.last_allocation == 0 || ++esa_fuzz.allocations <= esa_fuzz.last_allocation;
}

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t count, size_t size);
extern void *__real_realloc(void *memory, size_t size);

HIDDEN void *__wrap_malloc(size_t size) { return may_allocate() ? __real_malloc(size) : NULL; }
HIDDEN void *__wrap_calloc(size_t count, size_t size) { return may_allocate() ? __real_calloc(count, size) : NULL; }
HIDDEN void *__wrap_realloc(void *memory, size_t size) { return may_allocate() ? __real_realloc(memory, size) : NULL; }
