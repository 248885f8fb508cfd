/* A block, in three phases: depthwise layer and projections, attention (attention.c), mixing and the gated layer.
 *
 * A phase works on CHUNK tokens (or one window) at a time, so that what lies between its layers stays in the cache.
 * Chunks are independent of each other inside a phase, which is what threads share. */

/* Work of one thread, CHUNK rows and up to TOKENS more. */
typedef struct {
    activation *x, *gated;
    int32_t rows[CHUNK];
} work;

static size_t work_bytes(const pq_prior *p) {
    size_t rows = CHUNK + MOST_TOKENS;
    return 128 + sizeof(work) + rows * (row_of(p->s.width) + row_of(p->s.hidden + LANES)) * sizeof(activation);
}

static size_t scratch_bytes(const pq_prior *p) {
    size_t first = work_bytes(p), second = attention_bytes(p);
    return first > second ? first : second;
}

static work *work_at(const pq_prior *p, void *memory) {
    work *w = memory;
    w->x = (activation *)((char *)memory + (sizeof(work) + 63) / 64 * 64);
    w->gated = w->x + (size_t)(CHUNK + MOST_TOKENS) * row_of(p->s.width);
    return w;
}

static inline int part_of(int64_t all, int64_t part) {
    int64_t left = all - part * CHUNK;
    return (int)(left < CHUNK ? left : CHUNK);
}

/* Activations of the residual stream at a token, to `seen` or to a row of the next layer's input. */
static inline void activate(const int32_t *restrict stream, int width, int8_t *restrict seen, activation *restrict x) {
    if (seen)
        for (int c = 0; c < width; c++)
            seen[c] = (int8_t)rescaled(stream[c]);
    if (x)
        for (int c = 0; c < width; c++)
            x[c] = to_activation(rescaled(stream[c]));
}

/* Adds what the code of a sub-quantizer brings to the embedding of a token. */
static void embed_code(const pq_prior *p, int m, int code, int32_t *restrict sum) {
    int width = p->s.width;
    const int16_t *known = p->known + (size_t)m * width;
    const int8_t *feature = p->feature + ((size_t)m * p->s.codewords + code) * p->s.widest;
    for (int c = 0; c < width; c++)
        sum[c] += known[c];
    for (int j = 0; j < p->first[m + 1] - p->first[m]; j++) {
        int value = feature[j];
        const int16_t *weight = (value < 0 ? p->falling : p->rising) + (size_t)(p->first[m] + j) * width;
        int16_t size = (int16_t)(value < 0 ? -value : value);
        for (int c = 0; c < width; c++)
            sum[c] += (int16_t)(size * weight[c]); /* 127 * 254 at most */
    }
}

/* Start of a pass at CHUNK tokens: what was revealed since the last one joins the embedding. */
static void embed(pq_context *c, int64_t part, void *scratch) {
    const pq_prior *p = c->prior;
    int width = p->s.width, size = p->s.size;
    const int32_t *level = p->level_rows + (size_t)c->quality * width;
    (void)scratch;
    for (int64_t token = part * CHUNK, last = token + part_of(c->count, part); token < last; token++) {
        uint8_t *state = c->state + token * size;
        int32_t *sum = c->sum + token * width, *stream = c->stream + token * width;
        for (int m = 0; m < size; m++)
            if (state[m] == PENDING) {
                embed_code(p, m, c->codes[token * size + m], sum);
                state[m] = EMBEDDED;
            }
        for (int i = 0; i < width; i++)
            stream[i] = ((sum[i] + p->bias[i]) >> p->shift[i]) + level[i];
        activate(stream, width, c->seen + token * width, NULL);
    }
}

/* Adds the 3 x 3 convolution of the activations around a token to its residual stream. */
static void depthwise(const pq_context *c, int64_t token, int32_t *restrict stream) {
    static const int8_t outside[1024];
    int width = c->prior->s.width, y = (int)(token / c->width), x = (int)(token % c->width);
    const int16_t *restrict w = c->block->taps;
    const int32_t *restrict half = c->block->half, *restrict shift = c->block->shift;
    const int8_t *near[9];
    for (int tap = 0; tap < 9; tap++) {
        int row = y + tap / 3 - 1, column = x + tap % 3 - 1;
        int inside = row >= 0 && row < c->height && column >= 0 && column < c->width;
        near[tap] = inside ? c->seen + ((size_t)row * c->width + column) * width : outside;
    }
    const int8_t *restrict a = near[0], *restrict b = near[1], *restrict d = near[2], *restrict e = near[3],
                 *restrict f = near[4], *restrict g = near[5], *restrict h = near[6], *restrict i = near[7],
                 *restrict j = near[8];
    for (int n = 0; n < width; n++) { /* two products of int8 fit int16 */
        int16_t first = (int16_t)(a[n] * w[n] + b[n] * w[n + width]);
        int16_t second = (int16_t)(d[n] * w[n + 2 * width] + e[n] * w[n + 3 * width]);
        int16_t third = (int16_t)(f[n] * w[n + 4 * width] + g[n] * w[n + 5 * width]);
        int16_t fourth = (int16_t)(h[n] * w[n + 6 * width] + i[n] * w[n + 7 * width]);
        int16_t fifth = (int16_t)(j[n] * w[n + 8 * width]);
        stream[n] += (first + second + third + fourth + fifth + half[n]) >> shift[n];
    }
}

