/* The library's functions, as `loader.py` declares them once more for ctypes.
 *
 * All but what the encoder searches by, its choice and its transforms, works on integers that `docs/FORMAT.md` fixes bit
 * by bit. Priors and transforms are read only once they are made, and may serve several threads; a context, and the room
 * of a call, belong to one thread at a time. */
#ifndef PQMIM_H
#define PQMIM_H

#include <stdint.h>

#if defined(__GNUC__) && !defined(_WIN32)
#define PQ_PUBLIC __attribute__((visibility("default")))
#elif defined(_WIN32)
#define PQ_PUBLIC __declspec(dllexport)
#else
#define PQ_PUBLIC
#endif

typedef struct pq_prior pq_prior;
typedef struct pq_context pq_context;
typedef struct pq_transform pq_transform;

/* Sizes of a prior, in the terms of FORMAT.md. */
typedef struct {
    int32_t size;       /* M sub-quantizers */
    int32_t codewords;  /* K, 2 to 256 */
    int32_t widest;     /* D, second side of `codebook` and `feature` */
    int32_t channels;   /* C, sum of the dimensions */
    int32_t width;      /* d of a token */
    int32_t heads;
    int32_t hidden;     /* units of the gated layer */
    int32_t rank;       /* R of the free term */
    int32_t blocks;
    int32_t inputs;     /* columns of `embed.weight` */
} pq_sizes;

/* What one sub-quantizer's frequencies are made of at `count` positions: rows of the three heads. */
typedef struct {
    int32_t m, temperature;        /* temperature in sixteenths */
    int64_t count;
    const int32_t *mean, *beta;    /* (count, moments) from the sub-quantizer's first channel on */
    const int8_t *free;            /* (count, frees) from the sub-quantizer's first row on */
    int64_t moments, frees;        /* elements from a row to the next */
} pq_view;

/* State of the range decoder, shared with `coding/range_coder.py`. */
typedef struct {
    uint64_t offset, range, slack, position, exhausted;
} pq_decoder;

/* State of the range encoder, likewise. */
typedef struct {
    uint64_t low, range;
} pq_encoder;

/* What the encoder chooses one picture's codes by; channels stand in the order of the sub-quantizers. */
typedef struct {
    int32_t size, codewords, channels;  /* M sub-quantizers, K codewords, C channels */
    int32_t active;                     /* how many sub-quantizers are sent, the first ones */
    int32_t few, likeliest;             /* codes that are kept, and those of them whose mean is taken: at most 16 */
    float price;                        /* squared error that is worth a bit */
    float soft_price, soft_bits;        /* of a bit, and the part of the bits that counts, in the soft choice */
    const int32_t *first;               /* (M + 1,): channels before each sub-quantizer */
    const float *words;                 /* (C, K) */
    const float *worth;                 /* (C,): squared error, in pixel units, of a unit of each channel */
    const float *bits;                  /* (M, K) by static frequencies */
} pq_choice;

/* Sizes of a transform: see `models/transforms.py`. Inputs of a layer, both halves of a gate too, are at most 1024. */
typedef struct {
    int32_t latent, stem, pixels;            /* channels at 1/16 and 1/8 resolution, and numbers in a patch of pixels */
    int32_t coarse, fine;                    /* blocks at 1/16 and 1/8 resolution: at most 64 */
    int32_t hidden_coarse, hidden_fine;      /* units of their gated layers */
    int32_t analysis;                        /* 1 for an analysis, 0 for a synthesis */
    float reach;                             /* what the input of a branch is cut to */
    float middle, black, white;              /* what pixels are the distance from, and between which they have an error */
} pq_transform_sizes;

PQ_PUBLIC const char *pq_source(void); /* hash of the sources that this library was built from */
PQ_PUBLIC int pq_level_count(void);
PQ_PUBLIC const char *pq_level_name(int level);
PQ_PUBLIC int pq_level_usable(int level); /* whether this processor has what the level needs */

PQ_PUBLIC pq_prior *pq_prior_new(const pq_sizes *sizes, const void *const *tensors, int level, int threads);
PQ_PUBLIC void pq_prior_free(pq_prior *prior);
PQ_PUBLIC pq_context *pq_context_new(pq_prior *prior, int height, int width, int quality);
PQ_PUBLIC void pq_context_free(pq_context *context);
PQ_PUBLIC void pq_reveal(pq_context *context, int m, int64_t count, const int64_t *positions, const uint8_t *codes);

