/* Linear layers of the encoder's search, in floating point around products of whole numbers.
 *
 * Each row of activations is rounded to FINEST steps of its largest, each row of weights to FINEST_WEIGHT: as fine as a
 * search needs. Around it is float32, element by element in one order, and nothing is fused, so that every level gives the
 * same bits. */

enum {
    FINEST = 2047, FINEST_WEIGHT = 1023, /* times each other and MOST_INPUTS: below 2^31 */
    PART = 48                            /* positions that go through a block together: a multiple of every TOKENS */
};

/* Work of one thread: rows of activations, what they were, and what they are made of. */
typedef struct {
    int16_t *rows;  /* (PART, MOST_INPUTS) */
    float *scale;   /* (PART,): what 1 stands for in each */
    float *wide;    /* (PART, MOST_INPUTS) */
} draft;

static size_t draft_bytes(void) {
    return PART * (MOST_INPUTS * (sizeof(int16_t) + sizeof(float)) + sizeof(float));
}

static draft draft_at(void *memory) {
    draft d = {memory, NULL, NULL};
    d.scale = (float *)(d.rows + PART * MOST_INPUTS);
    d.wide = d.scale + PART;
    return d;
}

static inline int bits_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Numbers of a row as whole ones up to `finest`; returns what 1 stands for. Rows of next to nothing are nothing. */
static inline float rounded_row(const float *restrict from, int count, int finest, int16_t *restrict to) {
    int32_t largest = 0; /* of their bits without the sign, which compare as the numbers do */
    for (int i = 0; i < count; i++) {
        int32_t size = bits_of(from[i]) & INT32_MAX;
        largest = size > largest ? size : largest;
    }
    float most = float_of(largest), steps = most > 1e-30f ? (float)finest / most : 0;
    for (int i = 0; i < count; i++) {
        float x = from[i] * steps;
        to[i] = (int16_t)(int32_t)(x + (x < 0 ? -0.5f : 0.5f));
    }
    return most / (float)finest;
}

/* Row i of the layer is row outs[i] of `weight`, -1 for none, and column k column ins[k]; NULL: all in order. `down` and
 * `right` are elements from a row and from a column to the next, so that a matrix is turned by how it is read. */
static void pack_dense(dense *l, int inputs, int outputs, const float *weight, ptrdiff_t down, ptrdiff_t right,
                       const int *outs, const int *ins, const float *bias, int *failed) {
    int columns = rounded(inputs, UNIT16);
    l->groups = columns / UNIT16;
    l->panels = (outputs + PANEL - 1) / PANEL;
    l->outputs = outputs;
    l->inputs = inputs;
    l->weights = aligned((size_t)l->panels * PANEL * columns * sizeof(int16_t), failed);
    l->scale = aligned((size_t)l->panels * PANEL * sizeof(float), failed);
    l->bias = aligned((size_t)l->panels * PANEL * sizeof(float), failed);
    if (*failed)
        return;
    for (int i = 0; i < outputs; i++) {
        float row[MOST_INPUTS];
        int16_t steps[MOST_INPUTS];
        int from = outs ? outs[i] : i;
        if (from < 0)
            continue;
        for (int k = 0; k < inputs; k++) {
            int column = ins ? ins[k] : k;
            row[k] = column < 0 ? 0 : weight[from * down + column * right];
        }
        l->scale[i] = rounded_row(row, inputs, FINEST_WEIGHT, steps);
        l->bias[i] = bias ? bias[from] : 0;
        int16_t *to = l->weights + (size_t)(i / PANEL) * PANEL * columns + i % PANEL * UNIT16;
        for (int k = 0; k < inputs; k++)
            to[(size_t)(k / UNIT16) * PANEL * UNIT16 + k % UNIT16] = steps[k];
    }
}

/* The rows of a draft that a layer reads, from numbers (count, inputs) of which a row is `stride` long. */
static void take(const draft *d, const dense *l, const float *from, ptrdiff_t stride, int count) {
    int columns = l->groups * UNIT16;
    for (int i = 0; i < count; i++) {
        d->rows[i * columns + columns - 1] = 0;
        d->scale[i] = rounded_row(from + i * stride, l->inputs, FINEST, d->rows + i * columns);
    }
}

/* Where a panel of numbers of a row goes, of which the first `columns` count. */
typedef void (*placed)(const void *to, int row, int first, int columns, floats left, floats right);

/* What a layer makes of the rows that it took, a panel at a time. */
static inline __attribute__((always_inline)) void give(const draft *d, const dense *l, int count, placed done,
                                                       const void *to) {
    int32_t sums[TOKENS * PANEL] __attribute__((aligned(64)));
    int columns = l->groups * UNIT16;
    for (int panel = 0; panel < l->panels; panel++) {
        const float *scale = l->scale + panel * PANEL, *bias = l->bias + panel * PANEL;
        int left = l->outputs - panel * PANEL;
        for (int row = 0; row < count; row += TOKENS) {
            tile16(d->rows + row * columns, columns, l->weights + (size_t)panel * PANEL * columns, l->groups, sums);
            for (int i = 0; i < TOKENS && row + i < count; i++) {
                floats value[2];
                for (int half = 0; half < 2; half++) {
                    wholes sum;
                    memcpy(&sum, sums + i * PANEL + half * LANES, sizeof sum);
                    value[half] = __builtin_convertvector(sum, floats) * (d->scale[row + i] * floats_at(scale + half * LANES));
                    value[half] += floats_at(bias + half * LANES);
                }
                done(to, row + i, panel * PANEL, left < PANEL ? left : PANEL, value[0], value[1]);
            }
        }
    }
}

typedef struct {
    float *rows;
    ptrdiff_t stride;
    const float *plus; /* of the same stride, or NULL */
} to_rows;

static inline void place_rows(const void *to, int row, int first, int columns, floats left, floats right) {
    const to_rows *t = to;
    ptrdiff_t place = row * t->stride + first;
    if (columns == PANEL) {
        put(t->rows + place, t->plus ? floats_at(t->plus + place) + left : left);
        put(t->rows + place + LANES, t->plus ? floats_at(t->plus + place + LANES) + right : right);
        return;
    }
    for (int c = 0; c < columns; c++) {
        float value = c < LANES ? left[c] : right[c - LANES];
        t->rows[place + c] = t->plus ? t->plus[place + c] + value : value;
    }
}

/* A layer from rows to rows: `to` (count, outputs) of `from`, of which a row is `stride` long, and `plus` them, if not NULL. */
static void apply(const draft *d, const dense *l, const float *from, ptrdiff_t stride, int count, float *to,
                  const float *plus) {
    to_rows rows = {to, l->outputs, plus};
    take(d, l, from, stride, count);
    give(d, l, count, place_rows, &rows);
}
