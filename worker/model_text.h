/* model_text: `model tokenize` and `model render`. Thread: main. */
#ifndef WORKER_MODEL_TEXT_H
#define WORKER_MODEL_TEXT_H

#include "schemas/base/error.h"

/* {"text", "add_special_tokens": true} -> {"ids", "decoded"} */
MUST_CHECK bool model_text_tokenize(const char *path, struct error *error);
/* The template's variables -> {"text"}; `path` is a folder or a .jinja file. */
MUST_CHECK bool model_text_render(const char *path, struct error *error);

#endif
