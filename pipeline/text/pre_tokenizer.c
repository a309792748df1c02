/* pre_tokenizer: every kind of pre-tokenizer is one of four steps. */
#include "pipeline/text/pre_tokenizer.h"

#include <stdlib.h>

#include "pipeline/text/unicode_classes.h"
#include "pipeline/text/utf8.h"
#include "pipeline/text/word_scanner.h"

enum step_kind {
    STEP_SCAN,         // a split by hand-written code
    STEP_SPLIT,        // a split by a pattern or a class of characters
    STEP_METASPACE,    // spaces become a visible character, one may be put in front
    STEP_PREFIX_SPACE, // a space is put in front
};

/* What becomes of the text that matches a split's pattern. */
enum behavior {
    BEHAVIOR_REMOVED,
    BEHAVIOR_ISOLATED,
    BEHAVIOR_CONTIGUOUS,
    BEHAVIOR_MERGED_WITH_PREVIOUS,
    BEHAVIOR_MERGED_WITH_NEXT,
};

enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct step {
    enum step_kind kind;
    enum word_scanner scanner;
    struct pattern *pattern;
    bool (*is_match)(int32_t c); // instead of a pattern
    bool ascii_matches[0x80];    // what it says of ASCII
    enum behavior behavior;
    bool is_inverted;
    char replacement[UTF8_SIZE_MAX]; // of a space
    size_t replacement_size;
    enum prepend_scheme prepend;
};

struct pre_tokenizer {
    struct step steps[STEPS_MAX];
    size_t count;
    bool is_byte_level;
};

/* --- Open and close --- */

static struct step *add_step(struct pre_tokenizer *pre_tokenizer, enum step_kind kind,
                             struct error *error)
{
    if (pre_tokenizer->is_byte_level) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL,
                        "a pre_tokenizer after ByteLevel is not supported");
        return NULL;
    }
    if (pre_tokenizer->count == STEPS_MAX) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "more than %d pre_tokenizers", STEPS_MAX);
        return NULL;
    }
    struct step *step = &pre_tokenizer->steps[pre_tokenizer->count++];
    step->kind = kind;
    return step;
}

static bool add_split(struct pre_tokenizer *pre_tokenizer, const char *expression,
                      enum behavior behavior, bool is_inverted, struct error *error)
{
    struct step *step = add_step(pre_tokenizer, STEP_SPLIT, error);
    if (step == NULL) {
        return false;
    }
    step->behavior = behavior;
    step->is_inverted = is_inverted;
    return pattern_open(bytes_of(expression), true, &step->pattern, error);
}

static bool add_class_split(struct pre_tokenizer *pre_tokenizer, bool (*is_match)(int32_t c),
                            enum behavior behavior, struct error *error)
{
    struct step *step = add_step(pre_tokenizer, STEP_SPLIT, error);
    if (step == NULL) {
        return false;
    }
    step->behavior = behavior;
    step->is_match = is_match;
    for (int32_t c = 0; c < 0x80; c++) {
        step->ascii_matches[c] = is_match(c);
    }
    return true;
}

static bool read_behavior(const json_t *json, enum behavior *behavior_out, struct error *error)
{
    static const char *const names[] = {[BEHAVIOR_REMOVED] = "Removed",
                                        [BEHAVIOR_ISOLATED] = "Isolated",
                                        [BEHAVIOR_CONTIGUOUS] = "Contiguous",
                                        [BEHAVIOR_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [BEHAVIOR_MERGED_WITH_NEXT] = "MergedWithNext"};
    struct bytes name = {NULL, 0};
    if (!member_text(json, "behavior", &name, error)) {
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_text(name, names[i])) {
            *behavior_out = (enum behavior)i;
            return true;
        }
    }
    return refuse_type("split behavior", name, error);
}

