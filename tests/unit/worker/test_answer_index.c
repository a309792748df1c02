/* answer_index: the answer of an id, and which of several. */
#include "worker/answer_index.h"

#include <stdio.h>

#include "pipeline/comparison.h"
#include "tests/support/cmocka.h"

enum { ANSWERS = 5000 };

static struct record_codec *codec;
static struct answer_index *answers;
static struct arena *arena;

static void add(const char *custom_id, const char *body, int64_t rank)
{
    struct error error = {0};
    struct answer answer = {
        .status_code = 200, .body = bytes_of(body), .has_latency_ms = true, .latency_ms = 1.5};
    if (!answer_index_add(answers, bytes_of(custom_id), &answer, rank, &error)) {
        fail_msg("%s", error.message);
    }
}

static const struct answer *find(const char *custom_id)
{
    struct error error = {0};
    const struct answer *answer;
    if (!answer_index_find(answers, bytes_of(custom_id), arena, &answer, &error)) {
        fail_msg("%s", error.message);
    }
    return answer;
}

static void test_each_of_many_is_found_again(void **state)
{
    (void)state;
    char id[32];
    char body[64];
    for (int i = 0; i < ANSWERS; i++) {
        (void)snprintf(id, sizeof id, "id-%d", i);
        (void)snprintf(body, sizeof body, "{\"n\":%d}", i);
        add(id, body, i);
    }
    assert_int_equal(answer_index_count(answers), ANSWERS);
    for (int i = 0; i < ANSWERS; i += 7) {
        (void)snprintf(id, sizeof id, "id-%d", i);
        (void)snprintf(body, sizeof body, "{\"n\":%d}", i);
        const struct answer *answer = find(id);
        assert_non_null(answer);
        assert_true(bytes_equal_text(answer->body, body));
        assert_int_equal(answer->status_code, 200);
        assert_float_equal(answer->latency_ms, 1.5, 0);
    }
    assert_null(find("another"));
}

static void test_of_several_the_highest_rank_counts_in_whatever_order_they_come(void **state)
{
    (void)state;
    add("a", "{\"n\":1}", 5);
    add("a", "{\"n\":2}", 4);
    add("b", "{\"n\":2}", 4);
    add("b", "{\"n\":1}", 5);
    add("c", "{\"n\":2}", 5);
    add("c", "{\"n\":1}", 5);
    assert_int_equal(answer_index_count(answers), 3);
    assert_true(bytes_equal_text(find("a")->body, "{\"n\":1}"));
    assert_true(bytes_equal_text(find("b")->body, "{\"n\":1}"));
    assert_true(bytes_equal_text(find("c")->body, "{\"n\":1}"));
}

static void test_a_response_without_a_body_is_an_answer_of_no_status(void **state)
{
    (void)state;
    struct usage usage = {.prompt_tokens = 3, .completion_tokens = 4};
    struct timing timing = {.queued_ms = 10, .total_ms = 30};
    struct inference_response response = {.usage = &usage, .timing = &timing};
    struct answer answer = answer_of_response(&response);
    assert_int_equal(answer.status_code, 0);
    assert_null(answer.body.data);
    assert_float_equal(answer.latency_ms, 20, 0);
    assert_false(answer.has_first_token_ms);
    assert_int_equal(answer.completion_tokens, 4);
}

static int set_up(void **state)
{
    (void)state;
    struct error error = {0};
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    codec = record_codec_open(&options, &error);
    arena = arena_open(64 << 20);
    return codec != NULL && arena != NULL && answer_index_open(codec, &answers, &error) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    answer_index_close(answers);
    record_codec_close(codec);
    arena_close(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_of_many_is_found_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_of_several_the_highest_rank_counts_in_whatever_order_they_come, set_up, tear_down),
        cmocka_unit_test(test_a_response_without_a_body_is_an_answer_of_no_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
