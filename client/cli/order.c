#include "cli/order.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

struct pst_order {
    FILE *spool;
    uint64_t bytes;   /* in it */
    uint64_t *begin;  /* by index: where its line begins, plus 1; 0: no line.  Untouched pages cost nothing */
    uint64_t jobs;
};

static int spool_fails(void)
{
    return pst_cli_fail(EXIT_FAILED, "the temporary file cannot be written: %s: make room, or name another place with "
                        "$TMPDIR", strerror(errno));
}

/* Without a name from the start, so that nothing is left however the program ends. */
static FILE *open_spool(void)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    int fd = open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* a file system without O_TMPFILE */
        snprintf(path, sizeof path, "%s/penstock-XXXXXX", dir && *dir ? dir : "/tmp");
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    return fd >= 0 ? fdopen(fd, "w+b") : NULL;
}

int pst_order_new(uint64_t jobs, pst_order_t **ret)
{
    pst_order_t *o = pst_calloc(1, sizeof *o);
    o->jobs = jobs;
    void *p = mmap(NULL, (jobs + 1) * sizeof *o->begin, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    o->begin = p == MAP_FAILED ? NULL : p;
    o->spool = open_spool();
    if (!o->begin || !o->spool) {
        pst_order_destroy(&o);
        return spool_fails();
    }
    *ret = o;
    return EXIT_WELL;
}

void pst_order_destroy(pst_order_t **po)
{
    pst_order_t *o = *po;
    *po = NULL;
    if (!o)
        return;
    if (o->spool)
        fclose(o->spool);
    if (o->begin)
        munmap(o->begin, (o->jobs + 1) * sizeof *o->begin);
    free(o);
}

int pst_order_add(pst_order_t *o, uint32_t index, pst_view_t line)
{
    if (index >= o->jobs)
        return pst_cli_fail(EXIT_FAILED, "the broker gave a result of job %u, but the batch has %llu", index,
                            (unsigned long long)o->jobs);
    if (fwrite(line.p, 1, line.n, o->spool) != line.n || putc('\n', o->spool) == EOF)
        return spool_fails();
    o->begin[index] = o->bytes + 1;
    o->bytes += line.n + 1;
    return EXIT_WELL;
}

int pst_order_write(pst_order_t *o, pst_output_t *out)
{
    if (o->bytes == 0)
        return EXIT_WELL;
    if (fflush(o->spool) != 0)
        return spool_fails();
    char *text = mmap(NULL, o->bytes, PROT_READ, MAP_SHARED, fileno(o->spool), 0);
    if (text == MAP_FAILED)
        return spool_fails();
    int code = EXIT_WELL;
    for (uint64_t i = 0; i < o->jobs && !code && !out->closed; i++) {
        if (o->begin[i] == 0)
            continue;
        const char *line = text + o->begin[i] - 1;
        const char *end = memchr(line, '\n', o->bytes - (o->begin[i] - 1));
        code = pst_output_line(out, pst_view(line, (size_t)(end - line)));
    }
    munmap(text, o->bytes);
    return code;
}
