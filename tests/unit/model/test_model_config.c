/* config.json in both spellings, and what is refused by name. */
#include "pipeline/model/model_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/tiny_model.h"

static char folder[TINY_MODEL_PATH];

/* What every test's config begins with; a later member of the same name would be a duplicate. */
#define SIZES                                                                                      \
    "\"vocab_size\":100,\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"      \
    "\"num_attention_heads\":4,\"max_position_embeddings\":512"
#define LLAMA "\"architectures\":[\"LlamaForCausalLM\"]," SIZES
#define MISTRAL "\"architectures\":[\"MistralForCausalLM\"]," SIZES
#define MIXTRAL "\"architectures\":[\"MixtralForCausalLM\"]," SIZES
#define QWEN3_MOE "\"architectures\":[\"Qwen3MoeForCausalLM\"]," SIZES
#define DEEPSEEK_V3 "\"architectures\":[\"DeepseekV3ForCausalLM\"]," SIZES
#define QWEN2 "\"architectures\":[\"Qwen2ForCausalLM\"]," SIZES

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/model_config_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    tiny_model_remove(folder);
    return 0;
}

static void put(const char *name, const char *json)
{
    tiny_model_put(folder, name, json, strlen(json));
}

static struct model_config load(const char *json)
{
    struct model_config config;
    struct error error = {0};
    put("config.json", json);
    if (!model_config_load(folder, &config, &error)) {
        fail_msg("%s", error.message);
    }
    return config;
}

