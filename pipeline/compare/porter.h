/* porter: NLTK's Porter stemmer with its extensions, which is the one that rouge-score uses.
 *
 * It differs from Porter's paper and from libstemmer's porter: a table of irregular words, "ies"
 * and "ied" in short words, the vowel that must stand before a final y, "alli", "fulli" and "logi".
 * Thread: any, no state.
 */
#ifndef PIPELINE_COMPARE_PORTER_H
#define PIPELINE_COMPARE_PORTER_H

#include <stddef.h>

/* Stems the word `text` of a-z and 0-9 in place and returns its size, which is at most `size`. */
size_t porter_stem(char *text, size_t size);

#endif
