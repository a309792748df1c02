/* millrace: one program, with commands in the style of git. */
#include "worker/command.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/openai/parse_memory.h"
#include "worker/options.h"

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"produce", "puts requests on a Kafka topic", command_produce},
    {"collect", "reads the results of a run", command_collect},
    {"replay", "sends dead letters back to their topic", command_replay},
    {"broker", "runs a Kafka broker in memory, for trials", command_broker},
    {"work", "answers the requests of a Kafka topic", command_work},
    {"batch", "answers a file of OpenAI Batch lines, without Kafka", command_batch},
    {"model", "looks into a model folder: check, tokenize, render, logits, ...", command_model},
    {"score", "compares pairs of texts: ROUGE, fields, JSON Schema, ...", command_score},
    {"settings", "prints the reference of all settings, metrics or scores", command_settings},
};

enum { COMMANDS_COUNT = sizeof commands / sizeof commands[0] };

static void print_help(FILE *file)
{
    fprintf(file, "usage: millrace COMMAND [options] [arguments]\n\n"
                  "Answers OpenAI-format requests from Kafka with local models.\n\ncommands:\n");
    for (int i = 0; i < COMMANDS_COUNT; i++) {
        fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(file, "\nmillrace COMMAND --help says more; millrace --version prints the version\n");
}

int main(int argc, char **argv)
{
    parse_memory_watch(NULL);
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return EXIT_CODE_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("millrace %s\n", MILLRACE_VERSION);
        return EXIT_CODE_OK;
    }
    for (int i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    if (name[0] == '\0') {
        print_help(stderr);
    } else {
        fprintf(stderr, "millrace: no such command: %s (see millrace --help)\n", name);
    }
    return EXIT_CODE_USAGE;
}
