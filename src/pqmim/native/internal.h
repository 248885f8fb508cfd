/* What the sources share among themselves. */
#ifndef PQMIM_INTERNAL_H
#define PQMIM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "pqmim.h"

enum {
    WINDOW = 8,             /* tokens a side of an attention window */
    SLOTS = WINDOW * WINDOW,
    LIMIT = 127,            /* of an activation */
    CHUNK = 96,             /* tokens that go through the layers together: a multiple of every level's TOKENS */
    MOST_TOKENS = 12,       /* of a tile, at any level */
    MOST_PANEL = 32,        /* outputs of a tile, at any level */
    MOST_WORDS = 256,       /* codewords */
    ROWS = 192,             /* frequency tables made before they are decoded, where threads share the work */
    LARGEST_MEAN = 4080,
    LOWEST_PRECISION = -256,
    HIGHEST_PRECISION = 96,
    MOST_INPUTS = 1024,     /* of a layer of the transforms */
    MOST_BLOCKS = 64,       /* of a transform */
    MOST_THREADS = 64       /* that share a transform */
};

/* A linear layer, its weights in the order in which the tile of a level reads them. */
typedef struct {
    int inputs, outputs;    /* of the layer; weights are padded with zeros beyond */
    int groups, panels;
    void *weights;
    int32_t *bias, *shift;  /* (panels * PANEL) */
} linear;

typedef struct {
    linear query, keys_values, attended, expand, reduce;
    int16_t *taps;                 /* (9, width) */
    int32_t *half, *shift;         /* (width,) of the depthwise layer */
    int32_t *bias;                 /* (heads, SLOTS, SLOTS) */
    int offset;                    /* of the windows, up and left */
} block;

/* What the frequencies of a sub-quantizer are made of. */
typedef struct {
    int dimensions, channel;       /* how many, and the first of them */
    double *words;                 /* (dimensions, stride) */
    int16_t *term;                 /* panels of the level */
    int32_t *fixed;                /* (stride,): very low where there is no codeword */
    int32_t bound;                 /* no code's logit is larger, whatever the tokens */
} head;

typedef struct pool pool;

/* A layer whose weights are whole numbers, with what 1 stands for in each row. */
typedef struct {
    int inputs, outputs, groups, panels;
    int16_t *weights;              /* panels of the level */
    float *scale, *bias;           /* (panels * PANEL) */
} dense;

/* A block of a transform, and its layers turned for the way back. */
typedef struct {
    int width;
    float *taps;                   /* (9, width) */
    dense expand, unexpand, reduce, unreduce;
} gated;

typedef struct level {
    const char *name;
    void (*pack)(struct pq_prior *prior, const void *const *tensors, int *failed);
    size_t (*scratch)(const struct pq_prior *prior);
    void (*embed)(struct pq_context *c, int64_t part, void *scratch);
    void (*project)(struct pq_context *c, int64_t part, void *scratch);
    void (*attend)(struct pq_context *c, int64_t part, void *scratch);
    void (*mix)(struct pq_context *c, int64_t part, void *scratch);
    void (*heads)(struct pq_context *c, int64_t part, void *scratch);
    void (*masses)(const struct pq_prior *prior, const pq_view *view, int64_t first, int64_t count, uint16_t *masses,
                   uint32_t *totals);
    void (*cheapest)(const pq_choice *choice, int64_t count, const float *latents, uint8_t *codes, float *bits);
    void (*errors)(const pq_choice *choice, int64_t count, const float *aims, const uint8_t *codes, float *errors);
    void (*mean)(const pq_choice *choice, int64_t count, const float *aims, const uint8_t *codes, const float *bits,
                 float *means);
    void (*pack_transform)(struct pq_transform *t, const float *const *tensors, int *failed);
    int64_t (*room)(const struct pq_transform *t, int height, int width);
    void (*slope)(const struct pq_transform *t, int height, int width, const float *gains, const float *latent,
                  const float *target, float *slope, void *room);
    void (*latent)(const struct pq_transform *t, int height, int width, const float *gains, const float *patches,
                   float *latent, void *room);
} level;

struct pq_transform {
    const level *level;
    pq_transform_sizes s;
    pool *pool;
    gated *blocks;                 /* coarse, then fine */
    dense split, head;             /* from coarse to fine, and from fine to pixels: of a synthesis */
    dense merge, stem;             /* the other way: of an analysis, or of slopes */
};

struct pq_prior {
    const level *level;
    int users;                     /* its owner and its contexts: the last one frees it */
    pq_sizes s;
    int stride;                    /* of masses */
    pool *pool;
    int *first;                    /* (size + 1,): channels before each sub-quantizer */
    int8_t *feature;               /* (size, codewords, widest) */
    int16_t *rising, *falling;     /* (channels, width): what a feature of 1, and of -1, adds to the embedding */
    int16_t *known;                /* (size, width): what knowing a code adds */
    int32_t *bias, *shift;         /* (width,) of the embedding */
    int32_t *level_rows;           /* (101, width) */
    double beta[HIGHEST_PRECISION - LOWEST_PRECISION + 1];
    block *blocks;
    head *heads;
    linear mean, precision, free;
};

enum { UNKNOWN, PENDING, EMBEDDED };

struct pq_context {
    pq_prior *prior;
    int height, width, quality;
    int64_t count;                 /* height * width */
    int32_t *sum;                  /* (count, width): the embedding before its shift, kept between passes */
    int32_t *stream;               /* (count, width): the residual stream */
    int8_t *seen;                  /* (count, width): its activations */
    int16_t *qkv;                  /* (count, 3 * width) */
    int8_t *mixed;                 /* (count, width): what attention gives */
    uint8_t *codes, *state;        /* (count, size) */
    uint8_t *marked;               /* (count,): whether the last block is wanted there */
    int32_t *all, *rows;           /* (count,): every token, and those that the last block is for */
    int64_t wanted;                /* how many of the latter */
    const block *block;            /* at work */
    int whole;                     /* whether it is wanted everywhere */
    int across;                    /* windows side by side */
    const int64_t *positions;      /* of the heads */
    int64_t positions_count;
    int start, stop;
    int32_t *mean, *beta;
    int8_t *free;
    void **scratch;                /* one for each thread */
};

typedef void (*task)(void *data, int64_t part, int thread);

pool *pool_new(int threads);
void pool_free(pool *p);
int pool_threads(const pool *p);
/* Runs parts 0 to count - 1, in any order and on any thread; returns when all are done. */
void pool_run(pool *p, int64_t count, task run, void *data);

void *aligned(size_t bytes, int *failed); /* zeroed, 64 bytes aligned */
void release(void *memory);

/* Decodes one symbol, from masses; returns 0 when the bytes do not determine it. */
int decode_masses(pq_decoder *d, const uint8_t *data, int64_t length, const uint16_t *masses, uint32_t total,
                  int codewords, uint8_t *code);

#endif
