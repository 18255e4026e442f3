/*
 * What JavaScript calls (memory/addon-memory.ts, which has checked every argument): numbers in, numbers out, a failure is −errno.
 * A region is an external value; it belongs to the thread that made it.
 */
#include "memory.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#define CAP_IPC_LOCK_BIT 14
#define LOCK_NS 500000 /* may pass on the event loop before a thread does the rest */
#define AT_ONCE 2048u /* pages asked about in one system call */

#define CHECK(call)                                                            \
  do {                                                                         \
    if ((call) != napi_ok) {                                                   \
      napi_throw_error(env, "ERR_INVALID_ARG_VALUE", "pinion memory: " #call); \
      return NULL;                                                             \
    }                                                                          \
  } while (0)

struct call {
  struct memory *memory;
  size_t argc;
  napi_value argv[8];
};

static napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

static bool arguments(napi_env env, napi_callback_info info, struct call *call) {
  call->argc = 8;
  return napi_get_cb_info(env, info, &call->argc, call->argv, NULL, (void **)&call->memory) == napi_ok;
}

static struct region *region_at(napi_env env, napi_value value) {
  struct region *region = NULL;
  return napi_get_value_external(env, value, (void **)&region) == napi_ok ? region : NULL;
}

/* The arguments (region, offset, length) from `first` on. Checked again: what lies outside is other people's memory. */
static bool range_at(napi_env env, const napi_value *first, struct region **region, size_t *offset, size_t *length) {
  int64_t o, n;
  *region = region_at(env, first[0]);
  if (*region == NULL || (*region)->released || napi_get_value_int64(env, first[1], &o) != napi_ok ||
      napi_get_value_int64(env, first[2], &n) != napi_ok || o < 0 || n < 0 || (uint64_t)o > (*region)->length ||
      (uint64_t)n > (*region)->length - (uint64_t)o) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "pinion memory: not a range of a region");
    return false;
  }
  *offset = (size_t)o;
  *length = (size_t)n;
  return true;
}

/* start(callback) → undefined, or why it cannot be used here */
static napi_value start(napi_env env, napi_callback_info info) {
  struct call c;
  napi_value result = NULL;
  if (!arguments(env, info, &c) || c.memory->started) return NULL;
  const char *why = NULL;
  if (madvise(NULL, 0, MADV_POPULATE_READ) != 0) why = "the kernel is older than Linux 5.14";
  else if (!lane_start(c.memory, c.argv[0])) why = "no event loop";
  if (why != NULL) napi_create_string_utf8(env, why, NAPI_AUTO_LENGTH, &result);
  return result;
}

static void handle_gone(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  region_handle_gone(data);
}

/* Arguments (mode, nodes: Int32Array). Nodes that the kernel cannot have are left out: it says what it thinks of the rest. */
static bool policy_at(napi_env env, const napi_value *first, struct policy *policy) {
  size_t count;
  int32_t *nodes;
  *policy = (struct policy){0};
  if (napi_get_value_int32(env, first[0], &policy->mode) != napi_ok ||
      napi_get_typedarray_info(env, first[1], NULL, &count, (void **)&nodes, NULL, NULL) != napi_ok)
    return false;
  for (size_t i = 0; i < count; i++) {
    if (nodes[i] < 0 || nodes[i] >= (int32_t)NODES_MAX) continue;
    policy->nodes[(unsigned)nodes[i] / NODE_BITS] |= 1ul << ((unsigned)nodes[i] % NODE_BITS);
  }
  return true;
}

/* map(fd | −1, offset, length, mode, nodes, bytes of a reserved page | 0) → region, or −errno */
static napi_value map(napi_env env, napi_callback_info info) {
  struct call c;
  int32_t fd;
  int64_t offset, length, page_bytes;
  struct policy policy;
  int error = 0;
  napi_value result;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_value_int32(env, c.argv[0], &fd));
  CHECK(napi_get_value_int64(env, c.argv[1], &offset));
  CHECK(napi_get_value_int64(env, c.argv[2], &length));
  if (!policy_at(env, &c.argv[3], &policy)) return NULL;
  CHECK(napi_get_value_int64(env, c.argv[5], &page_bytes));
  struct region *region = region_map(c.memory, fd, (uint64_t)offset, (size_t)length, &policy, (size_t)page_bytes, &error);
  if (region == NULL) return number(env, error);
  if (napi_create_external(env, region, handle_gone, NULL, &result) == napi_ok) return result;
  region_handle_gone(region);
  return number(env, -ENOMEM);
}

