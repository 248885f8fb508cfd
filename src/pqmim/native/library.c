/* Levels, priors and contexts: what is compiled once, without any level's instructions. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

#ifndef PQMIM_SOURCE
#define PQMIM_SOURCE "unknown"
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#define LEVEL(name) extern const level level_##name;
#include "levels.h"
#undef LEVEL

static const level *const levels[] = {
#define LEVEL(name) &level_##name,
#include "levels.h"
#undef LEVEL
};

const char *pq_source(void) { return PQMIM_SOURCE; }

int pq_level_count(void) { return sizeof levels / sizeof *levels; }

const char *pq_level_name(int index) { return levels[index]->name; }

int pq_level_usable(int index) {
    const char *name = levels[index]->name;
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2") != 0;
#ifdef HAVE_AVXVNNI
    if (!strcmp(name, "avxvnni")) {
        unsigned a, b, c, d;
        __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(1));
        return __builtin_cpu_supports("avx2") && (a >> 4 & 1);
    }
#endif
    if (!strcmp(name, "avx512") || !strcmp(name, "avx512vnni"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               (!strcmp(name, "avx512") || __builtin_cpu_supports("avx512vnni"));
#elif defined(__aarch64__)
    if (!strcmp(name, "neondot")) {
#if defined(__linux__)
        return (getauxval(AT_HWCAP) >> 20 & 1) != 0; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__)
        return 1; /* every Apple processor of this kind */
#else
        return 0;
#endif
    }
#endif
    (void)name;
    return 1;
}

void pq_cheapest(int index, const pq_choice *c, int64_t count, const float *latents, uint8_t *codes, float *bits) {
    levels[index]->cheapest(c, count, latents, codes, bits);
}

void pq_choice_errors(int index, const pq_choice *c, int64_t count, const float *aims, const uint8_t *codes,
                      float *errors) {
    levels[index]->errors(c, count, aims, codes, errors);
}

void pq_choice_mean(int index, const pq_choice *c, int64_t count, const float *aims, const uint8_t *codes,
                    const float *bits, float *means) {
    levels[index]->mean(c, count, aims, codes, bits, means);
}

/* The block's own address is kept in front of it. */
void *aligned(size_t bytes, int *failed) {
    char *memory = *failed ? NULL : calloc(1, bytes + 64 + sizeof(void *));
    if (!memory) {
        *failed = 1;
        return NULL;
    }
    char *place = memory + sizeof(void *);
    place += (64 - (uintptr_t)place % 64) % 64;
    memcpy(place - sizeof(void *), &memory, sizeof memory);
    return place;
}

void release(void *place) {
    void *memory;
    if (place) {
        memcpy(&memory, (char *)place - sizeof(void *), sizeof memory);
        free(memory);
    }
}

static void release_linear(linear *l) {
    release(l->weights);
    release(l->bias);
    release(l->shift);
}

void pq_prior_free(pq_prior *p) {
    if (!p || __atomic_sub_fetch(&p->users, 1, __ATOMIC_ACQ_REL))
        return;
    pool_free(p->pool);
    for (int i = 0; p->blocks && i < p->s.blocks; i++) {
        block *b = p->blocks + i;
        linear *layers[] = {&b->query, &b->keys_values, &b->attended, &b->expand, &b->reduce};
        for (int l = 0; l < 5; l++)
            release_linear(layers[l]);
        release(b->taps), release(b->half), release(b->shift), release(b->bias);
    }
    for (int m = 0; p->heads && m < p->s.size; m++)
        release(p->heads[m].words), release(p->heads[m].term), release(p->heads[m].fixed);
    release_linear(&p->mean), release_linear(&p->precision), release_linear(&p->free);
    void *others[] = {p->first, p->feature, p->rising, p->falling, p->known, p->bias,
                      p->shift, p->level_rows, p->blocks, p->heads};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        release(others[i]);
    free(p);
}

static void *copied(const void *from, size_t bytes, int *failed) {
    void *to = aligned(bytes, failed);
    if (to)
        memcpy(to, from, bytes);
    return to;
}

