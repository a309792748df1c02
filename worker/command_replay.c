/* replay: sends again what was sent before: dead letters. */
#include "worker/command.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "worker/config.h"
#include "worker/options.h"
#include "worker/replay_letters.h"

enum { REPLAYS_DEFAULT = 3 };

struct replay_arguments {
    bool wants_dead_letters;
    const char *topic;
    const char *run_id;
    const char *reason;
    const char *offsets;
    const char *since;
    const char *until;
    int64_t partition;
    int64_t replays_max;
    bool is_dry;
};

static bool read_time(const struct options *options, const char *name, const char *text,
                      int64_t *time_ms_out)
{
    if (text == NULL || letter_filter_parse_time(text, time_ms_out)) {
        return true;
    }
    options_complain(options, "--%s is '%s', must be like 2026-01-31 or 2026-01-31T22:15:00Z", name,
                     text);
    return false;
}

static bool fill_filter(const struct options *options, const struct replay_arguments *arguments,
                        struct letter_filter *filter)
{
    filter->run_id = arguments->run_id;
    filter->reason = arguments->reason;
    filter->partition = arguments->partition;
    if (arguments->offsets != NULL && !letter_filter_parse_offsets(filter, arguments->offsets)) {
        options_complain(options, "--offsets is '%s', must be like 7 or 7-12", arguments->offsets);
        return false;
    }
    if (arguments->offsets != NULL && arguments->partition < 0) {
        options_complain(options, "--offsets needs --partition");
        return false;
    }
    return read_time(options, "since", arguments->since, &filter->since_ms) &&
           read_time(options, "until", arguments->until, &filter->until_ms);
}

static void print_result(const struct options *options, const struct replay_options *replay,
                         const struct replay_result *result)
{
    if (options->wants_json) {
        json_t *summary = json_pack(
            "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:f}", "from", replay->config->topics.dead_letters,
            "dry_run", (int)replay->is_dry, "matched", (json_int_t)result->matched, "sent",
            (json_int_t)result->sent, "sent_before", (json_int_t)result->sent_before, "exhausted",
            (json_int_t)result->exhausted, "without_value", (json_int_t)result->without_value,
            "seconds", result->seconds);
        (void)json_dumpf(summary, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        (void)fputc('\n', stdout);
        json_decref(summary);
        return;
    }
    printf("%" PRId64 " dead letters match, %" PRId64 " %s back\n", result->matched, result->sent,
           replay->is_dry ? "would be sent" : "sent");
    if (result->sent_before > 0) {
        printf("%" PRId64 " were sent back before\n", result->sent_before);
    }
    if (result->exhausted > 0) {
        printf("%" PRId64 " have failed again after %" PRId64 " times, --max-replays\n",
               result->exhausted, replay->replays_max);
    }
    if (result->without_value > 0) {
        printf("%" PRId64 " have no value: it was too large for their topic, or never there\n",
               result->without_value);
    }
}

static int run_dead_letters(const struct options *options, const struct replay_arguments *arguments,
                            const struct config *config)
{
    char *only[] = {(char *)(uintptr_t)arguments->topic};
    const struct config_names *all = &config->topics.requests;
    struct replay_options replay = {
        .config = config,
        .filter = arguments->topic == NULL ? letter_filter_of_topics(all->items, all->count)
                                           : letter_filter_of_topics(only, 1),
        .replays_max = arguments->replays_max,
        .is_dry = arguments->is_dry,
        .is_quiet = options->wants_json,
    };
    if (!fill_filter(options, arguments, &replay.filter)) {
        return EXIT_CODE_USAGE;
    }
    struct replay_result result;
    struct error error = {0};
    bool ok = replay_letters_run(&replay, &result, &error);
    if (ok || result.sent > 0) {
        print_result(options, &replay, &result);
    }
    if (!ok) {
        options_complain(options, "%s", error.message);
        return options_exit_code(&error);
    }
    return result.exhausted + result.without_value > 0 ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

int command_replay(int argc, char **argv)
{
    struct replay_arguments arguments = {.partition = -1, .replays_max = REPLAYS_DEFAULT};
    const struct option_row rows[] = {
        {"dead-letters", NULL, OPTION_FLAG, &arguments.wants_dead_letters,
         .help = "dead letters, back to their topic"},
        {"run-id", "ID", OPTION_TEXT, &arguments.run_id, .help = "only of this run"},
        {"reason", "CODE", OPTION_TEXT, &arguments.reason,
         .help = "only of this error, such as undecodable"},
        {"topic", "TOPIC", OPTION_TEXT, &arguments.topic,
         .help = "requests of this one; default: topics.requests"},
        {"partition", "N", OPTION_NUMBER, &arguments.partition, .min = 0, .max = INT32_MAX,
         .help = "only requests of this partition"},
        {"offsets", "FIRST-LAST", OPTION_TEXT, &arguments.offsets, .help = "and of these offsets"},
        {"since", "TIME", OPTION_TEXT, &arguments.since,
         .help = "letters from then on: 2026-01-31[T22:15:00Z]"},
        {"until", "TIME", OPTION_TEXT, &arguments.until, .help = "letters before then"},
        {"max-replays", "N", OPTION_NUMBER, &arguments.replays_max, .min = 1, .max = REPLAYS_MAX,
         .help = "sends none back more often; default: 3"},
        {"dry-run", NULL, OPTION_FLAG, &arguments.is_dry, .help = "counts, and sends nothing"},
    };
    struct options options = {
        .name = "replay",
        .arguments = "",
        .about = "Sends dead letters back to the topics they came from, byte for byte, each\n"
                 "once, however often this runs. Afterwards `collect` takes their new outcome.\n"
                 "Exit code: 0 all that match are sent, 1 some not, 2 usage.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    if (!arguments.wants_dead_letters) {
        options_complain(&options, "say what: --dead-letters");
        return EXIT_CODE_USAGE;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    exit_code = run_dead_letters(&options, &arguments, config);
    config_close(config);
    return exit_code;
}