static napi_value submit(napi_env env, struct memory *memory, struct job *job) {
  if (lane_submit(memory, job)) return number(env, 0);
  job_free(job);
  return number(env, -EAGAIN);
}

/* denied(region) → why it has not the policy that was asked for: −errno, or 0 */
static napi_value denied(napi_env env, napi_callback_info info) {
  struct call c;
  if (!arguments(env, info, &c)) return NULL;
  struct region *region = region_at(env, c.argv[0]);
  return number(env, region == NULL ? -EINVAL : region->denied);
}

/* work(id, kind, region, offset, length, huge: 1 | 0 | −1, mode, nodes) → 0, or −errno */
static napi_value work(napi_env env, napi_callback_info info) {
  struct call c;
  struct job job = {0}, *copy;
  uint32_t kind;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[0], &job.id));
  CHECK(napi_get_value_uint32(env, c.argv[1], &kind));
  if (!range_at(env, &c.argv[2], &job.region, &job.offset, &job.length)) return NULL;
  CHECK(napi_get_value_int32(env, c.argv[5], &job.huge));
  if (!policy_at(env, &c.argv[6], &job.policy)) return NULL;
  job.kind = kind == JOB_LOCK ? JOB_LOCK : JOB_POPULATE;
  copy = malloc(sizeof *copy);
  if (copy == NULL) return number(env, -ENOMEM);
  *copy = job;
  return submit(env, c.memory, copy);
}

/* The run from four numbers (fd, file offset, region offset, length) and its checks, or undefined. */
static bool run_of(napi_env env, struct region *region, const double *numbers, napi_value checks, struct run *run) {
  *run = (struct run){.fd = (int)numbers[0], .file_offset = (uint64_t)numbers[1], .offset = (size_t)numbers[2],
                      .length = (size_t)numbers[3], .ends_at = SIZE_MAX};
  if (run->length == 0 || run->length > region->length || run->offset > region->length - run->length) return false;
  bool given = false;
  napi_is_typedarray(env, checks, &given);
  if (!given) return true;
  size_t count;
  if (napi_get_typedarray_info(env, checks, NULL, &count, (void **)&run->checks, NULL, NULL) != napi_ok) return false;
  return count == run->length / PAGE_BYTES * CHECK_BYTES && run->length % PAGE_BYTES == 0;
}

/* load(id, region, numbers: Float64Array of 4 a run, checks: array) → 0, or −errno */
static napi_value load(napi_env env, napi_callback_info info) {
  struct call c;
  uint32_t id;
  size_t count;
  double *numbers;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[0], &id));
  struct region *region = region_at(env, c.argv[1]);
  CHECK(napi_get_typedarray_info(env, c.argv[2], NULL, &count, (void **)&numbers, NULL, NULL));
  struct job *job = region == NULL || region->released ? NULL : calloc(1, sizeof *job);
  if (job == NULL) return number(env, -ENOMEM);
  *job = (struct job){.id = id, .kind = JOB_LOAD, .region = region, .run_count = count / 4};
  job->runs = malloc(job->run_count * sizeof *job->runs);
  bool good = job->runs != NULL && job->run_count > 0;
  for (size_t i = 0; good && i < job->run_count; i++) {
    napi_value checks;
    good = napi_get_element(env, c.argv[3], (uint32_t)i, &checks) == napi_ok &&
           run_of(env, region, &numbers[4 * i], checks, &job->runs[i]);
  }
  if (good) return submit(env, c.memory, job);
  job_free(job);
  return number(env, -EINVAL);
}

enum range_call { RANGE_LOCK, RANGE_UNLOCK, RANGE_DISCARD };

