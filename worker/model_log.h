/* model_log: what the log says about local models: how far loading is, and what came of it.
 * Thread: the one that loads.
 */
#ifndef WORKER_MODEL_LOG_H
#define WORKER_MODEL_LOG_H

#include "pipeline/local.h"
#include "worker/progress.h"

struct model_log {
    struct progress progress; // of the terminal's bar
    double logged_ms;
};

void model_log_start(struct model_log *log);
/* local_options.on_loading; context: the log. */
void model_log_loading(void *context, const char *model, int layers_done, int layers);
void model_log_stop(struct model_log *log);

/* A line for a model that is ready. `is_auto`: the setting leaves the format of its weights to the
 * back end. */
void model_log_ready(const struct local_model_facts *facts, bool is_auto);

#endif
