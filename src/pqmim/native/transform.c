/* What the encoder asks of the transforms: the latent of a picture, and how its squared error changes with the latent that
 * a synthesis draws it from.
 *
 * For the latter a pass forth keeps what comes into each block and what its gate met; a pass back goes the same way with
 * slopes. */

#include <math.h>

static inline floats sigmoid(floats x) { return 1 / (1 + power(x * -1.442695041f)); }

typedef struct {
    float *halves; /* (count, panels * PANEL): both, as the gate meets them; or NULL */
    ptrdiff_t stride;
    float *gated;
    ptrdiff_t across;
} to_units;

static inline void place_units(const void *to, int row, int first, int columns, floats a, floats b) {
    const to_units *t = to;
    (void)columns; /* panels of a gate are whole */
    if (t->halves) {
        put(t->halves + row * t->stride + first, a);
        put(t->halves + row * t->stride + first + LANES, b);
    }
    put(t->gated + row * t->across + first / 2, a * sigmoid(a) * b);
}

typedef struct {
    const float *halves;
    float *slopes;
    ptrdiff_t stride;
} to_halves;

/* Slopes by both halves, of those by the gated units. */
static inline void place_halves(const void *to, int row, int first, int columns, floats left, floats right) {
    const to_halves *t = to;
    for (int part = 0; part < columns; part += LANES) {
        ptrdiff_t place = row * t->stride + 2 * (first + part);
        floats a = floats_at(t->halves + place), b = floats_at(t->halves + place + LANES);
        floats slope = part ? right : left, s = sigmoid(a);
        put(t->slopes + place, slope * b * (s * (1 + a * (1 - s))));
        put(t->slopes + place + LANES, slope * a * s);
    }
}

/* Numbers (width,) of the nine positions around one, zeros beyond the edges, times `taps` (9, width), or those turned. */
static inline void around(const float *from, int height, int across, int64_t position, int width, const float *taps,
                          int turned, float *restrict to) {
    static const float outside[MOST_INPUTS];
    int y = (int)(position / across), x = (int)(position % across);
    const float *near[9], *w[9];
    for (int tap = 0; tap < 9; tap++) {
        int row = y + tap / 3 - 1, column = x + tap % 3 - 1;
        int inside = row >= 0 && row < height && column >= 0 && column < across;
        near[tap] = inside ? from + ((size_t)row * across + column) * width : outside;
        w[tap] = taps + (size_t)(turned ? 8 - tap : tap) * width;
    }
    for (int c = 0; c < width; c++) {
        float sum = near[0][c] * w[0][c];
        for (int tap = 1; tap < 9; tap++)
            sum += near[tap][c] * w[tap][c];
        to[c] = sum;
    }
}

static inline int parts_of(int64_t count) { return (int)((count + PART - 1) / PART); }

/* One of the steps below at PART positions. */
typedef struct {
    const pq_transform *t;
    const gated *block;
    int height, width;     /* positions of the block */
    const float *gain;
    const float *x;        /* (count, channels): what comes in */
    float *y;              /* what goes out */
    float *halves;         /* what the gate met, or NULL */
    float *own;            /* what the branch sees of x; on the way back, what its slopes are */
    float *slope;
    const float *target;
    void **scratch;
} walk;

static inline int64_t count_of(const walk *w) { return (int64_t)w->height * w->width; }

static inline int here(const walk *w, int64_t part) {
    int64_t left = count_of(w) - part * PART;
    return (int)(left < PART ? left : PART);
}

static inline float clipped(float x, float most) { return x < -most ? -most : x > most ? most : x; }

/* What the branch sees of x. */
static void look(void *data, int64_t part, int thread) {
    const walk *w = data;
    int width = w->block->width;
    const float *restrict gain = w->gain;
    (void)thread;
    for (int64_t p = part * PART, last = p + here(w, part); p < last; p++) {
        const float *restrict x = w->x + p * width;
        float *restrict own = w->own + p * width;
        for (int c = 0; c < width; c++)
            own[c] = clipped(x[c] * gain[c], w->t->s.reach);
    }
}

