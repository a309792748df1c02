/* work: runs a worker until it is told to stop. */
#include "worker/command.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "worker/config.h"
#include "worker/http.h"
#include "worker/log.h"
#include "worker/options.h"
#include "worker/worker.h"

struct work {
    uv_loop_t loop;
    struct worker *worker;
    struct http *http;
    uv_signal_t signals[2];
    int signals_count; // that came
};

static bool is_ready(void *context, struct buffer *reason)
{
    const struct work *work = context;
    return worker_is_ready(work->worker, reason);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct work *work = handle->data;
    log_event(LOG_INFO, "signal", "number=%d", number);
    if (work->signals_count++ > 0) {
        _exit(EXIT_CODE_FAILED); // at once; what is not committed comes again
    }
    worker_stop(work->worker);
}

static void watch_signals(struct work *work)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        CHECK(uv_signal_init(&work->loop, &work->signals[i]) == 0);
        work->signals[i].data = work;
        CHECK(uv_signal_start(&work->signals[i], on_signal, numbers[i]) == 0);
    }
}

static bool open_http(struct work *work, const struct config *config, struct error *error)
{
    struct http_options options = {
        .host = config->http_host,
        .port = (int)config->http_port,
        .port_is_default = config->http_port_is_default,
        .is_ready = is_ready,
        .context = work,
    };
    return http_open(&work->loop, &options, &work->http, error);
}

static void log_start(const struct config *config)
{
    struct buffer topics;
    buffer_init(&topics, 64 << 10);
    config_write_names(config_inputs(config), &topics);
    log_event(LOG_INFO, "worker_started", "worker=%s topics=%s", config->worker_id,
              buffer_failed(&topics) ? "" : topics.data);
    buffer_close(&topics);
}

static bool run(struct work *work, const struct config *config, struct error *error)
{
    if (!worker_open(&work->loop, config, &work->worker, error)) {
        return false;
    }
    watch_signals(work);
    bool ok = open_http(work, config, error);
    if (ok) {
        log_start(config);
        ok = worker_run(work->worker, error);
    }
    http_close(work->http);
    for (int i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&work->signals[i], NULL);
    }
    if (!worker_close(work->worker)) {
        log_event(LOG_WARN, "consumer_not_closed", "");
        _exit(ok ? EXIT_CODE_OK : EXIT_CODE_FAILED);
    }
    return ok;
}

int command_work(int argc, char **argv)
{
    struct options options = {
        .name = "work",
        .arguments = "",
        .about = "Answers the requests on topics.requests, or with mode: compare those on\n"
                 "topics.replay, until SIGTERM or SIGINT, then finishes what runs within\n"
                 "drain.timeout.ms; a second signal leaves at once. What is not finished stays\n"
                 "on the topic.\n"
                 "Exit code: 0 stopped as told, 1 stopped by an error, 2 configuration or model.\n",
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    enum log_level level;
    if (log_level_of(config->log_level, &level)) {
        log_set_level(level);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    struct work work = {0};
    CHECK(uv_loop_init(&work.loop) == 0);
    struct error error = {0};
    if (!run(&work, config, &error)) {
        options_complain(&options, "%s", error.message);
    }
    CHECK(uv_loop_close(&work.loop) == 0);
    curl_global_cleanup();
    config_close(config);
    return options_exit_code(&error);
}
