/* word_scanner: one character class per look, the alternatives in the order of the expressions. */
#include "pipeline/text/word_scanner.h"

#include <stdbool.h>
#include <stdint.h>
#include <utf8proc.h>

#include "pipeline/text/unicode_additions.h"
#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"

/* What a character is. One bit each, so that a set of them is a mask. */
enum character_class {
    CLASS_END = 0, // behind the text
    CLASS_LETTER = 1,
    CLASS_MARK = 2,
    CLASS_NUMBER = 4,
    CLASS_PUNCTUATION = 8,
    CLASS_SYMBOL = 16,
    CLASS_SPACE = 32,   // \s, but not a newline
    CLASS_NEWLINE = 64, // \r and \n
    CLASS_OTHER = 128,  // controls, unassigned
};

enum {
    WHITE = CLASS_SPACE | CLASS_NEWLINE,
    SIGNS = CLASS_PUNCTUATION | CLASS_SYMBOL,          // [\p{P}\p{S}]
    WORDS = CLASS_LETTER | CLASS_MARK,                 // [\p{L}\p{M}]
    REST = CLASS_MARK | SIGNS | CLASS_OTHER,           // [^\s\p{L}\p{N}]
    PREFIXES = CLASS_MARK | CLASS_NUMBER | CLASS_SPACE // [^\r\n\p{L}\p{P}\p{S}]
               | CLASS_OTHER,
};

// clang-format off
#define L CLASS_LETTER
#define N CLASS_NUMBER
#define P CLASS_PUNCTUATION
#define S CLASS_SYMBOL
#define W CLASS_SPACE
#define R CLASS_NEWLINE
#define O CLASS_OTHER
static const unsigned char ascii_classes[128] = {
    O, O, O, O, O, O, O, O, O, W, R, W, W, R, O, O, // \t \n \v \f \r
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    W, P, P, P, S, P, P, P, P, P, P, S, P, P, P, P, // !"#$%&'()*+,-./
    N, N, N, N, N, N, N, N, N, N, P, P, S, S, S, P, // 0 to 9 :;<=>?
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, // @ A to O
    L, L, L, L, L, L, L, L, L, L, L, P, P, P, S, P, // P to Z [\]^_
    S, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, // ` a to o
    L, L, L, L, L, L, L, L, L, L, L, P, S, P, S, O, // p to z {|}~
};
#undef L
#undef N
#undef P
#undef S
#undef W
#undef R
#undef O
// clang-format on

static enum character_class class_of_addition(int32_t c)
{
    switch (unicode_addition_category(c)) {
    case 'L':
        return CLASS_LETTER;
    case 'M':
        return CLASS_MARK;
    case 'N':
        return CLASS_NUMBER;
    case 'P':
        return CLASS_PUNCTUATION;
    case 'S':
        return CLASS_SYMBOL;
    default:
        return CLASS_OTHER;
    }
}

static enum character_class class_of(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    if (utf8_is_space(c)) {
        return CLASS_SPACE;
    }
    if (category == UTF8PROC_CATEGORY_CN) {
        return class_of_addition(c);
    }
    return category <= UTF8PROC_CATEGORY_LO   ? CLASS_LETTER
           : category <= UTF8PROC_CATEGORY_ME ? CLASS_MARK
           : category <= UTF8PROC_CATEGORY_NO ? CLASS_NUMBER
           : category <= UTF8PROC_CATEGORY_PO ? CLASS_PUNCTUATION
           : category <= UTF8PROC_CATEGORY_SO ? CLASS_SYMBOL
                                              : CLASS_OTHER;
}

/* The class of the character at `position`; *end_out is where it ends. */
static inline unsigned look(struct bytes text, size_t position, size_t *end_out)
{
    if (position >= text.size) {
        *end_out = text.size;
        return CLASS_END;
    }
    unsigned char byte = (unsigned char)text.data[position];
    if (byte < 0x80) {
        *end_out = position + 1;
        return ascii_classes[byte];
    }
    size_t size = 0;
    int32_t c = utf8_decode(text.data + position, &size);
    *end_out = position + size;
    return class_of(c);
}

