/* wire_vectors_main.c - writes proto/vectors, and the fuzzer's corpus:
 *   wire_vectors PROTO_VECTORS_FOLDER CORPUS_FOLDER */
#include <ctype.h>
#include <stdio.h>

#include "wire_vectors.h"

static bool write_file(const char *path, pst_view_t v)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(v.p, 1, v.n, f) == v.n;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        perror(path);
    return ok;
}

static bool write_vectors(const char *folder)
{
    char path[4096];
    pst_buf_t b;
    kind_t k;
    bool ok = true;
    pst_buf_init(&b, 0);
    for (unsigned i = 0; ok && kind_at(i, &k); i++) {
        pst_buf_clear(&b);
        vectors_good(&k, &b);
        snprintf(path, sizeof path, "%s/%s.json", folder, k.name);
        ok = write_file(path, pst_buf_view(&b));
    }
    pst_buf_clear(&b);
    vectors_bad(&b);
    snprintf(path, sizeof path, "%s/bad.json", folder);
    ok = ok && write_file(path, pst_buf_view(&b));
    pst_buf_release(&b);
    return ok;
}

typedef struct corpus {
    const char *folder;
    bool ok;
} corpus_t;

/* The fuzz target's first byte says which decoder is meant: 0 messages, then the values in the
 * kinds' order. */
static char selector(const char *kind)
{
    kind_t k;
    for (unsigned i = sample_types_n; kind_at(i, &k); i++) {
        if (strcmp(k.name, kind) == 0)
            return (char)(i - sample_types_n + 1);
    }
    return 0;
}

static void write_seed(void *context, const char *kind, const char *name, pst_view_t bytes)
{
    corpus_t *c = context;
    char path[4096];
    int at = snprintf(path, sizeof path, "%s/", c->folder);
    snprintf(path + at, sizeof path - (size_t)at, "%s_%s", strchr(kind, '/') + 1, name);
    for (char *p = path + at; *p; p++)
        *p = isalnum((unsigned char)*p) ? *p : '_';
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_putc(&b, selector(kind));
    pst_buf_putv(&b, bytes);
    c->ok = c->ok && write_file(path, pst_buf_view(&b));
    pst_buf_release(&b);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: wire_vectors VECTORS_FOLDER CORPUS_FOLDER\n");
        return 2;
    }
    corpus_t corpus = {argv[2], true};
    bool ok = write_vectors(argv[1]);
    vectors_each(write_seed, &corpus);
    return ok && corpus.ok ? 0 : 1;
}
