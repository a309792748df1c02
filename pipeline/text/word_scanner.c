/* word_scanner: one character class per look, the alternatives in the order of the expressions. */
#include "pipeline/text/word_scanner.h"

#include <stdbool.h>
#include <stdint.h>
#include <utf8proc.h>

#include "pipeline/text/utf8.h"
#include "schemas/base/check.h"

enum class {
    CLASS_OTHER,
    CLASS_LETTER,  // \p{L}
    CLASS_NUMBER,  // \p{N}
    CLASS_SPACE,   // \s, but not a newline
    CLASS_NEWLINE, // \r and \n
    CLASS_END,     // behind the text
};

static const unsigned char ascii_classes[128] = {
    ['\t'] = CLASS_SPACE,   ['\n'] = CLASS_NEWLINE, ['\v'] = CLASS_SPACE, ['\f'] = CLASS_SPACE,
    ['\r'] = CLASS_NEWLINE, [' '] = CLASS_SPACE,    ['0'] = CLASS_NUMBER, ['1'] = CLASS_NUMBER,
    ['2'] = CLASS_NUMBER,   ['3'] = CLASS_NUMBER,   ['4'] = CLASS_NUMBER, ['5'] = CLASS_NUMBER,
    ['6'] = CLASS_NUMBER,   ['7'] = CLASS_NUMBER,   ['8'] = CLASS_NUMBER, ['9'] = CLASS_NUMBER,
    ['A'] = CLASS_LETTER,   ['B'] = CLASS_LETTER,   ['C'] = CLASS_LETTER, ['D'] = CLASS_LETTER,
    ['E'] = CLASS_LETTER,   ['F'] = CLASS_LETTER,   ['G'] = CLASS_LETTER, ['H'] = CLASS_LETTER,
    ['I'] = CLASS_LETTER,   ['J'] = CLASS_LETTER,   ['K'] = CLASS_LETTER, ['L'] = CLASS_LETTER,
    ['M'] = CLASS_LETTER,   ['N'] = CLASS_LETTER,   ['O'] = CLASS_LETTER, ['P'] = CLASS_LETTER,
    ['Q'] = CLASS_LETTER,   ['R'] = CLASS_LETTER,   ['S'] = CLASS_LETTER, ['T'] = CLASS_LETTER,
    ['U'] = CLASS_LETTER,   ['V'] = CLASS_LETTER,   ['W'] = CLASS_LETTER, ['X'] = CLASS_LETTER,
    ['Y'] = CLASS_LETTER,   ['Z'] = CLASS_LETTER,   ['a'] = CLASS_LETTER, ['b'] = CLASS_LETTER,
    ['c'] = CLASS_LETTER,   ['d'] = CLASS_LETTER,   ['e'] = CLASS_LETTER, ['f'] = CLASS_LETTER,
    ['g'] = CLASS_LETTER,   ['h'] = CLASS_LETTER,   ['i'] = CLASS_LETTER, ['j'] = CLASS_LETTER,
    ['k'] = CLASS_LETTER,   ['l'] = CLASS_LETTER,   ['m'] = CLASS_LETTER, ['n'] = CLASS_LETTER,
    ['o'] = CLASS_LETTER,   ['p'] = CLASS_LETTER,   ['q'] = CLASS_LETTER, ['r'] = CLASS_LETTER,
    ['s'] = CLASS_LETTER,   ['t'] = CLASS_LETTER,   ['u'] = CLASS_LETTER, ['v'] = CLASS_LETTER,
    ['w'] = CLASS_LETTER,   ['x'] = CLASS_LETTER,   ['y'] = CLASS_LETTER, ['z'] = CLASS_LETTER,
};

static enum class class_of(int32_t c) { if (utf8_is_space(c)){return CLASS_SPACE;}
utf8proc_category_t category = utf8proc_category(c);
if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) {
    return CLASS_LETTER;
}
bool is_number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
return is_number ? CLASS_NUMBER : CLASS_OTHER;
}

/* The class of the character at `position`; *end_out is where it ends. */
static inline enum class look(struct bytes text, size_t position, size_t *end_out) {
    if (position >= text.size){ *end_out = text.size; return CLASS_END;}
unsigned char byte = (unsigned char)text.data[position];
if (byte < 0x80) {
    *end_out = position + 1;
    return (enum class)ascii_classes[byte];
}
size_t size = 0;
int32_t c = utf8_decode(text.data + position, &size);
*end_out = position + size;
return class_of(c);
}

/* Where the run of `wanted` that goes on at `position` ends. */
static size_t run_end(struct bytes text, size_t position, enum class wanted)
{
    size_t end = position;
    while (look(text, position, &end) == wanted) {
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
    enum class class = look(text, position, &end);
    for (; class == CLASS_SPACE || class == CLASS_NEWLINE; class = look(text, position, &end)) {
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
    enum class class = look(text, start, &end);
    if (text.data[start] == ' ') {
        size_t second_end = end;
        enum class second = look(text, end, &second_end);
        if (second <= CLASS_NUMBER) {
            class = second;
            end = second_end;
        }
    }
    return class <= CLASS_NUMBER ? run_end(text, end, class) : space_end(text, start, false);
}

static size_t number_end(struct bytes text, size_t position, size_t count_max)
{
    size_t end = position;
    for (size_t i = 0; i < count_max && look(text, position, &end) == CLASS_NUMBER; i++) {
        position = end;
    }
    return position;
}

/* [^\s\p{L}\p{N}]+[\r\n]* */
static size_t other_end(struct bytes text, size_t position)
{
    return run_end(text, run_end(text, position, CLASS_OTHER), CLASS_NEWLINE);
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
    enum class class = look(text, start, &end);
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
    enum class second = look(text, end, &second_end);
    if (second == CLASS_LETTER) {
        return run_end(text, second_end, CLASS_LETTER);
    }
    if (class == CLASS_OTHER || (text.data[start] == ' ' && second == CLASS_OTHER)) {
        return other_end(text, end);
    }
    return space_end(text, start, true);
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
    case WORD_SCANNER_NONE:
        break;
    }
    CHECK(!"a scanner");
    return text.size;
}
