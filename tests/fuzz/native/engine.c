/* The engine of `make fuzz`: what libFuzzer does, for gcc and for code that lives in a Python process.
 *
 * An input is run; the edges it takes and how often (in eight classes) are its features; an input with a new feature is cut down to what
 * has the feature and kept. New inputs are kept ones with some mutations: octets changed, removed, doubled, moved in from another input,
 * words of a dictionary put in, and operands of comparisons that failed replaced by what they were compared with. The target gets its
 * octets in memory of the exact length, so that a sanitizer sees one octet too many. This file is compiled without sanitizers.
 *
 * A finding ends the process: the sanitizer does it, or, if the run is watched, the engine for a violated invariant, an input that takes
 * FUZZ_PATIENCE seconds of CPU, or memory not given back. The input stands in memory shared with the parent by then. */

#include "engine.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FUZZ_PATIENCE 3
#define PAIRS 96            /* failed comparisons remembered of one input */
#define BEHIND 16           /* mutations of one input before the next is chosen */

struct trace esa_fuzz;

struct entry {
    uint8_t *data;
    uint32_t length;
    uint32_t owns;          /* features of which it is the shortest input */
    struct comparison *pairs;
    uint32_t n_pairs;
};

struct run {
    const struct fuzz_options *options;
    struct fuzz_result *result;
    uint64_t state;         /* of the random numbers */
    uint8_t seen[FUZZ_MAP_SIZE];    /* classes of hits seen, as bits */
    uint32_t best[FUZZ_MAP_SIZE];   /* 1 + the shortest input that takes the edge */
    uint32_t edges, features;
    struct entry *corpus;
    uint32_t n_corpus, room;
};

/* --- random numbers ---------------------------------------------------------------------------------------------------------------- */

static uint64_t next_random(struct run *run)
{
    run->state ^= run->state >> 12;
    run->state ^= run->state << 25;
    run->state ^= run->state >> 27;
    return run->state * 0x2545F4914F6CDD1DULL;
}

static uint32_t below(struct run *run, uint32_t bound) { return bound ? (uint32_t)((next_random(run) >> 32) % bound) : 0; }

/* Mostly short, sometimes long. */
static uint32_t span(struct run *run, uint32_t most)
{
    static const uint32_t scale[] = {2, 4, 8, 32, 256, 2048};
    uint32_t bound = scale[below(run, 6)];
    return most ? 1 + below(run, bound < most ? bound : most) : 0;
}

/* --- one execution ----------------------------------------------------------------------------------------------------------------- */

static volatile uint64_t executions_begun;
static uint64_t executions_looked_at;
static int same_for;

static void look(int signal_number)
{
    static const char message[] = "fuzz: one input takes too long\n";
    (void)signal_number;
    same_for = executions_begun == executions_looked_at && esa_fuzz.tracing ? same_for + 1 : 0;
    executions_looked_at = executions_begun;
    if (same_for >= FUZZ_PATIENCE) {
        if (write(2, message, sizeof message - 1) < 0) {}
        abort();
    }
}

static void forget_hits(void)
{
    for (uint32_t i = 0; i < esa_fuzz.n_touched; i++)
        esa_fuzz.hits[esa_fuzz.touched[i]] = 0;
    esa_fuzz.n_touched = 0;
    esa_fuzz.previous = 0;
}

static void end_with(const struct fuzz_options *options, const char *what, long number)
{
    fprintf(stderr, "fuzz: %s: %s %ld\n", options->name, what, number);
    fflush(stderr);
    abort();
}

