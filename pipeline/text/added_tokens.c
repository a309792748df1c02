/* added_tokens: a sorted table, narrowed byte by byte from each possible start. */
#include "pipeline/text/added_tokens.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "pipeline/text/unicode_additions.h"
#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"

enum { CONTENTS_SIZE_MAX = 1 << 28 };

bool added_tokens_init(struct added_tokens *tokens, size_t count_max, struct error *error)
{
    *tokens = (struct added_tokens){.capacity = count_max};
    buffer_init(&tokens->contents, CONTENTS_SIZE_MAX);
    tokens->items = calloc(count_max + 1, sizeof *tokens->items);
    if (tokens->items == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu added tokens",
                         count_max);
    }
    return true;
}

void added_tokens_close(struct added_tokens *tokens)
{
    free(tokens->items);
    buffer_close(&tokens->contents);
    *tokens = (struct added_tokens){0};
}

bool added_tokens_add(struct added_tokens *tokens, struct added_token token, struct bytes content,
                      struct error *error)
{
    CHECK(tokens->count < tokens->capacity);
    if (content.size > ADDED_TOKEN_SIZE_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "added token %d has %zu bytes, at most %d are allowed", (int)token.id,
                         content.size, ADDED_TOKEN_SIZE_MAX);
    }
    if (content.size == 0) {
        return true;
    }
    token.offset = (uint32_t)tokens->contents.size;
    token.size = (uint32_t)content.size;
    buffer_append_bytes(&tokens->contents, content);
    if (buffer_failed(&tokens->contents)) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for the added tokens");
    }
    tokens->items[tokens->count++] = token;
    return true;
}

static const char *content_of(const struct added_tokens *tokens, const struct added_token *token)
{
    return tokens->contents.data + token->offset;
}

/* Before b: a prefix comes before what it begins; of equal contents the lower id. */
static bool is_before(const struct added_tokens *tokens, const struct added_token *a,
                      const struct added_token *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = memcmp(content_of(tokens, a), content_of(tokens, b), size);
    if (order != 0) {
        return order < 0;
    }
    return a->size != b->size ? a->size < b->size : a->id < b->id;
}

/* Heapsort: qsort cannot see the blob, and the file may be hostile. */
static void sift_down(struct added_tokens *tokens, size_t hole, size_t count)
{
    struct added_token moved = tokens->items[hole];
    for (size_t child = 2 * hole + 1; child < count; child = 2 * hole + 1) {
        if (child + 1 < count &&
            is_before(tokens, &tokens->items[child], &tokens->items[child + 1])) {
            child++;
        }
        if (!is_before(tokens, &moved, &tokens->items[child])) {
            break;
        }
        tokens->items[hole] = tokens->items[child];
        hole = child;
    }
    tokens->items[hole] = moved;
}

void added_tokens_finish(struct added_tokens *tokens)
{
    for (size_t i = tokens->count / 2; i-- > 0;) {
        sift_down(tokens, i, tokens->count);
    }
    for (size_t end = tokens->count; end > 1; end--) {
        struct added_token greatest = tokens->items[0];
        tokens->items[0] = tokens->items[end - 1];
        tokens->items[end - 1] = greatest;
        sift_down(tokens, 0, end - 1);
    }
    uint32_t item = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        tokens->first[byte] = item;
        while (item < tokens->count &&
               (unsigned char)*content_of(tokens, &tokens->items[item]) == byte) {
            item++;
        }
    }
    tokens->first[256] = item;
}

/* The first item in [low, high) whose byte at `depth` is `byte` or more. Shorter items come first.
 */
static size_t lower_bound(const struct added_tokens *tokens, size_t low, size_t high, size_t depth,
                          int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct added_token *token = &tokens->items[middle];
        int found = token->size > depth ? (unsigned char)content_of(tokens, token)[depth] : -1;
        if (found < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that begins at `start`, or NULL. */
static const struct added_token *longest_at(const struct added_tokens *tokens, struct bytes text,
                                            size_t start)
{
    int byte = (unsigned char)text.data[start];
    size_t low = tokens->first[byte];
    size_t high = tokens->first[byte + 1];
    const struct added_token *longest = NULL;
    for (size_t depth = 1; low < high; depth++) {
        if (tokens->items[low].size == depth) {
            longest = &tokens->items[low];
        }
        if (start + depth >= text.size) {
            break;
        }
        byte = (unsigned char)text.data[start + depth];
        low = lower_bound(tokens, low, high, depth, byte);
        high = lower_bound(tokens, low, high, depth, byte + 1);
    }
    return longest;
}

/* Rust's \w: alphabetic, mark, decimal digit, connector punctuation, join control. */
static bool is_word_character(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    char later = unicode_addition_category(c);
    return later == 'L' || later == 'M' || later == 'N' ||
           (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D ||
           (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

static bool is_beside_word(struct bytes text, size_t start, size_t end)
{
    size_t size = 0;
    return (start > 0 && is_word_character(utf8_decode_last(text.data, start, &size))) ||
           (end < text.size && is_word_character(utf8_decode(text.data + end, &size)));
}

static size_t strip_left(struct bytes text, size_t start, size_t low)
{
    size_t size = 0;
    while (start > low && utf8_is_space(utf8_decode_last(text.data, start, &size))) {
        start -= size;
    }
    return start;
}

static size_t strip_right(struct bytes text, size_t end)
{
    size_t size = 0;
    while (end < text.size && utf8_is_space(utf8_decode(text.data + end, &size))) {
        end += size;
    }
    return end;
}

bool added_search_next(struct added_search *search, struct added_match *match_out)
{
    const struct added_tokens *tokens = search->tokens;
    struct bytes text = search->text;
    for (; tokens->count > 0 && search->from < text.size; search->from++) {
        unsigned char byte = (unsigned char)text.data[search->from];
        if (tokens->first[byte] == tokens->first[byte + 1]) {
            continue;
        }
        const struct added_token *token = longest_at(tokens, text, search->from);
        if (token == NULL) {
            continue;
        }
        size_t start = search->from;
        size_t end = start + token->size;
        if (token->is_single_word && is_beside_word(text, start, end)) {
            search->from = end - 1;
            continue;
        }
        search->from = end;
        start = token->strips_left && start > search->done ? strip_left(text, start, search->done)
                                                           : start;
        end = token->strips_right ? strip_right(text, end) : end;
        search->done = end;
        *match_out = (struct added_match){start, end, token->id};
        return true;
    }
    return false;
}
