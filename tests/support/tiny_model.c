/* tiny_model: random weights with the names and shapes of the Llama layout. */
#include "tests/support/tiny_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/dtype.h"
#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"

enum { FILE_BYTES_MAX = 64 << 20 };

/* One safetensors file in the making. */
struct writer {
    const struct tiny_model *tiny;
    struct buffer header;
    struct buffer data;
    struct buffer *index; // of all shards, or NULL
    char name[64];        // of the file
    uint64_t state;       // of the random numbers
};

static float random_weight(struct writer *writer)
{
    uint64_t x = writer->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (float)((double)((x ^ (x >> 31)) >> 11) * 0x1p-53 - 0.5);
}

static const float f8_scale = 0.75f;

static void write_entry(struct writer *writer, const char *name, const char *dtype,
                        const char *shape, size_t begin)
{
    buffer_printf(&writer->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],",
                  writer->header.size == 0 ? "{" : ",", name, dtype, shape);
    buffer_printf(&writer->header, "\"data_offsets\":[%zu,%zu]}", begin, writer->data.size);
    if (writer->index != NULL) {
        buffer_printf(writer->index, "%s\"%s\":\"%s\"", writer->index->size == 0 ? "" : ",", name,
                      writer->name);
    }
}

/* Behind the matrix its scale, and that of activations, which nobody reads here. */
static void write_bytes(struct writer *writer, const char *name, int rows, int columns)
{
    bool is_packed = writer->tiny->f8 == F8_AS_BYTES;
    size_t begin = writer->data.size;
    char shape[32];
    for (int i = 0; i < rows * columns; i++) {
        uint8_t byte = (uint8_t)(256 * (random_weight(writer) + 0.5f)) & 0xaf; // below 0.25
        float value = 0;
        dtype_to_f32(&value, &byte, DTYPE_F8_E4M3, 1);
        value *= f8_scale;
        buffer_append(&writer->data, is_packed ? (void *)&byte : (void *)&value,
                      is_packed ? 1 : sizeof(value));
    }
    (void)snprintf(shape, sizeof(shape), "%d,%d", rows, columns);
    write_entry(writer, name, is_packed ? "F8_E4M3" : "F32", shape, begin);
    static const char *const scales[] = {"weight_scale", "input_scale"};
    for (int i = 0; is_packed && i < 2; i++) {
        char scale[160];
        begin = writer->data.size;
        buffer_append(&writer->data, &f8_scale, sizeof(f8_scale));
        (void)snprintf(scale, sizeof(scale), "%.*s%s", (int)(strlen(name) - strlen("weight")), name,
                       scales[i]);
        write_entry(writer, scale, "F32", "1", begin);
    }
}

/* columns 0: a vector of norm scales around 1. */
static void write_tensor(struct writer *writer, const char *name, int rows, int columns)
{
    bool is_bf16 = strcmp(writer->tiny->dtype, "BF16") == 0;
    size_t begin = writer->data.size;
    writer->state = writer->tiny->seed;
    for (const char *c = name; *c != '\0'; c++) {
        writer->state = writer->state * 31 + (unsigned char)*c;
    }
    if (writer->tiny->f8 != F8_NONE && columns > 0 && strncmp(name, "model.layers.", 13) == 0) {
        write_bytes(writer, name, rows, columns);
        return;
    }
    int count = columns == 0 ? rows : rows * columns;
    for (int i = 0; i < count; i++) {
        float value = random_weight(writer);
        value = columns == 0 ? 1.0f + 0.2f * value : value;
        uint16_t half = dtype_f32_to_bf16(value);
        buffer_append(&writer->data, is_bf16 ? (void *)&half : (void *)&value,
                      is_bf16 ? sizeof(half) : sizeof(value));
    }
    char shape[32];
    (void)snprintf(shape, sizeof(shape), columns == 0 ? "%d" : "%d,%d", rows, columns);
    write_entry(writer, name, writer->tiny->dtype, shape, begin);
}

