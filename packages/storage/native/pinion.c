// cflags: -std=gnu11 -O3 -shared -fPIC -fvisibility=hidden -pthread -Wall -Wextra -Werror=implicit-function-declaration
/*
 * The addon behind memory/addon-door.ts: the system calls Node does not offer, each in one trip off the event loop. Its other parts: memory
 * outside the heap (memory.h), scans of columns (scan.h), chunks of blobs (chunks.c).
 *
 * Two lanes, each a thread with a queue: the log lane flushes, the bulk lane does everything that may take long. An idle lane
 * sleeps at once: spinning a while first gained nothing and took the processor from others
 * (docs/decisions/0011-a-flusher-thread.md).
 *
 * JavaScript numbers every operation with a slot and keeps its buffer alive until that slot has completed. Finished slots
 * are reported in bulk through one shared Int32Array of (slot, result) pairs and one callback: no promise, no object and no
 * handle is made per operation on this side.
 *
 * I1 `submitted` and `completed` of a lane are each written by one thread only (the event loop, the lane) and read by the
 *    other with acquire/release: the rings need no lock.
 * I2 never more than RING operations are in one lane: JavaScript holds the rest back.
 * I3 at the end of the environment (process exit, worker thread terminated) the running operation of each lane is
 *    waited for, the queued ones are dropped: none of them was acknowledged.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "crc32c.h"
#include "memory.h"
#include "parts.h"

uint32_t checksum(uint32_t seed, const uint8_t *bytes, size_t length) { return crc32c(seed, bytes, length); }

/* ---- log records --------------------------------------------------------------------------------------------- */

#define RECORD_HEADER_BYTES 32u
#define NOT_RECORDS 1 /* a result no errno has: results are 0 or −errno */

/* Bytes that are sealed before they are written: they come from the cache of this core when the kernel copies them. */
#define SEALED_AT_ONCE (512u << 10)

/*
 * Fills in the checksums of records from `*from` on, up to the first that ends SEALED_AT_ONCE bytes or more behind it or to the
 * end, and moves `*from` there; the twin of sealRecords in memory/seal-records.ts.
 */
static int seal_records(uint8_t *bytes, size_t length, uint64_t generation, uint64_t file_offset, size_t *from) {
  size_t at = *from;
  while (at < length && at - *from < SEALED_AT_ONCE) {
    if (length - at < RECORD_HEADER_BYTES) return NOT_RECORDS;
    uint32_t payload;
    memcpy(&payload, bytes + at + 4, 4);
    size_t end = at + RECORD_HEADER_BYTES + payload;
    size_t next = (end + 7) & ~(size_t)7;
    if (next > length) return NOT_RECORDS;
    uint64_t prefix[2] = {generation, file_offset + at};
    uint32_t crc = crc32c(0, (const uint8_t *)prefix, sizeof prefix);
    crc = crc32c(crc, bytes + at + 4, end - at - 4);
    memcpy(bytes + at, &crc, 4);
    at = next;
  }
  *from = at;
  return 0;
}

/* ---- lanes --------------------------------------------------------------------------------------------------- */

#define LANES 2
#define RING 256u

enum kind { KIND_ALLOCATE = 0, KIND_WRITE = 1, KIND_SEAL_AND_WRITE = 2, KIND_FLUSH = 3 };

struct operation {
  int slot;
  int kind;
  int fd;
  bool sync;
  uint8_t *bytes;
  size_t length; /* of bytes; of the range for KIND_ALLOCATE */
  uint64_t offset;
  uint64_t generation;
};

struct completion {
  int slot;
  int result;
};

struct door;

struct lane {
  struct door *door;
  pthread_t thread;
  bool started;
  const char *name;
  sem_t work;
  _Atomic uint32_t submitted; /* operations ever put into the ring (I1: event loop) */
  _Atomic uint32_t completed; /* operations ever finished (I1: lane) */
  uint32_t reported;          /* completions handed to JavaScript: event loop only */
  struct operation ring[RING];
  struct completion done[RING];
};

struct door {
  napi_env env;
  uv_async_t wake;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  int32_t *results; /* LANES × RING pairs, owned by JavaScript */
  napi_ref results_ref;
  uint32_t running; /* submitted and not reported */
  _Atomic bool stopping;
  struct lane lanes[LANES];
};

