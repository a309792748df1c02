/* chat_template: the files of a model folder, and one render. */
#include "pipeline/text/chat_template.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/text/jinja_exec.h"
#include "pipeline/text/jinja_parser.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_tojson.h"
#include "schemas/base/check.h"

enum {
    SOURCE_BYTES_MAX = 4 << 20,  // of a template; the longest known has 17 KB
    CONFIG_BYTES_MAX = 64 << 20, // of tokenizer_config.json, which lists every added token
    PATH_BYTES_MAX = 4096,
};

struct chat_template {
    struct arena *arena;         // of both trees
    struct jinja_node *body;     // NULL for an empty template
    struct jinja_node *tool_use; // for requests with tools, where has_tool_use
    bool has_tool_use;
    json_t *special_tokens; // object, or NULL
    bool takes_tools;
    uint64_t hash; // of the sources
    bool has_fixed_time;
    time_t fixed_time;
};

static struct chat_template *new_template(struct error *error)
{
    struct chat_template *chat_template = calloc(1, sizeof *chat_template);
    if (chat_template != NULL) {
        chat_template->arena = arena_open(JINJA_TEMPLATE_BYTES_MAX);
    }
    if (chat_template == NULL || chat_template->arena == NULL) {
        (void)error_set(error, ERROR_FATAL, "out_of_memory", NULL,
                        "out of memory for a chat template");
        chat_template_close(chat_template);
        return NULL;
    }
    return chat_template;
}

void chat_template_close(struct chat_template *chat_template)
{
    if (chat_template == NULL) {
        return;
    }
    json_decref(chat_template->special_tokens);
    arena_close(chat_template->arena);
    free(chat_template);
}

uint64_t chat_template_hash(const struct chat_template *chat_template)
{
    return chat_template->hash;
}

void chat_template_fix_time(struct chat_template *chat_template, int64_t unix_time_s)
{
    chat_template->has_fixed_time = true;
    chat_template->fixed_time = (time_t)unix_time_s;
}

bool chat_template_takes_tools(const struct chat_template *chat_template)
{
    return chat_template->takes_tools;
}

static bool parse(struct chat_template *chat_template, struct bytes source, struct jinja_node **out,
                  struct error *error)
{
    if (source.size > SOURCE_BYTES_MAX) {
        return error_set(error, ERROR_CONFIG, "invalid_template", NULL,
                         "a chat template may have %d bytes, this one has %zu", SOURCE_BYTES_MAX,
                         source.size);
    }
    chat_template->takes_tools =
        chat_template->takes_tools || jinja_find(source, bytes_of("tools"), 0) != SIZE_MAX;
    chat_template->hash = XXH3_64bits_withSeed(source.data, source.size, chat_template->hash);
    return jinja_parse(chat_template->arena, source, out, error);
}

bool chat_template_parse(struct bytes source, struct chat_template **out, struct error *error)
{
    struct chat_template *chat_template = new_template(error);
    if (chat_template == NULL) {
        return false;
    }
    if (!parse(chat_template, source, &chat_template->body, error)) {
        chat_template_close(chat_template);
        return false;
    }
    *out = chat_template;
    return true;
}

/* The bytes of a file of the folder. *is_absent_out: there is no such file, which is no error. */
static bool read_file(const char *folder, const char *name, struct buffer *out, bool *is_absent_out,
                      struct error *error)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", folder, name);
    *is_absent_out = false;
    if (size < 0 || (size_t)size >= sizeof path) {
        return error_set(error, ERROR_CONFIG, "invalid_model", NULL,
                         "the path of the model folder is longer than %d bytes", PATH_BYTES_MAX);
    }
    // Not blocking, for what is no file: a pipe would wait for its other end.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
    if (file == NULL) {
        *is_absent_out = errno == ENOENT;
        return *is_absent_out || error_set(error, ERROR_CONFIG, "invalid_model", NULL,
                                           "cannot open %s: errno %d", path, errno);
    }
    char block[16384];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0 && !buffer_failed(out);) {
        buffer_append(out, block, got);
    }
    bool has_failed = ferror(file) != 0;
    fclose(file);
    if (has_failed) {
        return error_set(error, ERROR_CONFIG, "invalid_model", NULL, "cannot read %s", path);
    }
    return !buffer_failed(out) ||
           error_set(error, ERROR_CONFIG, "invalid_model", NULL,
                     "%s is larger than the %zu bytes that are read of it", path, out->size_max);
}

