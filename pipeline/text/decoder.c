/* decoder: reads the chain of decoders into its canonical order (token by token; byte fallback;
 * fuse; strip) and refuses other orders. */
#include "pipeline/text/decoder.h"

#include <stdlib.h>

#include "pipeline/text/byte_alphabet.h"
#include "pipeline/text/pattern.h"
#include "pipeline/text/tokenizer_json.h"

enum map_kind { MAP_REPLACE, MAP_METASPACE, MAP_BYTE_LEVEL, MAP_WORDPIECE };

/* What is done to each token alone. */
struct map {
    enum map_kind kind;
    struct pattern *pattern; // what becomes `content`
    struct bytes content;    // borrowed from the JSON
    bool removes_first;      // Metaspace: at the start of the text it goes without replacement
    bool cleans_up;          // WordPiece
};

/* The order that is accepted. */
enum phase { PHASE_TOKENS, PHASE_BYTE_FALLBACK, PHASE_FUSE, PHASE_STRIP };

struct chain {
    struct decoder *decoder;
    struct map maps[STEPS_MAX];
    size_t count;
    enum phase phase;
    struct pattern_scratch scratch;
};

/* --- Reading the chain --- */

static bool enter_phase(struct chain *chain, enum phase phase, const char *type,
                        struct error *error)
{
    bool is_in_order =
        phase >= chain->phase && !(chain->decoder->is_byte_level && phase != PHASE_FUSE);
    if (!is_in_order) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "decoder %s is not supported at this place in the sequence", type);
    }
    chain->phase = phase;
    return true;
}

static struct map *add_map(struct chain *chain, enum map_kind kind, const char *type,
                           struct error *error)
{
    if (!enter_phase(chain, PHASE_TOKENS, type, error)) {
        return NULL;
    }
    if (chain->count == STEPS_MAX) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "more than %d decoders", STEPS_MAX);
        return NULL;
    }
    struct map *map = &chain->maps[chain->count++];
    map->kind = kind;
    return map;
}

static bool read_replace(struct chain *chain, const json_t *json, struct error *error)
{
    struct map *map = add_map(chain, MAP_REPLACE, "Replace", error);
    return map != NULL && member_pattern(json, &map->pattern, error) &&
           member_text(json, "content", &map->content, error);
}

static bool read_metaspace(struct chain *chain, const json_t *json, struct error *error)
{
    struct map *map = add_map(chain, MAP_METASPACE, "Metaspace", error);
    struct bytes replacement = {NULL, 0};
    bool has_prefix = true;
    if (map == NULL || !member_text(json, "replacement", &replacement, error) ||
        !member_bool(json, "add_prefix_space", true, &has_prefix, error)) {
        return false;
    }
    map->removes_first = has_prefix;
    if (json_object_get(json, "prepend_scheme") != NULL) {
        struct bytes scheme = {NULL, 0};
        if (!member_text(json, "prepend_scheme", &scheme, error)) {
            return false;
        }
        map->removes_first = !bytes_equal_text(scheme, "never");
    }
    map->content = bytes_of(" ");
    chain->decoder->has_beginning = chain->decoder->has_beginning || map->removes_first;
    return pattern_open(replacement, false, &map->pattern, error);
}

static bool read_wordpiece(struct chain *chain, const json_t *json, struct error *error)
{
    struct map *map = add_map(chain, MAP_WORDPIECE, "WordPiece", error);
    chain->decoder->has_beginning = true;
    return map != NULL && member_text(json, "prefix", &map->content, error) &&
           member_bool(json, "cleanup", true, &map->cleans_up, error);
}

static bool read_byte_level(struct chain *chain, const json_t *json, struct error *error)
{
    (void)json;
    if (add_map(chain, MAP_BYTE_LEVEL, "ByteLevel", error) == NULL) {
        return false;
    }
    chain->decoder->is_byte_level = true;
    return true;
}

static bool read_byte_fallback(struct chain *chain, const json_t *json, struct error *error)
{
    (void)json;
    chain->decoder->has_fallback = true;
    return enter_phase(chain, PHASE_BYTE_FALLBACK, "ByteFallback", error);
}

static bool read_fuse(struct chain *chain, const json_t *json, struct error *error)
{
    (void)json;
    return enter_phase(chain, PHASE_FUSE, "Fuse", error);
}

