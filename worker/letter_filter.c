/* letter_filter: comparisons, and the two texts that the command line has. */
#include "worker/letter_filter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

struct letter_filter letter_filter_of_topics(char *const *topics, size_t count)
{
    struct letter_filter filter = {.topics_count = count,
                                   .partition = -1,
                                   .offset_first = -1,
                                   .offset_last = -1,
                                   .since_ms = -1,
                                   .until_ms = -1};
    CHECK(count <= CONFIG_NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        filter.topics[i] = topics[i];
    }
    return filter;
}

int letter_filter_topic(const struct letter_filter *filter, const struct letter *letter)
{
    for (size_t i = 0; letter->source.topic.data != NULL && i < filter->topics_count; i++) {
        if (bytes_equal_text(letter->source.topic, filter->topics[i])) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_text(const char *wanted, struct bytes text)
{
    return wanted == NULL || (text.data != NULL && bytes_equal_text(text, wanted));
}

/* Of bounds that are negative neither counts. */
static bool is_within(int64_t number, int64_t first, int64_t last)
{
    return (first < 0 || number >= first) && (last < 0 || number <= last);
}

bool letter_filter_has_place(const struct letter_filter *filter, int64_t partition, int64_t offset,
                             int64_t time_ms)
{
    return is_within(partition, filter->partition, filter->partition) &&
           is_within(offset, filter->offset_first, filter->offset_last) &&
           (filter->since_ms < 0 || time_ms >= filter->since_ms) &&
           (filter->until_ms < 0 || time_ms < filter->until_ms);
}

bool letter_filter_matches(const struct letter_filter *filter, const struct letter *letter)
{
    return letter_filter_topic(filter, letter) >= 0 && is_text(filter->run_id, letter->run_id) &&
           is_text(filter->reason, letter->reason) &&
           letter_filter_has_place(filter, letter->source.partition, letter->source.offset,
                                   letter->time_ms);
}

static bool read_offset(const char *text, const char **end_out, int64_t *offset_out)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *end_out = end;
    *offset_out = number;
    return errno == 0 && *text >= '0' && *text <= '9';
}

bool letter_filter_parse_offsets(struct letter_filter *filter, const char *text)
{
    const char *end;
    if (!read_offset(text, &end, &filter->offset_first)) {
        return false;
    }
    filter->offset_last = filter->offset_first;
    if (*end == '-' && !read_offset(end + 1, &end, &filter->offset_last)) {
        return false;
    }
    return *end == '\0' && filter->offset_last >= filter->offset_first;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_in(int64_t year, int64_t month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

/* Days from 1970-01-01. */
static int64_t days_to(int64_t year, int64_t month, int64_t day)
{
    int64_t days = day - 1;
    for (int64_t y = 1970; y < year; y++) {
        days += is_leap(y) ? 366 : 365;
    }
    for (int64_t m = 1; m < month; m++) {
        days += days_in(year, m);
    }
    return days;
}

/* Reads digits by the places of a pattern such as "0000-00"; other characters are themselves. */
static bool read_pattern(const char *pattern, const char *text, int64_t *numbers)
{
    for (size_t i = 0; i <= strlen(pattern); i++) {
        bool is_digit = pattern[i] == '0';
        if (is_digit ? text[i] < '0' || text[i] > '9' : text[i] != pattern[i]) {
            return false;
        }
        if (is_digit) {
            *numbers = *numbers * 10 + (text[i] - '0');
        } else {
            numbers++;
        }
    }
    return true;
}

bool letter_filter_parse_time(const char *text, int64_t *time_ms_out)
{
    enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, COUNT };
    int64_t numbers[COUNT + 1] = {0};
    if (!read_pattern("0000-00-00", text, numbers)) {
        memset(numbers, 0, sizeof numbers);
        if (!read_pattern("0000-00-00T00:00:00Z", text, numbers)) {
            return false;
        }
    }
    if (numbers[YEAR] < 1970 || numbers[MONTH] < 1 || numbers[MONTH] > 12 || numbers[DAY] < 1 ||
        numbers[DAY] > days_in(numbers[YEAR], numbers[MONTH]) || numbers[HOUR] > 23 ||
        numbers[MINUTE] > 59 || numbers[SECOND] > 59) {
        return false;
    }
    int64_t days = days_to(numbers[YEAR], numbers[MONTH], numbers[DAY]);
    int64_t minutes = (days * 24 + numbers[HOUR]) * 60 + numbers[MINUTE];
    *time_ms_out = (minutes * 60 + numbers[SECOND]) * 1000;
    return true;
}
