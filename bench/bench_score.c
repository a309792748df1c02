/* bench_score: microseconds of CPU time per pair, on one core.
 *
 *     bench_score PAIRS.jsonl
 *
 * Each line has a reference and a candidate. Prints the median of the rounds for cutting both texts
 * and all ROUGE scores of one mode, and for all scores of the table.
 */
#include "pipeline/compare/score.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/compare/rouge.h"

enum { ROUNDS = 7, PAIRS_MAX = 200000, LINE_BYTES_MAX = 1 << 20, ARENA_BYTES_MAX = 512 << 20 };

struct pairs {
    json_t *lines[PAIRS_MAX];
    struct bytes texts[PAIRS_MAX][2];
    size_t count;
};

static struct pairs pairs;
static struct words_cutter cutter;
static struct scorer *scorer;

static double now_us(void)
{
    struct timespec time;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) {
        return 0;
    }
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static bool read_pairs(const char *path)
{
    static char text[LINE_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    while (file != NULL && pairs.count < PAIRS_MAX && fgets(text, sizeof text, file) != NULL) {
        json_t *line = json_loads(text, JSON_ALLOW_NUL, NULL);
        const json_t *reference = json_object_get(line, "reference");
        const json_t *candidate = json_object_get(line, "candidate");
        pairs.lines[pairs.count] = line;
        pairs.texts[pairs.count][0] =
            (struct bytes){json_string_value(reference), json_string_length(reference)};
        pairs.texts[pairs.count][1] =
            (struct bytes){json_string_value(candidate), json_string_length(candidate)};
        pairs.count += reference != NULL && candidate != NULL;
    }
    return file != NULL && fclose(file) == 0 && pairs.count > 0;
}

static bool run_rouge(const struct bytes texts[2], enum words_mode mode, struct arena *arena,
                      struct error *error)
{
    struct words_pair pair;
    struct rouges rouges;
    return words_cut(&cutter, mode, texts, arena, &pair, error) &&
           rouge_compute(&pair, arena, &rouges, error);
}

static bool run_all(const struct bytes texts[2], enum words_mode mode, struct arena *arena,
                    struct error *error)
{
    (void)mode;
    struct score_pair pair = {.reference = {.text = texts[0]}, .candidate = {.text = texts[1]}};
    struct score_result result;
    return scorer_run(scorer, &pair, arena, &result, error);
}

static bool measure(const char *name, enum words_mode mode,
                    bool (*run)(const struct bytes texts[2], enum words_mode mode,
                                struct arena *arena, struct error *error))
{
    double rounds[ROUNDS];
    struct error error = {0};
    for (size_t round = 0; round < ROUNDS; round++) {
        double start = now_us();
        for (size_t i = 0; i < pairs.count; i++) {
            struct arena *arena = arena_open(ARENA_BYTES_MAX);
            if (arena == NULL || !run(pairs.texts[i], mode, arena, &error)) {
                (void)fprintf(stderr, "bench_score: pair %zu: %s\n", i, error.message);
                return false;
            }
            arena_close(arena);
        }
        rounds[round] = (now_us() - start) / (double)pairs.count;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare);
    printf("%-22s %8.2f us a pair\n", name, rounds[ROUNDS / 2]);
    return true;
}

int main(int argc, char **argv)
{
    struct error error = {0};
    if (argc != 2 || !read_pairs(argv[1]) || !scorer_open(&scorer, &error)) {
        (void)fprintf(stderr, "usage: bench_score PAIRS.jsonl, lines with reference, candidate\n");
        return 2;
    }
    words_cutter_init(&cutter);
    bool is_done = measure("rouge1, 2, L, Lsum", WORDS_ROUGE, run_rouge) &&
                   measure("the same, stemmed", WORDS_STEM, run_rouge) &&
                   measure("the same, Unicode", WORDS_UNICODE, run_rouge) &&
                   measure("all scores", WORDS_ROUGE, run_all);
    for (size_t i = 0; i < pairs.count; i++) {
        json_decref(pairs.lines[i]);
    }
    scorer_close(scorer);
    return is_done ? 0 : 1;
}
