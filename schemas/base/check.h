/* CHECK(condition): a broken invariant ends the process with file, line and text, in every build.
 * For what only a bug can break; what input can break is an error (error.h). Thread: any. */
#ifndef SCHEMAS_BASE_CHECK_H
#define SCHEMAS_BASE_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *text);

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

#endif
