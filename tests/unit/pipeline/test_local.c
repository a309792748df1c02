/* local: what each parameter of a request does to the answer, with the demo's model. */
#include "pipeline/local.h"

#include <string.h>

#include "pipeline/text/tokenizer.h"
#include "tests/support/cmocka.h"
#include "tests/support/local_fixture.h"

enum { CALLS_MAX = 256, SEQS_MAX = 32, CONTEXT = 1024 };

static struct local_fixture fixture;

static int open_fixture(void **state)
{
    (void)state;
    local_fixture_open(&fixture, SCRIBE, CALLS_MAX, SEQS_MAX);
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    local_fixture_close(&fixture);
    return 0;
}

static json_t *chat(json_t *body)
{
    return local_fixture_ask(&fixture, ENDPOINT_CHAT, body);
}

static json_t *complete(json_t *body)
{
    return local_fixture_ask(&fixture, ENDPOINT_COMPLETIONS, body);
}

/* A demo job with one more member. */
static json_t *demo_with(int index, const char *name, json_t *value)
{
    json_t *body = demo_body(index, NULL);
    assert_int_equal(json_object_set_new(body, name, value), 0);
    return body;
}

static void test_answers_the_demo_jobs_with_their_references(void **state)
{
    (void)state;
    enum { JOBS = 40 };
    struct job *jobs[JOBS];
    json_t *references[JOBS];
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = local_fixture_job(&fixture, ENDPOINT_CHAT, demo_body(i, &references[i]));
        assert_true(local_fixture_submit(&fixture, jobs[i]));
    }
    local_fixture_wait(&fixture, JOBS);
    int right = 0;
    for (int i = 0; i < JOBS; i++) {
        json_t *answer = local_fixture_answer(jobs[i]);
        const char *text = choice_text(answer_choice(answer, 0));
        right += strcmp(text, json_string_value(references[i])) == 0;
        assert_string_equal(choice_finish(answer_choice(answer, 0)), "stop");
        json_decref(answer);
        json_decref(references[i]);
        job_close(jobs[i]);
    }
    assert_true(right >= JOBS - 1); // the model is small, and instruction sets round differently
}

/* Whether the first `count` tokens of the call's answer contain `text`. */
static bool tokens_contain(const struct tokenizer *tokenizer, const struct call *call, int count,
                           const char *text)
{
    const int32_t *tokens = NULL;
    assert_true(local_call_tokens(call, 0, &tokens) >= count);
    struct buffer decoded;
    buffer_init(&decoded, 1 << 20);
    tokenizer_decode(tokenizer, tokens, (size_t)count, true, &decoded);
    bool is_found = strstr(buffer_bytes(&decoded).data, text) != NULL;
    buffer_close(&decoded);
    return is_found;
}

/* The answer with this stop string is `whole` up to it, and its last token completes it. */
static void check_stop(const struct tokenizer *tokenizer, const struct job *job, const char *whole,
                       const char *stop)
{
    json_t *answer = local_fixture_answer(job);
    const char *text = choice_text(answer_choice(answer, 0));
    size_t cut = (size_t)(strstr(whole, stop) - whole);
    assert_int_equal(strlen(text), cut);
    assert_memory_equal(text, whole, cut);
    assert_string_equal(choice_finish(answer_choice(answer, 0)), "stop");
    int count = answer_usage(answer, "completion_tokens");
    assert_true(tokens_contain(tokenizer, job->calls, count, stop));
    assert_false(tokens_contain(tokenizer, job->calls, count - 1, stop));
    json_decref(answer);
}

