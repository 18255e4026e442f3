/*
 * Column scans, as JavaScript calls them: on the event loop, over typed arrays, which stay where they are meanwhile. A call costs about 0.1 µs.
 *
 * Whatever the arguments are, an answer or an error: types and lengths are those the engine says at that moment, a detached buffer has none.
 */
#include "scan.h"

#include "parts.h"

#include <pthread.h>

/* Exact sums in lanes of JavaScript, too (column-kernels.ts, K1). */
#define BLOCK_ROWS_MAX (1u << 20)

static const struct scan_kernel *fastest = scan_plain;

static void choose(void) {
  const struct scan_kernel *avx2 = scan_avx2();
  if (avx2 != NULL) fastest = avx2;
}

struct scanned {
  enum scan_type type;
  const struct scan_kernel *kernel;
  const uint8_t *values;
  size_t count;
};

static napi_value refuse(napi_env env, const char *what) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", what);
  return NULL;
}

static int type_of(napi_typedarray_type type) {
  switch (type) {
    case napi_float64_array: return SCAN_F64;
    case napi_float32_array: return SCAN_F32;
    case napi_int32_array: return SCAN_I32;
    case napi_bigint64_array: return SCAN_I64;
    case napi_uint32_array: return SCAN_U32;
    case napi_uint16_array: return SCAN_U16;
    case napi_uint8_array: return SCAN_U8;
    default: return SCAN_TYPES;
  }
}

static bool scanned_at(napi_env env, napi_value value, bool plain, struct scanned *scanned) {
  napi_typedarray_type type = (napi_typedarray_type)-1;
  void *values = NULL;
  bool is_array = false;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, value, &type, &scanned->count, &values, NULL, NULL) != napi_ok ||
      type_of(type) == SCAN_TYPES) {
    refuse(env, "pinion: what is scanned is not an array of numbers of a column");
    return false;
  }
  if (values == NULL || scanned->count == 0) {
    refuse(env, "pinion: nothing to scan, or its buffer is detached");
    return false;
  }
  scanned->type = (enum scan_type)type_of(type);
  scanned->kernel = (plain ? scan_plain : fastest) + scanned->type;
  scanned->values = values;
  return true;
}

/* The first `count` arguments, and last whether plain C is wanted. */
static bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv, bool *plain) {
  size_t argc = count + 1;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) == napi_ok && argc >= count &&
      napi_get_value_bool(env, argv[count], plain) == napi_ok)
    return true;
  refuse(env, "pinion: arguments of a scan are missing");
  return false;
}

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

static napi_value exact(napi_env env, __int128 value) {
  napi_value result = NULL;
  const bool negative = value < 0;
  const unsigned __int128 size = negative ? -(unsigned __int128)value : (unsigned __int128)value;
  const uint64_t words[2] = {(uint64_t)size, (uint64_t)(size >> 64)};
  napi_create_bigint_words(env, negative, words[1] == 0 ? 1 : 2, words, &result);
  return result;
}

/* sum(values, blockRows, before: number, plain) → before + the sum of each block, in order (K1); of i64 without `before` */
static napi_value scan_sum(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  bool plain;
  struct scanned scanned;
  uint32_t block_rows;
  double total;
  if (!arguments(env, info, 3, argv, &plain) || !scanned_at(env, argv[0], plain, &scanned)) return NULL;
  if (napi_get_value_uint32(env, argv[1], &block_rows) != napi_ok || block_rows == 0 || block_rows > BLOCK_ROWS_MAX ||
      napi_get_value_double(env, argv[2], &total) != napi_ok)
    return refuse(env, "pinion: blocks of no such length");
  const struct scan_kernel *kernel = scanned.kernel;
  __int128 whole = 0;
  for (size_t at = 0; at < scanned.count; at += block_rows) {
    const size_t left = scanned.count - at;
    struct scan_value found = {0};
    kernel->sum(scanned.values + at * kernel->width, left < block_rows ? left : block_rows, &found);
    if (scanned.type == SCAN_I64) whole += found.exact;
    else total += found.number;
  }
  return scanned.type == SCAN_I64 ? exact(env, whole) : number(env, total);
}

