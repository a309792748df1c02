/* comparison: what a record says of both answers. */
#include "pipeline/comparison.h"

#include "tests/support/cmocka.h"

static const char incumbent_body[] =
    "{\"model\":\"gpt-x\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}";
static const char candidate_body[] = "{\"object\":\"chat.completion\"}";
static struct answer incumbent;
static struct usage usage = {.prompt_tokens = 5, .completion_tokens = 3};
static struct timing timing = {
    .queued_ms = 1000, .total_ms = 1250, .has_first_token_ms = true, .first_token_ms = 1050};
static struct label labels[2];
static struct scorer *scorer;

/* A candidate that has answered. */
static struct job *open_job(const char *body)
{
    struct job *job = job_open(1 << 20);
    assert_non_null(job);
    struct error error = {0};
    job->source = (struct source){bytes_of("replay"), 2, 9};
    job->request.custom_id = bytes_of("r-1");
    job->request.run_id = bytes_of("night");
    job->request.body = bytes_of(body);
    incumbent = (struct answer){.status_code = 200, .body = bytes_of(incumbent_body)};
    job->request.incumbent = &incumbent;
    job->calls = arena_alloc(job->arena, sizeof *job->calls);
    job->calls_count = 1;
    assert_true(openai_request_parse(ENDPOINT_CHAT, job->request.body, job->arena,
                                     &job->calls->request, &error));
    job->outcome = OUTCOME_RESPONSE;
    job->response = (struct inference_response){
        .status_code = 200, .body = bytes_of(candidate_body), .usage = &usage, .timing = &timing};
    return job;
}

static const struct comparison *compose(struct job *job)
{
    struct error error = {0};
    if (!comparison_compose(job, scorer, &error)) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(job->outcome, OUTCOME_COMPARISON);
    return &job->comparison;
}

