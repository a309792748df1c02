/* local: many calls at once, calls that are given up, and a generator that is full. */
#include "pipeline/local.h"

#include <string.h>
#include <time.h>

#include "pipeline/model/model_report.h"
#include "tests/support/cmocka.h"
#include "tests/support/local_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/tiny_model.h"

/* One of several kinds of request, greedy and sampled, short and long. */
static json_t *mixed_body(int index)
{
    json_t *body = demo_body(index, NULL);
    (void)json_object_set_new(body, "max_tokens", json_integer(8 + index % 5 * 24));
    switch (index % 6) {
    case 1:
        (void)json_object_set_new(body, "temperature", json_real(0.9));
        (void)json_object_set_new(body, "seed", json_integer(index));
        break;
    case 2:
        (void)json_object_set_new(body, "temperature", json_real(1.2));
        (void)json_object_set_new(body, "top_p", json_real(0.8));
        (void)json_object_set_new(body, "n", json_integer(3));
        break;
    case 3:
        (void)json_object_set_new(body, "stop", json_string("on"));
        break;
    case 4:
        (void)json_object_set_new(body, "logprobs", json_true());
        break;
    case 5:
        (void)json_object_set_new(body, "frequency_penalty", json_real(0.5));
        (void)json_object_set_new(body, "ignore_eos", json_true());
        break;
    default:
        break;
    }
    return body;
}

static void test_answers_in_a_crowd_are_the_answers_alone(void **state)
{
    (void)state;
    enum { CALLS = 42 };
    struct local_fixture fixture;
    struct job *jobs[CALLS];
    seed_random();
    int order[CALLS];
    for (int i = 0; i < CALLS; i++) {
        order[i] = i;
    }
    for (int i = CALLS - 1; i > 0; i--) {
        int other = (int)random_below((size_t)i + 1);
        int held = order[i];
        order[i] = order[other];
        order[other] = held;
    }
    local_fixture_open(&fixture, SCRIBE, 2 * CALLS, 12);
    for (int i = 0; i < CALLS; i++) {
        jobs[i] = local_fixture_job(&fixture, ENDPOINT_CHAT, mixed_body(order[i]));
        assert_true(local_fixture_submit(&fixture, jobs[i]));
    }
    local_fixture_wait(&fixture, CALLS);
    local_fixture_close(&fixture);
    local_fixture_open(&fixture, SCRIBE, CALLS, 12); // with nothing in its prefix cache
    for (int i = 0; i < CALLS; i++) {
        json_t *together = local_fixture_answer(jobs[i]);
        json_t *alone = local_fixture_ask(&fixture, ENDPOINT_CHAT, mixed_body(order[i]));
        if (!json_equal(json_object_get(together, "choices"), json_object_get(alone, "choices"))) {
            char *texts[] = {json_dumps(together, 0), json_dumps(alone, 0)};
            fail_msg("request %d has another answer in a crowd: %s alone: %s", order[i], texts[0],
                     texts[1]);
        }
        assert_int_equal(answer_usage(together, "total_tokens"),
                         answer_usage(alone, "total_tokens"));
        json_decref(together);
        json_decref(alone);
        job_close(jobs[i]);
    }
    local_fixture_close(&fixture);
}

static json_t *long_body(int n)
{
    return json_pack("{s:s, s:i, s:b, s:i}", "prompt", "The", "max_tokens", 900, "ignore_eos", 1,
                     "n", n);
}

static struct job *submit_long(struct local_fixture *fixture, int n)
{
    struct job *job = local_fixture_job(fixture, ENDPOINT_COMPLETIONS, long_body(n));
    assert_true(local_fixture_submit(fixture, job));
    return job;
}

