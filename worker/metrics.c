/* metrics: a fixed array of cells, one row of it for each metric, one cell for each label. */
#include "worker/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/buffer.h"
#include "schemas/base/check.h"

/* Seconds: fine where tokens are, coarse up to what a long document takes. */
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                2.5,   5,      10,    20,   40,    80,   160, 640,  2560};

enum {
    BOUNDS_COUNT = sizeof bounds / sizeof bounds[0],
    BUCKETS_COUNT = BOUNDS_COUNT + 1, // the last has what is over all bounds
    MODEL_BYTES_MAX = 128,
};

struct cell {
    _Atomic int64_t total; // counter
    _Atomic double value;  // gauge, or a histogram's sum
    _Atomic uint64_t buckets[BUCKETS_COUNT];
};

struct row {
    const char *name;
    const char *label; // "" = none
    const char *words; // "a|b", or "model"
    const char *help;
    enum metric_type type;
};

static const struct row rows[METRICS_COUNT] = {
#define X(id, type, name, label, words, help) [id] = {name, label, words, help, type},
    METRICS(X)
#undef X
};

static struct cell cells[METRICS_COUNT][METRICS_LABELS_MAX];

static pthread_mutex_t models_mutex = PTHREAD_MUTEX_INITIALIZER;
static char models[METRICS_LABELS_MAX][MODEL_BYTES_MAX];
static _Atomic int models_count;

static const char other[] = "other";

/* The first model that has the name, or a new one while there is room for it and for "other". */
static int model_index(const char *name)
{
    int count = atomic_load(&models_count);
    for (int i = 0; i < count; i++) {
        if (strncmp(models[i], name, MODEL_BYTES_MAX - 1) == 0) {
            return i;
        }
    }
    bool is_last = count >= METRICS_LABELS_MAX - 1;
    if (is_last && strcmp(name, other) != 0) {
        return model_index(other);
    }
    (void)snprintf(models[count], sizeof models[count], "%s", name);
    atomic_store(&models_count, count + 1);
    return count;
}

int metrics_model(const char *name)
{
    (void)pthread_mutex_lock(&models_mutex);
    int index = model_index(name == NULL ? other : name);
    (void)pthread_mutex_unlock(&models_mutex);
    return index;
}

/* How many labels a metric shows. */
static int labels_count(const struct row *row)
{
    if (row->label[0] == '\0') {
        return 1;
    }
    if (strcmp(row->words, "model") == 0) {
        return atomic_load(&models_count);
    }
    int count = 1;
    for (const char *c = row->words; *c != '\0'; c++) {
        count += *c == '|';
    }
    return count;
}

static struct cell *cell_of(enum metric metric, enum metric_type type, int label)
{
    CHECK((unsigned)metric < METRICS_COUNT && rows[metric].type == type);
    CHECK(label >= 0 && label < METRICS_LABELS_MAX && label < labels_count(&rows[metric]));
    return &cells[metric][label];
}

void metrics_add(enum metric metric, int label, int64_t count)
{
    atomic_fetch_add_explicit(&cell_of(metric, METRIC_COUNTER, label)->total, count,
                              memory_order_relaxed);
}

void metrics_set_total(enum metric metric, int label, int64_t total)
{
    atomic_store_explicit(&cell_of(metric, METRIC_COUNTER, label)->total, total,
                          memory_order_relaxed);
}

void metrics_set(enum metric metric, int label, double value)
{
    atomic_store_explicit(&cell_of(metric, METRIC_GAUGE, label)->value, value,
                          memory_order_relaxed);
}