static bool open_split(struct pre_tokenizer *pre_tokenizer, const json_t *json, struct error *error)
{
    struct step *step = add_step(pre_tokenizer, STEP_SPLIT, error);
    if (step == NULL || !read_behavior(json, &step->behavior, error) ||
        !member_bool(json, "invert", false, &step->is_inverted, error) ||
        !member_pattern(json, &step->pattern, error)) {
        return false;
    }
    const json_t *regex = json_object_get(json_object_get(json, "pattern"), "Regex");
    struct bytes expression = {json_string_value(regex), json_string_length(regex)};
    bool isolates = step->behavior == BEHAVIOR_ISOLATED && !step->is_inverted;
    if (regex != NULL && isolates) {
        step->scanner = word_scanner_for(expression);
        step->kind = step->scanner == WORD_SCANNER_NONE ? STEP_SPLIT : STEP_SCAN;
    }
    return true;
}

static bool open_byte_level(struct pre_tokenizer *pre_tokenizer, const json_t *json,
                            struct error *error)
{
    bool has_prefix = false;
    bool has_regex = false;
    if (!member_bool(json, "add_prefix_space", true, &has_prefix, error) ||
        !member_bool(json, "use_regex", true, &has_regex, error)) {
        return false;
    }
    if (has_prefix && add_step(pre_tokenizer, STEP_PREFIX_SPACE, error) == NULL) {
        return false;
    }
    if (has_regex) {
        struct step *step = add_step(pre_tokenizer, STEP_SCAN, error);
        if (step == NULL) {
            return false;
        }
        step->scanner = WORD_SCANNER_GPT2;
    }
    pre_tokenizer->is_byte_level = true;
    return true;
}

static bool read_prepend(const json_t *json, enum prepend_scheme *prepend_out, struct error *error)
{
    bool has_prefix = true;
    if (!member_bool(json, "add_prefix_space", true, &has_prefix, error)) {
        return false;
    }
    *prepend_out = has_prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (json_object_get(json, "prepend_scheme") == NULL) {
        return true;
    }
    struct bytes scheme = {NULL, 0};
    if (!member_text(json, "prepend_scheme", &scheme, error)) {
        return false;
    }
    bool is_first = bytes_equal_text(scheme, "first");
    bool is_always = bytes_equal_text(scheme, "always");
    if (!is_first && !is_always && !bytes_equal_text(scheme, "never")) {
        return refuse_type("prepend_scheme", scheme, error);
    }
    *prepend_out = is_first ? PREPEND_FIRST : is_always ? PREPEND_ALWAYS : PREPEND_NEVER;
    return true;
}

static bool open_metaspace(struct pre_tokenizer *pre_tokenizer, const json_t *json,
                           struct error *error)
{
    struct step *step = add_step(pre_tokenizer, STEP_METASPACE, error);
    struct bytes replacement = {NULL, 0};
    bool splits = true;
    if (step == NULL || !member_text(json, "replacement", &replacement, error) ||
        !read_prepend(json, &step->prepend, error) ||
        !member_bool(json, "split", true, &splits, error)) {
        return false;
    }
    size_t size = 0;
    if (replacement.size > 0) {
        (void)utf8_decode(replacement.data, &size);
    }
    if (replacement.size == 0 || size != replacement.size) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "Metaspace's \"replacement\" has %zu bytes, must be one character",
                         replacement.size);
    }
    memcpy(step->replacement, replacement.data, size);
    step->replacement_size = size;
    if (!splits) {
        return true;
    }
    struct step *split = add_step(pre_tokenizer, STEP_SPLIT, error);
    if (split == NULL) {
        return false;
    }
    split->behavior = BEHAVIOR_MERGED_WITH_NEXT;
    return pattern_open(replacement, false, &split->pattern, error);
}

static bool open_digits(struct pre_tokenizer *pre_tokenizer, const json_t *json,
                        struct error *error)
{
    bool is_individual = false;
    return member_bool(json, "individual_digits", false, &is_individual, error) &&
           add_class_split(pre_tokenizer, unicode_is_numeric,
                           is_individual ? BEHAVIOR_ISOLATED : BEHAVIOR_CONTIGUOUS, error);
}

