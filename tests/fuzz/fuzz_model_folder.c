/* fuzz_model_folder: the first byte chooses whether the rest is a folder's model.safetensors, its
 * config.json, or the modules.json beside an encoder's. What opens must have every byte of every
 * tensor, and numbers within their bounds. */
#include "pipeline/model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/model/model_config.h"
#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"

/* A folder in memory-backed storage where there is some, removed again after each input. */
struct folder {
    char path[64];
    char file[128];
    char config[128]; // of an encoder, or empty
};

static void put(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK(fwrite(data, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

static void add_encoder(struct folder *folder)
{
    static const char config[] =
        "{\"architectures\": [\"BertModel\"], \"vocab_size\": 9, \"hidden_size\": 4, "
        "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 4, "
        "\"max_position_embeddings\": 8, \"pooling_mode\": \"cls\"}";
    (void)snprintf(folder->config, sizeof(folder->config), "%s/config.json", folder->path);
    put(folder->config, config, sizeof config - 1);
}

static void folder_open(struct folder *folder, const char *name, const uint8_t *data, size_t size)
{
    *folder = (struct folder){0};
    bool has_memory = access("/dev/shm", W_OK) == 0;
    (void)snprintf(folder->path, sizeof(folder->path), "%s/fuzz_model_XXXXXX",
                   has_memory ? "/dev/shm" : "/tmp");
    CHECK(mkdtemp(folder->path) != NULL);
    (void)snprintf(folder->file, sizeof(folder->file), "%s/%s", folder->path, name);
    put(folder->file, data, size);
}

static void folder_close(const struct folder *folder)
{
    (void)unlink(folder->file);
    if (folder->config[0] != '\0') {
        (void)unlink(folder->config);
    }
    (void)rmdir(folder->path);
}

static void try_weights(const struct folder *folder)
{
    struct safetensors *safetensors = NULL;
    struct error error = {0};
    if (!safetensors_open(folder->path, &safetensors, &error)) {
        CHECK(error.kind != ERROR_NONE && error.message[0] != '\0');
        return;
    }
    size_t left = safetensors_count(safetensors);
    size_t unclaimed = 0;
    const struct tensor *tensor;
    while ((tensor = safetensors_unclaimed(safetensors, &unclaimed)) != NULL) {
        CHECK(unclaimed == left--);
        CHECK(safetensors_claim(safetensors, tensor->name) == tensor);
        volatile unsigned char last = 0; // so that every byte is read
        for (size_t i = 0; i < tensor->bytes; i++) {
            last = ((const unsigned char *)tensor->data)[i];
        }
        (void)last;
    }
    safetensors_close(safetensors);
}

static void try_config(const struct folder *folder)
{
    struct model_config config;
    struct error error = {0};
    if (!model_config_load(folder->path, &config, &error)) {
        CHECK(error.kind != ERROR_NONE && error.message[0] != '\0');
        return;
    }
    float frequencies[320];
    int rotated = model_config_rotated(&config);
    CHECK(config.head_dim >= 2 && config.head_dim <= 640 && config.head_dim % 2 == 0);
    CHECK(rotated >= 2 && rotated <= config.head_dim && rotated % 2 == 0);
    CHECK(model_config_attended(&config) > 0 && model_config_scale(&config) > 0.0f);
    CHECK(config.kv_heads > 0 && config.heads % config.kv_heads == 0);
    CHECK(config.layers > 0 && config.vocabulary > 0 && config.context > 0);
    for (int i = 0; i < config.stop_tokens_count; i++) {
        CHECK(config.stop_tokens[i] >= 0 && config.stop_tokens[i] < config.vocabulary);
    }
    if (config.encoder.is_encoder) {
        return;
    }
    rope_config_frequencies(&config.rope, rotated, frequencies);
    CHECK(frequencies[0] > 0.0f && frequencies[0] <= 1.0f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct folder folder;
    if (size == 0) {
        return 0;
    }
    bool is_config = data[0] == 'c';
    bool is_modules = data[0] == 'm';
    folder_open(&folder,
                is_config    ? "config.json"
                : is_modules ? "modules.json"
                             : "model.safetensors",
                data + 1, size - 1);
    if (is_modules) {
        add_encoder(&folder);
    }
    if (is_config || is_modules) {
        try_config(&folder);
    } else {
        try_weights(&folder);
    }
    folder_close(&folder);
    return 0;
}
