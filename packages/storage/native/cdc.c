/*
 * FastCDC as in structures/cdc-chunker.ts, whose table, lengths and masks these are (C2 there).
 *
 * The hash at a place is one of the 32 bytes in front of it and nothing else, so several places are looked at side by side: a single walk
 * waits for the result of the byte before.
 */
#include "cdc.h"

#define NORMAL_BYTES 12288u
#define WINDOW_BYTES 32u
#define MASK_BEFORE 0xfff80000u /* the upper 13 bits */
#define MASK_BEHIND 0xffe00000u /* the upper 11 bits */
#define WALKS 4u
#define WALK_BYTES 256u
#define SELDOM(condition) __builtin_expect(condition, 0)

static uint32_t gear[256];

void cdc_init(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t h = (byte + 1) * 0x9e3779b9u;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    gear[byte] = h ^ h >> 16;
  }
}

static uint32_t window_before(const uint8_t *place) {
  uint32_t h = 0;
  for (size_t i = 0; i < WINDOW_BYTES; i++) h = (h << 1) + gear[(place - WINDOW_BYTES)[i]];
  return h;
}

/* The first place in `from` … `to` whose hash the mask lets through, and one more; 0: none. There are 32 bytes in front of `from`. */
static size_t find_cut(const uint8_t *bytes, size_t from, size_t to, uint32_t mask) {
  size_t at = from;
  for (; at + WALKS * WALK_BYTES <= to; at += WALKS * WALK_BYTES) {
    const uint8_t *p = bytes + at, *q = p + WALK_BYTES, *r = q + WALK_BYTES, *s = r + WALK_BYTES;
    uint32_t a = window_before(p), b = window_before(q), c = window_before(r), d = window_before(s);
    /* Of the later walks, the first place that was found; a place of the first walk comes before all of them. */
    size_t in_q = 0, in_r = 0, in_s = 0;
    for (size_t i = 0; i < WALK_BYTES; i++) {
      a = (a << 1) + gear[p[i]];
      b = (b << 1) + gear[q[i]];
      c = (c << 1) + gear[r[i]];
      d = (d << 1) + gear[s[i]];
      if (SELDOM((a & mask) == 0)) return at + i + 1;
      if (SELDOM((b & mask) == 0) && in_q == 0) in_q = i + 1;
      if (SELDOM((c & mask) == 0) && in_r == 0) in_r = i + 1;
      if (SELDOM((d & mask) == 0) && in_s == 0) in_s = i + 1;
    }
    if (in_q != 0) return at + WALK_BYTES + in_q;
    if (in_r != 0) return at + 2 * WALK_BYTES + in_r;
    if (in_s != 0) return at + 3 * WALK_BYTES + in_s;
  }
  if (at == to) return 0;
  uint32_t h = window_before(bytes + at);
  for (; at < to; at++) {
    h = (h << 1) + gear[bytes[at]];
    if ((h & mask) == 0) return at + 1;
  }
  return 0;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

size_t cdc_end(const uint8_t *bytes, size_t length, size_t scanned) {
  const size_t normal = least(length, NORMAL_BYTES), limit = least(length, CHUNK_BYTES_MOST);
  size_t from = scanned > CHUNK_BYTES_LEAST ? scanned : CHUNK_BYTES_LEAST;
  if (from < normal) {
    const size_t cut = find_cut(bytes, from, normal, MASK_BEFORE);
    if (cut != 0) return cut;
    from = normal;
  }
  if (from < limit) {
    const size_t cut = find_cut(bytes, from, limit, MASK_BEHIND);
    if (cut != 0) return cut;
  }
  return limit == CHUNK_BYTES_MOST ? limit : 0;
}
