/* collect: reads a run's results to a file and sums them up. */
#include "worker/command.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "schemas/base/check.h"
#include "worker/collect.h"
#include "worker/config.h"
#include "worker/manifest.h"
#include "worker/options.h"
#include "worker/runs.h"

enum { TIMEOUT_S_MAX = 7 * 24 * 3600, NAMED_MAX = 20 };

/* Where the run's records and count come from. */
struct collect_arguments {
    const char *run_id;
    const char *manifest;
    int64_t count;
};

static bool is_clean(const struct collect_result *result)
{
    return totals_all_ok(&result->totals) && result->missing == 0 && result->unexpected == 0 &&
           result->duplicates == 0 && result->duplicate_ids == 0 && !result->has_other_ids;
}

static void print_json(const struct collect_options *collect, const struct collect_result *result)
{
    json_t *summary = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:O*}", "run_id", collect->run_id,
        "expected", (json_int_t)collect->expected, "missing", (json_int_t)result->missing, "unsent",
        (json_int_t)result->unsent, "unexpected", (json_int_t)result->unexpected, "duplicates",
        (json_int_t)result->duplicates, "duplicate_ids", (json_int_t)result->duplicate_ids,
        "replayed", (json_int_t)result->superseded, "recovered", (json_int_t)result->recovered,
        "has_other_ids", (int)result->has_other_ids, "missing_named", result->missing_named);
    json_t *totals = totals_json(&result->totals, result->seconds);
    (void)json_object_update(summary, totals);
    (void)json_dumpf(summary, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)fputc('\n', stdout);
    json_decref(totals);
    json_decref(summary);
}

static void print_missing(const struct collect_result *result)
{
    if (result->naming.kind != ERROR_NONE) {
        printf("their ids are not known: %s\n", result->naming.message);
        return;
    }
    size_t index;
    const json_t *missing;
    json_array_foreach (result->missing_named, index, missing) {
        if (index == NAMED_MAX) {
            printf("missing: more of them; --json names %d\n", COLLECT_NAMED_MAX);
            break;
        }
        printf("missing: %s (partition %" JSON_INTEGER_FORMAT " offset %" JSON_INTEGER_FORMAT ")\n",
               json_string_value(json_object_get(missing, "custom_id")),
               json_integer_value(json_object_get(missing, "partition")),
               json_integer_value(json_object_get(missing, "offset")));
    }
    if (result->unsent > 0) {
        printf("%" PRId64 " of them are not on the request topic: `produce --missing` sends them\n",
               result->unsent);
    }
}

static void print_text(const struct collect_options *collect, const struct collect_result *result)
{
    int64_t have = result->missing < collect->expected ? collect->expected - result->missing : 0;
    printf("run %s: %" PRId64 " of %" PRId64 " records have their outcome, %" PRId64 " missing\n",
           collect->run_id, have, collect->expected, result->missing);
    if (result->missing > 0) {
        print_missing(result);
    }
    totals_print(&result->totals, result->seconds, stdout);
    if (result->superseded > 0) {
        printf("%" PRId64 " dead letters were sent back; their later outcome counts\n",
               result->superseded);
    }
    if (result->unexpected > 0) {
        printf("%" PRId64 " more than expected\n", result->unexpected);
    }
    if (result->duplicates > 0) {
        printf("%" PRId64 " outcomes came more than once; the file has the first\n",
               result->duplicates);
    }
    if (result->duplicate_ids > 0) {
        printf("%" PRId64 " records have a custom_id that another record of the run has too\n",
               result->duplicate_ids);
    }
    if (result->has_other_ids) {
        printf("the custom_ids are not those of the manifest\n");
    }
}

static int run(const struct options *options, const struct collect_options *collect)
{
    struct collect_result result;
    struct error error = {0};
    if (!collect_run(collect, &result, &error)) {
        options_complain(options, "%s", error.message);
        collect_result_close(&result);
        return options_exit_code(&error);
    }
    if (options->wants_json) {
        print_json(collect, &result);
    } else {
        print_text(collect, &result);
    }
    int exit_code = is_clean(&result) ? EXIT_CODE_OK : EXIT_CODE_FAILED;
    collect_result_close(&result);
    return exit_code;
}

