/*
 * The inner loops of column scans: what structures/addon-scan-kernels.ts calls. Their twin in JavaScript is structures/column-kernels.ts, whose K1 to K3
 * hold here to the bit.
 *
 * scan.c        what JavaScript calls
 * scan-plain.c  in plain C, for every processor
 * scan-avx2.c   with AVX2, for x86-64 processors that have it
 */
#ifndef PINION_SCAN_H
#define PINION_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As in column-kernels.ts, K1: values added at once. */
#define SUM_LANES 8u

/* Elements of a typed array. */
enum scan_type { SCAN_F64, SCAN_F32, SCAN_I32, SCAN_I64, SCAN_U32, SCAN_U16, SCAN_U8, SCAN_TYPES };

/* What a kernel finds: `exact` for i64, else `number`. */
struct scan_value {
  double number;
  __int128 exact;
};

/* A closed range: `low` and `high` for f64 and f32, the whole ones for the others, within their type. */
struct scan_range {
  double low, high;
  int64_t whole_low, whole_high;
};

struct scan_kernel {
  size_t width;
  /* Sum of one block (K1). */
  void (*sum)(const void *values, size_t count, struct scan_value *sum);
  /* Least and greatest (K2), of at least one value. */
  void (*least)(const void *values, size_t count, struct scan_value *least);
  void (*greatest)(const void *values, size_t count, struct scan_value *greatest);
  size_t (*count)(const void *values, size_t count, const struct scan_range *range);
  /* Indices in the range, to `out`, which has room for `count`. */
  size_t (*select)(const void *values, size_t count, const struct scan_range *range, uint32_t *out);
};

/* Sums that vectors or a loop have made of every eighth value each, the last values, and the order of K1. */
static inline double fold_lanes(const double *s) {
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

extern const struct scan_kernel scan_plain[SCAN_TYPES];
/* NULL on other processors. */
const struct scan_kernel *scan_avx2(void);

#endif
