/*
 * Regions: a mapping, and everybody who still needs it.
 *
 * The memory under an ArrayBuffer belongs to V8 from the wrap until the backing store's finalizer has run, wherever the buffer
 * went meanwhile: transfer() makes a second one over the same memory and leaves the first detached. So the mapping counts its
 * owners, and none of them is asked to be quick.
 *
 * I1 a mapping is unmapped when JavaScript released it, no backing store over it lives and no job works on it, not before.
 * I2 what V8 counts as ours never falls below zero: V8 ends the process then. Before a wrap, `baseline` ≥ `wrapped`, and each
 *    buffer's bytes are subtracted once and added once, in the call that detaches it.
 * I3 when an environment goes away, Node detaches each buffer and runs its finalizer, also if its memory has gone on to another
 *    buffer, which may be another thread's by then; nobody can tell. So what was still shown then, or was transferred before we took it
 *    back, is never unmapped: its memory is given back, its addresses read as zeros from then on.
 */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BASELINE_BYTES (1ll << 30)
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

/*
 * With a page that was once touched the whole range belongs to one anon_vma: parts of it that come to differ (locked, huge) and then are
 * alike again become one mapping again. Parts first touched apart never would. The page lies behind the range: older kernels keep the
 * page table of a page that has gone, and where there is one no huge page can be.
 */
static void touch_behind(uint8_t *base, size_t length) {
  *(volatile uint8_t *)(base + length) = 0;
  munmap(base + length, PAGE_BYTES);
}

/* Aligned to a chunk. @returns NULL, and −errno */
static uint8_t *map_aligned(int fd, uint64_t offset, size_t length, int *result) {
  /* Room to cut an aligned piece out of, with a page behind it. */
  size_t room = length + CHUNK_BYTES;
  uint8_t *base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    *result = -errno;
    return NULL;
  }
  uint8_t *aligned = (uint8_t *)(((uintptr_t)base + CHUNK_BYTES - 1) & ~(uintptr_t)(CHUNK_BYTES - 1));
  size_t kept = fd < 0 ? length + PAGE_BYTES : length, before = (size_t)(aligned - base);
  if (before > 0) munmap(base, before);
  if (room > before + kept) munmap(aligned + kept, room - before - kept);
  int flags = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);
  if (mmap(aligned, kept, PROT_READ | PROT_WRITE, flags, fd, (off_t)offset) == MAP_FAILED) {
    *result = -errno;
    munmap(aligned, kept);
    return NULL;
  }
  if (fd < 0) touch_behind(aligned, length);
  return aligned;
}

/* All of them are set aside now: one that was missing later would be found out by SIGBUS. */
static uint8_t *map_reserved(size_t length, size_t page_bytes, int *result) {
  int shift = __builtin_ctzll(page_bytes);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | shift << MAP_HUGE_SHIFT;
  uint8_t *base = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (base != MAP_FAILED) return base;
  *result = -errno;
  return NULL;
}

struct region *region_map(struct memory *memory, int fd, uint64_t offset, size_t length, const struct policy *policy,
                          size_t page_bytes, int *result) {
  struct region *region = calloc(1, sizeof *region);
  if (region == NULL) {
    *result = -ENOMEM;
    return NULL;
  }
  uint8_t *aligned = page_bytes > 0 ? map_reserved(length, page_bytes, result) : map_aligned(fd, offset, length, result);
  if (aligned == NULL) {
    free(region);
    return NULL;
  }
  /* A child process that is about to execute another program would copy the page tables of all of it. */
  madvise(aligned, length, MADV_DONTFORK);
  madvise(aligned, length, MADV_DONTDUMP);
  /* Small pages unless asked: one write splits a file's huge page, and a 4 KiB frame must not cost 2 MiB. */
  madvise(aligned, length, MADV_NOHUGEPAGE);
  /* With a policy of its own the kernel's NUMA balancing leaves the range alone. Needs no privilege; no NUMA: no harm. */
  region->denied = bind_range(aligned, length, policy);
  if (region->denied != 0) bind_range(aligned, length, &(struct policy){.mode = MPOL_LOCAL});
  region->memory = memory;
  region->base = aligned;
  region->length = length;
  region->anonymous = fd < 0;
  region->reserved = page_bytes > 0;
  region->handle = true;
  region->uses = 1;
  region->next = memory->regions;
  if (region->next != NULL) region->next->previous = region;
  memory->regions = region;
  memory->holders++;
  return region;
}

void memory_drop(struct memory *memory) {
  if (--memory->holders > 0) return;
  pthread_mutex_destroy(&memory->mutex);
  pthread_cond_destroy(&memory->work);
  free(memory);
}

