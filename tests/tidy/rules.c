/* The rules: the tables are the policy, the functions only read them. */
#include "tests/tidy/rules.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_CHARACTERS = 100, FUNCTION_MAX_LINES = 70, FILE_MAX_LINES = 600 };

/* Which folder may include from which: the longest `from` that fits a path decides. */
static const struct layer {
    const char *from;
    const char *to[6];
} layers[] = {
    {"schemas/base/", {"schemas/base/"}},
    {"schemas/records/", {"schemas/"}},
    {"kernels/", {"kernels/", "schemas/base/"}},
    {"pipeline/text/", {"pipeline/text/", "schemas/base/"}},
    {"pipeline/openai/", {"pipeline/openai/", "pipeline/text/", "schemas/base/"}},
    {"pipeline/model/", {"pipeline/model/", "kernels/", "schemas/base/"}},
    {"pipeline/engine/", {"pipeline/engine/", "pipeline/model/", "kernels/", "schemas/base/"}},
    {"pipeline/compare/",
     {"pipeline/compare/", "pipeline/openai/", "pipeline/text/", "schemas/base/"}},
    {"pipeline/route/", {"pipeline/route/", "pipeline/openai/", "pipeline/text/", "schemas/base/"}},
    {"pipeline/", {"pipeline/", "kernels/", "schemas/base/"}},
    {"worker/", {"worker/", "pipeline/", "schemas/"}},
    {"bench/", {""}},
    {"tests/", {""}},
};

/* The folders that may include a third-party header; tests/ and bench/ may include any. */
static const struct third_party {
    const char *header;
    const char *folders[4];
} third_parties[] = {
    {"avro", {"schemas/records/"}},
    {"zstd", {"schemas/records/"}},
    {"oneapi/", {"kernels/"}},
    {"dnnl", {"kernels/"}},
    {"cuda", {"kernels/cuda/"}},
    {"cublas", {"kernels/cuda/"}},
    {"pcre2", {"pipeline/text/"}},
    {"utf8proc", {"pipeline/text/"}},
    {"librdkafka/", {"worker/"}},
    {"uv.h", {"worker/"}},
    {"curl/", {"worker/"}},
    {"microhttpd", {"worker/"}},
    {"yaml.h", {"worker/"}},
    {"cmocka", {"tests/"}},
    {"jansson", {"schemas/records/", "pipeline/", "worker/"}},
};

/* Calls that have a better replacement, and the folders where they are fine all the same. */
static const struct banned {
    const char *call;
    const char *instead;
    const char *allowed[4];
} banned_calls[] = {
    {"strcpy", "struct buffer, or memcpy with a checked length", {0}},
    {"strncpy", "struct buffer, or memcpy with a checked length", {0}},
    {"strcat", "struct buffer", {0}},
    {"strncat", "struct buffer", {0}},
    {"sprintf", "snprintf", {0}},
    {"vsprintf", "vsnprintf", {0}},
    {"gets", "fgets", {0}},
    {"strtok", "strcspn and strspn", {"tests/"}},
    {"atoi", "strtol with errno and the end pointer checked", {"tests/"}},
    {"atol", "strtol with errno and the end pointer checked", {0}},
    {"atof", "strtod with errno and the end pointer checked", {0}},
    {"alloca", "struct arena", {0}},
    {"printf", "an error for the caller; only worker/ prints", {"worker/", "tests/", "bench/"}},
    {"puts", "an error for the caller; only worker/ prints", {"worker/", "tests/", "bench/"}},
    {"perror", "an error for the caller; only worker/ prints", {"worker/", "tests/", "bench/"}},
    {"exit", "an error for the caller; only commands exit", {"worker/", "tests/", "bench/"}},
    {"abort", "CHECK", {"schemas/base/check.c", "tests/", "bench/"}},
    {"fprintf",
     "an error for the caller; only worker/ prints",
     {"worker/", "schemas/base/check.c", "tests/", "bench/"}},
};

static const char *const allocations[] = {"malloc", "calloc", "realloc",
                                          "free",   "strdup", "strndup"};

/* Memory comes and goes where an object is opened and closed: in a function whose name says so, */
static const char *const owning_verbs[] = {
    "open",   "close",   "closed",  "init", "reset", "start",    "stop",    "load",
    "unload", "create",  "destroy", "new",  "free",  "clone",    "main",    "parse",
    "build",  "reserve", "resize",  "grow", "alloc", "allocate", "release", "take",
};

