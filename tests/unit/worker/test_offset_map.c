/* offset_map: what is written is read again, the bound on its size, and text that nobody wrote. */
#include "tests/support/cmocka.h"

#include <string.h>

#include "tests/support/sealed_map.h"
#include "tests/support/seed.h"
#include "worker/offset_map.h"

enum { WINDOW = OFFSET_MAP_WINDOW_MAX };

static size_t text_size_of(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

/* Bits at and above `span` go, the first offset is not done, the last one of the span is. */
static void trim(struct offset_map *map, uint32_t span)
{
    while (span > 0 && (span == 1 || !offset_map_is_done(map, span - 1))) {
        span--;
    }
    map->done[0] &= ~UINT64_C(1);
    for (uint32_t i = span; i < WINDOW; i++) {
        map->done[i / 64] &= ~(UINT64_C(1) << i % 64);
    }
    map->span = span;
}

/* Attempts of every `step`th undone offset. */
static void count_attempts(struct offset_map *map, uint32_t step)
{
    for (uint32_t i = 0; i < WINDOW && map->attempts_count < OFFSET_MAP_ATTEMPTS_MAX; i += step) {
        if (!offset_map_is_done(map, i)) {
            map->attempts[map->attempts_count++] =
                (struct offset_attempts){map->position + i, (uint8_t)(1 + i % 255)};
        }
    }
}

static void random_map(struct offset_map *map)
{
    offset_map_init(map, (int64_t)rand() << (rand() % 32), (uint32_t)random_below(WINDOW + 1));
    uint32_t span = (uint32_t)random_below(random_below(4) == 0 ? WINDOW + 1 : 300);
    size_t length_max = 1 + random_below(200);
    bool is_done = false;
    for (uint32_t i = 0; i < span; is_done = !is_done) {
        for (size_t left = 1 + random_below(length_max); left > 0 && i < span; left--, i++) {
            if (is_done) {
                offset_map_set_done(map, i);
            }
        }
    }
    trim(map, span);
    if (random_below(3) == 0) {
        count_attempts(map, 1 + (uint32_t)random_below(250));
    }
}

static struct bytes encode(const struct offset_map *map, char text_out[OFFSET_MAP_TEXT_MAX + 1])
{
    size_t size = offset_map_encode(map, text_out);
    assert_int_equal(size, strlen(text_out));
    return (struct bytes){text_out, size};
}

static void assert_reads_back(const struct offset_map *map)
{
    char text[OFFSET_MAP_TEXT_MAX + 1];
    struct offset_map read;
    struct error error = {0};
    if (!offset_map_decode(encode(map, text), map->position, &read, &error)) {
        fail_msg("%s", error.message);
    }
    assert_memory_equal(&read, map, sizeof read);
}

static void test_a_map_reads_back_as_it_was_written(void **state)
{
    (void)state;
    struct offset_map map;
    offset_map_init(&map, 0, 0);
    assert_reads_back(&map);
    offset_map_init(&map, OFFSET_MAP_POSITION_MAX, WINDOW);
    assert_reads_back(&map);
    for (int i = 0; i < 20000; i++) {
        random_map(&map);
        assert_reads_back(&map);
    }
}

static void test_every_pattern_of_a_small_window_reads_back_within_its_bound(void **state)
{
    (void)state;
    for (uint32_t window = 2; window <= 14; window++) {
        size_t text_max = text_size_of(offset_map_bytes_max(window));
        for (uint64_t bits = 0; bits < UINT64_C(1) << window; bits += 2) {
            struct offset_map map;
            char text[OFFSET_MAP_TEXT_MAX + 1];
            offset_map_init(&map, OFFSET_MAP_POSITION_MAX, window);
            map.done[0] = bits;
            trim(&map, window);
            for (uint32_t i = 0; i < window; i++) {
                if (!offset_map_is_done(&map, i)) {
                    map.attempts[map.attempts_count++] =
                        (struct offset_attempts){map.position + i, 255};
                }
            }
            assert_true(encode(&map, text).size <= text_max);
            assert_reads_back(&map);
        }
    }
}

static void test_a_full_window_of_alternating_bits_is_the_worst_case(void **state)
{
    (void)state;
    struct offset_map map;
    char text[OFFSET_MAP_TEXT_MAX + 1];
    offset_map_init(&map, OFFSET_MAP_POSITION_MAX, WINDOW);
    memset(map.done, 0xAA, sizeof map.done);
    trim(&map, WINDOW);
    assert_int_equal(map.span, WINDOW);
    count_attempts(&map, 200);
    assert_int_equal(map.attempts_count, OFFSET_MAP_ATTEMPTS_MAX);
    size_t bytes = offset_map_bytes_max(WINDOW);
    assert_int_equal(bytes, 2262);
    assert_true(bytes <= OFFSET_MAP_BYTES_MAX);
    assert_int_equal(encode(&map, text).size, text_size_of(bytes));
    assert_reads_back(&map);
    print_message("a full window takes at most %zu bytes, %zu characters\n", bytes,
                  text_size_of(bytes));
}

/* Patterns of every period, and a climb from each of some random maps towards more characters. */
static void test_no_pattern_is_larger_than_the_worst_case(void **state)
{
    (void)state;
    size_t text_max = text_size_of(offset_map_bytes_max(WINDOW));
    struct offset_map map;
    char text[OFFSET_MAP_TEXT_MAX + 1];
    for (uint32_t period = 1; period <= 40; period++) {
        for (uint32_t done = 0; done <= period; done++) {
            offset_map_init(&map, OFFSET_MAP_POSITION_MAX, WINDOW);
            for (uint32_t i = 0; i < WINDOW; i++) {
                map.done[i / 64] |= (uint64_t)(i % period >= period - done) << i % 64;
            }
            trim(&map, WINDOW);
            count_attempts(&map, 200);
            assert_true(encode(&map, text).size <= text_max);
        }
    }
    for (int climb = 0; climb < 20; climb++) {
        random_map(&map);
        size_t best = encode(&map, text).size;
        for (int i = 0; i < 200; i++) {
            struct offset_map changed = map;
            changed.attempts_count = 0;
            memset(changed.attempts, 0, sizeof changed.attempts);
            for (size_t flips = 1 + random_below(64); flips > 0; flips--) {
                size_t bit = random_below(WINDOW);
                changed.done[bit / 64] ^= UINT64_C(1) << bit % 64;
            }
            trim(&changed, WINDOW);
            count_attempts(&changed, 128 + (uint32_t)random_below(100));
            size_t size = encode(&changed, text).size;
            assert_true(size <= text_max);
            if (size >= best) {
                map = changed;
                best = size;
            }
        }
    }
}

static void print_size(const char *what, struct offset_map *map)
{
    char text[OFFSET_MAP_TEXT_MAX + 1];
    print_message("%-58s %5zu characters\n", what, encode(map, text).size);
}

static void test_typical_maps_are_short(void **state)
{
    (void)state;
    struct offset_map map;
    char text[OFFSET_MAP_TEXT_MAX + 1];
    offset_map_init(&map, 1234567, WINDOW);
    print_size("nothing done beyond the offset", &map);
    assert_true(encode(&map, text).size <= 24);

    for (uint32_t i = 1; i < 10000; i++) {
        offset_map_set_done(&map, i);
    }
    trim(&map, 10000);
    print_size("10,000 done behind one that is stuck", &map);
    assert_true(encode(&map, text).size <= 28);

    offset_map_init(&map, 1234567, WINDOW);
    for (uint32_t i = 1; i < 512; i++) {
        map.done[i / 64] |= (uint64_t)random_below(2) << i % 64;
    }
    trim(&map, 512);
    print_size("every other of 512 at random", &map);
    assert_true(encode(&map, text).size <= 112);

    offset_map_init(&map, 1234567, WINDOW);
    for (uint32_t i = 1; i < WINDOW; i++) {
        map.done[i / 64] |= (uint64_t)(random_below(64) != 0) << i % 64;
    }
    trim(&map, WINDOW);
    print_size("256 of 16,384 running, the others done", &map);
    assert_true(encode(&map, text).size <= 900);
}

static void assert_claims_nothing(const struct offset_map *map, int64_t committed)
{
    struct offset_map expected;
    offset_map_init(&expected, committed, WINDOW);
    assert_memory_equal(map, &expected, sizeof expected);
}

static void assert_refused(struct bytes text, int64_t committed, const char *reason)
{
    struct offset_map map;
    struct error error = {0};
    assert_false(offset_map_decode(text, committed, &map, &error));
    if (strstr(error.message, reason) == NULL) {
        fail_msg("'%s' does not say '%s'", error.message, reason);
    }
    assert_claims_nothing(&map, committed);
}

static void test_no_metadata_is_an_empty_map(void **state)
{
    (void)state;
    struct offset_map map;
    struct error error = {0};
    assert_true(offset_map_decode(bytes_of(""), 42, &map, &error));
    assert_int_equal(map.position, 42);
    assert_int_equal(map.span, 0);
    assert_int_equal(map.suspects, 0);
}

static void test_a_committed_offset_out_of_all_bounds_becomes_the_nearest(void **state)
{
    (void)state;
    struct offset_map map;
    struct error error = {0};
    assert_false(offset_map_decode(bytes_of(""), INT64_MAX, &map, &error));
    assert_claims_nothing(&map, OFFSET_MAP_POSITION_MAX);
    assert_false(offset_map_decode(bytes_of(""), -1, &map, &error));
    assert_claims_nothing(&map, 0);
}

static void test_text_that_is_not_a_map_is_refused(void **state)
{
    (void)state;
    char text[OFFSET_MAP_TEXT_MAX + 1];
    char longer[OFFSET_MAP_TEXT_MAX + 8];
    struct offset_map map;
    random_map(&map);
    struct bytes valid = encode(&map, text);
    assert_refused(valid, map.position + 1, "is committed");
    assert_refused((struct bytes){text, valid.size - 4}, map.position, "checksum");
    assert_refused((struct bytes){text, valid.size - 1}, map.position, "not base64");
    assert_refused(bytes_of("group metadata of another client"), 7, "not base64");
    assert_refused(bytes_of("===="), 7, "not base64");
    assert_refused(bytes_of("AQA="), 7, "too early");
    memset(longer, 'A', sizeof longer);
    assert_refused((struct bytes){longer, sizeof longer}, 7, "the limit is");
}

static void test_contradictions_are_refused_although_the_checksum_is_right(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[24];
        size_t size;
        const char *reason;
    } cases[] = {
        {{2, 0, 7, 0, 0, 0}, 6, "version 2"},
        {{1, 2, 7, 0, 0, 0}, 6, "with flags 2"},
        {{1, 0, 6, 0, 0, 0}, 6, "made for offset 6"},
        {{1, 0, 7, 0x81, 0x80, 0x01}, 6, "16385 is over its limit"},
        {{1, 0, 7, 2, 1, 2, 0, 0}, 8, "2 is over its limit of 1"},
        {{1, 0, 7, 2, 0, 2, 0, 0}, 8, "a run is empty"},
        {{1, 0, 7, 2, 2, 0, 0}, 7, "its last is not"},
        {{1, 1, 7, 3, 0x0C, 0, 0}, 7, "past its span"},
        {{1, 1, 7, 3, 0x05, 0, 0}, 7, "its first offset is done"},
        {{1, 1, 7, 9, 0x02}, 5, "too early"},
        {{1, 0, 7, 0, 0x81, 0x80, 0x01, 0}, 8, "over its limit"},
        {{1, 0, 7, 0, 0, 65}, 6, "65 is over its limit"},
        {{1, 0, 7, 0, 0, 1, 0, 0}, 8, "has none"},
        {{1, 0, 7, 0, 0, 2, 3, 1, 0, 1}, 10, "has none"},
        {{1, 0, 7, 2, 1, 1, 0, 1, 1, 1}, 10, "has none"},
        {{1, 0, 7, 0, 0, 1, 0x80, 0x80, 0x01, 1}, 10, "over its limit"},
        {{1, 0, 7, 0, 0, 0, 0}, 7, "bytes follow"},
        {{1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}, 12, "over 63 bits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[SEALED_MAP_TEXT_MAX];
        assert_refused(sealed_map(cases[i].bytes, cases[i].size, text), 7, cases[i].reason);
    }
}

/* Whatever is accepted is a map that can be written and read again. */
static bool decode_any(struct bytes text, int64_t committed)
{
    struct offset_map map;
    struct error error = {0};
    if (!offset_map_decode(text, committed, &map, &error)) {
        assert_claims_nothing(&map, committed);
        return false;
    }
    assert_int_equal(map.position, committed);
    assert_reads_back(&map);
    return true;
}

static void test_random_text_claims_nothing(void **state)
{
    (void)state;
    char text[300];
    for (int i = 0; i < 500000; i++) {
        size_t size = 1 + random_below(random_below(8) == 0 ? sizeof text : 48);
        bool is_base64 = random_below(2) == 0;
        for (size_t k = 0; k < size; k++) {
            text[k] = (char)(is_base64 ? "ABCDEFghijkl0123+/=x"[random_below(20)] : rand());
        }
        assert_false(decode_any((struct bytes){text, size}, 7));
    }
}

static void test_changed_text_claims_nothing(void **state)
{
    (void)state;
    char text[OFFSET_MAP_TEXT_MAX + 1];
    for (int i = 0; i < 5000; i++) {
        struct offset_map map;
        random_map(&map);
        struct bytes valid = encode(&map, text);
        for (int k = 0; k < 50; k++) {
            size_t at = random_below(valid.size);
            char kept = text[at];
            text[at] = (char)("ABCDEFghijkl0123+/=x"[random_below(20)]);
            assert_true(decode_any(valid, map.position) == (text[at] == kept));
            text[at] = kept;
        }
    }
}

/* Past the checksum: nothing but sense decides. */
static void test_random_bytes_with_a_right_checksum_are_refused_or_make_sense(void **state)
{
    (void)state;
    uint8_t raw[32];
    char text[SEALED_MAP_TEXT_MAX];
    int accepted = 0;
    for (int i = 0; i < 250000; i++) {
        size_t size = 4 + random_below(28);
        for (size_t k = 0; k < size; k++) {
            raw[k] = (uint8_t)random_below(random_below(4) == 0 ? 256 : 6);
        }
        raw[0] = 1;
        raw[1] = (uint8_t)random_below(2);
        raw[2] = 7;
        accepted += decode_any(sealed_map(raw, size, text), 7) ? 1 : 0;
    }
    print_message("%d of 250,000 random strings with a right checksum were maps\n", accepted);
    assert_true(accepted > 100); // or this tests nothing past the first check
}

int main(void)
{
    seed_random();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_map_reads_back_as_it_was_written),
        cmocka_unit_test(test_every_pattern_of_a_small_window_reads_back_within_its_bound),
        cmocka_unit_test(test_a_full_window_of_alternating_bits_is_the_worst_case),
        cmocka_unit_test(test_no_pattern_is_larger_than_the_worst_case),
        cmocka_unit_test(test_typical_maps_are_short),
        cmocka_unit_test(test_no_metadata_is_an_empty_map),
        cmocka_unit_test(test_a_committed_offset_out_of_all_bounds_becomes_the_nearest),
        cmocka_unit_test(test_text_that_is_not_a_map_is_refused),
        cmocka_unit_test(test_contradictions_are_refused_although_the_checksum_is_right),
        cmocka_unit_test(test_random_text_claims_nothing),
        cmocka_unit_test(test_changed_text_claims_nothing),
        cmocka_unit_test(test_random_bytes_with_a_right_checksum_are_refused_or_make_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
