/* What a chain of decoders makes of single tokens, and which chains are refused. */
#include "pipeline/text/decoder.h"

#include "tests/support/cmocka.h"

static const char *const names[] = {"\xE2\x96\x81the", "<0x41>", "<0xZZ>", "\xC4\xA0the", "a b"};

enum { NAMES = sizeof names / sizeof names[0] };

static struct vocabulary open_names(void)
{
    struct vocabulary vocabulary;
    struct error error = {0};
    assert_true(vocabulary_init(&vocabulary, NAMES, &error));
    for (int32_t id = 0; id < NAMES; id++) {
        assert_true(vocabulary_add(&vocabulary, id, bytes_of(names[id]), true, &error));
    }
    return vocabulary;
}

static bool open_chain(const char *json, struct decoder *decoder, struct error *error)
{
    struct vocabulary vocabulary = open_names();
    json_t *root = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(root);
    bool is_open = decoder_open(decoder, root, &vocabulary, error);
    json_decref(root);
    vocabulary_close(&vocabulary);
    return is_open;
}

static void check_piece(const struct decoder *decoder, int32_t id, const char *expected)
{
    assert_true(bytes_equal_text(vocabulary_text(&decoder->pieces, id), expected));
}

static void test_byte_level_gives_bytes(void **state)
{
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    assert_true(open_chain("{\"type\": \"ByteLevel\"}", &decoder, &error));
    assert_true(decoder.is_byte_level);
    check_piece(&decoder, 3, " the");
    check_piece(&decoder, 4, "a b"); // outside the alphabet: as it is
    decoder_close(&decoder);
}

#define REPLACE                                                                                    \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"}"

static void test_llama_chain_gives_text_and_bytes(void **state)
{
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    assert_true(open_chain("{\"type\": \"Sequence\", \"decoders\": [" REPLACE
                           ", {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": "
                           "\"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}",
                           &decoder, &error));
    check_piece(&decoder, 0, " the");
    assert_int_equal(decoder.bytes[0], -1);
    assert_int_equal(decoder.bytes[1], 0x41);
    assert_int_equal(decoder.bytes[2], -1);
    assert_int_equal(decoder.strip_count, 1);
    decoder_close(&decoder);
}

static void test_metaspace_begins_without_a_space(void **state)
{
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    assert_true(open_chain("{\"type\": \"Metaspace\", \"replacement\": \"\xE2\x96\x81\", "
                           "\"prepend_scheme\": \"first\"}",
                           &decoder, &error));
    check_piece(&decoder, 0, " the");
    assert_true(bytes_equal_text(vocabulary_text(&decoder.beginning, 0), "the"));
    decoder_close(&decoder);
}

static void test_refuses_orders_that_it_would_get_wrong(void **state)
{
    (void)state;
    static const char *const chains[] = {
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, " REPLACE "]}",
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteLevel\"}, {\"type\": "
        "\"ByteFallback\"}]}",
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteLevel\"}, {\"type\": "
        "\"ByteLevel\"}]}",
        "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}",
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
        "\"content\": \" \", \"start\": 1, \"stop\": 1}]}",
        "{\"type\": \"CTC\"}",
    };
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++) {
        struct decoder decoder;
        struct error error = {0};
        if (open_chain(chains[i], &decoder, &error)) {
            fail_msg("accepted: %s", chains[i]);
        }
        assert_int_equal(error.kind, ERROR_INVALID);
        assert_non_null(strstr(error.message, "support"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level_gives_bytes),
        cmocka_unit_test(test_llama_chain_gives_text_and_bytes),
        cmocka_unit_test(test_metaspace_begins_without_a_space),
        cmocka_unit_test(test_refuses_orders_that_it_would_get_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
