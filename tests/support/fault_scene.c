/* fault_scene: see the header. */
#include "tests/support/fault_scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "schemas/records/record_codec.h"
#include "tests/support/fault_memory.h"
#include "tests/support/ledger.h"
#include "tests/support/mock_broker.h"
#include "tests/support/scripted_group.h"
#include "worker/worker.h"

enum { SETS_MAX = 24, WAIT_MS = 60000, STEP_MS = 1 };

static const char requests[] = "requests";

static struct mock_broker broker;
static struct config *config;

struct life {
    pthread_t thread;
    struct worker *worker;
    _Atomic bool is_open;
    _Atomic bool is_over;
    enum life_end end;
    struct error error;
};

static void wait_step(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
}

/* Says what happened, and ends the test. */
static _Noreturn void stop_test(const char *what)
{
    fprintf(stderr, "%s; the last allocations that failed, newest first:\n", what);
    fault_memory_print();
    abort();
}

static void check_ledger(void)
{
    const char *violation = ledger_violation();
    if (violation != NULL) {
        stop_test(violation);
    }
}

static void queue_line(int partition, const char *line)
{
    mock_broker_queue(&broker, requests, partition, bytes_of("key"), bytes_of(line));
}

static void queue_avro(int partition)
{
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    struct error error = {0};
    struct record_codec *codec = record_codec_open(&options, &error);
    CHECK(codec != NULL);
    struct inference_request request = {
        .custom_id = bytes_of("avro"),
        .url = bytes_of("/v1/chat/completions"),
        .body = bytes_of("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}"),
    };
    struct buffer value;
    buffer_init(&value, 1 << 20);
    CHECK(record_encode_request(codec, &request, WIRE_AVRO, 0, &value, &error));
    mock_broker_queue(&broker, requests, partition, (struct bytes){0}, buffer_bytes(&value));
    buffer_close(&value);
    record_codec_close(codec);
}

#define LINE(fields, body)                                                                         \
    "{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\"," fields            \
    "\"body\":" body "}"

