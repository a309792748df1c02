/* fuzz_runs: what topics.runs and the mark of a replay say. Input: one byte, then with an even
 * first byte JSON, else the origin of a request. What is accepted must come back as it is. */
#include "worker/manifest.h"

#include <string.h>

#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "worker/offset_ranges.h"
#include "worker/replay_mark.h"

static void check_manifest(const json_t *value)
{
    struct manifest *manifest = manifest_open();
    struct manifest *again = manifest_open();
    CHECK(manifest != NULL && again != NULL);
    struct error error = {0};
    if (manifest_parse(value, manifest, &error)) {
        json_t *copy = manifest_json(manifest);
        CHECK(copy != NULL && manifest_parse(copy, again, &error));
        CHECK(strcmp(manifest->run_id, again->run_id) == 0);
        CHECK(manifest->records == again->records);
        CHECK(manifest->requests.count == again->requests.count);
        json_decref(copy);
    }
    manifest_close(manifest);
    manifest_close(again);
}

static void check_ranges(const json_t *value)
{
    struct offset_ranges ranges = {0};
    struct error error = {0};
    if (offset_ranges_parse(&ranges, value, &error)) {
        for (size_t i = 0; i < ranges.count; i++) {
            CHECK(ranges.items[i].first < ranges.items[i].end);
            CHECK(i == 0 || ranges.items[i - 1].end < ranges.items[i].first);
            CHECK(offset_ranges_has(&ranges, ranges.items[i].first));
            CHECK(!offset_ranges_has(&ranges, ranges.items[i].end));
        }
    }
    offset_ranges_close(&ranges);
}

static void check_origin(struct bytes text)
{
    struct source source;
    char printed[ORIGIN_BYTES_MAX];
    struct source again;
    if (replay_mark_parse_origin(text, &source)) {
        replay_mark_print_origin(&source, printed);
        CHECK(replay_mark_parse_origin(bytes_of(printed), &again) ||
              memchr(text.data, 0, text.size));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct bytes rest = {(const char *)data + 1, size - 1};
    if (data[0] % 2 == 1) {
        check_origin(rest);
        return 0;
    }
    json_t *value = json_loadb(rest.data, rest.size, 0, NULL);
    if (value != NULL) {
        check_manifest(value);
        check_ranges(json_object_get(value, "sent"));
        json_decref(value);
    }
    return 0;
}
