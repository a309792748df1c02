/* request_fixture: an arena for all bodies of a test. */
#include "tests/support/request_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"

int request_fixture_setup(void **state)
{
    struct request_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->arena = arena_open(1 << 20);
    assert_non_null(fixture->arena);
    *state = fixture;
    return 0;
}

int request_fixture_teardown(void **state)
{
    struct request_fixture *fixture = *state;
    openai_request_close(&fixture->request);
    arena_close(fixture->arena);
    free(fixture);
    return 0;
}

bool request_fixture_parse(struct request_fixture *fixture, enum openai_endpoint endpoint,
                           const char *text)
{
    size_t size = strlen(text);
    char *body = malloc(size + 1);
    assert_non_null(body);
    memcpy(body, text, size);
    openai_request_close(&fixture->request);
    fixture->error = (struct error){0};
    bool ok = openai_request_parse(endpoint, (struct bytes){body, size}, fixture->arena,
                                   &fixture->request, &fixture->error);
    free(body);
    return ok;
}