static void assert_refused(const char *json, const char *part)
{
    struct model_config config;
    struct error error = {0};
    put("config.json", json);
    assert_false(model_config_load(folder, &config, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    if (strstr(error.message, part) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", error.message, part);
    }
}

static void test_reads_a_llama_with_defaults(void **state)
{
    (void)state;
    struct model_config config = load("{" LLAMA ",\"num_key_value_heads\":null}");
    assert_string_equal(config.architecture, "LlamaForCausalLM");
    assert_int_equal(config.vocabulary, 100);
    assert_int_equal(config.hidden, 64);
    assert_int_equal(config.intermediate, 96);
    assert_int_equal(config.layers, 2);
    assert_int_equal(config.heads, 4);
    assert_int_equal(config.kv_heads, 4);
    assert_int_equal(config.head_dim, 16);
    assert_int_equal(config.context, 512);
    assert_int_equal(config.dtype, DTYPE_F32);
    assert_int_equal(config.bos_token, -1);
    assert_int_equal(config.stop_tokens_count, 0);
    assert_false(config.has_qkv_bias || config.has_output_bias || config.has_mlp_bias);
    assert_false(config.ties_embeddings);
    assert_true(config.rope.theta == 10000.0 && config.rope.scaling == ROPE_PLAIN);
}

static void test_reads_both_spellings(void **state)
{
    (void)state;
    struct model_config old =
        load("{" LLAMA ",\"rope_theta\":500000,\"torch_dtype\":\"bfloat16\",\"rope_scaling\":{"
             "\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
             "\"original_max_position_embeddings\":64}}");
    struct model_config new = load(
        "{" LLAMA ",\"dtype\":\"bfloat16\",\"rope_parameters\":{\"rope_theta\":500000.0,"
        "\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":64}}");
    assert_int_equal(old.dtype, DTYPE_BF16);
    assert_int_equal(new.dtype, DTYPE_BF16);
    assert_memory_equal(&old.rope, &new.rope, sizeof(old.rope));
    assert_int_equal(new.rope.scaling, ROPE_LLAMA3);
    assert_true(new.rope.theta == 500000.0 && new.rope.factor == 8.0);
}

static void test_frequencies_follow_the_scaling(void **state)
{
    (void)state;
    struct model_config config = load("{" LLAMA "}");
    float plain[8];
    float scaled[8];
    rope_config_frequencies(&config.rope, config.head_dim, plain);
    assert_true(plain[0] == 1.0f);
    assert_true(fabs((double)plain[4] - 0.01) < 1e-8);
    config.rope.scaling = ROPE_LINEAR;
    config.rope.factor = 4;
    rope_config_frequencies(&config.rope, config.head_dim, scaled);
    assert_true(scaled[0] == 0.25f);
    config.rope = (struct rope_config){.theta = 10000,
                                       .scaling = ROPE_LLAMA3,
                                       .factor = 8,
                                       .low_freq_factor = 1,
                                       .high_freq_factor = 4,
                                       .original_context = 64};
    rope_config_frequencies(&config.rope, config.head_dim, scaled);
    assert_true(scaled[0] == plain[0]);                       // a wave of 6 positions stays
    assert_true(scaled[7] == plain[7] / 8.0f);                // a wave of 20,000 is stretched
    double wave = 2 * 3.14159265358979 / 0.31622776601683794; // between: 19.87 of 16..64
    double blend = (64 / wave - 1) / 3;
    double expected = 0.31622776601683794 * ((1 - blend) / 8 + blend);
    assert_true(fabs((double)scaled[1] - expected) < 1e-6);
}

/* Qwen 2.5's own: what transformers' YaRN gives for these numbers (64 dimensions, theta 1e6, factor
 * 4 over 32,768 positions). */
static void test_yarn_keeps_fast_frequencies_and_divides_slow_ones(void **state)
{
    (void)state;
    struct model_config config = load(
        "{" LLAMA ",\"head_dim\":64,\"rope_theta\":1000000.0,\"rope_scaling\":{\"type\":\"yarn\","
        "\"factor\":4.0,\"original_max_position_embeddings\":32768}}");
    float frequencies[32];
    rope_config_frequencies(&config.rope, 64, frequencies);
    assert_true(fabs(config.rope.magnitude - 1.1386294361119891) < 1e-12);
    for (int i = 0; i < 32; i++) {
        double plain = pow(1e6, -i / 32.0);
        double ramp = i < 11 ? 0 : i > 20 ? 1 : (i - 11) / 9.0; // bounds: floor 11.8, ceil 19.8
        double expected = plain / 4 * ramp + plain * (1 - ramp);
        assert_true(fabs((double)frequencies[i] - expected) < 1e-6 * expected);
    }
    struct model_config deepseek =
        load("{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":1.0,"
             "\"mscale_all_dim\":1.0,\"original_max_position_embeddings\":4096}}");
    assert_true(deepseek.rope.magnitude == 1);
    assert_true(fabs(deepseek.rope.score_factor - 1.368887945411394 * 1.368887945411394) < 1e-9);
}

static void test_stop_tokens_come_from_both_files(void **state)
{
    (void)state;
    put("generation_config.json", "{\"eos_token_id\":[7,8,2]}");
    struct model_config config = load("{" LLAMA ",\"eos_token_id\":2,\"bos_token_id\":1}");
    assert_int_equal(config.bos_token, 1);
    assert_int_equal(config.stop_tokens_count, 3);
    assert_int_equal(config.stop_tokens[0], 2);
    assert_int_equal(config.stop_tokens[1], 7);
    assert_int_equal(config.stop_tokens[2], 8);
    put("generation_config.json", "{\"eos_token_id\":100}");
    assert_refused("{" LLAMA "}", "generation_config.json: eos_token_id");
    put("generation_config.json", "{\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}");
    assert_refused("{" LLAMA "}", "more than 16 stop tokens");
    put("generation_config.json", "[");
    assert_refused("{" LLAMA "}", "generation_config.json is not JSON");
}

static void test_sampling_defaults_come_from_the_generation_config(void **state)
{
    (void)state;
    put("generation_config.json", "{}");
    struct model_config config = load("{" LLAMA "}");
    assert_true(config.sampling.temperature == 1 && config.sampling.top_p == 1);
    assert_true(config.sampling.top_k == 0 && config.sampling.min_p == 0);
    assert_true(config.sampling.repetition_penalty == 1);
    put("generation_config.json", "{\"do_sample\":true,\"temperature\":0.6,\"top_p\":0.9,"
                                  "\"top_k\":20,\"min_p\":0.05,\"repetition_penalty\":1.1}");
    config = load("{" LLAMA "}");
    assert_true(config.sampling.temperature == 0.6 && config.sampling.top_p == 0.9);
    assert_true(config.sampling.top_k == 20 && config.sampling.min_p == 0.05);
    assert_true(config.sampling.repetition_penalty == 1.1);
    put("generation_config.json", "{\"do_sample\":false,\"temperature\":0.6,\"top_k\":-1}");
    config = load("{" LLAMA "}");
    assert_true(config.sampling.temperature == 0 && config.sampling.top_k == 0);
    put("generation_config.json", "{\"temperature\":\"warm\"}");
    assert_refused("{" LLAMA "}", "generation_config.json: temperature");
    put("generation_config.json", "{\"top_p\":1.5}");
    assert_refused("{" LLAMA "}", "generation_config.json: top_p is 1.5");
    put("generation_config.json", "{\"do_sample\":1}");
    assert_refused("{" LLAMA "}", "generation_config.json: do_sample");
}

static void test_biases_follow_the_family(void **state)
{
    (void)state;
    struct model_config qwen = load("{" QWEN2 ",\"tie_word_embeddings\":true}");
    assert_true(qwen.has_qkv_bias && qwen.ties_embeddings);
    assert_false(qwen.has_output_bias || qwen.has_mlp_bias);
    struct model_config llama = load("{" LLAMA ",\"attention_bias\":true,\"mlp_bias\":true}");
    assert_true(llama.has_qkv_bias && llama.has_output_bias && llama.has_mlp_bias);
}

static void test_norms_follow_the_family(void **state)
{
    (void)state;
    struct model_config olmo = load("{\"architectures\":[\"Olmo2ForCausalLM\"]," SIZES "}");
    assert_true(olmo.has_qk_norm && olmo.is_qk_norm_whole && olmo.norms_results);
    assert_false(olmo.has_qkv_bias);
    struct model_config qwen = load("{\"architectures\":[\"Qwen3ForCausalLM\"]," SIZES "}");
    assert_true(qwen.has_qk_norm);
    assert_false(qwen.is_qk_norm_whole || qwen.norms_results);
    assert_false(load("{" LLAMA "}").has_qk_norm);
}

static void test_windows_follow_the_family_and_the_layers(void **state)
{
    (void)state;
    assert_int_equal(load("{" MISTRAL ",\"sliding_window\":null}").window, 0);
    assert_int_equal(load("{" MISTRAL ",\"sliding_window\":512}").window, 0); // the whole context
    assert_int_equal(load("{" QWEN2 ",\"sliding_window\":128}").window, 0);
    struct model_config mistral = load("{" MISTRAL ",\"sliding_window\":128}");
    assert_int_equal(mistral.window, 128);
    assert_true(mistral.has_window[0] && mistral.has_window[1]);
    struct model_config qwen = load("{" QWEN2 ",\"sliding_window\":128,\"max_window_layers\":1,"
                                    "\"use_sliding_window\":true}");
    assert_int_equal(qwen.window, 128);
    assert_true(!qwen.has_window[0] && qwen.has_window[1]);
    struct model_config listed = load("{" MISTRAL ",\"sliding_window\":128,\"layer_types\":["
                                      "\"sliding_attention\",\"full_attention\"]}");
    assert_true(listed.has_window[0] && !listed.has_window[1]);
    assert_refused("{" MISTRAL ",\"sliding_window\":0}", "sliding_window is 0");
    assert_refused("{" QWEN2 ",\"layer_types\":[\"full_attention\"]}", "has 1 entries");
    assert_refused("{" QWEN2 ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}",
                   "layer type linear_attention");
}