/* A block: depthwise layer, gate, and what it adds. */
static void forth(void *data, int64_t part, int thread) {
    const walk *w = data;
    const gated *b = w->block;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), units = b->expand.panels * PANEL;
    int64_t first = part * PART;
    for (int i = 0; i < count; i++)
        around(w->own, w->height, w->width, first + i, b->width, b->taps, 0, d.wide + i * b->width);
    take(&d, &b->expand, d.wide, b->width, count);
    to_units both = {w->halves ? w->halves + first * units : NULL, units, d.wide, units / 2};
    give(&d, &b->expand, count, place_units, &both);
    apply(&d, &b->reduce, d.wide, units / 2, count, w->y + first * b->width, w->x + first * b->width);
}

/* The way back through gate and layers: slopes by what the depthwise layer gave. */
static void back(void *data, int64_t part, int thread) {
    const walk *w = data;
    const gated *b = w->block;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), units = b->expand.panels * PANEL;
    int64_t first = part * PART;
    take(&d, &b->unreduce, w->slope + first * b->width, b->width, count);
    to_halves both = {w->halves + first * units, d.wide, units};
    give(&d, &b->unreduce, count, place_halves, &both);
    apply(&d, &b->unexpand, d.wide, units, count, w->own + first * b->width, NULL);
}

/* And through the depthwise layer: slopes by x. */
static void join(void *data, int64_t part, int thread) {
    const walk *w = data;
    int width = w->block->width;
    const float *restrict gain = w->gain;
    float *restrict sum = draft_at(w->scratch[thread]).wide;
    for (int64_t p = part * PART, last = p + here(w, part); p < last; p++) {
        const float *restrict x = w->x + p * width;
        float *restrict slope = w->slope + p * width;
        around(w->own, w->height, w->width, p, width, w->block->taps, 1, sum);
        for (int c = 0; c < width; c++)
            slope[c] += fabsf(x[c] * gain[c]) < w->t->s.reach ? sum[c] * gain[c] : 0;
    }
}

/* Place at 1/8 resolution of the upper or lower two of the four positions that one at 1/16 becomes. */
static inline int64_t place_of(const walk *w, int64_t position, int row) {
    return (2 * (position / w->width) + row) * 2 * w->width + 2 * (position % w->width);
}

/* Four positions at 1/8 resolution from each at 1/16. */
static void split(void *data, int64_t part, int thread) {
    const walk *w = data;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), stem = w->t->s.stem, latent = w->t->s.latent;
    apply(&d, &w->t->split, w->x + part * PART * latent, latent, count, d.wide, NULL);
    for (int i = 0; i < 2 * count; i++)
        memcpy(w->y + place_of(w, part * PART + i / 2, i % 2) * stem, d.wide + 2 * i * stem, 2 * stem * sizeof(float));
}

/* One at 1/16 resolution from each four at 1/8. */
static void merge(void *data, int64_t part, int thread) {
    const walk *w = data;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), stem = w->t->s.stem, latent = w->t->s.latent;
    for (int i = 0; i < 2 * count; i++)
        memcpy(d.wide + 2 * i * stem, w->x + place_of(w, part * PART + i / 2, i % 2) * stem, 2 * stem * sizeof(float));
    apply(&d, &w->t->merge, d.wide, 4 * stem, count, w->y + part * PART * latent, NULL);
}

/* Pixels, and slopes of their squared error by x. No error is where the target is no number, or beyond black or white. */
static void compare(void *data, int64_t part, int thread) {
    const walk *w = data;
    const pq_transform_sizes *s = &w->t->s;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part);
    apply(&d, &w->t->head, w->x + part * PART * s->stem, s->stem, count, d.wide, NULL);
    const float *restrict target = w->target + part * PART * s->pixels;
    for (int i = 0; i < count * s->pixels; i++) {
        float x = d.wide[i] + s->middle, apart = 2 * (x - target[i]);
        d.wide[i] = x > s->black && x < s->white && apart == apart ? apart : 0;
    }
    apply(&d, &w->t->stem, d.wide, s->pixels, count, w->slope + part * PART * s->stem, NULL);
}

