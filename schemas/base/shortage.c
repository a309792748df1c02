/* shortage: a mark of each thread. */
#include "schemas/base/shortage.h"

static _Thread_local bool is_short;

void shortage_note(void)
{
    is_short = true;
}

bool shortage_take(void)
{
    bool was_short = is_short;
    is_short = false;
    return was_short;
}
