/*
 * Memory outside the JavaScript heap: what the files behind memory/addon-memory.ts share.
 *
 * memory.c          what JavaScript calls
 * region.c          mappings, and who still needs them
 * memory-lane.c     the threads that bring memory in
 * memory-work.c     what these threads do: read, verify, populate, lock
 * memory-place.c    on which NUMA nodes memory is, in which pages, and how it moves
 * guarded-copy.c    a copy that survives SIGBUS
 *
 * Everything except `struct job` between take and finish, and what stands under `mutex`, belongs to the event loop's thread.
 */
#ifndef PINION_MEMORY_H
#define PINION_MEMORY_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define NAPI_VERSION 8
#include <node_api.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define PAGE_BYTES 4096u
#define CHUNK_BYTES (2u << 20) /* a huge page; also what one piece of work covers */
#define MEMORY_THREADS 2       /* so that one reads while the other computes checksums */
#define CHECK_BYTES 32u        /* of a page: what its checksum begins with (28) and the checksum, u32 little endian */

#define NODES_MAX 1024u
#define NODE_BITS (8 * sizeof(unsigned long))
#define MPOL_PREFERRED 1
#define MPOL_BIND 2
#define MPOL_INTERLEAVE 3
#define MPOL_LOCAL 4

struct region;

/* Where memory is wanted, as mbind(2) takes it. */
struct policy {
  int mode; /* MPOL_…; 0: nothing is asked for */
  unsigned long nodes[NODES_MAX / NODE_BITS];
};
/* One ArrayBuffer over a part of a region, until JavaScript gave it back and its memory has no owner in V8 any more. */
struct view {
  struct region *region;
  size_t offset;
  size_t length;
  napi_ref buffer; /* strong, until it is given back */
  uint32_t slot;
  bool given_back; /* JavaScript detached it through us */
  bool owned;      /* V8 has a backing store over it: the finalizer has not run */
  bool escaped;    /* it was detached by somebody else: transfer() made another buffer over the same memory */
};

struct region {
  struct memory *memory;
  struct region *next, *previous;
  uint8_t *base;
  size_t length;
  bool anonymous;
  bool reserved; /* of pages that the machine has reserved: whole ones come and go */
  int denied;    /* why the kernel did not take the policy: −errno, or 0 */
  bool released;
  bool handle;   /* JavaScript's object exists */
  bool unmapped; /* and the event loop knows it */
  uint32_t uses; /* not released (1), views owned by V8, jobs: unmapped at 0 */
  struct view **views; /* by slot */
  size_t view_slots;
  size_t kept_from, kept_to; /* what is never unmapped; kept_to 0: nothing */
};

enum job_kind { JOB_POPULATE, JOB_LOCK, JOB_LOAD, JOB_UNMAP, JOB_MEASURE, JOB_MOVE };

struct run {
  int fd;
  uint64_t file_offset;
  size_t offset; /* in the region */
  size_t length;
  const uint8_t *checks; /* or NULL; JavaScript keeps it alive */
  size_t ends_at;        /* offset in the region from which the file had nothing; SIZE_MAX: it had all (under mutex) */
};

struct job {
  struct job *next;
  struct region *region;
  uint64_t serial; /* never used twice, unlike the address */
  uint32_t id;
  enum job_kind kind;
  size_t offset, length; /* of the range in the region */
  int huge; /* 1: huge pages wanted, 0: not, −1: as it is */
  struct policy policy; /* of a range that is populated */
  int node;             /* to move to */
  size_t stride;        /* one page of so many is measured */
  double *into;         /* what was measured; JavaScript keeps it alive */
  size_t into_count;
  bool prepared; /* the kernel knows what kind of memory the whole range is to be (under mutex) */
  struct run *runs;
  size_t run_count;
  /* progress, under mutex */
  size_t run_at, at; /* the next piece: of which run, and how far into it or the range */
  bool all_taken;
  unsigned taken; /* pieces being worked on */
  int result;     /* 0 or −errno, of the first piece that failed */
  size_t *damaged;
  size_t damaged_count, damaged_room;
};

/* A part of a job that one thread does at a time. */
struct piece {
  struct job *job;
  struct run *run;
  size_t at; /* into the run, or the range */
  size_t length;
  bool prepare; /* nothing of it yet, but all of the job waits for this */
};

/* What a thread keeps between pieces: the file it read last, opened again for reads past the page cache. */
struct reader {
  uint64_t serial; /* of the job; 0: none */
  int fd;
  int direct; /* −1: not possible */
};

/* One for each environment (main thread, worker thread). */
struct memory {
  napi_env env;
  uint32_t holders; /* the environment, its regions */
  bool closing;     /* the threads are gone, or never were */
  struct region *regions;
  int64_t baseline; /* bytes V8 was told of beforehand, so that `wrapped` never exceeds them */
  int64_t wrapped;  /* bytes of buffers V8 was told to forget */

  bool started;
  uv_async_t wake;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  uint32_t running; /* jobs JavaScript waits for */
  pthread_t threads[MEMORY_THREADS];
  unsigned thread_count;

  pthread_mutex_t mutex;
  pthread_cond_t work;
  struct job *first, *last; /* with pieces nobody has taken */
  struct job *done;         /* finished, not reported */
  uint64_t serials;
  bool stopping;
};

/* region.c: results are 0 or −errno */
struct region *region_map(struct memory *memory, int fd, uint64_t offset, size_t length, const struct policy *policy,
                          size_t page_bytes, int *result);
void region_drop(struct region *region); /* one use less */
void region_release(struct region *region);
void region_handle_gone(struct region *region);
void region_unmap(struct region *region);
void region_free(struct region *region);
napi_value region_view(struct region *region, size_t offset, size_t length, uint32_t slot);
void region_detach(struct region *region, uint32_t slot);
void memory_drop(struct memory *memory);

/* memory-lane.c */
bool lane_start(struct memory *memory, napi_value callback);
bool lane_submit(struct memory *memory, struct job *job);
void job_free(struct job *job);

/* memory-work.c */
int do_piece(struct memory *memory, const struct piece *piece, struct reader *reader);
void reader_close(struct reader *reader);
int64_t lock_range(uint8_t *base, size_t length, int64_t ns);
int unlock_range(uint8_t *base, size_t length);
int discard_range(uint8_t *base, size_t length);

/* memory-place.c: results are −errno, or what stands there */
int bind_range(uint8_t *base, size_t length, const struct policy *policy); /* 0 */
int measure_range(const struct job *job);                                  /* 0 */
int move_range(const struct job *job); /* pages that are on the node now */

/* guarded-copy.c: whether all bytes could be read */
bool guarded_copy(void *to, const void *from, size_t length);

/* pinion.c */
uint32_t checksum(uint32_t seed, const uint8_t *bytes, size_t length);
bool memory_init(napi_env env, napi_value exports);

#endif