static void execute(struct run *run, const uint8_t *data, size_t length)
{
    const struct fuzz_options *options = run->options;
    uint8_t *exact = malloc(length ? length : 1);
    int violated;
    if (exact == NULL)
        return;
    if (length)
        memcpy(exact, data, length);
    if (options->last && run->result->violated == 0) {
        const struct fuzz_last begun = {run->result->executions + 1, length};
        memcpy(options->last, &begun, sizeof begun);
        if (length)
            memcpy(options->last + sizeof begun, data, length);
    }
    forget_hits();
    executions_begun++;
    esa_fuzz.tracing = 1;
    violated = options->target(options->context, exact, length);
    esa_fuzz.tracing = 0;
    run->result->executions++;
    free(exact);
    if (violated && options->watched)
        end_with(options, "violated invariant", violated);
    if (violated && run->result->violated == 0) {
        run->result->violated = violated;
        run->result->length = length;
    }
}

static uint8_t class_of(uint8_t hits)
{
    if (hits < 4)
        return (uint8_t)(1u << (hits - 1));
    return hits < 8 ? 8 : hits < 16 ? 16 : hits < 32 ? 32 : hits < 128 ? 64 : 128;
}

static int has_new(const struct run *run)
{
    for (uint32_t i = 0; i < esa_fuzz.n_touched; i++)
        if (class_of(esa_fuzz.hits[esa_fuzz.touched[i]]) & ~run->seen[esa_fuzz.touched[i]])
            return 1;
    return 0;
}

/* --- the corpus -------------------------------------------------------------------------------------------------------------------- */

/* Take away what the new features do not need; `data` is changed in place. */
static uint32_t cut_down(struct run *run, uint8_t *data, uint32_t length)
{
    uint32_t wanted[64], n_wanted = 0, tries = 0;
    uint8_t class[64], *shorter = malloc(length + 1);
    for (uint32_t i = 0; i < esa_fuzz.n_touched && n_wanted < 64; i++) {
        const uint32_t edge = esa_fuzz.touched[i];
        if (class_of(esa_fuzz.hits[edge]) & ~run->seen[edge]) {
            class[n_wanted] = class_of(esa_fuzz.hits[edge]);
            wanted[n_wanted++] = edge;
        }
    }
    for (uint32_t size = length / 2; shorter && size >= 4 && tries < 48; size /= 2)
        for (uint32_t at = 0; at < length && tries < 48;) {
            const uint32_t gone = size < length - at ? size : length - at;
            uint32_t i = 0;
            memcpy(shorter, data, at);
            memcpy(shorter + at, data + at + gone, length - at - gone);
            tries++;
            execute(run, shorter, length - gone);
            while (i < n_wanted && esa_fuzz.hits[wanted[i]] && class_of(esa_fuzz.hits[wanted[i]]) == class[i])
                i++;
            if (i == n_wanted) {
                length -= gone;
                memcpy(data, shorter, length);
            } else
                at += gone;
        }
    free(shorter);
    return length;
}

static void remember_comparisons(struct run *run, struct entry *entry)
{
    esa_fuzz.n_compared = 0;
    esa_fuzz.comparing = 1;
    execute(run, entry->data, entry->length);
    esa_fuzz.comparing = 0;
    entry->pairs = malloc(PAIRS * sizeof *entry->pairs);
    for (uint32_t i = 0; entry->pairs && i < esa_fuzz.n_compared; i++) {
        const struct comparison *one = &esa_fuzz.compared[i];
        uint32_t at = 0;
        while (at < entry->n_pairs && (entry->pairs[at].seen != one->seen || entry->pairs[at].wanted != one->wanted))
            at++;
        if (at < entry->n_pairs)
            continue;
        if (entry->n_pairs == PAIRS) {  /* all are kept with the same chance */
            at = below(run, i + 1);
            if (at >= PAIRS)
                continue;
        } else
            at = entry->n_pairs++;
        entry->pairs[at] = *one;
    }
}

/* Octets that are allocated now, by ASan's account; 0 without it. */
size_t fuzz_allocated(void)
{
    static size_t (*count)(void);
    static int asked;
    if (!asked)
        *(void **)&count = dlsym(RTLD_DEFAULT, "__sanitizer_get_current_allocated_bytes");
    asked = 1;
    return count ? count() : 0;
}

