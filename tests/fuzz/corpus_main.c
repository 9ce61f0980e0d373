/* corpus_main.c - runs a fuzz target without libFuzzer, as an ordinary test: every file of the
 * folders given, then each one cut short and with bits flipped.  What is derived depends on the file
 * alone, so that a failure repeats. */
#include <dirent.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/rng.h"
#include "fuzz.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)
#define CUTS 24
#define FLIPS 48

static size_t inputs;

/* In memory of exactly its size, so that ASan sees a read past the end. */
static void run_one(const char *p, size_t n)
{
    uint8_t *copy = pst_alloc(n);
    if (n)
        memcpy(copy, p, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    inputs++;
}

static void run_cuts(const char *p, size_t n, pst_rng_t *r)
{
    for (int i = 0; i < CUTS; i++)
        run_one(p, (size_t)pst_rng_below(r, n));
}

/* One to four bits at once: some faults hide behind a first one. */
static void run_flips(char *p, size_t n, pst_rng_t *r)
{
    for (int i = 0; i < FLIPS; i++) {
        size_t at[4];
        char mask[4];
        size_t count = 1 + (size_t)pst_rng_below(r, PST_COUNT(at));
        for (size_t k = 0; k < count; k++) {
            at[k] = (size_t)pst_rng_below(r, n);
            mask[k] = (char)(1 << pst_rng_below(r, 8));
            p[at[k]] ^= mask[k];
        }
        run_one(p, n);
        for (size_t k = 0; k < count; k++)
            p[at[k]] ^= mask[k];
    }
}

static bool read_file(const char *path, pst_buf_t *ret)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    char *to;
    size_t got = 1;
    while (got && (to = pst_buf_reserve(ret, 64 << 10))) {
        got = fread(to, 1, 64 << 10, f);
        ret->n += got;
    }
    bool ok = !ret->failed && !ferror(f);
    fclose(f);
    return ok;
}

static bool run_file(const char *path)
{
    pst_buf_t b;
    pst_buf_init(&b, FILE_BYTES_MAX);
    bool ok = read_file(path, &b);
    if (!ok)
        fprintf(stderr, "%s: cannot be read, or is too large\n", path);
    else
        run_one(b.p, b.n);
    if (ok && b.n) {
        pst_rng_t r;
        pst_rng_seed(&r, b.n);
        run_cuts(b.p, b.n, &r);
        run_flips(b.p, b.n, &r);
    }
    pst_buf_release(&b);
    return ok;
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* Files run, or -1. */
static int run_folder(const char *folder)
{
    struct dirent **list;
    int n = scandir(folder, &list, visible, alphasort);
    if (n < 0) {
        perror(folder);
        return -1;
    }
    int ran = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        if (ran >= 0)
            ran = run_file(path) ? ran + 1 : -1;
        free(list[i]);
    }
    free(list);
    return ran;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int files = run_folder(argv[i]);
        /* An empty corpus would pass without having tested anything. */
        if (files <= 0) {
            fprintf(stderr, "%s: no corpus ran\n", argv[i]);
            return 1;
        }
        printf("%s: %d files\n", argv[i], files);
    }
    printf("%zu inputs\n", inputs);
    return inputs ? 0 : 1;
}
