/* words: a text is first written anew, its words apart by spaces and its sentences by newlines;
 * then its words get their numbers. */
#include "pipeline/compare/words.h"

#include <string.h>

#include "pipeline/compare/porter.h"
#include "pipeline/compare/word_table.h"
#include "pipeline/text/character.h"
#include "pipeline/text/utf8.h"
#include "schemas/base/shortage.h"

enum {
    STEM_SIZE_MIN = 4, // shorter words stay as they are
    GROWTH = 3,        // a lower case has at most twice the bytes, and a space may go before it
    NORMAL_BYTES_MAX = 4 * WORDS_TEXT_BYTES_MAX,
    SIGMA = 0x3C3,
    FINAL_SIGMA = 0x3C2,
    COMBINING_DOT = 0x307,
};

#define KELVIN_SIGN "\xE2\x84\xAA"
#define CAPITAL_I_WITH_DOT "\xC4\xB0"

void words_cutter_init(struct words_cutter *cutter)
{
    unicode_form_init(&cutter->form, FORM_NFKC);
}

static bool refuse_size(struct error *error)
{
    return shortage_take()
               ? error_set(error, ERROR_INTERNAL, NULL, NULL,
                           "out of memory for the words of a text")
               : error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                           "the words of the texts need more memory than they may have");
}

/* --- ROUGE and STEM --- */

static bool is_ascii_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool follows(struct bytes text, size_t at, const char *sequence)
{
    size_t size = strlen(sequence);
    return text.size - at >= size && memcmp(text.data + at, sequence, size) == 0;
}

/* Bytes beyond ASCII separate words, but for the two characters whose lower case begins in ASCII:
 * the Kelvin sign (k), and the capital I with a dot (i, and a combining dot, which separates). */
static size_t write_rouge(struct bytes text, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = ascii_lower(text.data[i]);
        if (c == '\xE2' && follows(text, i, KELVIN_SIGN)) {
            c = 'k';
            i += strlen(KELVIN_SIGN) - 1;
        } else if (c == '\xC4' && follows(text, i, CAPITAL_I_WITH_DOT)) {
            c = 'i'; // its second byte becomes the space
        }
        out[size++] = is_ascii_word(c) || c == '\n' ? c : ' ';
    }
    return size;
}

/* --- UNICODE --- */

/* Letters of scripts that are written without spaces. */
static bool stands_alone(int32_t c)
{
    static const struct {
        int32_t first;
        int32_t last;
    } scripts[] = {
        {0x0E00, 0x0EFF},   // Thai, Lao
        {0x1000, 0x109F},   // Burmese
        {0x1780, 0x17FF},   // Khmer
        {0x2E80, 0x2FDF},   // radicals
        {0x3005, 0x3007},   // iteration mark, closing mark, zero
        {0x3021, 0x30FF},   // Hangzhou numerals, Hiragana, Katakana
        {0x31F0, 0x31FF},   // more Katakana
        {0x3400, 0x4DBF},   // Han
        {0x4E00, 0x9FFF},   // Han
        {0xF900, 0xFAFF},   // Han
        {0x1B000, 0x1B16F}, // more Kana
        {0x20000, 0x3FFFF}, // Han
    };
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0] && c >= scripts[i].first; i++) {
        if (c <= scripts[i].last) {
            return true;
        }
    }
    return false;
}

static int32_t fold(int32_t c)
{
    c = character_lower(c);
    return c == FINAL_SIGMA ? SIGMA : c;
}

/* One character of a word. `is_alone`: the word so far is a letter that stands alone. */
static size_t write_character(int32_t c, bool *is_alone, char *out)
{
    size_t size = 0;
    bool is_letter_alone = stands_alone(c) && character_is_letter(c);
    if (is_letter_alone || (*is_alone && !character_is_mark(c))) {
        out[size++] = ' ';
        *is_alone = is_letter_alone;
    }
    return size + utf8_encode(fold(c), out + size);
}

static size_t write_unicode(struct bytes text, char *out)
{
    size_t size = 0;
    bool is_alone = false;
    for (size_t i = 0; i < text.size;) {
        size_t step = 1;
        int32_t c = utf8_decode(text.data + i, &step);
        i += step;
        bool is_word =
            c < 0x80 ? is_ascii_word(ascii_lower((char)c))
                     : character_is_letter(c) || character_is_mark(c) || character_is_number(c);
        if (is_word) {
            size += write_character(c, &is_alone, out + size);
        } else {
            out[size++] = c == '\n' ? '\n' : ' ';
            is_alone = false;
        }
    }
    return size;
}

/* --- SQUAD --- */

