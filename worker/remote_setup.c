/* remote_setup: a key is read, handed over and wiped; no message ever has it. */
#include "worker/remote_setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES_MAX = 8192 };

_Static_assert((int)CONFIG_MAX_TOKENS == (int)REMOTE_MAX_TOKENS, "max_tokens_parameter");
_Static_assert((int)CONFIG_MAX_COMPLETION_TOKENS == (int)REMOTE_MAX_COMPLETION_TOKENS,
               "max_tokens_parameter");

static bool read_file(const char *path, char *key, size_t size, struct error *error)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot read api_key_file %s: %s", path,
                         strerror(errno));
    }
    size_t length = fread(key, 1, size, file);
    bool is_read = ferror(file) == 0;
    (void)fclose(file);
    if (!is_read || length == size) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "api_key_file %s cannot be read, or has more than %zu bytes", path,
                         size - 1);
    }
    key[length] = '\0';
    return true;
}

/* Without the line's end, which editors leave in a file. */
static void trim(char *key)
{
    size_t size = strlen(key);
    while (size > 0 && (unsigned char)key[size - 1] <= ' ') {
        key[--size] = '\0';
    }
}

static bool read_key(const struct config_model *model, char *key, size_t size, struct error *error)
{
    key[0] = '\0';
    if (model->api_key_file[0] != '\0') {
        if (!read_file(model->api_key_file, key, size, error)) {
            return false;
        }
    } else if (model->api_key_env[0] != '\0') {
        const char *value = getenv(model->api_key_env);
        if (value == NULL || strlen(value) >= size) {
            return error_set(error, ERROR_CONFIG, NULL, NULL,
                             "the environment variable %s of api_key_env is not set, or has more "
                             "than %zu bytes",
                             model->api_key_env, size - 1);
        }
        (void)snprintf(key, size, "%s", value);
    } else {
        return true;
    }
    trim(key);
    return key[0] != '\0' ||
           error_set(error, ERROR_CONFIG, NULL, NULL, "the key of the endpoint is empty");
}

/* A plain memset would be left out as dead. */
static void wipe(char *key, size_t size)
{
    for (volatile char *at = key; size > 0; size--) {
        *at++ = 0;
    }
}

bool remote_setup_open(const struct remote_options *from, const struct config_model *model,
                       struct remote **remote_out, struct error *error)
{
    char key[KEY_BYTES_MAX];
    if (!read_key(model, key, sizeof key, error)) {
        return false;
    }
    struct remote_options options = *from;
    options.name = model->name;
    options.url = model->endpoint;
    options.key = key;
    options.body = (struct remote_body_options){
        .model = model->model[0] == '\0' ? model->name : model->model,
        .max_tokens = (enum remote_max_tokens)model->max_tokens_parameter,
        .streams = model->stream,
    };
    options.concurrency_max = (int)model->concurrency_max;
    options.attempts_max = (int)model->attempts_max;
    options.timeout_ms = (int)model->timeout_ms;
    options.connect_timeout_ms = (int)model->connect_timeout_ms;
    options.answer_bytes_max = (size_t)model->answer_bytes_max;
    options.ca_file = model->ca_file;
    options.proxy = model->proxy;
    options.prices = (struct prices){
        .prompt = model->price_in,
        .cached = model->price_cached < 0 ? 0 : model->price_cached,
        .completion = model->price_out,
        .has_cached = model->price_cached >= 0,
    };
    options.spend_daily_max = model->spend_daily_max;
    bool is_open = remote_open(&options, remote_out, error);
    wipe(key, sizeof key);
    return is_open;
}
