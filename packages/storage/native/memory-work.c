/*
 * What the memory threads do with a piece, and the few calls on a range that are short enough for the event loop.
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
/* A lock holds up everybody who maps or unmaps: 4 MiB of small pages take 60 µs, of huge pages 2. */
#define LOCKED_AT_ONCE (4u << 20)

/* ---- locks --------------------------------------------------------------------------------------------------- */

/* Bare: the address sanitiser answers munlock itself and does nothing. */
int unlock_range(uint8_t *base, size_t length) {
  return syscall(SYS_munlock, base, length) == 0 ? 0 : -errno;
}

/*
 * On fault, also for what is resident: nothing is brought in, and a private mapping of a file is not copied page by page.
 * Ends early once it has taken `ns`. On failure nothing of the range is locked. @returns bytes locked, or −errno
 */
int64_t lock_range(uint8_t *base, size_t length, int64_t ns) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  size_t at = 0;
  while (at < length) {
    size_t count = length - at < LOCKED_AT_ONCE ? length - at : LOCKED_AT_ONCE;
    if (syscall(SYS_mlock2, base + at, count, MLOCK_ONFAULT) != 0) {
      int result = -errno;
      if (at > 0) unlock_range(base, at);
      return result;
    }
    at += count;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - start.tv_sec) * 1000000000ll + now.tv_nsec - start.tv_nsec > ns) break;
  }
  return (int64_t)at;
}

/* Before Linux 5.18 locked memory could not be given back as it is. */
int discard_range(uint8_t *base, size_t length) {
  if (madvise(base, length, MADV_DONTNEED_LOCKED) == 0) return 0;
  if (errno != EINVAL) return -errno;
  unlock_range(base, length);
  return madvise(base, length, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* ---- populate ------------------------------------------------------------------------------------------------ */

/* Once for the whole range: chunk by chunk and by two threads, it would fall into as many mappings as chunks. */
static void prepare(const struct job *job) {
  uint8_t *base = job->region->base + job->offset;
  if (job->huge >= 0 && job->region->anonymous)
    madvise(base, job->length, job->huge == 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  /* A wish: without such a node, or the right to ask, memory comes from wherever it comes from. */
  if (job->policy.mode != 0) bind_range(base, job->length, &job->policy);
}

static int populate(const struct job *job, uint8_t *base, size_t length) {
  while (madvise(base, length, job->region->anonymous ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0) {
    if (errno != EINTR && errno != EAGAIN) return -errno;
  }
  return 0;
}

/* ---- load ---------------------------------------------------------------------------------------------------- */

void reader_close(struct reader *reader) {
  if (reader->direct >= 0) close(reader->direct);
  *reader = (struct reader){.serial = 0, .fd = -1, .direct = -1};
}

/* Opens the file again, for reads past the page cache: the caller's descriptor has a position and flags of its own. */
static void reader_open(struct reader *reader, const struct job *job, int fd) {
  if (reader->serial == job->serial && reader->fd == fd) return;
  reader_close(reader);
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  *reader = (struct reader){.serial = job->serial, .fd = fd, .direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC)};
}

static bool aligned(uint64_t n) { return n % PAGE_BYTES == 0; }

/* Reads until everything is there or the file ends. @returns bytes read, or −errno */
static ssize_t read_all(struct reader *reader, uint8_t *into, size_t length, uint64_t offset) {
  size_t done = 0;
  while (done < length) {
    bool direct = reader->direct >= 0 && aligned((uintptr_t)into + done) && aligned(offset + done) && aligned(length - done);
    ssize_t n = pread(direct ? reader->direct : reader->fd, into + done, length - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && direct && errno == EINVAL) {
      close(reader->direct);
      reader->direct = -1;
      continue;
    }
    if (n < 0) return -errno;
    if (n == 0) break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

static bool verify(const uint8_t *page, const uint8_t *check) {
  uint32_t expected;
  memcpy(&expected, check + CHECK_BYTES - 4, 4);
  return checksum(checksum(0, check, CHECK_BYTES - 4), page, PAGE_BYTES) == expected;
}

static int note_damage(struct memory *memory, struct job *job, size_t offset) {
  int result = 0;
  pthread_mutex_lock(&memory->mutex);
  if (job->damaged_count == job->damaged_room) {
    size_t room = job->damaged_room == 0 ? 16 : 2 * job->damaged_room;
    size_t *damaged = realloc(job->damaged, room * sizeof *damaged);
    if (damaged == NULL) result = -ENOMEM;
    else {
      job->damaged = damaged;
      job->damaged_room = room;
    }
  }
  if (result == 0) job->damaged[job->damaged_count++] = offset;
  pthread_mutex_unlock(&memory->mutex);
  return result;
}

static int load(struct memory *memory, const struct piece *piece, struct reader *reader) {
  struct run *run = piece->run;
  size_t offset = run->offset + piece->at;
  uint8_t *into = piece->job->region->base + offset;
  reader_open(reader, piece->job, run->fd);
  ssize_t got = read_all(reader, into, piece->length, run->file_offset + piece->at);
  if (got < 0) return (int)got;
  if ((size_t)got < piece->length) {
    pthread_mutex_lock(&memory->mutex);
    if (offset + (size_t)got < run->ends_at) run->ends_at = offset + (size_t)got;
    pthread_mutex_unlock(&memory->mutex);
  }
  if (run->checks == NULL) return 0;
  const uint8_t *check = run->checks + piece->at / PAGE_BYTES * CHECK_BYTES;
  for (size_t at = 0; at + PAGE_BYTES <= (size_t)got; at += PAGE_BYTES, check += CHECK_BYTES) {
    if (verify(into + at, check)) continue;
    int result = note_damage(memory, piece->job, offset + at);
    if (result != 0) return result;
  }
  return 0;
}

int do_piece(struct memory *memory, const struct piece *piece, struct reader *reader) {
  struct job *job = piece->job;
  uint8_t *base = job->region->base + job->offset + piece->at;
  int64_t locked;
  switch (job->kind) {
    case JOB_POPULATE:
      if (!piece->prepare) return populate(job, base, piece->length);
      prepare(job);
      return 0;
    case JOB_LOCK:
      locked = lock_range(base, piece->length, INT64_MAX);
      return locked < 0 ? (int)locked : 0;
    case JOB_LOAD:
      return load(memory, piece, reader);
    case JOB_UNMAP:
      region_unmap(job->region);
      return 0;
    case JOB_MEASURE:
      return measure_range(job);
    case JOB_MOVE:
      return move_range(job);
  }
  return -EINVAL;
}
