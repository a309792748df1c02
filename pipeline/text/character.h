/* character: what a code point is, by its general category, and its lower case. Thread: any, no
 * state. */
#ifndef PIPELINE_TEXT_CHARACTER_H
#define PIPELINE_TEXT_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>

bool character_is_letter(int32_t code_point); // L
bool character_is_mark(int32_t code_point);   // M
bool character_is_number(int32_t code_point); // N

/* The simple lower-case mapping, one code point for one. */
int32_t character_lower(int32_t code_point);

#endif
