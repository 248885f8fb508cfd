/* What the encoder chooses codes among, and the mean of its soft choice (see encoder.py). All of it is floating-point
 * arithmetic, and nothing of it decides what a file decodes to. */

#include <math.h>

enum { SLICE = 16, MOST_FEW = 16 };

/* The `few` smallest of cost (codewords,), the smallest first; of equals the first. Costs are not negative, so their
 * bits, as integers, are in the same order. */
static inline void smallest(const float *cost, int codewords, int few, uint8_t *to) {
    int32_t key[MOST_WORDS] __attribute__((aligned(64))), kept[MOST_FEW];
    memcpy(key, cost, (size_t)codewords * sizeof(float));
    int count = 0;
    for (int start = 0; start < codewords; start += SLICE) {
        int stop = start + SLICE < codewords ? start + SLICE : codewords;
        int32_t least = INT32_MAX;
        for (int k = start; k < stop; k++)
            least = key[k] < least ? key[k] : least;
        if (count == few && least >= kept[few - 1])
            continue;
        for (int k = start; k < stop; k++) {
            if (count == few && key[k] >= kept[few - 1])
                continue;
            int place = count < few ? count++ : few - 1;
            for (; place > 0 && kept[place - 1] > key[k]; place--) {
                kept[place] = kept[place - 1];
                to[place] = to[place - 1];
            }
            kept[place] = key[k];
            to[place] = (uint8_t)k;
        }
    }
}

/* Codes (count, size, few) that cost least for latents (count, channels), and their bits. */
static void cheapest(const pq_choice *c, int64_t count, const float *latents, uint8_t *codes, float *bits) {
    float cost[MOST_WORDS] __attribute__((aligned(64)));
    int words = c->codewords, few = c->few;
    for (int64_t i = 0; i < count; i++)
        for (int m = 0; m < c->active; m++) {
            const float *told = c->bits + (size_t)m * words;
            for (int k = 0; k < words; k++)
                cost[k] = c->price * told[k];
            for (int j = c->first[m]; j < c->first[m + 1]; j++) {
                const float *row = c->words + (size_t)j * words;
                float y = latents[i * c->channels + j], weight = c->worth[j];
                for (int k = 0; k < words; k++)
                    cost[k] += weight * ((row[k] - y) * (row[k] - y));
            }
            size_t place = ((size_t)i * c->size + m) * few;
            smallest(cost, words, few, codes + place);
            for (int f = 0; f < few; f++)
                bits[place + f] = told[codes[place + f]];
        }
}

/* Squared error, in bits, of the first `few` codes of sub-quantizer m for an aim (channels,). */
static inline void errors_of(const pq_choice *c, int m, const uint8_t *codes, int few, const float *aim, float *to) {
    for (int f = 0; f < few; f++)
        to[f] = 0;
    for (int j = c->first[m]; j < c->first[m + 1]; j++) {
        const float *row = c->words + (size_t)j * c->codewords;
        float weight = c->worth[j] / c->price;
        for (int f = 0; f < few; f++) {
            float apart = row[codes[f]] - aim[j];
            to[f] += weight * (apart * apart);
        }
    }
}

/* The same of all codes (count, size, few), for aims (count, channels). */
static void choice_errors(const pq_choice *c, int64_t count, const float *aims, const uint8_t *codes, float *errors) {
    for (int64_t i = 0; i < count; i++)
        for (int m = 0; m < c->active; m++) {
            size_t place = ((size_t)i * c->size + m) * c->few;
            errors_of(c, m, codes + place, c->few, aims + i * c->channels, errors + place);
        }
}

/* Mean codewords (count, channels), each of probability 2^-(error / soft_price + soft_bits * bits), of the first
 * `likeliest` codes; codeword 0 where nothing is sent. */
static void choice_mean(const pq_choice *c, int64_t count, const float *aims, const uint8_t *codes, const float *bits,
                        float *means) {
    int words = c->codewords, few = c->likeliest;
    for (int64_t i = 0; i < count; i++) {
        float *mean = means + i * c->channels;
        for (int m = 0; m < c->size; m++) {
            size_t place = ((size_t)i * c->size + m) * c->few;
            float share[MOST_FEW] = {0}, least, sum = 0;
            if (m >= c->active) {
                for (int j = c->first[m]; j < c->first[m + 1]; j++)
                    mean[j] = c->words[(size_t)j * words];
                continue;
            }
            errors_of(c, m, codes + place, few, aims + i * c->channels, share);
            for (int f = 0; f < few; f++)
                share[f] = share[f] / c->soft_price + c->soft_bits * bits[place + f];
            least = share[0];
            for (int f = 1; f < few; f++)
                least = share[f] < least ? share[f] : least;
            for (int f = 0; f < few; f += LANES)
                put(share + f, power(least - floats_at(share + f)));
            for (int f = 0; f < few; f++)
                sum += share[f];
            for (int j = c->first[m]; j < c->first[m + 1]; j++) {
                float total = 0;
                for (int f = 0; f < few; f++)
                    total += share[f] * c->words[(size_t)j * words + codes[place + f]];
                mean[j] = total / sum;
            }
        }
    }
}