static void test_experts_follow_the_family(void **state)
{
    (void)state;
    assert_int_equal(load("{" LLAMA ",\"num_experts\":8}").experts.routing.experts, 0);
    struct model_config mixtral =
        load("{" MIXTRAL ",\"num_local_experts\":8,\"num_experts_per_tok\":2}");
    assert_int_equal(mixtral.experts.routing.experts, 8);
    assert_int_equal(mixtral.experts.routing.top_k, 2);
    assert_true(mixtral.experts.routing.normalizes);
    assert_int_equal(mixtral.experts.intermediate, 96);
    assert_true(model_config_has_experts(&mixtral, 0));
    struct model_config qwen = load("{" QWEN3_MOE ",\"num_experts\":128,\"num_experts_per_tok\":8,"
                                    "\"moe_intermediate_size\":48}");
    assert_int_equal(qwen.experts.routing.experts, 128);
    assert_false(qwen.experts.routing.normalizes);
    assert_int_equal(qwen.experts.intermediate, 48);
    assert_true(qwen.has_qk_norm);
}

static void test_experts_that_cannot_be_are_refused(void **state)
{
    (void)state;
    assert_refused("{" MIXTRAL "}", "num_local_experts is missing");
    assert_refused("{" MIXTRAL ",\"num_local_experts\":0}", "num_local_experts is 0");
    assert_refused("{" MIXTRAL ",\"num_local_experts\":9999}", "num_local_experts is 9999");
    assert_refused("{" MIXTRAL ",\"num_local_experts\":4}", "num_experts_per_tok is missing");
    assert_refused("{" MIXTRAL ",\"num_local_experts\":4,\"num_experts_per_tok\":5}",
                   "num_experts_per_tok is 5, must be from 1 to 4");
    assert_refused("{" QWEN3_MOE ",\"num_experts\":4}", "moe_intermediate_size is missing");
#define QWEN3_MOE_WHOLE                                                                            \
    QWEN3_MOE ",\"num_experts\":4,\"num_experts_per_tok\":2,\"moe_intermediate_size\":48"
    assert_refused("{" QWEN3_MOE_WHOLE ",\"mlp_only_layers\":[1]}", "mlp_only_layers");
    assert_refused("{" QWEN3_MOE_WHOLE ",\"decoder_sparse_step\":2}", "decoder_sparse_step is 2");
}

