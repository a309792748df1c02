/* options: rows become getopt_long's table; messages and help are ours. */
#include "worker/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "schemas/base/error.h"
#include "worker/config.h"

/* The options of every command come after the command's own. */
enum { COMMON_CONFIG, COMMON_SET, COMMON_JSON, COMMON_HELP, COMMON_COUNT };

static const struct option_row common_rows[COMMON_COUNT] = {
    [COMMON_CONFIG] = {"config", "FILE", OPTION_TEXT, .help = "settings, as YAML"},
    [COMMON_SET] = {"set", "KEY=VALUE", OPTION_TEXT, .help = "one setting; may be repeated"},
    [COMMON_JSON] = {"json", NULL, OPTION_FLAG, .help = NULL},
    [COMMON_HELP] = {"help", NULL, OPTION_FLAG, .help = "output for machines, this text"},
};

void options_complain(const struct options *options, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "millrace %s: ", options->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

int options_exit_code(const struct error *error)
{
    switch (error->kind) {
    case ERROR_NONE:
        return EXIT_CODE_OK;
    case ERROR_CONFIG:
    case ERROR_INVALID:
    case ERROR_NOT_FOUND:
    case ERROR_TOO_LARGE:
    case ERROR_UNDECODABLE:
        return EXIT_CODE_USAGE;
    case ERROR_BUSY:
    case ERROR_DEADLINE:
    case ERROR_CANCELLED:
    case ERROR_INTERNAL:
    case ERROR_UPSTREAM:
    case ERROR_FATAL:
        return EXIT_CODE_FAILED;
    }
    return EXIT_CODE_FAILED;
}

/* Rows without help stand on the line of the next that has some. */
static void print_rows(const struct option_row *rows, size_t count)
{
    char left[80];
    int size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct option_row *row = &rows[i];
        const char *argument = row->argument == NULL ? "" : row->argument;
        size +=
            snprintf(left + size, sizeof left - (size_t)size, "%s--%s%s%s", size == 0 ? "" : ", ",
                     row->name, argument[0] == '\0' ? "" : " ", argument);
        CHECK(size < (int)sizeof left);
        if (row->help != NULL) {
            printf("  %-26s %s\n", left, row->help);
            size = 0;
        }
    }
}

static void print_help(const struct options *options)
{
    printf("usage: millrace %s [options]%s%s\n\n%s\noptions:\n", options->name,
           options->arguments[0] == '\0' ? "" : " ", options->arguments, options->about);
    print_rows(options->rows, options->rows_count);
    print_rows(common_rows, COMMON_COUNT);
}

static bool read_number(const struct options *options, const struct option_row *row,
                        const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < row->min || number > row->max) {
        options_complain(options, "--%s is '%s', must be a number from %" PRId64 " to %" PRId64,
                         row->name, text, row->min, row->max);
        return false;
    }
    *(int64_t *)row->value = number;
    return true;
}

static bool take_row(const struct options *options, const struct option_row *row, const char *text)
{
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)row->value = true;
        return true;
    case OPTION_TEXT:
        *(const char **)row->value = text;
        return true;
    case OPTION_NUMBER:
        return read_number(options, row, text);
    }
    return false;
}

/* False ends the command with *exit_code_out. */
static bool take_common(struct options *options, int common, const char *text, int *exit_code_out)
{
    switch (common) {
    case COMMON_CONFIG:
        options->config_path = text;
        return true;
    case COMMON_SET:
        if (options->sets_count == OPTIONS_SETS_MAX) {
            options_complain(options, "--set is given more than %d times", OPTIONS_SETS_MAX);
            return false;
        }
        options->sets[options->sets_count++] = text;
        return true;
    case COMMON_JSON:
        options->wants_json = true;
        return true;
    default:
        print_help(options);
        *exit_code_out = EXIT_CODE_OK;
        return false;
    }
}

static void fill_long_options(const struct options *options, struct option *out)
{
    CHECK(options->rows_count <= OPTIONS_ROWS_MAX);
    for (size_t i = 0; i < options->rows_count + COMMON_COUNT; i++) {
        const struct option_row *row =
            i < options->rows_count ? &options->rows[i] : &common_rows[i - options->rows_count];
        out[i] = (struct option){
            .name = row->name,
            .has_arg = row->argument == NULL ? no_argument : required_argument,
        };
    }
    out[options->rows_count + COMMON_COUNT] = (struct option){0};
}

bool options_read(struct options *options, int argc, char **argv, int *exit_code_out)
{
    struct option long_options[OPTIONS_ROWS_MAX + COMMON_COUNT + 1];
    fill_long_options(options, long_options);
    *exit_code_out = EXIT_CODE_USAGE;
    opterr = 0;
    optind = 0; // glibc: start over, also after an earlier call
    int index = -1;
    int found;
    while ((found = getopt_long(argc, argv, ":", long_options, &index)) != -1) {
        if (found == ':' || found == '?') {
            options_complain(options, found == ':' ? "%s needs a value" : "no such option: %s",
                             argv[optind - 1]);
            fprintf(stderr, "see millrace %s --help\n", options->name);
            return false;
        }
        int common = index - (int)options->rows_count;
        if (common < 0 ? !take_row(options, &options->rows[index], optarg)
                       : !take_common(options, common, optarg, exit_code_out)) {
            return false;
        }
    }
    options->given = argv + optind;
    options->given_count = argc - optind;
    if (options->given_count < options->arguments_min ||
        options->given_count > options->arguments_max) {
        options_complain(options, "%d arguments are given; usage: millrace %s [options] %s",
                         options->given_count, options->name, options->arguments);
        return false;
    }
    return true;
}

struct config *options_config(const struct options *options)
{
    struct config *config = NULL;
    struct error error = {0};
    if (!config_open(options->config_path, options->sets, options->sets_count, &config, &error)) {
        options_complain(options, "%s", error.message);
        return NULL;
    }
    return config;
}
