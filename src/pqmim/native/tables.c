/* From the heads to unnormalized masses: energies, logits, and powers of two of how far a logit is below the largest.
 *
 * Energies take the root of n = 65536 + 2 u, where u can have 45 bits. Logits more than 15 bits below the largest have
 * no mass, so u is held below ROOF, whose root is 180 bits: if the largest logit stays far enough above all that the
 * codewords under the roof could reach, their true values cannot matter, and the roots fit float with one correction.
 * Otherwise (rare: the mean is far from every codeword) the row is worked out once more in double. */

#include <math.h>

enum {
    ROOF = (1 << 30) - (1 << 17),      /* of u: the root of n and one more, squared, fit 31 bits */
    ROOF_ENERGY = 46339 - 256,         /* floor(sqrt(65536 + 2 ROOF)) - 256 */
    NO_CODEWORD = -(1 << 28),
    GROUP = TOKENS
};

/* u = D >> 8 of the squared distances D of codewords, at most ROOF: D is whole and exact in double. */
static inline void distances(const head *h, int stride, const int32_t *mean, const int32_t *level, const double *betas,
                             int32_t *restrict to) {
    double sums[MOST_WORDS];
    for (int j = 0; j < h->dimensions; j++) {
        const double *words = h->words + (size_t)j * stride;
        double u = mean[j], b = betas[level[j] - LOWEST_PRECISION];
        if (j == 0)
            for (int k = 0; k < stride; k++)
                sums[k] = b * ((words[k] - u) * (words[k] - u));
        else
            for (int k = 0; k < stride; k++)
                sums[k] += b * ((words[k] - u) * (words[k] - u));
    }
    for (int k = 0; k < stride; k++) {
        double d = sums[k] * (1.0 / 256);
        to[k] = (int32_t)(d > ROOF ? ROOF : d);
    }
}

/* The usual case, one dimension: in vectors where the level has them. */
static inline void distances_1(const double *restrict words, int stride, double u, double b, int32_t *restrict to) {
    b *= 1.0 / 256;
#if defined(LEVEL_AVX512) || defined(LEVEL_AVX512VNNI)
    __m512d mean = _mm512_set1_pd(u), beta = _mm512_set1_pd(b), roof = _mm512_set1_pd(ROOF);
    for (int k = 0; k < stride; k += 8) {
        __m512d d = _mm512_sub_pd(_mm512_loadu_pd(words + k), mean);
        d = _mm512_min_pd(_mm512_mul_pd(beta, _mm512_mul_pd(d, d)), roof);
        _mm256_storeu_si256((__m256i *)(to + k), _mm512_cvttpd_epi32(d));
    }
#elif defined(LEVEL_AVX2) || defined(LEVEL_AVXVNNI)
    __m256d mean = _mm256_set1_pd(u), beta = _mm256_set1_pd(b), roof = _mm256_set1_pd(ROOF);
    for (int k = 0; k < stride; k += 4) {
        __m256d d = _mm256_sub_pd(_mm256_loadu_pd(words + k), mean);
        d = _mm256_min_pd(_mm256_mul_pd(beta, _mm256_mul_pd(d, d)), roof);
        _mm_storeu_si128((__m128i *)(to + k), _mm256_cvttpd_epi32(d));
    }
#else
    for (int k = 0; k < stride; k++) {
        double d = (words[k] - u) * (words[k] - u) * b;
        to[k] = (int32_t)(d > ROOF ? ROOF : d);
    }
#endif
}

/* floor(sqrt(65536 + 2 u)) - 256 of u up to ROOF. The root in float is off by less than 2^-7, which is taken away
 * first, so that at most one is missing. */
static inline int32_t energy(int32_t u) {
    int32_t n = 65536 + 2 * u;
    int32_t next = (int32_t)(sqrtf((float)n) - 0.0078125f) + 1;
    return next - (next * next > n) - 256;
}

/* 2^15 * 2^(-t / 256): a parabola between powers of two. */
static inline int32_t exp2_of(int32_t t) {
    int32_t f = t & 255;
    return (32768 - ((f * (86536 - ((f * 5250) >> 6))) >> 10)) >> (t >> 8);
}

static inline uint32_t masses_of(const int32_t *restrict logits, int stride, int32_t most, uint16_t *restrict to) {
    uint32_t total = 0;
    for (int k = 0; k < stride; k++) {
        int32_t t = most - logits[k];
        int32_t mass = exp2_of(t > 4095 ? 4095 : t);
        to[k] = (uint16_t)mass;
        total += (uint32_t)mass;
    }
    return total;
}

/* The same with another temperature, in sixteenths. */
static uint32_t heated(const int32_t *logits, int stride, int32_t most, int temperature, uint16_t *to) {
    uint32_t total = 0;
    for (int k = 0; k < stride; k++) {
        int32_t t = most - logits[k];
        t = (t > 1 << 16 ? 1 << 16 : t) * 16 / temperature;
        int32_t mass = logits[k] <= NO_CODEWORD / 2 ? 0 : exp2_of(t > 4095 ? 4095 : t);
        to[k] = (uint16_t)mass;
        total += (uint32_t)mass;
    }
    return total;
}

