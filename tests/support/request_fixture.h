/* request_fixture: parses bodies of requests, one after another; for each test. */
#ifndef TESTS_SUPPORT_REQUEST_FIXTURE_H
#define TESTS_SUPPORT_REQUEST_FIXTURE_H

#include "pipeline/openai/request.h"

struct request_fixture {
    struct arena *arena;
    struct openai_request request; // of the last body that was taken
    struct error error;            // of the last one that was not
};

int request_fixture_setup(void **state);
int request_fixture_teardown(void **state);

/* Parses a body of exactly the bytes of `text`, so that the sanitizer sees a read past its end. */
bool request_fixture_parse(struct request_fixture *fixture, enum openai_endpoint endpoint,
                           const char *text);

#endif
