/* label: from an answer to a trimmed line, and from there to a label. */
#include "pipeline/compare/label.h"

#include "pipeline/text/character.h"
#include "pipeline/text/utf8.h"
#include "schemas/base/buffer.h"

enum {
    JSON_BYTES_MAX = 4096, // a longer object is no label
    SEARCH_BYTES_MAX = 1 << 16,
};

bool label_equal(const struct label *a, const struct label *b)
{
    return a->size > 0 && a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* What may stand around a label: white space, quotes, brackets, Markdown, the end of a sentence. */
static bool is_around(int32_t c)
{
    return utf8_is_space(c) || (c > 0 && c < 0x80 && strchr("\"'`*_.,;:!?()[]{}<>#", c) != NULL) ||
           (c >= 0x2018 && c <= 0x201F) || c == 0xAB || c == 0xBB || c == 0x3002;
}

static struct bytes trimmed(struct bytes text)
{
    size_t step = 0;
    while (text.size > 0 && is_around(utf8_decode(text.data, &step))) {
        text = (struct bytes){text.data + step, text.size - step};
    }
    while (text.size > 0 && is_around(utf8_decode_last(text.data, text.size, &step))) {
        text.size -= step;
    }
    return text;
}

static struct bytes first_line(struct bytes text)
{
    const char *end = text.size == 0 ? NULL : memchr(text.data, '\n', text.size);
    return end == NULL ? text : (struct bytes){text.data, (size_t)(end - text.data)};
}

/* Lower case; none where it is longer than a label. */
static struct label folded(struct bytes text)
{
    struct label label = {.size = 0};
    for (size_t i = 0; i < text.size;) {
        size_t step = 0;
        int32_t c = character_lower(utf8_decode(text.data + i, &step));
        if (label.size + UTF8_SIZE_MAX > LABEL_BYTES_MAX) {
            return (struct label){.size = 0};
        }
        label.size += utf8_encode(c, label.text + label.size);
        i += step;
    }
    return label;
}

/* Without "Category:" and its like. */
static struct bytes without_name(struct bytes line)
{
    static const char *const names[] = {"label", "category", "class", "classification", "answer"};
    const char *colon = line.size == 0 ? NULL : memchr(line.data, ':', line.size);
    if (colon == NULL) {
        return line;
    }
    struct bytes before = {line.data, (size_t)(colon - line.data)};
    struct label name = folded(trimmed(before));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_text((struct bytes){name.text, name.size}, names[i])) {
            return (struct bytes){colon + 1, line.size - before.size - 1};
        }
    }
    return line;
}

static struct label label_of_text(struct bytes text)
{
    return folded(trimmed(without_name(first_line(trimmed(text)))));
}

/* The string that an object gives as its label; NULL for none. */
static const json_t *label_member(json_t *object)
{
    static const char *const names[] = {"label", "category", "class"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *member = json_object_get(object, names[i]);
        if (json_is_string(member)) {
            return member;
        }
    }
    void *only = json_object_size(object) == 1 ? json_object_iter(object) : NULL;
    const json_t *member = only == NULL ? NULL : json_object_iter_value(only);
    return json_is_string(member) ? member : NULL;
}

static bool find_in_object(struct bytes answer, struct label *label_out)
{
    json_t *object = answer.size == 0 || answer.size > JSON_BYTES_MAX ||
                             memchr(answer.data, '{', answer.size) == NULL
                         ? NULL
                         : json_loadb(answer.data, answer.size, JSON_ALLOW_NUL, NULL);
    const json_t *member = label_member(object);
    if (member != NULL) {
        *label_out =
            label_of_text((struct bytes){json_string_value(member), json_string_length(member)});
    }
    json_decref(object);
    return member != NULL;
}

/* --- Among known labels --- */

static bool is_word_at(struct bytes text, size_t at)
{
    size_t step = 0;
    int32_t c = at < text.size ? utf8_decode(text.data + at, &step) : ' ';
    return character_is_letter(c) || character_is_number(c);
}

/* Whether the label stands in the text between characters that are no letters. */
static bool stands_in(const struct label *label, struct bytes text)
{
    bool was_word = false;
    for (size_t i = 0; i + label->size <= text.size && label->size > 0;) {
        size_t step = 0;
        bool fits = !was_word && memcmp(text.data + i, label->text, label->size) == 0;
        if (fits && !is_word_at(text, i + label->size)) {
            return true;
        }
        was_word = is_word_at(text, i);
        (void)utf8_decode(text.data + i, &step);
        i += step;
    }
    return false;
}

static struct label known_label(const json_t *labels, size_t index)
{
    const json_t *item = json_array_get(labels, index);
    struct bytes text = {json_string_value(item), json_string_length(item)};
    return item == NULL || text.data == NULL ? (struct label){.size = 0} : folded(trimmed(text));
}

/* The only known label in the text; none where there are several or none. */
static struct label search(struct bytes answer, const json_t *labels)
{
    struct label found = {.size = 0};
    struct buffer text;
    buffer_init(&text, SEARCH_BYTES_MAX * 2);
    for (size_t i = 0; i < answer.size && i < SEARCH_BYTES_MAX;) {
        size_t step = 0;
        char character[UTF8_SIZE_MAX];
        int32_t c = character_lower(utf8_decode(answer.data + i, &step));
        buffer_append(&text, character, utf8_encode(c, character));
        i += step;
    }
    for (size_t i = 0; i < json_array_size(labels) && i < LABELS_MAX; i++) {
        struct label label = known_label(labels, i);
        if (stands_in(&label, buffer_bytes(&text)) && !label_equal(&label, &found)) {
            bool is_second = found.size > 0;
            found = is_second ? (struct label){.size = 0} : label;
            if (is_second) {
                break;
            }
        }
    }
    buffer_close(&text);
    return found;
}

struct label label_of(struct bytes answer, const json_t *labels)
{
    struct label label;
    if (!find_in_object(answer, &label)) {
        label = label_of_text(answer);
    }
    if (labels == NULL) {
        return label;
    }
    for (size_t i = 0; i < json_array_size(labels) && i < LABELS_MAX; i++) {
        struct label known = known_label(labels, i);
        if (label_equal(&known, &label)) {
            return label;
        }
    }
    return search(answer, labels);
}