static void check_leak(struct run *run, const struct entry *entry)
{
    size_t before = 0;
    if (!run->options->leaks)
        return;
    for (int round = 0; round < 4; round++) {  /* what is made once for all may grow once or twice */
        before = fuzz_allocated();
        execute(run, entry->data, entry->length);
        if (fuzz_allocated() <= before)
            return;
    }
    end_with(run->options, "octets not given back:", (long)(fuzz_allocated() - before));
}

/* A file named by its octets (FNV-1a): the next run begins with it. */
static void write_down(const struct run *run, const struct entry *entry)
{
    char path[4096];
    uint64_t name = 0xCBF29CE484222325ULL;
    FILE *file;
    if (run->options->folder == NULL)
        return;
    for (uint32_t i = 0; i < entry->length; i++)
        name = (name ^ entry->data[i]) * 0x100000001B3ULL;
    snprintf(path, sizeof path, "%s/%016llx", run->options->folder, (unsigned long long)name);
    file = fopen(path, "wb");
    if (file == NULL || fwrite(entry->data, 1, entry->length, file) < entry->length || fclose(file))
        end_with(run->options, "an input cannot be written, octets:", (long)entry->length);
}

/* Keep the input that was just run if it has something new; a seed stays as it is. */
static int keep(struct run *run, const uint8_t *data, uint32_t length, int as_it_is)
{
    struct entry *entry;
    if (!has_new(run))
        return 0;
    if (run->n_corpus == run->room) {
        run->room = run->room ? 2 * run->room : 1024;
        run->corpus = realloc(run->corpus, run->room * sizeof *run->corpus);
        if (run->corpus == NULL)
            end_with(run->options, "no memory for inputs:", (long)run->room);
    }
    entry = &run->corpus[run->n_corpus];
    memset(entry, 0, sizeof *entry);
    entry->data = malloc(length + 1);
    if (entry->data == NULL)
        return 0;
    memcpy(entry->data, data, length);
    entry->length = as_it_is || length < 16 ? length : cut_down(run, entry->data, length);
    remember_comparisons(run, entry);
    check_leak(run, entry);
    if (!as_it_is)
        write_down(run, entry);
    execute(run, entry->data, entry->length);
    run->n_corpus++;
    for (uint32_t i = 0; i < esa_fuzz.n_touched; i++) {
        const uint32_t edge = esa_fuzz.touched[i], old = run->best[edge];
        const uint8_t fresh = class_of(esa_fuzz.hits[edge]) & ~run->seen[edge];
        run->edges += run->seen[edge] == 0;
        run->features += fresh != 0;
        run->seen[edge] |= fresh;
        if (old == 0 || run->corpus[old - 1].length > entry->length) {
            if (old)
                run->corpus[old - 1].owns--;
            run->best[edge] = run->n_corpus;
            entry->owns++;
        }
    }
    return 1;
}

static struct entry *choose(struct run *run)
{
    const uint32_t kind = below(run, 4);
    struct entry *entry = &run->corpus[below(run, run->n_corpus)];
    if (kind == 0)  /* a late one: what was found there is not used up */
        return &run->corpus[run->n_corpus - 1 - below(run, 1 + run->n_corpus / 8)];
    for (int i = 0; kind < 3 && entry->owns == 0 && i < 16; i++)
        entry = &run->corpus[below(run, run->n_corpus)];
    return entry;
}

/* --- mutation ---------------------------------------------------------------------------------------------------------------------- */

static uint32_t insert(uint8_t *data, uint32_t length, size_t longest, uint32_t at, const uint8_t *piece, uint32_t size)
{
    if (size > longest - length)
        size = (uint32_t)(longest - length);
    memmove(data + at + size, data + at, length - at);
    memcpy(data + at, piece, size);
    return length + size;
}