static void write_matrix(struct writer *writer, int layer, const char *name, int rows, int columns,
                         bool has_bias)
{
    char full[128];
    (void)snprintf(full, sizeof(full), "model.layers.%d.%s.weight", layer, name);
    write_tensor(writer, full, rows, columns);
    if (has_bias) {
        (void)snprintf(full, sizeof(full), "model.layers.%d.%s.bias", layer, name);
        write_tensor(writer, full, rows, 0);
    }
}

static void write_layer(struct writer *writer, int layer)
{
    const struct tiny_model *tiny = writer->tiny;
    bool is_qwen = strcmp(tiny->architecture, "Qwen2ForCausalLM") == 0;
    int q = tiny->heads * tiny->head_dim;
    int kv = tiny->kv_heads * tiny->head_dim;
    bool has_qkv_bias = tiny->has_bias || is_qwen;
    write_matrix(writer, layer, "input_layernorm", tiny->hidden, 0, false);
    write_matrix(writer, layer, "self_attn.q_proj", q, tiny->hidden, has_qkv_bias);
    write_matrix(writer, layer, "self_attn.k_proj", kv, tiny->hidden, has_qkv_bias);
    write_matrix(writer, layer, "self_attn.v_proj", kv, tiny->hidden, has_qkv_bias);
    write_matrix(writer, layer, "self_attn.o_proj", tiny->hidden, q, tiny->has_bias);
    write_matrix(writer, layer, "post_attention_layernorm", tiny->hidden, 0, false);
    write_matrix(writer, layer, "mlp.gate_proj", tiny->intermediate, tiny->hidden, tiny->has_bias);
    write_matrix(writer, layer, "mlp.up_proj", tiny->intermediate, tiny->hidden, tiny->has_bias);
    write_matrix(writer, layer, "mlp.down_proj", tiny->hidden, tiny->intermediate, tiny->has_bias);
}

