/* unicode_form: utf8proc's tables, with its own ordering of marks replaced, which is quadratic. */
#include "pipeline/text/unicode_form.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "pipeline/text/unicode_classes.h"
#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"

enum {
    DECOMPOSED_MAX = 18, // code points that one can become (U+FDFA under compatibility)
    INSERTION_SORT_MAX = 32,
    CLASSES = 256, // of canonical combining
};

static bool is_composed(enum unicode_form_kind kind)
{
    return kind == FORM_NFC || kind == FORM_NFKC;
}

static utf8proc_option_t options_of(enum unicode_form_kind kind)
{
    bool is_compatible = kind == FORM_NFKC || kind == FORM_NFKD;
    return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compatible ? UTF8PROC_COMPAT : 0);
}

static int class_of(int32_t c)
{
    return unicode_is_later_form(c) ? 0 : utf8proc_get_property(c)->combining_class;
}

static size_t decompose(int32_t c, enum unicode_form_kind kind, int32_t out[DECOMPOSED_MAX])
{
    int boundary = 0;
    if (unicode_is_later_form(c)) {
        out[0] = c;
        return 1;
    }
    utf8proc_ssize_t count =
        utf8proc_decompose_char(c, out, DECOMPOSED_MAX, options_of(kind), &boundary);
    CHECK(count > 0 && count <= DECOMPOSED_MAX);
    return (size_t)count;
}

/* --- Which characters are inert --- */

static bool is_inert(const struct unicode_form *form, int32_t c)
{
    if (c < 0x10000) {
        return (form->inert[c >> 3] >> (c & 7) & 1) != 0;
    }
    // Emoji and pictographs, and the ideographs of plane 2: none decompose. The rest is examined.
    return (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x2F7FF);
}

static void set_inert(struct unicode_form *form, int32_t c, bool is_inert)
{
    uint8_t bit = (uint8_t)(1 << (c & 7));
    form->inert[c >> 3] =
        (uint8_t)(is_inert ? form->inert[c >> 3] | bit : form->inert[c >> 3] & ~bit);
}

/* True when the form of the character alone is the character. */
static bool is_stable(int32_t c, enum unicode_form_kind kind)
{
    int32_t parts[DECOMPOSED_MAX];
    size_t count = decompose(c, kind, parts);
    if (count > 1 && is_composed(kind)) {
        count = (size_t)utf8proc_normalize_utf32(parts, (utf8proc_ssize_t)count,
                                                 UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    }
    return count == 1 && parts[0] == c;
}

static bool is_surrogate(int32_t c)
{
    return c >= 0xD800 && c <= 0xDFFF;
}

void unicode_form_init(struct unicode_form *form, enum unicode_form_kind kind)
{
    *form = (struct unicode_form){.kind = kind};
    for (int32_t c = 0; c < 0x10000; c++) {
        bool is_mark = !is_surrogate(c) && class_of(c) != 0;
        set_inert(form, c, !is_surrogate(c) && !is_mark && is_stable(c, kind));
    }
    if (!is_composed(kind)) {
        return;
    }
    // What is second in any decomposition may combine with what is before it.
    for (int32_t c = 0; c < 0x10000; c++) {
        int32_t parts[DECOMPOSED_MAX];
        size_t count = is_surrogate(c) ? 0 : decompose(c, FORM_NFD, parts);
        for (size_t i = 1; i < count; i++) {
            if (parts[i] < 0x10000) {
                set_inert(form, parts[i], false);
            }
        }
    }
}

/* --- Normalizing one stretch --- */

struct code_points {
    int32_t *items;
    size_t count;
    size_t capacity;
};

static bool reserve(struct code_points *points, size_t count, struct error *error)
{
    if (points->capacity - points->count < count) {
        size_t capacity = 2 * points->capacity + count + 64;
        int32_t *items = realloc(points->items, capacity * sizeof *items);
        if (items == NULL) {
            return error_set(error, ERROR_INTERNAL, NULL, NULL,
                             "out of memory for the normal form of a text");
        }
        points->items = items;
        points->capacity = capacity;
    }
    return true;
}

static void release(struct code_points *points)
{
    free(points->items);
}

static void sort_few(int32_t *marks, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        int32_t mark = marks[i];
        size_t hole = i;
        for (; hole > 0 && class_of(marks[hole - 1]) > class_of(mark); hole--) {
            marks[hole] = marks[hole - 1];
        }
        marks[hole] = mark;
    }
}