static void wait_until_running(const struct local_fixture *fixture, int64_t running)
{
    struct engine_stats stats;
    do {
        (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        local_get_stats(fixture->local, &stats);
    } while (stats.running < running || stats.generation_tokens_total < 1);
}

static int64_t generated(const struct local_fixture *fixture)
{
    struct engine_stats stats;
    local_get_stats(fixture->local, &stats);
    return stats.generation_tokens_total;
}

static void test_cancelled_calls_come_back_soon_and_once(void **state)
{
    (void)state;
    struct local_fixture fixture;
    local_fixture_open(&fixture, SCRIBE, 16, 1);
    struct job *running = submit_long(&fixture, 1);
    wait_until_running(&fixture, 1);
    struct job *waiting = submit_long(&fixture, 4);
    struct job *last = local_fixture_job(&fixture, ENDPOINT_COMPLETIONS,
                                         json_pack("{s:s, s:i}", "prompt", "The", "max_tokens", 3));
    assert_true(local_fixture_submit(&fixture, last));
    local_fixture_cancel(&fixture, waiting, false);
    local_fixture_cancel(&fixture, running, false);
    local_fixture_cancel(&fixture, running, false);
    local_fixture_wait(&fixture, 3);
    assert_int_equal(running->calls->answer.error.kind, ERROR_CANCELLED);
    assert_int_equal(waiting->calls->answer.error.kind, ERROR_CANCELLED);
    assert_int_equal(last->calls->answer.error.kind, ERROR_NONE);
    assert_true(generated(&fixture) < 900 + 3);
    job_close(running);
    job_close(waiting);
    job_close(last);
    local_fixture_close(&fixture);
}

static void test_only_waiting_leaves_what_has_begun(void **state)
{
    (void)state;
    struct local_fixture fixture;
    local_fixture_open(&fixture, SCRIBE, 16, 1);
    struct job *running = submit_long(&fixture, 1);
    wait_until_running(&fixture, 1);
    struct job *waiting = submit_long(&fixture, 2);
    local_fixture_cancel(&fixture, waiting, true);
    local_fixture_cancel(&fixture, running, true);
    local_fixture_wait(&fixture, 2);
    assert_int_equal(waiting->calls->answer.error.kind, ERROR_CANCELLED);
    assert_int_equal(running->calls->answer.error.kind, ERROR_NONE);
    job_close(running);
    job_close(waiting);
    local_fixture_close(&fixture);
}

static void test_a_call_that_loses_one_choice_gives_up_the_others(void **state)
{
    (void)state;
    struct local_fixture fixture;
    local_fixture_open(&fixture, SCRIBE, 16, 1);
    struct job *job = submit_long(&fixture, 3); // one runs, two wait
    wait_until_running(&fixture, 1);
    local_fixture_cancel(&fixture, job, true);
    local_fixture_wait(&fixture, 1);
    assert_int_equal(job->calls->answer.error.kind, ERROR_CANCELLED);
    assert_true(generated(&fixture) < 900);
    job_close(job);
    local_fixture_close(&fixture);
}

static void test_cancelling_at_any_moment_gives_an_answer_or_none(void **state)
{
    (void)state;
    enum { CALLS = 48 };
    struct local_fixture fixture;
    struct job *jobs[CALLS];
    seed_random();
    local_fixture_open(&fixture, SCRIBE, 3 * CALLS, 8);
    for (int i = 0; i < CALLS; i++) {
        jobs[i] = local_fixture_job(&fixture, ENDPOINT_CHAT, mixed_body(i));
        assert_true(local_fixture_submit(&fixture, jobs[i]));
        struct job *victim = jobs[random_below((size_t)i + 1)];
        local_fixture_cancel(&fixture, victim, random_below(2) == 0);
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)random_below(2000000)}, NULL);
    }
    local_fixture_wait(&fixture, CALLS);
    for (int i = 0; i < CALLS; i++) {
        const struct call_answer *answer = &jobs[i]->calls->answer;
        assert_true(answer->error.kind == ERROR_CANCELLED ||
                    (answer->error.kind == ERROR_NONE && answer->body.size > 0));
        job_close(jobs[i]);
    }
    local_fixture_close(&fixture);
}

