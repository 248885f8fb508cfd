/* Linear layers: packing of weights, and the product of rows of activations with them, a tile at a time. */

DEFINE_TILE(tile16, int16_t, int16_t, UNIT16, dot16)
DEFINE_TILE(tile, activation, factor, UNIT, dot)

static inline int rounded(int n, int to) { return (n + to - 1) / to * to; }

/* Elements from one row of activations to the next, for layers of up to `inputs` inputs. */
static inline int row_of(int inputs) { return rounded(inputs, 64 / (int)sizeof(activation)); }

/* Numbers stay int32 until they are stored: compilers make vectors of such loops. */
static inline int32_t between(int32_t x, int32_t least, int32_t most) { return x < least ? least : x > most ? most : x; }

static inline int32_t clip(int32_t x) { return between(x, -LIMIT, LIMIT); }

/* What int8 holds of the residual stream, or of a product of two activations. */
static inline int32_t rescaled(int32_t x) { return clip((x + 8) >> 4); }

static inline activation to_activation(int32_t x) { return (activation)(x + OFFSET); }

/* Packs `outputs` rows of int8 `weight` (any, inputs), of which output i is row `row(i)`, -1 for none. With an unsigned
 * form of the activations, which are OFFSET too large, the bias takes OFFSET times the sum of the row away. */
static void pack_linear(linear *l, int inputs, int outputs, const int *rows, const void *const *tensors, int *failed) {
    const int8_t *weight = tensors[0];
    const int32_t *bias = tensors[1];
    const int8_t *shift = tensors[2];
    int columns = rounded(inputs, UNIT);
    l->inputs = inputs;
    l->outputs = outputs;
    l->groups = columns / UNIT;
    l->panels = (outputs + PANEL - 1) / PANEL;
    factor *packed = l->weights = aligned((size_t)l->panels * PANEL * columns * sizeof(factor), failed);
    l->bias = aligned((size_t)l->panels * PANEL * sizeof(int32_t), failed);
    l->shift = aligned((size_t)l->panels * PANEL * sizeof(int32_t), failed);
    if (*failed)
        return;
    for (int i = 0; i < outputs; i++) {
        if (rows[i] < 0)
            continue;
        const int8_t *from = weight + (size_t)rows[i] * inputs;
        factor *to = packed + (size_t)(i / PANEL) * PANEL * columns + i % PANEL * UNIT;
        int32_t sum = 0;
        for (int k = 0; k < inputs; k++) {
            to[(size_t)(k / UNIT) * PANEL * UNIT + k % UNIT] = from[k];
            sum += from[k];
        }
        l->bias[i] = bias[rows[i]] - OFFSET * sum;
        l->shift[i] = shift[rows[i]];
    }
}

static void pack_rows(linear *l, int inputs, int from, int outputs, const void *const *tensors, int *failed) {
    int *rows = aligned((size_t)outputs * sizeof(int), failed);
    if (rows) {
        for (int i = 0; i < outputs; i++)
            rows[i] = from + i;
        pack_linear(l, inputs, outputs, rows, tensors, failed);
    }
    release(rows);
}

/* The gated layer, with LANES rows of its first half and then the LANES of the second that they meet in each panel. */
static void pack_gate(linear *l, int inputs, int hidden, const void *const *tensors, int *failed) {
    int outputs = rounded(hidden, LANES) * 2;
    int *rows = aligned((size_t)outputs * sizeof(int), failed);
    if (rows) {
        for (int i = 0; i < outputs; i++) {
            int unit = i / PANEL * LANES + i % LANES;
            rows[i] = unit >= hidden ? -1 : i % PANEL < LANES ? unit : hidden + unit;
        }
        pack_linear(l, inputs, outputs, rows, tensors, failed);
    }
    release(rows);
}

/* Where the sums of a tile go: `to` is what `finish` knows of it. */
typedef void (*finish)(const linear *l, const void *to, int row, int count, int panel, const int32_t *sums);

/* Products of `count` rows with panels `low` to `high` (exclusive), a panel at a time, so that it stays in the cache.
 * Rows up to a multiple of TOKENS are read, and must be there. */
