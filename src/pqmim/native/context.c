/* What a prior knows of one picture, and the phases of a pass over it. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

void pq_context_free(pq_context *c) {
    if (!c)
        return;
    void *parts[] = {c->sum, c->stream, c->seen, c->qkv, c->mixed, c->codes, c->state, c->marked, c->all, c->rows};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        release(parts[i]);
    for (int i = 0; c->scratch && i < pool_threads(c->prior->pool); i++)
        release(c->scratch[i]);
    free(c->scratch);
    pq_prior_free(c->prior);
    free(c);
}

pq_context *pq_context_new(pq_prior *p, int height, int width, int quality) {
    pq_context *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    int failed = 0, threads = pool_threads(p->pool);
    size_t count = (size_t)height * width, depth = p->s.width;
    c->prior = p;
    __atomic_add_fetch(&p->users, 1, __ATOMIC_RELAXED); /* garbage collectors free what they find in any order */
    c->height = height;
    c->width = width;
    c->quality = quality;
    c->count = (int64_t)count;
    c->sum = aligned(count * depth * sizeof(int32_t), &failed);
    c->stream = aligned(count * depth * sizeof(int32_t), &failed);
    c->seen = aligned(count * depth, &failed);
    c->qkv = aligned(count * 3 * depth * sizeof(int16_t), &failed);
    c->mixed = aligned(count * depth, &failed);
    c->codes = aligned(count * p->s.size, &failed);
    c->state = aligned(count * p->s.size, &failed);
    c->marked = aligned(count, &failed);
    c->all = aligned(count * sizeof(int32_t), &failed);
    c->rows = aligned(count * sizeof(int32_t), &failed);
    c->scratch = calloc((size_t)threads, sizeof(void *));
    for (int i = 0; c->scratch && i < threads; i++)
        c->scratch[i] = aligned(p->level->scratch(p), &failed);
    if (failed || !c->scratch) {
        pq_context_free(c);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        c->all[i] = (int32_t)i;
    return c;
}

void pq_reveal(pq_context *c, int m, int64_t count, const int64_t *positions, const uint8_t *codes) {
    int size = c->prior->s.size;
    for (int64_t i = 0; i < count; i++) {
        uint8_t *state = c->state + positions[i] * size;
        if (state[m] == EMBEDDED) { /* another code than before: the embedding of this position is summed anew */
            for (int other = 0; other < size; other++)
                state[other] = state[other] == UNKNOWN ? UNKNOWN : PENDING;
            memset(c->sum + positions[i] * c->prior->s.width, 0, (size_t)c->prior->s.width * sizeof(int32_t));
        }
        c->codes[positions[i] * size + m] = codes[i];
        state[m] = PENDING;
    }
}

typedef struct {
    pq_context *context;
    void (*phase)(pq_context *c, int64_t part, void *scratch);
} job;

static void run_part(void *data, int64_t part, int thread) {
    job *j = data;
    j->phase(j->context, part, j->context->scratch[thread]);
}

static void run(pq_context *c, int64_t count, void (*phase)(pq_context *, int64_t, void *)) {
    job j = {c, phase};
    pool_run(c->prior->pool, count, run_part, &j);
}

static int64_t chunks(int64_t tokens) { return (tokens + CHUNK - 1) / CHUNK; }

/* Marks the positions, and lists them in raster order, each once. */
static void want(pq_context *c, int64_t count, const int64_t *positions) {
    memset(c->marked, 0, (size_t)c->count);
    for (int64_t i = 0; i < count; i++)
        c->marked[positions[i]] = 1;
    c->wanted = 0;
    for (int64_t token = 0; token < c->count; token++)
        if (c->marked[token])
            c->rows[c->wanted++] = (int32_t)token;
}