/* Runs the first `blocks` blocks, then the heads of sub-quantizers `start` to `stop` at the positions. `mean` and
 * `beta` are (count, channels of these), `free` is (count, rank * (stop - start)). */
PQ_PUBLIC void pq_heads(pq_context *context, int blocks, int64_t count, const int64_t *positions, int start, int stop,
                        int32_t *mean, int32_t *beta, int8_t *free_);

/* Elements of a row of masses: K and what it is padded to, with zeros. */
PQ_PUBLIC int pq_stride(const pq_prior *prior);
/* Unnormalized masses (count, stride), 0 to 32768, and their totals (count,). */
PQ_PUBLIC void pq_masses(pq_prior *prior, const pq_view *view, uint16_t *masses, uint32_t *totals);
/* Cumulative frequency of each code (count, each) and its own. */
PQ_PUBLIC void pq_intervals(const pq_prior *prior, int64_t count, int64_t each, const uint16_t *masses,
                            const uint32_t *totals, const uint8_t *codes, int32_t *starts, int32_t *sizes);
/* Cumulative frequencies (count, K + 1). */
PQ_PUBLIC void pq_cumulative(const pq_prior *prior, int64_t count, const uint16_t *masses, const uint32_t *totals,
                             int32_t *cumulative);
/* Decodes straight from the masses; returns how many codes the bytes determine. */
PQ_PUBLIC int64_t pq_decode(pq_prior *prior, const pq_view *view, pq_decoder *decoder, const uint8_t *data,
                            int64_t length, uint8_t *codes);

PQ_PUBLIC int64_t pq_decode_tables(pq_decoder *decoder, const uint8_t *data, int64_t length, int64_t count,
                                   int64_t codewords, const int32_t *cumulative, int64_t *symbols);
/* Appends symbols; writes at most `count` words of 17 bits, and returns how many. */
PQ_PUBLIC int64_t pq_encode(pq_encoder *encoder, int64_t count, const int64_t *starts, const int64_t *sizes,
                            uint32_t *words);

/* Codes (count, M, few) that cost least for latents (count, C), the cheapest first, and their bits. What is not sent is
 * left as it is. */
PQ_PUBLIC void pq_cheapest(int level, const pq_choice *choice, int64_t count, const float *latents, uint8_t *codes,
                           float *bits);
/* Squared errors, in bits, of these codes for aims (count, C). */
PQ_PUBLIC void pq_choice_errors(int level, const pq_choice *choice, int64_t count, const float *aims,
                                const uint8_t *codes, float *errors);
/* Mean codewords (count, C) of the soft choice among the likeliest. */
PQ_PUBLIC void pq_choice_mean(int level, const pq_choice *choice, int64_t count, const float *aims,
                              const uint8_t *codes, const float *bits, float *means);

/* Tensors: of each block, coarse ones first, `depthwise` (width, 9), `expand` (2 hidden, width), `bias` (2 hidden) and
 * `reduce` (width, hidden), times the root of the scale; then `split` (4 stem, latent) and `head` (pixels, stem) of a
 * synthesis, `merge` (latent, 4 stem) and `stem` (stem, pixels) of an analysis. */
PQ_PUBLIC pq_transform *pq_transform_new(const pq_transform_sizes *sizes, const float *const *tensors, int level,
                                         int threads);
PQ_PUBLIC void pq_transform_free(pq_transform *transform);
/* Bytes that a call for so many latent positions works in. */
PQ_PUBLIC int64_t pq_transform_room(const pq_transform *transform, int height, int width);
/* The gradient (height * width, latent) of the squared error by `latent` of the same shape. `gains` are those of the
 * inputs of all blocks, coarse ones first; `target` (4 * height * width, pixels) are the patches that are wanted, NaN
 * where nothing is. */
PQ_PUBLIC void pq_synthesis_slope(const pq_transform *synthesis, int height, int width, const float *gains,
                                  const float *latent, const float *target, float *slope, void *room);
/* The latent (height * width, latent) of patches (4 * height * width, pixels), which are distances from the middle. */
PQ_PUBLIC void pq_analysis_latent(const pq_transform *analysis, int height, int width, const float *gains,
                                  const float *patches, float *latent, void *room);

#endif
