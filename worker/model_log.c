/* model_log: a bar on a terminal, events otherwise. */
#include "worker/model_log.h"

#include <unistd.h>

#include "pipeline/clock.h"
#include "worker/log.h"

enum { LOG_INTERVAL_MS = 3000 };

void model_log_start(struct model_log *log)
{
    *log = (struct model_log){.logged_ms = clock_monotonic_ms()};
    progress_start(&log->progress, "layers", isatty(STDERR_FILENO) != 1);
}

void model_log_loading(void *context, const char *model, int layers_done, int layers)
{
    struct model_log *log = context;
    if (layers_done == 1) { // a bar for each model
        progress_stop(&log->progress);
        progress_start(&log->progress, "layers", isatty(STDERR_FILENO) != 1);
    }
    progress_show(&log->progress, layers_done, layers, -1);
    double now_ms = clock_monotonic_ms();
    if (!log->progress.is_terminal && now_ms - log->logged_ms >= LOG_INTERVAL_MS) {
        log->logged_ms = now_ms;
        log_event(LOG_INFO, "model_loading", "model=%s layers=%d of=%d", model, layers_done,
                  layers);
    }
}

void model_log_stop(struct model_log *log)
{
    progress_stop(&log->progress);
}

void model_log_ready(const struct local_model_facts *facts, bool is_auto)
{
    const char *reason = !is_auto                     ? "engine.weights"
                         : facts->auto_reason == NULL ? "auto"
                                                      : facts->auto_reason;
    log_event(LOG_INFO, "model_ready",
              "model=%s weights=%s weights_reason=%s kv=%s backend=%s weights_bytes=%zu "
              "kv_bytes=%zu kv_blocks=%d kv_block_tokens=%d tokens_max=%d load_s=%.2f",
              facts->name, facts->weights, reason, facts->kv, facts->backend, facts->weights_bytes,
              facts->kv_bytes, facts->kv_blocks, facts->kv_block_tokens, facts->tokens_max,
              facts->load_ms / 1e3);
}
