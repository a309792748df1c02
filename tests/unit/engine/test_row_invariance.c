/* Row invariance through the engine with real arithmetic: what a sequence gives does not depend on
 * what shares its steps, on chunks, threads, preemption or the prefix cache. */
#include "pipeline/engine/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

enum { REQUESTS = 32, PROMPT_MAX = 50, OUTPUT_MAX = 70, BLOCK_TOKENS = 16, ROUNDS = 80 };

struct answer {
    int32_t output[OUTPUT_MAX];
    float logprobs[OUTPUT_MAX];
    int output_count;
    enum finish_reason finish_reason;
};

/* One engine's setting and the sequences that it runs together. */
struct setting {
    const char *folder;
    enum weight_format weights;
    enum kv_format kv_format;
    int threads;
    int blocks_count;
    int max_num_seqs;
    int max_num_batched_tokens;
    bool enable_prefix_caching;
};

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t has_finished;
    int finished_count;
};

static void on_finish(void *context, struct sequence *sequence)
{
    (void)sequence;
    struct waiter *waiter = context;
    CHECK(pthread_mutex_lock(&waiter->mutex) == 0);
    waiter->finished_count++;
    CHECK(pthread_cond_signal(&waiter->has_finished) == 0);
    CHECK(pthread_mutex_unlock(&waiter->mutex) == 0);
}

static struct model *open_model(const struct setting *setting, struct backend *backend)
{
    const struct model_options options = {
        .weights = setting->weights, .block_tokens = BLOCK_TOKENS, .kv_format = setting->kv_format};
    struct model *model = NULL;
    struct error error = {0};
    if (!model_open(setting->folder, backend, &options, &model, &error)) {
        fail_msg("%s", error.message);
    }
    return model;
}

static void prepare(struct sequence *sequence, const struct test_job *job, struct answer *answer)
{
    *sequence = (struct sequence){
        .prompt = job->prompt,
        .prompt_count = job->sequence.prompt_count,
        .params = job->sequence.params,
        .output = answer->output,
        .logprobs = answer->logprobs,
    };
}

