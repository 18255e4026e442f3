/*
 * Scans with AVX2. The file is compiled for plain x86-64; only its functions use the instructions, and `scan_avx2` says whether they may.
 *
 * Eight values make a step everywhere: two vectors of eight bytes each or one of four. What is left over is done one at a time.
 */
#include "scan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,popcnt")))
#define STEP 8u

typedef uint8_t mask8; /* a bit for each value of a step */

/* ---- sums ---------------------------------------------------------------------------------------------------- */

/* Two vectors are the eight sums of K1. */
AVX2 static void sum_f64(const void *values, size_t count, struct scan_value *sum) {
  const double *p = values;
  __m256d low = _mm256_set1_pd(-0.0), high = low;
  size_t i = 0;
  for (; i + STEP <= count; i += STEP) {
    low = _mm256_add_pd(low, _mm256_loadu_pd(p + i));
    high = _mm256_add_pd(high, _mm256_loadu_pd(p + i + 4));
  }
  double s[SUM_LANES];
  _mm256_storeu_pd(s, low);
  _mm256_storeu_pd(s + 4, high);
  for (size_t lane = 0; i < count; i++, lane++) s[lane] += p[i];
  sum->number = fold_lanes(s);
}

AVX2 static void sum_f32(const void *values, size_t count, struct scan_value *sum) {
  const float *p = values;
  __m256d low = _mm256_set1_pd(-0.0), high = low;
  size_t i = 0;
  for (; i + STEP <= count; i += STEP) {
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm_loadu_ps(p + i)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm_loadu_ps(p + i + 4)));
  }
  double s[SUM_LANES];
  _mm256_storeu_pd(s, low);
  _mm256_storeu_pd(s + 4, high);
  for (size_t lane = 0; i < count; i++, lane++) s[lane] += (double)p[i];
  sum->number = fold_lanes(s);
}

AVX2 static int64_t add_words(__m256i words) {
  int64_t s[4];
  _mm256_storeu_si256((__m256i *)s, words);
  return s[0] + s[1] + s[2] + s[3];
}

#define SUM_OF_WHOLE(name, type, LOAD_LOW, LOAD_HIGH)                                          \
  AVX2 static void sum_##name(const void *values, size_t count, struct scan_value *sum) {      \
    const type *p = values;                                                                    \
    __m256i low = _mm256_setzero_si256(), high = low;                                          \
    size_t i = 0;                                                                              \
    for (; i + STEP <= count; i += STEP) {                                                     \
      low = _mm256_add_epi64(low, LOAD_LOW(p + i));                                            \
      high = _mm256_add_epi64(high, LOAD_HIGH(p + i));                                         \
    }                                                                                          \
    int64_t s = add_words(_mm256_add_epi64(low, high));                                        \
    for (; i < count; i++) s += p[i];                                                          \
    sum->number = (double)s;                                                                   \
  }

#define I32_LOW(p) _mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i *)(p)))
#define I32_HIGH(p) I32_LOW((p) + 4)
#define U32_LOW(p) _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(p)))
#define U32_HIGH(p) U32_LOW((p) + 4)
#define U16_LOW(p) _mm256_cvtepu16_epi64(_mm_loadl_epi64((const __m128i *)(p)))
#define U16_HIGH(p) U16_LOW((p) + 4)
SUM_OF_WHOLE(i32, int32_t, I32_LOW, I32_HIGH)
SUM_OF_WHOLE(u32, uint32_t, U32_LOW, U32_HIGH)
SUM_OF_WHOLE(u16, uint16_t, U16_LOW, U16_HIGH)

AVX2 static void sum_u8(const void *values, size_t count, struct scan_value *sum) {
  const uint8_t *p = values;
  const __m256i zero = _mm256_setzero_si256();
  __m256i sums = zero;
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(_mm256_loadu_si256((const __m256i *)(p + i)), zero));
  }
  int64_t s = add_words(sums);
  for (; i < count; i++) s += p[i];
  sum->number = (double)s;
}

/*
 * The halves apart, each moved up so that it is not negative: vectors have no carry. 2^30 values at a time, so that neither sum leaves
 * 64 bits.
 */
