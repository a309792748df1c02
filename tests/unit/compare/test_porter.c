/* The stemmer against NLTK's. */
#include "pipeline/compare/porter.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka.h"

static void test_stems_as_nltk_does(void **state)
{
    (void)state;
    char line[256];
    size_t count = 0;
    FILE *file = fopen(SOURCE_DIR "/tests/golden/compare/stems.txt", "rb");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *expected = strchr(line, ' ');
        assert_non_null(expected);
        *expected++ = '\0';
        expected[strcspn(expected, "\n")] = '\0';
        char word[256];
        (void)snprintf(word, sizeof word, "%s", line);
        size_t size = porter_stem(word, strlen(word));
        word[size] = '\0';
        if (strcmp(word, expected) != 0) {
            fail_msg("%s became %s, must be %s", line, word, expected);
        }
        count++;
    }
    (void)fclose(file);
    assert_true(count > 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stems_as_nltk_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