static void wait_for(struct waiter *waiter, int count)
{
    CHECK(pthread_mutex_lock(&waiter->mutex) == 0);
    while (waiter->finished_count < count) {
        CHECK(pthread_cond_wait(&waiter->has_finished, &waiter->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&waiter->mutex) == 0);
}

/* Runs the chosen jobs together. answers_out: [count]. */
static struct engine_stats run_together(const struct setting *setting,
                                        const struct workload *workload, const int *chosen,
                                        int count, struct answer *answers_out)
{
    struct waiter waiter = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct backend *backend = NULL;
    struct error error = {0};
    const struct backend_options backend_options = {.threads = setting->threads};
    assert_true(backend_open(&backend_options, &backend, &error));
    struct model *model = open_model(setting, backend);
    const struct engine_options options = {
        .models = &model,
        .models_count = 1,
        .kv_bytes = model_kv_block_bytes(model) * (size_t)setting->blocks_count,
        .max_num_seqs = setting->max_num_seqs,
        .max_num_batched_tokens = setting->max_num_batched_tokens,
        .max_waiting = REQUESTS,
        .enable_prefix_caching = setting->enable_prefix_caching,
        .observer = {.on_finish = on_finish, .context = &waiter},
    };
    struct engine *engine = NULL;
    assert_true(engine_open(&options, &engine, &error));
    struct sequence sequences[REQUESTS];
    for (int i = 0; i < count; i++) {
        prepare(&sequences[i], &workload->jobs[chosen[i]], &answers_out[i]);
        assert_true(engine_submit(engine, &sequences[i]));
    }
    wait_for(&waiter, count);
    struct engine_stats stats;
    engine_get_stats(engine, &stats);
    engine_close(engine);
    model_close(model);
    backend_close(backend);
    for (int i = 0; i < count; i++) {
        answers_out[i].output_count = atomic_load(&sequences[i].output_count);
        answers_out[i].finish_reason = sequences[i].finish_reason;
    }
    return stats;
}

static void compare(const struct answer *alone, const struct answer *together, int round, int job)
{
    size_t count = (size_t)alone->output_count;
    if (alone->output_count != together->output_count ||
        alone->finish_reason != together->finish_reason ||
        memcmp(alone->output, together->output, count * sizeof(int32_t)) != 0 ||
        memcmp(alone->logprobs, together->logprobs, count * sizeof(float)) != 0) {
        fail_msg("round %d, request %d: not what it gives alone", round, job);
    }
}

static struct setting random_setting(const struct setting *alone, struct random *random)
{
    struct setting setting = *alone;
    setting.threads = random_between(random, 1, 3);
    // The longest sequence needs 8 blocks: room for one to eight of them.
    setting.blocks_count = random_between(random, 8, 32);
    setting.max_num_seqs = random_between(random, 1, 12);
    setting.max_num_batched_tokens = setting.max_num_seqs + random_between(random, 0, 100);
    setting.enable_prefix_caching = random_chance(random, ROUNDS);
    return setting;
}

static int choose(struct random *random, int *chosen_out)
{
    int count = 0;
    for (int i = 0; i < REQUESTS; i++) {
        if (random_chance(random, 40)) {
            chosen_out[count++] = i;
        }
    }
    for (int i = count - 1; i > 0; i--) {
        int other = random_between(random, 0, i);
        int swapped = chosen_out[i];
        chosen_out[i] = chosen_out[other];
        chosen_out[other] = swapped;
    }
    return count;
}

static bool can_run(enum weight_format weights)
{
    struct backend *backend = NULL;
    struct error error = {0};
    const struct backend_options options = {.threads = 1};
    assert_true(backend_open(&options, &backend, &error));
    enum kernel_status status = backend->ops->weight_format(backend, &weights);
    backend_close(backend);
    return status == KERNEL_OK;
}

static void check_folder(const char *folder, enum weight_format weights, enum kv_format kv_format,
                         int rounds)
{
    if (access(folder, R_OK) != 0) {
        print_message("no %s\n", folder);
        skip();
    }
    if (!can_run(weights)) {
        print_message("this machine does not run the format\n");
        skip();
    }
    struct random random = {random_seed(1)};
    struct workload workload;
    const struct workload_options options = {.jobs_count = REQUESTS,
                                             .models_count = 1,
                                             .vocabulary = 320,
                                             .prompt_max = PROMPT_MAX,
                                             .output_max = OUTPUT_MAX,
                                             .shared_prefixes_count = 2};
    workload_open(&workload, &options, &random);
    const struct setting setting = {folder, weights, kv_format, 1, 64, 1, 256, false};
    struct answer alone[REQUESTS] = {0};
    for (int i = 0; i < REQUESTS; i++) {
        (void)run_together(&setting, &workload, &i, 1, &alone[i]);
    }
    int64_t preemptions = 0;
    int64_t cached_tokens = 0;
    for (int round = 0; round < rounds; round++) {
        struct setting other = random_setting(&setting, &random);
        struct answer together[REQUESTS] = {0};
        int chosen[REQUESTS];
        int count = choose(&random, chosen);
        struct engine_stats stats = run_together(&other, &workload, chosen, count, together);
        preemptions += stats.preemptions_total;
        cached_tokens += stats.cached_tokens_total;
        for (int i = 0; i < count; i++) {
            compare(&alone[chosen[i]], &together[i], round, chosen[i]);
        }
    }
    print_message("%d preemptions, %d tokens from the cache\n", (int)preemptions,
                  (int)cached_tokens);
    assert_true(preemptions > 10 * rounds / ROUNDS);
    assert_true(cached_tokens > 100 * rounds / ROUNDS);
    workload_close(&workload);
}

static void test_llama_in_f32_gives_what_each_request_gives_alone(void **state)
{
    (void)state;
    check_folder(DATA_DIR "/families/llama", WEIGHTS_F32, KV_F32, ROUNDS);
}

static void test_qwen2_in_bf16_gives_what_each_request_gives_alone(void **state)
{
    (void)state;
    check_folder(DATA_DIR "/families/qwen2", WEIGHTS_BF16, KV_BF16, ROUNDS);
}

static void test_qwen2_in_int8_gives_what_each_request_gives_alone(void **state)
{
    (void)state;
    check_folder(DATA_DIR "/families/qwen2", WEIGHTS_INT8, KV_INT8, ROUNDS);
}

static void test_mixtral_in_f32_gives_what_each_request_gives_alone(void **state)
{
    (void)state;
    check_folder(DATA_DIR "/families/mixtral", WEIGHTS_F32, KV_F32, ROUNDS);
}

static void test_deepseek_in_f32_gives_what_each_request_gives_alone(void **state)
{
    (void)state;
    check_folder(DATA_DIR "/families/deepseek-v3", WEIGHTS_F32, KV_F32, ROUNDS);
}

/* The same code as in f32 but for the products: a few rounds show what those add. */
static void test_mixtures_and_latent_attention_in_bf16_and_int8(void **state)
{
    (void)state;
    static const char *const folders[] = {DATA_DIR "/families/mixtral",
                                          DATA_DIR "/families/deepseek-v3"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        check_folder(folders[i], WEIGHTS_BF16, KV_BF16, 20);
        check_folder(folders[i], WEIGHTS_INT8, KV_INT8, 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_in_f32_gives_what_each_request_gives_alone),
        cmocka_unit_test(test_qwen2_in_bf16_gives_what_each_request_gives_alone),
        cmocka_unit_test(test_qwen2_in_int8_gives_what_each_request_gives_alone),
        cmocka_unit_test(test_mixtral_in_f32_gives_what_each_request_gives_alone),
        cmocka_unit_test(test_deepseek_in_f32_gives_what_each_request_gives_alone),
        cmocka_unit_test(test_mixtures_and_latent_attention_in_bf16_and_int8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