/* Columns of the embedding, summed so that a feature takes one of them, by its sign. */
static void pack_embedding(pq_prior *p, const void *const *tensors, int *failed) {
    int width = p->s.width, channels = p->s.channels, inputs = p->s.inputs;
    const int8_t *weight = tensors[0], *shift = tensors[2];
    p->rising = aligned((size_t)channels * width * sizeof(int16_t), failed);
    p->falling = aligned((size_t)channels * width * sizeof(int16_t), failed);
    p->known = aligned((size_t)p->s.size * width * sizeof(int16_t), failed);
    p->bias = copied(tensors[1], (size_t)width * sizeof(int32_t), failed);
    p->shift = aligned((size_t)width * sizeof(int32_t), failed);
    if (*failed)
        return;
    for (int i = 0; i < width; i++, weight += inputs) {
        p->shift[i] = shift[i];
        for (int c = 0; c < channels; c++) {
            p->rising[c * width + i] = (int16_t)(weight[channels + c] + weight[c]);
            p->falling[c * width + i] = (int16_t)(weight[channels + c] - weight[c]);
        }
        for (int m = 0; m < p->s.size; m++)
            p->known[m * width + i] = (int16_t)(64 * weight[2 * channels + m]);
    }
}

pq_prior *pq_prior_new(const pq_sizes *sizes, const void *const *tensors, int index, int threads) {
    int failed = 0;
    pq_prior *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->users = 1;
    p->s = *sizes;
    p->level = levels[index];
    p->pool = pool_new(threads);
    p->first = aligned(((size_t)sizes->size + 1) * sizeof(int), &failed);
    p->blocks = aligned((size_t)sizes->blocks * sizeof(block), &failed);
    p->heads = aligned((size_t)sizes->size * sizeof(head), &failed);
    p->feature = copied(tensors[2], (size_t)sizes->size * sizes->codewords * sizes->widest, &failed);
    p->level_rows = copied(tensors[3], (size_t)101 * sizes->width * sizeof(int32_t), &failed);
    memcpy(p->beta, tensors[6], sizeof p->beta);
    for (int m = 0; !failed && m < sizes->size; m++)
        p->first[m + 1] = p->first[m] + ((const int16_t *)tensors[0])[m];
    if (!failed)
        pack_embedding(p, tensors + 7, &failed);
    if (!failed)
        p->level->pack(p, tensors, &failed);
    if (failed || !p->pool) {
        pq_prior_free(p);
        return NULL;
    }
    return p;
}

int pq_stride(const pq_prior *p) { return p->stride; }

pq_transform *pq_transform_new(const pq_transform_sizes *sizes, const float *const *tensors, int index, int threads) {
    int failed = 0;
    pq_transform *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->s = *sizes;
    t->level = levels[index];
    t->pool = pool_new(threads < MOST_THREADS ? threads : MOST_THREADS);
    t->blocks = aligned((size_t)(sizes->coarse + sizes->fine) * sizeof(gated), &failed);
    if (!failed)
        t->level->pack_transform(t, tensors, &failed);
    if (failed || !t->pool) {
        pq_transform_free(t);
        return NULL;
    }
    return t;
}

static void release_dense(dense *l) { release(l->weights), release(l->scale), release(l->bias); }

void pq_transform_free(pq_transform *t) {
    if (!t)
        return;
    pool_free(t->pool);
    for (int i = 0; t->blocks && i < t->s.coarse + t->s.fine; i++) {
        gated *b = t->blocks + i;
        release_dense(&b->expand), release_dense(&b->unexpand), release_dense(&b->reduce), release_dense(&b->unreduce);
        release(b->taps);
    }
    release_dense(&t->split), release_dense(&t->head), release_dense(&t->merge), release_dense(&t->stem);
    release(t->blocks);
    free(t);
}

int64_t pq_transform_room(const pq_transform *t, int height, int width) { return t->level->room(t, height, width); }

void pq_synthesis_slope(const pq_transform *t, int height, int width, const float *gains, const float *latent,
                       const float *target, float *slope, void *room) {
    t->level->slope(t, height, width, gains, latent, target, slope, room);
}

void pq_analysis_latent(const pq_transform *t, int height, int width, const float *gains, const float *patches,
                        float *latent, void *room) {
    t->level->latent(t, height, width, gains, patches, latent, room);
}