#define LATENT                                                                                     \
    ",\"kv_lora_rank\":32,\"qk_nope_head_dim\":24,\"qk_rope_head_dim\":16,\"v_head_dim\":20"
#define ROUTED                                                                                     \
    ",\"n_routed_experts\":16,\"num_experts_per_tok\":4,\"moe_intermediate_size\":40,"             \
    "\"n_shared_experts\":2,\"first_k_dense_replace\":1,\"routed_scaling_factor\":2.5"

static void test_latent_attention_and_its_router_are_read(void **state)
{
    (void)state;
    struct model_config config =
        load("{" DEEPSEEK_V3 LATENT ROUTED ",\"head_dim\":16,\"q_lora_rank\":48,\"n_group\":4,"
             "\"topk_group\":2,\"num_nextn_predict_layers\":1}");
    assert_int_equal(config.head_dim, 48);
    assert_int_equal(config.kv_heads, 1);
    assert_int_equal(model_config_rotated(&config), 16);
    assert_int_equal(model_config_attended(&config), 80);
    assert_true(fabsf(model_config_scale(&config) - 1 / sqrtf(40)) < 1e-6f);
    assert_true(config.latent.q_rank == 48 && config.latent.is_interleaved);
    assert_int_equal(config.prediction_layers, 1);
    assert_int_equal(config.experts.shared, 80);
    assert_true(config.experts.has_bias && config.experts.routing.is_sigmoid);
    assert_true(config.experts.routing.scale == 2.5f && config.experts.routing.normalizes);
    assert_int_equal(config.experts.routing.groups_top, 2);
    assert_false(model_config_has_experts(&config, 0));
    assert_true(model_config_has_experts(&config, 1));
}

static void test_latent_attention_that_cannot_be_is_refused(void **state)
{
    (void)state;
    assert_refused("{" DEEPSEEK_V3 ROUTED "}", "kv_lora_rank is missing");
    assert_refused("{" DEEPSEEK_V3 LATENT "}", "n_routed_experts is missing");
    assert_refused("{" DEEPSEEK_V3 LATENT ROUTED ",\"n_group\":5}", "n_group 5");
    assert_refused("{" DEEPSEEK_V3 LATENT ROUTED ",\"n_group\":8,\"topk_group\":1}",
                   "topk_group 1");
    assert_refused("{" DEEPSEEK_V3 LATENT ROUTED ",\"topk_method\":\"greedy\"}",
                   "topk_method greedy");
    assert_refused("{" DEEPSEEK_V3 LATENT ROUTED ",\"scoring_func\":\"softmax\"}",
                   "scoring_func softmax");
    assert_refused("{" DEEPSEEK_V3 LATENT ROUTED ",\"moe_layer_freq\":2}", "moe_layer_freq is 2");
    assert_refused("{" DEEPSEEK_V3 ROUTED ",\"kv_lora_rank\":31,\"qk_nope_head_dim\":24,"
                   "\"qk_rope_head_dim\":16,\"v_head_dim\":20}",
                   "must be even");
}

