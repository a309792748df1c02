/* onednn_product: oneDNN's own product, whole and on its own threads, as the bar to measure
 * against.
 */
#ifndef BENCH_ONEDNN_PRODUCT_H
#define BENCH_ONEDNN_PRODUCT_H

/* [rows, inputs] * [inputs, outputs]: u8 * s8 -> s32, or all f32. */
enum onednn_format { ONEDNN_INT8, ONEDNN_F32 };

struct onednn_shape {
    int rows;
    int outputs;
    int inputs;
};

struct onednn_times {
    double median_s;
    double best_s;
};

/* Of the runs of measure_ms, five at least; of one thread: its processor time. Zeros in a build
 * without oneDNN. */
struct onednn_times onednn_product_times(const struct onednn_shape *shape,
                                         enum onednn_format format, int threads, double measure_ms);

#endif
