/* How a picture's squared error changes with the latent that a synthesis draws it from: for the encoder's refinement.
 *
 * A pass forth keeps what comes into each block and what its gate met; a pass back goes the same way with slopes. */

#include <math.h>

static inline floats chosen(wholes which, floats yes, floats no) {
    return (floats)((which & (wholes)yes) | (~which & (wholes)no));
}

/* 1 / (1 + e^-x). The power of two is a polynomial between whole ones, good to 2^-21. */
static inline floats sigmoid(floats x) {
    floats least = (floats){0} - 125, most = (floats){0} + 125;
    x = x * -1.442695041f;
    x = chosen(x < least, least, chosen(x > most, most, x));
    wholes whole = __builtin_convertvector(x + 256.5f, wholes) - 256;
    x -= __builtin_convertvector(whole, floats); /* -0.5 to 0.5 */
    floats p = x * 0.0013333558f + 0.0096181291f;
    p = p * x + 0.0555041087f;
    p = p * x + 0.2402265070f;
    p = p * x + 0.6931471806f;
    return 1 / (1 + (p * x + 1) * (floats)((whole + 127) << 23));
}

typedef struct {
    float *halves; /* (count, panels * PANEL): both, as the gate meets them */
    ptrdiff_t stride;
    float *gated;
    ptrdiff_t across;
} to_units;

static inline void place_units(const void *to, int row, int first, int columns, floats a, floats b) {
    const to_units *t = to;
    (void)columns; /* panels of a gate are whole */
    put(t->halves + row * t->stride + first, a);
    put(t->halves + row * t->stride + first + LANES, b);
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
    const pq_gradient *g;
    const gated *block;
    int height, width;     /* positions of the block */
    const float *gain;
    const float *x;        /* (count, channels): what comes in */
    float *y;              /* what goes out */
    float *halves;         /* what the gate met */
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
            own[c] = clipped(x[c] * gain[c], w->g->s.reach);
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
    to_units both = {w->halves + first * units, units, d.wide, units / 2};
    give(&d, &b->expand, count, place_units, &both);
    take(&d, &b->reduce, d.wide, units / 2, count);
    to_rows on = {w->y + first * b->width, b->width, w->x + first * b->width};
    give(&d, &b->reduce, count, place_rows, &on);
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
    take(&d, &b->unexpand, d.wide, units, count);
    to_rows on = {w->own + first * b->width, b->width, NULL};
    give(&d, &b->unexpand, count, place_rows, &on);
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
            slope[c] += fabsf(x[c] * gain[c]) < w->g->s.reach ? sum[c] * gain[c] : 0;
    }
}

/* Four positions of half the size from each: row after row, so that two of them are neighbours. */
static void split(void *data, int64_t part, int thread) {
    const walk *w = data;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), stem = w->g->s.stem;
    take(&d, &w->g->split, w->x + part * PART * w->g->s.latent, w->g->s.latent, count);
    to_rows on = {d.wide, 4 * stem, NULL};
    give(&d, &w->g->split, count, place_rows, &on);
    for (int i = 0; i < count; i++)
        for (int row = 0; row < 2; row++) {
            int64_t p = part * PART + i, place = (2 * (p / w->width) + row) * 2 * w->width + 2 * (p % w->width);
            memcpy(w->y + place * stem, d.wide + (4 * i + 2 * row) * stem, 2 * stem * sizeof(float));
        }
}

static void unsplit(void *data, int64_t part, int thread) {
    const walk *w = data;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), stem = w->g->s.stem;
    for (int i = 0; i < count; i++)
        for (int row = 0; row < 2; row++) {
            int64_t p = part * PART + i, place = (2 * (p / w->width) + row) * 2 * w->width + 2 * (p % w->width);
            memcpy(d.wide + (4 * i + 2 * row) * stem, w->slope + place * stem, 2 * stem * sizeof(float));
        }
    take(&d, &w->g->unsplit, d.wide, 4 * stem, count);
    to_rows on = {w->y + part * PART * w->g->s.latent, w->g->s.latent, NULL};
    give(&d, &w->g->unsplit, count, place_rows, &on);
}