static napi_value extreme(napi_env env, napi_callback_info info, bool least) {
  napi_value argv[2];
  bool plain;
  struct scanned scanned;
  struct scan_value found = {0};
  if (!arguments(env, info, 1, argv, &plain) || !scanned_at(env, argv[0], plain, &scanned)) return NULL;
  (least ? scanned.kernel->least : scanned.kernel->greatest)(scanned.values, scanned.count, &found);
  return scanned.type == SCAN_I64 ? exact(env, found.exact) : number(env, found.number);
}

/* min(values, plain), max(values, plain) (K2) */
static napi_value scan_min(napi_env env, napi_callback_info info) { return extreme(env, info, true); }
static napi_value scan_max(napi_env env, napi_callback_info info) { return extreme(env, info, false); }

static bool whole_within(double bound, double least, double greatest, int64_t *into) {
  if (!(bound >= least && bound <= greatest)) return false;
  *into = (int64_t)bound;
  return true;
}

static bool range_at(napi_env env, enum scan_type type, napi_value low, napi_value high, struct scan_range *range) {
  static const double LEAST[SCAN_TYPES] = {[SCAN_I32] = INT32_MIN};
  static const double GREATEST[SCAN_TYPES] = {
      [SCAN_I32] = INT32_MAX, [SCAN_U32] = UINT32_MAX, [SCAN_U16] = UINT16_MAX, [SCAN_U8] = UINT8_MAX};
  bool low_fits = true, high_fits = true, good;
  if (type == SCAN_I64) {
    good = napi_get_value_bigint_int64(env, low, &range->whole_low, &low_fits) == napi_ok &&
           napi_get_value_bigint_int64(env, high, &range->whole_high, &high_fits) == napi_ok && low_fits && high_fits;
  } else {
    good = napi_get_value_double(env, low, &range->low) == napi_ok && napi_get_value_double(env, high, &range->high) == napi_ok;
    if (good && type != SCAN_F64 && type != SCAN_F32)
      good = whole_within(range->low, LEAST[type], GREATEST[type], &range->whole_low) &&
             whole_within(range->high, LEAST[type], GREATEST[type], &range->whole_high);
  }
  if (!good) refuse(env, "pinion: bounds that no value of the array can have");
  return good;
}

/* count(values, low, high, plain): for whole numbers, bounds of their type */
static napi_value scan_count(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  bool plain;
  struct scanned scanned;
  struct scan_range range = {0};
  if (!arguments(env, info, 3, argv, &plain) || !scanned_at(env, argv[0], plain, &scanned) ||
      !range_at(env, scanned.type, argv[1], argv[2], &range))
    return NULL;
  return number(env, (double)scanned.kernel->count(scanned.values, scanned.count, &range));
}

/* select(values, low, high, out: Uint32Array, plain) → how many */
static napi_value scan_select(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  bool plain, is_array = false;
  struct scanned scanned;
  struct scan_range range = {0};
  napi_typedarray_type type = (napi_typedarray_type)-1;
  void *out = NULL;
  size_t room;
  if (!arguments(env, info, 4, argv, &plain) || !scanned_at(env, argv[0], plain, &scanned) ||
      !range_at(env, scanned.type, argv[1], argv[2], &range))
    return NULL;
  if (napi_is_typedarray(env, argv[3], &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, argv[3], &type, &room, &out, NULL, NULL) != napi_ok || type != napi_uint32_array ||
      out == NULL || room < scanned.count || scanned.count > UINT32_MAX)
    return refuse(env, "pinion: no room for what is selected");
  return number(env, (double)scanned.kernel->select(scanned.values, scanned.count, &range, out));
}

bool scan_init(napi_env env, napi_value exports) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, choose);
#define FUNCTION(name) {#name, NULL, scan_##name, NULL, NULL, NULL, napi_default, NULL}
  napi_property_descriptor properties[] = {FUNCTION(sum), FUNCTION(min), FUNCTION(max), FUNCTION(count), FUNCTION(select)};
  napi_value object, vectors;
  return napi_create_object(env, &object) == napi_ok &&
         napi_define_properties(env, object, sizeof properties / sizeof *properties, properties) == napi_ok &&
         napi_get_boolean(env, fastest != scan_plain, &vectors) == napi_ok &&
         napi_set_named_property(env, object, "hasVectors", vectors) == napi_ok &&
         napi_set_named_property(env, exports, "scan", object) == napi_ok;
}
