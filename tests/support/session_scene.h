/* session_scene: a session on a loop of its own, configured by `--set` words. */
#ifndef TESTS_SUPPORT_SESSION_SCENE_H
#define TESTS_SUPPORT_SESSION_SCENE_H

#include <uv.h>

#include "worker/config.h"
#include "worker/session.h"

struct session_scene {
    uv_loop_t loop;
    struct config *config;
    struct session *session;
};

/* Ends the test on failure. */
void session_scene_open(struct session_scene *scene, const char *const *sets, size_t sets_count,
                        const struct session_end *end);
void session_scene_close(struct session_scene *scene);

#endif
