/* SHA-256 of several messages at once, by instructions of the processor. */
#ifndef PINION_SHA256_H
#define PINION_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 32u

struct message {
  const uint8_t *bytes;
  size_t length;
  uint8_t *hash;
};

/* Whether the processor has them; `sha256_all` may be called only then. */
bool sha256_here(void);
void sha256_all(const struct message *messages, size_t count);

#endif
