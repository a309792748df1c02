/* record_kinds: the four records. */
#include "schemas/records/record_kinds.h"

#include "schemas/records/embedded.h"

const struct record_info record_infos[RECORD_KINDS] = {
    [RECORD_REQUEST] = {&layout_request, schema_inference_request},
    [RECORD_RESPONSE] = {&layout_response, schema_inference_response},
    [RECORD_COMPARISON] = {&layout_comparison, schema_comparison},
    [RECORD_CONTROL] = {&layout_control, schema_control},
};

struct bytes record_schema(enum record_kind kind)
{
    return bytes_of(record_infos[kind].schema);
}