static bool open_punctuation(struct pre_tokenizer *pre_tokenizer, const json_t *json,
                             struct error *error)
{
    enum behavior behavior = BEHAVIOR_ISOLATED;
    return (json_object_get(json, "behavior") == NULL || read_behavior(json, &behavior, error)) &&
           add_class_split(pre_tokenizer, unicode_is_punctuation, behavior, error);
}

static bool open_bert(struct pre_tokenizer *pre_tokenizer, const json_t *json, struct error *error)
{
    (void)json;
    return add_class_split(pre_tokenizer, utf8_is_space, BEHAVIOR_REMOVED, error) &&
           add_class_split(pre_tokenizer, unicode_is_punctuation, BEHAVIOR_ISOLATED, error);
}

static bool open_one(struct pre_tokenizer *pre_tokenizer, const json_t *json, struct bytes type,
                     struct error *error)
{
    static const struct {
        const char *type;
        bool (*open)(struct pre_tokenizer *, const json_t *, struct error *);
    } kinds[] = {{"Split", open_split},
                 {"ByteLevel", open_byte_level},
                 {"Metaspace", open_metaspace},
                 {"Digits", open_digits},
                 {"Punctuation", open_punctuation},
                 {"BertPreTokenizer", open_bert}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (bytes_equal_text(type, kinds[i].type)) {
            return kinds[i].open(pre_tokenizer, json, error);
        }
    }
    if (bytes_equal_text(type, "Whitespace")) {
        return add_split(pre_tokenizer, "\\w+|[^\\w\\s]+", BEHAVIOR_REMOVED, true, error);
    }
    if (bytes_equal_text(type, "WhitespaceSplit")) {
        return add_class_split(pre_tokenizer, utf8_is_space, BEHAVIOR_REMOVED, error);
    }
    return refuse_type("pre_tokenizer", type, error);
}

/* A sequence in a sequence is unrolled; JSON's own depth limit bounds the recursion. */
static bool open_steps(struct pre_tokenizer *pre_tokenizer, const json_t *json, struct error *error)
{
    struct bytes type = {NULL, 0};
    if (!member_text(json, "type", &type, error)) {
        return false;
    }
    if (!bytes_equal_text(type, "Sequence")) {
        return open_one(pre_tokenizer, json, type, error);
    }
    const json_t *parts = NULL;
    if (!member_array(json, "pretokenizers", &parts, error)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(parts); i++) {
        if (!open_steps(pre_tokenizer, json_array_get(parts, i), error)) {
            return false;
        }
    }
    return true;
}

bool pre_tokenizer_open(const json_t *json, struct pre_tokenizer **pre_tokenizer_out,
                        struct error *error)
{
    struct pre_tokenizer *pre_tokenizer = calloc(1, sizeof *pre_tokenizer);
    if (pre_tokenizer == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a pre_tokenizer");
    }
    bool is_absent = json == NULL || json_is_null(json);
    if (!is_absent && !open_steps(pre_tokenizer, json, error)) {
        pre_tokenizer_close(pre_tokenizer);
        return false;
    }
    *pre_tokenizer_out = pre_tokenizer;
    return true;
}

void pre_tokenizer_close(struct pre_tokenizer *pre_tokenizer)
{
    if (pre_tokenizer == NULL) {
        return;
    }
    for (size_t i = 0; i < pre_tokenizer->count; i++) {
        pattern_close(pre_tokenizer->steps[i].pattern);
    }
    free(pre_tokenizer);
}

bool pre_tokenizer_is_byte_level(const struct pre_tokenizer *pre_tokenizer)
{
    return pre_tokenizer->is_byte_level;
}

void pre_tokenizer_scratch_close(struct pre_tokenizer_scratch *scratch)
{
    pattern_scratch_close(&scratch->pattern);
    for (size_t i = 0; i < STEPS_MAX; i++) {
        buffer_close(&scratch->rewritten[i]);
    }
}

/* --- Run --- */

