/* porter: the steps of the paper, each a list of rules of which the first whose suffix fits
 * decides.
 */
#include "pipeline/compare/porter.h"

#include <stdbool.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct word {
    char *text;
    size_t size;
};

/* --- What the conditions ask --- */

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

/* A y is a consonant at the start and after a vowel. */
static bool is_consonant(const char *text, size_t at)
{
    bool is_negated = false;
    while (at > 0 && text[at] == 'y') {
        is_negated = !is_negated;
        at--;
    }
    return !is_vowel(text[at]) != is_negated;
}

/* How often a vowel is followed by a consonant; looks no further than the second. */
static int measure(const char *text, size_t size)
{
    int count = 0;
    bool was_consonant = true;
    for (size_t i = 0; i < size && count < 2; i++) {
        bool is_now = text[i] == 'y' ? i == 0 || !was_consonant : !is_vowel(text[i]);
        count += i > 0 && is_now && !was_consonant;
        was_consonant = is_now;
    }
    return count;
}

static bool has_vowel(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        // A y that follows a consonant is a vowel; one that follows a vowel changes nothing.
        if (is_vowel(text[i]) || (text[i] == 'y' && i > 0)) {
            return true;
        }
    }
    return false;
}

static bool ends_in_double_consonant(const struct word *word)
{
    return word->size >= 2 && word->text[word->size - 1] == word->text[word->size - 2] &&
           is_consonant(word->text, word->size - 1);
}

/* Consonant, vowel, consonant other than w, x and y; or just vowel and consonant. */
static bool ends_in_cvc(const char *text, size_t size)
{
    if (size == 2) {
        return !is_consonant(text, 0) && is_consonant(text, 1);
    }
    return size >= 3 && is_consonant(text, size - 3) && !is_consonant(text, size - 2) &&
           is_consonant(text, size - 1) && strchr("wxy", text[size - 1]) == NULL;
}

/* --- Rules --- */

static bool ends_with(const struct word *word, const char *suffix)
{
    size_t size = strlen(suffix);
    return word->size >= size && memcmp(word->text + word->size - size, suffix, size) == 0;
}

/* Replacements are never longer than what they replace. */
static void replace(struct word *word, const char *suffix, const char *replacement)
{
    size_t size = strlen(replacement);
    word->size -= strlen(suffix);
    memcpy(word->text + word->size, replacement, size);
    word->size += size;
}

struct rule {
    const char *suffix;
    const char *replacement;
    size_t size; // of the suffix
};

#define RULE(suffix, replacement)                                                                  \
    {                                                                                              \
        suffix, replacement, sizeof(suffix) - 1                                                    \
    }

/* The first rule whose suffix fits decides: it applies where the rest's measure is above
 * `measure_min`. */
static void apply(struct word *word, const struct rule *rules, size_t count, int measure_min)
{
    const char *end = word->text + word->size;
    for (size_t i = 0; i < count; i++) {
        const struct rule *rule = &rules[i];
        if (word->size < rule->size || end[-1] != rule->suffix[rule->size - 1] ||
            memcmp(end - rule->size, rule->suffix, rule->size) != 0) {
            continue;
        }
        if (measure(word->text, word->size - rule->size) > measure_min) {
            replace(word, rule->suffix, rule->replacement);
        }
        return;
    }
}

static void step_1a(struct word *word)
{
    static const struct rule rules[] = {RULE("sses", "ss"), RULE("ies", "i"), RULE("ss", "ss"),
                                        RULE("s", "")};
    if (word->size == 4 && ends_with(word, "ies")) {
        replace(word, "ies", "ie");
        return;
    }
    apply(word, rules, COUNT(rules), -1);
}

/* What follows where "ed" or "ing" was taken away, which leaves room for an e. */
static void mend_1b(struct word *word)
{
    char last = word->text[word->size - 1];
    bool wants_e = ends_with(word, "at") || ends_with(word, "bl") || ends_with(word, "iz");
    if (!wants_e && ends_in_double_consonant(word)) {
        word->size -= last != 'l' && last != 's' && last != 'z';
        return;
    }
    if (wants_e || (measure(word->text, word->size) == 1 && ends_in_cvc(word->text, word->size))) {
        replace(word, "", "e");
    }
}

static void step_1b(struct word *word)
{
    if (ends_with(word, "ied")) {
        replace(word, "ied", word->size == 4 ? "ie" : "i");
        return;
    }
    if (ends_with(word, "eed")) {
        word->size -= measure(word->text, word->size - 3) > 0;
        return;
    }
    size_t cut = ends_with(word, "ed") ? 2 : ends_with(word, "ing") ? 3 : 0;
    if (cut > 0 && has_vowel(word->text, word->size - cut)) {
        word->size -= cut;
        mend_1b(word);
    }
}