/* tokenizer_config.json; NULL in *out where there is none. */
static bool load_config(const char *folder, json_t **out, struct error *error)
{
    struct buffer text;
    bool is_absent;
    buffer_init(&text, CONFIG_BYTES_MAX);
    *out = NULL;
    bool loaded = read_file(folder, "tokenizer_config.json", &text, &is_absent, error);
    if (loaded && !is_absent) {
        json_error_t fault;
        struct bytes bytes = buffer_bytes(&text);
        *out = json_loadb(bytes.data, bytes.size, 0, &fault);
        loaded = json_is_object(*out) ||
                 error_set(error, ERROR_CONFIG, "invalid_model", NULL,
                           "%s/tokenizer_config.json is not a JSON object (line %d)", folder,
                           *out == NULL ? fault.line : 1);
    }
    buffer_close(&text);
    return loaded;
}

/* A token is a string or {"content": ...}. */
static const char *token_text(const json_t *token)
{
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

static bool add_token(json_t *tokens, const char *name, const json_t *token)
{
    const char *text = token_text(token);
    return text == NULL || json_object_set_new(tokens, name, json_string(text)) == 0;
}

static bool add_additional_tokens(json_t *tokens, const json_t *config)
{
    const json_t *from = json_object_get(config, "additional_special_tokens");
    if (!json_is_array(from)) {
        return true;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(from); i++) {
        const char *text = token_text(json_array_get(from, i));
        if (text != NULL && json_array_append_new(list, json_string(text)) != 0) {
            json_decref(list);
            return false;
        }
    }
    return json_object_set_new(tokens, "additional_special_tokens", list) == 0;
}

/* What transformers calls the special tokens map, which is passed to every render. */
static bool read_special_tokens(const json_t *config, json_t **out, struct error *error)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    json_t *tokens = json_object();
    bool added = tokens != NULL && add_additional_tokens(tokens, config);
    for (size_t i = 0; added && i < sizeof names / sizeof *names; i++) {
        added = add_token(tokens, names[i], json_object_get(config, names[i]));
    }
    *out = tokens;
    return added || error_set(error, ERROR_FATAL, "out_of_memory", NULL,
                              "out of memory for the special tokens of a model");
}

/* `chat_template` as a list: the templates named "default" and "tool_use". */
static bool parse_named(struct chat_template *chat_template, const json_t *list,
                        struct error *error)
{
    bool has_default = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *text = json_string_value(json_object_get(entry, "template"));
        if (name == NULL || text == NULL) {
            return error_set(error, ERROR_CONFIG, "invalid_template", NULL,
                             "entry %zu of chat_template must have a name and a template", i);
        }
        bool is_default = strcmp(name, "default") == 0;
        bool is_tool_use = strcmp(name, "tool_use") == 0;
        has_default |= is_default;
        chat_template->has_tool_use |= is_tool_use;
        if ((is_default || is_tool_use) &&
            !parse(chat_template, bytes_of(text),
                   is_default ? &chat_template->body : &chat_template->tool_use, error)) {
            return error_prefix(error, "%s", name);
        }
    }
    return has_default || error_set(error, ERROR_CONFIG, "invalid_template", NULL,
                                    "chat_template has no template with the name default");
}