/* Where the run of `wanted` classes that goes on at `position` ends. */
static size_t run_end(struct bytes text, size_t position, unsigned wanted)
{
    size_t end = position;
    while ((look(text, position, &end) & wanted) != 0) {
        position = end;
    }
    return position;
}

static bool is_at(struct bytes text, size_t position, const char *wanted, size_t size)
{
    return text.size - position >= size && memcmp(text.data + position, wanted, size) == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* The size of an English contraction at an apostrophe, 0 when there is none. */
static size_t contraction_size(struct bytes text, size_t start, bool ignores_case)
{
    size_t left = text.size - start;
    if (left < 2) {
        return 0;
    }
    char first = ignores_case ? lower(text.data[start + 1]) : text.data[start + 1];
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return 2;
    }
    if (ignores_case && is_at(text, start + 1, "\xC5\xBF", 2)) {
        return 3; // U+017F, the long s, is an s without regard to case
    }
    if (left < 3) {
        return 0;
    }
    char second = ignores_case ? lower(text.data[start + 2]) : text.data[start + 2];
    bool is_pair = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                   (first == 'l' && second == 'l');
    return is_pair ? 3 : 0;
}

/* \s+(?!\S)|\s+ and, where `ends_at_newline`, \s*[\r\n]+ before them. */
static size_t space_end(struct bytes text, size_t start, bool ends_at_newline)
{
    size_t position = start;
    size_t last = start;    // where the last character of the run begins
    size_t newline = start; // where the last newline ends
    size_t end = start;
    unsigned class = look(text, position, &end);
    for (; (class & WHITE) != 0; class = look(text, position, &end)) {
        newline = class == CLASS_NEWLINE ? end : newline;
        last = position;
        position = end;
    }
    if (ends_at_newline && newline > start) {
        return newline;
    }
    return class == CLASS_END || last == start ? position : last;
}

static size_t next_gpt2(struct bytes text, size_t start)
{
    if (text.data[start] == '\'') {
        size_t size = contraction_size(text, start, false);
        if (size > 0) {
            return start + size;
        }
    }
    size_t end = start;
    unsigned class = look(text, start, &end);
    if (text.data[start] == ' ') {
        size_t second_end = end;
        unsigned second = look(text, end, &second_end);
        if (second != CLASS_END && (second & WHITE) == 0) {
            class = second;
            end = second_end;
        }
    }
    if ((class & WHITE) != 0) {
        return space_end(text, start, false);
    }
    return run_end(text, end, (class & REST) != 0 ? REST : class);
}

static size_t number_end(struct bytes text, size_t position, size_t count_max)
{
    size_t end = position;
    for (size_t i = 0; i < count_max && look(text, position, &end) == CLASS_NUMBER; i++) {
        position = end;
    }
    return position;
}

static size_t next_llama3(struct bytes text, size_t start, size_t numbers_max)
{
    if (text.data[start] == '\'') {
        size_t size = contraction_size(text, start, true);
        if (size > 0) {
            return start + size;
        }
    }
    size_t end = start;
    unsigned class = look(text, start, &end);
    if (class == CLASS_LETTER) {
        return run_end(text, end, CLASS_LETTER);
    }
    if (class == CLASS_NUMBER) {
        return number_end(text, start, numbers_max);
    }
    if (class == CLASS_NEWLINE) {
        return space_end(text, start, true);
    }
    size_t second_end = end;
    unsigned second = look(text, end, &second_end);
    if (second == CLASS_LETTER) {
        return run_end(text, second_end, CLASS_LETTER);
    }
    if ((class & REST) != 0 || (text.data[start] == ' ' && (second & REST) != 0)) {
        return run_end(text, run_end(text, end, REST), CLASS_NEWLINE);
    }
    return space_end(text, start, true);
}