static void test_stop_strings_cut_the_text_wherever_they_stand(void **state)
{
    (void)state;
    struct error error = {0};
    struct tokenizer *tokenizer = NULL;
    assert_true(tokenizer_open(SCRIBE, &tokenizer, &error));
    json_t *plain = chat(demo_body(0, NULL));
    const char *whole = choice_text(answer_choice(plain, 0));
    size_t size = strlen(whole);
    assert_true(size > 60);
    static const size_t sizes[] = {1, 3, 9, 25};
    for (size_t at = 0; at < 4; at++) {
        struct job *jobs[64];
        char stops[64][32] = {{0}};
        int count = 0;
        // Up to the very end: the last one has the text's last byte in it.
        for (size_t start = size - sizes[at]; count < 64; start -= 5) {
            memcpy(stops[count], whole + start, sizes[at]);
            json_t *stop = json_pack("[s, s]", stops[count], "is not in it");
            jobs[count] = local_fixture_job(&fixture, ENDPOINT_CHAT, demo_with(0, "stop", stop));
            assert_true(local_fixture_submit(&fixture, jobs[count]));
            count++;
            if (start < 5) {
                break;
            }
        }
        local_fixture_wait(&fixture, count);
        for (int i = 0; i < count; i++) {
            check_stop(tokenizer, jobs[i], whole, stops[i]);
            job_close(jobs[i]);
        }
    }
    json_decref(plain);
    tokenizer_close(tokenizer);
}

static void test_of_two_stop_strings_the_first_complete_one_cuts(void **state)
{
    (void)state;
    json_t *plain = chat(demo_body(0, NULL));
    const char *whole = choice_text(answer_choice(plain, 0));
    char early[8] = {0};
    char late[8] = {0};
    memcpy(early, whole + 20, 6);
    memcpy(late, whole + 40, 6);
    json_t *answer = chat(demo_with(0, "stop", json_pack("[s, s]", late, early)));
    const char *text = choice_text(answer_choice(answer, 0));
    assert_int_equal(strlen(text), strstr(whole, early) - whole);
    json_decref(answer);
    answer = chat(demo_with(0, "stop", json_string("is not in it")));
    assert_string_equal(choice_text(answer_choice(answer, 0)), whole);
    assert_int_equal(answer_usage(answer, "completion_tokens"),
                     answer_usage(plain, "completion_tokens"));
    json_decref(answer);
    json_decref(plain);
}

static void test_a_stop_string_in_the_last_allowed_token_is_a_stop(void **state)
{
    (void)state;
    json_t *stopped = chat(demo_with(0, "stop", json_string("delivered")));
    int count = answer_usage(stopped, "completion_tokens");
    json_t *body = demo_with(0, "stop", json_string("delivered"));
    (void)json_object_set_new(body, "max_tokens", json_integer(count));
    json_t *answer = chat(body);
    assert_true(json_equal(answer_choice(answer, 0), answer_choice(stopped, 0)));
    assert_string_equal(choice_finish(answer_choice(answer, 0)), "stop");
    json_decref(answer);
    body = demo_with(0, "stop", json_string("delivered"));
    (void)json_object_set_new(body, "max_tokens", json_integer(count - 1));
    answer = chat(body);
    assert_string_equal(choice_finish(answer_choice(answer, 0)), "length");
    json_decref(answer);
    json_decref(stopped);
}

static void test_max_tokens_ends_with_length(void **state)
{
    (void)state;
    json_t *answer = chat(demo_with(0, "max_tokens", json_integer(5)));
    assert_string_equal(choice_finish(answer_choice(answer, 0)), "length");
    assert_int_equal(answer_usage(answer, "completion_tokens"), 5);
    json_decref(answer);
    // Without max_tokens a chat may use the whole context.
    json_t *body = demo_with(0, "ignore_eos", json_true());
    (void)json_object_del(body, "max_tokens");
    answer = chat(body);
    assert_string_equal(choice_finish(answer_choice(answer, 0)), "length");
    assert_int_equal(answer_usage(answer, "total_tokens"), CONTEXT);
    json_decref(answer);
}

/* Joins the bytes of chat logprobs. */
static void join_bytes(const json_t *content, struct buffer *out)
{
    size_t index;
    const json_t *item;
    json_array_foreach (content, index, item) {
        const json_t *bytes = json_object_get(item, "bytes");
        for (size_t i = 0; i < json_array_size(bytes); i++) {
            buffer_append_char(out, (char)json_integer_value(json_array_get(bytes, i)));
        }
        assert_true(json_number_value(json_object_get(item, "logprob")) <= 0);
    }
}

