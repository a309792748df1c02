/* onednn_int8: oneDNN's own product of bytes, whole and on its own threads, as the bar to measure
 * against. */
#ifndef BENCH_ONEDNN_INT8_H
#define BENCH_ONEDNN_INT8_H

/* Seconds of the best of `repeats` products [rows, inputs] u8 * [inputs, outputs] s8 -> s32 with
 * weights in the library's own layout (of one thread: its processor time), or 0 in a build without
 * oneDNN. */
double onednn_int8_seconds(int rows, int inputs, int outputs, int threads, int repeats);

#endif
