/* options: the command line of one command: options, arguments, help, errors.
 *
 *     static int64_t limit = 10;
 *     static const struct option_row rows[] = {
 *         {"limit", "N", OPTION_NUMBER, &limit, .min = 1, .max = 99, .help = "at most N lines"}};
 *     struct options options = {.name = "list", .rows = rows, .rows_count = 1, ...};
 *     int exit_code;
 *     if (!options_read(&options, argc, argv, &exit_code)) {
 *         return exit_code;
 *     }
 *
 * Every command has --config, --set, --json and --help. Thread: main, once, at start.
 */
#ifndef WORKER_OPTIONS_H
#define WORKER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1, // the work itself failed, in whole or in part
    EXIT_CODE_USAGE = 2,  // command line, configuration, or broken input
};

enum { OPTIONS_SETS_MAX = 64, OPTIONS_ROWS_MAX = 32 };

enum option_kind {
    OPTION_FLAG,   // value is a bool *, set to true
    OPTION_TEXT,   // value is a const char **, borrowed from argv; the last one wins
    OPTION_NUMBER, // value is an int64_t *, within [min, max]
};

struct option_row {
    const char *name;     // without the dashes
    const char *argument; // its name in the help, NULL for a flag
    enum option_kind kind;
    void *value; // untouched unless the option is given
    int64_t min, max;
    const char *help; // one line; NULL: on the line of the next row
};

struct options {
    // The command.
    const char *name;      // "work", as on the command line
    const char *arguments; // "IN.jsonl OUT.jsonl", "" for none
    const char *about;     // what it does, lines of at most 78 columns, each ended by \n
    const struct option_row *rows;
    size_t rows_count;
    int arguments_min, arguments_max;

    // What was given; borrowed from argv.
    const char *config_path; // NULL = none
    const char *sets[OPTIONS_SETS_MAX];
    size_t sets_count;
    bool wants_json;
    char **given; // [given_count] the arguments
    int given_count;
};

/* argv[0] is the command's name. False when the command ends here: after --help, or after a mistake
 * that has been told on stderr; *exit_code_out is then what main returns. */
bool options_read(struct options *options, int argc, char **argv, int *exit_code_out);

struct config;
struct error;

/* The configuration that --config, MILLRACE_* and --set give; NULL after one line on stderr, for
 * which the exit code is EXIT_CODE_USAGE. */
struct config *options_config(const struct options *options);

/* "millrace NAME: message" on stderr. */
void options_complain(const struct options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The exit code for an error: 2 for configuration and broken input, otherwise 1. */
int options_exit_code(const struct error *error);

#endif
