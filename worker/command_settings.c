/* settings: prints the reference pages, which deploy/SETTINGS.md, METRICS.md and SCORES.md are, or
 * the values that a configuration gives. */
#include "worker/command.h"

#include <stdio.h>

#include "pipeline/compare/score.h"
#include "schemas/base/buffer.h"
#include "worker/config.h"
#include "worker/metrics.h"
#include "worker/options.h"

enum { PAGE_BYTES_MAX = 1 << 20 };

static bool print_page(const struct buffer *page)
{
    struct bytes bytes = buffer_bytes(page);
    return !buffer_failed(page) && fwrite(bytes.data, 1, bytes.size, stdout) == bytes.size &&
           fflush(stdout) == 0;
}

int command_settings(int argc, char **argv)
{
    bool wants_metrics = false;
    bool wants_scores = false;
    const struct option_row rows[] = {
        {"metrics", NULL, OPTION_FLAG, &wants_metrics, .help = "print the metrics instead"},
        {"scores", NULL, OPTION_FLAG, &wants_scores, .help = "print the scores instead"},
    };
    struct options options = {
        .name = "settings",
        .arguments = "",
        .about = "Prints every setting with its default, limits and meaning, as Markdown. With\n"
                 "--json, prints the values that --config, the environment and --set give.\n"
                 "A mistake in any of them is told and ends with exit code 2.\n",
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
    struct buffer page;
    buffer_init(&page, PAGE_BYTES_MAX);
    if (wants_metrics) {
        metrics_write_reference(&page);
    } else if (wants_scores) {
        score_write_reference(&page);
    } else if (options.wants_json) {
        config_write_json(config, &page);
    } else {
        config_write_reference(&page);
    }
    bool ok = print_page(&page);
    if (!ok) {
        options_complain(&options, "the page could not be written");
    }
    buffer_close(&page);
    config_close(config);
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}
