/* One tokenizer, several threads: each gets what a single thread gets (run it under TSan). */
#include "pipeline/text/tokenizer.h"

#include <pthread.h>

#include "tests/support/cmocka.h"

enum { THREADS = 4, ROUNDS = 100 };

static const char text[] =
    "The mill\xE2\x80\x99s wheel turned 1,250 times.\n\n<|im_end|> caf\x65\xCC\x81";

struct worker {
    const struct tokenizer *tokenizer;
    const struct token_list *expected;
    bool is_equal;
};

static bool encode_again(const struct worker *worker)
{
    struct token_list list;
    struct error error = {0};
    token_list_init(&list, 1000);
    bool is_equal = tokenizer_encode(worker->tokenizer, bytes_of(text), true, &list, &error) &&
                    list.count == worker->expected->count &&
                    memcmp(list.ids, worker->expected->ids, list.count * sizeof *list.ids) == 0;
    struct buffer decoded;
    buffer_init(&decoded, 1000);
    tokenizer_decode(worker->tokenizer, list.ids, list.count, true, &decoded);
    is_equal = is_equal && decoded.size > 0;
    buffer_close(&decoded);
    token_list_close(&list);
    return is_equal;
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    worker->is_equal = true;
    for (size_t i = 0; i < ROUNDS; i++) {
        worker->is_equal = encode_again(worker) && worker->is_equal;
    }
    return NULL;
}

static void check(const char *path)
{
    struct tokenizer *tokenizer = NULL;
    struct token_list expected;
    struct error error = {0};
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    token_list_init(&expected, 1000);
    assert_true(tokenizer_open(path, &tokenizer, &error));
    assert_true(tokenizer_encode(tokenizer, bytes_of(text), true, &expected, &error));
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.tokenizer = tokenizer, .expected = &expected};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(workers[i].is_equal);
    }
    token_list_close(&expected);
    tokenizer_close(tokenizer);
}

static void test_threads_share_a_tokenizer(void **state)
{
    (void)state;
    check(SOURCE_DIR "/tests/golden/text/byte-level.json");
    check(SOURCE_DIR "/tests/golden/text/metaspace.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