/* Depthwise layer, then queries, keys and values, of CHUNK tokens. */
static void project(pq_context *c, int64_t part, void *scratch) {
    const pq_prior *p = c->prior;
    work *w = work_at(p, scratch);
    int width = p->s.width, count = part_of(c->count, part), wanted = 0;
    ptrdiff_t stride = row_of(width);
    int64_t first = part * CHUNK;
    for (int i = 0; i < count; i++) {
        int32_t *stream = c->stream + (first + i) * width;
        depthwise(c, first + i, stream);
        activate(stream, width, NULL, w->x + i * stride);
    }
    to_qkv to = {c->qkv + width, c->all + first, 3 * width};
    product(&c->block->keys_values, w->x, stride, count, 0, c->block->keys_values.panels, finish_qkv, &to);
    for (int i = 0; i < count; i++)
        if (c->whole || c->marked[first + i]) {
            if (wanted < i)
                memcpy(w->x + wanted * stride, w->x + i * stride, width * sizeof(activation));
            w->rows[wanted++] = (int32_t)(first + i);
        }
    to = (to_qkv){c->qkv, w->rows, 3 * width};
    product(&c->block->query, w->x, stride, wanted, 0, c->block->query.panels, finish_qkv, &to);
}

/* What attention gave joins the residual stream, then the gated layer, at CHUNK of the tokens wanted. */
static void mix(pq_context *c, int64_t part, void *scratch) {
    const pq_prior *p = c->prior;
    const block *b = c->block;
    work *w = work_at(p, scratch);
    int width = p->s.width, count = part_of(c->wanted, part);
    ptrdiff_t stride = row_of(width);
    const int32_t *rows = c->rows + part * CHUNK;
    for (int i = 0; i < count; i++) {
        const int8_t *from = c->mixed + (size_t)rows[i] * width;
        for (int n = 0; n < width; n++)
            w->x[i * stride + n] = to_activation(from[n]);
    }
    to_stream stream = {c->stream, rows, width};
    product(&b->attended, w->x, stride, count, 0, b->attended.panels, finish_stream, &stream);
    for (int i = 0; i < count; i++)
        activate(c->stream + (size_t)rows[i] * width, width, NULL, w->x + i * stride);
    to_gate gate = {w->gated, row_of(p->s.hidden + LANES)};
    product(&b->expand, w->x, stride, count, 0, b->expand.panels, finish_gate, &gate);
    product(&b->reduce, w->gated, gate.stride, count, 0, b->reduce.panels, finish_stream, &stream);
    for (int i = 0; i < count; i++)
        activate(c->stream + (size_t)rows[i] * width, width, c->seen + (size_t)rows[i] * width, NULL);
}

/* The three heads at CHUNK of the positions asked for. */
static void run_heads(pq_context *c, int64_t part, void *scratch) {
    const pq_prior *p = c->prior;
    work *w = work_at(p, scratch);
    int width = p->s.width, rank = p->s.rank, count = part_of(c->positions_count, part);
    ptrdiff_t stride = row_of(width);
    for (int i = 0; i < count; i++) {
        const int8_t *from = c->seen + (size_t)c->positions[part * CHUNK + i] * width;
        for (int n = 0; n < width; n++)
            w->x[i * stride + n] = to_activation(from[n]);
    }
    int from = p->first[c->start], until = p->first[c->stop];
    size_t place = (size_t)part * CHUNK * (until - from);
    to_head mean = {c->mean + place, NULL, until - from, from, until, -LARGEST_MEAN, LARGEST_MEAN};
    to_head beta = {c->beta + place, NULL, until - from, from, until, LOWEST_PRECISION, HIGHEST_PRECISION};
    int low = c->start * rank, high = c->stop * rank;
    to_head narrow = {NULL, c->free + (size_t)part * CHUNK * (high - low), high - low, low, high, 0, 0};
    product(&p->mean, w->x, stride, count, from / PANEL, (until + PANEL - 1) / PANEL, finish_head, &mean);
    product(&p->precision, w->x, stride, count, from / PANEL, (until + PANEL - 1) / PANEL, finish_head, &beta);
    product(&p->free, w->x, stride, count, low / PANEL, (high + PANEL - 1) / PANEL, finish_head, &narrow);
}
