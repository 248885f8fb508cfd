/* Attention inside one window, a head at a time, in int16: scores, weights that are powers of two, and their mean. */

enum { NOTHING = (10 << 11) - 1 }; /* deficit of a score whose weight is 0, as that of any larger one is */
enum { SLOT_PANELS = SLOTS / PANEL, SLOT_ROWS = (SLOTS + TOKENS - 1) / TOKENS * TOKENS };

/* Work of one thread. Keys and values are in the order of tiles; dimensions of a head are padded with zeros. */
typedef struct {
    int16_t *query;   /* (SLOT_ROWS, depth) */
    int16_t *key;     /* panels of SLOTS over depth */
    int16_t *value;   /* panels of depth over SLOTS */
    int32_t *score;   /* (SLOT_ROWS, SLOTS) */
    int32_t *sum;     /* (SLOT_ROWS, depth), of weighted values */
    int16_t *weight;  /* (SLOT_ROWS, SLOTS) */
    int32_t total[SLOT_ROWS];
} attention;

static inline int depth_of(const pq_prior *p) { return rounded(p->s.width / p->s.heads, MOST_PANEL); }

static size_t attention_bytes(const pq_prior *p) {
    size_t depth = depth_of(p);
    return sizeof(attention) + (SLOT_ROWS * depth + 2 * SLOTS * depth + SLOT_ROWS * SLOTS) * 2 + SLOT_ROWS * (SLOTS + depth) * 4;
}

static attention *attention_at(const pq_prior *p, void *memory) {
    size_t depth = depth_of(p);
    attention *a = memory;
    a->score = (int32_t *)((char *)memory + sizeof(attention));
    a->sum = a->score + SLOT_ROWS * SLOTS;
    a->query = (int16_t *)(a->sum + SLOT_ROWS * depth);
    a->key = a->query + SLOT_ROWS * depth;
    a->value = a->key + SLOTS * depth;
    a->weight = a->value + SLOTS * depth;
    return a;
}

/* Keys (SLOTS, depth) as panels: pairs of a key's dimensions are neighbours. */
static void pack_keys(int16_t *restrict to, const int16_t *const *rows, int size, int depth) {
    for (int slot = 0; slot < SLOTS; slot++) {
        int16_t *place = to + slot / PANEL * PANEL * depth + slot % PANEL * UNIT16;
        const int16_t *from = rows[slot];
        for (int g = 0; g < size / UNIT16; g++, place += PANEL * UNIT16)
            memcpy(place, from + g * UNIT16, UNIT16 * sizeof(int16_t));
    }
}

/* Values (SLOTS, depth) as panels over the slots: pairs of slots are neighbours. */
static void pack_values(int16_t *restrict to, const int16_t *const *rows, int size) {
    for (int panel = 0; panel * PANEL < size; panel++) {
        int columns = size - panel * PANEL < PANEL ? size - panel * PANEL : PANEL;
        int16_t *place = to + panel * PANEL * SLOTS;
        for (int slot = 0; slot < SLOTS; slot += UNIT16, place += PANEL * UNIT16) {
            const int16_t *first = rows[slot] + panel * PANEL, *second = rows[slot + 1] + panel * PANEL;
            if (columns == PANEL)
                for (int c = 0; c < PANEL; c++) {
                    place[2 * c] = first[c];
                    place[2 * c + 1] = second[c];
                }
            else
                for (int c = 0; c < columns; c++) {
                    place[2 * c] = first[c];
                    place[2 * c + 1] = second[c];
                }
        }
    }
}

/* Weights (SLOTS,) of scores, 256 x 2^-t for their deficits t, straight between powers of two; returns their sum. */
static inline int32_t weigh(int32_t *restrict score, const int32_t *restrict bias, const uint8_t *restrict inside,
                            int16_t *restrict weight) {
    int32_t most = INT32_MIN, total = 0;
    for (int k = 0; k < SLOTS; k++) {
        int32_t s = inside[k] ? score[k] + bias[k] : -(1 << 24);
        score[k] = s;
        most = s > most ? s : most;
    }
    for (int k = 0; k < SLOTS; k++) {
        int32_t t = most - score[k];
        t = (t > NOTHING ? NOTHING : t) >> 3;
        int32_t w = (512 - (t & 255)) >> ((t >> 8) + 1);
        weight[k] = (int16_t)w;
        total += w;
    }
    return total;
}

