/* emulation_mma: matrix operations of a warp, on the fragments of PTX's mma.m16n8k16 and ldmatrix.
 *
 * A lane's group is lane / 4 and its place in the group lane % 4. Of A, [16, 16] by rows, it holds
 * rows group and group + 8, columns 2 place and 8 further; of B, [16, 8], rows 2 place and 8
 * further, column group; of C and D, [16, 8], rows group and group + 8, columns 2 place. Numbers of
 * 16 bits come in pairs, the lower column (of B: row) in the lower half. */
#include <stdint.h>
#include <string.h>

#include "tests/support/cuda/emulation.h"

enum { WARP = 32, M = 16, N = 8, K = 16 };

static float bf16(uint32_t bits)
{
    uint32_t word = bits << 16;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
}

/* a[row][k], b[k][column]: the matrices that the lanes' registers make. input: 4 words of A, 2 of
 * B. */
static void gather(struct emulation_call *const *lanes, float a[M][K], float b[K][N])
{
    for (int lane = 0; lane < WARP; lane++) {
        const uint32_t *words = lanes[lane]->input;
        int group = lane / 4;
        int place = lane % 4 * 2;
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 4; i++) {
                a[group + i % 2 * 8][place + i / 2 * 8 + half] =
                    bf16(words[i] >> 16 * half & 0xffff);
            }
            for (int i = 0; i < 2; i++) {
                b[place + i * 8 + half][group] = bf16(words[4 + i] >> 16 * half & 0xffff);
            }
        }
    }
}

/* D += A B: sums in f32, from the accumulator on by k. */
void emulation_mma_bf16(struct emulation_call *const *lanes, unsigned mask)
{
    float a[M][K];
    float b[K][N];
    if (mask != 0xffffffffu) {
        emulation_fail("mma takes the whole warp");
    }
    gather(lanes, a, b);
    for (int lane = 0; lane < WARP; lane++) {
        float *d = lanes[lane]->output;
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + i / 2 * 8;
            int column = lane % 4 * 2 + i % 2;
            for (int k = 0; k < K; k++) {
                d[i] += a[row][k] * b[k][column];
            }
        }
    }
}

/* Lane 8 i + r has the address of row r of matrix i, [8, 8] of 16 bits. Each gets two neighbours of
 * each matrix: row group, columns 2 place; transposed (argument 1): column group, rows 2 place. */
void emulation_load_matrix(struct emulation_call *const *lanes, unsigned mask)
{
    if (mask != 0xffffffffu) {
        emulation_fail("ldmatrix takes the whole warp");
    }
    for (int lane = 0; lane < WARP; lane++) {
        uint32_t *words = lanes[lane]->output;
        int group = lane / 4;
        int place = lane % 4 * 2;
        for (int i = 0; i < 4; i++) {
            uint32_t halves[2];
            for (int half = 0; half < 2; half++) {
                int row = lanes[lane]->argument == 0 ? group : place + half;
                int column = lanes[lane]->argument == 0 ? place + half : group;
                const uint16_t *source = lanes[8 * i + row]->input;
                if ((uintptr_t)source % 16 != 0) {
                    emulation_fail("ldmatrix from an address that is not aligned to 16 bytes");
                }
                halves[half] = source[column];
            }
            words[i] = halves[0] | halves[1] << 16;
        }
    }
}
