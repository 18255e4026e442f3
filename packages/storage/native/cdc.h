/* Where a stream of bytes is cut into chunks: the twin of structures/cdc-chunker.ts, to the byte. */
#ifndef PINION_CDC_H
#define PINION_CDC_H

#include <stddef.h>
#include <stdint.h>

#define CHUNK_BYTES_LEAST 8192u
#define CHUNK_BYTES_MOST 65536u

void cdc_init(void);
/*
 * The end of the chunk that begins at `bytes`, of which `scanned` bytes were looked at before, in vain; 0 if the bytes do not say.
 */
size_t cdc_end(const uint8_t *bytes, size_t length, size_t scanned);

#endif
