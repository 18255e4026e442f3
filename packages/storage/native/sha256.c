/*
 * SHA-256 (FIPS 180-4) by the instructions of x86-64 processors that have them, two messages at a time: one alone waits for the result of each
 * instruction most of the time. On other processors JavaScript hashes.
 *
 * A message is its whole blocks, where they lie, and then one or two blocks of what is left with the padding, which are put together
 * aside. Whatever the lengths, two blocks go side by side as long as there are two messages.
 */
#include "sha256.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define SHA __attribute__((target("sha,sse4.1,ssse3")))
#define BLOCK_BYTES 64u

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* A, B, E, F and C, D, G, H of the standard, the first in the highest word: what the instructions want. */
struct state {
  __m128i abef, cdgh;
};

/* Words 4 × group … of the schedule are in `w`, the next ones come out there. */
#define SCHEDULE(w, next, later, last)                                                                              \
  w = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w, next), _mm_alignr_epi8(last, later, 4)), last)

#define ROUNDS(s, w, group)                                                                \
  do {                                                                                     \
    __m128i wk = _mm_add_epi32(w, _mm_load_si128((const __m128i *)K + (group)));           \
    s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, wk);                                    \
    s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, _mm_shuffle_epi32(wk, 0x0e));           \
  } while (0)

#define LOAD(p, i) _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p) + (i)), swap)

/* Four rounds, and the words they have used give way to the ones four groups on. */
#define STEP(s, w, a, b, c, d, group)              \
  ROUNDS(s, w[a], group);                          \
  SCHEDULE(w[a], w[b], w[c], w[d])

#define FOUR_STEPS(group)                                                    \
  STEP(s, v, 0, 1, 2, 3, group); STEP(t, w, 0, 1, 2, 3, group);              \
  STEP(s, v, 1, 2, 3, 0, group + 1); STEP(t, w, 1, 2, 3, 0, group + 1);      \
  STEP(s, v, 2, 3, 0, 1, group + 2); STEP(t, w, 2, 3, 0, 1, group + 2);      \
  STEP(s, v, 3, 0, 1, 2, group + 3); STEP(t, w, 3, 0, 1, 2, group + 3)

SHA static void two_blocks(struct state *one, const uint8_t *p, struct state *other, const uint8_t *q, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  struct state s = *one, t = *other;
  for (; blocks > 0; blocks--, p += BLOCK_BYTES, q += BLOCK_BYTES) {
    const struct state s0 = s, t0 = t;
    __m128i v[4] = {LOAD(p, 0), LOAD(p, 1), LOAD(p, 2), LOAD(p, 3)};
    __m128i w[4] = {LOAD(q, 0), LOAD(q, 1), LOAD(q, 2), LOAD(q, 3)};
    FOUR_STEPS(0);
    FOUR_STEPS(4);
    FOUR_STEPS(8);
    ROUNDS(s, v[0], 12); ROUNDS(t, w[0], 12);
    ROUNDS(s, v[1], 13); ROUNDS(t, w[1], 13);
    ROUNDS(s, v[2], 14); ROUNDS(t, w[2], 14);
    ROUNDS(s, v[3], 15); ROUNDS(t, w[3], 15);
    s.abef = _mm_add_epi32(s.abef, s0.abef);
    s.cdgh = _mm_add_epi32(s.cdgh, s0.cdgh);
    t.abef = _mm_add_epi32(t.abef, t0.abef);
    t.cdgh = _mm_add_epi32(t.cdgh, t0.cdgh);
  }
  *one = s;
  *other = t;
}

#define FOUR_STEPS_ALONE(group)          \
  STEP(s, v, 0, 1, 2, 3, group);         \
  STEP(s, v, 1, 2, 3, 0, group + 1);     \
  STEP(s, v, 2, 3, 0, 1, group + 2);     \
  STEP(s, v, 3, 0, 1, 2, group + 3)

