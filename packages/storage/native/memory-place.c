/*
 * On which NUMA nodes memory is wanted, where it really is and in which pages, and how it moves: mbind, move_pages, and what /proc says.
 * All but `bind_range` runs on a memory thread: a GiB of small pages takes tens of milliseconds to be asked about, and more to be moved.
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AT_ONCE 1024u /* pages in one system call */
#define MPOL_MF_MOVE 2
#define CHUNK_PAGES (CHUNK_BYTES / PAGE_BYTES)

int bind_range(uint8_t *base, size_t length, const struct policy *policy) {
  bool nodes = policy->mode != MPOL_LOCAL;
  long result = syscall(SYS_mbind, base, length, policy->mode, nodes ? policy->nodes : NULL,
                        nodes ? (unsigned long)NODES_MAX : 0ul, 0u);
  return result == 0 ? 0 : -errno;
}

/* ---- which pages --------------------------------------------------------------------------------------------- */

/* linux/fs.h since 6.7: what an ioctl on /proc/self/pagemap is asked, and answers. */
struct scan {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scanned {
  uint64_t start, end, categories;
};
#define SCAN _IOWR('f', 16, struct scan)
#define IS_PRESENT (1u << 3)
#define IS_HUGE (1u << 6)

/* @returns bytes, or −1 where the kernel cannot tell this way */
static double huge_by_pagemap(const uint8_t *base, size_t length) {
  struct scanned found[64];
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  double bytes = 0;
  uint64_t at = (uintptr_t)base, end = at + length;
  while (bytes >= 0 && at < end) {
    struct scan scan = {.size = sizeof scan, .start = at, .end = end, .vec = (uintptr_t)found, .vec_len = 64,
                        .category_mask = IS_HUGE | IS_PRESENT, .return_mask = IS_HUGE};
    int count = ioctl(fd, SCAN, &scan);
    if (count < 0) bytes = -1;
    for (int i = 0; i < count; i++) bytes += (double)(found[i].end - found[i].start);
    if (scan.walk_end <= at) break;
    at = scan.walk_end;
  }
  close(fd);
  return bytes;
}

struct mapping {
  uint64_t from, to;
  double rss_bytes, huge_bytes;
};

/* Of a mapping that goes beyond the range, the part that the range has of what is in memory. */
static double huge_within(const struct mapping *mapping, uint64_t from, uint64_t to) {
  uint64_t first = mapping->from > from ? mapping->from : from, last = mapping->to < to ? mapping->to : to;
  if (first >= last) return 0;
  double part = (double)(last - first);
  return part < mapping->rss_bytes ? mapping->huge_bytes * part / mapping->rss_bytes : mapping->huge_bytes;
}

/* For older kernels: whole mappings. @returns bytes, or −1 */
static double huge_by_smaps(const uint8_t *base, size_t length) {
  FILE *file = fopen("/proc/self/smaps", "re");
  if (file == NULL) return -1;
  char line[512], name[64];
  uint64_t from = (uintptr_t)base, to = from + length;
  struct mapping mapping = {0};
  unsigned long long first, last, kib;
  double bytes = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%llx-%llx ", &first, &last) == 2) {
      bytes += huge_within(&mapping, from, to);
      mapping = (struct mapping){.from = first, .to = last};
    } else if (sscanf(line, "%63[A-Za-z_]: %llu kB", name, &kib) == 2) {
      bool hugetlb = strcmp(name, "Private_Hugetlb") == 0;
      if (hugetlb || strcmp(name, "Rss") == 0) mapping.rss_bytes += 1024.0 * (double)kib;
      if (hugetlb || strcmp(name, "AnonHugePages") == 0 || strcmp(name, "FilePmdMapped") == 0)
        mapping.huge_bytes += 1024.0 * (double)kib;
    }
  }
  bytes += huge_within(&mapping, from, to);
  fclose(file);
  return bytes;
}

/* ---- which nodes --------------------------------------------------------------------------------------------- */

/* Of every `stride`th page from `at` on: at most `AT_ONCE` addresses. @returns the page after the last */
static size_t addresses(uint8_t *base, size_t pages, size_t at, size_t stride, void **into, size_t *count) {
  *count = 0;
  for (; at < pages && *count < AT_ONCE; at += stride) into[(*count)++] = base + at * PAGE_BYTES;
  return at;
}

/*
 * Into job->into: [0] bytes in huge pages, −1 unknown; [1] pages asked about that are in memory, −1 unknown; [2 + n] those of them on node n.
 * Nodes beyond the array count in [1] only. A sandbox may forbid one and allow the other.
 */
static void count_nodes(const struct job *job) {
  uint8_t *base = job->region->base + job->offset;
  size_t pages = job->length / PAGE_BYTES, count;
  void *at[AT_ONCE];
  int node[AT_ONCE];
  for (size_t page = 0; page < pages;) {
    page = addresses(base, pages, page, job->stride, at, &count);
    if (syscall(SYS_move_pages, 0, count, at, NULL, node, 0) != 0) {
      job->into[1] = -1;
      return;
    }
    for (size_t i = 0; i < count; i++) {
      if (node[i] < 0) continue;
      job->into[1]++;
      if ((size_t)node[i] + 2 < job->into_count) job->into[2 + node[i]]++;
    }
  }
}

int measure_range(const struct job *job) {
  uint8_t *base = job->region->base + job->offset;
  memset(job->into, 0, job->into_count * sizeof *job->into);
  count_nodes(job);
  /* Small ranges are never huge: nothing to ask. */
  if (job->length < CHUNK_BYTES && !job->region->reserved) return 0;
  double huge = huge_by_pagemap(base, job->length);
  job->into[0] = huge >= 0 ? huge : huge_by_smaps(base, job->length);
  return 0;
}

/* Moves those of the pages that are elsewhere. @returns −errno, or how many are on the node now */
static int move_pages_to(void **at, size_t count, int target) {
  void *elsewhere[AT_ONCE];
  int node[AT_ONCE], wanted[AT_ONCE];
  size_t away = 0;
  if (syscall(SYS_move_pages, 0, count, at, NULL, node, 0) != 0) return -errno;
  for (size_t i = 0; i < count; i++) {
    if (node[i] < 0 || node[i] == target) continue;
    wanted[away] = target;
    elsewhere[away++] = at[i];
  }
  /* Positive: some could not be moved. They stay where they are. */
  if (away > 0 && syscall(SYS_move_pages, 0, away, elsewhere, wanted, node, MPOL_MF_MOVE) < 0) return -errno;
  if (away > 0 && syscall(SYS_move_pages, 0, count, at, NULL, node, 0) != 0) return -errno;
  int there = 0;
  for (size_t i = 0; i < count; i++) there += node[i] == target;
  return there;
}

/* First one page of each chunk: where it is a huge page, the rest of it comes along. Then what is left, page by page. */
int move_range(const struct job *job) {
  uint8_t *base = job->region->base + job->offset;
  size_t pages = job->length / PAGE_BYTES, count;
  void *at[AT_ONCE];
  int there = 0;
  for (size_t stride = CHUNK_PAGES; stride > 0; stride = stride == 1 ? 0 : 1) {
    there = 0;
    for (size_t page = 0; page < pages;) {
      page = addresses(base, pages, page, stride, at, &count);
      int moved = move_pages_to(at, count, job->node);
      if (moved < 0) return moved;
      there += moved;
    }
  }
  return there;
}