/* One record of each kind, and its outcome. NULL: the Avro one. */
static const struct {
    const char *line;
    int outcome;
} kinds[] = {
    {LINE("", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"), 200},
    {LINE("", "{\"model\":\"m\",\"messages\":17}"), 400},
    {LINE("", "{\"model\":\"other\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"), 404},
    {LINE("\"millrace\":{\"deadline_ms\":1},",
          "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"),
     LEDGER_EXPIRED},
    {"no record at all", LEDGER_DEAD_LETTER},
    {NULL, 200},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void queue_records(int partition)
{
    for (int i = 0; i < FAULT_SCENE_RECORDS; i++) {
        if (kinds[i % KINDS].line == NULL) {
            queue_avro(partition);
        } else {
            queue_line(partition, kinds[i % KINDS].line);
        }
    }
}

void fault_scene_open(void)
{
    fault_exempt_thread();
    mock_broker_open(&broker);
    mock_broker_topic(&broker, requests, LEDGER_PARTITIONS);
    mock_broker_topic(&broker, "responses", LEDGER_PARTITIONS);
    mock_broker_topic(&broker, "dlq", 1);
    for (int i = 0; i < LEDGER_PARTITIONS; i++) {
        queue_records(i);
    }
    mock_broker_flush(&broker);
    fault_scene_configure(NULL, 0);
}

void fault_scene_close(void)
{
    config_close(config);
    config = NULL;
    mock_broker_close(&broker);
}

void fault_scene_configure(const char *const *sets, size_t sets_count)
{
    char bootstrap[300];
    (void)snprintf(bootstrap, sizeof bootstrap, "kafka.bootstrap.servers=%s",
                   rd_kafka_mock_cluster_bootstraps(broker.cluster));
    const char *const always[] = {
        bootstrap,
        "kafka.group.id=test",
        "kafka.retry.backoff.ms=10",
        "kafka.fetch.wait.max.ms=5",
        "kafka.linger.ms=0",
        "topics.requests=requests",
        "topics.responses=responses",
        "topics.dead_letters=dlq",
        "worker.id=worker-1",
        "generator=scripted",
        "models=[{name: m, path: none}]",
        "pool.threads=1",
        "http.port=0",
        "transaction.records.max=5",
        "transaction.interval.ms=5",
        "drain.timeout.ms=3000",
    };
    enum { ALWAYS = sizeof always / sizeof always[0] };
    const char *all[SETS_MAX];
    CHECK(ALWAYS + sets_count <= SETS_MAX);
    memcpy(all, always, sizeof always);
    for (size_t i = 0; i < sets_count; i++) {
        all[ALWAYS + i] = sets[i];
    }
    struct error error = {0};
    config_close(config);
    if (!config_open(NULL, all, ALWAYS + sets_count, &config, &error)) {
        stop_test(error.message);
    }
}

void fault_scene_reset(bool is_exactly_once)
{
    ledger_reset(is_exactly_once);
}

static void *run_worker(void *context)
{
    struct life *life = context;
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0);
    life->end = LIFE_REFUSED;
    if (worker_open(&loop, config, &life->worker, &life->error)) {
        life->is_open = true;
        life->end = worker_run(life->worker, &life->error) ? LIFE_FINISHED : LIFE_FAILED;
        life->is_over = true;
        CHECK(worker_close(life->worker));
    }
    life->is_over = true;
    CHECK(uv_loop_close(&loop) == 0);
    return NULL;
}

/* False when the worker ended before the condition came true. */
static bool await(const struct life *life, bool (*condition)(void))
{
    for (int waited_ms = 0; !condition(); waited_ms += STEP_MS) {
        if (life->is_over) {
            return false;
        }
        if (waited_ms >= WAIT_MS) {
            stop_test("the worker got stuck");
        }
        wait_step();
    }
    return true;
}

static size_t count_answered(void)
{
    size_t count = 0;
    for (int i = 0; i < LEDGER_PARTITIONS; i++) {
        for (int j = 0; j < FAULT_SCENE_RECORDS; j++) {
            count += ledger_visible(i, j) > 0 ? 1 : 0;
        }
    }
    return count;
}

static bool are_some_answered(void)
{
    return count_answered() >= FAULT_SCENE_RECORDS * 3 / 2;
}

static bool are_all_committed(void)
{
    bool is_committed = count_answered() == (size_t)LEDGER_PARTITIONS * FAULT_SCENE_RECORDS;
    for (int i = 0; i < LEDGER_PARTITIONS; i++) {
        is_committed = is_committed && ledger_committed(i) >= FAULT_SCENE_RECORDS;
    }
    return is_committed;
}

static bool take(const struct life *life, int32_t partition)
{
    scripted_group_assign(partition);
    return await(life, scripted_group_is_answered);
}

static bool give(const struct life *life, int32_t partition, bool is_lost)
{
    scripted_group_revoke(partition, is_lost);
    return await(life, scripted_group_is_answered);
}

/* The group's side. */
static bool play(const struct life *life)
{
    return await(life, scripted_group_has_member) && take(life, 0) && take(life, 1) &&
           await(life, are_some_answered) && give(life, 1, false) && take(life, 1) &&
           give(life, 0, true) && take(life, 0) && await(life, are_all_committed);
}

enum life_end fault_scene_live(struct error *error_out)
{
    struct life life = {0};
    scripted_group_reset(requests);
    CHECK(pthread_create(&life.thread, NULL, run_worker, &life) == 0);
    if (play(&life)) {
        worker_stop(life.worker);
    }
    CHECK(pthread_join(life.thread, NULL) == 0);
    check_ledger();
    if (life.end != LIFE_FINISHED && life.error.kind == ERROR_NONE) {
        stop_test("the worker ended without an error");
    }
    *error_out = life.error;
    return life.end;
}

static void check_record(int partition, int offset, bool may_shrink)
{
    int count = ledger_visible(partition, offset);
    int outcome = ledger_outcome(partition, offset);
    bool is_expected = outcome == kinds[offset % KINDS].outcome || outcome == LEDGER_DEAD_LETTER ||
                       (may_shrink && outcome == LEDGER_TOO_LARGE);
    if (count == 0 || (count > 1 && ledger_is_exactly_once()) || !is_expected) {
        fprintf(stderr, "partition %d offset %d has %d outcomes, the last is %d\n", partition,
                offset, count, outcome);
        stop_test("not every record has its outcome");
    }
}

void fault_scene_check_all(bool may_shrink)
{
    check_ledger();
    for (int i = 0; i < LEDGER_PARTITIONS; i++) {
        for (int j = 0; j < FAULT_SCENE_RECORDS; j++) {
            check_record(i, j, may_shrink);
        }
    }
}
