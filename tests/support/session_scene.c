/* session_scene: what the program does before and after a session. */
#include "tests/support/session_scene.h"

#include "tests/support/cmocka.h"

void session_scene_open(struct session_scene *scene, const char *const *sets, size_t sets_count,
                        const struct session_end *end)
{
    struct error error = {0};
    assert_int_equal(uv_loop_init(&scene->loop), 0);
    if (!config_open(NULL, sets, sets_count, &scene->config, &error) ||
        !session_open(&scene->loop, scene->config, end, &scene->session, &error)) {
        fail_msg("%s", error.message);
    }
}

void session_scene_close(struct session_scene *scene)
{
    session_close(scene->session);
    assert_int_equal(uv_loop_close(&scene->loop), 0);
    config_close(scene->config);
}
