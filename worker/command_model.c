/* model: looks into a model folder before it is trusted. */
#include <stdio.h>
#include <string.h>

#include "worker/command.h"
#include "worker/model_check.h"
#include "worker/model_numbers.h"
#include "worker/model_text.h"
#include "worker/options.h"

struct request {
    const char *verb;
    const char *path;
    const char *adapter; // or NULL
    const struct config *config;
    bool only_last;
    bool as_json;
};

static bool run_verb(const struct request *request, struct error *error)
{
    const struct model_source source = {request->path, request->adapter};
    if (strcmp(request->verb, "check") == 0) {
        return model_check_print(request->path, request->adapter, request->as_json, error);
    }
    if (strcmp(request->verb, "tokenize") == 0) {
        return model_text_tokenize(request->path, error);
    }
    if (strcmp(request->verb, "render") == 0) {
        return model_text_render(request->path, error);
    }
    if (strcmp(request->verb, "logits") == 0) {
        return model_numbers_logits(&source, request->config, request->only_last, error);
    }
    if (strcmp(request->verb, "generate") == 0) {
        return model_numbers_generate(&source, request->config, error);
    }
    return error_set(error, ERROR_CONFIG, NULL, NULL,
                     "%s is not a verb; use check, tokenize, render, logits or generate",
                     request->verb);
}

/* --device NAME is --set engine.device=NAME. */
static bool add_device(struct options *options, char *setting, size_t size, const char *device)
{
    if (device == NULL) {
        return true;
    }
    int length = snprintf(setting, size, "engine.device=%s", device);
    if (length < 0 || (size_t)length >= size || options->sets_count == OPTIONS_SETS_MAX) {
        return false;
    }
    options->sets[options->sets_count++] = setting;
    return true;
}

int command_model(int argc, char **argv)
{
    const char *device = NULL;
    const char *adapter = NULL;
    bool only_last = false;
    char setting[64];
    const struct option_row rows[] = {
        {"device", "NAME", OPTION_TEXT, &device, 0, 0, "auto or cpu (engine.device)"},
        {"adapter", "DIR", OPTION_TEXT, &adapter, 0, 0,
         "check, logits, generate: a LoRA folder to merge"},
        {"last", NULL, OPTION_FLAG, &only_last, 0, 0, "logits: of the last position only"},
    };
    struct options options = {
        .name = "model",
        .arguments = "check|tokenize|render|logits|generate DIR",
        .about =
            "Looks into a model folder. check prints what it is; the others read JSON lines\n"
            "on stdin and write one line for each:\n"
            "  tokenize  {\"text\", \"add_special_tokens\": true} -> {\"ids\", \"decoded\"}\n"
            "  render    the template's variables -> {\"text\"}; DIR may be a .jinja file\n"
            "  logits    {\"ids\"} -> {\"logits\"}, a row per position\n"
            "  generate  {\"ids\", \"max_tokens\", \"temperature\": 0} or an OpenAI chat body\n"
            "            -> {\"ids\", \"text\", \"finish_reason\"}\n"
            "A bad line gives {\"error\"}. Exit code: 0, or 2 for a broken folder.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    int exit_code;
    if (!options_read(&options, argc, argv, &exit_code)) {
        return exit_code;
    }
    if (!add_device(&options, setting, sizeof setting, device)) {
        options_complain(&options, "--device %s is not a device", device);
        return EXIT_CODE_USAGE;
    }
    struct config *config = options_config(&options);
    if (config == NULL) {
        return EXIT_CODE_USAGE;
    }
    struct error error = {0};
    struct request request = {options.given[0], options.given[1], adapter,
                              config,           only_last,        options.wants_json};
    if (!run_verb(&request, &error)) {
        options_complain(&options, "%s", error.message);
    }
    exit_code = options_exit_code(&error);
    config_close(config);
    return exit_code;
}
