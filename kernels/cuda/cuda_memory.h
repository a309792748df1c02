/* cuda_memory: one arena of device memory, obtained when the device is opened, of which all buffers
 * are. What does not fit in it does not exist: nobody else can take it in the middle of the work.
 *
 * Thread: one at a time.
 */
#ifndef KERNELS_CUDA_CUDA_MEMORY_H
#define KERNELS_CUDA_CUDA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/driver.h"

struct cuda_memory;

/* The driver's result. With `is_exact` every piece is an allocation of the driver's own, of exactly
 * its size, and `bytes` only limits their sum: for emulated devices, whose memory a sanitizer
 * watches. */
int cuda_memory_open(const struct cuda_driver *driver, size_t bytes, bool is_exact,
                     struct cuda_memory **memory_out);
void cuda_memory_close(struct cuda_memory *memory); // accepts NULL; gives back all pieces

/* A piece at a multiple of 256 bytes. False when no hole is large enough. */
bool cuda_memory_take(struct cuda_memory *memory, size_t bytes, uint64_t *address_out);
/* `bytes` as they were asked for. */
void cuda_memory_give(struct cuda_memory *memory, uint64_t address, size_t bytes);

size_t cuda_memory_bytes(const struct cuda_memory *memory);
size_t cuda_memory_left(const struct cuda_memory *memory); // in all holes together

#endif