static bool parse_configured(struct chat_template *chat_template, const char *folder,
                             const json_t *config, struct error *error)
{
    const json_t *source = json_object_get(config, "chat_template");
    if (json_is_string(source)) {
        return parse(chat_template, bytes_of(json_string_value(source)), &chat_template->body,
                     error);
    }
    if (json_is_array(source)) {
        return parse_named(chat_template, source, error);
    }
    if (source != NULL && !json_is_null(source)) {
        return error_set(error, ERROR_CONFIG, "invalid_template", NULL,
                         "chat_template in tokenizer_config.json must be a text or a list");
    }
    return error_set(error, ERROR_NOT_FOUND, "no_chat_template", NULL,
                     "%s has neither chat_template.jinja nor chat_template in "
                     "tokenizer_config.json: add one, or use /v1/completions",
                     folder);
}

static bool load(struct chat_template *chat_template, const char *folder, struct error *error)
{
    json_t *config = NULL;
    struct buffer source;
    bool is_absent;
    buffer_init(&source, SOURCE_BYTES_MAX);
    bool loaded = load_config(folder, &config, error) &&
                  read_special_tokens(config, &chat_template->special_tokens, error) &&
                  read_file(folder, "chat_template.jinja", &source, &is_absent, error);
    if (loaded) {
        loaded = is_absent
                     ? parse_configured(chat_template, folder, config, error)
                     : parse(chat_template, buffer_bytes(&source), &chat_template->body, error);
    }
    buffer_close(&source);
    json_decref(config);
    return loaded;
}

bool chat_template_open(const char *model_folder, struct chat_template **out, struct error *error)
{
    struct chat_template *chat_template = new_template(error);
    if (chat_template == NULL) {
        return false;
    }
    if (!load(chat_template, model_folder, error)) {
        chat_template_close(chat_template);
        return false;
    }
    *out = chat_template;
    return true;
}

static bool bind_object(struct jinja_run *run, const json_t *object)
{
    struct jinja_value value;
    if (object == NULL) {
        return true;
    }
    if (!jinja_from_json(run, object, &value)) {
        return false;
    }
    for (size_t i = 0; i < value.as.dict->count; i++) {
        const struct jinja_pair *pair = &value.as.dict->pairs[i];
        if (!jinja_scope_set(run, run->scope, pair->key.as.text, pair->value)) {
            return false;
        }
    }
    return true;
}

static bool bind_variables(struct jinja_run *run, const struct chat_template *chat_template,
                           const json_t *variables)
{
    run->scope = jinja_scope_open(run, NULL);
    return run->scope != NULL && bind_object(run, chat_template->special_tokens) &&
           jinja_scope_set(run, run->scope, bytes_of("tools"), jinja_none()) &&
           jinja_scope_set(run, run->scope, bytes_of("documents"), jinja_none()) &&
           jinja_scope_set(run, run->scope, bytes_of("add_generation_prompt"), jinja_bool(false)) &&
           bind_object(run, variables);
}

static bool has_tools(const json_t *variables)
{
    const json_t *tools = json_object_get(variables, "tools");
    return tools != NULL && !json_is_null(tools);
}

bool chat_template_render(const struct chat_template *chat_template, const json_t *variables,
                          struct buffer *out, struct error *error)
{
    CHECK(json_is_object(variables));
    size_t size_before = out->size;
    struct jinja_run run = {
        .arena = arena_open(JINJA_MEMORY_BYTES_MAX),
        .out = out,
        .error = error,
        .steps_left = JINJA_STEPS_MAX,
        .now = chat_template->has_fixed_time ? chat_template->fixed_time : time(NULL),
    };
    if (run.arena == NULL) {
        return error_set(error, ERROR_INTERNAL, "out_of_memory", NULL,
                         "out of memory for rendering a chat template");
    }
    bool uses_tool_use = chat_template->has_tool_use && has_tools(variables);
    bool rendered = bind_variables(&run, chat_template, variables) &&
                    jinja_exec(&run, uses_tool_use ? chat_template->tool_use : chat_template->body);
    if (!rendered) {
        buffer_truncate(out, size_before);
    }
    arena_close(run.arena);
    return rendered;
}