static json_t *short_body(int n)
{
    return json_pack("{s:s, s:i, s:i}", "prompt", "The", "max_tokens", 4, "n", n);
}

static void test_a_full_generator_takes_more_after_a_poll(void **state)
{
    (void)state;
    struct local_fixture fixture;
    struct job *jobs[3];
    local_fixture_open(&fixture, SCRIBE, 3, 2);
    for (int i = 0; i < 3; i++) {
        jobs[i] = local_fixture_job(&fixture, ENDPOINT_COMPLETIONS, short_body(i == 0 ? 2 : 1));
    }
    assert_true(local_fixture_submit(&fixture, jobs[0])); // two choices
    assert_true(local_fixture_submit(&fixture, jobs[1]));
    assert_false(local_fixture_submit(&fixture, jobs[2]));
    local_fixture_wait(&fixture, 1);
    assert_true(local_fixture_submit(&fixture, jobs[2]));
    local_fixture_wait(&fixture, 2);
    for (int i = 0; i < 3; i++) {
        json_decref(local_fixture_answer(jobs[i]));
        job_close(jobs[i]);
    }
    struct job *large = local_fixture_job(&fixture, ENDPOINT_COMPLETIONS, short_body(4));
    assert_int_equal(large->error.kind, ERROR_INVALID); // it could never be submitted
    job_close(large);
    local_fixture_close(&fixture);
}

static void test_opens_and_closes_with_nothing_inside(void **state)
{
    (void)state;
    struct local_fixture fixture;
    local_fixture_open(&fixture, SCRIBE, 4, 4);
    assert_true(bytes_equal_text(local_served_by(fixture.local, 0)->model, "model"));
    struct job *prepared = local_fixture_job(&fixture, ENDPOINT_CHAT, mixed_body(0));
    assert_int_equal(prepared->error.kind, ERROR_NONE);
    job_close(prepared); // never submitted
    local_fixture_close(&fixture);
}

static void check_refused(struct local_options *options, const char *message)
{
    struct error error = {0};
    struct local *local = NULL;
    assert_false(local_open(options, &local, &error));
    assert_null(local);
    assert_int_equal(error.kind, ERROR_CONFIG);
    if (strstr(error.message, message) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, message);
    }
}

static void test_models_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct error error = {0};
    struct pool *pool = NULL;
    assert_true(pool_open(1, &pool, &error));
    struct local_model_options models[] = {{.name = "a", .path = SCRIBE, .kv_share = 0.7},
                                           {.name = "b", .path = SCRIBE, .kv_share = 0.7}};
    struct local_options options = {
        .models = models,
        .models_count = 2,
        .kv_cache_bytes = 1 << 20,
        .max_num_seqs = 1,
        .max_num_batched_tokens = 64,
        .calls_max = 1,
        .pool = pool,
    };
    check_refused(&options, "kv_share");
    models[1].kv_share = 0;
    models[1].path = SOURCE_DIR "/deploy";
    check_refused(&options, "model b: ");
    options.models_count = 0;
    check_refused(&options, "0 models");
    pool_close(pool);
}

static void test_served_by_names_the_adapter(void **state)
{
    (void)state;
    static const struct tiny_model tiny = {
        .hidden = 24, .intermediate = 28, .layers = 2, .heads = 3, .kv_heads = 1, .head_dim = 8};
    struct error error = {0};
    struct pool *pool = NULL;
    struct local *local = NULL;
    char path[TINY_MODEL_PATH];
    tiny_model_write(&tiny, path);
    assert_true(pool_open(1, &pool, &error));
    const struct local_model_options models[] = {
        {.name = "base", .path = path, .adapter = ""},
        {.name = "base", .path = path, .adapter = SOURCE_DIR "/tests/golden/model/adapter-plain/"}};
    const struct local_options options = {
        .models = models,
        .models_count = 2,
        .kv_cache_bytes = 1 << 20,
        .max_num_seqs = 1,
        .max_num_batched_tokens = 64,
        .may_lack_tokenizer = true,
        .calls_max = 1,
        .pool = pool,
    };
    if (!local_open(&options, &local, &error)) {
        fail_msg("%s", error.message);
    }
    const struct served_by *plain = local_served_by(local, 0);
    const struct served_by *adapted = local_served_by(local, 1);
    assert_true(bytes_equal_text(plain->model, "base"));
    assert_true(bytes_equal_text(adapted->model, "base+adapter-plain"));
    assert_int_equal(plain->weights_hash.size, adapted->weights_hash.size);
    assert_true(memcmp(plain->weights_hash.data, adapted->weights_hash.data,
                       plain->weights_hash.size) != 0);
    struct generator *generator = local_generator(local);
    generator->ops->close(generator);
    pool_close(pool);
    tiny_model_remove(path);
}