/* Fills in what is known of the run: from the command line, the file, and topics.runs. */
static bool find_run(const struct collect_arguments *arguments, struct manifest *manifest,
                     struct collect_options *collect, struct error *error)
{
    bool is_counted = arguments->manifest == NULL && arguments->count > 0;
    if (arguments->manifest != NULL) {
        if (!manifest_load(arguments->manifest, manifest, error)) {
            return false;
        }
        if (collect->run_id == NULL) {
            collect->run_id = manifest->run_id;
        }
    }
    struct manifest *found = manifest_open();
    struct run_state state = {0};
    bool ok = found != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    ok = ok && runs_find(collect->config, collect->run_id, found, &state, error);
    if (ok && arguments->manifest == NULL && !is_counted) {
        *manifest = *found;
        ok = state.has_manifest ||
             error_set(error, ERROR_NOT_FOUND, NULL, NULL,
                       "topic %s has no manifest of run %s: is it the run's id? --count says how "
                       "many records a run has that `produce` did not send",
                       collect->config->topics.runs, collect->run_id);
    }
    manifest_close(found);
    collect->replayed = state.replayed;
    collect->expected = is_counted ? arguments->count : manifest->records;
    collect->digest = is_counted ? "" : manifest->digest;
    collect->manifest = is_counted ? NULL : manifest;
    return ok;
}

static int find_and_run(const struct options *options, const struct collect_arguments *arguments,
                        struct collect_options *collect)
{
    struct error error = {0};
    struct manifest *manifest = manifest_open();
    int exit_code;
    if (manifest == NULL) {
        options_complain(options, "out of memory");
        exit_code = EXIT_CODE_FAILED;
    } else if (find_run(arguments, manifest, collect, &error)) {
        exit_code = run(options, collect);
    } else {
        options_complain(options, "%s", error.message);
        exit_code = options_exit_code(&error);
    }
    manifest_close(manifest);
    return exit_code;
}

int command_collect(int argc, char **argv)
{
    struct collect_arguments arguments = {0};
    struct collect_options collect = {0};
    int64_t timeout_s = 0;
    const struct option_row rows[] = {
        {"run-id", "ID", OPTION_TEXT, &arguments.run_id, .help = "the run"},
        {"manifest", "FILE", OPTION_TEXT, &arguments.manifest,
         .help = "as `produce` wrote it, instead of topics.runs'"},
        {"count", "N", OPTION_NUMBER, &arguments.count, .min = 1, .max = INT32_MAX,
         .help = "records of the run, without a manifest"},
        {"output", "FILE", OPTION_TEXT, &collect.output,
         .help = "OpenAI batch output lines, by source"},
        {"timeout", "SECONDS", OPTION_NUMBER, &timeout_s, .min = 1, .max = TIMEOUT_S_MAX,
         .help = "waits no longer; default: for ever"},
    };
    struct options options = {
        .name = "collect",
        .arguments = "",
        .about =
            "Reads the responses and dead letters of a run until each record has its outcome.\n"
            "The file is in the order of the requests' topic, partition and offset, so each\n"
            "collect of a finished run writes the same. One that died or ran out of time is\n"
            "gone on with from FILE.partial.\n"
            "Exit code: 0 all answered, 1 some failed, missing or twice, 2 usage.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    if (arguments.run_id == NULL && arguments.manifest == NULL) {
        options_complain(&options, "give --run-id, or --manifest");
        return EXIT_CODE_USAGE;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    collect.config = config;
    collect.run_id = arguments.run_id;
    collect.timeout_ms = timeout_s * 1000;
    collect.is_quiet = options.wants_json;
    exit_code = find_and_run(&options, &arguments, &collect);
    curl_global_cleanup();
    config_close(config);
    return exit_code;
}
