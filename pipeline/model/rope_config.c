/* rope_config: frequencies as Hugging Face computes them. */
#include "pipeline/model/rope_config.h"

#include <math.h>
#include <string.h>

#include "pipeline/model/model_json.h"

static const double pi = 3.14159265358979323846;

struct reader {
    const json_t *rope;
    const char *file;
    struct error *error;
};

static bool read_number(const struct reader *reader, const char *name, double least, bool is_needed,
                        double *value)
{
    const struct number_field field = {reader->file, name, least, 1 << 24};
    return model_json_number(reader->rope, &field, is_needed, value, reader->error);
}

static bool read_linear(const struct reader *reader, int context, struct rope_config *config)
{
    (void)context;
    return read_number(reader, "factor", 1, true, &config->factor);
}

static bool read_llama3(const struct reader *reader, int context, struct rope_config *config)
{
    (void)context;
    if (!read_number(reader, "factor", 1, true, &config->factor) ||
        !read_number(reader, "low_freq_factor", 1e-3, true, &config->low_freq_factor) ||
        !read_number(reader, "high_freq_factor", 1e-3, true, &config->high_freq_factor) ||
        !read_number(reader, "original_max_position_embeddings", 1, true,
                     &config->original_context)) {
        return false;
    }
    if (config->high_freq_factor <= config->low_freq_factor) {
        return error_set(reader->error, ERROR_CONFIG, NULL, NULL,
                         "%s: high_freq_factor %g must be more than low_freq_factor %g",
                         reader->file, config->high_freq_factor, config->low_freq_factor);
    }
    return true;
}

/* YaRN's factor for longer contexts, "Efficient Context Window Extension", section 3.4. */
static double yarn_magnitude(double factor, double weight)
{
    return factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1;
}

static bool read_yarn(const struct reader *reader, int context, struct rope_config *config)
{
    double weight = 0;
    double weight_all = 0;
    double given = 0;
    bool is_truncated = true;
    config->original_context = context;
    config->beta_fast = 32;
    config->beta_slow = 1;
    if (!read_number(reader, "factor", 1, true, &config->factor) ||
        !read_number(reader, "original_max_position_embeddings", 1, false,
                     &config->original_context) ||
        !read_number(reader, "beta_fast", 1e-3, false, &config->beta_fast) ||
        !read_number(reader, "beta_slow", 1e-3, false, &config->beta_slow) ||
        !read_number(reader, "attention_factor", 0, false, &given) ||
        !read_number(reader, "mscale", 0, false, &weight) ||
        !read_number(reader, "mscale_all_dim", 0, false, &weight_all) ||
        !model_json_bool(reader->rope, reader->file, "truncate", &is_truncated, reader->error)) {
        return false;
    }
    config->is_untruncated = !is_truncated;
    double all = yarn_magnitude(config->factor, weight_all);
    config->magnitude = given != 0 ? given
                        : weight != 0 && weight_all != 0
                            ? yarn_magnitude(config->factor, weight) / all
                            : yarn_magnitude(config->factor, 1);
    config->score_factor = weight_all != 0 ? all * all : 1;
    return true;
}

static const struct scaling_type {
    const char *name;
    enum rope_scaling scaling;
    bool (*read)(const struct reader *reader, int context, struct rope_config *config);
} types[] = {
    {"linear", ROPE_LINEAR, read_linear},
    {"llama3", ROPE_LLAMA3, read_llama3},
    {"yarn", ROPE_YARN, read_yarn},
};

/* `is_new`: rope_parameters, where an absent type means plain. */
static bool read_scaling(const struct reader *reader, bool is_new, int context,
                         struct rope_config *config)
{
    const char *type = json_string_value(json_object_get(reader->rope, "rope_type"));
    type = type != NULL ? type : json_string_value(json_object_get(reader->rope, "type"));
    if (type == NULL || strcmp(type, "default") == 0) {
        return type != NULL || is_new ||
               model_json_refuse(reader->file, "rope_scaling without", "rope_type", reader->error);
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(type, types[i].name) == 0) {
            config->scaling = types[i].scaling;
            return types[i].read(reader, context, config);
        }
    }
    return model_json_refuse(reader->file, "rope scaling", type, reader->error);
}

bool rope_config_read(const json_t *root, const char *file, int context,
                      struct rope_config *rope_out, struct error *error)
{
    const json_t *rope = json_object_get(root, "rope_parameters");
    bool is_new = json_is_object(rope);
    if (!is_new) {
        rope = json_object_get(root, "rope_scaling");
    }
    const struct number_field theta = {file, "rope_theta", 1, 1e12};
    const struct number_field rotary = {file, "partial_rotary_factor", 1, 1};
    double rotated = 1; // the whole head, or it is refused
    *rope_out = (struct rope_config){
        .theta = 10000.0, .factor = 1.0, .magnitude = 1.0, .score_factor = 1.0};
    if (!model_json_number(root, &theta, false, &rope_out->theta, error) ||
        !model_json_number(root, &rotary, false, &rotated, error)) {
        return false;
    }
    if (!json_is_object(rope)) {
        return rope == NULL || json_is_null(rope) ||
               error_set(error, ERROR_CONFIG, NULL, NULL, "%s: rope_scaling must be an object",
                         file);
    }
    const struct reader reader = {rope, file, error};
    return model_json_number(rope, &theta, false, &rope_out->theta, error) &&
           model_json_number(rope, &rotary, false, &rotated, error) &&
           read_scaling(&reader, is_new, context, rope_out);
}

/* Llama 3: short waves stay, long ones are divided by `factor`, those between are blended. */
static double scale_llama3(const struct rope_config *rope, double frequency)
{
    double wave = 2 * pi / frequency;
    if (wave < rope->original_context / rope->high_freq_factor) {
        return frequency;
    }
    if (wave > rope->original_context / rope->low_freq_factor) {
        return frequency / rope->factor;
    }
    double blend = (rope->original_context / wave - rope->low_freq_factor) /
                   (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - blend) * frequency / rope->factor + blend * frequency;
}

/* The dimension pair that turns so often within the original context. */
static double yarn_dimension(const struct rope_config *rope, int rotated, double rotations)
{
    return rotated * log(rope->original_context / (rotations * 2 * pi)) / (2 * log(rope->theta));
}

/* YaRN: as Llama 3's, with the blend along the dimensions. */
static double scale_yarn(const struct rope_config *rope, int rotated, int pair, double frequency)
{
    double low = yarn_dimension(rope, rotated, rope->beta_fast);
    double high = yarn_dimension(rope, rotated, rope->beta_slow);
    if (!rope->is_untruncated) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, rotated - 1);
    high = high == low ? high + 0.001 : high;
    double ramp = fmin(fmax((pair - low) / (high - low), 0), 1);
    return frequency / rope->factor * ramp + frequency * (1 - ramp);
}

void rope_config_frequencies(const struct rope_config *rope, int rotated,
                             float *inverse_frequencies_out)
{
    for (int i = 0; i < rotated / 2; i++) {
        double frequency = pow(rope->theta, -2.0 * i / rotated);
        switch (rope->scaling) {
        case ROPE_PLAIN:
            break;
        case ROPE_LINEAR:
            frequency /= rope->factor;
            break;
        case ROPE_LLAMA3:
            frequency = scale_llama3(rope, frequency);
            break;
        case ROPE_YARN:
            frequency = scale_yarn(rope, rotated, i, frequency);
            break;
        }
        inverse_frequencies_out[i] = (float)frequency;
    }
}