static void test_chat_logprobs_are_of_the_kept_tokens(void **state)
{
    (void)state;
    for (int stops = 0; stops < 2; stops++) {
        json_t *body = demo_with(0, "logprobs", json_true());
        if (stops == 1) {
            (void)json_object_set_new(body, "stop", json_string("livered"));
        }
        json_t *answer = chat(body);
        const json_t *choice = answer_choice(answer, 0);
        const json_t *content = json_object_get(json_object_get(choice, "logprobs"), "content");
        assert_int_equal(json_array_size(content), answer_usage(answer, "completion_tokens"));
        struct buffer joined;
        buffer_init(&joined, 1 << 20);
        join_bytes(content, &joined);
        size_t size = strlen(choice_text(choice));
        assert_true(stops == 1 ? joined.size > size : joined.size == size);
        assert_memory_equal(joined.data, choice_text(choice), size);
        buffer_close(&joined);
        json_decref(answer);
    }
}

static void test_completion_logprobs_are_of_the_kept_tokens(void **state)
{
    (void)state;
    json_t *answer = complete(json_pack("{s:s, s:i, s:i, s:i}", "prompt", "The goods were",
                                        "max_tokens", 12, "logprobs", 0, "temperature", 0));
    const json_t *logprobs = json_object_get(answer_choice(answer, 0), "logprobs");
    const json_t *values = json_object_get(logprobs, "token_logprobs");
    assert_int_equal(json_array_size(json_object_get(logprobs, "tokens")), 12);
    assert_int_equal(json_array_size(values), 12);
    for (size_t i = 0; i < 12; i++) {
        assert_true(json_number_value(json_array_get(values, i)) <= 0);
    }
    json_decref(answer);
}

static json_t *sampled(json_t *seed)
{
    json_t *body = json_pack("{s:s, s:i, s:i, s:f}", "prompt", "The goods were", "n", 4,
                             "max_tokens", 24, "temperature", 1.0);
    if (seed != NULL) {
        (void)json_object_set_new(body, "seed", seed);
    }
    return complete(body);
}

static void test_choices_differ_and_a_seed_repeats_them(void **state)
{
    (void)state;
    json_t *first = sampled(json_integer(5));
    json_t *again = sampled(json_integer(5));
    json_t *other = sampled(json_integer(50));
    json_t *unseeded = sampled(NULL);
    json_t *unseeded_again = sampled(NULL); // the record's id is the seed
    assert_true(json_equal(json_object_get(first, "choices"), json_object_get(again, "choices")));
    assert_true(json_equal(json_object_get(unseeded, "choices"),
                           json_object_get(unseeded_again, "choices")));
    assert_false(json_equal(json_object_get(first, "choices"), json_object_get(other, "choices")));
    for (int i = 1; i < 4; i++) {
        assert_string_not_equal(choice_text(answer_choice(first, 0)),
                                choice_text(answer_choice(first, i)));
    }
    assert_int_equal(answer_usage(first, "prompt_tokens"), answer_usage(other, "prompt_tokens"));
    json_decref(first);
    json_decref(again);
    json_decref(other);
    json_decref(unseeded);
    json_decref(unseeded_again);
}

/* The demo model's generation_config.json says do_sample false. */
static void test_a_model_says_how_it_is_sampled_unless_the_request_does(void **state)
{
    (void)state;
    json_t *silent = complete(
        json_pack("{s:s, s:i, s:i}", "prompt", "The goods were", "n", 2, "max_tokens", 24));
    json_t *warm = complete(json_pack("{s:s, s:i, s:i, s:f}", "prompt", "The goods were", "n", 2,
                                      "max_tokens", 24, "temperature", 1.5));
    assert_string_equal(choice_text(answer_choice(silent, 0)),
                        choice_text(answer_choice(silent, 1)));
    assert_string_not_equal(choice_text(answer_choice(warm, 0)),
                            choice_text(answer_choice(warm, 1)));
    json_decref(silent);
    json_decref(warm);
}

static json_t *greedy(json_t *prompt)
{
    return json_pack("{s:o, s:i, s:i}", "prompt", prompt, "max_tokens", 10, "temperature", 0);
}