/* Logits of a row whose codewords may all be beyond the roof, from what energies are taken from. */
static void far_logits(const pq_prior *p, const head *h, const int32_t *mean, const int32_t *level,
                       const int32_t *restrict extra, int32_t *restrict logits) {
    for (int k = 0; k < p->stride; k++) {
        double d = 0;
        for (int j = 0; j < h->dimensions; j++) {
            double apart = h->words[(size_t)j * p->stride + k] - mean[j];
            d += p->beta[level[j] - LOWEST_PRECISION] * (apart * apart);
        }
        int64_t u = (int64_t)d >> 8;
        logits[k] = extra[k] - (int32_t)((int64_t)sqrt((double)(65536 + 2 * u)) - 256);
    }
}

/* One row: `extra` holds the free term, and makes room for logits. */
static inline uint32_t masses_row(const pq_prior *p, const pq_view *view, int64_t row, int32_t *restrict extra,
                                  uint16_t *to) {
    const head *h = p->heads + view->m;
    const int32_t *mean = view->mean + row * view->moments, *level = view->beta + row * view->moments;
    int stride = p->stride;
    int32_t apart[MOST_WORDS] __attribute__((aligned(64))), logits[MOST_WORDS] __attribute__((aligned(64)));
    if (h->dimensions == 1)
        distances_1(h->words, stride, mean[0], p->beta[level[0] - LOWEST_PRECISION], apart);
    else
        distances(h, stride, mean, level, p->beta, apart);
    int32_t most = INT32_MIN;
    for (int k = 0; k < stride; k++) {
        int32_t e = extra[k] + h->fixed[k];
        extra[k] = e;
        int32_t l = e - energy(apart[k]);
        logits[k] = l;
        most = l > most ? l : most;
    }
    int64_t reach = view->temperature == 16 ? 4096 : (4096 * (int64_t)view->temperature + 15) / 16;
    if (most - reach <= (int64_t)h->bound - ROOF_ENERGY) {
        far_logits(p, h, mean, level, extra, logits);
        most = INT32_MIN;
        for (int k = 0; k < stride; k++)
            most = logits[k] > most ? logits[k] : most;
    }
    if (view->temperature != 16)
        return heated(logits, stride, most, view->temperature, to);
    return masses_of(logits, stride, most, to);
}

/* Masses (count, stride) and totals of rows `first` on. */
static void masses(const pq_prior *p, const pq_view *view, int64_t first, int64_t count, uint16_t *to,
                   uint32_t *totals) {
    const head *h = p->heads + view->m;
    int rank = p->s.rank, groups = rounded(rank, UNIT16) / UNIT16, stride = p->stride;
    int16_t factors[GROUP * 64];
    int32_t extra[GROUP * MOST_WORDS] __attribute__((aligned(64))), sums[TOKENS * PANEL] __attribute__((aligned(64)));
    memset(factors, 0, sizeof factors);
    for (int64_t start = 0; start < count; start += GROUP) {
        int rows = (int)(count - start < GROUP ? count - start : GROUP);
        for (int i = 0; i < rows; i++)
            for (int r = 0; r < rank; r++)
                factors[i * 64 + r] = view->free[(first + start + i) * view->frees + r];
        for (int panel = 0; panel < stride / PANEL; panel++) {
            tile16(factors, 64, h->term + (size_t)panel * PANEL * groups * UNIT16, groups, sums);
            for (int i = 0; i < rows; i++)
                memcpy(extra + i * MOST_WORDS + panel * PANEL, sums + i * PANEL, PANEL * sizeof(int32_t));
        }
        for (int i = 0; i < rows; i++)
            totals[start + i] = masses_row(p, view, first + start + i, extra + i * MOST_WORDS,
                                           to + (start + i) * stride);
    }
}

static void pack_head(pq_prior *p, int m, const int16_t *codebook, const int8_t *term, const int16_t *fixed,
                      int *failed) {
    head *h = p->heads + m;
    int words = p->s.codewords, rank = p->s.rank, columns = rounded(rank, UNIT16);
    h->channel = p->first[m];
    h->dimensions = p->first[m + 1] - p->first[m];
    h->words = aligned((size_t)h->dimensions * p->stride * sizeof(double), failed);
    h->term = aligned((size_t)p->stride * columns * sizeof(int16_t), failed);
    h->fixed = aligned((size_t)p->stride * sizeof(int32_t), failed);
    if (*failed)
        return;
    h->bound = NO_CODEWORD;
    for (int k = 0; k < p->stride; k++) {
        h->fixed[k] = k < words ? fixed[(size_t)m * words + k] : NO_CODEWORD;
        int32_t bound = h->fixed[k];
        for (int j = 0; j < h->dimensions && k < words; j++)
            h->words[(size_t)j * p->stride + k] = codebook[((size_t)m * words + k) * p->s.widest + j];
        for (int r = 0; r < rank && k < words; r++) {
            int value = term[((size_t)m * rank + r) * words + k];
            h->term[(size_t)k / PANEL * PANEL * columns + (size_t)(r / UNIT16) * PANEL * UNIT16 +
                    k % PANEL * UNIT16 + r % UNIT16] = (int16_t)value;
            bound += LIMIT * (value < 0 ? -value : value);
        }
        h->bound = bound > h->bound ? bound : h->bound;
    }
}
