/* shortage: whether memory ran out, as against a limit.
 *
 * An arena or a buffer that fails says no more than that it failed, and mostly the cause is a
 * limit, which is the record's own fault for good. Out of memory is nobody's fault and passes, so
 * whoever is about to blame a record asks here. Each thread has its own mark, like errno.
 */
#ifndef SCHEMAS_BASE_SHORTAGE_H
#define SCHEMAS_BASE_SHORTAGE_H

#include <stdbool.h>

/* The allocators': there was no memory. */
void shortage_note(void);
/* Whether that was noted on this thread since the last call, which forgets it. */
bool shortage_take(void);

#endif