AVX2 static void sum_i64(const void *values, size_t count, struct scan_value *sum) {
  const int64_t *p = values;
  const __m256i sign = _mm256_set1_epi64x(INT64_MIN), lower = _mm256_set1_epi64x(0xffffffff);
  const size_t part = (size_t)1 << 30;
  __int128 s = 0;
  size_t i = 0;
  while (i + 4 <= count) {
    const size_t from = i, end = count - i > part ? i + part : count;
    __m256i low = _mm256_setzero_si256(), high = low;
    for (; i + 4 <= end; i += 4) {
      const __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(p + i)), sign);
      low = _mm256_add_epi64(low, _mm256_and_si256(v, lower));
      high = _mm256_add_epi64(high, _mm256_srli_epi64(v, 32));
    }
    const uint64_t lows = (uint64_t)add_words(low), highs = (uint64_t)add_words(high);
    s += ((__int128)highs << 32) + lows - ((__int128)(i - from) << 63);
  }
  for (; i < count; i++) s += p[i];
  sum->exact = s;
}

/* ---- least and greatest -------------------------------------------------------------------------------------- */

/* The second operand of min and max is what comes out when the first is NaN (K2). */
#define EXTREME_OF_FLOAT(what, name, type, vector, lanes, SET, LOAD, PICK, STORE, limit, compare)        \
  AVX2 static void what##_##name(const void *values, size_t count, struct scan_value *found) {            \
    const type *p = values;                                                                               \
    vector a = SET((type)(limit)), b = a;                                                                 \
    size_t i = 0;                                                                                         \
    for (; i + 2 * (lanes) <= count; i += 2 * (lanes)) {                                                  \
      a = PICK(LOAD(p + i), a);                                                                           \
      b = PICK(LOAD(p + i + (lanes)), b);                                                                 \
    }                                                                                                     \
    type each[lanes];                                                                                     \
    STORE(each, PICK(a, b));                                                                              \
    type best = each[0];                                                                                  \
    for (size_t lane = 1; lane < (lanes); lane++) best = each[lane] compare best ? each[lane] : best;     \
    for (; i < count; i++) best = p[i] compare best ? p[i] : best;                                        \
    /* Of the two zeros the first (K2). */                                                                \
    if (best == 0) {                                                                                      \
      for (i = 0; p[i] != 0;) i++;                                                                        \
      best = p[i];                                                                                        \
    }                                                                                                     \
    found->number = best;                                                                                 \
  }

EXTREME_OF_FLOAT(least, f64, double, __m256d, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_min_pd, _mm256_storeu_pd, INFINITY, <)
EXTREME_OF_FLOAT(greatest, f64, double, __m256d, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_max_pd, _mm256_storeu_pd, -INFINITY, >)
EXTREME_OF_FLOAT(least, f32, float, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_min_ps, _mm256_storeu_ps, INFINITY, <)
EXTREME_OF_FLOAT(greatest, f32, float, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_storeu_ps, -INFINITY, >)

AVX2 static __m256i least_words(__m256i a, __m256i b) { return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b)); }
AVX2 static __m256i greatest_words(__m256i a, __m256i b) { return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b)); }

#define EXTREME_OF_WHOLE(what, name, type, field, PICK, compare)                                          \
  AVX2 static void what##_##name(const void *values, size_t count, struct scan_value *found) {            \
    const type *p = values;                                                                               \
    const size_t lanes = 32 / sizeof(type);                                                               \
    type best = p[0];                                                                                     \
    size_t i = 0;                                                                                         \
    if (count >= 2 * lanes) {                                                                             \
      __m256i a = _mm256_loadu_si256((const __m256i *)p);                                                 \
      __m256i b = _mm256_loadu_si256((const __m256i *)(p + lanes));                                       \
      for (i = 2 * lanes; i + 2 * lanes <= count; i += 2 * lanes) {                                       \
        a = PICK(a, _mm256_loadu_si256((const __m256i *)(p + i)));                                        \
        b = PICK(b, _mm256_loadu_si256((const __m256i *)(p + i + lanes)));                                \
      }                                                                                                   \
      type each[32 / sizeof(type)];                                                                       \
      _mm256_storeu_si256((__m256i *)each, PICK(a, b));                                                   \
      for (size_t lane = 0; lane < lanes; lane++) best = each[lane] compare best ? each[lane] : best;     \
    }                                                                                                     \
    for (; i < count; i++) best = p[i] compare best ? p[i] : best;                                        \
    found->field = best;                                                                                  \
  }