SHA static void one_block(struct state *one, const uint8_t *p, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  struct state s = *one;
  for (; blocks > 0; blocks--, p += BLOCK_BYTES) {
    const struct state s0 = s;
    __m128i v[4] = {LOAD(p, 0), LOAD(p, 1), LOAD(p, 2), LOAD(p, 3)};
    FOUR_STEPS_ALONE(0);
    FOUR_STEPS_ALONE(4);
    FOUR_STEPS_ALONE(8);
    ROUNDS(s, v[0], 12);
    ROUNDS(s, v[1], 13);
    ROUNDS(s, v[2], 14);
    ROUNDS(s, v[3], 15);
    s.abef = _mm_add_epi32(s.abef, s0.abef);
    s.cdgh = _mm_add_epi32(s.cdgh, s0.cdgh);
  }
  *one = s;
}

/* A message on its way: `at` and `blocks` are what comes next; after the blocks of the message itself those of `tail`. */
struct stream {
  struct state state;
  const struct message *message; /* NULL: none is left */
  const uint8_t *at;
  size_t blocks;
  size_t tail_blocks; /* still to come */
  uint8_t tail[2 * BLOCK_BYTES];
};

SHA static void begin(struct stream *stream, const struct message *message) {
  const size_t whole = message->length / BLOCK_BYTES, rest = message->length % BLOCK_BYTES;
  stream->message = message;
  stream->state.abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
  stream->state.cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
  stream->at = message->bytes;
  stream->blocks = whole;
  stream->tail_blocks = rest + 9 <= BLOCK_BYTES ? 1 : 2;
  memset(stream->tail, 0, sizeof stream->tail);
  if (rest > 0) memcpy(stream->tail, message->bytes + whole * BLOCK_BYTES, rest);
  stream->tail[rest] = 0x80;
  uint8_t *end = stream->tail + stream->tail_blocks * BLOCK_BYTES;
  const uint64_t bits = (uint64_t)message->length * 8;
  for (int i = 0; i < 8; i++) end[i - 8] = (uint8_t)(bits >> (56 - 8 * i));
}

SHA static void put_hash(const struct state *state, uint8_t *hash) {
  uint32_t abef[4], cdgh[4];
  _mm_storeu_si128((__m128i *)abef, state->abef);
  _mm_storeu_si128((__m128i *)cdgh, state->cdgh);
  const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
  for (int i = 0; i < 8; i++) {
    for (int byte = 0; byte < 4; byte++) hash[4 * i + byte] = (uint8_t)(words[i] >> (24 - 8 * byte));
  }
}

/* Goes on to what is to be hashed next, if nothing is, to the next message. */
SHA static void advance(struct stream *stream, const struct message **next, const struct message *end) {
  while (stream->message != NULL && stream->blocks == 0) {
    if (stream->tail_blocks > 0) {
      stream->at = stream->tail;
      stream->blocks = stream->tail_blocks;
      stream->tail_blocks = 0;
      return;
    }
    put_hash(&stream->state, stream->message->hash);
    if (*next == end) stream->message = NULL;
    else begin(stream, (*next)++);
  }
}

static void done(struct stream *stream, size_t blocks) {
  stream->at += blocks * BLOCK_BYTES;
  stream->blocks -= blocks;
}

SHA void sha256_all(const struct message *messages, size_t count) {
  const struct message *next = messages, *end = messages + count;
  struct stream one = {.message = NULL}, other = {.message = NULL};
  if (next != end) begin(&one, next++);
  if (next != end) begin(&other, next++);
  for (;;) {
    advance(&one, &next, end);
    advance(&other, &next, end);
    if (one.message == NULL || other.message == NULL) break;
    const size_t blocks = one.blocks < other.blocks ? one.blocks : other.blocks;
    two_blocks(&one.state, one.at, &other.state, other.at, blocks);
    done(&one, blocks);
    done(&other, blocks);
  }
  struct stream *left = one.message != NULL ? &one : &other;
  while (left->message != NULL) {
    one_block(&left->state, left->at, left->blocks);
    done(left, left->blocks);
    advance(left, &next, end);
  }
}

bool sha256_here(void) {
  unsigned a, b, c, d;
  /* CPUID leaf 7: EBX bit 29. Not every compiler knows the feature by name. */
  __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
  return (b >> 29 & 1) != 0 && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}
#else
void sha256_all(const struct message *messages, size_t count) {
  (void)messages;
  (void)count;
}

bool sha256_here(void) { return false; }
#endif
