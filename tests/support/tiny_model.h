/* tiny_model: writes a small random Hugging Face folder, so that tests of whole models need no data
 * from elsewhere. A tensor's numbers follow from the seed and its name alone. */
#ifndef TESTS_SUPPORT_TINY_MODEL_H
#define TESTS_SUPPORT_TINY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tiny_model {
    const char *architecture; // NULL: "LlamaForCausalLM"
    int vocabulary;           // every 0 below takes a small default
    int hidden;
    int intermediate;
    int layers;
    int heads;
    int kv_heads;
    int head_dim;
    int context;
    bool ties_embeddings;
    bool has_bias;     // attention_bias and mlp_bias of a Llama; implied for Qwen 2
    const char *dtype; // NULL: "F32"; or "BF16"
    /* The matrices of layers are bytes of f8 with a scale for each matrix; in `F8_AS_F32` the same
     * numbers as f32. */
    enum tiny_bytes { F8_NONE, F8_AS_BYTES, F8_AS_F32 } f8;
    int shards;             // 0: model.safetensors; else so many files and an index
    const char *extra_json; // more members of config.json: "\"sliding_window\": 24", or NULL
    uint64_t seed;
};

/* Makes a fresh folder below TMPDIR or /tmp and writes config.json, generation_config.json and the
 * weights. The path is written to path_out. Ends the test on failure. */
enum { TINY_MODEL_PATH = 256 };
void tiny_model_write(const struct tiny_model *tiny, char path_out[TINY_MODEL_PATH]);
void tiny_model_remove(const char *path);

/* Replaces a file of the folder. */
void tiny_model_put(const char *path, const char *name, const void *data, size_t bytes);

#endif
