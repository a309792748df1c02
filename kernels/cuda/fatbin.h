/* fatbin: the compiled kernels, in the program. */
#ifndef KERNELS_CUDA_FATBIN_H
#define KERNELS_CUDA_FATBIN_H

/* One for each .cu file, ends with NULL; NULL where there was no CUDA compiler. */
const void *const *fatbin_images(void);

#endif
