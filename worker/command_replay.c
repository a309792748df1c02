/* replay: sends again what was sent before: dead letters, or requests with their recorded answers.
 */
#include "worker/command.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/config.h"
#include "worker/options.h"
#include "worker/replay_letters.h"
#include "worker/replay_requests.h"

enum { REPLAYS_DEFAULT = 3, SPEED_MAX = 1000000, RATE_MAX = 10000000 };

struct replay_arguments {
    bool wants_dead_letters;
    bool wants_requests;
    const char *answers;
    const char *answers_topic;
    const char *sample;
    const char *speed;
    int64_t rate_max;
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

static bool read_fraction(const struct options *options, const char *name, const char *text,
                          double max, double *number_out)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number > 0 && number <= max)) {
        options_complain(options, "--%s is '%.40s', must be a number above 0, at most %g", name,
                         text, max);
        return false;
    }
    *number_out = number;
    return true;
}

static bool fill_requests(const struct options *options, const struct replay_arguments *arguments,
                          struct replay_requests_options *replay)
{
    const struct config_names *topics = &replay->config->topics.requests;
    replay->topic = arguments->topic == NULL ? topics->items[0] : arguments->topic;
    if (arguments->topic == NULL && topics->count > 1) {
        options_complain(options, "topics.requests are %zu: say which with --topic", topics->count);
        return false;
    }
    if (arguments->reason != NULL) {
        options_complain(options, "--reason is for --dead-letters");
        return false;
    }
    replay->answers = arguments->answers;
    replay->answers_topic = arguments->answers_topic;
    replay->rate_max = arguments->rate_max;
    bool is_max = strcmp(arguments->speed, "max") == 0;
    return read_fraction(options, "sample", arguments->sample, 1, &replay->share) &&
           (is_max || read_fraction(options, "speed", arguments->speed, SPEED_MAX, &replay->speed));
}

int command_replay_joined(const struct options *options,
                          const struct replay_requests_options *replay)
{
    struct replay_requests_result result;
    struct error error = {0};
    bool ok = replay_requests_run(replay, &result, &error);
    const char *topic = replay->config->topics.replay;
    if (options->wants_json) {
        json_t *summary = json_pack(
            "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "to", topic, "dry_run",
            (int)replay->is_dry, "answers", (json_int_t)result.answers, "matched",
            (json_int_t)result.matched, "sent", (json_int_t)result.sent, "without_answer",
            (json_int_t)result.without_answer, "undecodable", (json_int_t)result.undecodable,
            "refused", (json_int_t)result.refused, "seconds", result.seconds);
        (void)json_dumpf(summary, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        (void)fputc('\n', stdout);
        json_decref(summary);
    } else if (ok || result.sent > 0) {
        printf("%" PRId64 " requests match, %" PRId64 " %s to %s in %.1f s\n", result.matched,
               result.sent, replay->is_dry ? "would be sent" : "sent", topic, result.seconds);
        if (result.without_answer + result.undecodable > 0) {
            printf("%" PRId64 " have no answer, %" PRId64 " cannot be decoded\n",
                   result.without_answer, result.undecodable);
        }
        if (replay->is_dry) {
            printf("%" PRId64 " of them a local model would refuse\n", result.refused);
        }
    }
    if (!ok) {
        options_complain(options, "%s", error.message);
        return options_exit_code(&error);
    }
    return result.without_answer + result.undecodable > 0 ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int run_requests(const struct options *options, const struct replay_arguments *arguments,
                        const struct config *config)
{
    struct replay_requests_options replay = {
        .config = config,
        .filter = letter_filter_of_topics(NULL, 0),
        .is_dry = arguments->is_dry,
        .is_quiet = options->wants_json,
        .refusals = options->wants_json ? stderr : stdout,
    };
    if (!fill_filter(options, arguments, &replay.filter) ||
        !fill_requests(options, arguments, &replay)) {
        return EXIT_CODE_USAGE;
    }
    return command_replay_joined(options, &replay);
}

int command_replay(int argc, char **argv)
{
    struct replay_arguments arguments = {
        .partition = -1, .replays_max = REPLAYS_DEFAULT, .sample = "1", .speed = "max"};
    const struct option_row rows[] = {
        {"dead-letters", NULL, OPTION_FLAG, &arguments.wants_dead_letters,
         .help = "dead letters, back to their topic"},
        {"requests", NULL, OPTION_FLAG, &arguments.wants_requests,
         .help = "requests with recorded answers, to topics.replay"},
        {"answers", "FILE", OPTION_TEXT, &arguments.answers,
         .help = "answers: an OpenAI batch output file"},
        {"answers-topic", "TOPIC", OPTION_TEXT, &arguments.answers_topic,
         .help = "or the responses on this topic"},
        {"sample", "SHARE", OPTION_TEXT, &arguments.sample,
         .help = "of the requests, by the hash of the key; default: 1"},
        {"speed", "N", OPTION_TEXT, &arguments.speed,
         .help = "times the recorded spacing, or max (the default)"},
        {"rate", "N", OPTION_NUMBER, &arguments.rate_max, .min = 1, .max = RATE_MAX,
         .help = "at most so many requests a second"},
        {"run-id", "ID", OPTION_TEXT, &arguments.run_id, .help = NULL},
        {"reason", "CODE", OPTION_TEXT, &arguments.reason,
         .help = "only of this run, only of this error"},
        {"topic", "TOPIC", OPTION_TEXT, &arguments.topic,
         .help = "requests of this one; default: topics.requests"},
        {"partition", "N", OPTION_NUMBER, &arguments.partition, .min = 0, .max = INT32_MAX},
        {"offsets", "FIRST-LAST", OPTION_TEXT, &arguments.offsets,
         .help = "only requests of these"},
        {"since", "TIME", OPTION_TEXT, &arguments.since, .help = NULL},
        {"until", "TIME", OPTION_TEXT, &arguments.until,
         .help = "from, before: 2026-01-31[T22:15:00Z]"},
        {"max-replays", "N", OPTION_NUMBER, &arguments.replays_max, .min = 1, .max = REPLAYS_MAX,
         .help = "sends none back more often; default: 3"},
        {"dry-run", NULL, OPTION_FLAG, &arguments.is_dry,
         .help = "sends nothing; of requests, lists what is refused"},
    };
    struct options options = {
        .name = "replay",
        .arguments = "",
        .about = "Sends dead letters back to the topics they came from, byte for byte, each once;\n"
                 "or recorded requests, joined with recorded answers, to topics.replay.\n"
                 "Exit code: 0 all that match are sent, 1 some not, 2 usage.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    if (arguments.wants_dead_letters == arguments.wants_requests) {
        options_complain(&options, "say what: --dead-letters or --requests");
        return EXIT_CODE_USAGE;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    exit_code = arguments.wants_requests ? run_requests(&options, &arguments, config)
                                         : run_dead_letters(&options, &arguments, config);
    curl_global_cleanup();
    config_close(config);
    return exit_code;
}
