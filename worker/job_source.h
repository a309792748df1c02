/* job_source: the requests that `produce` sends, one by one: lines of OpenAI batch files, or the
 * documents of a folder put into a prompt.
 *
 * A prompt is a request body in a JSON file; `{{document}}` in any of its texts becomes the
 * document, and the document's file name becomes the custom_id. Files are read in the order of
 * their names. What is not a request is reported with its file and line, and the next call goes on
 * behind it. Thread: one at a time.
 */
#ifndef WORKER_JOB_SOURCE_H
#define WORKER_JOB_SOURCE_H

#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "schemas/records/record_codec.h"

struct job_source_options {
    const char *const *files; // [files_count] batch files
    size_t files_count;
    const char *documents; // a folder, instead of files
    const char *prompt;    // of the documents
    const char *model;     // replaces `model` in the prompt; NULL: as it is there
    size_t record_bytes_max;
};

enum job_source_result {
    JOB_SOURCE_REQUEST,
    JOB_SOURCE_INVALID, // *error says why, and where
    JOB_SOURCE_END,
    JOB_SOURCE_FAILED, // nothing more can be read
};

struct job_source;

/* `options` (and what it points to) and `codec` are borrowed. */
MUST_CHECK bool job_source_open(const struct job_source_options *options,
                                struct record_codec *codec, struct job_source **source_out,
                                struct error *error);
void job_source_close(struct job_source *source); // accepts NULL

/* The request's memory is in the arena. */
enum job_source_result job_source_next(struct job_source *source, struct arena *arena,
                                       struct inference_request *request_out, struct error *error);

#endif
