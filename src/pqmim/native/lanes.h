/* The vectors of a level: how many lanes of int32, and the exact dot products that they have.
 *
 * A tile is TOKENS rows of activations times PANEL = 2 * LANES rows of weights. Terms come in groups: UNIT16 int16 or
 * UNIT8 int8 that one instruction multiplies and adds in a lane. No instruction used here saturates within the bounds
 * of FORMAT.md and of dense.c: two products of int16 are at most 2 * 2047 * 1023, and vpdpbusd is the form that wraps. */
#ifndef PQMIM_LANES_H
#define PQMIM_LANES_H

#include <stdint.h>
#include <string.h>

static inline int32_t word_at(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

#if defined(LEVEL_AVX512) || defined(LEVEL_AVX512VNNI)
#include <immintrin.h>
enum { LANES = 16, TOKENS = 12, UNIT16 = 2 };
typedef __m512i vec;
static inline vec vec_zero(void) { return _mm512_setzero_si512(); }
static inline vec vec_load(const void *p) { return _mm512_loadu_si512(p); }
static inline void vec_store(void *p, vec v) { _mm512_storeu_si512(p, v); }
static inline vec vec_spread(const void *p) { return _mm512_set1_epi32(word_at(p)); }
static inline vec dot16(vec sum, vec a, vec w) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, w)); }
#ifdef LEVEL_AVX512VNNI
#define HAS_DOT8
enum { UNIT8 = 4, OFFSET8 = 128 };
typedef uint8_t act8;
static inline vec dot8(vec sum, vec a, vec w) { return _mm512_dpbusd_epi32(sum, a, w); }
#endif

#elif defined(LEVEL_AVX2) || defined(LEVEL_AVXVNNI)
#include <immintrin.h>
enum { LANES = 8, TOKENS = 6, UNIT16 = 2 };
typedef __m256i vec;
static inline vec vec_zero(void) { return _mm256_setzero_si256(); }
static inline vec vec_load(const void *p) { return _mm256_loadu_si256(p); }
static inline void vec_store(void *p, vec v) { _mm256_storeu_si256(p, v); }
static inline vec vec_spread(const void *p) { return _mm256_set1_epi32(word_at(p)); }
static inline vec dot16(vec sum, vec a, vec w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w)); }
#ifdef LEVEL_AVXVNNI
#define HAS_DOT8
enum { UNIT8 = 4, OFFSET8 = 128 };
typedef uint8_t act8;
static inline vec dot8(vec sum, vec a, vec w) { return _mm256_dpbusd_avx_epi32(sum, a, w); }
#endif

#elif defined(LEVEL_SSE2)
#include <emmintrin.h>
enum { LANES = 4, TOKENS = 6, UNIT16 = 2 };
typedef __m128i vec;
static inline vec vec_zero(void) { return _mm_setzero_si128(); }
static inline vec vec_load(const void *p) { return _mm_loadu_si128(p); }
static inline void vec_store(void *p, vec v) { _mm_storeu_si128(p, v); }
static inline vec vec_spread(const void *p) { return _mm_set1_epi32(word_at(p)); }
static inline vec dot16(vec sum, vec a, vec w) { return _mm_add_epi32(sum, _mm_madd_epi16(a, w)); }

#elif defined(LEVEL_NEON) || defined(LEVEL_NEONDOT)
#include <arm_neon.h>
enum { LANES = 4, TOKENS = 8, UNIT16 = 2 };
typedef int32x4_t vec;
static inline vec vec_zero(void) { return vdupq_n_s32(0); }
static inline vec vec_load(const void *p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
static inline void vec_store(void *p, vec v) { vst1q_s8(p, vreinterpretq_s8_s32(v)); }
static inline vec vec_spread(const void *p) { return vdupq_n_s32(word_at(p)); }
static inline vec dot16(vec sum, vec a, vec w) { /* pairs of a lane are neighbours: multiply, then add them */
    int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(w);
    int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(x, y)));
}
#ifdef LEVEL_NEONDOT
#define HAS_DOT8
enum { UNIT8 = 4, OFFSET8 = 0 };
typedef int8_t act8;
static inline vec dot8(vec sum, vec a, vec w) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(w));
}
#endif