struct run {
    const struct pre_tokenizer *pre_tokenizer;
    struct pre_tokenizer_scratch *scratch;
    struct word_sink sink;
};

struct piece {
    struct bytes text;
    bool is_first; // begins where the whole input begins
};

static bool run_steps(struct run *run, size_t index, struct piece piece, struct error *error);

static bool run_scan(struct run *run, size_t index, struct piece piece, struct error *error)
{
    enum word_scanner scanner = run->pre_tokenizer->steps[index].scanner;
    for (size_t start = 0; start < piece.text.size;) {
        size_t end = word_scanner_next(scanner, piece.text, start);
        struct piece word = {{piece.text.data + start, end - start}, piece.is_first && start == 0};
        if (!run_steps(run, index + 1, word, error)) {
            return false;
        }
        start = end;
    }
    return true;
}

/* A split in progress. A part is held back while the next one may still join it. */
struct split {
    struct run *run;
    size_t index; // of the step
    struct piece piece;
    bool has_held;
    bool held_is_match;
    size_t held_start;
    size_t held_end;
};

static bool emit(struct split *split, size_t start, size_t end, struct error *error)
{
    struct piece part = {{split->piece.text.data + start, end - start},
                         split->piece.is_first && start == 0};
    return start == end || run_steps(split->run, split->index + 1, part, error);
}

static bool joins_held(const struct split *split, enum behavior behavior, bool is_match)
{
    if (!split->has_held) {
        return false;
    }
    switch (behavior) {
    case BEHAVIOR_CONTIGUOUS:
        return split->held_is_match == is_match;
    case BEHAVIOR_MERGED_WITH_PREVIOUS:
        return is_match && !split->held_is_match;
    case BEHAVIOR_MERGED_WITH_NEXT:
        return !is_match && split->held_is_match;
    case BEHAVIOR_REMOVED:
    case BEHAVIOR_ISOLATED:
        break;
    }
    return false;
}

/* An empty match is a part too: nothing comes of it, but it keeps its neighbours apart. */
static bool add_part(struct split *split, size_t start, size_t end, bool is_match,
                     struct error *error)
{
    const struct step *step = &split->run->pre_tokenizer->steps[split->index];
    is_match = is_match != step->is_inverted;
    if (step->behavior == BEHAVIOR_REMOVED || step->behavior == BEHAVIOR_ISOLATED) {
        bool is_removed = step->behavior == BEHAVIOR_REMOVED && is_match;
        return is_removed || emit(split, start, end, error);
    }
    if (joins_held(split, step->behavior, is_match)) {
        split->held_end = end;
        split->held_is_match = is_match;
        return true;
    }
    size_t held_start = split->held_start;
    size_t held_end = split->held_end;
    split->has_held = true;
    split->held_start = start;
    split->held_end = end;
    split->held_is_match = is_match;
    return emit(split, held_start, held_end, error);
}

/* The next character at or after the walk's place that is in the class. */
static struct pattern_match next_in_class(const struct step *step, struct bytes text,
                                          struct pattern_walk *walk)
{
    size_t position = walk->from;
    while (position < text.size) {
        size_t size = 1;
        unsigned char byte = (unsigned char)text.data[position];
        bool is_match = byte < 0x80 ? step->ascii_matches[byte]
                                    : step->is_match(utf8_decode(text.data + position, &size));
        if (is_match) {
            walk->from = position + size;
            return (struct pattern_match){position, walk->from};
        }
        position += size;
    }
    walk->from = text.size;
    return (struct pattern_match){SIZE_MAX, SIZE_MAX};
}

static bool next_match(const struct step *step, struct pattern_scratch *scratch, struct bytes text,
                       struct pattern_walk *walk, struct pattern_match *match_out,
                       struct error *error)
{
    if (step->is_match != NULL) {
        *match_out = next_in_class(step, text, walk);
        return true;
    }
    return pattern_next(step->pattern, scratch, text, walk, match_out, error);
}

