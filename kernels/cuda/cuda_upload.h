/* cuda_upload: from the host's memory to the device without waiting: through a ring of pinned
 * memory, beside which lies one of device memory for what has no buffer of its own.
 *
 * Work of the stream reads a place of the ring before it is written again: the host waits for the
 * copies out of a segment before it fills it again, and the device does things in order.
 *
 * Thread: one at a time.
 */
#ifndef KERNELS_CUDA_CUDA_UPLOAD_H
#define KERNELS_CUDA_CUDA_UPLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/driver.h"

enum {
    UPLOAD_BYTES_MAX = 4 << 20, // of one upload
    UPLOAD_SEGMENTS = 8,
    UPLOAD_RING_BYTES = UPLOAD_BYTES_MAX * UPLOAD_SEGMENTS,
};

struct cuda_upload;

/* `device` is the address of UPLOAD_RING_BYTES of device memory, which stays the caller's. All
 * functions return the driver's result. */
int cuda_upload_open(const struct cuda_driver *driver, struct cuda_stream *stream, uint64_t device,
                     struct cuda_upload **upload_out);
void cuda_upload_close(struct cuda_upload *upload); // accepts NULL

/* To the ring on the device. What lies there is kept until UPLOAD_SEGMENTS - 1 times
 * UPLOAD_BYTES_MAX more have gone by. */
int cuda_upload_put(struct cuda_upload *upload, const void *source, size_t bytes,
                    uint64_t *address_out);
/* To memory of the caller, of any size. */
int cuda_upload_copy(struct cuda_upload *upload, uint64_t target, const void *source, size_t bytes);

#endif