/* Patches to what the fine blocks work on. */
static void begin(void *data, int64_t part, int thread) {
    const walk *w = data;
    const pq_transform_sizes *s = &w->t->s;
    draft d = draft_at(w->scratch[thread]);
    apply(&d, &w->t->stem, w->x + part * PART * s->pixels, s->pixels, here(w, part), w->y + part * PART * s->stem, NULL);
}

/* From `w->x` through a block to `w->y`, with the block's gains, which `*gain` moves beyond. */
static void pass(walk *w, const gated *b, const float **gain) {
    w->block = b;
    w->gain = *gain;
    pool_run(w->t->pool, parts_of(count_of(w)), look, w);
    pool_run(w->t->pool, parts_of(count_of(w)), forth, w);
    *gain += b->width;
}

static size_t stage_floats(const gated *blocks, int count, int64_t positions) {
    size_t floats = 0;
    for (int i = 0; i < count; i++)
        floats += (size_t)positions * (blocks[i].width + blocks[i].expand.panels * PANEL);
    return floats;
}

/* Numbers that a position has at most, at 1/16 resolution or in four at 1/8. */
static inline int widest_of(const pq_transform *t) { return t->s.latent > 4 * t->s.stem ? t->s.latent : 4 * t->s.stem; }

static int64_t transform_room(const pq_transform *t, int height, int width) {
    int64_t count = (int64_t)height * width;
    size_t floats = (size_t)count * (4 * t->s.stem * 2 + widest_of(t));
    if (!t->s.analysis)
        floats += stage_floats(t->blocks, t->s.coarse, count) + stage_floats(t->blocks + t->s.coarse, t->s.fine, 4 * count);
    return (int64_t)(floats * sizeof(float) + pool_threads(t->pool) * draft_bytes() + 64);
}

/* Moves `w->x` through `count` blocks, and `*room` beyond what the way back needs. */
static void through(walk *w, const gated *blocks, int count, const float **gain, float **room, const float **inputs,
                    float **halves) {
    for (int i = 0; i < count; i++) {
        inputs[i] = w->x;
        w->halves = halves[i] = *room;
        w->y = *room + count_of(w) * blocks[i].expand.panels * PANEL;
        *room = w->y + count_of(w) * blocks[i].width;
        pass(w, blocks + i, gain);
        w->x = w->y;
    }
}

static void backwards(walk *w, const gated *blocks, int count, const float **gain, const float *const *inputs,
                      float *const *halves) {
    for (int i = count - 1; i >= 0; i--) {
        w->block = blocks + i;
        w->gain = *gain -= w->block->width;
        w->x = inputs[i];
        w->halves = halves[i];
        pool_run(w->t->pool, parts_of(count_of(w)), back, w);
        pool_run(w->t->pool, parts_of(count_of(w)), join, w);
    }
}

/* Memory of all threads, from the room of a call; returns what is left. */
static float *drafts(const pq_transform *t, void *room, void **scratch) {
    char *memory = (char *)room + (64 - (uintptr_t)room % 64) % 64;
    for (int i = 0; i < pool_threads(t->pool); i++, memory += draft_bytes())
        scratch[i] = memory;
    return (float *)memory;
}

static void synthesis_slope(const pq_transform *t, int height, int width, const float *gain, const float *latent,
                           const float *target, float *slope, void *room) {
    int64_t count = (int64_t)height * width;
    const float *inputs[MOST_BLOCKS];
    float *halves[MOST_BLOCKS];
    void *scratch[MOST_THREADS];
    float *own = drafts(t, room, scratch), *fine_slope = own + count * widest_of(t), *x = fine_slope + 4 * count * t->s.stem;
    float *next = x + 4 * count * t->s.stem;
    const gated *fine = t->blocks + t->s.coarse;
    walk w = {.t = t, .height = height, .width = width, .x = latent, .own = own, .target = target, .scratch = scratch};

    through(&w, t->blocks, t->s.coarse, &gain, &next, inputs, halves);
    w.y = x;
    pool_run(t->pool, parts_of(count), split, &w);
    w.x = x, w.height = 2 * height, w.width = 2 * width;
    through(&w, fine, t->s.fine, &gain, &next, inputs + t->s.coarse, halves + t->s.coarse);
    w.slope = fine_slope;
    pool_run(t->pool, parts_of(4 * count), compare, &w);
    backwards(&w, fine, t->s.fine, &gain, inputs + t->s.coarse, halves + t->s.coarse);
    w.height = height, w.width = width, w.x = fine_slope, w.y = slope;
    pool_run(t->pool, parts_of(count), merge, &w);
    w.slope = slope;
    backwards(&w, t->blocks, t->s.coarse, &gain, inputs, halves);
}