EXTREME_OF_WHOLE(least, i32, int32_t, number, _mm256_min_epi32, <)
EXTREME_OF_WHOLE(greatest, i32, int32_t, number, _mm256_max_epi32, >)
EXTREME_OF_WHOLE(least, u32, uint32_t, number, _mm256_min_epu32, <)
EXTREME_OF_WHOLE(greatest, u32, uint32_t, number, _mm256_max_epu32, >)
EXTREME_OF_WHOLE(least, u16, uint16_t, number, _mm256_min_epu16, <)
EXTREME_OF_WHOLE(greatest, u16, uint16_t, number, _mm256_max_epu16, >)
EXTREME_OF_WHOLE(least, u8, uint8_t, number, _mm256_min_epu8, <)
EXTREME_OF_WHOLE(greatest, u8, uint8_t, number, _mm256_max_epu8, >)
EXTREME_OF_WHOLE(least, i64, int64_t, exact, least_words, <)
EXTREME_OF_WHOLE(greatest, i64, int64_t, exact, greatest_words, >)

/* ---- what lies in a range ------------------------------------------------------------------------------------ */

/* For each of eight bits that are set, its number, one after the other: how vectors are packed. */
static uint32_t set_bits[256][STEP];

static void fill_set_bits(void) {
  for (uint32_t mask = 0; mask < 256; mask++) {
    uint32_t found = 0;
    for (uint32_t bit = 0; bit < STEP; bit++) {
      if (mask & (1u << bit)) set_bits[mask][found++] = bit;
    }
  }
}

AVX2 static inline mask8 both_pd(__m256d low, __m256d high) {
  return (mask8)(_mm256_movemask_pd(low) | _mm256_movemask_pd(high) << 4);
}

AVX2 static inline __m256d between_pd(__m256d v, __m256d low, __m256d high) {
  return _mm256_and_pd(_mm256_cmp_pd(v, low, _CMP_GE_OQ), _mm256_cmp_pd(v, high, _CMP_LE_OQ));
}

AVX2 static inline mask8 mask_f64(const double *p, const struct scan_range *range) {
  const __m256d low = _mm256_set1_pd(range->low), high = _mm256_set1_pd(range->high);
  return both_pd(between_pd(_mm256_loadu_pd(p), low, high), between_pd(_mm256_loadu_pd(p + 4), low, high));
}

/* As doubles: the bounds need not be floats. */
AVX2 static inline mask8 mask_f32(const float *p, const struct scan_range *range) {
  const __m256d low = _mm256_set1_pd(range->low), high = _mm256_set1_pd(range->high);
  return both_pd(between_pd(_mm256_cvtps_pd(_mm_loadu_ps(p)), low, high),
                 between_pd(_mm256_cvtps_pd(_mm_loadu_ps(p + 4)), low, high));
}

AVX2 static inline mask8 outside_epi32(__m256i v, int32_t low, int32_t high) {
  const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(low), v), above = _mm256_cmpgt_epi32(v, _mm256_set1_epi32(high));
  return (mask8)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(below, above)));
}

AVX2 static inline mask8 mask_i32(const int32_t *p, const struct scan_range *range) {
  return (mask8)~outside_epi32(_mm256_loadu_si256((const __m256i *)p), (int32_t)range->whole_low, (int32_t)range->whole_high);
}

/* Moved down by 2^31, where signed comparisons are right. */
AVX2 static inline mask8 mask_u32(const uint32_t *p, const struct scan_range *range) {
  const __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), _mm256_set1_epi32(INT32_MIN));
  return (mask8)~outside_epi32(v, (int32_t)(range->whole_low + INT32_MIN), (int32_t)(range->whole_high + INT32_MIN));
}

AVX2 static inline mask8 mask_u16(const uint16_t *p, const struct scan_range *range) {
  const __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
  return (mask8)~outside_epi32(v, (int32_t)range->whole_low, (int32_t)range->whole_high);
}

