/* collect: reads a run's results to a file and sums them up. */
#include "worker/command.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "schemas/base/check.h"
#include "worker/collect.h"
#include "worker/config.h"
#include "worker/id_set.h"
#include "worker/options.h"

enum { TIMEOUT_S_MAX = 7 * 24 * 3600 };

/* What a manifest says; the texts are borrowed from it. */
static bool read_manifest(const json_t *manifest, struct collect_options *collect)
{
    const char *run_id = json_string_value(json_object_get(manifest, "run_id"));
    const char *digest = json_string_value(json_object_get(manifest, "ids_digest"));
    const json_t *records = json_object_get(manifest, "records");
    if (run_id == NULL || digest == NULL || !json_is_integer(records) ||
        json_integer_value(records) < 0) {
        return false;
    }
    if (collect->run_id == NULL) {
        collect->run_id = run_id;
    }
    collect->digest = digest;
    collect->expected = json_integer_value(records);
    return true;
}

static bool is_clean(const struct collect_result *result)
{
    return totals_all_ok(&result->totals) && result->missing == 0 && result->unexpected == 0 &&
           result->duplicates == 0 && result->duplicate_ids == 0 && !result->has_other_ids;
}

static void print_json(const struct collect_options *collect, const struct collect_result *result)
{
    json_t *summary =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "run_id", collect->run_id, "expected",
                  (json_int_t)collect->expected, "missing", (json_int_t)result->missing,
                  "unexpected", (json_int_t)result->unexpected, "duplicates",
                  (json_int_t)result->duplicates, "duplicate_ids",
                  (json_int_t)result->duplicate_ids, "has_other_ids", (int)result->has_other_ids);
    json_t *totals = totals_json(&result->totals, result->seconds);
    (void)json_object_update(summary, totals);
    (void)json_dumpf(summary, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)fputc('\n', stdout);
    json_decref(totals);
    json_decref(summary);
}

static void print_text(const struct collect_options *collect, const struct collect_result *result)
{
    printf("run %s: %" PRId64 " of %" PRId64 " records have an outcome, %" PRId64 " missing\n",
           collect->run_id, result->totals.records, collect->expected, result->missing);
    totals_print(&result->totals, result->seconds, stdout);
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

static int run(const struct options *options, struct collect_options *collect)
{
    struct collect_result result;
    struct error error = {0};
    if (!collect_run(collect, &result, &error)) {
        options_complain(options, "%s", error.message);
        return options_exit_code(&error);
    }
    if (options->wants_json) {
        print_json(collect, &result);
    } else {
        print_text(collect, &result);
    }
    return is_clean(&result) ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

/* Reads the manifest, if there is one, and runs. */
static int run_manifest(const struct options *options, const char *path,
                        struct collect_options *collect)
{
    json_t *manifest = NULL;
    json_error_t reason = {0};
    int exit_code = EXIT_CODE_USAGE;
    if (path != NULL) {
        manifest = json_load_file(path, 0, &reason);
    }
    if (path != NULL && (manifest == NULL || !read_manifest(manifest, collect))) {
        options_complain(options, "%s is no manifest of `produce`%s%s", path,
                         reason.text[0] == '\0' ? "" : ": ", reason.text);
    } else if (collect->run_id == NULL || (path == NULL && collect->expected == 0)) {
        options_complain(options, "give --manifest, or --run-id and --count");
    } else {
        exit_code = run(options, collect);
    }
    json_decref(manifest);
    return exit_code;
}

int command_collect(int argc, char **argv)
{
    const char *manifest = NULL;
    int64_t timeout_s = 0;
    struct collect_options collect = {.digest = ""};
    const struct option_row rows[] = {
        {"run-id", "ID", OPTION_TEXT, &collect.run_id, .help = "the run; or of the manifest"},
        {"manifest", "FILE", OPTION_TEXT, &manifest, .help = "as `produce` wrote it"},
        {"count", "N", OPTION_NUMBER, &collect.expected, .min = 1, .max = INT64_MAX,
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
            "collect of a finished run writes the same.\n"
            "Exit code: 0 all answered, 1 some failed, missing or twice, 2 usage.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    collect.config = config;
    collect.timeout_ms = timeout_s * 1000;
    collect.is_quiet = options.wants_json;
    exit_code = run_manifest(&options, manifest, &collect);
    curl_global_cleanup();
    config_close(config);
    return exit_code;
}
