/* cuda_upload: a ring in segments, each with an event for the copies out of it. */
#include "kernels/cuda/cuda_upload.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { ALIGNMENT = 256 };

struct cuda_upload {
    const struct cuda_driver *driver;
    struct cuda_stream *stream;
    uint64_t device;
    char *pinned;
    struct cuda_event *copied[UPLOAD_SEGMENTS]; // recorded when a segment has been left
    bool is_left[UPLOAD_SEGMENTS];
    int segment;
    size_t used; // of the segment
};

int cuda_upload_open(const struct cuda_driver *driver, struct cuda_stream *stream, uint64_t device,
                     struct cuda_upload **upload_out)
{
    struct cuda_upload *upload = calloc(1, sizeof(*upload));
    if (upload == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *upload = (struct cuda_upload){.driver = driver, .stream = stream, .device = device};
    void *pinned = NULL;
    int result = driver->cuMemAllocHost(&pinned, UPLOAD_RING_BYTES);
    upload->pinned = pinned;
    for (int i = 0; result == CUDA_OK && i < UPLOAD_SEGMENTS; i++) {
        result = driver->cuEventCreate(&upload->copied[i], CUDA_EVENT_WITHOUT_TIME);
    }
    if (result != CUDA_OK) {
        cuda_upload_close(upload);
        return result;
    }
    *upload_out = upload;
    return CUDA_OK;
}

void cuda_upload_close(struct cuda_upload *upload)
{
    if (upload == NULL) {
        return;
    }
    for (int i = 0; i < UPLOAD_SEGMENTS; i++) {
        if (upload->copied[i] != NULL) {
            (void)upload->driver->cuEventDestroy(upload->copied[i]);
        }
    }
    if (upload->pinned != NULL) {
        (void)upload->driver->cuMemFreeHost(upload->pinned);
    }
    free(upload);
}

/* Goes on to the next segment and waits until what was in it has been copied. */
static int next_segment(struct cuda_upload *upload)
{
    int result = upload->driver->cuEventRecord(upload->copied[upload->segment], upload->stream);
    upload->is_left[upload->segment] = true;
    upload->segment = (upload->segment + 1) % UPLOAD_SEGMENTS;
    upload->used = 0;
    if (result == CUDA_OK && upload->is_left[upload->segment]) {
        result = upload->driver->cuEventSynchronize(upload->copied[upload->segment]);
    }
    return result;
}

/* Puts the bytes into pinned memory; gives their place in the ring. */
static int stage(struct cuda_upload *upload, const void *source, size_t bytes, size_t *place_out)
{
    CHECK(bytes <= UPLOAD_BYTES_MAX);
    if (UPLOAD_BYTES_MAX - upload->used < bytes) {
        int result = next_segment(upload);
        if (result != CUDA_OK) {
            return result;
        }
    }
    *place_out = (size_t)upload->segment * UPLOAD_BYTES_MAX + upload->used;
    if (bytes > 0) {
        memcpy(upload->pinned + *place_out, source, bytes);
    }
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t left = UPLOAD_BYTES_MAX - upload->used;
    upload->used += rounded < left ? rounded : left;
    return CUDA_OK;
}

int cuda_upload_put(struct cuda_upload *upload, const void *source, size_t bytes,
                    uint64_t *address_out)
{
    size_t place = 0;
    int result = stage(upload, source, bytes, &place);
    if (result != CUDA_OK) {
        return result;
    }
    *address_out = upload->device + place;
    return upload->driver->cuMemcpyHtoDAsync(*address_out, upload->pinned + place, bytes,
                                             upload->stream);
}

int cuda_upload_copy(struct cuda_upload *upload, uint64_t target, const void *source, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t part = bytes - done < UPLOAD_BYTES_MAX ? bytes - done : UPLOAD_BYTES_MAX;
        size_t place = 0;
        int result = stage(upload, (const char *)source + done, part, &place);
        if (result == CUDA_OK) {
            result = upload->driver->cuMemcpyHtoDAsync(target + done, upload->pinned + place, part,
                                                       upload->stream);
        }
        if (result != CUDA_OK) {
            return result;
        }
        done += part;
    }
    return CUDA_OK;
}
