/* parse_memory: keeps jansson from running out of memory.
 *
 * Where jansson 2.14 finds no memory while it reads, it goes on without the characters: a good body
 * looks broken or its text is another, and it may write behind a string's memory, which it measures
 * by what is left. So it is never told: an allocation that fails notes a shortage, for whoever has
 * parsed to ask (schemas/base/shortage.h), and is tried again for a moment; then the process ends,
 * which costs an attempt and nothing else.
 */
#ifndef PIPELINE_OPENAI_PARSE_MEMORY_H
#define PIPELINE_OPENAI_PARSE_MEMORY_H

#include <stddef.h>

/* Once, before jansson is first used. `allocate` is malloc when NULL; what it gives is freed. */
void parse_memory_watch(void *(*allocate)(size_t size));

#endif
