/* fatbin: what nvcc made of the .cu files, put into the program as it is. */
#include "kernels/cuda/fatbin.h"

#include <stddef.h>

/* CUDA_TOPICS(X), of the names of the .cu files, and CUDA_FATBINS, their folder, come from CMake.
 */
#define EMBED(topic)                                                                               \
    __asm__(".section .rodata\n"                                                                   \
            ".balign 64\n"                                                                         \
            ".hidden fatbin_" #topic "\n"                                                          \
            ".globl fatbin_" #topic "\n"                                                           \
            "fatbin_" #topic ":\n"                                                                 \
            ".incbin \"" CUDA_FATBINS "/" #topic ".fatbin\"\n"                                     \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const char fatbin_##topic[];
CUDA_TOPICS(EMBED)

#define IMAGE(topic) fatbin_##topic,

const void *const *fatbin_images(void)
{
    static const void *const images[] = {CUDA_TOPICS(IMAGE) NULL};
    return images;
}