/* What Python's str.split() cuts at. */
static bool is_python_space(int32_t c)
{
    return utf8_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static bool is_ascii_punctuation(int32_t c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static bool is_article(const char *word, size_t size)
{
    struct bytes bytes = {word, size};
    return bytes_equal_text(bytes, "a") || bytes_equal_text(bytes, "an") ||
           bytes_equal_text(bytes, "the");
}

static size_t write_squad(struct bytes text, char *out)
{
    size_t size = 0;
    size_t run_start = 0; // of the letters and numbers that end at `size`
    for (size_t i = 0; i < text.size;) {
        size_t step = 1;
        int32_t c = utf8_decode(text.data + i, &step);
        bool is_dotted = c == 0x130;
        i += step;
        if (is_ascii_punctuation(c)) {
            continue;
        }
        bool is_run = character_is_letter(c) || character_is_number(c);
        if (!is_run && is_article(out + run_start, size - run_start)) {
            size = run_start;
            out[size++] = ' ';
        }
        size += utf8_encode(is_python_space(c) ? ' ' : fold(c), out + size);
        if (is_dotted) {
            size += utf8_encode(COMBINING_DOT, out + size);
        }
        run_start = is_run && !is_dotted ? run_start : size;
    }
    return is_article(out + run_start, size - run_start) ? run_start : size;
}

/* --- From the clean text to numbers --- */

static bool write_clean(const struct words_cutter *cutter, enum words_mode mode, struct bytes text,
                        struct arena *arena, struct bytes *clean_out, struct error *error)
{
    struct buffer normal;
    buffer_init(&normal, NORMAL_BYTES_MAX);
    bool is_changed = false;
    bool is_done =
        mode != WORDS_UNICODE || unicode_form_run(&cutter->form, text, &normal, &is_changed, error);
    if (is_done) {
        struct bytes source = is_changed ? buffer_bytes(&normal) : text;
        char *out = arena_alloc(arena, GROWTH * source.size + UTF8_SIZE_MAX);
        is_done = out != NULL || refuse_size(error);
        if (out != NULL) {
            size_t size = mode == WORDS_UNICODE ? write_unicode(source, out)
                          : mode == WORDS_SQUAD ? write_squad(source, out)
                                                : write_rouge(source, out);
            *clean_out = (struct bytes){out, size};
        }
    }
    buffer_close(&normal);
    return is_done;
}

static bool is_separator(char c)
{
    return c == ' ' || c == '\n';
}

static void count_words(struct bytes clean, size_t *words_out, size_t *sentences_out)
{
    *words_out = 0;
    *sentences_out = 1;
    for (size_t i = 0; i < clean.size; i++) {
        *words_out += !is_separator(clean.data[i]) &&
                      (i + 1 == clean.size || is_separator(clean.data[i + 1]));
        *sentences_out += clean.data[i] == '\n';
    }
}

static void end_sentence(struct words *words)
{
    size_t before = words->sentences_count == 0 ? 0 : words->ends[words->sentences_count - 1];
    if (words->count > before) {
        words->ends[words->sentences_count++] = words->count;
    }
}

static bool number_words(struct bytes clean, struct word_table *table, struct words *words)
{
    for (size_t i = 0; i < clean.size; i++) {
        size_t start = i;
        while (i < clean.size && !is_separator(clean.data[i])) {
            i++;
        }
        struct bytes word = {clean.data + start, i - start};
        if (word.size > 0 && !word_table_add(table, word, &words->numbers[words->count++])) {
            return false;
        }
        if (i < clean.size && clean.data[i] == '\n') {
            end_sentence(words);
        }
    }
    end_sentence(words);
    return true;
}

/* Makes the numbers of words those of their stems, each stem found once. */
static bool number_stems(struct words_pair *pair, const struct word_table *words,
                         struct arena *arena)
{
    struct word_table stems;
    uint32_t *stem_of = arena_alloc_array(arena, words->count, sizeof *stem_of);
    if (stem_of == NULL || !word_table_init(&stems, words->count, arena)) {
        return false;
    }
    for (size_t i = 0; i < words->count; i++) {
        struct bytes stem = words->words[i];
        if (stem.size >= STEM_SIZE_MIN) {
            char *copy = arena_alloc(arena, stem.size);
            if (copy == NULL) {
                return false;
            }
            memcpy(copy, stem.data, stem.size);
            stem = (struct bytes){copy, porter_stem(copy, stem.size)};
        }
        if (!word_table_add(&stems, stem, &stem_of[i])) {
            return false;
        }
    }
    struct words *const both[2] = {&pair->reference, &pair->candidate};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < both[k]->count; i++) {
            both[k]->numbers[i] = stem_of[both[k]->numbers[i]];
        }
    }
    pair->distinct_count = stems.count;
    return true;
}

static bool number_pair(enum words_mode mode, const struct bytes clean[2], struct arena *arena,
                        struct words_pair *pair)
{
    struct words *const both[2] = {&pair->reference, &pair->candidate};
    size_t total = 0;
    for (size_t k = 0; k < 2; k++) {
        size_t words = 0;
        size_t sentences = 0;
        count_words(clean[k], &words, &sentences);
        both[k]->numbers = arena_alloc_array(arena, words, sizeof *both[k]->numbers);
        both[k]->ends = arena_alloc_array(arena, sentences, sizeof *both[k]->ends);
        if (both[k]->numbers == NULL || both[k]->ends == NULL) {
            return false;
        }
        total += words;
    }
    struct word_table table;
    if (!word_table_init(&table, total, arena) ||
        !number_words(clean[0], &table, &pair->reference) ||
        !number_words(clean[1], &table, &pair->candidate)) {
        return false;
    }
    pair->distinct_count = table.count;
    return mode != WORDS_STEM || number_stems(pair, &table, arena);
}

bool words_cut(const struct words_cutter *cutter, enum words_mode mode, const struct bytes texts[2],
               struct arena *arena, struct words_pair *pair_out, struct error *error)
{
    struct bytes clean[2] = {{0}};
    *pair_out = (struct words_pair){0};
    for (size_t k = 0; k < 2; k++) {
        if (texts[k].size > WORDS_TEXT_BYTES_MAX) {
            return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                             "a text to compare has %zu bytes, the limit is %d", texts[k].size,
                             WORDS_TEXT_BYTES_MAX);
        }
        if (!write_clean(cutter, mode, texts[k], arena, &clean[k], error)) {
            return false;
        }
    }
    return number_pair(mode, clean, arena, pair_out) || refuse_size(error);
}