/* Pixels, and slopes of their squared error by x. No error is where the target is no number, or beyond black or white. */
static void compare(void *data, int64_t part, int thread) {
    const walk *w = data;
    const pq_gradient *g = w->g;
    draft d = draft_at(w->scratch[thread]);
    int count = here(w, part), pixels = g->head.outputs;
    take(&d, &g->head, w->x + part * PART * g->s.stem, g->s.stem, count);
    to_rows on = {d.wide, pixels, NULL};
    give(&d, &g->head, count, place_rows, &on);
    const float *restrict target = w->target + part * PART * pixels;
    for (int i = 0; i < count * pixels; i++) {
        float x = d.wide[i] + g->s.middle, apart = 2 * (x - target[i]);
        d.wide[i] = x > g->s.black && x < g->s.white && apart == apart ? apart : 0;
    }
    take(&d, &g->unhead, d.wide, pixels, count);
    on = (to_rows){w->slope + part * PART * g->s.stem, g->s.stem, NULL};
    give(&d, &g->unhead, count, place_rows, &on);
}

static size_t stage_floats(const gated *blocks, int count, int64_t positions) {
    size_t floats = 0;
    for (int i = 0; i < count; i++)
        floats += (size_t)positions * (blocks[i].width + blocks[i].expand.panels * PANEL);
    return floats;
}

/* Numbers that a position has at most, at 1/16 resolution or in four at 1/8. */
static inline int widest_of(const pq_gradient *g) { return g->s.latent > 4 * g->s.stem ? g->s.latent : 4 * g->s.stem; }

static int64_t gradient_room(const pq_gradient *g, int height, int width) {
    int64_t count = (int64_t)height * width;
    size_t floats = stage_floats(g->blocks, g->s.coarse, count) + stage_floats(g->blocks + g->s.coarse, g->s.fine, 4 * count);
    floats += (size_t)count * (4 * g->s.stem * 2 + widest_of(g));
    return (int64_t)(floats * sizeof(float) + pool_threads(g->pool) * draft_bytes() + 64);
}

/* Moves `w->x` through `count` blocks, and `*room` beyond what the way back needs. */
static void through(walk *w, const gated *blocks, int count, const float **gain, float **room, const float **inputs,
                    float **halves) {
    for (int i = 0; i < count; i++) {
        int64_t positions = count_of(w);
        w->block = blocks + i;
        w->gain = *gain;
        inputs[i] = w->x;
        w->halves = halves[i] = *room;
        w->y = *room + positions * w->block->expand.panels * PANEL;
        *room = w->y + positions * w->block->width;
        pool_run(w->g->pool, parts_of(positions), look, w);
        pool_run(w->g->pool, parts_of(positions), forth, w);
        w->x = w->y;
        *gain += w->block->width;
    }
}

static void backwards(walk *w, const gated *blocks, int count, const float **gain, const float *const *inputs,
                      float *const *halves) {
    for (int i = count - 1; i >= 0; i--) {
        w->block = blocks + i;
        w->gain = *gain -= w->block->width;
        w->x = inputs[i];
        w->halves = halves[i];
        pool_run(w->g->pool, parts_of(count_of(w)), back, w);
        pool_run(w->g->pool, parts_of(count_of(w)), join, w);
    }
}