static bool read_strip(struct chain *chain, const json_t *json, struct error *error)
{
    struct decoder *decoder = chain->decoder;
    struct bytes content = {NULL, 0};
    long long start = 0;
    long long stop = 0;
    if (chain->phase != PHASE_FUSE) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "decoder Strip is only supported right after Fuse");
    }
    if (!enter_phase(chain, PHASE_STRIP, "Strip", error) ||
        !member_text(json, "content", &content, error) ||
        !member_integer(json, "start", 0, 1 << 20, &start, error) ||
        !member_integer(json, "stop", 0, 1 << 20, &stop, error)) {
        return false;
    }
    if (stop != 0 || content.size == 0 || content.size > UTF8_SIZE_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "decoder Strip is only supported for one character at the start");
    }
    memcpy(decoder->strip, content.data, content.size);
    decoder->strip_size = content.size;
    decoder->strip_count = (size_t)start;
    return true;
}

static bool read_one(struct chain *chain, const json_t *json, struct bytes type,
                     struct error *error)
{
    static const struct {
        const char *type;
        bool (*read)(struct chain *, const json_t *, struct error *);
    } kinds[] = {{"Replace", read_replace},
                 {"Metaspace", read_metaspace},
                 {"ByteLevel", read_byte_level},
                 {"ByteFallback", read_byte_fallback},
                 {"Fuse", read_fuse},
                 {"Strip", read_strip},
                 {"WordPiece", read_wordpiece}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (bytes_equal_text(type, kinds[i].type)) {
            return kinds[i].read(chain, json, error);
        }
    }
    return refuse_type("decoder", type, error);
}

/* A sequence in a sequence is unrolled; JSON's own depth limit bounds the recursion. */
static bool read_chain(struct chain *chain, const json_t *json, struct error *error)
{
    struct bytes type = {NULL, 0};
    if (!member_text(json, "type", &type, error)) {
        return false;
    }
    if (!bytes_equal_text(type, "Sequence")) {
        return read_one(chain, json, type, error);
    }
    const json_t *parts = NULL;
    if (!member_array(json, "decoders", &parts, error)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(parts); i++) {
        if (!read_chain(chain, json_array_get(parts, i), error)) {
            return false;
        }
    }
    return true;
}

/* --- Decoding every token once --- */

static bool replace_all(struct chain *chain, const struct map *map, bool is_beginning,
                        struct buffer *text, struct error *error)
{
    struct buffer before;
    buffer_init(&before, text->size_max);
    buffer_append_bytes(&before, buffer_bytes(text));
    struct bytes source = buffer_bytes(&before);
    struct pattern_match match = {0, 0};
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    bool is_good = true;
    size_t done = 0;
    buffer_clear(text);
    text->has_failed = buffer_failed(&before);
    for (;;) {
        is_good = pattern_next(map->pattern, &chain->scratch, source, &walk, &match, error);
        if (!is_good || match.start == SIZE_MAX) {
            break;
        }
        buffer_append(text, source.data + done, match.start - done);
        if (!(is_beginning && map->removes_first)) {
            buffer_append_bytes(text, map->content);
        }
        done = match.end;
    }
    buffer_append(text, source.data + done, source.size - done);
    buffer_close(&before);
    return is_good;
}

/* Every `from` in the text becomes `to`. */
static bool replace_text(struct chain *chain, const char *from, const char *to, struct buffer *text,
                         struct error *error)
{
    struct map map = {.content = bytes_of(to)};
    if (text->size == 0 || strstr(text->data, from) == NULL) {
        return true;
    }
    bool is_good = pattern_open(bytes_of(from), false, &map.pattern, error) &&
                   replace_all(chain, &map, false, text, error);
    pattern_close(map.pattern);
    return is_good;
}

/* English as it is written: what BERT's own decoding does to each token. */
static bool clean_up(struct chain *chain, struct buffer *text, struct error *error)
{
    static const char *const changes[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (!replace_text(chain, changes[i][0], changes[i][1], text, error)) {
            return false;
        }
    }
    return true;
}

/* A token that goes on with a word loses its prefix, any other begins with a space. */
static bool decode_wordpiece(struct chain *chain, const struct map *map, bool is_beginning,
                             struct buffer *text, struct error *error)
{
    struct bytes prefix = map->content;
    struct buffer joined;
    buffer_init(&joined, text->size_max);
    bool continues = text->size >= prefix.size && prefix.size > 0 &&
                     memcmp(text->data, prefix.data, prefix.size) == 0;
    size_t removed = continues && !is_beginning ? prefix.size : 0;
    buffer_append_text(&joined, is_beginning || continues ? "" : " ");
    buffer_append(&joined, buffer_bytes(text).data + removed, text->size - removed);
    buffer_clear(text);
    buffer_append_bytes(text, buffer_bytes(&joined));
    text->has_failed = text->has_failed || buffer_failed(&joined);
    buffer_close(&joined);
    return !map->cleans_up || clean_up(chain, text, error);
}

