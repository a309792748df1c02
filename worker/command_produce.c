/* produce: puts a run's requests on the request topic. */
#include "worker/command.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "schemas/records/headers.h"
#include "worker/config.h"
#include "worker/options.h"
#include "worker/produce.h"
#include "worker/replay_requests.h"

enum { FILES_MAX = 1024 };

struct produce_arguments {
    const char *input;
    const char *documents;
    const char *prompt;
    const char *model;
    const char *model_dir;
    const char *run_id;
    const char *topic; // NULL: the first
    const char *format;
    const char *manifest;
    const char *from; // NULL: requests alone
    bool skips_invalid;
    bool sends_missing;
};

static bool wire_format_named(const char *name, enum wire_format *format_out)
{
    static const char *const names[] = {
        [WIRE_JSON] = "json", [WIRE_AVRO] = "avro", [WIRE_CONFLUENT] = "confluent"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *format_out = (enum wire_format)i;
            return true;
        }
    }
    return false;
}

/* Unique enough for people: the time and the process. */
static void generate_run_id(char *run_id, size_t size)
{
    time_t now = time(NULL);
    struct tm utc;
    CHECK(gmtime_r(&now, &utc) != NULL);
    size_t length = strftime(run_id, size, "run-%Y%m%dT%H%M%SZ", &utc);
    (void)snprintf(run_id + length, size - length, "-%ld", (long)getpid());
}

static void print_result(const struct options *options, const struct produce_options *produce,
                         const struct produce_result *result)
{
    if (options->wants_json) {
        json_t *summary =
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:f}", "run_id", produce->run_id,
                      "topic", produce->topic, "records", (json_int_t)result->records, "present",
                      (json_int_t)result->present, "duplicates", (json_int_t)result->duplicates,
                      "invalid", (json_int_t)result->invalid, "ids_digest", result->digest, "bytes",
                      (json_int_t)result->bytes, "seconds", result->seconds);
        (void)json_dumpf(summary, stdout, JSON_COMPACT);
        (void)fputc('\n', stdout);
        json_decref(summary);
        return;
    }
    printf("run %s: %" PRId64 " records to %s, %" PRId64 " bytes in %.1f s\n", produce->run_id,
           result->records, produce->topic, result->bytes, result->seconds);
    if (produce->sends_missing) {
        printf("%" PRId64 " were there already\n", result->present);
    }
    if (result->invalid > 0 || result->duplicates > 0) {
        printf("%" PRId64 " invalid, not sent; %" PRId64 " with a custom_id that came before\n",
               result->invalid, result->duplicates);
    }
}

static bool choose_topic(const struct options *options, const char *wanted,
                         struct produce_options *produce)
{
    const struct config_names *topics = &produce->config->topics.requests;
    produce->topic = topics->items[0];
    for (size_t i = 0; wanted != NULL && i < topics->count; i++) {
        if (strcmp(topics->items[i], wanted) == 0) {
            produce->topic = topics->items[i];
            return true;
        }
    }
    if (wanted != NULL) {
        options_complain(options, "--topic %.249s is none of topics.requests", wanted);
    }
    return wanted == NULL;
}

/* Fills the options for produce from the command line. */
static bool fill_options(const struct options *options, const struct produce_arguments *arguments,
                         const char **files, struct produce_options *produce)
{
    size_t count = 0;
    if (arguments->input != NULL) {
        files[count++] = arguments->input;
    }
    for (int i = 0; i < options->given_count; i++) {
        files[count++] = options->given[i];
    }
    if ((count > 0) == (arguments->documents != NULL) ||
        (arguments->documents != NULL) != (arguments->prompt != NULL)) {
        options_complain(options, "give batch files, or --documents together with --prompt");
        return false;
    }
    if (arguments->model != NULL && arguments->documents == NULL) {
        options_complain(options, "--model is for --documents: batch lines name their own model");
        return false;
    }
    if (!wire_format_named(arguments->format, &produce->format)) {
        options_complain(options, "--format is %s, must be json, avro or confluent",
                         arguments->format);
        return false;
    }
    if (strlen(arguments->run_id) > RUN_ID_BYTES_MAX || arguments->run_id[0] == '\0') {
        options_complain(options, "--run-id must have 1 to %d bytes", RUN_ID_BYTES_MAX);
        return false;
    }
    produce->source.files = files;
    produce->source.files_count = count;
    produce->source.documents = arguments->documents;
    produce->source.prompt = arguments->prompt;
    produce->source.model = arguments->model;
    produce->source.record_bytes_max = (size_t)produce->config->record_bytes_max;
    produce->run_id = arguments->run_id;
    if (!choose_topic(options, arguments->topic, produce)) {
        return false;
    }
    produce->model_dir = arguments->model_dir;
    produce->manifest = arguments->manifest;
    produce->skips_invalid = arguments->skips_invalid;
    produce->sends_missing = arguments->sends_missing;
    produce->is_quiet = options->wants_json;
    produce->complaints = stderr;
    return true;
}

