/* refusal: the openings. */
#include "pipeline/compare/refusal.h"

#include <stddef.h>
#include <stdint.h>

#include "pipeline/text/character.h"
#include "pipeline/text/utf8.h"

enum { OPENING_BYTES_MAX = 200, CURLY_APOSTROPHE = 0x2019 };

/* In lower case, with straight apostrophes. */
static const char *const openings[] = {
    // English
    "i'm sorry, but i",
    "i'm sorry, i can",
    "i am sorry, but i",
    "i'm sorry, but as an ai",
    "sorry, but i can",
    "sorry, i can't",
    "sorry, i cannot",
    "i apologize, but i",
    "my apologies, but i",
    "unfortunately, i can't",
    "unfortunately, i cannot",
    "unfortunately, i am unable",
    "unfortunately, i'm unable",
    "i cannot ",
    "i can't ",
    "i can not ",
    "i'm unable to ",
    "i am unable to ",
    "i'm not able to ",
    "i am not able to ",
    "i won't be able to ",
    "i won't ",
    "i will not ",
    "i must decline",
    "i have to decline",
    "as an ai ",
    "as a language model",
    // German
    "es tut mir leid, aber",
    "tut mir leid, aber",
    "entschuldigung, aber ich kann",
    "leider kann ich",
    "ich kann ihnen dabei nicht",
    "ich kann dir dabei nicht",
    "ich kann diese anfrage nicht",
    // French
    "je suis désolé, mais je",
    "je suis désolée, mais je",
    "désolé, mais je ne peux",
    "désolé, je ne peux",
    "je ne peux pas ",
    "je ne suis pas en mesure",
    // Spanish
    "lo siento, pero no puedo",
    "lo siento, no puedo",
    "no puedo ayudar",
    "no me es posible",
    // Italian
    "mi dispiace, ma non posso",
    "mi dispiace, non posso",
    "non posso aiutar",
    // Portuguese
    "desculpe, mas não posso",
    "desculpe, não posso",
    "lamento, mas não posso",
    "não posso ajudar",
    // Dutch
    "het spijt me, maar ik kan",
    "sorry, maar ik kan",
    // Polish
    "przepraszam, ale nie mogę",
    "przykro mi, ale nie mogę",
    // Chinese
    "抱歉，",
    "很抱歉，",
    "对不起，",
    "我无法",
    "我不能",
    // Japanese
    "申し訳ありませんが",
    "申し訳ございませんが",
    "すみませんが",
    // Korean
    "죄송합니다",
    "죄송하지만",
};

/* The beginning without white space, in lower case, with straight apostrophes. */
static size_t fold_opening(struct bytes text, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size && size < OPENING_BYTES_MAX;) {
        size_t step = 1;
        int32_t c = utf8_decode(text.data + i, &step);
        i += step;
        c = c == CURLY_APOSTROPHE ? '\'' : character_lower(c);
        if (size > 0 || !utf8_is_space(c)) {
            size += utf8_encode(c, out + size);
        }
    }
    return size;
}

bool refusal_is_likely(struct bytes text)
{
    char opening[OPENING_BYTES_MAX + UTF8_SIZE_MAX];
    size_t size = fold_opening(text, opening);
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        struct bytes known = bytes_of(openings[i]);
        if (known.size <= size && memcmp(known.data, opening, known.size) == 0) {
            return true;
        }
    }
    return false;
}
