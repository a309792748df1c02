/* body: zstd frames that are right, and those that lie about their size. */
#include "schemas/records/body.h"

#include <stdlib.h>
#include <zstd.h>

#include "tests/support/cmocka.h"

enum { BODY_BYTES_MAX = 100000 };

struct fixture {
    struct body_codec *codec;
    struct arena *arena;
    struct buffer frame;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->codec = body_codec_open();
    fixture->arena = arena_open(1 << 20);
    buffer_init(&fixture->frame, 1 << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    body_codec_close(fixture->codec);
    arena_close(fixture->arena);
    buffer_close(&fixture->frame);
    free(fixture);
    return 0;
}

static bool decompress(struct fixture *fixture, struct bytes *body_out)
{
    return body_decompress(fixture->codec, buffer_bytes(&fixture->frame), BODY_BYTES_MAX,
                           fixture->arena, body_out, &fixture->error);
}

static void assert_refused(struct fixture *fixture, const char *reason)
{
    struct bytes body;
    size_t before = arena_bytes(fixture->arena);
    assert_false(decompress(fixture, &body));
    assert_int_equal(fixture->error.kind, ERROR_UNDECODABLE);
    if (strstr(fixture->error.message, reason) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", fixture->error.message, reason);
    }
    assert_true(arena_bytes(fixture->arena) - before <= 2 * BODY_BYTES_MAX);
}

/* `size` bytes of one letter. */
static void compress_run(struct fixture *fixture, size_t size)
{
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, 'a', size);
    assert_true(body_compress(fixture->codec, (struct bytes){text, size}, &fixture->frame,
                              &fixture->error));
    free(text);
}

static void bodies_survive(void **state)
{
    struct fixture *fixture = *state;
    for (size_t size = 0; size <= BODY_BYTES_MAX; size = size * 3 + 1) {
        struct bytes body;
        buffer_clear(&fixture->frame);
        compress_run(fixture, size);
        assert_true(decompress(fixture, &body));
        assert_int_equal(body.size, size);
        assert_true(size == 0 || (body.data[0] == 'a' && body.data[size - 1] == 'a'));
    }
}

static void a_body_over_the_limit_is_refused_by_what_it_declares(void **state)
{
    struct fixture *fixture = *state;
    compress_run(fixture, BODY_BYTES_MAX + 1);
    assert_refused(fixture, "declares 100001 bytes, the limit is 100000");
}

static void a_frame_without_a_size_is_refused(void **state)
{
    struct fixture *fixture = *state;
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    char frame[100];
    size_t size = ZSTD_compress2(context, frame, sizeof frame, "{}", 2);
    assert_false(ZSTD_isError(size));
    ZSTD_freeCCtx(context);
    buffer_append(&fixture->frame, frame, size);
    assert_refused(fixture, "does not declare");
}

static void a_second_frame_is_refused(void **state)
{
    struct fixture *fixture = *state;
    compress_run(fixture, 60000);
    compress_run(fixture, 60000);
    assert_refused(fixture, "bytes behind its first frame");
}

static void a_skippable_frame_is_no_body(void **state)
{
    struct fixture *fixture = *state;
    buffer_append(&fixture->frame, "\x50\x2A\x4D\x18\x02\0\0\0zz", 10);
    struct bytes body = {NULL, 1};
    assert_true(!decompress(fixture, &body) || body.size == 0);
}

/* A frame header (magic, descriptor F0: 8-byte size, single segment) that promises more than its
 * block gives. */
static void a_frame_that_lies_about_its_size_is_refused(void **state)
{
    struct fixture *fixture = *state;
    buffer_append(&fixture->frame, "\x28\xB5\x2F\xFD\xE0\x50\xC3\0\0\0\0\0\0",
                  13);                               // declares 50,000
    buffer_append(&fixture->frame, "\x11\0\0{}", 5); // last raw block, 2 bytes
    assert_refused(fixture, "damaged");
}

static void every_cut_and_every_flipped_byte_is_refused_or_read(void **state)
{
    struct fixture *fixture = *state;
    const char text[] =
        "{\"model\":\"scribe\",\"messages\":[{\"role\":\"user\",\"content\":\"abcabcabc\"}]}";
    assert_true(body_compress(fixture->codec, bytes_of(text), &fixture->frame, &fixture->error));
    size_t size = fixture->frame.size;
    for (size_t i = 0; i < size; i++) {
        struct bytes body;
        struct bytes cut = {fixture->frame.data, i};
        assert_false(body_decompress(fixture->codec, cut, BODY_BYTES_MAX, fixture->arena, &body,
                                     &fixture->error));
        for (int bit = 0; bit < 8; bit++) {
            struct arena *arena = arena_open(1 << 20);
            fixture->frame.data[i] ^= (char)(1 << bit);
            if (body_decompress(fixture->codec, buffer_bytes(&fixture->frame), BODY_BYTES_MAX,
                                arena, &body, &fixture->error)) {
                assert_true(body.size <= BODY_BYTES_MAX);
            }
            fixture->frame.data[i] ^= (char)(1 << bit);
            arena_close(arena);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(bodies_survive),
        TEST(a_body_over_the_limit_is_refused_by_what_it_declares),
        TEST(a_frame_without_a_size_is_refused),
        TEST(a_second_frame_is_refused),
        TEST(a_skippable_frame_is_no_body),
        TEST(a_frame_that_lies_about_its_size_is_refused),
        TEST(every_cut_and_every_flipped_byte_is_refused_or_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
