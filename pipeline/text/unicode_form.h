/* unicode_form: NFC, NFD, NFKC and NFKD, in linear time also for long runs of combining marks.
 * Immutable after init. */
#ifndef PIPELINE_TEXT_UNICODE_FORM_H
#define PIPELINE_TEXT_UNICODE_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum unicode_form_kind { FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD };

/* A character is inert when it begins anew: nothing changes it, and nothing before it combines with
 * it. Text between two inert characters can be normalized by itself, and most of it is not touched.
 */
struct unicode_form {
    enum unicode_form_kind kind;
    uint8_t inert[0x10000 / 8]; // bit set over the basic multilingual plane
};

void unicode_form_init(struct unicode_form *form, enum unicode_form_kind kind);

/* Appends the normal form of valid UTF-8; *is_changed_out false means that nothing was appended,
 * because the text is normal already. */
MUST_CHECK bool unicode_form_run(const struct unicode_form *form, struct bytes text,
                                 struct buffer *out, bool *is_changed_out, struct error *error);

#endif
