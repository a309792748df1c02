/* What an encoder's folder says, and what of it is refused. */
#include "pipeline/model/encoder_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/model/model_config.h"
#include "tests/support/cmocka.h"

#define CONFIG                                                                                     \
    "{\"architectures\": [\"%s\"], \"vocab_size\": 100, \"hidden_size\": 24, "                     \
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 3, \"intermediate_size\": 48, "            \
    "\"max_position_embeddings\": 66, \"type_vocab_size\": 2%s}"
#define MODULE(type, path)                                                                         \
    "{\"path\": \"" path "\", \"type\": \"sentence_transformers.models." type "\"}"
#define MODULES "[" MODULE("Transformer", "") ", " MODULE("Pooling", "1_Pooling") "]"

static void put(const char *folder, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

struct folder {
    const char *architecture;
    const char *extra; // of config.json
    const char *modules;
    const char *pooling;
    const char *limit;
};

/* Loads a folder with these files. */
static bool load(const struct folder *files, struct model_config *config, struct error *error)
{
    char folder[] = "/tmp/encoder-config-XXXXXX";
    char text[1024];
    char path[300];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/1_Pooling", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(text, sizeof text, CONFIG, files->architecture,
                   files->extra == NULL ? "" : files->extra);
    static const char *const names[] = {"config.json", "modules.json", "1_Pooling/config.json",
                                        "sentence_bert_config.json"};
    const char *const texts[] = {text, files->modules, files->pooling, files->limit};
    for (int i = 0; i < 4; i++) {
        if (texts[i] != NULL) {
            put(folder, names[i], texts[i]);
        }
    }
    bool is_loaded = model_config_load(folder, config, error);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(text, sizeof text, "%s/%s", folder, names[i]);
        (void)unlink(text);
    }
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
    return is_loaded;
}

static void test_positions_and_limits_make_the_context(void **state)
{
    (void)state;
    struct model_config config;
    struct error error = {0};
    assert_true(load(&(struct folder){.architecture = "BertModel"}, &config, &error));
    assert_true(config.encoder.is_encoder);
    assert_int_equal(config.context, 66);
    assert_int_equal(config.encoder.pooling, POOLING_MEAN);
    assert_true(config.encoder.normalizes);
    assert_true(load(&(struct folder){.architecture = "RobertaModel"}, &config, &error));
    assert_int_equal(config.context, 64);
    assert_int_equal(config.encoder.positions_first, 2);
    assert_true(
        load(&(struct folder){.architecture = "RobertaModel", .limit = "{\"max_seq_length\": 32}"},
             &config, &error));
    assert_int_equal(config.context, 32);
}

static void test_modules_say_how_vectors_are_made(void **state)
{
    (void)state;
    struct model_config config;
    struct error error = {0};
    struct folder folder = {.architecture = "BertModel",
                            .modules = MODULES,
                            .pooling = "{\"pooling_mode_cls_token\": true, "
                                       "\"pooling_mode_mean_tokens\": false}"};
    assert_true(load(&folder, &config, &error));
    assert_int_equal(config.encoder.pooling, POOLING_FIRST);
    assert_false(config.encoder.normalizes);
    folder.pooling = "{\"pooling_mode\": \"mean\"}";
    folder.modules = "[" MODULE("Transformer", "") ", " MODULE("Pooling", "1_Pooling") ", " MODULE(
        "Normalize", "2_Normalize") "]";
    assert_true(load(&folder, &config, &error));
    assert_int_equal(config.encoder.pooling, POOLING_MEAN);
    assert_true(config.encoder.normalizes);
}

static void test_what_changes_the_numbers_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct folder folder;
        const char *message;
    } refused[] = {
        {{"BertModel", ", \"hidden_act\": \"relu\"", NULL, NULL, NULL}, "hidden_act relu"},
        {{"BertModel", ", \"position_embedding_type\": \"relative_key\"", NULL, NULL, NULL},
         "position_embedding_type relative_key"},
        {{"BertModel", ", \"is_decoder\": true", NULL, NULL, NULL}, "is_decoder true"},
        {{"BertModel", NULL, "{}", NULL, NULL}, "modules.json is not a JSON array"},
        {{"BertModel", NULL, "[" MODULE("Dense", "2_Dense") "]", NULL, NULL}, "module Dense"},
        {{"BertModel", NULL, "[{}]", NULL, NULL}, "module without a type"},
        {{"BertModel", NULL, "[" MODULE("Pooling", "../1_Pooling") "]", NULL, NULL},
         "must be a folder inside"},
        {{"BertModel", NULL, "[" MODULE("Pooling", "/etc") "]", NULL, NULL},
         "must be a folder inside"},
        {{"BertModel", NULL, MODULES, "{\"pooling_mode\": \"max\"}", NULL}, "pooling_mode max"},
        {{"BertModel", NULL, MODULES, "{\"pooling_mode_lasttoken\": true}", NULL},
         "pooling_mode_lasttoken true"},
        {{"BertModel", NULL, MODULES, "{}", NULL}, "must have one of"},
        {{"BertModel", NULL, MODULES, NULL, NULL}, "cannot open"},
        {{"BertModel", NULL, NULL, NULL, "{\"max_seq_length\": 0}"}, "max_seq_length is 0"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct model_config config;
        struct error error = {0};
        if (load(&refused[i].folder, &config, &error)) {
            fail_msg("accepted: %s", refused[i].message);
        }
        if (strstr(error.message, refused[i].message) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.message, refused[i].message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions_and_limits_make_the_context),
        cmocka_unit_test(test_modules_say_how_vectors_are_made),
        cmocka_unit_test(test_what_changes_the_numbers_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
