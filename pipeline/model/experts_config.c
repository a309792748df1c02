/* experts_config: one reader for all families; what tells them apart is data. */
#include "pipeline/model/experts_config.h"

#include <string.h>

#include "pipeline/model/model_json.h"

enum { EXPERTS_MAX = 1024, WIDTH_MAX = 1 << 18 };

const struct expert_family expert_family_mixtral = {
    .count = "num_local_experts",
    .intermediate = "intermediate_size",
    .names = EXPERT_NAMES_SPARSE,
    .normalizes = true,
};

const struct expert_family expert_family_qwen3 = {
    .count = "num_experts",
    .count_too = "num_local_experts",
    .intermediate = "moe_intermediate_size",
    .names = EXPERT_NAMES_MLP,
};

const struct expert_family expert_family_deepseek_v2 = {
    .count = "n_routed_experts",
    .intermediate = "moe_intermediate_size",
    .names = EXPERT_NAMES_MLP,
    .never_normalizes = true,
    .is_deepseek = true,
};

const struct expert_family expert_family_deepseek_v3 = {
    .count = "n_routed_experts",
    .intermediate = "moe_intermediate_size",
    .names = EXPERT_NAMES_MLP,
    .normalizes = true,
    .is_deepseek = true,
    .is_sigmoid = true,
};

struct reader {
    const json_t *root;
    const char *file;
    struct error *error;
};

static bool read_int(const struct reader *reader, const char *name, int least, int most, int *value)
{
    const struct int_field field = {reader->file, name, least, most};
    return model_json_int(reader->root, &field, false, value, reader->error);
}

/* Qwen3-MoE and DeepSeek can make some layers plain; no published model does. */
static bool check_all_sparse(const struct reader *reader)
{
    int ignored = 1;
    return read_int(reader, "decoder_sparse_step", 1, 1, &ignored) &&
           read_int(reader, "moe_layer_freq", 1, 1, &ignored) &&
           (json_array_size(json_object_get(reader->root, "mlp_only_layers")) == 0 ||
            model_json_refuse(reader->file, "mlp_only_layers", "with layers", reader->error));
}

/* Which groups are chosen from. V2 names its way of choosing, V3 has but one. */
static bool read_groups(const struct reader *reader, const struct expert_family *family,
                        struct expert_routing *routing)
{
    const char *method = json_string_value(json_object_get(reader->root, "topk_method"));
    const char *scoring = json_string_value(json_object_get(reader->root, "scoring_func"));
    bool is_plain = !family->is_sigmoid && (method == NULL || strcmp(method, "greedy") == 0);
    const char *wanted = family->is_sigmoid ? "noaux_tc" : "group_limited_greedy";
    if (!is_plain && method != NULL && strcmp(method, wanted) != 0) {
        return model_json_refuse(reader->file, "topk_method", method, reader->error);
    }
    if (scoring != NULL && strcmp(scoring, family->is_sigmoid ? "sigmoid" : "softmax") != 0) {
        return model_json_refuse(reader->file, "scoring_func", scoring, reader->error);
    }
    if (!read_int(reader, "n_group", 1, routing->experts, &routing->groups) ||
        !read_int(reader, "topk_group", 1, routing->groups, &routing->groups_top)) {
        return false;
    }
    if (is_plain) {
        routing->groups = 1;
        routing->groups_top = 1;
    }
    int size = routing->experts / routing->groups;
    if (routing->experts % routing->groups != 0 || routing->top_k > size * routing->groups_top) {
        return error_set(reader->error, ERROR_CONFIG, NULL, NULL,
                         "%s: %d experts in n_group %d with topk_group %d do not give %d experts",
                         reader->file, routing->experts, routing->groups, routing->groups_top,
                         routing->top_k);
    }
    return true;
}

static bool read_deepseek(const struct reader *reader, const struct expert_family *family,
                          struct experts_config *experts)
{
    int shared = 0;
    double scale = 1;
    const struct number_field factor = {reader->file, "routed_scaling_factor", 1e-6, 1e6};
    experts->routing.is_sigmoid = family->is_sigmoid;
    experts->routing.is_pair_sum = family->is_sigmoid;
    experts->has_bias = family->is_sigmoid;
    if (!read_int(reader, "n_shared_experts", 0, WIDTH_MAX / experts->intermediate, &shared) ||
        !read_int(reader, "first_k_dense_replace", 0, EXPERTS_MAX, &experts->first_layer) ||
        !model_json_number(reader->root, &factor, false, &scale, reader->error)) {
        return false;
    }
    experts->shared = shared * experts->intermediate;
    experts->routing.scale = (float)scale;
    return read_groups(reader, family, &experts->routing);
}

bool experts_config_read(const json_t *root, const char *file, const struct expert_family *family,
                         struct experts_config *experts_out, struct error *error)
{
    *experts_out = (struct experts_config){0};
    if (family == NULL) {
        return true;
    }
    const struct reader reader = {root, file, error};
    struct expert_routing *routing = &experts_out->routing;
    bool has_count = json_object_get(root, family->count) != NULL || family->count_too == NULL;
    const struct int_field count = {file, has_count ? family->count : family->count_too, 1,
                                    EXPERTS_MAX};
    const struct int_field width = {file, family->intermediate, 1, WIDTH_MAX};
    *routing = (struct expert_routing){
        .normalizes = family->normalizes, .scale = 1, .groups = 1, .groups_top = 1};
    experts_out->names = family->names;
    if (!model_json_int(root, &count, true, &routing->experts, error) ||
        !model_json_int(root, &width, true, &experts_out->intermediate, error) ||
        !model_json_bool(root, file, "norm_topk_prob", &routing->normalizes, error)) {
        return false;
    }
    routing->normalizes = routing->normalizes && !family->never_normalizes;
    const struct int_field top_k = {file, "num_experts_per_tok", 1, routing->experts};
    return model_json_int(root, &top_k, true, &routing->top_k, error) &&
           check_all_sparse(&reader) &&
           (!family->is_deepseek || read_deepseek(&reader, family, experts_out));
}