static int write_all(int fd, const uint8_t *bytes, size_t length, uint64_t offset) {
  while (length > 0) {
    ssize_t n = pwrite(fd, bytes, length, (off_t)offset);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    bytes += n;
    length -= (size_t)n;
    offset += (uint64_t)n;
  }
  return 0;
}

/*
 * Reserves blocks and, with `written`, writes zeros behind the end of the file. fallocate alone leaves blocks that are marked as never
 * written: every flush of data in one of them would have to commit that mark's removal to the file system's journal
 * (ext4: 170 instead of 110 µs a flush). Each MiB reaches the disk before the next, so that a flush of the log waits behind
 * one of them at most.
 */
static int allocate(int fd, uint64_t offset, uint64_t length, bool written) {
  static const uint8_t zeros[1 << 20];
  struct stat before;
  if (fstat(fd, &before) != 0) return -errno;
  while (fallocate(fd, 0, (off_t)offset, (off_t)length) != 0) {
    if (errno == EOPNOTSUPP) {
      written = true; /* the zeros reserve the blocks */
      break;
    }
    if (errno != EINTR) return -errno;
  }
  if (!written) return 0;
  uint64_t end = offset + length;
  uint64_t at = offset > (uint64_t)before.st_size ? offset : (uint64_t)before.st_size;
  while (at < end) {
    size_t count = end - at < sizeof zeros ? (size_t)(end - at) : sizeof zeros;
    int result = write_all(fd, zeros, count, at);
    if (result != 0) return result;
    sync_file_range(fd, (off_t)at, (off_t)count,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    at += count;
  }
  return fdatasync(fd) == 0 ? 0 : -errno;
}

static int seal_and_write(const struct operation *op) {
  size_t sealed = 0;
  while (sealed < op->length) {
    size_t start = sealed;
    int result = seal_records(op->bytes, op->length, op->generation, op->offset, &sealed);
    if (result == 0) result = write_all(op->fd, op->bytes + start, sealed - start, op->offset + start);
    if (result != 0) return result;
  }
  return 0;
}

static int run(struct operation *op) {
  int result = 0;
  switch (op->kind) {
    case KIND_ALLOCATE:
      return allocate(op->fd, op->offset, op->length, op->sync);
    case KIND_SEAL_AND_WRITE:
    case KIND_WRITE:
      result = op->kind == KIND_WRITE ? write_all(op->fd, op->bytes, op->length, op->offset) : seal_and_write(op);
      if (result != 0 || !op->sync) return result;
      /* fall through */
    case KIND_FLUSH:
      /* Never repeated: after a failed flush nobody knows what is durable (Disk I3). */
      return fdatasync(op->fd) == 0 ? 0 : -errno;
    default:
      return -EINVAL;
  }
}

static void *lane_main(void *arg) {
  struct lane *lane = arg;
  struct door *door = lane->door;
  uint32_t next = 0;
  for (;;) {
    while (sem_wait(&lane->work) != 0) {
    }
    if (atomic_load_explicit(&door->stopping, memory_order_acquire)) return NULL;
    if (atomic_load_explicit(&lane->submitted, memory_order_acquire) == next) continue;
    struct operation *op = &lane->ring[next % RING];
    struct completion *done = &lane->done[next % RING];
    done->slot = op->slot;
    done->result = run(op);
    atomic_store_explicit(&lane->completed, ++next, memory_order_release);
    uv_async_send(&door->wake);
  }
}

/* Signals stay with Node's own threads. */
static bool start_lane(struct lane *lane) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  lane->started = pthread_create(&lane->thread, NULL, lane_main, lane) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (lane->started) pthread_setname_np(lane->thread, lane->name);
  return lane->started;
}

/* On the event loop: hands everything that has finished to JavaScript in one call. */
static void report(uv_async_t *wake) {
  struct door *door = wake->data;
  int count = 0;
  for (int i = 0; i < LANES; i++) {
    struct lane *lane = &door->lanes[i];
    uint32_t completed = atomic_load_explicit(&lane->completed, memory_order_acquire);
    for (; lane->reported != completed; lane->reported++, count++) {
      struct completion *done = &lane->done[lane->reported % RING];
      door->results[2 * count] = done->slot;
      door->results[2 * count + 1] = done->result;
    }
  }
  if (count == 0) return;
  door->running -= (uint32_t)count;
  if (door->running == 0) uv_unref((uv_handle_t *)wake);
  napi_handle_scope scope;
  if (napi_open_handle_scope(door->env, &scope) != napi_ok) return;
  napi_value callback, receiver, argument;
  napi_get_reference_value(door->env, door->callback, &callback);
  napi_get_global(door->env, &receiver);
  napi_create_int32(door->env, count, &argument);
  napi_status status = napi_make_callback(door->env, door->context, receiver, callback, 1, &argument, NULL);
  if (status == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(door->env, &error);
    napi_fatal_exception(door->env, error);
  }
  napi_close_handle_scope(door->env, scope);
}