/* Replace one place where an operand stands, written with either end first. */
static void replace_operand(struct run *run, uint8_t *data, uint32_t length, const struct comparison *pair)
{
    uint8_t seen[8], wanted[8];
    const uint32_t size = pair->size, swap = below(run, 2), first = below(run, length);
    const uint64_t change = below(run, 8) ? 0 : below(run, 3) - 1ull;
    if (length < size)
        return;
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t shift = 8 * (swap ? size - 1 - i : i);
        seen[i] = (uint8_t)(pair->seen >> shift);
        wanted[i] = (uint8_t)((pair->wanted + change) >> shift);
    }
    for (uint32_t i = 0; i + size <= length; i++) {
        const uint32_t at = (first + i) % (length - size + 1);
        if (memcmp(data + at, seen, size) == 0) {
            memcpy(data + at, wanted, size);
            return;
        }
    }
}

static uint32_t mutate(struct run *run, uint8_t *data, uint32_t length, const struct entry *entry)
{
    static const uint8_t telling[] = {0, 1, 0x7F, 0x80, 0xFF, '\n', '\r', ' ', '=', '-', '0', '9', 'A', 'z', '<', '>', '&', '"', 0xC3, 0xE2};
    const struct fuzz_options *options = run->options;
    const size_t longest = options->longest;
    const uint32_t at = below(run, length + 1), n = span(run, length - at);
    const struct entry *other;
    const struct octets *token;
    uint8_t copied[2048];
    uint32_t from;
    switch (below(run, 16)) {
    case 0:
        if (length)
            data[at % length] ^= (uint8_t)(1u << below(run, 8));
        break;
    case 1:
        if (length)
            data[at % length] = (uint8_t)next_random(run);
        break;
    case 2:
        if (length)
            data[at % length] = telling[below(run, sizeof telling)];
        break;
    case 3:
        if (length)
            data[at % length] += (uint8_t)(below(run, 35) - 17);
        break;
    case 4:
    case 5:  /* remove */
        memmove(data + at, data + at + n, length - at - n);
        return length - n;
    case 6:  /* double, or move */
        from = below(run, length + 1);
        memcpy(copied, data + at, n < sizeof copied ? n : sizeof copied);
        return insert(data, length, longest, from, copied, n < sizeof copied ? n : sizeof copied);
    case 7:  /* one octet many times */
        memset(copied, below(run, 2) && length ? data[at % length] : telling[below(run, sizeof telling)], sizeof copied);
        return insert(data, length, longest, at, copied, span(run, sizeof copied));
    case 8:
    case 9:
    case 10:  /* a word, put in or written over */
        if (options->n_tokens == 0)
            break;
        token = &options->tokens[below(run, (uint32_t)options->n_tokens)];
        if (below(run, 3))
            return insert(data, length, longest, at, token->data, (uint32_t)token->length);
        if (token->length <= length - at)
            memcpy(data + at, token->data, token->length);
        break;
    case 11:
    case 12:  /* a piece of another input */
        other = choose(run);
        from = below(run, other->length + 1);
        if (below(run, 2))
            return insert(data, length, longest, at, other->data + from, span(run, other->length - from));
        from = below(run, 1 + (other->length < length ? other->length : length));
        memcpy(data + from, other->data + from, span(run, (other->length < length ? other->length : length) - from));
        break;
    case 13:  /* this one up to here, then another to its end */
        other = choose(run);
        from = below(run, other->length + 1);
        return insert(data, at, longest, at, other->data + from, other->length - from);
    default:
        if (entry->n_pairs && length)
            replace_operand(run, data, length, &entry->pairs[below(run, entry->n_pairs)]);
    }
    return length;
}

/* --- front door -------------------------------------------------------------------------------------------------------------------- */

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int is_over(const struct run *run, double began)
{
    const struct fuzz_options *options = run->options;
    if (run->result->violated)
        return 1;
    if (options->runs && run->result->executions >= options->runs)
        return 1;
    return options->seconds > 0 && run->result->executions % 64 == 0 && now(CLOCK_MONOTONIC) - began >= options->seconds;
}