static void test_what_is_not_supported_is_named(void **state)
{
    (void)state;
    assert_refused("{\"architectures\":[\"GPT2LMHeadModel\"]}",
                   "architecture GPT2LMHeadModel is not supported");
    assert_refused("{" LLAMA ",\"hidden_act\":\"gelu\"}", "hidden_act gelu is not supported");
    assert_refused("{" LLAMA ",\"dtype\":\"float8_e4m3fn\"}",
                   "dtype float8_e4m3fn is not supported");
    assert_refused("{" LLAMA ",\"quantization_config\":{\"quant_method\":\"hqq\"}}",
                   "quantization hqq is not supported");
    assert_refused("{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":4}}",
                   "rope scaling dynamic is not supported");
    assert_refused("{" LLAMA ",\"rope_scaling\":{\"factor\":4}}", "rope_scaling without");
    assert_refused("{" LLAMA ",\"partial_rotary_factor\":0.5}", "partial_rotary_factor is 0.5");
}

static void test_absurd_and_missing_numbers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *message;
    } cases[] = {
        {"", "config.json is not JSON"},
        {"[]", "config.json is not a JSON object"},
        {"{}", "architectures names no model"},
        {"{\"architectures\":[3]}", "architectures names no model"},
        {"{\"architectures\":[\"LlamaForCausalLM\"]}", "vocab_size is missing"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":0}", "vocab_size is 0, must be"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":-5}", "vocab_size is -5"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":99999999999}", "vocab_size is"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":\"many\"}",
         "must be a whole number"},
        {"{" LLAMA ",\"num_key_value_heads\":3}", "no multiple of num_key_value_heads 3"},
        {"{" LLAMA ",\"num_key_value_heads\":8}", "num_key_value_heads is 8, must be from 1 to 4"},
        {"{" LLAMA ",\"head_dim\":7}", "head_dim is 7, must be even"},
        {"{" LLAMA ",\"head_dim\":100000}", "head_dim is 100000"},
        {"{" LLAMA ",\"rms_norm_eps\":-1}", "rms_norm_eps is -1"},
        {"{" LLAMA ",\"rope_theta\":0}", "rope_theta is 0"},
        {"{" LLAMA ",\"rope_theta\":\"x\"}", "rope_theta"},
        {"{" LLAMA ",\"rope_scaling\":7}", "rope_scaling must be an object"},
        {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", "factor is missing"},
        {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", "factor is 0"},
        {"{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
         "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}",
         "high_freq_factor 4 must be more than"},
        {"{" LLAMA ",\"tie_word_embeddings\":\"yes\"}",
         "tie_word_embeddings must be true or false"},
        {"{" LLAMA ",\"eos_token_id\":\"</s>\"}", "eos_token_id must hold token ids"},
        {"{" LLAMA ",\"eos_token_id\":[2,-1]}", "eos_token_id must hold token ids"},
        {"{" LLAMA ",\"bos_token_id\":100}", "bos_token_id is 100"},
        {"{" LLAMA ",\"vocab_size\":7}", "duplicate"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(cases[i].json, cases[i].message);
    }
}

static void test_a_hidden_size_that_does_not_divide_needs_head_dim(void **state)
{
    (void)state;
#define ODD                                                                                        \
    "\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":100,\"hidden_size\":50,"              \
    "\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,"                  \
    "\"max_position_embeddings\":512"
    assert_refused("{" ODD "}", "hidden_size 50 is no multiple");
    assert_int_equal(load("{" ODD ",\"head_dim\":24}").head_dim, 24);
}

int main(void)
{
#define CONFIG_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(test_reads_a_llama_with_defaults),
        CONFIG_TEST(test_reads_both_spellings),
        CONFIG_TEST(test_frequencies_follow_the_scaling),
        CONFIG_TEST(test_yarn_keeps_fast_frequencies_and_divides_slow_ones),
        CONFIG_TEST(test_stop_tokens_come_from_both_files),
        CONFIG_TEST(test_sampling_defaults_come_from_the_generation_config),
        CONFIG_TEST(test_biases_follow_the_family),
        CONFIG_TEST(test_norms_follow_the_family),
        CONFIG_TEST(test_windows_follow_the_family_and_the_layers),
        CONFIG_TEST(test_experts_follow_the_family),
        CONFIG_TEST(test_experts_that_cannot_be_are_refused),
        CONFIG_TEST(test_latent_attention_and_its_router_are_read),
        CONFIG_TEST(test_latent_attention_that_cannot_be_is_refused),
        CONFIG_TEST(test_what_is_not_supported_is_named),
        CONFIG_TEST(test_absurd_and_missing_numbers_are_refused),
        CONFIG_TEST(test_a_hidden_size_that_does_not_divide_needs_head_dim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
