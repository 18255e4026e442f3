/*
 * Cutting and hashing of chunks, as JavaScript calls them (structures/addon-chunk-kernels.ts).
 *
 * Hashes come where the caller wants them in the same memory. `hashLater` computes them on a thread of libuv's pool: the memory is kept alive until
 * then, and nobody may take it away (structures/chunk-batch.ts owns it).
 *
 * Whatever the arguments are, an answer or an error: no place is read or written that is not in the memory as it is at the call.
 */
#include "parts.h"

#include "cdc.h"
#include "sha256.h"

#include <pthread.h>
#include <stdlib.h>

#define PLACE_WORDS 3u /* where the hash goes, where the chunk begins, its length */
#define CHUNKS_AT_ONCE 64u

static bool hashes;

static void init_once(void) {
  cdc_init();
  hashes = sha256_here();
}

static napi_value refuse(napi_env env, const char *what) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", what);
  return NULL;
}

static bool array_at(napi_env env, napi_value value, napi_typedarray_type wanted, void **bytes, size_t *length) {
  napi_typedarray_type type = (napi_typedarray_type)-1;
  bool is_array = false;
  return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
         napi_get_typedarray_info(env, value, &type, length, bytes, NULL, NULL) == napi_ok && type == wanted &&
         (*bytes != NULL || *length == 0);
}

/* cut(bytes, start, end, scanned) → the end of the chunk that begins at `start`, −1: `end` comes first */
static napi_value chunks_cut(napi_env env, napi_callback_info info) {
  napi_value argv[4], result = NULL;
  size_t argc = 4, length;
  void *bytes = NULL;
  uint32_t start, end, scanned;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < 4 ||
      !array_at(env, argv[0], napi_uint8_array, &bytes, &length) || napi_get_value_uint32(env, argv[1], &start) != napi_ok ||
      napi_get_value_uint32(env, argv[2], &end) != napi_ok || napi_get_value_uint32(env, argv[3], &scanned) != napi_ok ||
      start > end || end > length)
    return refuse(env, "pinion: no such bytes to cut");
  const size_t cut = cdc_end((const uint8_t *)bytes + start, end - start, scanned);
  napi_create_double(env, cut == 0 ? -1 : (double)(start + cut), &result);
  return result;
}

struct work {
  napi_async_work work;
  napi_deferred deferred;
  napi_ref memory;
  size_t count;
  struct message messages[CHUNKS_AT_ONCE];
};

/* (memory: Uint8Array, places: Uint32Array, count) */
static bool messages_at(napi_env env, napi_callback_info info, napi_value *argv, struct message *messages, size_t *count) {
  size_t argc = 3, length, words;
  void *memory = NULL, *at = NULL;
  uint32_t wanted;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < 3 || !hashes ||
      !array_at(env, argv[0], napi_uint8_array, &memory, &length) ||
      !array_at(env, argv[1], napi_uint32_array, &at, &words) || napi_get_value_uint32(env, argv[2], &wanted) != napi_ok ||
      wanted > CHUNKS_AT_ONCE || words / PLACE_WORDS < wanted) {
    refuse(env, "pinion: no such chunks to hash");
    return false;
  }
  const uint32_t *place = at;
  for (size_t i = 0; i < wanted; i++, place += PLACE_WORDS) {
    if (length < HASH_BYTES || place[0] > length - HASH_BYTES || place[1] > length || place[2] > length - place[1]) {
      refuse(env, "pinion: a chunk that is not in the memory");
      return false;
    }
    uint8_t *bytes = memory;
    messages[i] = (struct message){.bytes = bytes + place[1], .length = place[2], .hash = bytes + place[0]};
  }
  *count = wanted;
  return true;
}

/* hash(memory, places, count) */
static napi_value chunks_hash(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  struct message messages[CHUNKS_AT_ONCE];
  size_t count;
  if (messages_at(env, info, argv, messages, &count)) sha256_all(messages, count);
  return NULL;
}

static void run(napi_env env, void *data) {
  (void)env;
  struct work *work = data;
  sha256_all(work->messages, work->count);
}

/* On the event loop; also when the environment ends before the work has begun. */
static void finish(napi_env env, napi_status status, void *data) {
  struct work *work = data;
  napi_value nothing;
  if (status == napi_ok && napi_get_undefined(env, &nothing) == napi_ok) napi_resolve_deferred(env, work->deferred, nothing);
  napi_delete_reference(env, work->memory);
  napi_delete_async_work(env, work->work);
  free(work);
}

/* hashLater(memory, places, count) → a promise; `places` may be used for something else at once */
static napi_value chunks_hash_later(napi_env env, napi_callback_info info) {
  napi_value argv[3], promise = NULL, name;
  struct work *work = calloc(1, sizeof *work);
  if (work == NULL) {
    napi_throw_error(env, "ENOMEM", "pinion: out of memory");
    return NULL;
  }
  if (!messages_at(env, info, argv, work->messages, &work->count)) {
    free(work);
    return NULL;
  }
  if (napi_create_string_utf8(env, "pinion:hash", NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_reference(env, argv[0], 1, &work->memory) == napi_ok) {
    if (napi_create_async_work(env, NULL, name, run, finish, work, &work->work) == napi_ok) {
      if (napi_create_promise(env, &work->deferred, &promise) == napi_ok && napi_queue_async_work(env, work->work) == napi_ok)
        return promise;
      napi_delete_async_work(env, work->work);
    }
    napi_delete_reference(env, work->memory);
  }
  free(work);
  napi_throw_error(env, "ERR_INVALID_STATE", "pinion: no work can be started");
  return NULL;
}

bool chunks_init(napi_env env, napi_value exports) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_once);
  napi_property_descriptor properties[] = {
      {"cut", NULL, chunks_cut, NULL, NULL, NULL, napi_default, NULL},
      {"hash", NULL, chunks_hash, NULL, NULL, NULL, napi_default, NULL},
      {"hashLater", NULL, chunks_hash_later, NULL, NULL, NULL, napi_default, NULL},
  };
  napi_value object, value;
  return napi_create_object(env, &object) == napi_ok &&
         napi_define_properties(env, object, sizeof properties / sizeof *properties, properties) == napi_ok &&
         napi_get_boolean(env, hashes, &value) == napi_ok &&
         napi_set_named_property(env, object, "hasHashes", value) == napi_ok &&
         napi_set_named_property(env, exports, "chunks", object) == napi_ok;
}