/* or in a file on this list, or in a test. */
static const char *const allocators[] = {
    "schemas/base/arena.c",         // what the others allocate from
    "schemas/base/buffer.c",        // the same
    "schemas/records/writers.c",    // the table of schemas, which grows by what it meets
    "pipeline/text/bpe.c",          // the tables, built once when a tokenizer is opened
    "pipeline/text/unicode_form.c", // utf8proc allocates its result, which is copied and freed
    "worker/registry.c",            // one HTTP request, from asking to its answer
    "pipeline/model/safetensors.c", // the table of tensors, read when a model is opened
    "tests/",
    "bench/",
};

/* Words that may stand in a working copy and never on the main branch. Each is written in two
 * halves, so that this file passes its own rule. */
static const char *const leftovers[] = {"TO"
                                        "DO",
                                        "FIX"
                                        "ME",
                                        "X"
                                        "XX",
                                        "HA"
                                        "CK"};

/* Folders of one person's machine. */
static const char *const private_paths[] = {"/ho"
                                            "me/",
                                            "/ro"
                                            "ot/",
                                            "/wo"
                                            "rk/"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool starts_with_any(const char *text, const char *const *starts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (starts[i] != NULL && text_starts_with(text, starts[i])) {
            return true;
        }
    }
    return false;
}

static bool is_exempt(const char *path)
{
    return text_starts_with(path, "tests/") || text_starts_with(path, "bench/");
}

static const struct layer *layer_of(const char *path)
{
    for (size_t i = 0; i < COUNT(layers); i++) {
        if (text_starts_with(path, layers[i].from)) {
            return &layers[i];
        }
    }
    return NULL;
}

static void check_own_include(const struct source *source, const struct line *line,
                              const char *name, struct findings *findings)
{
    const struct layer *layer = layer_of(source->path);
    if (strchr(name, '/') == NULL || layer_of(name) == NULL) {
        findings_add(findings, source, line->number, "include \"%s\" is not written from the root",
                     name);
    } else if (layer != NULL && !starts_with_any(name, layer->to, COUNT(layer->to))) {
        findings_add(findings, source, line->number, "layering: %s may not include %s", layer->from,
                     name);
    }
}

static void check_foreign_include(const struct source *source, const struct line *line,
                                  const char *name, struct findings *findings)
{
    for (size_t i = 0; i < COUNT(third_parties); i++) {
        const struct third_party *party = &third_parties[i];
        if (text_starts_with(name, party->header) && !is_exempt(source->path) &&
            !starts_with_any(source->path, party->folders, COUNT(party->folders))) {
            findings_add(findings, source, line->number, "containment: <%s> belongs in %s only",
                         name, party->folders[0]);
        }
    }
}

static void check_includes(const struct source *source, struct findings *findings)
{
    struct line line = {0};
    while (line_next(source->text, &line)) {
        char name[256];
        char quote = 0;
        if (!line_include(&line, name, sizeof name, &quote)) {
            continue;
        }
        if (quote == '"') {
            check_own_include(source, &line, name, findings);
        } else {
            check_foreign_include(source, &line, name, findings);
        }
    }
}

static size_t characters(const struct line *line)
{
    size_t count = 0;
    for (size_t i = 0; i < line->length; i++) {
        count += ((unsigned char)line->text[i] & 0xC0) != 0x80; // not a UTF-8 continuation byte
    }
    return count;
}

static void check_lines(const struct source *source, struct findings *findings)
{
    struct line line = {0};
    while (line_next(source->text, &line)) {
        if (characters(&line) > LINE_MAX_CHARACTERS) {
            findings_add(findings, source, line.number, "line has %zu characters, the limit is %d",
                         characters(&line), LINE_MAX_CHARACTERS);
        }
    }
    if (line.number > FILE_MAX_LINES) {
        findings_add(findings, source, line.number, "file has %zu lines, the limit is %d",
                     line.number, FILE_MAX_LINES);
    }
}

static void check_function_length(const struct source *source, struct findings *findings)
{
    struct line line = {0};
    size_t start = 0;
    while (line_next(source->code, &line)) {
        if (line.text[0] == '{') {
            start = line.number;
        } else if (line.text[0] == '}' && start > 0) {
            if (line.number - start > FUNCTION_MAX_LINES) {
                findings_add(findings, source, start, "function has %zu lines, the limit is %d",
                             line.number - start, FUNCTION_MAX_LINES);
            }
            start = 0;
        }
    }
}

/* Whether `word` stands in the line as a word of its own; with `call`, followed by a parenthesis.
 */
static bool has_word(const struct line *line, const char *word, bool call)
{
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= line->length; i++) {
        const char *at = line->text + i;
        if (strncmp(at, word, length) == 0 && (i == 0 || !is_word(at[-1])) &&
            !is_word(at[length]) && (!call || at[length] == '(')) {
            return true;
        }
    }
    return false;
}