/* range(which, region, offset, length) → 0, or −errno: what is short enough for the event loop. RANGE_LOCK → bytes locked, or −errno */
static napi_value range(napi_env env, napi_callback_info info) {
  struct call c;
  uint32_t which;
  struct region *region;
  size_t offset, length;
  int64_t result = -EINVAL;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[0], &which));
  if (!range_at(env, &c.argv[1], &region, &offset, &length)) return NULL;
  uint8_t *base = region->base + offset;
  if (which == RANGE_LOCK) result = lock_range(base, length, LOCK_NS);
  else if (which == RANGE_UNLOCK) result = unlock_range(base, length);
  else if (which == RANGE_DISCARD) result = discard_range(base, length);
  return number(env, (double)result);
}

/* resident(region, offset, length) → bytes, or −errno */
static napi_value resident(napi_env env, napi_callback_info info) {
  struct call c;
  struct region *region;
  size_t offset, length, pages = 0;
  unsigned char in_memory[AT_ONCE];
  if (!arguments(env, info, &c) || !range_at(env, &c.argv[0], &region, &offset, &length)) return NULL;
  for (size_t at = 0; at < length; at += AT_ONCE * PAGE_BYTES) {
    size_t count = length - at < AT_ONCE * PAGE_BYTES ? length - at : AT_ONCE * PAGE_BYTES;
    if (mincore(region->base + offset + at, count, in_memory) != 0) return number(env, -errno);
    for (size_t i = 0; i < count / PAGE_BYTES; i++) pages += in_memory[i] & 1;
  }
  return number(env, (double)(pages * PAGE_BYTES));
}

/* measure(id, region, offset, length, stride, into: Float64Array) → 0, or −errno. Into it: as measure_range says */
static napi_value measure(napi_env env, napi_callback_info info) {
  struct call c;
  struct job job = {.kind = JOB_MEASURE}, *copy;
  uint32_t stride;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[0], &job.id));
  if (!range_at(env, &c.argv[1], &job.region, &job.offset, &job.length)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[4], &stride));
  CHECK(napi_get_typedarray_info(env, c.argv[5], NULL, &job.into_count, (void **)&job.into, NULL, NULL));
  job.stride = stride;
  if (stride == 0 || job.into_count < 2) return number(env, -EINVAL);
  copy = malloc(sizeof *copy);
  if (copy == NULL) return number(env, -ENOMEM);
  *copy = job;
  return submit(env, c.memory, copy);
}

/* move(id, region, offset, length, node) → 0, or −errno. The operation's result: pages that are there now, or −errno */
static napi_value move(napi_env env, napi_callback_info info) {
  struct call c;
  struct job job = {.kind = JOB_MOVE}, *copy;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[0], &job.id));
  if (!range_at(env, &c.argv[1], &job.region, &job.offset, &job.length)) return NULL;
  CHECK(napi_get_value_int32(env, c.argv[4], &job.node));
  copy = malloc(sizeof *copy);
  if (copy == NULL) return number(env, -ENOMEM);
  *copy = job;
  return submit(env, c.memory, copy);
}

/* view(region, offset, length, slot) → ArrayBuffer, or undefined */
static napi_value view(napi_env env, napi_callback_info info) {
  struct call c;
  struct region *region;
  size_t offset, length;
  uint32_t slot;
  if (!arguments(env, info, &c) || !range_at(env, &c.argv[0], &region, &offset, &length)) return NULL;
  CHECK(napi_get_value_uint32(env, c.argv[3], &slot));
  return region_view(region, offset, length, slot);
}

/* detach(region, slot) */
static napi_value detach(napi_env env, napi_callback_info info) {
  struct call c;
  uint32_t slot;
  if (!arguments(env, info, &c)) return NULL;
  struct region *region = region_at(env, c.argv[0]);
  CHECK(napi_get_value_uint32(env, c.argv[1], &slot));
  if (region != NULL) region_detach(region, slot);
  return NULL;
}

/* release(region) */
static napi_value release(napi_env env, napi_callback_info info) {
  struct call c;
  if (!arguments(env, info, &c)) return NULL;
  struct region *region = region_at(env, c.argv[0]);
  if (region != NULL) region_release(region);
  return NULL;
}

