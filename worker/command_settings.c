/* settings: prints the reference pages; deploy/SETTINGS.md and deploy/METRICS.md are its output. */
#include "worker/command.h"

#include <stdio.h>

#include "schemas/base/buffer.h"
#include "worker/config.h"
#include "worker/metrics.h"
#include "worker/options.h"

enum { PAGE_BYTES_MAX = 1 << 20 };

int command_settings(int argc, char **argv)
{
    bool wants_metrics = false;
    const struct option_row rows[] = {
        {"metrics", NULL, OPTION_FLAG, &wants_metrics, .help = "the metrics instead"},
    };
    struct options options = {
        .name = "settings",
        .arguments = "",
        .about = "Prints every setting with its default, limits and meaning, as Markdown.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    struct buffer page;
    buffer_init(&page, PAGE_BYTES_MAX);
    if (wants_metrics) {
        metrics_write_reference(&page);
    } else {
        config_write_reference(&page);
    }
    struct bytes bytes = buffer_bytes(&page);
    bool ok = !buffer_failed(&page) && fwrite(bytes.data, 1, bytes.size, stdout) == bytes.size &&
              fflush(stdout) == 0;
    buffer_close(&page);
    if (!ok) {
        options_complain(&options, "the page could not be written");
    }
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}