static void step_1c(struct word *word)
{
    if (ends_with(word, "y") && word->size > 2 && is_consonant(word->text, word->size - 2)) {
        word->text[word->size - 1] = 'i';
    }
}

static void step_2(struct word *word)
{
    static const struct rule rules[] = {
        RULE("ational", "ate"), RULE("tional", "tion"), RULE("enci", "ence"),
        RULE("anci", "ance"),   RULE("izer", "ize"),    RULE("bli", "ble"),
        RULE("alli", "al"),     RULE("entli", "ent"),   RULE("eli", "e"),
        RULE("ousli", "ous"),   RULE("ization", "ize"), RULE("ation", "ate"),
        RULE("ator", "ate"),    RULE("alism", "al"),    RULE("iveness", "ive"),
        RULE("fulness", "ful"), RULE("ousness", "ous"), RULE("aliti", "al"),
        RULE("iviti", "ive"),   RULE("biliti", "ble"),  RULE("fulli", "ful"),
    };
    if (ends_with(word, "alli") && measure(word->text, word->size - 4) > 0) {
        replace(word, "alli", "al"); // and once more: "ationalli" becomes "ational", then "ate"
    }
    if (ends_with(word, "logi")) {
        if (measure(word->text, word->size - 3) > 0) { // the l counts as well
            replace(word, "logi", "log");
        }
        return;
    }
    apply(word, rules, COUNT(rules), 0);
}

static void step_3(struct word *word)
{
    static const struct rule rules[] = {
        RULE("icate", "ic"), RULE("ative", ""), RULE("alize", "al"), RULE("iciti", "ic"),
        RULE("ical", "ic"),  RULE("ful", ""),   RULE("ness", ""),
    };
    apply(word, rules, COUNT(rules), 0);
}

static void step_4(struct word *word)
{
    static const struct rule rules[] = {
        RULE("al", ""),   RULE("ance", ""), RULE("ence", ""), RULE("er", ""),    RULE("ic", ""),
        RULE("able", ""), RULE("ible", ""), RULE("ant", ""),  RULE("ement", ""), RULE("ment", ""),
        RULE("ent", ""),  RULE("ou", ""),   RULE("ism", ""),  RULE("ate", ""),   RULE("iti", ""),
        RULE("ous", ""),  RULE("ive", ""),  RULE("ize", ""),
    };
    if (ends_with(word, "ion")) { // the s or t stays, and counts
        size_t rest = word->size - 3;
        bool is_cut = measure(word->text, rest) > 1 && strchr("st", word->text[rest - 1]) != NULL;
        word->size -= is_cut ? 3 : 0;
        return;
    }
    apply(word, rules, COUNT(rules), 1);
}

static void step_5(struct word *word)
{
    if (ends_with(word, "e")) {
        size_t rest = word->size - 1;
        int count = measure(word->text, rest);
        word->size -= count > 1 || (count == 1 && !ends_in_cvc(word->text, rest));
    }
    if (ends_with(word, "ll") && measure(word->text, word->size - 1) > 1) {
        word->size--;
    }
}

static bool replace_irregular(struct word *word)
{
    static const struct rule irregular[] = {
        RULE("sky", "sky"),         RULE("skies", "sky"),        RULE("dying", "die"),
        RULE("lying", "lie"),       RULE("tying", "tie"),        RULE("news", "news"),
        RULE("innings", "inning"),  RULE("inning", "inning"),    RULE("outings", "outing"),
        RULE("outing", "outing"),   RULE("cannings", "canning"), RULE("canning", "canning"),
        RULE("howe", "howe"),       RULE("proceed", "proceed"),  RULE("exceed", "exceed"),
        RULE("succeed", "succeed"),
    };
    for (size_t i = 0; i < COUNT(irregular); i++) {
        if (irregular[i].size == word->size &&
            memcmp(word->text, irregular[i].suffix, word->size) == 0) {
            replace(word, irregular[i].suffix, irregular[i].replacement);
            return true;
        }
    }
    return false;
}

size_t porter_stem(char *text, size_t size)
{
    struct word word = {text, size};
    if (replace_irregular(&word) || size <= 2) {
        return word.size;
    }
    step_1a(&word);
    step_1b(&word);
    step_1c(&word);
    step_2(&word);
    step_3(&word);
    step_4(&word);
    step_5(&word);
    return word.size;
}