static void gradient_slope(const pq_gradient *g, int height, int width, const float *gain, const float *latent,
                           const float *target, float *slope, void *room) {
    int64_t count = (int64_t)height * width;
    const float *inputs[MOST_BLOCKS];
    float *halves[MOST_BLOCKS];
    void *scratch[MOST_THREADS];
    char *memory = (char *)room + (64 - (uintptr_t)room % 64) % 64;
    for (int i = 0; i < pool_threads(g->pool); i++, memory += draft_bytes())
        scratch[i] = memory;
    float *own = (float *)memory, *fine_slope = own + count * widest_of(g), *x = fine_slope + 4 * count * g->s.stem;
    float *next = x + 4 * count * g->s.stem;
    const gated *fine = g->blocks + g->s.coarse;
    walk w = {.g = g, .height = height, .width = width, .x = latent, .own = own, .target = target, .scratch = scratch};

    through(&w, g->blocks, g->s.coarse, &gain, &next, inputs, halves);
    w.y = x;
    pool_run(g->pool, parts_of(count), split, &w);
    w.x = x, w.height = 2 * height, w.width = 2 * width;
    through(&w, fine, g->s.fine, &gain, &next, inputs + g->s.coarse, halves + g->s.coarse);
    w.slope = fine_slope;
    pool_run(g->pool, parts_of(4 * count), compare, &w);
    backwards(&w, fine, g->s.fine, &gain, inputs + g->s.coarse, halves + g->s.coarse);
    w.height = height, w.width = width, w.y = slope;
    pool_run(g->pool, parts_of(count), unsplit, &w);
    w.slope = slope;
    backwards(&w, g->blocks, g->s.coarse, &gain, inputs, halves);
}

/* Tensors of a block: `depthwise` (width, 9), `expand` (2 hidden, width), `bias` (2 hidden), `reduce` (width, hidden). */
static void pack_gated(gated *b, int width, int hidden, const float *const *tensors, int *failed) {
    int units = rounded(hidden, LANES) * 2, *order = aligned((size_t)units * sizeof(int), failed);
    b->width = width;
    b->taps = aligned((size_t)9 * width * sizeof(float), failed);
    if (!*failed) {
        for (int i = 0; i < units; i++) { /* LANES of one half, then those of the other that they meet */
            int unit = i / PANEL * LANES + i % LANES;
            order[i] = unit >= hidden ? -1 : i % PANEL < LANES ? unit : hidden + unit;
        }
        for (int c = 0; c < width; c++)
            for (int tap = 0; tap < 9; tap++)
                b->taps[tap * width + c] = tensors[0][c * 9 + tap];
        pack_dense(&b->expand, width, units, tensors[1], width, 1, order, NULL, tensors[2], failed);
        pack_dense(&b->unexpand, units, width, tensors[1], 1, width, NULL, order, NULL, failed);
        pack_dense(&b->reduce, hidden, width, tensors[3], hidden, 1, NULL, NULL, NULL, failed);
        pack_dense(&b->unreduce, width, hidden, tensors[3], 1, hidden, NULL, NULL, NULL, failed);
    }
    release(order);
}

/* Tensors: those of the blocks, `split` (4 stem, latent) and `head` (pixels, stem). */
static void pack_gradient(pq_gradient *g, const float *const *tensors, int *failed) {
    const pq_transform *s = &g->s;
    int blocks = s->coarse + s->fine, *order = aligned((size_t)4 * s->stem * sizeof(int), failed);
    for (int i = 0; i < blocks && !*failed; i++, tensors += 4) {
        int coarse = i < s->coarse;
        pack_gated(g->blocks + i, coarse ? s->latent : s->stem, coarse ? s->hidden_coarse : s->hidden_fine, tensors, failed);
    }
    for (int i = 0; i < 4 * s->stem && !*failed; i++)
        order[i] = i % s->stem * 4 + i / s->stem;
    if (!*failed) {
        pack_dense(&g->split, s->latent, 4 * s->stem, tensors[0], s->latent, 1, order, NULL, NULL, failed);
        pack_dense(&g->unsplit, 4 * s->stem, s->latent, tensors[0], 1, s->latent, NULL, order, NULL, failed);
        pack_dense(&g->head, s->stem, s->pixels, tensors[1], s->stem, 1, NULL, NULL, NULL, failed);
        pack_dense(&g->unhead, s->pixels, s->stem, tensors[1], 1, s->stem, NULL, NULL, NULL, failed);
    }
    release(order);
}