static void closed(uv_handle_t *handle) {
  struct door *door = handle->data;
  for (int i = 0; i < LANES; i++) sem_destroy(&door->lanes[i].work);
  napi_remove_async_cleanup_hook(door->cleanup);
  free(door);
}

static void clean_up(napi_async_cleanup_hook_handle handle, void *arg) {
  (void)handle;
  struct door *door = arg;
  atomic_store_explicit(&door->stopping, true, memory_order_release);
  for (int i = 0; i < LANES; i++) sem_post(&door->lanes[i].work);
  for (int i = 0; i < LANES; i++) {
    if (door->lanes[i].started) pthread_join(door->lanes[i].thread, NULL);
  }
  uv_close((uv_handle_t *)&door->wake, closed);
}

/* ---- JavaScript ---------------------------------------------------------------------------------------------- */

#define CHECK(call)                                                   \
  do {                                                                \
    if ((call) != napi_ok) {                                          \
      napi_throw_error(env, "ERR_INVALID_ARG_VALUE", "pinion: " #call); \
      return NULL;                                                    \
    }                                                                 \
  } while (0)

static struct door *door_of(napi_env env) {
  struct door *door = NULL;
  napi_get_instance_data(env, (void **)&door);
  return door;
}

/* start(callback, results: Int32Array): once per environment, before anything is submitted. */
static napi_value start(napi_env env, napi_callback_info info) {
  napi_value argv[2], name;
  size_t argc = 2, length;
  napi_typedarray_type type;
  CHECK(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  if (door_of(env) != NULL) return NULL;
  void *results;
  CHECK(napi_get_typedarray_info(env, argv[1], &type, &length, &results, NULL, NULL));
  if (type != napi_int32_array || length < 2 * LANES * RING) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "pinion: results is too short");
    return NULL;
  }
  struct door *door = calloc(1, sizeof *door);
  if (door == NULL) {
    napi_throw_error(env, "ENOMEM", "pinion: out of memory");
    return NULL;
  }
  uv_loop_t *loop;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || uv_async_init(loop, &door->wake, report) != 0) {
    free(door);
    napi_throw_error(env, "ERR_INVALID_STATE", "pinion: no event loop");
    return NULL;
  }
  uv_unref((uv_handle_t *)&door->wake);
  door->env = env;
  door->wake.data = door;
  door->results = results;
  for (int i = 0; i < LANES; i++) {
    door->lanes[i].door = door;
    door->lanes[i].name = i == 0 ? "pinion-log" : "pinion-bulk";
    sem_init(&door->lanes[i].work, 0, 0);
  }
  CHECK(napi_create_reference(env, argv[0], 1, &door->callback));
  CHECK(napi_create_reference(env, argv[1], 1, &door->results_ref));
  CHECK(napi_create_string_utf8(env, "pinion", NAPI_AUTO_LENGTH, &name));
  CHECK(napi_async_init(env, NULL, name, &door->context));
  CHECK(napi_set_instance_data(env, door, NULL, NULL));
  CHECK(napi_add_async_cleanup_hook(env, clean_up, door, &door->cleanup));
  return NULL;
}