/* Requests and their recorded answers, joined, to topics.replay. */
static int run_joined(const struct options *options, const char *from, const struct config *config)
{
    if (strcmp(from, "openai-batch") != 0 || options->given_count != 2) {
        options_complain(options, "--from must be openai-batch, with two files: REQUESTS ANSWERS");
        return EXIT_CODE_USAGE;
    }
    struct replay_requests_options replay = {
        .config = config,
        .file = options->given[0],
        .answers = options->given[1],
        .filter = letter_filter_of_topics(NULL, 0),
        .share = 1,
        .is_quiet = options->wants_json,
    };
    return command_replay_joined(options, &replay);
}

static int run(const struct options *options, const struct produce_arguments *arguments,
               const struct config *config)
{
    const char *files[FILES_MAX + 1];
    struct produce_options produce = {.config = config};
    if (!fill_options(options, arguments, files, &produce)) {
        return EXIT_CODE_USAGE;
    }
    struct produce_result result;
    struct error error = {0};
    bool ok = produce_run(&produce, &result, &error);
    if (ok || result.records > 0) {
        print_result(options, &produce, &result);
    }
    if (!ok) {
        options_complain(options, "%s", error.message);
    }
    return ok && result.invalid > 0 ? EXIT_CODE_FAILED : options_exit_code(&error);
}

int command_produce(int argc, char **argv)
{
    char generated[64];
    generate_run_id(generated, sizeof generated);
    struct produce_arguments arguments = {.run_id = generated, .format = "json"};
    const char *generated_run_id = arguments.run_id;
    const struct option_row rows[] = {
        {"input", "FILE", OPTION_TEXT, &arguments.input, .help = "a batch file; or as an argument"},
        {"documents", "DIR", OPTION_TEXT, &arguments.documents,
         .help = "each file of a folder becomes a request"},
        {"prompt", "FILE", OPTION_TEXT, &arguments.prompt,
         .help = "JSON body with {{document}} in a text"},
        {"model", "NAME", OPTION_TEXT, &arguments.model, .help = "replaces the prompt's model"},
        {"run-id", "ID", OPTION_TEXT, &arguments.run_id, .help = "name of the run, else generated"},
        {"topic", "NAME", OPTION_TEXT, &arguments.topic,
         .help = "which of topics.requests, default the first"},
        {"manifest", "FILE", OPTION_TEXT, &arguments.manifest,
         .help = "a copy of what topics.runs gets"},
        {"format", "FORMAT", OPTION_TEXT, &arguments.format,
         .help = "json (the default), avro or confluent"},
        {"model-dir", "DIR", OPTION_TEXT, &arguments.model_dir,
         .help = "a request too long for this model is invalid"},
        {"skip-invalid", NULL, OPTION_FLAG, &arguments.skips_invalid,
         .help = "send the others when some are invalid"},
        {"from", "openai-batch", OPTION_TEXT, &arguments.from,
         .help = "joins REQUESTS ANSWERS, to topics.replay"},
        {"missing", NULL, OPTION_FLAG, &arguments.sends_missing,
         .help = "send what the run has not: after a break, or more"},
    };
    struct options options = {
        .name = "produce",
        .arguments = "[FILE...]",
        .about = "Puts requests of OpenAI batch files, or of a folder of documents, on a topic.\n"
                 "All is checked before anything is sent. The manifest goes to topics.runs.\n"
                 "Exit code: 0 all sent, 1 some invalid or not sent, 2 usage or configuration.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .arguments_max = FILES_MAX,
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    if (arguments.sends_missing && arguments.run_id == generated_run_id) {
        options_complain(&options, "--missing needs the --run-id of the run to go on with");
        return EXIT_CODE_USAGE;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    exit_code = arguments.from != NULL ? run_joined(&options, arguments.from, config)
                                       : run(&options, &arguments, config);
    curl_global_cleanup();
    config_close(config);
    return exit_code;
}
