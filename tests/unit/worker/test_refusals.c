/* refusals: what is told of a dry run. */
#include "worker/refusals.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"

static bool look(struct refusals *refusals, struct arena *arena, const char *url, const char *body)
{
    struct inference_request request = {.url = bytes_of(url), .body = bytes_of(body)};
    return refusals_look(refusals, &request, arena);
}

static void test_refusals_are_counted_by_endpoint_and_parameter(void **state)
{
    (void)state;
    static const char chat[] = "/v1/chat/completions";
    struct arena *arena = arena_open(1 << 20);
    struct refusals *refusals = refusals_open();
    assert_false(look(refusals, arena, chat,
                      "{\"model\":\"m\",\"stream\":true,\"messages\":"
                      "[{\"role\":\"user\",\"content\":\"x\"}]}"));
    assert_true(look(refusals, arena, chat, "{\"model\":\"m\",\"temperature\":9}"));
    assert_true(look(refusals, arena, chat, "{\"model\":\"m\",\"temperature\":7}"));
    assert_true(look(refusals, arena, chat, "{\"model\":\"m\",\"tea\":1}"));
    assert_true(look(refusals, arena, chat, "{\"model\":\"m\",\"milk\":1}"));
    assert_true(look(refusals, arena, "/v1/images", "{}"));
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    refusals_write(refusals, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "       2  /v1/chat/completions   temperature"));
    assert_non_null(strstr(text, "'tea'"));
    assert_non_null(strstr(text, "'milk'"));
    assert_non_null(strstr(text, "/v1/images"));
    free(text);
    refusals_close(refusals);
    arena_close(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_are_counted_by_endpoint_and_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
