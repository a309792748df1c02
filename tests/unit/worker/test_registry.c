/* registry against a small HTTP server that stands for Confluent's REST API. */
#include "tests/support/cmocka.h"

#include <curl/curl.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/registry.h"

static struct MHD_Daemon *server;
static char url[128]; // with a path and a slash at its end
static _Atomic int requests_count;
static _Atomic bool is_down; // answers 503
static char posted[65536];
static size_t posted_size;

static enum MHD_Result answer_with(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *data_size, void **state)
{
    (void)context;
    (void)version;
    static int marker;
    if (*state == NULL) {
        *state = &marker;
        return MHD_YES;
    }
    if (*data_size > 0) {
        CHECK(*data_size <= sizeof posted - posted_size);
        memcpy(posted + posted_size, data, *data_size);
        posted_size += *data_size;
        *data_size = 0;
        return MHD_YES;
    }
    requests_count++;
    if (is_down) {
        return answer_with(connection, 503, "{}");
    }
    if (strcmp(method, "POST") == 0 && strcmp(path, "/base/v7/subjects/t-value/versions") == 0) {
        return answer_with(connection, 200, "{\"id\": 42}");
    }
    if (strcmp(path, "/base/v7/schemas/ids/7") == 0) {
        struct bytes schema = record_schema(RECORD_REQUEST);
        json_t *root = json_pack("{s:s%}", "schema", schema.data, schema.size);
        char *text = json_dumps(root, 0);
        enum MHD_Result result = answer_with(connection, 200, text);
        free(text);
        json_decref(root);
        return result;
    }
    return answer_with(connection, 404, "{\"error_code\": 40403}");
}

struct scene {
    uv_loop_t loop;
    struct record_codec *codec;
    struct registry *registry;
    int changes;
};

static void on_change(void *context)
{
    struct scene *scene = context;
    scene->changes++;
}

static void open_scene(struct scene *scene)
{
    struct error error = {0};
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    *scene = (struct scene){0};
    assert_int_equal(uv_loop_init(&scene->loop), 0);
    scene->codec = record_codec_open(&options, &error);
    assert_non_null(scene->codec);
    struct registry_end end = {on_change, scene};
    assert_true(registry_open(&scene->loop, url, scene->codec, end, &scene->registry, &error));
    requests_count = 0;
    is_down = false;
    posted_size = 0;
}

static void close_scene(struct scene *scene)
{
    registry_close(scene->registry);
    (void)uv_run(&scene->loop, UV_RUN_DEFAULT);
    record_codec_close(scene->codec);
    assert_int_equal(uv_loop_close(&scene->loop), 0);
}

static void test_a_known_id_becomes_ready_and_is_asked_for_once(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(registry_resolve(scene.registry, 7), REGISTRY_PENDING);
    }
    (void)uv_run(&scene.loop, UV_RUN_DEFAULT);
    assert_int_equal(registry_resolve(scene.registry, 7), REGISTRY_READY);
    assert_int_equal(scene.changes, 1);
    assert_int_equal(requests_count, 1);
    close_scene(&scene);
}

static void test_an_unknown_id_is_missing_and_is_not_asked_for_again(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    (void)registry_resolve(scene.registry, 8);
    (void)uv_run(&scene.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(registry_resolve(scene.registry, 8), REGISTRY_MISSING);
    }
    assert_int_equal(requests_count, 1);
    close_scene(&scene);
}

static void test_a_registry_that_is_down_is_asked_again_later(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    is_down = true;
    (void)registry_resolve(scene.registry, 7);
    (void)uv_run(&scene.loop, UV_RUN_DEFAULT);
    assert_int_equal(registry_resolve(scene.registry, 7), REGISTRY_PENDING);
    assert_int_equal(requests_count, 1); // not yet again
    is_down = false;
    enum registry_state last = REGISTRY_PENDING;
    for (int i = 0; i < 100 && last == REGISTRY_PENDING; i++) {
        uv_sleep(20);
        (void)uv_run(&scene.loop, UV_RUN_DEFAULT);
        uv_update_time(&scene.loop);
        last = registry_resolve(scene.registry, 7);
    }
    assert_int_equal(last, REGISTRY_READY);
    close_scene(&scene);
}

static void test_registering_posts_the_schema_and_gives_its_id(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    struct error error = {0};
    uint32_t id = 0;
    assert_true(registry_register(url, "t-value", record_schema(RECORD_RESPONSE), &id, &error));
    assert_int_equal(id, 42);
    json_t *root = json_loadb(posted, posted_size, 0, NULL);
    assert_true(bytes_equal_text(record_schema(RECORD_RESPONSE),
                                 json_string_value(json_object_get(root, "schema"))));
    json_decref(root);
    assert_false(
        registry_register(url, "other-value", record_schema(RECORD_RESPONSE), &id, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    close_scene(&scene);
}

static void test_loading_gives_the_codec_a_schema_or_an_error(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    struct error error = {0};
    assert_true(registry_load(url, 7, scene.codec, &error));
    assert_false(registry_load(url, 8, scene.codec, &error));
    assert_non_null(strstr(error.message, "404"));
    close_scene(&scene);
}

static int open_server(void **state)
{
    (void)state;
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    server = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, NULL,
                              MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        server == NULL ? NULL : MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL) {
        return -1;
    }
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/base/v7/", (unsigned)info->port);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    MHD_stop_daemon(server);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_known_id_becomes_ready_and_is_asked_for_once),
        cmocka_unit_test(test_an_unknown_id_is_missing_and_is_not_asked_for_again),
        cmocka_unit_test(test_a_registry_that_is_down_is_asked_again_later),
        cmocka_unit_test(test_registering_posts_the_schema_and_gives_its_id),
        cmocka_unit_test(test_loading_gives_the_codec_a_schema_or_an_error),
    };
    return cmocka_run_group_tests(tests, open_server, close_server);
}