static void decode_byte_level(struct buffer *text)
{
    struct buffer bytes;
    buffer_init(&bytes, text->size_max);
    if (byte_alphabet_decode(buffer_bytes(text), &bytes)) {
        buffer_clear(text);
        buffer_append_bytes(text, buffer_bytes(&bytes));
    }
    buffer_close(&bytes);
}

static bool decode_token(struct chain *chain, struct bytes name, bool is_beginning,
                         struct buffer *text, struct error *error)
{
    buffer_clear(text);
    buffer_append_bytes(text, name);
    for (size_t i = 0; i < chain->count; i++) {
        const struct map *map = &chain->maps[i];
        if (map->kind == MAP_BYTE_LEVEL) {
            decode_byte_level(text);
        } else if (map->kind == MAP_WORDPIECE
                       ? !decode_wordpiece(chain, map, is_beginning, text, error)
                       : !replace_all(chain, map, is_beginning, text, error)) {
            return false;
        }
    }
    return !buffer_failed(text) ||
           error_set(error, ERROR_INVALID, NULL, NULL,
                     "a token of %zu bytes becomes larger than %zu when decoded", name.size,
                     text->size_max);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* NN of "<0xNN>", or -1. */
static int16_t byte_of(struct bytes text)
{
    bool is_shaped = text.size == 6 && memcmp(text.data, "<0x", 3) == 0 && text.data[5] == '>';
    int high = is_shaped ? hex_digit(text.data[3]) : -1;
    int low = is_shaped ? hex_digit(text.data[4]) : -1;
    return (int16_t)(high < 0 || low < 0 ? -1 : high << 4 | low);
}

static bool fill(struct chain *chain, const struct vocabulary *names, struct buffer *text,
                 struct error *error)
{
    struct decoder *decoder = chain->decoder;
    for (size_t i = 0; i < names->ids_count; i++) {
        int32_t id = (int32_t)i;
        struct bytes name = vocabulary_text(names, id);
        if (name.data == NULL) {
            continue;
        }
        if (!decode_token(chain, name, false, text, error) ||
            !vocabulary_add(&decoder->pieces, id, buffer_bytes(text), false, error)) {
            return false;
        }
        if (decoder->has_fallback) {
            decoder->bytes[id] = byte_of(buffer_bytes(text));
        }
        if (decoder->has_beginning &&
            (!decode_token(chain, name, true, text, error) ||
             !vocabulary_add(&decoder->beginning, id, buffer_bytes(text), false, error))) {
            return false;
        }
    }
    return true;
}

static bool allocate(struct decoder *decoder, size_t ids_count, struct error *error)
{
    if (!vocabulary_init(&decoder->pieces, ids_count, error) ||
        (decoder->has_beginning && !vocabulary_init(&decoder->beginning, ids_count, error))) {
        return false;
    }
    if (!decoder->has_fallback) {
        return true;
    }
    decoder->bytes = malloc((ids_count + 1) * sizeof *decoder->bytes);
    if (decoder->bytes == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu tokens",
                         ids_count);
    }
    for (size_t i = 0; i < ids_count; i++) {
        decoder->bytes[i] = -1;
    }
    return true;
}

bool decoder_open(struct decoder *decoder, const json_t *json, const struct vocabulary *names,
                  struct error *error)
{
    *decoder = (struct decoder){0};
    struct chain chain = {.decoder = decoder};
    struct buffer text;
    buffer_init(&text, 1 << 20);
    decoder->has_separator = json == NULL || json_is_null(json);
    bool is_done = (decoder->has_separator || read_chain(&chain, json, error)) &&
                   allocate(decoder, names->ids_count, error) && fill(&chain, names, &text, error);
    for (size_t i = 0; i < chain.count; i++) {
        pattern_close(chain.maps[i].pattern);
    }
    pattern_scratch_close(&chain.scratch);
    buffer_close(&text);
    if (!is_done) {
        decoder_close(decoder);
    }
    return is_done;
}

void decoder_close(struct decoder *decoder)
{
    vocabulary_close(&decoder->pieces);
    vocabulary_close(&decoder->beginning);
    free(decoder->bytes);
    *decoder = (struct decoder){0};
}