static void test_echo_puts_the_prompt_before_the_answer(void **state)
{
    (void)state;
    json_t *prompts[] = {json_string("The goods were"), json_pack("[i, i, i]", 84, 104, 101)};
    static const char *const texts[] = {"The goods were", "The"};
    for (int i = 0; i < 2; i++) {
        json_t *plain = complete(greedy(json_incref(prompts[i])));
        json_t *body = greedy(prompts[i]);
        (void)json_object_set_new(body, "echo", json_true());
        json_t *answer = complete(body);
        const char *text = choice_text(answer_choice(answer, 0));
        assert_memory_equal(text, texts[i], strlen(texts[i]));
        assert_string_equal(text + strlen(texts[i]), choice_text(answer_choice(plain, 0)));
        json_decref(plain);
        json_decref(answer);
    }
}

/* Each choice of the array's answer is that of its prompt alone. */
static void check_array(json_t *prompts)
{
    json_t *together = complete(greedy(json_incref(prompts)));
    int tokens = 0;
    for (size_t i = 0; i < json_array_size(prompts); i++) {
        json_t *alone = complete(greedy(json_incref(json_array_get(prompts, i))));
        assert_string_equal(choice_text(answer_choice(alone, 0)),
                            choice_text(answer_choice(together, (int)i)));
        tokens += answer_usage(alone, "total_tokens");
        json_decref(alone);
    }
    assert_int_equal(answer_usage(together, "total_tokens"), tokens);
    json_decref(together);
    json_decref(prompts);
}

static void test_prompts_may_be_arrays_of_texts_or_of_ids(void **state)
{
    (void)state;
    check_array(json_pack("[s, s, s]", "The goods were", "A", "On 2028-07-17 the check found"));
    check_array(json_pack("[[i, i], [i, i, i]]", 84, 104, 84, 104, 101));
}

static void test_ignore_eos_goes_on_to_max_tokens(void **state)
{
    (void)state;
    json_t *answer = chat(demo_with(0, "ignore_eos", json_true()));
    assert_int_equal(answer_usage(answer, "completion_tokens"), 160);
    assert_string_equal(choice_finish(answer_choice(answer, 0)), "length");
    json_decref(answer);
}

/* How often the most frequent of the answer's token ids comes, with this penalty. */
static int most_frequent(const char *penalty, double value)
{
    json_t *body = json_pack("{s:s, s:i, s:i, s:b}", "prompt", "The", "max_tokens", 64,
                             "temperature", 0, "ignore_eos", 1);
    (void)json_object_set_new(body, penalty, json_real(value));
    struct job *job = local_fixture_job(&fixture, ENDPOINT_COMPLETIONS, body);
    assert_true(local_fixture_submit(&fixture, job));
    local_fixture_wait(&fixture, 1);
    const int32_t *tokens = NULL;
    int count = local_call_tokens(job->calls, 0, &tokens);
    assert_int_equal(count, 64);
    int most = 0;
    for (int i = 0; i < count; i++) {
        int same = 0;
        for (int j = 0; j < count; j++) {
            same += tokens[i] == tokens[j];
        }
        most = same > most ? same : most;
    }
    job_close(job);
    return most;
}

static void test_penalties_make_repetition_rarer(void **state)
{
    (void)state;
    int plain = most_frequent("frequency_penalty", 0);
    assert_true(plain > 2);
    assert_true(most_frequent("frequency_penalty", 2) < plain);
    assert_true(most_frequent("repetition_penalty", 2) < plain);
    assert_true(most_frequent("presence_penalty", 2) <= plain);
}

/* The error of a request that cannot be prepared. */
static struct error refusal(enum openai_endpoint endpoint, json_t *body)
{
    struct job *job = local_fixture_job(&fixture, endpoint, body);
    struct error error = job->error;
    assert_int_equal(error.kind, ERROR_INVALID);
    job_close(job);
    return error;
}

static json_t *repeated_ids(int count)
{
    json_t *ids = json_array();
    for (int i = 0; i < count; i++) {
        (void)json_array_append_new(ids, json_integer(65 + i % 26));
    }
    return ids;
}

