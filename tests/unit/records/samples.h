/* samples: records with every field filled, and with none but what must be there. Static memory. */
#ifndef TESTS_UNIT_RECORDS_SAMPLES_H
#define TESTS_UNIT_RECORDS_SAMPLES_H

#include "schemas/base/records.h"

/* Initialises a struct bytes from a literal, which may hold NULs. */
#define BYTES(literal)                                                                             \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

extern const struct inference_request sample_request;
extern const struct inference_request sample_request_bare;
extern const struct inference_response sample_response;
extern const struct inference_response sample_response_failed;
extern const struct comparison sample_comparison;
extern const struct control sample_control;

#endif