/* Means to int8, rounded: (2 sum + total) // (2 total). With 128 more, so that nothing is negative, the numerator is
 * whole and below 2^23, and the quotient below 256. It is no nearer below a whole number than 2^-15, which float tells
 * apart there. */
static void divide(int32_t *restrict sums, int32_t total, int columns, int8_t *restrict to) {
    float whole = (float)(2 * total);
    for (int c = 0; c < columns; c++)
        sums[c] = (int32_t)((float)(2 * sums[c] + 257 * total) / whole) - 128;
    for (int c = 0; c < columns; c++)
        to[c] = (int8_t)sums[c];
}

/* One head of a window. `tokens` (SLOTS,) are its places in the grid, -1 beyond it; `queries` those slots (count,) that
 * are wanted. */
static void attend_head(pq_context *c, attention *a, int head, const int32_t *tokens, const uint8_t *inside,
                        const uint8_t *queries, int count) {
    static const int16_t nothing[1024];
    const pq_sizes *s = &c->prior->s;
    int size = s->width / s->heads, depth = depth_of(c->prior);
    const int16_t *key[SLOTS], *value[SLOTS];
    for (int slot = 0; slot < SLOTS; slot++) {
        const int16_t *row = c->qkv + (size_t)tokens[slot] * 3 * s->width + head * size;
        key[slot] = inside[slot] ? row + s->width : nothing;
        value[slot] = inside[slot] ? row + 2 * s->width : nothing;
    }
    for (int i = 0; i < count; i++)
        memcpy(a->query + i * depth, c->qkv + (size_t)tokens[queries[i]] * 3 * s->width + head * size,
               size * sizeof(int16_t));
    pack_keys(a->key, key, size, depth);
    pack_values(a->value, value, size);

    int32_t sums[TOKENS * PANEL] __attribute__((aligned(64)));
    for (int panel = 0; panel < SLOT_PANELS; panel++)
        for (int row = 0; row < count; row += TOKENS) {
            tile16(a->query + row * depth, depth, a->key + panel * PANEL * depth, size / UNIT16, sums);
            for (int i = 0; i < TOKENS; i++)
                memcpy(a->score + (row + i) * SLOTS + panel * PANEL, sums + i * PANEL, PANEL * sizeof(int32_t));
        }
    const int32_t *bias = c->block->bias + (size_t)head * SLOTS * SLOTS;
    for (int i = 0; i < count; i++)
        a->total[i] = weigh(a->score + i * SLOTS, bias + queries[i] * SLOTS, inside, a->weight + i * SLOTS);
    for (int panel = 0; panel * PANEL < size; panel++)
        for (int row = 0; row < count; row += TOKENS) {
            tile16(a->weight + row * SLOTS, SLOTS, a->value + panel * PANEL * SLOTS, SLOTS / UNIT16, sums);
            for (int i = 0; i < TOKENS; i++)
                memcpy(a->sum + (row + i) * depth + panel * PANEL, sums + i * PANEL, PANEL * sizeof(int32_t));
        }
    for (int i = 0; i < count; i++)
        divide(a->sum + i * depth, a->total[i], size, c->mixed + (size_t)tokens[queries[i]] * s->width + head * size);
}

/* Attention of one window, `part` of those that cover the grid. */
static void attend(pq_context *c, int64_t part, void *scratch) {
    attention *a = attention_at(c->prior, scratch);
    int top = (int)(part / c->across) * WINDOW - c->block->offset;
    int left = (int)(part % c->across) * WINDOW - c->block->offset;
    int32_t tokens[SLOTS];
    uint8_t inside[SLOTS], queries[SLOTS];
    int count = 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        int y = top + slot / WINDOW, x = left + slot % WINDOW;
        inside[slot] = y >= 0 && y < c->height && x >= 0 && x < c->width;
        tokens[slot] = inside[slot] ? y * c->width + x : 0;
        if (inside[slot] && (c->whole || c->marked[tokens[slot]]))
            queries[count++] = (uint8_t)slot;
    }
    for (int head = 0; count && head < c->prior->s.heads; head++)
        attend_head(c, a, head, tokens, inside, queries, count);
}