static void check_banned_calls(const struct source *source, struct findings *findings)
{
    struct line line = {0};
    while (line_next(source->code, &line)) {
        for (size_t i = 0; i < COUNT(banned_calls); i++) {
            const struct banned *banned = &banned_calls[i];
            if (has_word(&line, banned->call, true) &&
                !starts_with_any(source->path, banned->allowed, COUNT(banned->allowed))) {
                findings_add(findings, source, line.number, "%s is banned: use %s", banned->call,
                             banned->instead);
            }
        }
    }
}

/* Whether one of the words between the underscores of `name` is a verb of ownership. */
static bool is_owning(const char *name)
{
    for (size_t i = 0; i < COUNT(owning_verbs); i++) {
        size_t length = strlen(owning_verbs[i]);
        for (const char *at = strstr(name, owning_verbs[i]); at != NULL;
             at = strstr(at + 1, owning_verbs[i])) {
            bool starts = at == name || at[-1] == '_';
            bool ends = at[length] == '\0' || at[length] == '_';
            if (starts && ends) {
                return true;
            }
        }
    }
    return false;
}

static void check_allocations(const struct source *source, struct findings *findings)
{
    if (starts_with_any(source->path, allocators, COUNT(allocators))) {
        return;
    }
    struct line line = {0};
    char function[128] = "";
    while (line_next(source->code, &line)) {
        (void)line_function(&line, function, sizeof function);
        for (size_t i = 0; i < COUNT(allocations); i++) {
            if (has_word(&line, allocations[i], true) && !is_owning(function)) {
                findings_add(
                    findings, source, line.number,
                    "%s in %s: allocate where an object is opened or closed, or use an arena",
                    allocations[i], function);
            }
        }
    }
}

static void check_leftovers(const struct source *source, struct findings *findings)
{
    struct line line = {0};
    while (line_next(source->text, &line)) {
        for (size_t i = 0; i < COUNT(leftovers); i++) {
            if (has_word(&line, leftovers[i], false)) {
                findings_add(findings, source, line.number, "leftover: %s", leftovers[i]);
            }
        }
        for (size_t i = 0; i < COUNT(private_paths); i++) {
            const char *found = strstr(line.text, private_paths[i]);
            if (found != NULL && found < line.text + line.length) {
                findings_add(findings, source, line.number, "path of one machine: %s",
                             private_paths[i]);
            }
        }
    }
}

static void check_first_line(const struct source *source, struct findings *findings)
{
    static const char *const c_comments[] = {"/*", "//"};
    static const char *const script_comments[] = {"#", "\"\"\"", "<!--", "<?xml"};
    bool found = source_is_c(source)
                     ? starts_with_any(source->text, c_comments, COUNT(c_comments))
                     : starts_with_any(source->text, script_comments, COUNT(script_comments));
    if (!found) {
        findings_add(findings, source, 1,
                     "the first line must be a comment that says what the file is");
    }
}

/* Debian's libavro finds our symbol instead of jansson's when one starts with json_. */
static void check_json_symbols(const struct source *source, struct findings *findings)
{
    struct line line = {0};
    while (line_next(source->code, &line)) {
        char name[128];
        if (line_function(&line, name, sizeof name) && text_starts_with(name, "json_")) {
            findings_add(findings, source, line.number,
                         "%s would replace a symbol of jansson: rename it", name);
        }
    }
}

static void check_include_guard(const struct source *source, struct findings *findings)
{
    if (!source_is_header(source)) {
        return;
    }
    char guard[256];
    size_t length = 0;
    for (const char *at = source->path; *at != '\0' && length + 1 < sizeof guard; at++) {
        bool is_lower = *at >= 'a' && *at <= 'z';
        guard[length++] = (char)(is_lower ? *at - 'a' + 'A' : is_word(*at) ? *at : '_');
    }
    guard[length] = '\0';
    char expected[560];
    (void)snprintf(expected, sizeof expected, "#ifndef %s\n#define %s\n", guard, guard);
    if (strstr(source->code, expected) == NULL) {
        findings_add(findings, source, 1, "include guard %s is missing", guard);
    }
}

static const struct rule {
    void (*check)(const struct source *source, struct findings *findings);
    bool c_only;
} rules[] = {
    {check_includes, true},     {check_lines, false},       {check_function_length, true},
    {check_banned_calls, true}, {check_allocations, true},  {check_leftovers, false},
    {check_first_line, false},  {check_json_symbols, true}, {check_include_guard, true},
};

void rules_check(const struct source *source, struct findings *findings)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        if (source_is_c(source) || !rules[i].c_only) {
            rules[i].check(source, findings);
        }
    }
}
