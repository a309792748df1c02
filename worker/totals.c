/* totals: counting and printing. */
#include "worker/totals.h"

#include "pipeline/clock.h"

enum { STATUS_OK = 200 };

void totals_start(struct totals *totals)
{
    *totals = (struct totals){.started_ms = clock_monotonic_ms()};
}

void totals_add_response(struct totals *totals, const struct inference_response *response)
{
    totals->records++;
    if (response->error != NULL && bytes_equal_text(response->error->code, "deadline_exceeded")) {
        totals->expired++;
    } else if (response->error != NULL || response->status_code != STATUS_OK) {
        totals->failed++;
    } else {
        totals->ok++;
    }
    if (response->usage != NULL) {
        totals->prompt_tokens += response->usage->prompt_tokens;
        totals->cached_tokens += response->usage->cached_tokens;
        totals->completion_tokens += response->usage->completion_tokens;
    }
}

void totals_add_dead_letter(struct totals *totals)
{
    totals->records++;
    totals->dead_lettered++;
}

bool totals_all_ok(const struct totals *totals)
{
    return totals->ok == totals->records;
}

static void print_json(const struct totals *totals, double seconds, double rate, FILE *file)
{
    (void)fprintf(file,
                  "{\"records\":%lld,\"ok\":%lld,\"failed\":%lld,\"expired\":%lld,"
                  "\"dead_lettered\":%lld,\"prompt_tokens\":%lld,\"cached_tokens\":%lld,"
                  "\"completion_tokens\":%lld,\"seconds\":%.3f,\"records_per_second\":%.2f}\n",
                  (long long)totals->records, (long long)totals->ok, (long long)totals->failed,
                  (long long)totals->expired, (long long)totals->dead_lettered,
                  (long long)totals->prompt_tokens, (long long)totals->cached_tokens,
                  (long long)totals->completion_tokens, seconds, rate);
}

static void print_lines(const struct totals *totals, double seconds, double rate, FILE *file)
{
    (void)fprintf(file, "%lld records: %lld ok, %lld failed, %lld expired, %lld dead-lettered\n",
                  (long long)totals->records, (long long)totals->ok, (long long)totals->failed,
                  (long long)totals->expired, (long long)totals->dead_lettered);
    (void)fprintf(file, "tokens: %lld in (%lld cached), %lld out\n",
                  (long long)totals->prompt_tokens, (long long)totals->cached_tokens,
                  (long long)totals->completion_tokens);
    (void)fprintf(file, "%.1f seconds, %.1f records per second\n", seconds, rate);
}

void totals_print(const struct totals *totals, bool as_json, FILE *file)
{
    double seconds = (clock_monotonic_ms() - totals->started_ms) / 1e3;
    double rate = seconds > 0 ? (double)totals->records / seconds : 0;
    if (as_json) {
        print_json(totals, seconds, rate, file);
    } else {
        print_lines(totals, seconds, rate, file);
    }
}
