/* The range coder of FORMAT.md, section 4, on the states that `coding/range_coder.py` holds. */

#include "internal.h"

/* The next 16 bits of the payload; bits beyond its end are 0, and marked in `unknown`. */
static inline uint64_t next_word(pq_decoder *d, const uint8_t *data, int64_t length, uint64_t *unknown) {
    int64_t at = (int64_t)d->position;
    d->position += 2;
    *unknown = at + 1 < length ? 0 : at < length ? 0xff : 0xffff;
    return (at < length ? (uint64_t)data[at] << 8 : 0) | (at + 1 < length ? data[at + 1] : 0);
}

/* Narrows the interval to a symbol of bounds `from` and `to`; returns 0 when the bytes do not determine it. */
static inline int take(pq_decoder *d, const uint8_t *data, int64_t length, uint64_t from, uint64_t to) {
    uint64_t start = (d->range * from) >> 16, size = ((d->range * to) >> 16) - start;
    if (d->slack && d->offset - start + d->slack >= size) {
        d->exhausted = 1;
        return 0;
    }
    d->offset -= start;
    d->range = size;
    if (size < (uint64_t)1 << 32) {
        uint64_t unknown, word = next_word(d, data, length, &unknown);
        d->offset = d->offset << 16 | word;
        d->slack = d->slack << 16 | unknown;
        d->range <<= 16;
    }
    return 1;
}

static inline uint64_t target_of(const pq_decoder *d) { return (((d->offset + 1) << 16) - 1) / d->range; }

/* C[k] <= target, for W[k - 1] = before: (before * rest) / total + k <= target, without the division. */
static inline int reached(uint64_t before, uint64_t rest, uint64_t total, int64_t k, int64_t target) {
    return k <= target && before * rest < (uint64_t)(target - k + 1) * total;
}

int decode_masses(pq_decoder *d, const uint8_t *data, int64_t length, const uint16_t *masses, uint32_t total,
                  int codewords, uint8_t *code) {
    enum { STEP = 16 };
    uint64_t rest = (uint64_t)65536 - (uint64_t)codewords, before = 0;
    int64_t target = (int64_t)target_of(d);
    int k = 0;
    for (; k + STEP < codewords; k += STEP) {
        uint32_t sum = 0;
        for (int i = 0; i < STEP; i++)
            sum += masses[k + i];
        if (!reached(before + sum, rest, total, k + STEP, target))
            break;
        before += sum;
    }
    while (k + 1 < codewords && reached(before + masses[k], rest, total, k + 1, target))
        before += masses[k++];
    *code = (uint8_t)k;
    uint64_t from = before * rest / total + (uint64_t)k;
    uint64_t to = (before + masses[k]) * rest / total + (uint64_t)k + 1;
    return take(d, data, length, from, to);
}

int64_t pq_decode_tables(pq_decoder *d, const uint8_t *data, int64_t length, int64_t count, int64_t codewords,
                         const int32_t *cumulative, int64_t *symbols) {
    pq_decoder state = *d;
    int64_t done = 0;
    for (; done < count && !state.exhausted; done++, cumulative += codewords + 1) {
        int64_t target = (int64_t)target_of(&state), low = 0, high = codewords;
        while (high - low > 1) {
            int64_t middle = (low + high) / 2;
            if (cumulative[middle] <= target)
                low = middle;
            else
                high = middle;
        }
        if (!take(&state, data, length, (uint64_t)cumulative[low], (uint64_t)cumulative[low + 1]))
            break;
        symbols[done] = low;
    }
    *d = state;
    return done;
}

int64_t pq_encode(pq_encoder *e, int64_t count, const int64_t *starts, const int64_t *sizes, uint32_t *words) {
    uint64_t low = e->low, range = e->range;
    int64_t written = 0;
    for (int64_t i = 0; i < count; i++) {
        uint64_t from = (range * (uint64_t)starts[i]) >> 16;
        low += from;
        range = ((range * (uint64_t)(starts[i] + sizes[i])) >> 16) - from;
        if (range < (uint64_t)1 << 32) {
            words[written++] = (uint32_t)(low >> 32);
            low = (low & 0xffffffffu) << 16;
            range <<= 16;
        }
    }
    e->low = low;
    e->range = range;
    return written;
}
