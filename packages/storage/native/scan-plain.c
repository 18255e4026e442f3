/* Scans in plain C: one loop for each kind of question, made for each type. */
#include "scan.h"

#include <math.h>

#define OF_FLOAT(name, type)                                                                                  \
  static void sum_##name(const void *values, size_t count, struct scan_value *sum) {                          \
    const type *p = values;                                                                                   \
    double s[SUM_LANES] = {-0.0, -0.0, -0.0, -0.0, -0.0, -0.0, -0.0, -0.0};                                   \
    size_t i = 0;                                                                                             \
    for (; i + SUM_LANES <= count; i += SUM_LANES) {                                                          \
      for (size_t lane = 0; lane < SUM_LANES; lane++) s[lane] += (double)p[i + lane];                         \
    }                                                                                                         \
    for (size_t lane = 0; i < count; i++, lane++) s[lane] += (double)p[i];                                    \
    sum->number = fold_lanes(s);                                                                              \
  }                                                                                                           \
  static void least_##name(const void *values, size_t count, struct scan_value *least) {                      \
    const type *p = values;                                                                                   \
    type found = (type)INFINITY;                                                                              \
    for (size_t i = 0; i < count; i++) found = p[i] < found ? p[i] : found;                                   \
    least->number = found;                                                                                    \
  }                                                                                                           \
  static void greatest_##name(const void *values, size_t count, struct scan_value *greatest) {                \
    const type *p = values;                                                                                   \
    type found = (type)-INFINITY;                                                                             \
    for (size_t i = 0; i < count; i++) found = p[i] > found ? p[i] : found;                                   \
    greatest->number = found;                                                                                 \
  }                                                                                                           \
  QUESTIONS(name, type, double, range->low, range->high)

/* Whole numbers of at most four bytes: a block of fewer than 2^21 of them has an exact sum, in lanes of JavaScript, too. */
#define OF_SHORT(name, type)                                                                                  \
  static void sum_##name(const void *values, size_t count, struct scan_value *sum) {                          \
    const type *p = values;                                                                                   \
    int64_t s = 0;                                                                                            \
    for (size_t i = 0; i < count; i++) s += p[i];                                                             \
    sum->number = (double)s;                                                                                  \
  }                                                                                                           \
  EXTREMES(name, type, number)                                                                                \
  QUESTIONS(name, type, int64_t, range->whole_low, range->whole_high)

#define EXTREMES(name, type, field)                                                                           \
  static void least_##name(const void *values, size_t count, struct scan_value *least) {                      \
    const type *p = values;                                                                                   \
    type found = p[0];                                                                                        \
    for (size_t i = 1; i < count; i++) found = p[i] < found ? p[i] : found;                                   \
    least->field = found;                                                                                     \
  }                                                                                                           \
  static void greatest_##name(const void *values, size_t count, struct scan_value *greatest) {                \
    const type *p = values;                                                                                   \
    type found = p[0];                                                                                        \
    for (size_t i = 1; i < count; i++) found = p[i] > found ? p[i] : found;                                   \
    greatest->field = found;                                                                                  \
  }

#define QUESTIONS(name, type, compared, from, to)                                                             \
  static size_t count_##name(const void *values, size_t count, const struct scan_range *range) {              \
    const type *p = values;                                                                                   \
    const compared low = from, high = to;                                                                     \
    size_t found = 0;                                                                                         \
    for (size_t i = 0; i < count; i++) found += p[i] >= low && p[i] <= high;                                  \
    return found;                                                                                             \
  }                                                                                                           \
  static size_t select_##name(const void *values, size_t count, const struct scan_range *range, uint32_t *out) { \
    const type *p = values;                                                                                   \
    const compared low = from, high = to;                                                                     \
    size_t found = 0;                                                                                         \
    for (size_t i = 0; i < count; i++) {                                                                      \
      out[found] = (uint32_t)i;                                                                               \
      found += p[i] >= low && p[i] <= high;                                                                   \
    }                                                                                                         \
    return found;                                                                                             \
  }

OF_FLOAT(f64, double)
OF_FLOAT(f32, float)
OF_SHORT(i32, int32_t)
OF_SHORT(u32, uint32_t)
OF_SHORT(u16, uint16_t)
OF_SHORT(u8, uint8_t)

static void sum_i64(const void *values, size_t count, struct scan_value *sum) {
  const int64_t *p = values;
  __int128 s = 0;
  for (size_t i = 0; i < count; i++) s += p[i];
  sum->exact = s;
}
EXTREMES(i64, int64_t, exact)
QUESTIONS(i64, int64_t, int64_t, range->whole_low, range->whole_high)

#define KERNEL(name, type) {sizeof(type), sum_##name, least_##name, greatest_##name, count_##name, select_##name}

const struct scan_kernel scan_plain[SCAN_TYPES] = {
    [SCAN_F64] = KERNEL(f64, double),    [SCAN_F32] = KERNEL(f32, float),     [SCAN_I32] = KERNEL(i32, int32_t),
    [SCAN_I64] = KERNEL(i64, int64_t),   [SCAN_U32] = KERNEL(u32, uint32_t),  [SCAN_U16] = KERNEL(u16, uint16_t),
    [SCAN_U8] = KERNEL(u8, uint8_t),
};