/* submit(lane, slot, kind, fd, bytes | length, offset, generation, sync) */
static napi_value submit(napi_env env, napi_callback_info info) {
  napi_value argv[8];
  size_t argc = 8;
  struct door *door = door_of(env);
  int32_t lane_no, slot, kind, fd;
  int64_t offset, generation;
  bool sync;
  CHECK(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(napi_get_value_int32(env, argv[0], &lane_no));
  CHECK(napi_get_value_int32(env, argv[1], &slot));
  CHECK(napi_get_value_int32(env, argv[2], &kind));
  CHECK(napi_get_value_int32(env, argv[3], &fd));
  CHECK(napi_get_value_int64(env, argv[5], &offset));
  CHECK(napi_get_value_int64(env, argv[6], &generation));
  CHECK(napi_get_value_bool(env, argv[7], &sync));
  if (door == NULL || lane_no < 0 || lane_no >= LANES) {
    napi_throw_error(env, "ERR_INVALID_STATE", "pinion: not started");
    return NULL;
  }
  struct lane *lane = &door->lanes[lane_no];
  uint32_t at = atomic_load_explicit(&lane->submitted, memory_order_relaxed);
  if (at - lane->reported >= RING) {
    napi_throw_error(env, "ERR_OUT_OF_RANGE", "pinion: the lane is full");
    return NULL;
  }
  struct operation *op = &lane->ring[at % RING];
  *op = (struct operation){.slot = slot, .kind = kind, .fd = fd, .sync = sync, .offset = (uint64_t)offset,
                           .generation = (uint64_t)generation};
  if (kind == KIND_WRITE || kind == KIND_SEAL_AND_WRITE) {
    CHECK(napi_get_typedarray_info(env, argv[4], NULL, &op->length, (void **)&op->bytes, NULL, NULL));
  } else {
    int64_t length;
    CHECK(napi_get_value_int64(env, argv[4], &length));
    op->length = (size_t)length;
  }
  if (!lane->started && !start_lane(lane)) {
    napi_throw_error(env, "EAGAIN", "pinion: no thread for disk operations could be started");
    return NULL;
  }
  if (door->running++ == 0) uv_ref((uv_handle_t *)&door->wake);
  atomic_store_explicit(&lane->submitted, at + 1, memory_order_release);
  sem_post(&lane->work);
  return NULL;
}

/* crc32c(bytes, seed) → number */
static napi_value js_crc32c(napi_env env, napi_callback_info info) {
  napi_value argv[2], result;
  size_t argc = 2, length;
  void *bytes;
  uint32_t seed;
  CHECK(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(napi_get_typedarray_info(env, argv[0], NULL, &length, &bytes, NULL, NULL));
  CHECK(napi_get_value_uint32(env, argv[1], &seed));
  CHECK(napi_create_uint32(env, crc32c(seed, bytes, length), &result));
  return result;
}

/* tryLock(fd) → 0, or the errno */
static napi_value try_lock(napi_env env, napi_callback_info info) {
  napi_value argv[1], result;
  size_t argc = 1;
  int32_t fd;
  CHECK(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(napi_get_value_int32(env, argv[0], &fd));
  int status;
  do status = flock(fd, LOCK_EX | LOCK_NB);
  while (status != 0 && errno == EINTR);
  CHECK(napi_create_int32(env, status == 0 ? 0 : errno, &result));
  return result;
}

/* readNow(fd, bytes, offset) → bytes read, or −errno: −EAGAIN where it would wait for the disk */
static napi_value read_now(napi_env env, napi_callback_info info) {
  napi_value argv[3], result;
  size_t argc = 3, length;
  void *bytes;
  int32_t fd;
  int64_t offset;
  CHECK(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CHECK(napi_get_value_int32(env, argv[0], &fd));
  CHECK(napi_get_typedarray_info(env, argv[1], NULL, &length, &bytes, NULL, NULL));
  CHECK(napi_get_value_int64(env, argv[2], &offset));
  struct iovec into = {bytes, length};
  ssize_t count;
  do count = preadv2(fd, &into, 1, offset, RWF_NOWAIT);
  while (count < 0 && errno == EINTR);
  CHECK(napi_create_int32(env, count < 0 ? -errno : (int32_t)count, &result));
  return result;
}

NAPI_MODULE_INIT() {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, crc_init);
  napi_property_descriptor properties[] = {
      {"start", NULL, start, NULL, NULL, NULL, napi_default, NULL},
      {"submit", NULL, submit, NULL, NULL, NULL, napi_default, NULL},
      {"crc32c", NULL, js_crc32c, NULL, NULL, NULL, napi_default, NULL},
      {"readNow", NULL, read_now, NULL, NULL, NULL, napi_default, NULL},
      {"tryLock", NULL, try_lock, NULL, NULL, NULL, napi_default, NULL},
  };
  CHECK(napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties));
  if (!memory_init(env, exports) || !scan_init(env, exports) || !chunks_init(env, exports))
    napi_throw_error(env, "ENOMEM", "pinion: out of memory");
  return exports;
}
