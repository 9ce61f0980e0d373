#include "base/base.h"

#include <stdio.h>

_Noreturn void pst_assert_fail(const char *expr, const char *file, int line)
{
    fprintf(stderr, "assertion failed: %s at %s:%d\n", expr, file, line);
    abort();
}

pst_err_t pst_errf(pst_errbuf_t *eb, pst_err_t e, const char *fmt, ...)
{
    if (!eb)
        return e;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(eb->text, sizeof eb->text, fmt, ap);
    va_end(ap);
    return e;
}

static void *or_abort(void *p, size_t n)
{
    if (!p) {
        fprintf(stderr, "out of memory: %zu bytes refused\n", n);
        abort();
    }
    return p;
}

/* malloc(0) may be NULL, which would look like a failure: ask for one byte instead. */
void *pst_alloc(size_t n)
{
    return or_abort(malloc(n ? n : 1), n);
}

void *pst_calloc(size_t n, size_t size)
{
    bool empty = n == 0 || size == 0;
    return or_abort(empty ? calloc(1, 1) : calloc(n, size), n * size);
}

void *pst_calloc_line(size_t n)
{
    size_t whole = (n + PST_LINE - 1) / PST_LINE * PST_LINE;
    return memset(or_abort(aligned_alloc(PST_LINE, whole), n), 0, whole);
}

void *pst_realloc(void *p, size_t n)
{
    return or_abort(realloc(p, n ? n : 1), n);
}

char *pst_strdup_view(pst_view_t v)
{
    char *s = pst_alloc(v.n + 1);
    if (v.n)
        memcpy(s, v.p, v.n);
    s[v.n] = '\0';
    return s;
}
