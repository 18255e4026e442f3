/*
 * Cutting and hashing of chunks, as JavaScript calls them (structures/addon-chunk-kernels.ts).
 *
 * Hashes come where the caller wants them in the same memory. `hashLater` computes them on a thread of libuv's pool: the memory is kept alive until
 * then, and nobody may take it away (structures/chunk-batch.ts owns it).
 *
 * I1 the first word of that memory is a ticket. Who raises it by one from the value that was given hashes, and nobody else touches anything: the
 *    event loop may have been faster, and the memory be in use for something else since. Once the hashes are there it is one more.
 *
 * Whatever the arguments are, an answer or an error: no place is read or written that is not in the memory as it is at the call.
 */
#include "parts.h"

#include "cdc.h"
#include "sha256.h"

#include <pthread.h>
#include <stdlib.h>

#define PLACE_WORDS 3u /* where the hash goes, where the chunk begins, its length */
#define CHUNKS_AT_ONCE 128u

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
  uint32_t *ticket;
  uint32_t given;
  size_t count;
  struct message messages[CHUNKS_AT_ONCE];
};

/* (memory: Uint8Array, places: Uint32Array, count) of `argc` arguments */
static bool messages_at(napi_env env, napi_callback_info info, size_t argc, napi_value *argv, struct message *messages, size_t *count) {
  const size_t wanted_arguments = argc;
  size_t length, words;
  void *memory = NULL, *at = NULL;
  uint32_t wanted;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < wanted_arguments || !hashes ||
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
  if (messages_at(env, info, 3, argv, messages, &count)) sha256_all(messages, count);
  return NULL;
}

static void run(napi_env env, void *data) {
  (void)env;
  struct work *work = data;
  uint32_t given = work->given;
  /* I1 */
  if (!__atomic_compare_exchange_n(work->ticket, &given, given + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return;
  sha256_all(work->messages, work->count);
  __atomic_store_n(work->ticket, work->given + 2, __ATOMIC_RELEASE);
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

/* I1: what `memory` begins with is `value`, and no hash goes there */
static bool ticket_at(napi_env env, napi_value memory, napi_value value, struct work *work) {
  size_t length;
  void *bytes = NULL;
  if (!array_at(env, memory, napi_uint8_array, &bytes, &length) || length < sizeof(uint32_t) ||
      (uintptr_t)bytes % sizeof(uint32_t) != 0 || napi_get_value_uint32(env, value, &work->given) != napi_ok)
    return false;
  for (size_t i = 0; i < work->count; i++) {
    if (work->messages[i].hash < (uint8_t *)bytes + sizeof(uint32_t)) return false;
  }
  work->ticket = bytes;
  return true;
}

/* hashLater(memory, places, count, ticket) → a promise; `places` may be used for something else at once */
static napi_value chunks_hash_later(napi_env env, napi_callback_info info) {
  napi_value argv[4], promise = NULL, name;
  struct work *work = calloc(1, sizeof *work);
  if (work == NULL) {
    napi_throw_error(env, "ENOMEM", "pinion: out of memory");
    return NULL;
  }
  if (!messages_at(env, info, 4, argv, work->messages, &work->count)) {
    free(work);
    return NULL;
  }
  if (!ticket_at(env, argv[0], argv[3], work)) {
    free(work);
    return refuse(env, "pinion: no ticket at the beginning of the memory");
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
