/* totals: counting and printing. */
#include "worker/totals.h"

enum { STATUS_OK = 200 };

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

void totals_remove_dead_letters(struct totals *totals, int64_t count)
{
    totals->records -= count;
    totals->dead_lettered -= count;
}

bool totals_all_ok(const struct totals *totals)
{
    return totals->ok == totals->records;
}

static double rate_of(const struct totals *totals, double seconds)
{
    return seconds > 0 ? (double)totals->records / seconds : 0;
}

void totals_print(const struct totals *totals, double seconds, FILE *file)
{
    (void)fprintf(file, "%lld records: %lld ok, %lld failed, %lld expired, %lld dead-lettered\n",
                  (long long)totals->records, (long long)totals->ok, (long long)totals->failed,
                  (long long)totals->expired, (long long)totals->dead_lettered);
    (void)fprintf(file, "tokens: %lld in (%lld cached), %lld out\n",
                  (long long)totals->prompt_tokens, (long long)totals->cached_tokens,
                  (long long)totals->completion_tokens);
    if (seconds > 0) {
        (void)fprintf(file, "%.1f seconds, %.1f records per second\n", seconds,
                      rate_of(totals, seconds));
    }
}

json_t *totals_json(const struct totals *totals, double seconds)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "records",
                     (json_int_t)totals->records, "ok", (json_int_t)totals->ok, "failed",
                     (json_int_t)totals->failed, "expired", (json_int_t)totals->expired,
                     "dead_lettered", (json_int_t)totals->dead_lettered, "prompt_tokens",
                     (json_int_t)totals->prompt_tokens, "cached_tokens",
                     (json_int_t)totals->cached_tokens, "completion_tokens",
                     (json_int_t)totals->completion_tokens, "seconds", seconds,
                     "records_per_second", rate_of(totals, seconds));
}