struct watched {
    int calls;
    int layers;
};

static void on_loading(void *context, const char *model, int layers_done, int layers)
{
    struct watched *watched = context;
    assert_string_equal(model, "tiny");
    assert_int_equal(layers_done, ++watched->calls);
    watched->layers = layers;
}

static void test_loading_is_told_by_layers_and_ends_in_facts(void **state)
{
    (void)state;
    static const struct tiny_model tiny = {
        .hidden = 24, .intermediate = 28, .layers = 3, .heads = 3, .kv_heads = 1, .head_dim = 8};
    struct error error = {0};
    struct watched watched = {0};
    struct pool *pool = NULL;
    struct local *local = NULL;
    struct model_report report;
    char path[TINY_MODEL_PATH];
    tiny_model_write(&tiny, path);
    assert_true(pool_open(1, &pool, &error));
    assert_true(model_report_make(path, NULL, &report, &error));
    const struct local_model_options model = {.name = "tiny", .path = path};
    const struct local_options options = {
        .models = &model,
        .models_count = 1,
        .weights = WEIGHTS_INT8,
        .kv_format = KV_F32,
        .kv_cache_bytes = 1 << 20,
        .max_num_seqs = 1,
        .max_num_batched_tokens = 64,
        .may_lack_tokenizer = true,
        .calls_max = 1,
        .pool = pool,
        .on_loading = on_loading,
        .loading_context = &watched,
    };
    assert_true(local_open(&options, &local, &error));
    assert_true(watched.calls == 3 && watched.layers == 3);
    struct local_model_facts facts = local_facts(local, 0);
    assert_string_equal(facts.name, "tiny");
    assert_string_equal(facts.weights, "int8");
    assert_string_equal(facts.kv, "f32");
    assert_int_equal(facts.weights_bytes, report.weights_bytes_int8);
    assert_true(facts.kv_bytes > (1 << 20) / 2 && facts.kv_bytes <= 1 << 20);
    assert_true(facts.kv_bytes / (size_t)facts.kv_blocks >= // values are padded
                (size_t)facts.kv_block_tokens * report.kv_bytes_per_token);
    assert_true(facts.load_ms > 0 && facts.tokens_max > 0 && facts.auto_reason != NULL);
    local_generator(local)->ops->close(local_generator(local));
    pool_close(pool);
    tiny_model_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_in_a_crowd_are_the_answers_alone),
        cmocka_unit_test(test_cancelled_calls_come_back_soon_and_once),
        cmocka_unit_test(test_only_waiting_leaves_what_has_begun),
        cmocka_unit_test(test_a_call_that_loses_one_choice_gives_up_the_others),
        cmocka_unit_test(test_cancelling_at_any_moment_gives_an_answer_or_none),
        cmocka_unit_test(test_a_full_generator_takes_more_after_a_poll),
        cmocka_unit_test(test_opens_and_closes_with_nothing_inside),
        cmocka_unit_test(test_models_that_do_not_fit_are_refused),
        cmocka_unit_test(test_served_by_names_the_adapter),
        cmocka_unit_test(test_loading_is_told_by_layers_and_ends_in_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
