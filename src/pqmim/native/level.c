/* All that is compiled once for each level, with its instructions: build.py defines LEVEL_... and TABLE. */

#include "internal.h"
#include "lanes.h"

#include "linear.c"
#include "attention.c"
#include "block.c"
#include "tables.c"
#include "choice.c"
#include "dense.c"
#include "transform.c"

/* Places of the tensors that `pq_prior_new` is given; those of a block follow one another. */
enum {
    DIMENSIONS, CODEBOOK, FEATURE, LEVELS, TERM, STATIC, BETA, EMBED, MEAN = EMBED + 3, PRECISION = MEAN + 3,
    FREE = PRECISION + 3, BLOCKS = FREE + 3
};
enum { DEPTHWISE, DEPTHWISE_SHIFT, BIAS, QKV, ATTENDED = QKV + 3, EXPAND = ATTENDED + 3, REDUCE = EXPAND + 3,
       OF_A_BLOCK = REDUCE + 3 };

static void pack_block(pq_prior *p, int index, const void *const *tensors, int *failed) {
    block *b = p->blocks + index;
    int width = p->s.width;
    const int8_t *taps = tensors[DEPTHWISE], *shift = tensors[DEPTHWISE_SHIFT];
    const int32_t *bias = tensors[BIAS];
    b->offset = index % 2 * (WINDOW / 2);
    b->taps = aligned((size_t)9 * width * sizeof(int16_t), failed);
    b->half = aligned((size_t)width * sizeof(int32_t), failed);
    b->shift = aligned((size_t)width * sizeof(int32_t), failed);
    b->bias = aligned((size_t)p->s.heads * SLOTS * SLOTS * sizeof(int32_t), failed);
    if (*failed)
        return;
    for (int c = 0; c < width; c++) {
        for (int tap = 0; tap < 9; tap++)
            b->taps[tap * width + c] = taps[c * 9 + tap];
        b->shift[c] = shift[c];
        b->half[c] = (1 << shift[c]) >> 1;
    }
    for (int head = 0; head < p->s.heads; head++)
        for (int q = 0; q < SLOTS; q++)
            for (int k = 0; k < SLOTS; k++) {
                int down = q / WINDOW - k / WINDOW + WINDOW - 1, right = q % WINDOW - k % WINDOW + WINDOW - 1;
                b->bias[(head * SLOTS + q) * SLOTS + k] =
                    bias[head * (2 * WINDOW - 1) * (2 * WINDOW - 1) + down * (2 * WINDOW - 1) + right];
            }
    pack_rows(&b->query, width, 0, width, tensors + QKV, failed);
    pack_rows(&b->keys_values, width, width, 2 * width, tensors + QKV, failed);
    pack_rows(&b->attended, width, 0, width, tensors + ATTENDED, failed);
    pack_gate(&b->expand, width, p->s.hidden, tensors + EXPAND, failed);
    pack_rows(&b->reduce, p->s.hidden, 0, width, tensors + REDUCE, failed);
}

static void pack(pq_prior *p, const void *const *tensors, int *failed) {
    p->stride = rounded(p->s.codewords, MOST_PANEL);
    for (int m = 0; m < p->s.size && !*failed; m++)
        pack_head(p, m, tensors[CODEBOOK], tensors[TERM], tensors[STATIC], failed);
    pack_rows(&p->mean, p->s.width, 0, p->s.channels, tensors + MEAN, failed);
    pack_rows(&p->precision, p->s.width, 0, p->s.channels, tensors + PRECISION, failed);
    pack_rows(&p->free, p->s.width, 0, p->s.size * p->s.rank, tensors + FREE, failed);
    for (int index = 0; index < p->s.blocks && !*failed; index++)
        pack_block(p, index, tensors + BLOCKS + index * OF_A_BLOCK, failed);
}

#define TEXT(x) #x
#define NAME(x) TEXT(x)
const level TABLE = {NAME(TITLE), pack, scratch_bytes, embed, project, attend, mix, run_heads, masses,
                     cheapest, choice_errors, choice_mean, pack_transform, transform_room, synthesis_slope,
                     analysis_latent};