static bool is_ascii_letter(struct bytes text, size_t position)
{
    return position < text.size && (unsigned char)text.data[position] < 0x80 &&
           ascii_classes[(unsigned char)text.data[position]] == CLASS_LETTER;
}

/* The end of DeepSeek's match at `start`, or `start` when there is none. */
static size_t deepseek_match_end(struct bytes text, size_t start)
{
    size_t end = start;
    unsigned class = look(text, start, &end);
    if ((class & SIGNS) != 0 && (unsigned char)text.data[start] < 0x80 &&
        is_ascii_letter(text, end)) {
        while (is_ascii_letter(text, end)) {
            end++;
        }
        return end;
    }
    size_t second_end = end;
    unsigned second = look(text, end, &second_end);
    if ((class & WORDS) != 0 || ((class & PREFIXES) != 0 && (second & WORDS) != 0)) {
        return run_end(text, end, WORDS);
    }
    if ((class & SIGNS) != 0 || (text.data[start] == ' ' && (second & SIGNS) != 0)) {
        return run_end(text, run_end(text, end, SIGNS), CLASS_NEWLINE);
    }
    return (class & WHITE) != 0 ? space_end(text, start, true) : start;
}

/* A match, or what lies before the next one. */
static size_t next_deepseek(struct bytes text, size_t start)
{
    size_t end = deepseek_match_end(text, start);
    if (end > start) {
        return end;
    }
    size_t position = start;
    do {
        (void)look(text, position, &position);
    } while (position < text.size && deepseek_match_end(text, position) == position);
    return position;
}

/* Groups of up to three numbers, and what lies between. */
static size_t next_numbers(struct bytes text, size_t start)
{
    size_t end = number_end(text, start, 3);
    return end > start ? end : run_end(text, start, ~(unsigned)CLASS_NUMBER);
}

/* [\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF] */
static bool is_chinese_or_kana(struct bytes text, size_t position, size_t *end_out)
{
    size_t size = 0;
    int32_t c = utf8_decode(text.data + position, &size);
    *end_out = position + size;
    return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}

/* Runs of ideographs and kana, and what lies between. */
static size_t next_chinese(struct bytes text, size_t start)
{
    size_t position = start;
    size_t end = start;
    bool is_run = is_chinese_or_kana(text, start, &end);
    while (position < text.size && is_chinese_or_kana(text, position, &end) == is_run) {
        position = end;
    }
    return position;
}

enum word_scanner word_scanner_for(struct bytes expression)
{
    static const struct {
        const char *expression;
        enum word_scanner scanner;
    } known[] = {
        {WORD_SCANNER_GPT2_PATTERN, WORD_SCANNER_GPT2},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
         " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         WORD_SCANNER_LLAMA3},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
         " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         WORD_SCANNER_QWEN2},
        {"\\p{N}{1,3}", WORD_SCANNER_NUMBERS},
        {"[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+",
         WORD_SCANNER_CHINESE},
        {"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
         "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         WORD_SCANNER_DEEPSEEK},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (bytes_equal_text(expression, known[i].expression)) {
            return known[i].scanner;
        }
    }
    return WORD_SCANNER_NONE;
}

size_t word_scanner_next(enum word_scanner scanner, struct bytes text, size_t start)
{
    switch (scanner) {
    case WORD_SCANNER_GPT2:
        return next_gpt2(text, start);
    case WORD_SCANNER_LLAMA3:
        return next_llama3(text, start, 3);
    case WORD_SCANNER_QWEN2:
        return next_llama3(text, start, 1);
    case WORD_SCANNER_NUMBERS:
        return next_numbers(text, start);
    case WORD_SCANNER_CHINESE:
        return next_chinese(text, start);
    case WORD_SCANNER_DEEPSEEK:
        return next_deepseek(text, start);
    case WORD_SCANNER_NONE:
        break;
    }
    CHECK(!"a scanner");
    return text.size;
}
