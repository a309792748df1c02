/* character: utf8proc's tables, and what they do not know yet. */
#include "pipeline/text/character.h"

#include <utf8proc.h>

#include "pipeline/text/unicode_additions.h"

/* Whether the category lies between two of utf8proc's, or, for newer characters, begins with
 * `letter`. */
static bool is_between(int32_t code_point, int first, int last, char letter)
{
    int category = (int)utf8proc_category(code_point);
    return category == UTF8PROC_CATEGORY_CN ? unicode_addition_category(code_point) == letter
                                            : category >= first && category <= last;
}

bool character_is_letter(int32_t code_point)
{
    return is_between(code_point, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO, 'L');
}

bool character_is_mark(int32_t code_point)
{
    return is_between(code_point, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME, 'M');
}

bool character_is_number(int32_t code_point)
{
    return is_between(code_point, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO, 'N');
}

int32_t character_lower(int32_t code_point)
{
    return utf8proc_tolower(code_point);
}