static void test_a_prompt_too_long_is_refused_with_limit_and_value(void **state)
{
    (void)state;
    struct error error = refusal(ENDPOINT_COMPLETIONS, greedy(repeated_ids(CONTEXT - 9)));
    assert_string_equal(error.code, "context_length_exceeded");
    assert_string_equal(error.param, "prompt");
    assert_non_null(strstr(error.message, "1015"));
    assert_non_null(strstr(error.message, "1024"));
    for (int more = 0; more < 2; more++) {
        error = refusal(ENDPOINT_COMPLETIONS, greedy(repeated_ids(CONTEXT + more)));
        assert_string_equal(error.code, "context_length_exceeded");
        assert_string_equal(error.param, "prompt");
        assert_non_null(strstr(error.message, "1024"));
    }
    json_t *tools = json_pack("[{s:s, s:{s:s}}]", "type", "function", "function", "name", "f");
    error = refusal(ENDPOINT_CHAT, demo_with(0, "tools", tools));
    assert_non_null(strstr(error.message, "has no place for tools"));
    error = refusal(ENDPOINT_CHAT, demo_with(0, "max_tokens", json_integer(1000)));
    assert_string_equal(error.code, "context_length_exceeded");
    assert_string_equal(error.param, "messages");
    json_t *answer = complete(greedy(repeated_ids(CONTEXT - 10)));
    assert_int_equal(answer_usage(answer, "prompt_tokens"), CONTEXT - 10);
    json_decref(answer);
}

static void test_a_prompt_without_tokens_or_with_foreign_ids_is_refused(void **state)
{
    (void)state;
    assert_non_null(
        strstr(refusal(ENDPOINT_COMPLETIONS, greedy(json_string(""))).message, "no tokens"));
    struct error error = refusal(ENDPOINT_COMPLETIONS, greedy(json_pack("[i, i]", 1, 1536)));
    assert_non_null(strstr(error.message, "1536"));
    assert_non_null(strstr(error.message, "1535"));
}

static void test_a_completion_continues_the_text_of_its_prompt(void **state)
{
    (void)state;
    struct local_fixture stories;
    FILE *file = fopen(DATA_DIR "/models/stories260K/config.json", "rb");
    if (file == NULL) {
        print_message("no " DATA_DIR "/models/stories260K\n");
        skip();
    }
    (void)fclose(file);
    local_fixture_open(&stories, DATA_DIR "/models/stories260K", 8, 8);
    json_t *body = greedy(json_string("Once"));
    (void)json_object_set_new(body, "echo", json_true());
    json_t *answer = local_fixture_ask(&stories, ENDPOINT_COMPLETIONS, body);
    assert_memory_equal(choice_text(answer_choice(answer, 0)), "Once upon a time", 16);
    json_decref(answer);
    // After the beginning-of-text token alone there is nothing to continue.
    answer = local_fixture_ask(&stories, ENDPOINT_COMPLETIONS, greedy(json_pack("[i]", 1)));
    assert_memory_equal(choice_text(answer_choice(answer, 0)), "Once upon a time", 16);
    json_decref(answer);
    local_fixture_close(&stories);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_the_demo_jobs_with_their_references),
        cmocka_unit_test(test_stop_strings_cut_the_text_wherever_they_stand),
        cmocka_unit_test(test_of_two_stop_strings_the_first_complete_one_cuts),
        cmocka_unit_test(test_a_stop_string_in_the_last_allowed_token_is_a_stop),
        cmocka_unit_test(test_max_tokens_ends_with_length),
        cmocka_unit_test(test_chat_logprobs_are_of_the_kept_tokens),
        cmocka_unit_test(test_completion_logprobs_are_of_the_kept_tokens),
        cmocka_unit_test(test_choices_differ_and_a_seed_repeats_them),
        cmocka_unit_test(test_a_model_says_how_it_is_sampled_unless_the_request_does),
        cmocka_unit_test(test_echo_puts_the_prompt_before_the_answer),
        cmocka_unit_test(test_prompts_may_be_arrays_of_texts_or_of_ids),
        cmocka_unit_test(test_ignore_eos_goes_on_to_max_tokens),
        cmocka_unit_test(test_penalties_make_repetition_rarer),
        cmocka_unit_test(test_a_prompt_too_long_is_refused_with_limit_and_value),
        cmocka_unit_test(test_a_prompt_without_tokens_or_with_foreign_ids_is_refused),
        cmocka_unit_test(test_a_completion_continues_the_text_of_its_prompt),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
