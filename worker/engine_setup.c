/* engine_setup: the words of the settings are in the order of the values that they name. */
#include "worker/engine_setup.h"

enum { KV_CACHE_BYTES_DEFAULT = 1 << 30 };

_Static_assert((int)CONFIG_DEVICE_CPU == (int)BACKEND_CPU, "engine.device");
_Static_assert((int)CONFIG_WEIGHTS_F32 == (int)WEIGHTS_F32, "engine.weights");
_Static_assert((int)CONFIG_WEIGHTS_BF16 == (int)WEIGHTS_BF16, "engine.weights");
_Static_assert((int)CONFIG_WEIGHTS_INT8 == (int)WEIGHTS_INT8, "engine.weights");
_Static_assert((int)CONFIG_KV_CACHE_F32 == (int)KV_F32, "engine.kv_cache_dtype");
_Static_assert((int)CONFIG_KV_CACHE_BF16 == (int)KV_BF16, "engine.kv_cache_dtype");
_Static_assert((int)CONFIG_KV_CACHE_INT8 == (int)KV_INT8, "engine.kv_cache_dtype");
_Static_assert((int)CONFIG_ISA_AMX == (int)ISA_AMX, "engine.isa");
_Static_assert((int)CONFIG_ISA_AVX512_VNNI == (int)ISA_AVX512_VNNI, "engine.isa");
_Static_assert((int)CONFIG_ISA_AVX512 == (int)ISA_AVX512, "engine.isa");
_Static_assert((int)CONFIG_ISA_AVX2 == (int)ISA_AVX2, "engine.isa");
_Static_assert((int)CONFIG_ISA_PORTABLE == (int)ISA_PORTABLE, "engine.isa");

struct backend_options engine_setup_backend(const struct config *config)
{
    return (struct backend_options){
        .device = (enum backend_device)config->engine.device,
        .isa = (enum backend_isa)config->engine.isa,
        .threads = (int)config->engine.threads,
    };
}

enum weight_format engine_setup_weights(const struct config *config)
{
    return (enum weight_format)config->engine.weights;
}

enum kv_format engine_setup_kv_format(const struct config *config)
{
    return (enum kv_format)config->engine.kv_cache_dtype;
}

struct local_options engine_setup_local(const struct config *config)
{
    const struct config_engine *engine = &config->engine;
    return (struct local_options){
        .backend = engine_setup_backend(config),
        .weights = engine_setup_weights(config),
        .kv_format = engine_setup_kv_format(config),
        .kv_cache_bytes =
            engine->kv_cache_bytes == 0 ? KV_CACHE_BYTES_DEFAULT : engine->kv_cache_bytes,
        .max_num_seqs = (int)engine->max_num_seqs,
        .max_num_batched_tokens = (int)engine->max_num_batched_tokens,
        .max_model_len = (int)engine->max_model_len,
        .enable_prefix_caching = engine->enable_prefix_caching,
    };
}