static void analysis_latent(const pq_transform *t, int height, int width, const float *gains, const float *patches,
                            float *latent, void *room) {
    int64_t count = (int64_t)height * width;
    void *scratch[MOST_THREADS];
    float *own = drafts(t, room, scratch), *x = own + count * widest_of(t);
    const float *gain = gains + t->s.coarse * t->s.latent;
    walk w = {.t = t, .height = 2 * height, .width = 2 * width, .x = patches, .y = x, .own = own, .scratch = scratch};

    pool_run(t->pool, parts_of(4 * count), begin, &w);
    w.x = x; /* blocks work in place, and keep nothing */
    for (int i = 0; i < t->s.fine; i++)
        pass(&w, t->blocks + t->s.coarse + i, &gain);
    w.height = height, w.width = width, w.y = latent;
    pool_run(t->pool, parts_of(count), merge, &w);
    w.x = latent;
    for (int i = 0; i < t->s.coarse; i++)
        pass(&w, t->blocks + i, &gains);
}

/* Tensors of a block: `depthwise` (width, 9), `expand` (2 hidden, width), `bias` (2 hidden), `reduce` (width, hidden). */
static void pack_gated(gated *b, int width, int hidden, int back, const float *const *tensors, int *failed) {
    int units = rounded(hidden, LANES) * 2, *order = aligned((size_t)units * sizeof(int), failed);
    b->width = width;
    b->taps = aligned((size_t)9 * width * sizeof(float), failed);
    for (int i = 0; i < units && !*failed; i++) { /* LANES of one half, then those of the other that they meet */
        int unit = i / PANEL * LANES + i % LANES;
        order[i] = unit >= hidden ? -1 : i % PANEL < LANES ? unit : hidden + unit;
    }
    for (int i = 0; i < 9 * width && !*failed; i++)
        b->taps[i] = tensors[0][i % width * 9 + i / width];
    pack_dense(&b->expand, width, units, tensors[1], width, 1, order, NULL, tensors[2], failed);
    pack_dense(&b->reduce, hidden, width, tensors[3], hidden, 1, NULL, NULL, NULL, failed);
    if (back) {
        pack_dense(&b->unexpand, units, width, tensors[1], 1, width, NULL, order, NULL, failed);
        pack_dense(&b->unreduce, width, hidden, tensors[3], 1, hidden, NULL, NULL, NULL, failed);
    }
    release(order);
}

static void pack_transform(pq_transform *t, const float *const *tensors, int *failed) {
    const pq_transform_sizes *s = &t->s;
    int latent = s->latent, stem = s->stem, back = !s->analysis;
    int blocks = s->coarse + s->fine, *order = aligned((size_t)4 * stem * sizeof(int), failed);
    for (int i = 0; i < blocks && !*failed; i++, tensors += 4) {
        int coarse = i < s->coarse;
        pack_gated(t->blocks + i, coarse ? latent : stem, coarse ? s->hidden_coarse : s->hidden_fine, back, tensors, failed);
    }
    for (int i = 0; i < 4 * stem && !*failed; i++)
        order[i] = i % stem * 4 + i / stem;
    if (back) {
        pack_dense(&t->split, latent, 4 * stem, tensors[0], latent, 1, order, NULL, NULL, failed);
        pack_dense(&t->head, stem, s->pixels, tensors[1], stem, 1, NULL, NULL, NULL, failed);
    }
    pack_dense(&t->merge, 4 * stem, latent, tensors[0], back ? 1 : 4 * stem, back ? latent : 1, NULL, order, NULL, failed);
    pack_dense(&t->stem, s->pixels, stem, tensors[1], back ? 1 : s->pixels, back ? stem : 1, NULL, NULL, NULL, failed);
    release(order);
}