/* Counting sort; `space` holds `count` more. */
static void sort_many(int32_t *marks, size_t count, int32_t *space)
{
    size_t starts[CLASSES + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        starts[class_of(marks[i]) + 1]++;
    }
    for (size_t i = 1; i <= CLASSES; i++) {
        starts[i] += starts[i - 1];
    }
    for (size_t i = 0; i < count; i++) {
        space[starts[class_of(marks[i])]++] = marks[i];
    }
    memcpy(marks, space, count * sizeof *marks);
}

/* Canonical ordering: a stable sort of every run of marks by combining class. */
static bool order_marks(struct code_points *points, struct error *error)
{
    for (size_t i = 0; i < points->count; i++) {
        size_t start = i;
        while (i < points->count && class_of(points->items[i]) != 0) {
            i++;
        }
        size_t count = i - start;
        if (count <= INSERTION_SORT_MAX) {
            sort_few(points->items + start, count);
            continue;
        }
        if (!reserve(points, count, error)) {
            return false;
        }
        sort_many(points->items + start, count, points->items + points->count);
    }
    return true;
}

/* What came later stands between its neighbours like any other beginning. */
static void compose(struct code_points *points)
{
    size_t composed = 0;
    for (size_t start = 0; start < points->count;) {
        size_t end = start + 1;
        while (end < points->count && !unicode_is_later_form(points->items[end])) {
            end++;
        }
        size_t count =
            (size_t)utf8proc_normalize_utf32(points->items + start, (utf8proc_ssize_t)(end - start),
                                             UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        memmove(points->items + composed, points->items + start, count * sizeof *points->items);
        composed += count;
        start = end;
    }
    points->count = composed;
}

static bool append_normalized(const struct unicode_form *form, struct bytes text,
                              struct code_points *points, struct buffer *out, struct error *error)
{
    points->count = 0;
    for (size_t position = 0; position < text.size;) {
        size_t size = 0;
        int32_t c = utf8_decode(text.data + position, &size);
        position += size;
        if (!reserve(points, DECOMPOSED_MAX, error)) {
            return false;
        }
        points->count += decompose(c, form->kind, points->items + points->count);
    }
    if (!order_marks(points, error)) {
        return false;
    }
    if (is_composed(form->kind)) {
        compose(points);
    }
    for (size_t i = 0; i < points->count; i++) {
        char bytes[UTF8_SIZE_MAX];
        buffer_append(out, bytes, utf8_encode(points->items[i], bytes));
    }
    return true;
}

/* --- Stretches --- */

/* The next stretch at or after `from` that must be examined: an inert character (if there is one)
 * and the others after it, up to the next inert one. False when the rest is inert. */
static bool find_stretch(const struct unicode_form *form, struct bytes text, size_t from,
                         size_t *start_out, size_t *end_out)
{
    size_t previous = from; // where the last inert character begins
    bool is_found = false;
    size_t position = from;
    while (position < text.size) {
        unsigned char byte = (unsigned char)text.data[position];
        size_t size = 1;
        int32_t c = byte < 0x80 ? byte : utf8_decode(text.data + position, &size);
        if (is_inert(form, c)) {
            if (is_found) {
                break;
            }
            previous = position;
        } else {
            is_found = true;
        }
        position += size;
    }
    *start_out = previous;
    *end_out = position;
    return is_found;
}

bool unicode_form_run(const struct unicode_form *form, struct bytes text, struct buffer *out,
                      bool *is_changed_out, struct error *error)
{
    struct code_points points = {0};
    size_t done = 0; // bytes of text that are in `out`
    size_t start = 0;
    size_t end = 0;
    bool is_good = true;
    while (is_good && find_stretch(form, text, end, &start, &end)) {
        buffer_append(out, text.data + done, start - done);
        struct bytes stretch = {text.data + start, end - start};
        is_good = append_normalized(form, stretch, &points, out, error);
        done = end;
    }
    release(&points);
    if (is_good && done > 0) {
        buffer_append(out, text.data + done, text.size - done);
    }
    *is_changed_out = done > 0;
    return is_good;
}