#else /* plain C, with the vectors that compilers have for any processor */
enum { LANES = 4, TOKENS = 4, UNIT16 = 2 };
typedef int32_t vec __attribute__((vector_size(16)));
static inline vec vec_zero(void) { return (vec){0, 0, 0, 0}; }
static inline vec vec_load(const void *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void vec_store(void *p, vec v) { memcpy(p, &v, sizeof v); }
static inline vec vec_spread(const void *p) {
    int32_t word = word_at(p);
    return (vec){word, word, word, word};
}
static inline vec dot16(vec sum, vec a, vec w) { /* a lane is two int16; which half is which is the same in both */
    vec low = (vec)((a << 16) >> 16) * (vec)((w << 16) >> 16);
    return sum + low + (a >> 16) * (w >> 16);
}
#endif

enum { PANEL = 2 * LANES };

/* Activations of the linear layers, and how a tile of them is multiplied. */
#ifdef HAS_DOT8
typedef act8 activation;
typedef int8_t factor;
enum { UNIT = UNIT8, OFFSET = OFFSET8 };
#define dot dot8
#else
typedef int16_t activation;
typedef int16_t factor;
enum { UNIT = UNIT16, OFFSET = 0 };
#define dot dot16
#endif

/* Defines NAME(x, stride, w, groups, out): out (TOKENS, PANEL) = rows of x (TOKENS, groups * UNIT) times the panel w
 * (groups, PANEL, UNIT). The sums stay in registers. */
#define DEFINE_TILE(NAME, ACT, FACTOR, UNIT, DOT)                                                              \
    static inline void NAME(const ACT *restrict x, ptrdiff_t stride, const FACTOR *restrict w, int groups,      \
                            int32_t *restrict out) {                                                            \
        vec sum[TOKENS][2];                                                                                     \
        for (int t = 0; t < TOKENS; t++)                                                                        \
            sum[t][0] = sum[t][1] = vec_zero();                                                                 \
        _Pragma("GCC unroll 2") for (int g = 0; g < groups; g++) {                                              \
            vec left = vec_load(w), right = vec_load(w + LANES * (UNIT));                                       \
            w += PANEL * (UNIT);                                                                                \
            for (int t = 0; t < TOKENS; t++) {                                                                  \
                vec a = vec_spread(x + t * stride + g * (UNIT));                                                \
                sum[t][0] = DOT(sum[t][0], a, left);                                                            \
                sum[t][1] = DOT(sum[t][1], a, right);                                                           \
            }                                                                                                   \
        }                                                                                                       \
        for (int t = 0; t < TOKENS; t++) {                                                                      \
            vec_store(out + t * PANEL, sum[t][0]);                                                              \
            vec_store(out + t * PANEL + LANES, sum[t][1]);                                                      \
        }                                                                                                       \
    }

/* Vectors of float, and of as many int32, for what is searched rather than coded. */
typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t wholes __attribute__((vector_size(LANES * sizeof(int32_t))));

static inline floats floats_at(const float *p) {
    floats x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void put(float *p, floats x) { memcpy(p, &x, sizeof x); }

static inline floats chosen(wholes which, floats yes, floats no) {
    return (floats)((which & (wholes)yes) | (~which & (wholes)no));
}

/* 2^x for x from -125 to 125, and that of the nearer end beyond: a polynomial between whole powers, good to 2^-18. Those of
 * libraries have other last digits on other processors, and so would files. */
static inline floats power(floats x) {
    floats least = (floats){0} - 125, most = (floats){0} + 125;
    x = chosen(x < least, least, chosen(x > most, most, x));
    wholes whole = __builtin_convertvector(x + 256.5f, wholes) - 256;
    x -= __builtin_convertvector(whole, floats); /* -0.5 to 0.5 */
    floats p = x * 0.0013333558f + 0.0096181291f;
    p = p * x + 0.0555041087f;
    p = p * x + 0.2402265070f;
    p = p * x + 0.6931471806f;
    return (p * x + 1) * (floats)((whole + 127) << 23);
}

#endif
