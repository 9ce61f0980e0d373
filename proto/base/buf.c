#include "base/buf.h"

#include <stdio.h>

#define CAP_MIN ((size_t)256)

void pst_buf_init(pst_buf_t *b, size_t max)
{
    *b = (pst_buf_t){.max = max};
}

void pst_buf_clear(pst_buf_t *b)
{
    b->n = 0;
    b->failed = false;
}

void pst_buf_release(pst_buf_t *b)
{
    free(b->p);
    pst_buf_init(b, b->max);
}

/* One byte more than cap is allocated, for the NUL of pst_buf_detach. */
static bool grow(pst_buf_t *b, size_t need)
{
    size_t cap = PST_MAX(PST_MAX(need, CAP_MIN), b->cap + b->cap / 2);
    if (b->max)
        cap = PST_MIN(cap, b->max);
    char *p = realloc(b->p, cap + 1);
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

char *pst_buf_reserve(pst_buf_t *b, size_t n)
{
    if (b->failed)
        return NULL;
    size_t ceiling = b->max ? b->max : SIZE_MAX / 2;
    if (n > ceiling - b->n || ((n > b->cap - b->n || !b->p) && !grow(b, b->n + n))) {
        b->failed = true;
        return NULL;
    }
    return b->p + b->n;
}

void pst_buf_expect(pst_buf_t *b, size_t n)
{
    size_t room = (b->max ? b->max : SIZE_MAX / 2) - b->n;
    size_t more = PST_MIN(n, room);
    if (!b->failed && more > b->cap - b->n)
        (void)!grow(b, b->n + more);
}

void pst_buf_put_growing(pst_buf_t *b, const void *p, size_t n)
{
    char *to = n ? pst_buf_reserve(b, n) : NULL;
    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void pst_buf_put_percent(pst_buf_t *b, pst_view_t v, char also)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.' || c == '~' || c == (unsigned char)also;
        if (plain) {
            pst_buf_putc(b, (char)c);
        } else {
            pst_buf_putc(b, '%');
            pst_buf_putc(b, digits[c >> 4]);
            pst_buf_putc(b, digits[c & 15]);
        }
    }
}

void pst_buf_printf(pst_buf_t *b, const char *fmt, ...)
{
    if (b->failed)
        return;
    /* The allocated byte past cap takes the NUL, so a text that fits cap needs no second try. */
    size_t room = b->p ? b->cap - b->n + 1 : 0;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(b->p ? b->p + b->n : NULL, room, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if ((size_t)n >= room) {
        char *to = pst_buf_reserve(b, (size_t)n);
        if (!to)
            return;
        va_start(ap, fmt);
        vsnprintf(to, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

char *pst_buf_detach(pst_buf_t *b, size_t *ret_n)
{
    if (!pst_buf_reserve(b, 0)) {
        pst_buf_release(b);
        return NULL;
    }
    char *p = b->p;
    p[b->n] = '\0';
    if (ret_n)
        *ret_n = b->n;
    pst_buf_init(b, b->max);
    return p;
}
