/* run_corpus: gives each file of the folders or files named on the command line to the fuzz target,
 * in place of libFuzzer. A folder without files is a failure: a corpus that went missing tests
 * nothing. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { INPUT_BYTES_MAX = 16 << 20 };

static bool run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) != 0 || status.st_size > INPUT_BYTES_MAX) {
        fprintf(stderr, "%s: cannot be read or is over %d bytes\n", path, INPUT_BYTES_MAX);
        if (file != NULL) {
            fclose(file);
        }
        return false;
    }
    size_t size = (size_t)status.st_size;
    // Exactly as large as the input, so that a read past its end is seen.
    uint8_t *data = malloc(size);
    bool ok = (data != NULL || size == 0) && fread(data, 1, size, file) == size;
    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    fclose(file);
    return ok;
}

/* Counts what it ran into *count_out. */
static bool run_folder(const char *path, int *count_out)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    bool ok = true;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char file[4096];
        int length = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        ok = length > 0 && (size_t)length < sizeof file && run_file(file) && ok;
        ++*count_out;
    }
    closedir(folder);
    return ok;
}

int main(int argc, char **argv)
{
    bool ok = true;
    int count = 0;
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
            ok = run_folder(argv[i], &count) && ok;
        } else {
            ok = run_file(argv[i]) && ok;
            count++;
        }
    }
    printf("%d inputs\n", count);
    return ok && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
