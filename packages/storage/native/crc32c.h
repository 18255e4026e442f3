/*
 * CRC32C (Castagnoli) by three interleaved streams of the processor's crc32 instruction: Gopal et al., "Fast CRC
 * Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011. The streams are joined with tables that advance a
 * checksum over a fixed number of zero bytes. Without the instruction, found out when the addon is loaded: a table and a
 * byte at a time.
 *
 * The next round is prefetched, also beyond the end (a prefetch cannot fault): the processor does not see three streams by
 * itself, and bytes that another core has just written come at 24 instead of 9 GB/s.
 *
 * crc_init() comes first, once per process.
 */
#ifndef PINION_CRC32C_H
#define PINION_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected Castagnoli */
#define LONG_BYTES 1360u       /* 3 × 1,360 = 4,080: one 4 KiB page is one long round and two words */
#define SHORT_BYTES 168u       /* 3 × 168 = 504: what is left of a 512-byte sector */
#define LINE_BYTES 64u         /* of the cache */

static uint32_t byte_table[256];
static uint32_t long_table[4][256];
static uint32_t short_table[4][256];

static uint32_t crc_bytes(uint32_t crc, const uint8_t *p, size_t n) {
  while (n--) crc = byte_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
  return crc;
}

/* Advancing over zeros is linear: the tables hold its effect on each byte of the checksum. */
static void fill_shift_table(uint32_t table[4][256], size_t zeros) {
  uint32_t bit[32];
  for (int i = 0; i < 32; i++) {
    uint32_t crc = 1u << i;
    for (size_t k = 0; k < zeros; k++) crc = byte_table[crc & 0xff] ^ (crc >> 8);
    bit[i] = crc;
  }
  for (int b = 0; b < 4; b++) {
    for (int v = 0; v < 256; v++) {
      uint32_t crc = 0;
      for (int i = 0; i < 8; i++) {
        if (v & (1 << i)) crc ^= bit[8 * b + i];
      }
      table[b][v] = crc;
    }
  }
}

static inline uint32_t shift(uint32_t table[4][256], uint32_t crc) {
  return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^ table[3][crc >> 24];
}

static inline uint64_t load64(const uint8_t *p) {
  uint64_t word;
  memcpy(&word, p, 8);
  return word;
}

#if defined(__x86_64__)
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_WORD(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define CRC_BYTE(crc, byte) _mm_crc32_u8((crc), (byte))
static bool has_crc_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
#define CRC_TARGET __attribute__((target("+crc")))
#define CRC_WORD(crc, word) __crc32cd((crc), (word))
#define CRC_BYTE(crc, byte) __crc32cb((crc), (byte))
static bool has_crc_instruction(void) { return (getauxval(AT_HWCAP) & (1 << 7)) != 0; }
#endif

#ifdef CRC_TARGET
CRC_TARGET static inline uint32_t crc_rounds(uint32_t a, const uint8_t **at, size_t *left, size_t bytes,
                                             uint32_t table[4][256]) {
  const uint8_t *p = *at;
  size_t n = *left;
  while (n >= 3 * bytes) {
    uint32_t b = 0, c = 0;
    for (size_t i = 0; i < bytes; i += 8) {
      if (i % LINE_BYTES == 0) {
        for (size_t stream = 3; stream < 6; stream++) __builtin_prefetch(p + stream * bytes + i);
      }
      a = CRC_WORD(a, load64(p + i));
      b = CRC_WORD(b, load64(p + i + bytes));
      c = CRC_WORD(c, load64(p + i + 2 * bytes));
    }
    a = shift(table, shift(table, a) ^ b) ^ c;
    p += 3 * bytes;
    n -= 3 * bytes;
  }
  *at = p;
  *left = n;
  return a;
}

CRC_TARGET static uint32_t crc_instructions(uint32_t crc, const uint8_t *p, size_t n) {
  crc = crc_rounds(crc, &p, &n, LONG_BYTES, long_table);
  crc = crc_rounds(crc, &p, &n, SHORT_BYTES, short_table);
  for (; n >= 8; n -= 8, p += 8) crc = CRC_WORD(crc, load64(p));
  while (n--) crc = CRC_BYTE(crc, *p++);
  return crc;
}
#endif

static uint32_t (*crc_raw)(uint32_t, const uint8_t *, size_t) = crc_bytes;

static uint32_t crc32c(uint32_t seed, const uint8_t *p, size_t n) { return ~crc_raw(~seed, p, n); }

static void crc_init(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int k = 0; k < 8; k++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
    byte_table[i] = crc;
  }
  fill_shift_table(long_table, LONG_BYTES);
  fill_shift_table(short_table, SHORT_BYTES);
#ifdef CRC_TARGET
  if (has_crc_instruction()) crc_raw = crc_instructions;
#endif
}

#endif