static inline __attribute__((always_inline)) void product(const linear *l, const activation *x, ptrdiff_t stride,
                                                          int count, int low, int high, finish done, const void *to) {
    int32_t sums[TOKENS * PANEL] __attribute__((aligned(64)));
    for (int panel = low; panel < high; panel++) {
        const factor *w = (const factor *)l->weights + (size_t)panel * l->groups * PANEL * UNIT;
        for (int row = 0; row < count; row += TOKENS) {
            tile(x + row * stride, stride, w, l->groups, sums);
            done(l, to, row, count - row < TOKENS ? count - row : TOKENS, panel, sums);
        }
    }
}

/* Columns of a panel that the layer has. */
static inline int columns_of(const linear *l, int panel) {
    int left = l->outputs - panel * PANEL;
    return left < PANEL ? left : PANEL;
}

/* Row `i` of a tile, with its bias and shift: what the layer gives. */
static inline __attribute__((always_inline)) void shifted(const linear *l, int panel, const int32_t *restrict sums,
                                                          int32_t *restrict to) {
    const int32_t *restrict bias = l->bias + panel * PANEL, *restrict shift = l->shift + panel * PANEL;
    for (int c = 0; c < PANEL; c++)
        to[c] = (sums[c] + bias[c]) >> shift[c];
}

typedef struct {
    int32_t *stream;
    const int32_t *rows; /* tokens */
    int width;
} to_stream;

static inline void finish_stream(const linear *l, const void *to, int row, int count, int panel, const int32_t *sums) {
    const to_stream *t = to;
    int columns = columns_of(l, panel);
    for (int i = 0; i < count; i++, sums += PANEL) {
        int32_t *restrict x = t->stream + (size_t)t->rows[row + i] * t->width + panel * PANEL, value[PANEL];
        shifted(l, panel, sums, value);
        if (columns == PANEL)
            for (int c = 0; c < PANEL; c++)
                x[c] += value[c];
        else
            for (int c = 0; c < columns; c++)
                x[c] += value[c];
    }
}

typedef struct {
    int16_t *qkv;
    const int32_t *rows;
    int stride;
} to_qkv;

static inline void finish_qkv(const linear *l, const void *to, int row, int count, int panel, const int32_t *sums) {
    const to_qkv *t = to;
    int columns = columns_of(l, panel);
    for (int i = 0; i < count; i++, sums += PANEL) {
        int16_t *restrict x = t->qkv + (size_t)t->rows[row + i] * t->stride + panel * PANEL;
        int32_t value[PANEL];
        shifted(l, panel, sums, value);
        if (columns == PANEL)
            for (int c = 0; c < PANEL; c++)
                x[c] = (int16_t)clip(value[c]);
        else
            for (int c = 0; c < columns; c++)
                x[c] = (int16_t)clip(value[c]);
    }
}

typedef struct {
    activation *gated;
    ptrdiff_t stride;
} to_gate;

static inline void finish_gate(const linear *l, const void *to, int row, int count, int panel, const int32_t *sums) {
    const to_gate *t = to;
    for (int i = 0; i < count; i++, sums += PANEL) {
        activation *restrict x = t->gated + (row + i) * t->stride + panel * LANES;
        int32_t value[PANEL], gated[LANES];
        shifted(l, panel, sums, value);
        for (int c = 0; c < LANES; c++) {
            int32_t a = between(value[c], 0, LIMIT), b = clip(value[c + LANES]);
            gated[c] = rescaled(a * b);
        }
        for (int c = 0; c < LANES; c++)
            x[c] = to_activation(gated[c]);
    }
}

/* Outputs `from` to `until` of a head, of rows that lie one after the other: int32 between two bounds. */
typedef struct {
    int32_t *to;
    int8_t *narrow; /* instead, clipped */
    ptrdiff_t stride;
    int from, until;
    int32_t least, most;
} to_head;

static inline void finish_head(const linear *l, const void *to, int row, int count, int panel, const int32_t *sums) {
    const to_head *t = to;
    int low = t->from - panel * PANEL, high = t->until - panel * PANEL;
    low = low < 0 ? 0 : low;
    high = high > PANEL ? PANEL : high;
    for (int i = 0; i < count; i++, sums += PANEL) {
        ptrdiff_t place = (row + i) * t->stride + panel * PANEL - t->from;
        int32_t value[PANEL];
        shifted(l, panel, sums, value);
        for (int c = low; c < high; c++)
            if (t->narrow)
                t->narrow[place + c] = (int8_t)clip(value[c]);
            else
                t->to[place + c] = between(value[c], t->least, t->most);
    }
}