static const char question[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
    "{\"role\":\"user\",\"content\":\"Why?\"}]}";

static void test_both_answers_are_in_it_with_what_their_bodies_say(void **state)
{
    (void)state;
    struct job *job = open_job(question);
    job->calls->answer.has_cost_usd = true;
    job->calls->answer.cost_usd = 0.25;
    const struct comparison *comparison = compose(job);
    assert_true(comparison->candidate->has_cost_usd);
    assert_float_equal(comparison->candidate->cost_usd, 0.25, 0);
    assert_true(bytes_equal_text(comparison->custom_id, "r-1"));
    assert_true(bytes_equal_text(comparison->run_id, "night"));
    assert_int_equal(comparison->source.offset, 9);
    assert_true(bytes_equal_text(comparison->incumbent->model, "gpt-x"));
    assert_int_equal(comparison->incumbent->prompt_tokens, 7);
    assert_int_equal(comparison->incumbent->completion_tokens, 9);
    assert_true(bytes_equal_text(comparison->candidate->body, candidate_body));
    assert_float_equal(comparison->candidate->latency_ms, 250, 0); // without its time in the queue
    assert_float_equal(comparison->candidate->first_token_ms, 50, 0);
    assert_int_equal(comparison->candidate->completion_tokens, 3);
    assert_null(comparison->error);
    assert_int_equal(comparison_class(comparison), COMPARISON_ANSWERED);
    job_close(job);
}

static void test_what_the_record_says_of_the_incumbent_counts_more_than_its_body(void **state)
{
    (void)state;
    struct job *job = open_job(question);
    incumbent.model = bytes_of("gpt-y");
    incumbent.has_prompt_tokens = true;
    incumbent.prompt_tokens = 70;
    const struct comparison *comparison = compose(job);
    assert_true(bytes_equal_text(comparison->incumbent->model, "gpt-y"));
    assert_int_equal(comparison->incumbent->prompt_tokens, 70);
    assert_int_equal(comparison->incumbent->completion_tokens, 9);
    job_close(job);
}

static void test_the_template_is_the_label_or_the_hash_of_the_system_message(void **state)
{
    (void)state;
    static const char parts[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\","
        "\"text\":\"Be brief.\"}]},{\"role\":\"user\",\"content\":\"Who?\"}]}";
    static const char none[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Be brief.\"}]}";
    struct job *first = open_job(question);
    struct job *second = open_job(parts);
    struct job *third = open_job(none);
    struct job *fourth = open_job(question);
    labels[0] = (struct label){bytes_of("team"), bytes_of("x")};
    labels[1] = (struct label){bytes_of("prompt"), bytes_of("brief-v2")};
    fourth->request.labels = (struct labels){labels, 2};
    assert_int_equal(compose(first)->prompt_template.size, 32);
    assert_true(bytes_equal(first->comparison.prompt_template, compose(second)->prompt_template));
    assert_null(compose(third)->prompt_template.data);
    assert_true(bytes_equal_text(compose(fourth)->prompt_template, "brief-v2"));
    job_close(first);
    job_close(second);
    job_close(third);
    job_close(fourth);
}

static enum comparison_class class_of(enum error_kind kind, int status)
{
    struct job *job = open_job(question);
    if (kind != ERROR_NONE) {
        error_set(&job->error, kind, "some_code", NULL, "the reason");
    }
    job->response.status_code = status;
    const struct comparison *comparison = compose(job);
    enum comparison_class class = comparison_class(comparison);
    if (class != COMPARISON_ANSWERED) {
        assert_non_null(comparison->error);
        const struct verdict *last = &comparison->verdicts.items[comparison->verdicts.count - 1];
        assert_false(last->passed);
        assert_true(bytes_equal(last->reason, comparison->error->message));
        assert_true(status != 0 || comparison->candidate == NULL);
    }
    job_close(job);
    return class;
}

static void test_what_the_candidate_does_not_take_is_none_of_its_failures(void **state)
{
    (void)state;
    assert_int_equal(class_of(ERROR_INVALID, 400), COMPARISON_UNSUPPORTED);
    assert_int_equal(class_of(ERROR_NOT_FOUND, 404), COMPARISON_UNSUPPORTED);
    assert_int_equal(class_of(ERROR_TOO_LARGE, 0), COMPARISON_UNSUPPORTED);
    assert_int_equal(class_of(ERROR_NONE, 422), COMPARISON_UNSUPPORTED);
    assert_int_equal(class_of(ERROR_NONE, 401), COMPARISON_FAILED);
    assert_int_equal(class_of(ERROR_NONE, 500), COMPARISON_FAILED);
    assert_int_equal(class_of(ERROR_DEADLINE, 0), COMPARISON_FAILED);
    assert_int_equal(class_of(ERROR_INTERNAL, 0), COMPARISON_FAILED);
}

static void test_a_candidate_that_failed_each_time_is_a_comparison_and_no_dead_letter(void **state)
{
    (void)state;
    struct job *job = open_job(question);
    job->outcome = OUTCOME_DEAD_LETTER;
    error_set(&job->error, ERROR_INTERNAL, "engine_failure", NULL, "the step failed");
    const struct comparison *comparison = compose(job);
    assert_null(comparison->candidate);
    assert_true(bytes_equal_text(comparison->error->code, "engine_failure"));
    assert_int_equal(comparison_class(comparison), COMPARISON_FAILED);
    job_close(job);
}

static void test_one_that_is_too_large_keeps_all_but_its_texts(void **state)
{
    (void)state;
    struct job *job = open_job(question);
    struct error why = {0};
    error_set(&why, ERROR_TOO_LARGE, NULL, NULL, "too large");
    (void)compose(job);
    comparison_shrink(job, &why);
    const struct comparison *comparison = &job->comparison;
    assert_null(comparison->incumbent->body.data);
    assert_null(comparison->candidate->body.data);
    assert_int_equal(comparison->incumbent->completion_tokens, 9);
    assert_int_equal(comparison_class(comparison), COMPARISON_ANSWERED);
    const struct verdict *last = &comparison->verdicts.items[comparison->verdicts.count - 1];
    assert_true(bytes_equal_text(last->name, "whole"));
    assert_false(last->passed);
    job_close(job);
}

static void test_names_of_left_out_parameters_are_joined(void **state)
{
    (void)state;
    struct bytes ours[] = {bytes_of("stream")};
    struct bytes theirs[] = {bytes_of("logit_bias")};
    struct job *job = open_job(question);
    job->dropped = (struct names){ours, 1};
    job->response.dropped = (struct names){theirs, 1};
    const struct comparison *comparison = compose(job);
    assert_int_equal(comparison->dropped.count, 2);
    assert_true(bytes_equal_text(comparison->dropped.items[0], "stream"));
    assert_true(bytes_equal_text(comparison->dropped.items[1], "logit_bias"));
    job_close(job);
}

static const char *const texts[] = {
    "{\"choices\":[{\"message\":{\"content\":\"the cat sat\"},\"finish_reason\":\"stop\"}]}",
    "{\"choices\":[{\"message\":{\"content\":\"the cat ran\"},\"finish_reason\":\"length\"}]}",
};

static const struct score *score_named(const struct comparison *comparison, const char *name)
{
    for (size_t i = 0; i < comparison->scores.count; i++) {
        if (bytes_equal_text(comparison->scores.items[i].name, name)) {
            return &comparison->scores.items[i];
        }
    }
    return NULL;
}

static void test_answers_are_scored_against_the_reference_else_the_incumbent(void **state)
{
    (void)state;
    struct job *agreement = open_job(question);
    incumbent.body = bytes_of(texts[0]);
    agreement->response.body = bytes_of(texts[1]);
    const struct score *rouge = score_named(compose(agreement), "rouge1");
    assert_non_null(rouge);
    assert_float_equal(rouge->value, 2.0 / 3, 1e-9);
    assert_true(bytes_equal_text(rouge->against, "incumbent"));
    assert_true(bytes_equal_text(rouge->version, "1"));
    const struct score *truncated = score_named(&agreement->comparison, "truncated");
    assert_float_equal(truncated->value, 1, 0);
    assert_null(truncated->against.data);
    job_close(agreement);

    struct job *labelled = open_job(question);
    incumbent.body = bytes_of(texts[0]);
    labelled->response.body = bytes_of(texts[1]);
    labelled->request.reference = bytes_of("the cat ran");
    rouge = score_named(compose(labelled), "rouge1");
    assert_float_equal(rouge->value, 1, 0);
    assert_true(bytes_equal_text(rouge->against, "reference"));
    job_close(labelled);
}

static void test_an_incumbent_that_failed_is_nothing_to_be_compared_with(void **state)
{
    (void)state;
    struct job *job = open_job(question);
    incumbent.body = bytes_of(texts[0]);
    incumbent.status_code = 500;
    job->response.body = bytes_of(texts[1]);
    const struct comparison *comparison = compose(job);
    assert_null(score_named(comparison, "rouge1"));
    assert_non_null(score_named(comparison, "truncated"));
    job_close(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_scored_against_the_reference_else_the_incumbent),
        cmocka_unit_test(test_an_incumbent_that_failed_is_nothing_to_be_compared_with),
        cmocka_unit_test(test_both_answers_are_in_it_with_what_their_bodies_say),
        cmocka_unit_test(test_what_the_record_says_of_the_incumbent_counts_more_than_its_body),
        cmocka_unit_test(test_the_template_is_the_label_or_the_hash_of_the_system_message),
        cmocka_unit_test(test_what_the_candidate_does_not_take_is_none_of_its_failures),
        cmocka_unit_test(test_a_candidate_that_failed_each_time_is_a_comparison_and_no_dead_letter),
        cmocka_unit_test(test_one_that_is_too_large_keeps_all_but_its_texts),
        cmocka_unit_test(test_names_of_left_out_parameters_are_joined),
    };
    struct error error = {0};
    if (!scorer_open(&scorer, &error)) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scorer_close(scorer);
    return failed;
}
