/* turns: which model runs the next step, by deficit round robin on rows.
 *
 * Each model with work earns the same credit per round and pays for the rows that it runs, so over
 * time models that always have work run as many rows as each other. Thread: engine.
 */
#ifndef PIPELINE_ENGINE_TURNS_H
#define PIPELINE_ENGINE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

/* Rows that a model earns per round, and the least that a step costs: weights are read once per
 * step, so a step of fewer rows takes about as long (two cores, int8: 58 GOP/s at one row, 355 at
 * eight). */
enum { TURN_ROWS = 256, TURN_ROWS_MIN = 8, TURNS_MAX = 64 };

struct turns {
    int count;
    int current;
    int64_t credits[TURNS_MAX]; // rows; may be below zero after a large step
};

void turns_init(struct turns *turns, int count);
/* has_work: [count]. The model to run, or -1 when none has work. */
int turns_next(struct turns *turns, const bool *has_work);
void turns_pay(struct turns *turns, int rows);

#endif