void pq_heads(pq_context *c, int blocks, int64_t count, const int64_t *positions, int start, int stop, int32_t *mean,
              int32_t *beta, int8_t *free_) {
    const level *l = c->prior->level;
    run(c, chunks(c->count), l->embed);
    for (int index = 0; index < blocks; index++) {
        const block *b = c->block = c->prior->blocks + index;
        int down = (c->height + b->offset + WINDOW - 1) / WINDOW;
        c->across = (c->width + b->offset + WINDOW - 1) / WINDOW;
        c->whole = index + 1 < blocks;
        if (!c->whole)
            want(c, count, positions);
        run(c, chunks(c->count), l->project);
        run(c, (int64_t)down * c->across, l->attend);
        int32_t *rows = c->rows;
        if (c->whole) {
            c->rows = c->all;
            c->wanted = c->count;
        }
        run(c, chunks(c->wanted), l->mix);
        c->rows = rows;
    }
    c->positions = positions;
    c->positions_count = count;
    c->start = start;
    c->stop = stop;
    c->mean = mean;
    c->beta = beta;
    c->free = free_;
    run(c, chunks(count), l->heads);
}

typedef struct {
    const pq_prior *prior;
    const pq_view *view;
    int64_t first, count;
    uint16_t *masses;
    uint32_t *totals;
} table;

enum { TABLES = 48 }; /* that a thread makes at a time */

static void make_tables(void *data, int64_t part, int thread) {
    table *t = data;
    int64_t from = part * TABLES, count = t->count - from < TABLES ? t->count - from : TABLES;
    (void)thread;
    t->prior->level->masses(t->prior, t->view, t->first + from, count, t->masses + from * t->prior->stride,
                            t->totals + from);
}

void pq_masses(pq_prior *p, const pq_view *view, uint16_t *masses, uint32_t *totals) {
    table t = {p, view, 0, view->count, masses, totals};
    pool_run(p->pool, (view->count + TABLES - 1) / TABLES, make_tables, &t);
}

int64_t pq_decode(pq_prior *p, const pq_view *view, pq_decoder *decoder, const uint8_t *data, int64_t length,
                  uint8_t *codes) {
    uint16_t masses[ROWS * MOST_WORDS];
    uint32_t totals[ROWS];
    pq_decoder state = *decoder;
    int64_t done = 0;
    int step = pool_threads(p->pool) > 1 ? ROWS : TABLES;
    while (done < view->count && !state.exhausted) {
        table t = {p, view, done, view->count - done < step ? view->count - done : step, masses, totals};
        pool_run(p->pool, (t.count + TABLES - 1) / TABLES, make_tables, &t);
        for (int64_t i = 0; i < t.count; i++, done++)
            if (!decode_masses(&state, data, length, masses + i * p->stride, totals[i], p->s.codewords, codes + done))
                break;
    }
    *decoder = state;
    return done;
}

/* C[k] of a row: (W[k - 1] * (65536 - K)) / W[K - 1] + k. */
static inline int32_t share(uint64_t before, uint32_t total, int codewords, int k) {
    return (int32_t)(before * (uint64_t)(65536 - codewords) / total) + k;
}

void pq_intervals(const pq_prior *p, int64_t count, int64_t each, const uint16_t *masses, const uint32_t *totals,
                  const uint8_t *codes, int32_t *starts, int32_t *sizes) {
    for (int64_t i = 0; i < count; i++, masses += p->stride) {
        uint32_t before[MOST_WORDS + 1];
        before[0] = 0;
        for (int k = 0; k < p->s.codewords; k++)
            before[k + 1] = before[k] + masses[k];
        for (int64_t j = i * each; j < (i + 1) * each; j++) {
            int32_t start = share(before[codes[j]], totals[i], p->s.codewords, codes[j]);
            if (starts)
                starts[j] = start;
            sizes[j] = share(before[codes[j] + 1], totals[i], p->s.codewords, codes[j] + 1) - start;
        }
    }
}

void pq_cumulative(const pq_prior *p, int64_t count, const uint16_t *masses, const uint32_t *totals,
                   int32_t *cumulative) {
    for (int64_t i = 0; i < count; i++, masses += p->stride) {
        uint64_t before = 0;
        *cumulative++ = 0;
        for (int k = 0; k < p->s.codewords; k++) {
            before += masses[k];
            *cumulative++ = share(before, totals[i], p->s.codewords, k + 1);
        }
    }
}