void tiny_model_put(const char *path, const char *name, const void *data, size_t bytes)
{
    char full[TINY_MODEL_PATH + 64];
    (void)snprintf(full, sizeof(full), "%s/%s", path, name);
    FILE *file = fopen(full, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void writer_finish(struct writer *writer, const char *path)
{
    struct buffer file;
    buffer_append_char(&writer->header, '}');
    buffer_init(&file, FILE_BYTES_MAX);
    for (int i = 0; i < 8; i++) {
        buffer_append_char(&file, (char)(writer->header.size >> (8 * i) & 0xff));
    }
    buffer_append_bytes(&file, buffer_bytes(&writer->header));
    buffer_append_bytes(&file, buffer_bytes(&writer->data));
    assert_false(buffer_failed(&file) || buffer_failed(&writer->data));
    tiny_model_put(path, writer->name, file.data, file.size);
    buffer_close(&file);
    buffer_close(&writer->header);
    buffer_close(&writer->data);
}

/* Shard `part` of `parts` holds every parts-th layer; the first also what stands around them. */
static void write_shard(const struct tiny_model *tiny, const char *path, int part,
                        struct buffer *index)
{
    int parts = tiny->shards == 0 ? 1 : tiny->shards;
    struct writer writer = {.tiny = tiny, .index = index};
    buffer_init(&writer.header, FILE_BYTES_MAX);
    buffer_init(&writer.data, FILE_BYTES_MAX);
    if (tiny->shards == 0) {
        (void)snprintf(writer.name, sizeof(writer.name), "model.safetensors");
    } else {
        (void)snprintf(writer.name, sizeof(writer.name), "model-%05d-of-%05d.safetensors", part + 1,
                       parts);
    }
    if (part == 0) {
        write_tensor(&writer, "model.embed_tokens.weight", tiny->vocabulary, tiny->hidden);
        write_tensor(&writer, "model.norm.weight", tiny->hidden, 0);
        if (!tiny->ties_embeddings) {
            write_tensor(&writer, "lm_head.weight", tiny->vocabulary, tiny->hidden);
        }
    }
    for (int layer = part; layer < tiny->layers; layer += parts) {
        write_layer(&writer, layer);
    }
    writer_finish(&writer, path);
}

static void write_config(const struct tiny_model *tiny, const char *path)
{
    struct buffer json;
    buffer_init(&json, FILE_BYTES_MAX);
    buffer_printf(&json, "{\"architectures\":[\"%s\"],\"vocab_size\":%d,\"hidden_size\":%d,",
                  tiny->architecture, tiny->vocabulary, tiny->hidden);
    buffer_printf(&json, "\"intermediate_size\":%d,\"num_hidden_layers\":%d,", tiny->intermediate,
                  tiny->layers);
    buffer_printf(&json, "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,", tiny->heads,
                  tiny->kv_heads);
    buffer_printf(&json, "\"head_dim\":%d,\"max_position_embeddings\":%d,", tiny->head_dim,
                  tiny->context);
    buffer_printf(&json, "\"rms_norm_eps\":1e-5,");
    buffer_printf(&json, "\"tie_word_embeddings\":%s,\"attention_bias\":%s,\"mlp_bias\":%s",
                  tiny->ties_embeddings ? "true" : "false", tiny->has_bias ? "true" : "false",
                  tiny->has_bias ? "true" : "false");
    if (tiny->extra_json != NULL) {
        buffer_printf(&json, ",%s", tiny->extra_json);
    }
    buffer_append_char(&json, '}');
    assert_false(buffer_failed(&json));
    tiny_model_put(path, "config.json", json.data, json.size);
    static const char generation[] = "{\"eos_token_id\": [2, 3]}";
    tiny_model_put(path, "generation_config.json", generation, sizeof(generation) - 1);
    buffer_close(&json);
}

static void write_index(const struct tiny_model *tiny, const char *path)
{
    struct buffer map;
    struct buffer index;
    buffer_init(&map, FILE_BYTES_MAX);
    buffer_init(&index, FILE_BYTES_MAX);
    for (int part = 0; part < tiny->shards; part++) {
        write_shard(tiny, path, part, &map);
    }
    buffer_printf(&index, "{\"metadata\":{},\"weight_map\":{%s}}", map.data);
    assert_false(buffer_failed(&index));
    tiny_model_put(path, "model.safetensors.index.json", index.data, index.size);
    buffer_close(&map);
    buffer_close(&index);
}

static int or_default(int value, int otherwise)
{
    return value == 0 ? otherwise : value;
}

void tiny_model_write(const struct tiny_model *tiny, char path_out[TINY_MODEL_PATH])
{
    struct tiny_model full = *tiny;
    full.architecture = tiny->architecture == NULL ? "LlamaForCausalLM" : tiny->architecture;
    full.dtype = tiny->dtype == NULL ? "F32" : tiny->dtype;
    full.vocabulary = or_default(tiny->vocabulary, 61);
    full.hidden = or_default(tiny->hidden, 40);
    full.intermediate = or_default(tiny->intermediate, 72);
    full.layers = or_default(tiny->layers, 3);
    full.heads = or_default(tiny->heads, 6);
    full.kv_heads = or_default(tiny->kv_heads, 2);
    full.head_dim = or_default(tiny->head_dim, 12);
    full.context = or_default(tiny->context, 256);
    const char *folder = getenv("TMPDIR");
    (void)snprintf(path_out, TINY_MODEL_PATH, "%s/tiny_model_XXXXXX",
                   folder == NULL ? "/tmp" : folder);
    assert_non_null(mkdtemp(path_out));
    write_config(&full, path_out);
    if (full.shards == 0) {
        write_shard(&full, path_out, 0, NULL);
    } else {
        write_index(&full, path_out);
    }
}

void tiny_model_remove(const char *path)
{
    DIR *folder = opendir(path);
    assert_non_null(folder);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char full[TINY_MODEL_PATH + 300];
        (void)snprintf(full, sizeof(full), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') {
            (void)unlink(full);
        }
    }
    (void)closedir(folder);
    (void)rmdir(path);
}