/* Takes milliseconds for a GiB of small pages: on a lane's thread, where there is one. */
void region_unmap(struct region *region) {
  if (region->kept_to == 0) {
    munmap(region->base, region->length);
    return;
  }
  /* Pages that are reserved cannot be cut, nor mapped over in part. */
  if (region->reserved) return;
  /* I3: one mapping from the first byte to be kept to the last. */
  uint8_t *from = region->base + region->kept_from / PAGE_BYTES * PAGE_BYTES, *to = region->base + region->kept_to;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (mmap(from, (size_t)(to - from), PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return;
  uint8_t *end = (uint8_t *)(((uintptr_t)to + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1));
  if (from > region->base) munmap(region->base, (size_t)(from - region->base));
  if (end < region->base + region->length) munmap(end, (size_t)(region->base + region->length - end));
}

/* I3 */
static void keep(struct region *region, const struct view *view) {
  size_t end = view->offset + view->length;
  if (region->kept_to == 0 || view->offset < region->kept_from) region->kept_from = view->offset;
  if (end > region->kept_to) region->kept_to = end;
}

/* Once it is unmapped and JavaScript's object is gone. */
void region_free(struct region *region) {
  if (!region->unmapped || region->handle) return;
  struct memory *memory = region->memory;
  if (region->previous != NULL) region->previous->next = region->next;
  else memory->regions = region->next;
  if (region->next != NULL) region->next->previous = region->previous;
  for (size_t i = 0; i < region->view_slots; i++) free(region->views[i]);
  free(region->views);
  free(region);
  memory_drop(memory);
}

void region_drop(struct region *region) {
  if (--region->uses > 0) return;
  struct job *job = region->memory->closing ? NULL : calloc(1, sizeof *job);
  if (job != NULL) {
    job->kind = JOB_UNMAP;
    job->region = region;
    if (lane_submit(region->memory, job)) return;
    free(job);
  }
  region_unmap(region);
  region->unmapped = true;
  region_free(region);
}

void region_handle_gone(struct region *region) {
  region->handle = false;
  if (region->released) {
    region_free(region);
    return;
  }
  region->released = true;
  region_drop(region);
}

/* ---- views --------------------------------------------------------------------------------------------------- */

static void adjust(napi_env env, int64_t bytes) {
  int64_t total;
  napi_adjust_external_memory(env, bytes, &total);
}

static bool is_detached(napi_env env, struct view *view) {
  napi_value buffer;
  bool detached = true;
  if (view->buffer == NULL) return true;
  napi_get_reference_value(env, view->buffer, &buffer);
  napi_is_detached_arraybuffer(env, buffer, &detached);
  return detached;
}

/* The buffer is detached; its object may go. */
static void let_go(napi_env env, struct view *view) {
  if (view->buffer != NULL) napi_delete_reference(env, view->buffer);
  view->buffer = NULL;
}

/* Its slot is free from now on; the struct lives until its memory has no owner in V8. */
static void forget(napi_env env, struct view *view) {
  let_go(env, view);
  view->region->views[view->slot] = NULL;
  view->given_back = true;
}

/* Finalizer of a backing store: on the event loop, some time after the last buffer over it went. */
static void store_freed(napi_env env, void *data, void *hint) {
  (void)data;
  struct view *view = hint;
  struct region *region = view->region;
  view->owned = false;
  let_go(env, view);
  if (!view->given_back || view->escaped) keep(region, view);
  if (view->given_back) free(view);
  region_drop(region);
}

/* I2: in steps that double, because V8 collects garbage when it hears of much new memory. */
static void raise_baseline(struct memory *memory, int64_t length) {
  int64_t needed = memory->wrapped + length;
  if (needed <= memory->baseline) return;
  int64_t target = memory->baseline == 0 ? BASELINE_BYTES : 2 * memory->baseline;
  if (target < needed) target = needed;
  adjust(memory->env, target - memory->baseline);
  memory->baseline = target;
}

static bool make_room(struct region *region, uint32_t slot) {
  if (slot < region->view_slots) return true;
  size_t slots = region->view_slots == 0 ? 16 : 2 * region->view_slots;
  if (slots <= slot) slots = (size_t)slot + 1;
  struct view **views = realloc(region->views, slots * sizeof *views);
  if (views == NULL) return false;
  memset(views + region->view_slots, 0, (slots - region->view_slots) * sizeof *views);
  region->views = views;
  region->view_slots = slots;
  return true;
}

napi_value region_view(struct region *region, size_t offset, size_t length, uint32_t slot) {
  struct memory *memory = region->memory;
  napi_env env = memory->env;
  if (!make_room(region, slot)) return NULL;
  struct view *view = region->views[slot] == NULL ? calloc(1, sizeof *view) : NULL;
  if (view == NULL) return NULL;
  *view = (struct view){.region = region, .offset = offset, .length = length, .slot = slot, .owned = true};
  raise_baseline(memory, (int64_t)length);
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, region->base + offset, length, store_freed, view, &buffer) != napi_ok) {
    free(view);
    return NULL;
  }
  /* Afterwards: V8 starts a collection 64 MiB above the lowest sum since the last one, and this way that stays where it is. */
  adjust(env, -(int64_t)length);
  memory->wrapped += (int64_t)length;
  region->views[slot] = view;
  region->uses++;
  napi_create_reference(env, buffer, 1, &view->buffer);
  return buffer;
}

void region_detach(struct region *region, uint32_t slot) {
  struct view *view = slot < region->view_slots ? region->views[slot] : NULL;
  if (view == NULL) return;
  napi_env env = region->memory->env;
  napi_value buffer;
  if (is_detached(env, view)) view->escaped = true;
  adjust(env, (int64_t)view->length);
  region->memory->wrapped -= (int64_t)view->length;
  if (!view->escaped) {
    napi_get_reference_value(env, view->buffer, &buffer);
    napi_detach_arraybuffer(env, buffer);
  }
  forget(env, view);
  if (!view->owned) free(view);
}

void region_release(struct region *region) {
  if (region->released) return;
  for (size_t i = 0; i < region->view_slots; i++) region_detach(region, (uint32_t)i);
  region->released = true;
  region_drop(region);
}