AVX2 static inline mask8 mask_u8(const uint8_t *p, const struct scan_range *range) {
  const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
  return (mask8)~outside_epi32(v, (int32_t)range->whole_low, (int32_t)range->whole_high);
}

AVX2 static inline __m256d outside_epi64(__m256i v, __m256i low, __m256i high) {
  return _mm256_castsi256_pd(_mm256_or_si256(_mm256_cmpgt_epi64(low, v), _mm256_cmpgt_epi64(v, high)));
}

AVX2 static inline mask8 mask_i64(const int64_t *p, const struct scan_range *range) {
  const __m256i low = _mm256_set1_epi64x(range->whole_low), high = _mm256_set1_epi64x(range->whole_high);
  return (mask8)~both_pd(outside_epi64(_mm256_loadu_si256((const __m256i *)p), low, high),
                         outside_epi64(_mm256_loadu_si256((const __m256i *)(p + 4)), low, high));
}

/* The last values stand in a step of their own, padded; of its bits only theirs count. */
#define QUESTIONS(name, type)                                                                                     \
  AVX2 static inline mask8 rest_##name(const type *p, size_t left, const struct scan_range *range) {              \
    type rest[STEP] = {0};                                                                                        \
    memcpy(rest, p, left * sizeof(type));                                                                         \
    return (mask8)(mask_##name(rest, range) & ((1u << left) - 1));                                                \
  }                                                                                                               \
  AVX2 static size_t count_##name(const void *values, size_t count, const struct scan_range *range) {             \
    const type *p = values;                                                                                       \
    size_t found = 0, i = 0;                                                                                      \
    for (; i + STEP <= count; i += STEP) found += (size_t)_mm_popcnt_u32(mask_##name(p + i, range));              \
    if (i < count) found += (size_t)_mm_popcnt_u32(rest_##name(p + i, count - i, range));                         \
    return found;                                                                                                 \
  }                                                                                                               \
  AVX2 static size_t select_##name(const void *values, size_t count, const struct scan_range *range, uint32_t *out) { \
    const type *p = values;                                                                                       \
    size_t found = 0, i = 0;                                                                                      \
    /* Writes eight each time: `found` is never beyond `i`, and there is room for `count`. */                     \
    for (; i + STEP <= count; i += STEP) {                                                                        \
      const mask8 mask = mask_##name(p + i, range);                                                               \
      const __m256i at = _mm256_loadu_si256((const __m256i *)set_bits[mask]);                                     \
      _mm256_storeu_si256((__m256i *)(out + found), _mm256_add_epi32(at, _mm256_set1_epi32((int)i)));             \
      found += (size_t)_mm_popcnt_u32(mask);                                                                      \
    }                                                                                                             \
    mask8 mask = i < count ? rest_##name(p + i, count - i, range) : 0;                                            \
    for (; mask != 0; mask &= (mask8)(mask - 1)) out[found++] = (uint32_t)i + set_bits[mask][0];                  \
    return found;                                                                                                 \
  }

QUESTIONS(f64, double)
QUESTIONS(f32, float)
QUESTIONS(i32, int32_t)
QUESTIONS(i64, int64_t)
QUESTIONS(u32, uint32_t)
QUESTIONS(u16, uint16_t)
QUESTIONS(u8, uint8_t)

#define KERNEL(name, type) {sizeof(type), sum_##name, least_##name, greatest_##name, count_##name, select_##name}

static const struct scan_kernel kernels[SCAN_TYPES] = {
    [SCAN_F64] = KERNEL(f64, double),    [SCAN_F32] = KERNEL(f32, float),     [SCAN_I32] = KERNEL(i32, int32_t),
    [SCAN_I64] = KERNEL(i64, int64_t),   [SCAN_U32] = KERNEL(u32, uint32_t),  [SCAN_U16] = KERNEL(u16, uint16_t),
    [SCAN_U8] = KERNEL(u8, uint8_t),
};

const struct scan_kernel *scan_avx2(void) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("popcnt")) return NULL;
  fill_set_bits();
  return kernels;
}
#else
const struct scan_kernel *scan_avx2(void) { return NULL; }
#endif