void metrics_observe(enum metric metric, int label, double seconds)
{
    struct cell *cell = cell_of(metric, METRIC_HISTOGRAM, label);
    size_t bucket = 0;
    while (bucket < BOUNDS_COUNT && seconds > bounds[bucket]) {
        bucket++;
    }
    atomic_fetch_add_explicit(&cell->buckets[bucket], 1, memory_order_relaxed);
    double sum = atomic_load_explicit(&cell->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&cell->value, &sum, sum + seconds,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

double metrics_value(enum metric metric, int label)
{
    if (rows[metric].type == METRIC_COUNTER) {
        return (double)atomic_load(&cell_of(metric, METRIC_COUNTER, label)->total);
    }
    return atomic_load(&cell_of(metric, METRIC_GAUGE, label)->value);
}

/* The label's value, escaped as the format wants it. */
static void write_label_value(struct buffer *out, const struct row *row, int label)
{
    const char *text = row->words;
    size_t size = strcspn(text, "|");
    if (strcmp(row->words, "model") == 0) {
        text = models[label];
        size = strlen(text);
    } else {
        for (int i = 0; i < label; i++) {
            text += size + 1;
            size = strcspn(text, "|");
        }
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            buffer_append_text(out, "\\n");
            continue;
        }
        buffer_append_text(out, text[i] == '"' || text[i] == '\\' ? "\\" : "");
        buffer_append_char(out, text[i]);
    }
}

/* name<suffix>{label="value",le="bound"} and a space; `bound` may be NULL. */
static void write_series(struct buffer *out, const struct row *row, int label, const char *suffix,
                         const char *bound)
{
    buffer_printf(out, "%s%s", row->name, suffix);
    if (row->label[0] != '\0' || bound != NULL) {
        buffer_append_char(out, '{');
        if (row->label[0] != '\0') {
            buffer_printf(out, "%s=\"", row->label);
            write_label_value(out, row, label);
            buffer_append_text(out, bound == NULL ? "\"" : "\",");
        }
        if (bound != NULL) {
            buffer_printf(out, "le=\"%s\"", bound);
        }
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ' ');
}

static void write_histogram(struct buffer *out, const struct row *row, int label,
                            const struct cell *cell)
{
    uint64_t count = 0;
    char bound[32];
    for (size_t i = 0; i < BUCKETS_COUNT; i++) {
        count += atomic_load_explicit(&cell->buckets[i], memory_order_relaxed);
        if (i < BOUNDS_COUNT) {
            (void)snprintf(bound, sizeof bound, "%g", bounds[i]);
        } else {
            (void)snprintf(bound, sizeof bound, "+Inf");
        }
        write_series(out, row, label, "_bucket", bound);
        buffer_printf(out, "%" PRIu64 "\n", count);
    }
    write_series(out, row, label, "_sum", NULL);
    buffer_printf(out, "%.9g\n", atomic_load_explicit(&cell->value, memory_order_relaxed));
    write_series(out, row, label, "_count", NULL);
    buffer_printf(out, "%" PRIu64 "\n", count);
}

static const char *type_name(enum metric_type type)
{
    static const char *const names[] = {"counter", "gauge", "histogram"};
    return names[type];
}

/* Second number of /proc/self/statm, or 0. */
static double resident_bytes(void)
{
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) {
        return 0;
    }
    bool is_read = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file);
    const char *second = is_read ? strchr(text, ' ') : NULL;
    return second == NULL ? 0 : strtod(second, NULL) * (double)sysconf(_SC_PAGESIZE);
}

void metrics_write(struct buffer *out)
{
    metrics_set(METRIC_BUILD, 0, 1);
    metrics_set(METRIC_RESIDENT, 0, resident_bytes());
    for (int metric = 0; metric < METRICS_COUNT; metric++) {
        const struct row *row = &rows[metric];
        buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                      type_name(row->type));
        for (int label = 0; label < labels_count(row); label++) {
            const struct cell *cell = &cells[metric][label];
            if (row->type == METRIC_HISTOGRAM) {
                write_histogram(out, row, label, cell);
                continue;
            }
            write_series(out, row, label, "", NULL);
            if (row->type == METRIC_COUNTER) {
                buffer_printf(out, "%" PRId64 "\n", atomic_load(&cell->total));
            } else {
                buffer_printf(out, "%.15g\n", atomic_load(&cell->value));
            }
        }
    }
}

void metrics_write_reference(struct buffer *out)
{
    buffer_append_text(
        out, "# Metrics\n\n"
             "`millrace settings --metrics` prints this page; it is made from the table in "
             "the code.\nUnits are seconds, bytes and tokens. No label ever holds an id or "
             "a tenant.\n\n"
             "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n");
    for (int metric = 0; metric < METRICS_COUNT; metric++) {
        const struct row *row = &rows[metric];
        buffer_printf(out, "| `%s` | %s | ", row->name, type_name(row->type));
        bool is_free = strcmp(row->words, "model") == 0 || metric == METRIC_BUILD;
        buffer_append_text(out, row->label);
        buffer_append_text(out, row->label[0] == '\0' || is_free ? "" : ": ");
        for (const char *c = is_free ? "" : row->words; *c != '\0'; c++) {
            buffer_append(out, *c == '|' ? ", " : c, *c == '|' ? 2 : 1);
        }
        buffer_printf(out, " | %s |\n", row->help);
    }
    buffer_append_text(out, "\nHistograms have these upper bounds, in seconds:");
    for (size_t i = 0; i < BOUNDS_COUNT; i++) {
        buffer_printf(out, "%s%g", i == 0 ? " " : ", ", bounds[i]);
    }
    buffer_append_text(out, ".\n");
}
