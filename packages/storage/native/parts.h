/* The parts of the addon beside the doors to the disk and to memory: each adds an object of its functions to what is exported. */
#ifndef PINION_PARTS_H
#define PINION_PARTS_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>

/* scan.c */
bool scan_init(napi_env env, napi_value exports);
/* chunks.c */
bool chunks_init(napi_env env, napi_value exports);

#endif