/* Run all seeds, then mutations of what was kept until the runs or the time are over. 0, or -1 for no memory. */
int fuzz_run(const struct fuzz_options *options, struct fuzz_result *result)
{
    static const uint8_t nothing[1];
    struct run *run = calloc(1, sizeof *run);
    uint8_t *data = malloc(options->longest + 1);
    struct sigaction action = {.sa_handler = look}, before;
    const struct itimerval every = {{1, 0}, {1, 0}}, never = {{0, 0}, {0, 0}};
    const double began = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    memset(result, 0, sizeof *result);
    if (run == NULL || data == NULL) {
        free(run);
        free(data);
        return -1;
    }
    run->options = options;
    run->result = result;
    run->state = options->seed * 2 + 1;
    if (options->watched) {
        sigaction(SIGVTALRM, &action, &before);
        setitimer(ITIMER_VIRTUAL, &every, NULL);
    }
    execute(run, nothing, 0);
    keep(run, nothing, 0, 1);
    for (size_t i = 0; i < options->n_seeds; i++) {
        const size_t length = options->seeds[i].length < options->longest ? options->seeds[i].length : options->longest;
        execute(run, options->seeds[i].data, length);
        keep(run, options->seeds[i].data, (uint32_t)length, 1);
        if (i + 1 == options->n_seeds - options->n_resumed) {
            result->edges_first = run->edges;
            result->features_first = run->features;
        }
    }
    if (run->n_corpus == 0) {  /* built without tracing: all seeds are as good, and nothing is learnt */
        run->corpus = calloc(options->n_seeds + 1, sizeof *run->corpus);
        for (size_t i = 0; run->corpus && i < options->n_seeds; i++) {
            struct entry *entry = &run->corpus[run->n_corpus];
            entry->length = (uint32_t)(options->seeds[i].length < options->longest ? options->seeds[i].length : options->longest);
            entry->data = malloc(entry->length + 1);
            if (entry->data != NULL) {
                memcpy(entry->data, options->seeds[i].data, entry->length);
                run->n_corpus++;
            }
        }
    }
    while (run->n_corpus && !is_over(run, began)) {
        const struct entry *entry = choose(run);
        for (int i = 0; i < BEHIND && !is_over(run, began); i++) {
            uint32_t length = entry->length;
            memcpy(data, entry->data, length);
            for (uint32_t left = 1 + below(run, 1 + below(run, 8)); left > 0; left--)
                length = mutate(run, data, length, entry);
            execute(run, data, length);
            if (keep(run, data, length, 0))
                break;  /* `entry` may have moved */
        }
    }
    if (options->watched) {
        setitimer(ITIMER_VIRTUAL, &never, NULL);
        sigaction(SIGVTALRM, &before, NULL);
    }
    result->edges_last = run->edges;
    result->features_last = run->features;
    result->kept = run->n_corpus;
    result->seconds = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    for (uint32_t i = 0; i < run->n_corpus; i++) {
        free(run->corpus[i].data);
        free(run->corpus[i].pairs);
    }
    free(run->corpus);
    free(run);
    free(data);
    return 0;
}

/* Is it UTF-8 (RFC 3629: no surrogates, nothing overlong, nothing over U+10FFFF)? */
int fuzz_is_utf8(const uint8_t *octets, size_t length)
{
    for (size_t i = 0; i < length;) {
        const uint8_t first = octets[i];
        const int more = first < 0x80 ? 0 : first < 0xC2 ? -1 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : -1;
        if (more < 0 || (size_t)more >= length - i)
            return 0;
        for (int k = 1; k <= more; k++)
            if ((octets[i + k] & 0xC0) != 0x80)
                return 0;
        if ((first == 0xE0 && octets[i + 1] < 0xA0) || (first == 0xED && octets[i + 1] > 0x9F) || (first == 0xF0 && octets[i + 1] < 0x90)
            || (first == 0xF4 && octets[i + 1] > 0x8F))
            return 0;
        i += 1 + (size_t)more;
    }
    return 1;
}