static bool run_split(struct run *run, size_t index, struct piece piece, struct error *error)
{
    const struct step *step = &run->pre_tokenizer->steps[index];
    struct split split = {.run = run, .index = index, .piece = piece};
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    size_t done = 0;
    for (;;) {
        struct pattern_match match = {0, 0};
        if (!next_match(step, &run->scratch->pattern, piece.text, &walk, &match, error)) {
            return false;
        }
        if (match.start == SIZE_MAX) {
            break;
        }
        if ((match.start > done && !add_part(&split, done, match.start, false, error)) ||
            !add_part(&split, match.start, match.end, true, error)) {
            return false;
        }
        done = match.end;
    }
    return (done == piece.text.size || add_part(&split, done, piece.text.size, false, error)) &&
           emit(&split, split.held_start, split.held_end, error);
}

static bool run_rewritten(struct run *run, size_t index, bool is_first, struct error *error)
{
    const struct buffer *rewritten = &run->scratch->rewritten[index];
    if (buffer_failed(rewritten)) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a text");
    }
    return run_steps(run, index + 1, (struct piece){buffer_bytes(rewritten), is_first}, error);
}

static struct buffer *rewritten_buffer(struct run *run, size_t index)
{
    struct buffer *rewritten = &run->scratch->rewritten[index];
    rewritten->size_max = SIZE_MAX / 4;
    buffer_clear(rewritten);
    return rewritten;
}

static bool run_metaspace(struct run *run, size_t index, struct piece piece, struct error *error)
{
    const struct step *step = &run->pre_tokenizer->steps[index];
    struct buffer *out = rewritten_buffer(run, index);
    bool is_wanted =
        step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && piece.is_first);
    bool is_there = piece.text.data[0] == ' ' ||
                    (piece.text.size >= step->replacement_size &&
                     memcmp(piece.text.data, step->replacement, step->replacement_size) == 0);
    if (is_wanted && !is_there) {
        buffer_append(out, step->replacement, step->replacement_size);
    }
    const char *from = piece.text.data;
    const char *end = piece.text.data + piece.text.size;
    for (;;) {
        const char *space = memchr(from, ' ', (size_t)(end - from));
        buffer_append(out, from, (size_t)((space == NULL ? end : space) - from));
        if (space == NULL) {
            break;
        }
        buffer_append(out, step->replacement, step->replacement_size);
        from = space + 1;
    }
    return run_rewritten(run, index, piece.is_first, error);
}

static bool run_prefix_space(struct run *run, size_t index, struct piece piece, struct error *error)
{
    if (piece.text.data[0] == ' ') {
        return run_steps(run, index + 1, piece, error);
    }
    struct buffer *out = rewritten_buffer(run, index);
    buffer_append_char(out, ' ');
    buffer_append_bytes(out, piece.text);
    return run_rewritten(run, index, piece.is_first, error);
}

/* Recursion is as deep as there are steps. */
static bool run_steps(struct run *run, size_t index, struct piece piece, struct error *error)
{
    if (piece.text.size == 0) {
        return true;
    }
    if (index == run->pre_tokenizer->count) {
        return run->sink.word(run->sink.context, piece.text, error);
    }
    switch (run->pre_tokenizer->steps[index].kind) {
    case STEP_SCAN:
        return run_scan(run, index, piece, error);
    case STEP_SPLIT:
        return run_split(run, index, piece, error);
    case STEP_METASPACE:
        return run_metaspace(run, index, piece, error);
    case STEP_PREFIX_SPACE:
        return run_prefix_space(run, index, piece, error);
    }
    return true;
}

bool pre_tokenizer_run(const struct pre_tokenizer *pre_tokenizer,
                       struct pre_tokenizer_scratch *scratch, struct bytes text, bool is_first,
                       struct word_sink sink, struct error *error)
{
    struct run run = {.pre_tokenizer = pre_tokenizer, .scratch = scratch, .sink = sink};
    return run_steps(&run, 0, (struct piece){text, is_first}, error);
}