/* copy(region, offset, into: Uint8Array) → whether it could be read */
static napi_value copy(napi_env env, napi_callback_info info) {
  struct call c;
  size_t length;
  void *into;
  int64_t offset;
  napi_value result;
  if (!arguments(env, info, &c)) return NULL;
  struct region *region = region_at(env, c.argv[0]);
  CHECK(napi_get_value_int64(env, c.argv[1], &offset));
  CHECK(napi_get_typedarray_info(env, c.argv[2], NULL, &length, &into, NULL, NULL));
  bool inside = region != NULL && !region->released && offset >= 0 && length <= region->length &&
                (uint64_t)offset <= region->length - length;
  CHECK(napi_get_boolean(env, inside && guarded_copy(into, region->base + offset, length), &result));
  return result;
}

/* facts(into: Float64Array): {lockable bytes or −1 for no limit, major faults, minor faults of this thread} */
static napi_value facts(napi_env env, napi_callback_info info) {
  struct call c;
  size_t count;
  double *into;
  struct rlimit limit;
  struct rusage usage;
  struct {
    uint32_t version;
    int pid;
  } header = {0x20080522, 0};
  struct {
    uint32_t effective, permitted, inheritable;
  } capabilities[2] = {0};
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_typedarray_info(env, c.argv[0], NULL, &count, (void **)&into, NULL, NULL));
  if (count < 3) return NULL;
  bool privileged = syscall(SYS_capget, &header, capabilities) == 0 && (capabilities[0].effective >> CAP_IPC_LOCK_BIT & 1) != 0;
  getrlimit(RLIMIT_MEMLOCK, &limit);
  getrusage(RUSAGE_THREAD, &usage);
  into[0] = privileged || limit.rlim_cur == RLIM_INFINITY ? -1 : (double)limit.rlim_cur;
  into[1] = (double)usage.ru_majflt;
  into[2] = (double)usage.ru_minflt;
  return NULL;
}

/* bindThread(cpus: Int32Array) → 0, or −errno: the calling thread, and the memory threads it has not started yet */
static napi_value bindThread(napi_env env, napi_callback_info info) {
  struct call c;
  size_t count;
  int32_t *cpus;
  cpu_set_t set;
  if (!arguments(env, info, &c)) return NULL;
  CHECK(napi_get_typedarray_info(env, c.argv[0], NULL, &count, (void **)&cpus, NULL, NULL));
  CPU_ZERO(&set);
  for (size_t i = 0; i < count; i++) {
    if (cpus[i] < 0 || cpus[i] >= CPU_SETSIZE) return number(env, -EINVAL);
    CPU_SET(cpus[i], &set);
  }
  return number(env, sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : -errno);
}

/* Runs when the environment's own hooks have: drops what start() has not taken over. */
static void environment_gone(void *arg) {
  struct memory *memory = arg;
  memory->closing = true;
  memory_drop(memory);
}

bool memory_init(napi_env env, napi_value exports) {
  struct memory *memory = calloc(1, sizeof *memory);
  if (memory == NULL) return false;
  memory->env = env;
  memory->holders = 1;
  pthread_mutex_init(&memory->mutex, NULL);
  pthread_cond_init(&memory->work, NULL);
  napi_add_env_cleanup_hook(env, environment_gone, memory);
#define FUNCTION(name) {#name, NULL, name, NULL, NULL, NULL, napi_default, memory}
  napi_property_descriptor properties[] = {FUNCTION(start),  FUNCTION(map),  FUNCTION(work),   FUNCTION(load),
                                           FUNCTION(range),  FUNCTION(view), FUNCTION(detach), FUNCTION(release),
                                           FUNCTION(copy),   FUNCTION(facts), FUNCTION(bindThread), FUNCTION(resident),
                                           FUNCTION(measure), FUNCTION(move), FUNCTION(denied)};
  napi_value object;
  return napi_create_object(env, &object) == napi_ok &&
         napi_define_properties(env, object, sizeof properties / sizeof *properties, properties) == napi_ok &&
         napi_set_named_property(env, exports, "memory", object) == napi_ok;
}
