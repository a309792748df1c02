/* row_kernels: norms, activations and softmax pieces over single rows. */
#include "kernels/cpu/row_kernels.h"

#include <math.h>

#include "kernels/cpu/vector.h"

INLINE int lanes_left(int count, int i)
{
    return count - i < LANES ? count - i : LANES;
}

/* residual += delta (or not, if NULL), of some lanes; gives the new ones. */
INLINE struct vec add_part(float *residual, const float *delta, int lanes)
{
    struct vec x = vec_load_part(residual, lanes);
    if (delta != NULL) {
        x = vec_add(x, vec_load_part(delta, lanes));
        vec_store_part(residual, x, lanes);
    }
    return x;
}

void KERNEL_NAME(add_norm)(float *residual, const float *delta, const float *scale, float *output,
                           int width, float epsilon)
{
    struct vec squares = vec_zero();
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = add_part(residual + i, delta == NULL ? NULL : delta + i, lanes);
        squares = vec_fma(x, x, squares);
    }
    struct vec factor = vec_set1(1.0f / sqrtf(vec_sum(squares) / (float)width + epsilon));
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = vec_mul(vec_load_part(residual + i, lanes), factor);
        vec_store_part(output + i, vec_mul(x, vec_load_part(scale + i, lanes)), lanes);
    }
}

void KERNEL_NAME(layer_norm)(float *residual, const float *delta,
                             const struct layer_norm_task *task, float *output)
{
    int width = task->width;
    struct vec sums = vec_zero();
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = add_part(residual + i, delta == NULL ? NULL : delta + i, lanes);
        sums = vec_add(sums, x);
    }
    float mean = vec_sum(sums) / (float)width;
    struct vec squares = vec_zero();
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = vec_sub(vec_load_part(residual + i, lanes), vec_set1(mean));
        float parts[LANES] = {0}; // lanes behind the row have no deviation
        vec_store_part(parts, x, lanes);
        x = vec_load(parts);
        squares = vec_fma(x, x, squares);
    }
    struct vec factor = vec_set1(1.0f / sqrtf(vec_sum(squares) / (float)width + task->epsilon));
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = vec_sub(vec_load_part(residual + i, lanes), vec_set1(mean));
        struct vec scale = vec_mul(factor, vec_load_part(task->scale + i, lanes));
        x = vec_fma(x, scale, vec_load_part(task->bias + i, lanes));
        vec_store_part(output + i, x, lanes);
    }
}

/* erfc(x) within 1.5e-7 for x >= 0: Abramowitz and Stegun 7.1.26. */
INLINE struct vec vec_erfc(struct vec x)
{
    struct vec one = vec_set1(1.0f);
    struct vec t = vec_div(one, vec_fma(x, vec_set1(0.3275911f), one));
    struct vec p = vec_set1(1.061405429f);
    p = vec_fma(p, t, vec_set1(-1.453152027f));
    p = vec_fma(p, t, vec_set1(1.421413741f));
    p = vec_fma(p, t, vec_set1(-0.284496736f));
    p = vec_fma(p, t, vec_set1(0.254829592f));
    return vec_mul(vec_mul(p, t), vec_exp(vec_sub(vec_zero(), vec_mul(x, x))));
}

void KERNEL_NAME(gelu)(const float *input, float *output, int width)
{
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = vec_load_part(input + i, lanes);
        struct vec size = vec_max(x, vec_sub(vec_zero(), x));
        struct vec tail = vec_mul(vec_erfc(vec_mul(size, vec_set1(0.70710678f))), vec_set1(0.5f));
        struct vec share = vec_select_less(x, vec_zero(), tail, vec_sub(vec_set1(1.0f), tail));
        vec_store_part(output + i, vec_mul(x, share), lanes);
    }
}

void KERNEL_NAME(silu_mul)(const float *gate, const float *up, float *output, int width)
{
    struct vec one = vec_set1(1.0f);
    for (int i = 0; i < width; i += LANES) {
        int lanes = lanes_left(width, i);
        struct vec x = vec_load_part(gate + i, lanes);
        struct vec silu = vec_div(x, vec_add(one, vec_exp(vec_sub(vec_zero(), x))));
        vec_store_part(output + i, vec_mul(silu, vec_load_part(up + i, lanes)), lanes);
    }
}

bool KERNEL_NAME(row_max)(const float *row, int count, float *max_out)
{
    struct vec max = vec_set1(-INFINITY);
    struct vec zeros = vec_zero(); // x * 0 is NaN where x is not finite, and stays so in a sum
    int whole = count / LANES * LANES;
    for (int i = 0; i < whole; i += LANES) {
        struct vec x = vec_load(row + i);
        max = vec_max(x, max);
        zeros = vec_fma(x, vec_zero(), zeros);
    }
    float largest = vec_max_lane(max);
    float sum = vec_sum(zeros);
    for (int i = whole; i < count; i++) {
        largest = row[i] > largest ? row[i] : largest;
        sum += row[i] * 0.0f;
    }
    *max_out = largest;
    return sum == 0.0f;
}

double KERNEL_NAME(row_exp)(const float *row, float *output, int count, float shift, float factor)
{
    double sum = 0;
    for (int i = 0; i < count; i += LANES) {
        int lanes = lanes_left(count, i);
        struct vec x = vec_sub(vec_load_part(row + i, lanes), vec_set1(shift));
        struct vec e = vec_exp(vec_mul(x, vec_set1(factor)));
        float parts[LANES] = {0};
        vec_store_part(parts, e, lanes);
        vec_store_part(output + i, e, lanes);
        sum += (double)vec_sum(vec_load(parts));
    }
    return sum;
}
