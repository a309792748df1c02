/* batch: OpenAI Batch lines in, OpenAI Batch lines out, through the same session as Kafka.
 *
 * Lines are read while the session has room and written as they finish, so memory does not grow
 * with the file; match them on custom_id, as with OpenAI's own batch output. A line that is no
 * request gets an error line and costs the others nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "pipeline/clock.h"
#include "schemas/base/check.h"
#include "schemas/records/record_codec.h"
#include "worker/command.h"
#include "worker/line_reader.h"
#include "worker/log.h"
#include "worker/options.h"
#include "worker/progress.h"
#include "worker/session.h"
#include "worker/totals.h"

enum { LINE_BYTES_MAX = 512 << 20 };

struct batch {
    const struct config *config;
    struct session *session;
    struct record_codec *codec;
    struct line_reader *reader;
    const char *input_path;
    FILE *output;
    struct buffer line;   // being written
    struct bytes pending; // a line that found no room; borrowed from the reader
    int64_t lines_count;
    bool is_at_end;
    bool has_failed; // *error is set
    struct error error;
    struct progress progress;
    struct totals totals;
    double started_ms; // when the models were there
};

static bool fail(struct batch *batch, const struct error *error)
{
    if (!batch->has_failed) {
        batch->error = *error;
    }
    batch->has_failed = true;
    return false;
}

static void show_progress(struct batch *batch)
{
    int64_t size = line_reader_size(batch->reader);
    double fraction = size == 0 ? -1
                                : (double)batch->totals.records / (double)batch->lines_count *
                                      ((double)line_reader_bytes(batch->reader) / (double)size);
    progress_show(&batch->progress, batch->totals.records, 0, fraction);
}

static void write_response(struct batch *batch, const struct inference_response *response)
{
    struct error error = {0};
    buffer_clear(&batch->line);
    if (!record_encode_response(batch->codec, response, WIRE_JSON, 0, &batch->line, &error)) {
        (void)fail(batch, &error);
        return;
    }
    buffer_append_char(&batch->line, '\n');
    if (fwrite(batch->line.data, 1, batch->line.size, batch->output) != batch->line.size) {
        error_set(&error, ERROR_FATAL, NULL, NULL, "cannot write the output: %s", strerror(errno));
        (void)fail(batch, &error);
    }
}

/* What has no answer and no topic to be put aside on still gets its line. */
static void write_failure(struct batch *batch, const struct job *job)
{
    struct failure failure = {
        .code = bytes_of(job->error.code == NULL ? "dead_letter" : job->error.code),
        .message = bytes_of(job->error.message),
    };
    struct inference_response response = {
        .custom_id = job->request.custom_id.data == NULL ? bytes_of("") : job->request.custom_id,
        .run_id = job->request.run_id,
        .source = job->source,
        .error = &failure,
        .attempt = job->attempt,
    };
    write_response(batch, &response);
    totals_add_dead_letter(&batch->totals);
}

static void on_outcome(void *context, struct job *job)
{
    struct batch *batch = context;
    if (job->outcome == OUTCOME_RESPONSE) {
        write_response(batch, &job->response);
        totals_add_response(&batch->totals, &job->response);
    } else if (job->outcome == OUTCOME_DEAD_LETTER) {
        write_failure(batch, job);
    }
    show_progress(batch);
    session_release(batch->session, job);
}

static void take_line(struct batch *batch, struct bytes line)
{
    struct job *job = session_job(batch->session, line.size);
    struct error error = {0};
    if (job == NULL) {
        error_set(&error, ERROR_FATAL, NULL, NULL, "out of memory for a record of %zu bytes",
                  line.size);
        (void)fail(batch, &error);
        return;
    }
    job->source = (struct source){bytes_of(batch->input_path), 0, batch->lines_count++};
    switch (record_decode_request(batch->codec, line, job->arena, &job->request, &job->error)) {
    case DECODED:
    case DECODED_INVALID:
        session_intake(batch->session, job);
        return;
    case NEEDS_SCHEMA:
    case UNDECODABLE:
        (void)error_prefix(&job->error, "line %lld", (long long)line_reader_number(batch->reader));
        write_failure(batch, job);
        session_release(batch->session, job);
    }
}

/* The next line that is not empty, into batch->pending; false at the end or on failure. */
static bool read_line(struct batch *batch)
{
    struct error error = {0};
    while (!batch->is_at_end && !batch->has_failed) {
        struct bytes line = {NULL, 0};
        switch (line_reader_next(batch->reader, &line, &error)) {
        case LINE_READ:
            if (line.size > 0) {
                batch->pending = line;
                return true;
            }
            break;
        case LINE_TOO_LONG: {
            struct job job = {.error = error, .attempt = 1};
            job.source = (struct source){bytes_of(batch->input_path), 0, batch->lines_count++};
            write_failure(batch, &job);
            break;
        }
        case LINE_FAILED:
            return fail(batch, &error);
        case LINE_END:
            batch->is_at_end = true;
        }
    }
    return false;
}

static void fill(void *context)
{
    struct batch *batch = context;
    while (!batch->has_failed && (batch->pending.data != NULL || read_line(batch))) {
        if (!session_has_room(batch->session, batch->pending.size)) {
            return; // on_room calls again
        }
        struct bytes line = batch->pending;
        batch->pending = (struct bytes){NULL, 0};
        take_line(batch, line);
    }
}

static void on_fatal(void *context, const struct error *error)
{
    (void)fail(context, error);
}

