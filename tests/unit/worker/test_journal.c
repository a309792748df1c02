/* journal: what was added is there again, up to the first damage. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/journal.h"

enum { FRAMES = 20 };

static char path[] = "/tmp/millrace-journal-XXXXXX";

static struct journal *open_journal(const char *identity)
{
    struct error error = {0};
    struct journal *journal = NULL;
    if (!journal_open(path, bytes_of(identity), &journal, &error)) {
        fail_msg("%s", error.message);
    }
    return journal;
}

static int64_t add(struct journal *journal, const char *head, const char *body)
{
    struct error error = {0};
    int64_t position;
    assert_true(journal_add(journal, bytes_of(head), bytes_of(body), &position, &error));
    return position;
}

static int count_frames(void)
{
    struct journal *journal = open_journal("run");
    struct bytes frame;
    int64_t position;
    int count = 0;
    while (journal_next(journal, &frame, &position)) {
        char text[32];
        (void)snprintf(text, sizeof text, "frame %d", count++);
        assert_true(bytes_equal_text(frame, text));
    }
    journal_close(journal, true);
    return count;
}

static void write_frames(void)
{
    struct journal *journal = open_journal("run");
    for (int i = 0; i < FRAMES; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%d", i);
        (void)add(journal, "frame ", body);
    }
    journal_close(journal, true);
}

static void test_frames_come_back_and_can_be_copied(void **state)
{
    (void)state;
    struct error error = {0};
    struct journal *journal = open_journal("run");
    int64_t position = add(journal, "head ", "body");
    char text[16] = "";
    FILE *to = fmemopen(text, sizeof text, "wb");
    assert_true(journal_copy(journal, position + 5, 4, to, &error));
    assert_int_equal(fclose(to), 0);
    assert_string_equal(text, "body");
    journal_close(journal, false);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_cut_or_damage_costs_only_what_is_behind_it(void **state)
{
    (void)state;
    write_frames();
    assert_int_equal(count_frames(), FRAMES);
    FILE *file = fopen(path, "rb");
    char bytes[4096];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    int last = FRAMES;
    for (size_t cut = size - 1; cut > 40; cut--) { // behind the identity
        assert_int_equal(truncate(path, (off_t)cut), 0);
        int count = count_frames();
        assert_true(count == last || count == last - 1);
        last = count;
    }
    assert_int_equal(last, 0);

    for (size_t i = 40; i < size; i += 7) {
        bytes[i] ^= 1;
        file = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
        assert_true(count_frames() < FRAMES);
        bytes[i] ^= 1;
    }
}

static void test_adding_goes_on_behind_the_last_whole_frame(void **state)
{
    (void)state;
    (void)unlink(path);
    write_frames();
    FILE *file = fopen(path, "ab");
    assert_true(fputs("MRJ1 something torn that is longer than a frame's head", file) >= 0);
    assert_int_equal(fclose(file), 0);
    struct journal *journal = open_journal("run");
    struct bytes frame;
    int64_t position;
    while (journal_next(journal, &frame, &position)) {
    }
    (void)add(journal, "frame ", "20");
    journal_close(journal, true);
    assert_int_equal(count_frames(), FRAMES + 1);
}

static void test_another_identity_begins_anew(void **state)
{
    (void)state;
    (void)unlink(path);
    write_frames();
    struct journal *journal = open_journal("another run");
    struct bytes frame;
    int64_t position;
    assert_false(journal_next(journal, &frame, &position));
    journal_close(journal, true);
    assert_int_equal(count_frames(), 0);
}

static void test_one_process_at_a_time_has_it(void **state)
{
    (void)state;
    struct journal *journal = open_journal("run");
    pid_t child = fork();
    if (child == 0) {
        struct error error = {0};
        struct journal *second = NULL;
        bool is_refused = !journal_open(path, bytes_of("run"), &second, &error) &&
                          strstr(error.message, "another process") != NULL;
        _exit(is_refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    journal_close(journal, false);
}

static int make_name(void **state)
{
    (void)state;
    int descriptor = mkstemp(path);
    return descriptor < 0 || close(descriptor) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_come_back_and_can_be_copied),
        cmocka_unit_test(test_a_cut_or_damage_costs_only_what_is_behind_it),
        cmocka_unit_test(test_adding_goes_on_behind_the_last_whole_frame),
        cmocka_unit_test(test_another_identity_begins_anew),
        cmocka_unit_test(test_one_process_at_a_time_has_it),
    };
    return cmocka_run_group_tests(tests, make_name, NULL);
}