static bool empty_output(struct batch *batch, struct error *error)
{
    struct stat status;
    int file = fileno(batch->output);
    if (batch->output == stdout || (fstat(file, &status) == 0 && !S_ISREG(status.st_mode)) ||
        ftruncate(file, 0) == 0) {
        return true;
    }
    return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot empty the output: %s",
                     strerror(errno));
}

/* Runs all lines through the session. */
static bool run_lines(struct batch *batch, struct error *error)
{
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0);
    struct session_end end = {on_outcome, fill, on_fatal, batch};
    bool is_open = session_open(&loop, batch->config, &end, &batch->session, error);
    bool is_started = is_open && empty_output(batch, error);
    if (is_started) {
        batch->started_ms = clock_monotonic_ms();
        fill(batch);
        while (!batch->has_failed && session_jobs(batch->session) > 0) {
            (void)uv_run(&loop, UV_RUN_ONCE);
        }
    }
    if (is_open) {
        session_close(batch->session);
    }
    CHECK(uv_loop_close(&loop) == 0);
    if (batch->has_failed) {
        *error = batch->error;
    }
    return is_started && !batch->has_failed;
}

/* Does not empty a file that is there: an earlier result outlives a mistake in the configuration.
 */
static bool open_output(struct batch *batch, const char *path, struct error *error)
{
    if (strcmp(path, "-") == 0) {
        batch->output = stdout;
        return true;
    }
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    batch->output = file < 0 ? NULL : fdopen(file, "wb");
    if (batch->output == NULL) {
        error_set(error, ERROR_CONFIG, NULL, NULL, "cannot write %s: %s", path, strerror(errno));
        if (file >= 0) {
            (void)close(file);
        }
        return false;
    }
    struct stat input;
    struct stat output;
    if (stat(batch->input_path, &input) == 0 && fstat(file, &output) == 0 &&
        S_ISREG(output.st_mode) && input.st_dev == output.st_dev && input.st_ino == output.st_ino) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s is the input and the output; give another name for the output", path);
    }
    return true;
}

static bool open_files(struct batch *batch, const char *output_path, bool with_metadata,
                       struct error *error)
{
    size_t bytes_max = (size_t)batch->config->record_bytes_max;
    struct record_codec_options codec = {.body_bytes_max = bytes_max,
                                         .writes_plain_json = !with_metadata};
    batch->codec = record_codec_open(&codec, error);
    if (batch->codec == NULL ||
        !line_reader_open(batch->input_path, bytes_max, &batch->reader, error)) {
        return false;
    }
    buffer_init(&batch->line, LINE_BYTES_MAX);
    return open_output(batch, output_path, error);
}

static bool close_output(struct batch *batch, struct error *error)
{
    FILE *output = batch->output;
    if (output == NULL) {
        return true;
    }
    batch->output = NULL;
    bool is_written = fflush(output) == 0;
    is_written = (output == stdout || fclose(output) == 0) && is_written;
    return is_written || error_set(error, ERROR_FATAL, NULL, NULL, "cannot write the output: %s",
                                   strerror(errno));
}

static void print_totals(const struct batch *batch, bool as_json, FILE *file)
{
    double seconds = (clock_monotonic_ms() - batch->started_ms) / 1e3;
    if (!as_json) {
        totals_print(&batch->totals, seconds, file);
        return;
    }
    json_t *json = totals_json(&batch->totals, seconds);
    (void)json_dumpf(json, file, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)fputc('\n', file);
    json_decref(json);
}

static int run_batch(struct options *options, const struct config *config, bool with_metadata)
{
    struct batch batch = {.config = config, .input_path = options->given[0]};
    struct error error = {0};
    bool is_done = open_files(&batch, options->given[1], with_metadata, &error);
    if (is_done) {
        log_set_level(options->wants_json ? LOG_WARN : LOG_INFO);
        progress_start(&batch.progress, "records", options->wants_json);
        is_done = run_lines(&batch, &error);
        progress_stop(&batch.progress);
    }
    is_done = close_output(&batch, is_done ? &error : NULL) && is_done;
    buffer_close(&batch.line);
    line_reader_close(batch.reader);
    record_codec_close(batch.codec);
    if (!is_done) {
        options_complain(options, "%s", error.message);
        return options_exit_code(&error);
    }
    // The results may be on stdout; then the totals go to stderr.
    bool is_stdout_taken = strcmp(options->given[1], "-") == 0;
    print_totals(&batch, options->wants_json, is_stdout_taken ? stderr : stdout);
    return totals_all_ok(&batch.totals) ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

int command_batch(int argc, char **argv)
{
    const char *model_path = NULL;
    bool with_metadata = false;
    const struct option_row rows[] = {
        {"model", "DIR", OPTION_TEXT, &model_path, 0, 0, "a model folder that answers every line"},
        {"metadata", NULL, OPTION_FLAG, &with_metadata, 0, 0,
         "keep Millrace's own fields: usage, timing, ..."},
    };
    struct options options = {
        .name = "batch",
        .arguments = "IN.jsonl OUT.jsonl",
        .about = "Answers a file of OpenAI Batch lines without Kafka. Lines come out as they\n"
                 "finish; match them on custom_id. \"-\" is stdin or stdout.\n"
                 "Exit code: 0 every line was answered with status 200, 1 some were not,\n"
                 "2 configuration or files.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    int exit_code = EXIT_CODE_OK;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    config->mode = MODE_ANSWER;
    struct error error = {0};
    if (model_path != NULL && !config_add_model(config, model_path, &error)) {
        options_complain(&options, "%s", error.message);
        exit_code = EXIT_CODE_USAGE;
    } else {
        exit_code = run_batch(&options, config, with_metadata);
    }
    config_close(config);
    return exit_code;
}
